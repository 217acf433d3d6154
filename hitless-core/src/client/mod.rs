//! The whole client as one machine: a pool of shared, pipelined connections, and the policy that moves them.
//!
//! It composes the [`Coordinator`], which decides, with a [`Connection`] per socket, which speaks the protocol. Every fact
//! that can lead to a decision ends in `settle`, which obeys the coordinator until it is quiet. So must every fact that may move a
//! deadline other than a request's: `settle` computes when the next of them is due. What the owner of the client has to do is then in
//! one ordered queue, [`poll_action`](Client::poll_action); answers may go past it while it is empty
//! ([`handle_frames_with`](Client::handle_frames_with)).
//!
//! Inside, nine machines with private state know nothing of each other: the links (one for each connection), the pool
//! (which connection serves which slot), the leases (which connection is lent to whom, and who waits for one), the
//! subscriptions (who wants which topics, and where the successor of their connection goes on), the blocked (the commands
//! that wait at their server), the requests (where each is), the lifecycle, the outage (why there is no connection) and
//! the keyring (who has which credentials). Each link belongs to an owner.
//!
//! # State by state
//!
#![doc = include_str!("../../docs/client.md")]

mod action;
mod blocked;
mod credentials;
#[cfg(feature = "explore")]
mod fingerprint;
mod invalidation;
mod keyring;
mod leases;
mod lending;
mod lifecycle;
mod links;
mod load;
mod open;
mod outage;
mod owner;
mod pool;
mod requests;
mod reviews;
mod send;
mod settle;
mod shutdown;
mod subscribing;
mod subscriptions;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resp3_codec::Frame;

pub use self::action::{Action, Invalidation, Review};
use self::blocked::Blocked;
use self::keyring::Keyring;
use self::leases::Leases;
use self::lifecycle::Lifecycle;
use self::links::Links;
use self::outage::Outage;
use self::owner::Owner;
use self::pool::Pool;
use self::requests::{RequestLimits, Requests};
use self::subscriptions::Subscriptions;
use crate::config::Config;
use crate::connection::{Answer, Connection};
use crate::coordinator::{Coordinator, CoordinatorStats};
use crate::endpoint::Peer;
use crate::error::{CloseCause, ConnectError, SystemError, TlsProgress};
use crate::ids::ConnId;
use crate::timer::{STOPPED, earliest};
use crate::write_buffer::WriteBuffer;

/// A client without sockets, clock or tasks: tell it the facts, obey its [`Action`]s.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub struct Client {
    config: Arc<Config>,
    coordinator: Coordinator,
    links: Links,
    pool: Pool,
    requests: Requests,
    lifecycle: Lifecycle,
    outage: Outage,
    leases: Leases,
    subscriptions: Subscriptions,
    blocked: Blocked,
    keyring: Keyring,
    actions: VecDeque<Action>,
    /// Connections that are ready and not needed; empty between facts.
    surplus: Vec<ConnId>,
    /// Connections that have answered everything and are cut over, and that stay for what is asked about commands that wait at
    /// their server; one for each address.
    helpers: Vec<ConnId>,
    /// The latest instant that a fact or a request came with.
    now: Instant,
    /// When anything but a request is due. `settle` keeps it: all else that is due changes by facts, which are few beside the requests.
    others_due_at: Option<Instant>,
}

impl Client {
    /// A client that begins to open its pool: actions are pending. The same seed and the same facts give the same
    /// actions.
    #[must_use]
    pub fn new(now: Instant, config: Arc<Config>, seed: u64) -> Self {
        let limits =
            RequestLimits { in_flight: config.requests_in_flight(), parked: config.parked_requests() };
        let mut client = Self {
            coordinator: Coordinator::new(Arc::clone(&config), seed),
            links: Links::new(),
            pool: Pool::new(config.pool_size() as usize, seed),
            requests: Requests::new(limits),
            lifecycle: Lifecycle::new(now, config.start_timeout()),
            outage: Outage::new(config.when_disconnected()),
            leases: Leases::new(config.max_dedicated() as usize, config.parked_requests(), seed),
            subscriptions: Subscriptions::new(seed),
            blocked: Blocked::new(),
            keyring: Keyring::new(&config, seed),
            actions: VecDeque::new(),
            surplus: Vec::new(),
            helpers: Vec::new(),
            others_due_at: None,
            config,
            now,
        };
        for slot in 0..client.pool.len() {
            client.open(now, Owner::Slot(slot));
        }
        client.settle(now);
        client
    }

    /// The answer to [`Action::Resolve`].
    pub fn handle_resolved(
        &mut self,
        now: Instant,
        conn: ConnId,
        addresses: Result<Vec<IpAddr>, SystemError>,
    ) {
        self.coordinator.handle_resolved(now, conn, addresses);
        self.settle(now);
    }

    /// The stream of `conn` is connected, and TLS on it has come so far: if the time of the dial ends before
    /// [`handle_connected`](Self::handle_connected), its error says that. A dial that does not encrypt says nothing.
    pub fn handle_encrypting(&mut self, conn: ConnId, progress: TlsProgress) {
        self.coordinator.handle_encrypting(conn, progress);
    }

    /// The stream of `conn` is connected to `peer`.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, peer: Peer) {
        if self.keyring.is_waiting(conn) {
            return;
        }
        let credentials = self.keyring.credentials(conn, self.config.credentials());
        if !self.links.connect(&self.config, conn, &peer, credentials.clone()) {
            return;
        }
        self.keyring.note_connected(conn, credentials);
        self.coordinator.handle_connected(now, conn, peer);
        self.flush(conn);
        self.settle(now);
    }

    /// The stream of `conn` could not be connected. An [`io::Error`](std::io::Error) keeps its words, an
    /// [`io::ErrorKind`](std::io::ErrorKind) will do; the client adds the address.
    pub fn handle_connect_failed(&mut self, now: Instant, conn: ConnId, error: impl Into<SystemError>) {
        self.dial_failed(now, conn, ConnectError::Connect(error.into()));
        self.settle(now);
    }

    /// Bytes were received on `conn`: these frames, in order, or none if the bytes complete no frame.
    pub fn handle_frames(&mut self, now: Instant, conn: ConnId, frames: impl IntoIterator<Item = Frame>) {
        self.receive(now, conn, frames, |actions, answer| actions.push_back(Action::completed(answer)));
    }

    /// [`handle_frames`](Self::handle_frames) for owners of many requests: `answered` is told at once of most of those that end by one reply which is no error,
    /// and no [`Action::Complete`] follows for these. All others end by an action. What `answered` is told comes before the actions that are pending
    /// afterwards.
    pub fn handle_frames_with(
        &mut self,
        now: Instant,
        conn: ConnId,
        frames: impl IntoIterator<Item = Frame>,
        mut answered: impl FnMut(Answer),
    ) {
        self.receive(now, conn, frames, |actions, answer| match actions.is_empty() {
            true => answered(answer),
            // In the order in which they came about.
            false => actions.push_back(Action::completed(answer)),
        });
    }

    /// Bytes were received on `conn` that complete no frame: the link is alive. [`handle_frames`](Self::handle_frames)
    /// without a frame says the same, and when.
    pub fn handle_received(&mut self, conn: ConnId) {
        let now = self.now;
        self.links.note_part(conn);
        if let Some(connection) = self.links.connection_mut(conn) {
            // When that was is not known: silence is counted from the next instant that is.
            connection.handle_received();
            self.drain_events(now, conn);
        }
        self.settle(now);
    }

    /// The stream of `conn` takes bytes. Requests that are overdue by now fail instead of being written. Call it before
    /// [`poll_transmit`](Self::poll_transmit), which hands out the others.
    pub fn handle_writable(&mut self, now: Instant, conn: ConnId) {
        self.now = now;
        if let Some(connection) = self.links.connection_mut(conn) {
            connection.handle_writable(now);
            self.drain_events(now, conn);
            self.replay();
        }
        // An errand for a command that blocks may have been overdue.
        if !self.blocked.is_empty() {
            self.settle(now);
        }
    }

    /// The stream ends behind the frames that come next. Their age is unknown, so an announcement among them opens
    /// nothing. Call this before [`handle_frames`](Self::handle_frames) and [`handle_closed`](Self::handle_closed).
    pub fn handle_ending(&mut self, conn: ConnId) {
        self.coordinator.handle_ending(conn);
    }

    /// The stream of `conn` has ended. Hand in the frames that came before the end first.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        self.now = now;
        self.lose(now, conn, cause);
        self.settle(now);
    }

    /// Time has passed. Calling it too early does nothing.
    ///
    /// Hand in what has arrived first, above all when the call comes late because the process was stopped: a reply that
    /// lies in a socket is no timeout. How long links were silent from the time at which it was due does
    /// not count.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let late = self.deadline().map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if late >= STOPPED {
            self.links.forget_silence(now, late);
        }
        self.coordinator.handle_timeout(now);
        self.time_out_credentials(now);
        self.end_start(now);
        self.reopen_due(now);
        self.time_out_requests(now);
        self.time_out_leases(now);
        self.time_out_subscriptions(now);
        self.blocked.handle_timeout(now);
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether [`poll_action`](Self::poll_action) has something.
    #[cfg(feature = "driver")]
    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Appends what `conn` has to write, at most 64 KiB and the rest of one request; true if there was anything. What it
    /// appends counts as written: the server may run it. After [`Action::Flush`], write and call it again until it returns
    /// false.
    pub fn poll_transmit(&mut self, conn: ConnId, buffer: &mut WriteBuffer) -> bool {
        let any = self.links.poll_transmit(self.now, conn, buffer);
        self.watch(conn);
        any
    }

    /// How many frames of `conn` to hand in at a time, 2 to 64, and over TLS no fewer than 8: about a quarter of the replies that it awaits,
    /// or all of them if the server is a node of a cluster; 1 if there is no such connection.
    ///
    /// This is advice, for speed alone. A loop that hands in everything at once makes the server wait for the callers, and
    /// then the callers for the server. With parts, a caller that has its reply sends the next request while the loop
    /// still decodes the others.
    #[must_use]
    pub fn batch(&self, conn: ConnId) -> usize {
        self.links.connection(conn).map_or(1, Connection::batch)
    }

    /// Whether a single reply is awaited on `conn`, which carries no subscriptions.
    #[cfg(feature = "driver")]
    pub(crate) fn is_alone(&self, conn: ConnId) -> bool {
        let connection = self.links.connection(conn);
        connection.is_some_and(|connection| connection.awaited() == 1 && !connection.carries_subscriptions())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. While actions are pending, this is not in the
    /// future: a loop that looks nowhere else still makes progress.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.actions.is_empty() {
            return Some(self.now);
        }
        self.deadline()
    }

    /// Whether there is no connection, and the last attempt to open one has failed.
    #[cfg(feature = "driver")]
    pub(crate) fn is_cut_off(&self) -> bool {
        self.outage.cause().is_some()
    }

    /// Whether the subscriptions have a connection.
    #[cfg(feature = "driver")]
    pub(crate) fn receives(&self) -> bool {
        self.subscriptions.active().is_some()
    }

    /// The timeout of the windows that cover the whole database, if there are any.
    #[cfg(feature = "driver")]
    pub(crate) fn relaxed(&self, now: Instant) -> Option<Duration> {
        self.coordinator.relaxed(now, None)
    }

    /// Whether it accepts requests: it does not shut down.
    #[cfg(feature = "driver")]
    pub(crate) fn is_open(&self) -> bool {
        self.lifecycle.is_open()
    }

    /// What is going on, computed from the live state.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            coordinator: self.coordinator.stats(),
            pool_size: self.pool.len(),
            serving: self.pool.serving(),
            requests: self.requests.len() - self.blocked.own_requests(),
            blocking: self.blocked.waiting(),
            parked: self.requests.parked(),
            abandoned: self.links.abandoned(),
            dedicated: self.leases.dedicated() + usize::from(self.subscriptions.has_connection()),
            leased: self.leases.lent().count(),
            waiting_for_lease: self.leases.waiting(),
            subscriptions: self.subscriptions.len(),
            topics: self.subscriptions.topics(),
        }
    }

    /// True once [`Action::Terminated`] was said.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.lifecycle.is_terminated()
    }

    fn receive(
        &mut self,
        now: Instant,
        conn: ConnId,
        frames: impl IntoIterator<Item = Frame>,
        mut answered: impl FnMut(&mut VecDeque<Action>, Answer),
    ) {
        self.now = now;
        let is_shared = matches!(self.links.owner(conn), Some(Owner::Slot(_)));
        let mut frames = frames.into_iter().peekable();
        match frames.peek() {
            Some(_) => self.links.note_frames(now, conn),
            None => self.links.note_part(conn),
        }
        while let Some(connection) = self.links.connection_mut(conn) {
            let other = if is_shared && !self.blocked.has_errands() {
                connection.answer(&mut frames, |answer| {
                    if self.requests.complete(answer.request) {
                        answered(&mut self.actions, answer);
                    }
                })
            } else {
                frames.next()
            };
            let Some(frame) = other else { break };
            connection.handle_frame(frame);
            self.drain_events(now, conn);
            // A command may send something because of this frame, and the next one may be the answer.
            self.obey_blocked(now);
        }
        self.note_received(now, conn);
        // A reply may call for the second write of the handshake.
        self.flush(conn);
        self.settle(now);
    }

    /// When time itself leads to something.
    fn deadline(&self) -> Option<Instant> {
        debug_assert_eq!(self.others_due_at, self.others_due(), "a fact did not end in `settle`");
        if self.is_terminated() {
            return None;
        }
        earliest([self.others_due_at, self.requests.poll_timeout()])
    }

    /// When anything but a request is due.
    fn others_due(&self) -> Option<Instant> {
        earliest([
            self.coordinator.poll_timeout(),
            self.pool.poll_timeout(),
            self.lifecycle.poll_timeout(),
            self.leases.poll_timeout(),
            self.subscriptions.poll_timeout(),
            self.blocked.poll_timeout(),
            self.keyring.poll_timeout(),
        ])
    }

    fn settle_timeout(&mut self) {
        self.others_due_at = self.others_due();
    }

    fn flush(&mut self, conn: ConnId) {
        if self.links.begin_flush(conn) {
            self.actions.push_back(Action::Flush { conn });
        }
    }
}

/// A snapshot, computed from the live state when it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections per address, moves, handoffs and windows.
    pub coordinator: CoordinatorStats,
    /// Slots of the pool; an old connection and its successor share one.
    pub pool_size: usize,
    /// Slots that have a connection that takes requests.
    pub serving: usize,
    /// Requests that are accepted and not completed.
    pub requests: usize,
    /// Those of them that wait for a connection.
    pub parked: usize,
    /// Those of them that are commands which block at their server, or wait for a connection to do so.
    pub blocking: usize,
    /// Requests that were written, and that nobody waits for any more, because they were cancelled or have timed out. They are not
    /// among [`requests`](Self::requests), but count for `requests_in_flight` on their connection until their replies are in.
    /// Many of them say that a server is slow, or a link dead.
    pub abandoned: usize,
    /// Connections apart from the pool, each for one caller; those that are being opened included.
    pub dedicated: usize,
    /// Those of them that somebody has.
    pub leased: usize,
    /// Callers that wait for one.
    pub waiting_for_lease: usize,
    /// Subscriptions that are open. Their one connection is among those that are [`dedicated`](Self::dedicated).
    pub subscriptions: usize,
    /// What they subscribe to, each topic once.
    pub topics: usize,
}
