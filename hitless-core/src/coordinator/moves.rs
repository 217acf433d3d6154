//! A move: what one MOVING starts for all connections to one address.

use std::collections::VecDeque;
use std::time::Instant;

use super::queue::Ticket;
use crate::backoff::HandoffSchedule;
use crate::endpoint::Peer;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, Notification, Seq};

/// What makes two MOVINGs the same: the ids alone are not enough, because overlapping ones were seen to share theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MoveKey {
    pub(super) source: Peer,
    pub(super) seq: Seq,
    pub(super) target: MoveTarget,
}

/// When the connections have to leave, and where for: as announced, or as a reviewer has changed it.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) announced_at: Instant,
    pub(super) deadline: Instant,
    pub(super) target: MoveTarget,
}

impl MoveKey {
    /// The move that `notification` announces to the connections to `source`, if it is a MOVING.
    pub(super) fn of(source: &Peer, notification: &Notification) -> Option<Self> {
        let Notification::Moving { seq, target, .. } = notification else { return None };
        Some(Self { source: source.clone(), seq: *seq, target: target.clone() })
    }
}

/// The retirement of one address. It owns one handoff per connection there.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) key: MoveKey,
    /// Where it leads; `None` if the policy on targets has vetoed that.
    pub(super) target: Option<MoveTarget>,
    pub(super) started_at: Instant,
    pub(super) deadline: Instant,
    pub(super) schedule: HandoffSchedule,
    /// Where the scout arrived: the others dial there without asking again.
    pub(super) landed: Option<Peer>,
    /// Handoffs that wait for the scout to arrive.
    pub(super) behind_scout: VecDeque<ConnId>,
    pub(super) scouting: bool,
    /// Handoffs that are neither done nor given up.
    pub(super) open: u32,
    pub(super) moved: u32,
    pub(super) stayed: u32,
    pub(super) reported: bool,
    /// Which of the places to dial is tried since the last connection to the source was lost.
    pub(super) turn_after_close: usize,
    /// The dial whose failure makes it the next one's turn: one decides for all that dial at the same time.
    pub(super) turn_taken_by: Option<ConnId>,
}

/// One connection's part in a move.
#[derive(Clone, Debug)]
pub(super) struct Handoff {
    pub(super) source: Peer,
    /// Attempts made.
    pub(super) attempts: u32,
    pub(super) state: HandoffState,
}

#[derive(Clone, Debug)]
pub(super) enum HandoffState {
    /// Waits for the scout to show that the target is alive.
    BehindScout,
    /// Waits for a worker.
    Queued(Ticket),
    /// A worker is resolving, dialling or in the handshake.
    Dialing { to: ConnId },
    /// Waits until the next attempt, or until the name is looked up again.
    Waiting,
    /// The budget is spent; the old connection serves until the server closes it.
    StayPut,
}
