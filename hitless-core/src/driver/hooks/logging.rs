//! Events as lines of a log, for programs that do not use `tracing`.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use super::{NotificationHook, Observed};
use crate::cluster::ClusterEvent;
use crate::event::{Event, Level};

/// One line of a log, without payloads, keys and passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// Its level.
    pub level: Level,
    /// The name of the [event](Event::name), or of that of a [cluster](ClusterEvent::name), or `log.missed`.
    pub name: &'static str,
    /// What happened.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.level, self.name, self.text)
    }
}

/// Hands each event that is important enough for its level to a function, as a line of text.
///
/// The level is the [`log_level`](crate::config::maintenance::ConfigBuilder::log_level) of the client's maintenance
/// settings, unless [`level`](Self::level) sets another. The default there is [`Level::Warn`], which says nothing of a move that succeeds.
///
/// ```
/// use hitless_core::config::maintenance::Level;
/// use hitless_core::driver::LoggingHook;
///
/// let hook = LoggingHook::new(|line| eprintln!("{line}")).level(Level::Info);
/// ```
pub struct LoggingHook<S> {
    sink: S,
    level: Option<Level>,
    /// The number of the level that the client wants.
    configured: AtomicU8,
}

impl<S: Fn(LogLine) + Send + Sync + 'static> LoggingHook<S> {
    /// A hook that calls `sink`, which must return at once: it runs on the task of all hooks, and for events of a cluster on the task that follows that.
    pub fn new(sink: S) -> Self {
        Self { sink, level: None, configured: AtomicU8::new(Level::default() as u8) }
    }

    /// Lets events of `level` and more important ones through, whatever the client's settings say.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    fn lets_through(&self, level: Level) -> bool {
        let configured = || Level::from_number(self.configured.load(Ordering::Relaxed)).unwrap_or_default();
        level <= self.level.unwrap_or_else(configured)
    }
}

impl<S: Fn(LogLine) + Send + Sync + 'static> NotificationHook for LoggingHook<S> {
    fn on_event(&self, at: Instant, event: &Event) {
        let level = event.level();
        if self.lets_through(level) {
            (self.sink)(LogLine { level, name: event.name(), text: event.line(at).to_string() });
        }
    }

    fn on_cluster_event(&self, _: Instant, event: &ClusterEvent) {
        let level = event.level();
        if self.lets_through(level) {
            (self.sink)(LogLine { level, name: event.name(), text: event.to_string() });
        }
    }

    fn on_missed(&self, _: Instant, count: u64) {
        if self.lets_through(Level::Warn) {
            let text = format!("{count} events are not logged: they came too fast");
            (self.sink)(LogLine { level: Level::Warn, name: "log.missed", text });
        }
    }

    fn attached(&self, client: Observed) {
        self.configured.store(client.log_level() as u8, Ordering::Relaxed);
    }
}

impl<S> fmt::Debug for LoggingHook<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggingHook").field("level", &self.level).finish_non_exhaustive()
    }
}
