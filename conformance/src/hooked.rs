//! A case's opinion of notifications, as a hook of the driver, and the figures of the driver's own hook.

use hitless_core::driver::{
    Builder, Connector, HookContext, MetricsHook, NotificationHook, Resolver, Runtime,
};
use hitless_core::notification::Notification;
use hitless_core::review::Verdict;

use crate::world::Reviewer;

struct Opinion(Reviewer);

impl NotificationHook for Opinion {
    async fn pre_hook(&self, _: &HookContext, notification: &Notification) -> Verdict {
        match (self.0)(notification) {
            Some(verdict) => verdict,
            None => std::future::pending().await,
        }
    }
}

/// Adds the hooks that a case asks for; without a reviewer there is none, as with most applications.
pub(crate) fn with_hooks<R: Runtime, N: Resolver + Connector>(
    builder: Builder<R, N>,
    reviewer: Option<Reviewer>,
    metrics: &MetricsHook,
) -> Builder<R, N> {
    match reviewer {
        Some(reviewer) => builder.hook(Opinion(reviewer)).hook(metrics.clone()),
        None => builder,
    }
}
