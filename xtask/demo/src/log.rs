//! The event log: what the servers did, and what the client says that it did about it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hitless_conformance::clock;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Demo,
    Server,
    Client,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Since the demo began.
    at: Duration,
    who: Who,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Demo => "demo",
            Who::Server => "server",
            Who::Client => "client",
        };
        write!(f, "{:7.3} s  {who:6}  {}", self.at.as_secs_f64(), self.text)
    }
}

/// Grows by some lines in a second at most: whoever writes to it sums up what happens often.
#[derive(Debug)]
pub(crate) struct Log {
    began: Instant,
    lines: Mutex<Vec<Line>>,
}

impl Log {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, lines: Mutex::default() }
    }

    pub(crate) fn add(&self, who: Who, text: impl Into<String>) {
        let line = Line { at: self.elapsed(), who, text: text.into() };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// The lines after the first `known`.
    pub(crate) fn after(&self, known: usize) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(known).cloned().collect()
    }

    /// The time since the demo began.
    pub(crate) fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }
}
