//! Hooks: code that an application runs before and after each notification, and for each event.
//!
//! Hooks run on their own task, never under a lock and never on the path of a reply. The client catches a panic of a
//! hook, and goes on without a hook that hangs after [`HOOK_LIMIT`]. It counts both ([`HookFailures`]), and treats them
//! as [`Verdict::Continue`].

mod logging;
mod metrics;
mod registry;
pub(super) mod task;
#[cfg(feature = "tracing")]
pub(super) mod tracing;

use std::fmt;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use resp3_codec::Frame;

pub use self::logging::{LogLine, LoggingHook};
pub use self::metrics::MetricsHook;
pub(super) use self::registry::{ErasedHook, Failures, Registry};
use crate::client::Stats;
use crate::cluster::ClusterEvent;
use crate::endpoint::Peer;
use crate::event::{Event, Level};
use crate::ids::ConnId;
use crate::notification::Notification;
pub use crate::observe::HookFailures;
use crate::observe::Metrics;
use crate::review::{Handled, REVIEW_LIMIT, Verdict};

/// How long a hook may take for one notification. After it, a [`pre_hook`](NotificationHook::pre_hook) counts as
/// [`Verdict::Continue`]. A MOVING waits for its hooks for no more than a quarter of its grace.
pub const HOOK_LIMIT: Duration = REVIEW_LIMIT;

/// Code that an application runs around each maintenance notification.
///
/// The client calls hooks in the order in which they were added. They do not see the handshake, but for the
/// notifications that servers send during it. A hook must not hold a [`Client`](super::Client) that it is added to: the
/// client would never end.
///
/// ```
/// use hitless_core::driver::{HookContext, NotificationHook};
/// use hitless_core::notification::{Notification, NotificationKind};
/// use hitless_core::review::Verdict;
///
/// /// Lets nothing but moves have an effect.
/// struct MovesOnly;
///
/// impl NotificationHook for MovesOnly {
///     async fn pre_hook(&self, _: &HookContext, notification: &Notification) -> Verdict {
///         match notification.kind() {
///             NotificationKind::Moving => Verdict::Continue,
///             _ => Verdict::Veto,
///         }
///     }
/// }
/// ```
pub trait NotificationHook: Send + Sync + 'static {
    /// Called before a notification takes effect, when its window is open already. The verdict may change the
    /// notification or stop it. After a veto the client does not ask the hooks behind this one; they still see the
    /// result.
    ///
    /// The verdict on a notification that changes nothing, such as a copy of a known one, has no effect.
    fn pre_hook(
        &self,
        context: &HookContext,
        notification: &Notification,
    ) -> impl Future<Output = Verdict> + Send {
        let _ = (context, notification);
        ready(Verdict::Continue)
    }

    /// Called when a notification has been handled. `notification` is as it came, or as a hook has changed it.
    fn post_hook(
        &self,
        context: &HookContext,
        notification: &Notification,
        result: &HookResult,
    ) -> impl Future<Output = ()> + Send {
        let _ = (context, notification, result);
        ready(())
    }

    /// Called for each event from the moment the hook was added, in order. `at` is when the hooks' task came to it. Must
    /// return at once.
    fn on_event(&self, at: Instant, event: &Event) {
        let _ = (at, event);
    }

    /// Called instead of [`on_event`](Self::on_event) for `count` events that the hooks were too slow to see. Raise
    /// `event_capacity`.
    fn on_missed(&self, at: Instant, count: u64) {
        let _ = (at, count);
    }

    /// Called for each event of a [`ClusterClient`](super::ClusterClient) that the hook was added to, in order, from the moment it was added. The
    /// events of a node's client go to [`on_event`](Self::on_event). Must return at once: the task that follows the cluster waits for it.
    fn on_cluster_event(&self, at: Instant, event: &ClusterEvent) {
        let _ = (at, event);
    }

    /// Called once per client that the hook is added to, before anything else.
    fn attached(&self, client: Observed) {
        drop(client);
    }
}

impl<H: NotificationHook> NotificationHook for Arc<H> {
    fn pre_hook(
        &self,
        context: &HookContext,
        notification: &Notification,
    ) -> impl Future<Output = Verdict> + Send {
        (**self).pre_hook(context, notification)
    }

    fn post_hook(
        &self,
        context: &HookContext,
        notification: &Notification,
        result: &HookResult,
    ) -> impl Future<Output = ()> + Send {
        (**self).post_hook(context, notification, result)
    }

    fn on_event(&self, at: Instant, event: &Event) {
        (**self).on_event(at, event);
    }

    fn on_missed(&self, at: Instant, count: u64) {
        (**self).on_missed(at, count);
    }

    fn on_cluster_event(&self, at: Instant, event: &ClusterEvent) {
        (**self).on_cluster_event(at, event);
    }

    fn attached(&self, client: Observed) {
        (**self).attached(client);
    }
}

/// Names a hook of one client, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookId(u64);

/// The origin of a notification.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HookContext {
    /// The name that the client's connections give themselves.
    pub client_name: Option<Arc<str>>,
    /// The server's id of the connection that received the notification. Several proxies behind one name number their
    /// connections separately. `None` while the handshake is under way.
    pub client_id: Option<i64>,
    /// Connections of the client's pool.
    pub pool_size: u32,
    /// The connection that received the notification; it may be gone meanwhile.
    pub conn: ConnId,
    /// The address of that connection.
    pub peer: Option<Peer>,
    /// True if that connection is a subscriber's, or has a blocking command in flight.
    pub is_blocking: bool,
    /// The push as it came.
    pub frame: Frame,
}

/// The result of handling a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookResult {
    /// What the client has done with it.
    pub handled: Handled,
    /// The time since its arrival, with that of the hooks.
    pub took: Duration,
}

/// A view of a client that does not keep it alive.
#[derive(Clone)]
pub struct Observed {
    metrics: Arc<Mutex<Metrics>>,
    failures: Arc<Failures>,
    live: Weak<dyn Live>,
    log_level: Level,
}

/// Hooks of a client that is still being built.
#[derive(Default)]
pub(super) struct Hooks(pub(super) Vec<Arc<dyn ErasedHook>>);

impl Hooks {
    pub(super) fn into_registry(self) -> Arc<Registry> {
        let registry = Registry::default();
        for hook in self.0 {
            registry.add(hook);
        }
        Arc::new(registry)
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hooks", self.0.len())
    }
}

/// A client's state at this moment; nothing at all once it has terminated.
pub(super) trait Live: Send + Sync {
    fn live_stats(&self) -> Stats;
}

impl Observed {
    pub(super) fn new(
        metrics: Arc<Mutex<Metrics>>,
        failures: Arc<Failures>,
        live: Weak<dyn Live>,
        log_level: Level,
    ) -> Self {
        Self { metrics, failures, live, log_level }
    }

    /// The figures from the client's beginning until now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state now: all zero once the client has terminated.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.live.upgrade().map(|live| live.live_stats()).unwrap_or_default()
    }

    /// How often hooks of this client failed.
    #[must_use]
    pub fn hook_failures(&self) -> HookFailures {
        self.failures.snapshot()
    }

    /// The log level of the client's configuration.
    #[must_use]
    pub fn log_level(&self) -> Level {
        self.log_level
    }

    fn is_gone(&self) -> bool {
        self.live.strong_count() == 0
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.metrics, &other.metrics)
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
