//! Whether answers about another cluster are to be believed.

use std::time::{Duration, Instant};

/// How long nobody else may have answered. An address that has gone to another cluster is back sooner than the nodes that have lost it.
const ALONE: Duration = Duration::from_secs(10);

/// Those who have told of another cluster since the topology was read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strangers {
    /// When the first of them did.
    pub(super) met_at: Option<Instant>,
    /// One did in this round.
    pub(super) met_in_round: bool,
    /// Who does so again is believed.
    pub(super) are_believed: bool,
}

impl Strangers {
    /// Somebody has told of another cluster.
    pub(super) fn handle_met(&mut self, now: Instant) {
        self.met_at.get_or_insert(now);
        self.met_in_round = true;
    }

    /// All who can be asked were asked, and none of them has told of the cluster that is known.
    pub(super) fn handle_round_failed(&mut self, now: Instant) {
        let is_long_ago = |at: Instant| now.saturating_duration_since(at) >= ALONE;
        self.are_believed = std::mem::take(&mut self.met_in_round) && self.met_at.is_some_and(is_long_ago);
    }

    /// One of the nodes that serve is back, who may tell something else.
    pub(super) fn handle_owner_ready(&mut self) {
        self.are_believed = false;
    }
}
