//! Moves: what each MOVING starts for all connections to one address, from its beginning to its end.
//!
//! A move owns one handoff per connection. The first one, the scout, goes alone, at once to a named target and later if the
//! server named none; when it has arrived the others follow, a few at a time.
//!
//! Facts come in by [`begin`](Moves::begin) and `handle_*`. Out go the next attempt to be made
//! ([`poll_attempt`](Moves::poll_attempt)) and what else was decided ([`poll_decision`](Moves::poll_decision)).

#[cfg(feature = "explore")]
mod fingerprint;
mod machine;
mod one;
mod queue;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::queue::{Entry, HandoffQueue};
pub(super) use self::routes::Route;
use super::timers::Timers;
use crate::backoff::HandoffSchedule;
use crate::config::Config;
use crate::dedup::Remembered;
use crate::endpoint::{Endpoint, Peer, Target};
use crate::event::Event;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, Seq};
use crate::rng::Rng;

/// Moves that are remembered, so that a repeated MOVING changes nothing.
const REMEMBERED: usize = 64;

/// The moves of one client.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Moves {
    config: Arc<Config>,
    rng: Rng,
    /// By the address that each retires or, of a renewal, replaces connections to.
    live: BTreeMap<Peer, Move>,
    remembered: Remembered<MoveKey>,
    queue: HandoffQueue,
    /// Sources whose move has handoffs and no scout.
    scoutless: BTreeSet<Peer>,
    alarms: Timers<Alarm>,
    decisions: VecDeque<Decision>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// The next attempt of the handoff of a connection to this source, or the end of its time if its owner has not switched.
    Handoff(Peer, ConnId),
    /// The end of a move.
    End(Peer),
}

/// What the moves have decided.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    /// The attempt in the place of `from` is not wanted any more.
    Cancel { from: ConnId },
    /// `to` is ready in the place of `from`, and not wanted any more.
    Dismiss { to: ConnId },
    /// The time of `from` is over, and its owner has not switched to `to`.
    Overdue { from: ConnId, to: ConnId },
    /// Something to observe.
    Emit(Event),
}

/// An attempt that a handoff wants to make.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) from: ConnId,
    pub(super) source: Peer,
    /// 1 for the first one of the handoff.
    pub(super) number: u32,
    pub(super) limit: Duration,
    pub(super) route: Route,
    /// The target whose circuit breaker has a say.
    pub(super) breaker: Option<MoveTarget>,
}

/// What makes two MOVINGs the same: the ids alone are not enough, because overlapping ones were seen to share theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MoveKey {
    pub(super) source: Peer,
    pub(super) seq: Seq,
    pub(super) target: MoveTarget,
}

/// When the connections have to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// The server has announced it by a MOVING at that time.
    Announced { at: Instant, deadline: Instant },
    /// The address has left the name's answers without a word.
    Quiet { deadline: Instant },
    /// The server refuses commands. `may_return`: where the name leads nowhere else, the same address is dialled once, which may
    /// be a virtual one. Such a move ends as soon as it is over for every connection: what was demoted is no worse a place for
    /// new dials than what the name leads to.
    Demoted { deadline: Instant, may_return: bool },
}

/// Where a move leads, after the policy on targets has judged it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Destination {
    /// Wherever the configured name leads by then.
    SameName,
    Endpoint(Endpoint),
    Rewritten {
        announced: Endpoint,
        to: Endpoint,
    },
    /// Nothing may be dialled.
    Vetoed(Endpoint),
    /// Nobody has allowed this name: wherever the configured name leads by then.
    Refused(Endpoint),
}

/// The retirement of one address.
#[derive(Clone, Debug)]
struct Move {
    key: MoveKey,
    /// Where it leads; `None` if the policy on targets has vetoed that.
    target: Option<MoveTarget>,
    departure: Departure,
    /// Of a renewal: the address, which is in service again.
    renews: Option<Target>,
    began_at: Instant,
    /// Of a renewal: that of the move that it is left of.
    term: Term,
    /// Nothing is dialled before.
    scout_at: Instant,
    scout: Scout,
    /// Handoffs that are neither done nor given up, by the connections that they move.
    handoffs: BTreeMap<ConnId, Handoff>,
    /// Connections that stay until the server closes them, with the time that they have.
    staying: BTreeMap<ConnId, Term>,
    /// Connections that the server has told to leave before they serve: they take part when their owners have switched to them.
    awaiting: BTreeMap<ConnId, Term>,
    /// Handoffs that are done.
    moved: u32,
    /// Handoffs that were given up.
    stayed: u32,
    is_reported: bool,
    /// The address itself was dialled once more, because the name did not change: for connections whose time is over by then.
    chance_taken: Option<Instant>,
    /// The addresses that its attempts have dialled.
    dialled: Remembered<Peer>,
    /// How often a target where connections had arrived has lost one: as failed attempts do, that puts the next ones off.
    relapses: u32,
    /// The target keeps losing connections: whoever is at the source by now stays there.
    is_given_up: bool,
    after_close: AfterClose,
}

/// The time that there is to leave an address.
#[derive(Clone, Copy, Debug)]
struct Term {
    started_at: Instant,
    deadline: Instant,
    schedule: HandoffSchedule,
}

/// The handoff that goes first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scout {
    Missing,
    /// The handoff of this connection.
    Sent(ConnId),
    /// Where it arrived: the others dial there without asking again.
    Landed(Target),
}

/// Which of the places to dial is tried since the last connection to the source was lost.
#[derive(Clone, Debug, Default)]
struct AfterClose {
    turn: usize,
    /// The dial whose failure makes it the next place's turn: one decides for all that dial at the same time.
    decided_by: Option<ConnId>,
}

/// One connection's part in a move.
#[derive(Clone, Debug)]
struct Handoff {
    /// That of the move, or what is left of the time of an earlier one: the server closes the connection when that is over.
    term: Term,
    /// Attempts that were made and count.
    failed: u32,
    /// When the last of them is to be repeated.
    retry_at: Option<Instant>,
    /// The name led to a retiring address as well when it was last looked up: it may lead elsewhere before that.
    watches_name: bool,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Waits for the scout to show that the target is alive.
    BehindScout,
    /// Waits for a worker.
    Queued(Entry),
    /// A worker is resolving, dialling or in the handshake.
    Dialing,
    /// Waits until the next attempt, or until the name is looked up again.
    Waiting,
    /// Waits until the predecessor of its connection has drained, so that no slot has three connections; but not for ever.
    BehindDrain,
    /// `to` is ready; the owner has not switched yet.
    AwaitsSwitch { to: ConnId },
}
