//! Figures of one client or several, for an exporter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{HookContext, HookResult, NotificationHook, Observed};
use crate::notification::Notification;
use crate::observe::{Handling, MetricsSnapshot};

/// Counts, durations and gauges of every client that it is added to, summed up.
///
/// Counters come from the client's events. Gauges come from its state at the moment of the
/// [`snapshot`](Self::snapshot), so that they return to zero by themselves. A clone is another handle to the same
/// figures: add one, keep one.
///
/// ```
/// use hitless_core::driver::MetricsHook;
///
/// let metrics = MetricsHook::new();
/// // client.add_hook(metrics.clone());
/// for sample in metrics.snapshot().samples() {
///     println!("{sample}");
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MetricsHook {
    figures: Arc<Mutex<Figures>>,
}

#[derive(Debug, Default)]
struct Figures {
    clients: Vec<Observed>,
    /// The counters of clients that are gone.
    past: MetricsSnapshot,
    handling: Handling,
}

impl MetricsHook {
    /// A hook that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The figures at this moment. Counters start when each client starts; the durations of hooks and notifications start
    /// when the hook is added.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let figures = self.lock();
        let clients = figures.clients.clone();
        let mut snapshot = figures.past.clone();
        snapshot.handling = figures.handling.clone();
        drop(figures);
        for client in clients {
            snapshot.add(&client.metrics(), client.hook_failures(), &client.stats());
        }
        snapshot
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotificationHook for MetricsHook {
    async fn post_hook(&self, _: &HookContext, notification: &Notification, result: &HookResult) {
        self.lock().handling.record(notification.kind(), result.took);
    }

    fn attached(&self, client: Observed) {
        let mut figures = self.lock();
        let Figures { clients, past, .. } = &mut *figures;
        // Clients that are gone count no further: their sum is enough.
        clients.retain(|known| {
            let is_gone = known.is_gone();
            if is_gone {
                past.add(&known.metrics(), known.hook_failures(), &Default::default());
            }
            !is_gone
        });
        if !clients.iter().any(|known| known.is_same(&client)) {
            clients.push(client);
        }
    }
}
