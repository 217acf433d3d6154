//! What is going on.

use std::collections::BTreeMap;

use super::{Coordinator, Lookup, Phase};
use crate::endpoint::Peer;

impl Coordinator {
    /// Serving and draining connections per address, and what the handoffs do: computed from the live state.
    #[must_use]
    pub fn stats(&self) -> CoordinatorStats {
        let mut connections: BTreeMap<Peer, u32> = BTreeMap::new();
        let mut dialing = 0;
        for (_, entry) in self.conns.iter() {
            match &entry.peer {
                Some(peer) if !entry.is_attempt() => *connections.entry(peer.clone()).or_default() += 1,
                _ => dialing += usize::from(entry.phase != Phase::Resolving(Lookup::Advertised)),
            }
        }
        CoordinatorStats {
            connections,
            dialing,
            moves: self.moves.len(),
            handoffs_working: self.working.len(),
            handoffs_queued: self.queue.len(),
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
