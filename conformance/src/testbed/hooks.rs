//! Hooks and figures.

use std::panic::resume_unwind;
use std::sync::Arc;

use hitless_core::notification::Notification;
use hitless_core::observe::MetricsSnapshot;
use hitless_core::review::Verdict;

use super::{Declined, Testbed};

impl Testbed {
    /// Has every notification judged, from the beginning of the client; declines the case where that is not possible.
    pub fn review_by(&mut self, judge: impl Fn(&Notification) -> Option<Verdict> + Send + Sync + 'static) {
        if let Err(reason) = self.world.review_by(Arc::new(judge)) {
            resume_unwind(Box::new(Declined(reason.to_owned())));
        }
    }

    /// The client's figures at this moment. Only where somebody [reviews](Self::review_by).
    pub fn figures(&mut self) -> MetricsSnapshot {
        self.world.figures()
    }
}
