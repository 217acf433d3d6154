//! What is going on.

use std::collections::BTreeMap;

use super::Coordinator;
use crate::endpoint::Peer;

impl Coordinator {
    /// Serving and draining connections per address, and what the handoffs do: computed from the live state.
    #[must_use]
    pub fn stats(&self) -> CoordinatorStats {
        let count = |(peer, count): (&Peer, usize)| (peer.clone(), u32::try_from(count).unwrap_or(u32::MAX));
        CoordinatorStats {
            connections: self.conns.count_by_peer().map(count).collect(),
            dialing: self.attempts.count(),
            moves: self.moves.len(),
            handoffs_working: self.attempts.working(),
            handoffs_queued: self.moves.queued(),
            windows: self.windows.len(),
        }
    }
}

/// A snapshot, computed from the live state when it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoordinatorStats {
    /// Established connections per address, draining ones included.
    pub connections: BTreeMap<Peer, u32>,
    /// Connections that are being resolved, dialled or negotiated.
    pub dialing: usize,
    /// Moves that are remembered as live: until some time after their deadline.
    pub moves: usize,
    /// Handoffs in their dial or handshake.
    pub handoffs_working: usize,
    /// Handoffs that wait for a worker.
    pub handoffs_queued: usize,
    /// Windows that are open.
    pub windows: usize,
}
