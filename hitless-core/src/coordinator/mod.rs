//! Policy alone: which address to dial, what a notification means, which connection moves when, and whose timeouts are
//! relaxed. No frames, no bytes, no sockets.
//!
//! For embedders that own their I/O, pool and codec: tell it the facts (`open`, `handle_*`), obey its [`Directive`]s until
//! there is none, call [`handle_timeout`](Coordinator::handle_timeout) when [`poll_timeout`](Coordinator::poll_timeout)
//! says so. Every method is total: facts about connections that the coordinator has forgotten are no-ops. The
//! [guide](crate::guide#embedding-the-coordinator) shows it whole, in an example that runs.
//!
//! ```text
//! one attempt:    Resolving -> Dialing -> Negotiating -> (ready)
//! one connection: Serving -> Draining -> (forgotten)
//! one handoff:    BehindScout -> Queued -> Dialing -> (cut over)
//!                                  ^          |    \-> AwaitsSwitch -> (cut over)      if the owner has a say
//!                                  +- Waiting +-> StayPut      the old connection serves to the end
//! ```
//!
//! Inside, facts are routed to the machine that they concern, and what the machines say is handed on until all of them are
//! quiet: moves want attempts, attempts end, connections serve and drain. None of them knows another one.
//!
//! # A connection, state by state
//!
#![doc = include_str!("../../docs/coordinator-connections.md")]
//!
//! # A handoff, state by state
//!
#![doc = include_str!("../../docs/coordinator-handoffs.md")]

mod advertised;
mod attempts;
mod conns;
mod demoted;
mod demotions;
mod dial;
mod directive;
#[cfg(feature = "explore")]
mod fingerprint;
mod handoffs;
mod knowledge;
mod moves;
mod notifications;
mod opt_in;
mod reviews;
mod silent;
mod stats;
#[cfg(test)]
mod tests;
mod timers;
mod verdicts;
mod withdrawn;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::advertised::Advertised;
use self::attempts::{Attempts, Purpose};
use self::conns::Conns;
use self::demotions::Demotions;
pub use self::directive::{Directive, Redial, Replacement, Role};
use self::knowledge::Knowledge;
use self::moves::Moves;
use self::reviews::Reviews;
pub use self::stats::CoordinatorStats;
use self::verdicts::Pending;
use crate::config::Config;
use crate::endpoint::{Endpoint, Peer};
use crate::error::{CloseCause, ConnectError, TlsProgress};
use crate::event::{Event, WindowScope};
use crate::handshake::OptIn;
use crate::ids::{Arena, ConnId};
use crate::rng::Rng;
use crate::timer::earliest;
use crate::windows::Windows;

/// Windows of databases and addresses; servers were seen to keep a handful open.
const WINDOWS_BESIDES_CONNECTIONS: usize = 256;

#[doc = include_str!("dialogue.md")]
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub struct Coordinator {
    config: Arc<Config>,
    /// The ids in use, of attempts and of connections.
    ids: Arena<ConnId, ()>,
    conns: Conns,
    attempts: Attempts,
    moves: Moves,
    windows: Windows<WindowScope>,
    reviews: Reviews<Pending>,
    knowledge: Knowledge,
    advertised: Advertised,
    demotions: Demotions,
    /// The lookup of the configured name that serves no dial and is not answered yet.
    lookup: Option<ConnId>,
    /// Where new connections go instead of the configured endpoint, once connections have arrived there.
    home: Option<Endpoint>,
    directives: VecDeque<Directive>,
}

impl Coordinator {
    /// A coordinator without connections. The same seed and the same facts give the same directives.
    #[must_use]
    pub fn new(config: Arc<Config>, seed: u64) -> Self {
        Self {
            ids: Arena::new(),
            conns: Conns::new(),
            attempts: Attempts::new(config.maintenance().circuit_breaker()),
            moves: Moves::new(Arc::clone(&config), seed),
            windows: Windows::new(WINDOWS_BESIDES_CONNECTIONS),
            reviews: Reviews::new(),
            knowledge: Knowledge::new(Arc::clone(&config)),
            advertised: Advertised::new(seed.rotate_left(32)),
            demotions: Demotions::new(Rng::new(seed.rotate_left(16))),
            lookup: None,
            home: None,
            directives: VecDeque::new(),
            config,
        }
    }

    /// The stream of `conn` is connected, and TLS on it has come so far: if the time of the dial ends before
    /// [`handle_connected`](Self::handle_connected), its error says that. A dial that does not encrypt, or whose owner does not know, says
    /// nothing.
    pub fn handle_encrypting(&mut self, conn: ConnId, progress: TlsProgress) {
        self.attempts.note_tls(conn, progress);
    }

    /// The socket of `conn` is connected to `peer`; its handshake begins.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, peer: Peer) {
        self.attempts.handle_connected(now, conn, peer);
        self.settle(now);
    }

    /// The handshake of `conn` is done, and `opt_in` is what became of the opt-in, if [`Directive::Dial`] asked for
    /// one. In the mode `enabled` one that was not accepted is a failed dial: a `Close` follows.
    pub fn handle_ready(&mut self, now: Instant, conn: ConnId, opt_in: OptIn) {
        let refusal = opt_in.under(self.config.maintenance().mode()).err().map(ConnectError::Handshake);
        self.attempts.handle_ready(now, conn, opt_in, refusal);
        self.settle(now);
    }

    /// Resolving, dialling or the handshake of `conn` failed: it is forgotten. If the name has an address that was not tried,
    /// the coordinator dials that one under another id ([`Directive::Dial`] with `replaces`), and it says nothing if one is
    /// dialled already. While the old connection of a handoff is there, the coordinator repeats the handoff's dial later, if
    /// there is time, and says nothing; any other failure leads to [`Directive::Failed`].
    pub fn handle_dial_failed(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        self.fail_attempt(now, conn, error);
        self.settle(now);
    }

    /// The end of the stream was seen behind the notifications that will be handed in next: how old they are is unknown,
    /// so they open nothing.
    pub fn handle_ending(&mut self, conn: ConnId) {
        self.attempts.note_end(conn);
        self.conns.note_end(conn);
    }

    /// The owner of `from` uses its successor from now on: the answer to [`Directive::Successor`]. One that comes too late,
    /// because the successor or `from` is lost or the time was over, does nothing.
    pub fn handle_switched(&mut self, now: Instant, from: ConnId) {
        self.on_switched(now, from);
        self.settle(now);
    }

    /// A draining connection has answered everything.
    pub fn handle_drained(&mut self, now: Instant, conn: ConnId) {
        let Some(took) = self.conns.draining_for(now, conn) else { return };
        self.emit(Event::Drained { conn, took });
        self.close(conn, CloseCause::ByClient);
        self.forget(now, conn, CloseCause::ByClient);
        self.settle(now);
    }

    /// The socket of `conn` is gone, and so is the coordinator's memory of it. Where it was serving,
    /// [`Directive::Lost`] says what is there in its place; where it was being opened, that was a dial that
    /// [failed](Self::handle_dial_failed).
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        if self.conns.contains(conn) {
            self.lose(now, conn, cause);
        } else {
            self.fail_attempt(now, conn, ConnectError::LostInHandshake(cause));
        }
        self.settle(now);
    }

    /// The owner closes `conn` by itself, and wants nothing in its place.
    pub fn release(&mut self, now: Instant, conn: ConnId) {
        if self.conns.contains(conn) {
            self.release_established(now, conn);
        } else {
            self.release_attempt(now, conn);
        }
        self.settle(now);
    }

    /// Time has passed. Calling it too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.attempts.handle_timeout(now);
        // They fail on behalf of their moves, before these may end.
        while let Some(step) = self.attempts.poll_step() {
            self.on_step(now, step);
        }
        while let Some(conn) = self.conns.handle_timeout(now) {
            self.emit(Event::DrainDeadline { conn });
            self.close(conn, CloseCause::MoveDeadline);
            self.forget(now, conn, CloseCause::MoveDeadline);
        }
        while let Some(review) = self.reviews.handle_timeout(now) {
            self.on_review_timeout(now, review);
        }
        self.moves.handle_timeout(now);
        self.look_up_advertised(now);
        self.expire_windows(now);
        self.settle(now);
    }

    /// The next decision. To be asked for after every fact, until there is none.
    pub fn poll_directive(&mut self) -> Option<Directive> {
        self.directives.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest([
            self.reviews.poll_timeout(),
            self.attempts.poll_timeout(),
            self.conns.poll_timeout(),
            self.moves.poll_timeout(),
            self.advertised.poll_timeout(),
            self.windows.next_expiry(),
        ])
    }

    /// The relaxed timeout that is in force for `conn`, or for requests that have no connection; `None` if no window
    /// concerns them.
    #[must_use]
    pub fn relaxed(&self, now: Instant, conn: Option<ConnId>) -> Option<Duration> {
        let peer = || conn.and_then(|conn| self.peer(conn)).cloned();
        // Without a connection: while an address is being retired, and for some time after, names may still lead to it.
        let waits = conn.is_none() && !self.moves.is_empty();
        let open = waits
            || conn.is_some_and(|conn| self.windows.is_open(now, &WindowScope::Connection(conn)))
            || peer().is_some_and(|peer| self.windows.is_open(now, &WindowScope::Peer(peer)))
            || self.windows.is_open(now, &WindowScope::Database);
        open.then(|| self.config.maintenance().relaxed_timeout())
    }

    /// The relaxed timeout that a window of `scope` itself puts in force; `None` if there is none, whatever covers it besides.
    pub(crate) fn relaxed_in(&self, now: Instant, scope: &WindowScope) -> Option<Duration> {
        self.windows.is_open(now, scope).then(|| self.config.maintenance().relaxed_timeout())
    }

    /// The address of `conn`, from its dial on.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<&Peer> {
        self.conns.get(conn).map(conns::Conn::peer).or_else(|| self.attempts.peer(conn))
    }

    /// When the server of `conn` closes it, if a move says so: its deadline.
    pub(crate) fn leaves_at(&self, now: Instant, conn: ConnId) -> Option<Instant> {
        self.moves.leaves_at(now, self.conns.get(conn)?.peer(), conn)
    }

    /// Whether a move replaces connections to the address of `conn`, be it by new ones to the very same one.
    pub(crate) fn is_being_replaced(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|conn| self.moves.takes_from(conn.peer()))
    }

    /// Hands on what the machines say until all of them are quiet.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(step) = self.attempts.poll_step() {
                self.on_step(now, step);
            } else if let Some(decision) = self.moves.poll_decision() {
                self.on_decision(now, decision);
            } else if let Some(lookup) = self.idle_lookup() {
                self.attempts.cancel(now, lookup);
            } else if !self.begin_next_attempt(now) {
                return;
            }
        }
    }

    /// `conn` was established, and its socket is gone.
    fn lose(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some(lost) = self.conns.get(conn) else { return };
        let (peer, is_serving, predecessor) =
            (lost.peer().clone(), lost.is_serving(), lost.awaits_switch_from());
        if let Some(from) = predecessor {
            self.forget(now, conn, cause);
            return self.retry_for(now, from, ConnectError::LostBehindHandshake(cause));
        }
        if !is_serving {
            self.forget(now, conn, cause);
            return self.moves.handle_gone(now, &peer, conn);
        }
        self.moves.handle_lost_at(now, &peer);
        // A place where connections are lost is no better than one where dials fail.
        self.moves.handle_open_failed(conn, true);
        let replacement = self.replacement(now, &peer, conn);
        if let Replacement::Ready(to) | Replacement::Dialing(to) = replacement {
            self.conns.hand_over(conn, to);
        }
        self.forget(now, conn, cause);
        self.directives.push_back(Directive::Lost { conn, replacement });
        if let Replacement::Ready(to) = replacement {
            self.end_wait(now, to);
        }
    }

    /// What is there in the place of `conn`, which was connected to `peer` and is lost. A dial that is under way becomes its
    /// successor's; one whose address is not even known is given up.
    fn replacement(&mut self, now: Instant, peer: &Peer, conn: ConnId) -> Replacement {
        if let Some(to) = self.moves.handle_switched(now, peer, conn) {
            return Replacement::Ready(to);
        }
        match self.attempts.replacing(conn) {
            Some(to) if self.attempts.is_dialled(to) => Replacement::Dialing(to),
            undecided => {
                if let Some(to) = undecided {
                    self.attempts.cancel(now, to);
                }
                self.moves.handle_gone(now, peer, conn);
                Replacement::Missing
            }
        }
    }

    fn release_established(&mut self, now: Instant, conn: ConnId) {
        let Some(released) = self.conns.get(conn) else { return };
        let (peer, predecessor) = (released.peer().clone(), released.awaits_switch_from());
        self.forget(now, conn, CloseCause::ByClient);
        if let Some(from) = predecessor
            && let Some(source) = self.source_of(from)
        {
            self.moves.handle_refused(now, &source, from);
        }
        if let Some(to) = self.moves.awaited_switch(&peer, conn) {
            self.dismiss(now, to);
        }
        if let Some(to) = self.attempts.replacing(conn) {
            self.attempts.cancel(now, to);
        }
        self.moves.handle_gone(now, &peer, conn);
    }

    fn release_attempt(&mut self, now: Instant, conn: ConnId) {
        let purpose = self.attempts.purpose(conn).cloned();
        self.attempts.forget(now, conn);
        if let Some(Purpose::Replace { from, source, .. }) = purpose {
            if self.conns.contains(from) {
                self.moves.handle_refused(now, &source, from);
            } else {
                self.moves.handle_gone(now, &source, from);
            }
        }
    }

    /// Forgets an established connection. The directive to close it, if it is needed, is the caller's.
    fn forget(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        self.vacate(conn);
        let Some(forgotten) = self.conns.remove(conn) else { return };
        self.ids.remove(conn);
        self.moves.handle_forgotten(now, conn, forgotten.peer());
        self.knowledge.forget(forgotten.address(), conn);
        self.windows.forget(&WindowScope::Connection(conn));
        self.emit(Event::ConnectionClosed { conn, peer: forgotten.peer().clone(), cause });
    }

    /// `conn`, established or an attempt, leaves its place: a connection that waited for that may move on.
    fn vacate(&mut self, conn: ConnId) {
        let Some(successor) = self.conns.vacate(conn) else { return };
        if let Some(source) = self.source_of(successor) {
            self.moves.handle_predecessor_drained(&source, successor);
        }
    }

    /// The address that an established connection is connected to.
    fn source_of(&self, conn: ConnId) -> Option<Peer> {
        self.conns.get(conn).map(|conn| conn.peer().clone())
    }

    fn close(&mut self, conn: ConnId, cause: CloseCause) {
        self.directives.push_back(Directive::Close { conn, cause });
    }

    fn emit(&mut self, event: Event) {
        self.directives.push_back(Directive::Emit(event));
    }
}
