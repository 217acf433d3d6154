//! Policy alone: which address to dial, what a notification means, which connection moves when, and whose timeouts are
//! relaxed. No frames, no bytes, no sockets.
//!
//! For embedders that own their I/O, pool and codec: tell it the facts (`open`, `handle_*`), obey its [`Directive`]s until
//! there is none, call [`handle_timeout`](Coordinator::handle_timeout) when [`poll_timeout`](Coordinator::poll_timeout)
//! says so. Every method is total: facts about connections that the coordinator has forgotten are no-ops. The
//! [guide](crate::guide#embedding-the-coordinator) shows it whole, in an example that runs.
//!
//! ```text
//! one connection: Resolving -> Dialing -> Negotiating -> Serving -> Draining -> (forgotten)
//! one handoff:    BehindScout -> Queued -> Dialing -> (cut over)
//!                                  ^          |
//!                                  +- Waiting +-> StayPut      the old connection serves to the end
//! ```
//!
//! # A connection, state by state
//!
#![doc = include_str!("../../docs/coordinator-connections.md")]
//!
//! # A handoff, state by state
//!
#![doc = include_str!("../../docs/coordinator-handoffs.md")]

mod advertised;
mod breakers;
mod dial;
mod directive;
#[cfg(feature = "explore")]
mod fingerprint;
mod handoffs;
mod moves;
mod notifications;
mod queue;
mod reviews;
mod stats;
mod support;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::advertised::Advertised;
use self::breakers::Breakers;
pub use self::directive::{Directive, Redial};
use self::moves::{Handoff, Move, MoveKey};
use self::queue::HandoffQueue;
use self::reviews::Reviews;
pub use self::stats::CoordinatorStats;
use self::support::Knowledge;
use self::timers::Timers;
use crate::breaker::Verdict;
use crate::config::Config;
use crate::dedup::Remembered;
use crate::endpoint::Peer;
use crate::error::{CloseCause, ConnectError};
use crate::event::{Event, WindowScope};
use crate::handshake::{OptIn, Probe};
use crate::ids::{Arena, ConnId, ReviewId};
use crate::mode::{Mode, Support};
use crate::rng::Rng;
use crate::timer::earliest;
use crate::windows::Windows;

/// Finished moves that are remembered, so that a repeated MOVING changes nothing.
const REMEMBERED_MOVES: usize = 64;

/// Windows of databases and addresses; servers were seen to keep a handful open.
const WINDOWS_BESIDES_CONNECTIONS: usize = 256;

#[doc = include_str!("dialogue.md")]
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub struct Coordinator {
    config: Arc<Config>,
    rng: Rng,
    conns: Arena<ConnId, Conn>,
    by_peer: BTreeMap<Peer, BTreeSet<ConnId>>,
    moves: BTreeMap<Peer, Move>,
    finished: Remembered<MoveKey>,
    handoffs: BTreeMap<ConnId, Handoff>,
    breakers: Breakers,
    queue: HandoffQueue,
    /// Draining connections whose successors were lost: who is opened next follows one.
    orphaned: VecDeque<ConnId>,
    /// Handoffs in their dial or handshake: a worker exists only while it works.
    working: BTreeSet<ConnId>,
    windows: Windows<WindowScope>,
    reviews: Reviews,
    knowledge: Knowledge,
    advertised: Advertised,
    timers: Timers<TimerKey>,
    dials: usize,
    directives: VecDeque<Directive>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    /// The end of an attempt, or the deadline of a drain.
    Conn(ConnId),
    /// The next attempt of a handoff, by the connection it moves.
    Handoff(ConnId),
    /// The end of a move.
    Move(Peer),
    /// The end of a review.
    Review(ReviewId),
    /// The next lookup after a completion.
    Advertised,
}

#[derive(Clone, Debug)]
struct Conn {
    phase: Phase,
    probe: Probe,
    /// The connection whose place it is to take.
    replaces: Option<ConnId>,
    /// The connection that may still be draining while this one serves in its place: the one that it replaces, or one
    /// whose successor was lost.
    follows: Option<ConnId>,
    /// What was dialled: support is known by it. Behind a tunnel it is not the peer.
    address: Option<Peer>,
    /// The name by which the server is verified that this attempt dials.
    server_name: Option<Arc<str>>,
    /// Known from the dial on.
    peer: Option<Peer>,
    /// The address that this attempt may not land on, because it is being retired.
    avoid: Option<Peer>,
    /// The time that this attempt has.
    limit: Option<Duration>,
    /// The server has closed it; what it said before is still to be read.
    ending: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Resolving(Lookup),
    Dialing,
    Negotiating,
    Serving,
    /// Works on its last replies, since its place was taken.
    Draining {
        since: Instant,
        successor: ConnId,
    },
}

/// Which name is being looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lookup {
    /// The configured one.
    Name,
    /// The target of a move, at this port.
    Target { port: u16 },
    /// The configured one, only to see what it leads to.
    Advertised,
}

impl Coordinator {
    /// A coordinator without connections. The same seed and the same facts give the same directives.
    #[must_use]
    pub fn new(config: Arc<Config>, seed: u64) -> Self {
        let queue = HandoffQueue::new(config.handoff_capacity().queue());
        let breakers = Breakers::new(config.maintenance().circuit_breaker());
        // Each connection may have one of its own after its handoff.
        let windows = WINDOWS_BESIDES_CONNECTIONS + config.pool_size() as usize;
        Self {
            config,
            rng: Rng::new(seed),
            conns: Arena::new(),
            by_peer: BTreeMap::new(),
            moves: BTreeMap::new(),
            finished: Remembered::new(REMEMBERED_MOVES),
            handoffs: BTreeMap::new(),
            breakers,
            queue,
            orphaned: VecDeque::new(),
            working: BTreeSet::new(),
            windows: Windows::new(windows),
            reviews: Reviews::new(),
            knowledge: Knowledge::default(),
            advertised: Advertised::default(),
            timers: Timers::new(),
            dials: 0,
            directives: VecDeque::new(),
        }
    }

    /// The socket of `conn` is connected to `peer`; its handshake begins.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, peer: Peer) {
        let Some(entry) = self.conns.get_mut(conn).filter(|entry| entry.phase == Phase::Dialing) else {
            return;
        };
        entry.phase = Phase::Negotiating;
        entry.peer = Some(peer);
        if entry.avoid.is_some() && entry.avoid == entry.peer {
            self.fail_attempt(now, conn, ConnectError::Retiring);
            self.close(conn, CloseCause::ByClient);
            self.put_to_work(now);
        }
    }

    /// The handshake of `conn` is done, and `opt_in` is what became of the opt-in, if [`Directive::Dial`] asked for
    /// one. In the mode `enabled` one that was not accepted is a failed dial: a `Close` follows.
    pub fn handle_ready(&mut self, now: Instant, conn: ConnId, opt_in: OptIn) {
        let Some(entry) = self.conns.get(conn).filter(|entry| entry.phase == Phase::Negotiating) else {
            return;
        };
        let Some(peer) = entry.peer.clone() else { return };
        let landed_wrong = entry.avoid.as_ref() == Some(&peer);
        let refusal = opt_in.under(self.config.maintenance().mode()).err().map(ConnectError::from);
        if let Some(error) = landed_wrong.then_some(ConnectError::Retiring).or(refusal) {
            self.fail_attempt(now, conn, error);
            self.close(conn, CloseCause::ByClient);
            return self.put_to_work(now);
        }
        let Some(entry) = self.conns.get_mut(conn) else { return };
        entry.phase = Phase::Serving;
        let (replaces, address) = (entry.replaces, entry.address.clone());
        self.timers.cancel(&TimerKey::Conn(conn));
        self.by_peer.entry(peer.clone()).or_default().insert(conn);
        let notified = opt_in == OptIn::Accepted;
        self.emit(Event::ConnectionReady { conn, peer: peer.clone(), notified });
        let address = address.unwrap_or_else(|| peer.clone());
        self.learn(now, conn, &address, opt_in);
        match replaces {
            Some(from) => self.cut_over(now, from, conn, &peer),
            None => self.directives.push_back(Directive::Serve { conn }),
        }
        // Others may have been heard since this one was dialled.
        let is_behind = opt_in == OptIn::NotAsked && self.support(&address) == Support::Active;
        if opt_in == OptIn::Accepted || is_behind {
            self.ask_again(&address);
        }
        self.enrol_late_joiner(now, conn, &peer);
        self.put_to_work(now);
    }

    /// Resolving, dialling or the handshake of `conn` failed: it is forgotten. The dial of a handoff is repeated by
    /// itself, under another id; any other one leads to [`Directive::Failed`].
    pub fn handle_dial_failed(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        if self.conns.get(conn).is_some_and(|entry| entry.is_attempt()) {
            self.fail_attempt(now, conn, error);
            self.put_to_work(now);
        }
    }

    /// The end of the stream was seen behind the notifications that will be handed in next: how old they are is unknown,
    /// so they open nothing.
    pub fn handle_ending(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.ending = true;
        }
    }

    /// The link died after the opt-in was written and before it was answered: perhaps something in between does not
    /// like it. In mode `auto` the next dial does without, at once.
    pub fn handle_lost_at_opt_in(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some(entry) = self.conns.get(conn).filter(|entry| entry.phase == Phase::Negotiating) else {
            return;
        };
        let suspected = entry.address.clone().filter(|_| entry.probe == Probe::OptIn);
        let suspected = suspected.filter(|_| self.config.maintenance().mode() == Mode::Auto);
        if let Some(peer) = &suspected {
            self.knowledge.set_suspect(peer, true);
        }
        self.end_attempt(now, conn, ConnectError::LostInHandshake(cause), suspected.is_some());
        self.put_to_work(now);
    }

    /// A draining connection has answered everything.
    pub fn handle_drained(&mut self, now: Instant, conn: ConnId) {
        let Some(Phase::Draining { since, .. }) = self.conns.get(conn).map(|entry| &entry.phase) else {
            return;
        };
        let took = now.saturating_duration_since(*since);
        self.emit(Event::Drained { conn, took });
        self.close(conn, CloseCause::ByClient);
        self.forget(conn, CloseCause::ByClient);
        self.put_to_work(now);
    }

    /// The socket of `conn` is gone, and so is the coordinator's memory of it. Opening another one is the owner's business,
    /// unless a dial that replaces it is under way.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some(entry) = self.conns.get(conn) else { return };
        match entry.phase {
            Phase::Resolving(_) | Phase::Dialing | Phase::Negotiating => {
                self.fail_attempt(now, conn, ConnectError::LostInHandshake(cause));
            }
            Phase::Serving | Phase::Draining { .. } => {
                self.forget(conn, cause);
                self.abandon_handoff(now, conn);
            }
        }
        self.put_to_work(now);
    }

    /// The owner closes `conn` by itself, and wants nothing in its place.
    pub fn release(&mut self, now: Instant, conn: ConnId) {
        let Some(entry) = self.conns.get(conn) else { return };
        let replaced = entry.replaces;
        self.forget(conn, CloseCause::ByClient);
        self.cancel_handoff(now, conn);
        if let Some(from) = replaced.filter(|_| self.working.remove(&conn)) {
            self.breakers.settle(now, conn, Verdict::Cancelled);
            if self.conns.get(from).is_some() {
                self.stay_put(now, from);
            } else {
                self.leave_move(now, from);
            }
        }
        self.put_to_work(now);
    }

    /// Time has passed. Calling it too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.timers.fire(now) {
            match key {
                TimerKey::Conn(conn) => self.on_conn_timeout(now, conn),
                TimerKey::Handoff(from) => self.line_up(from),
                TimerKey::Move(source) => self.end_move(now, &source),
                TimerKey::Review(review) => self.on_review_timeout(now, review),
                TimerKey::Advertised => self.look_up_advertised(now),
            }
        }
        self.expire_windows(now);
        self.put_to_work(now);
    }

    /// The next decision. To be asked for after every fact, until there is none.
    pub fn poll_directive(&mut self) -> Option<Directive> {
        self.directives.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.timers.next(), self.windows.next_expiry()])
    }

    /// The relaxed timeout that is in force for `conn`, or for requests that have no connection; `None` if no window
    /// concerns them.
    #[must_use]
    pub fn relaxed(&self, now: Instant, conn: Option<ConnId>) -> Option<Duration> {
        let peer = conn.and_then(|conn| self.conns.get(conn)).and_then(|entry| entry.peer.clone());
        // Without a connection: while an address is being retired, and for some time after, names may still lead to it.
        let waits = conn.is_none() && !self.moves.is_empty();
        let open = waits
            || self.windows.is_open(now, &WindowScope::Database)
            || peer.is_some_and(|peer| self.windows.is_open(now, &WindowScope::Peer(peer)))
            || conn.is_some_and(|conn| self.windows.is_open(now, &WindowScope::Connection(conn)));
        open.then(|| self.config.maintenance().relaxed_timeout())
    }

    /// The address of `conn`, from its dial on.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<&Peer> {
        self.conns.get(conn)?.peer.as_ref()
    }

    fn on_conn_timeout(&mut self, now: Instant, conn: ConnId) {
        let Some(entry) = self.conns.get(conn) else { return };
        match entry.phase {
            Phase::Resolving(Lookup::Advertised) => {
                self.close(conn, CloseCause::ByClient);
                self.end_lookup(now, conn, None);
            }
            Phase::Resolving(_) | Phase::Dialing | Phase::Negotiating => {
                let error = ConnectError::TimedOut(entry.limit.unwrap_or_default());
                self.fail_attempt(now, conn, error);
                self.close(conn, CloseCause::ByClient);
            }
            Phase::Draining { .. } => {
                self.emit(Event::DrainDeadline { conn });
                self.close(conn, CloseCause::MoveDeadline);
                self.forget(conn, CloseCause::MoveDeadline);
            }
            Phase::Serving => {}
        }
    }

    /// Removes `conn` from every table. The directive to close it, if it is needed, is the caller's.
    fn forget(&mut self, conn: ConnId, cause: CloseCause) {
        let Some(entry) = self.conns.remove(conn) else { return };
        self.timers.cancel(&TimerKey::Conn(conn));
        let established = !entry.is_attempt();
        self.leave_place(conn, &entry);
        let Some(peer) = entry.peer.filter(|_| established) else { return };
        self.knowledge.forget(entry.address.as_ref().unwrap_or(&peer), conn);
        self.windows.forget(&WindowScope::Connection(conn));
        if let Some(siblings) = self.by_peer.get_mut(&peer) {
            siblings.remove(&conn);
            if siblings.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        self.emit(Event::ConnectionClosed { conn, peer, cause });
    }

    fn close(&mut self, conn: ConnId, cause: CloseCause) {
        self.directives.push_back(Directive::Close { conn, cause });
    }

    fn emit(&mut self, event: Event) {
        self.directives.push_back(Directive::Emit(event));
    }
}

impl Conn {
    fn is_attempt(&self) -> bool {
        matches!(self.phase, Phase::Resolving(_) | Phase::Dialing | Phase::Negotiating)
    }
}
