//! The loop of an embedder: all that it takes to run a [`Client`] without a driver.
//!
//! An application with an event loop of its own does exactly this, with sockets where this one has a [`Wire`]:
//!
//! 1. hand in what arrived ([`hear`](Embedder::hear)): frames, not bytes, so each connection has a [`Decoder`]; if the end
//!    of the stream has arrived behind them, say so first ([`handle_ending`](Client::handle_ending));
//! 2. call [`handle_timeout`](Client::handle_timeout) when [`poll_timeout`](Client::poll_timeout) is due;
//! 3. carry out every [`Action`] ([`obey`](Embedder::obey)) until there is none;
//! 4. wait for the network, but no longer than `poll_timeout` says; go on with 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hitless_core::client::{Action, Client, Invalidation};
use hitless_core::config::Config;
use hitless_core::error::{CloseCause, ConnectError, CredentialsError, SystemError};
use hitless_core::event::Event;
use hitless_core::ids::{ChangeId, ConnId, LeaseId, RequestId, SubscriptionId};
use hitless_core::pubsub::{Item, SubscribeError};
use hitless_core::request::Outcome;
use hitless_core::review::REVIEW_LIMIT;
use hitless_core::write_buffer::WriteBuffer;
use resp3_codec::{Decoder, Frame, Limits};

use super::wire::{Arrival, Wire};
use crate::vault::Vault;
use crate::world::{LeaseState, Reviewer};

/// A client, its connections, and what came of it.
#[derive(Debug)]
pub(super) struct Embedder {
    pub(super) client: Client,
    reply_limits: Limits,
    links: BTreeMap<ConnId, Link>,
    /// Whether the sockets take nothing.
    pub(super) blocked: bool,
    /// Connections that were cut over: nothing may be written to them any more.
    retired: BTreeSet<ConnId>,
    pub(super) started: Option<Result<(), ConnectError>>,
    pub(super) completed: Vec<(RequestId, Outcome)>,
    pub(super) events: Vec<(Instant, Event)>,
    pub(super) pushes: Vec<Vec<Frame>>,
    /// What caches were told.
    pub(super) invalidations: Vec<Invalidation>,
    /// What was said of each lease.
    pub(super) leases: BTreeMap<LeaseId, LeaseState>,
    /// What was said of each wish for topics.
    pub(super) changes: BTreeMap<ChangeId, Result<(), SubscribeError>>,
    /// What each subscription has received.
    pub(super) received: BTreeMap<SubscriptionId, Vec<Item>>,
    reviewer: Option<Opinion>,
    vault: Option<Arc<Vault>>,
    /// Dials that wait for their credentials.
    keyless: Vec<ConnId>,
    /// The client wants new credentials.
    wants_new: bool,
}

/// What the case has to say of notifications.
pub(super) struct Opinion(pub(super) Reviewer);

impl fmt::Debug for Opinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opinion(..)")
    }
}

/// What an embedder keeps of each connection, beside its socket.
#[derive(Debug)]
struct Link {
    decoder: Decoder,
    outgoing: WriteBuffer,
    /// There is more to take from the client.
    flush: bool,
}

impl Embedder {
    pub(super) fn new(
        now: Instant,
        config: Config,
        seed: u64,
        reviewer: Option<Opinion>,
        vault: Option<Arc<Vault>>,
    ) -> Self {
        let reply_limits = config.reply_limits();
        let mut client = Client::new(now, Arc::new(config), seed);
        client.review_notifications(reviewer.as_ref().map(|_| REVIEW_LIMIT));
        Self {
            client,
            reply_limits,
            reviewer,
            vault,
            keyless: Vec::new(),
            wants_new: false,
            links: BTreeMap::new(),
            blocked: false,
            retired: BTreeSet::new(),
            started: None,
            completed: Vec::new(),
            events: Vec::new(),
            pushes: Vec::new(),
            invalidations: Vec::new(),
            leases: BTreeMap::new(),
            changes: BTreeMap::new(),
            received: BTreeMap::new(),
        }
    }

    /// Hands in something that arrived.
    pub(super) fn hear(&mut self, now: Instant, arrival: Arrival, wire: &mut Wire) {
        match arrival {
            Arrival::Resolved(conn, answer) => {
                self.client.handle_resolved(now, conn, answer.map_err(SystemError::from));
            }
            Arrival::Connected(conn, peer) => {
                self.links.insert(conn, Link::new(self.reply_limits));
                self.client.handle_connected(now, conn, peer);
            }
            Arrival::ConnectFailed(conn, kind) => self.client.handle_connect_failed(now, conn, kind),
            Arrival::Bytes(conn, bytes) => self.hear_bytes(now, conn, &bytes, wire),
            Arrival::Closed(conn, cause) => {
                self.links.remove(&conn);
                self.client.handle_closed(now, conn, cause);
            }
        }
    }

    /// Hands in what the case has put into its vault: one fact. False if there is none.
    pub(super) fn look_into_the_vault(&mut self, now: Instant) -> bool {
        let Some(vault) = &self.vault else { return false };
        if vault.take_change() {
            self.client.handle_credentials_changed(now);
            return true;
        }
        if !self.wants_new && self.keyless.is_empty() {
            return false;
        }
        let Some(answer) = vault.answer() else { return false };
        let answer = answer.map_err(CredentialsError::failed);
        if std::mem::take(&mut self.wants_new) {
            self.client.handle_new_credentials(now, answer);
        } else {
            let conn = self.keyless.remove(0);
            self.client.handle_credentials(now, conn, answer);
        }
        true
    }

    fn hear_bytes(&mut self, now: Instant, conn: ConnId, bytes: &[u8], wire: &mut Wire) {
        // The client has closed a connection that it no longer knows.
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.decoder.buffer().extend_from_slice(bytes);
        let mut frames = Vec::new();
        let broken = loop {
            match link.decoder.poll_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break None,
                Err(error) => break Some(CloseCause::Protocol(error.kind().into())),
            }
        };
        if wire.has_ended(now, conn) {
            self.client.handle_ending(conn);
        }
        self.client.handle_frames(now, conn, frames);
        if let Some(cause) = broken {
            // Nothing that follows can be read: this side closes.
            self.links.remove(&conn);
            wire.hang_up(now, conn);
            self.client.handle_closed(now, conn, cause);
        }
    }

    /// Carries out what the client has decided, until it has no more to say.
    pub(super) fn obey(&mut self, now: Instant, wire: &mut Wire) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Review(review) => {
                    let verdict =
                        self.reviewer.as_ref().and_then(|Opinion(judge)| judge(&review.notification));
                    if let Some(verdict) = verdict {
                        self.client.handle_verdict(now, review.id, verdict);
                    }
                }
                Action::Resolve { conn, host } => wire.resolve(now, conn, &host),
                Action::Credentials { conn } => {
                    self.keyless.push(conn);
                    self.vault.iter().for_each(|vault| vault.ask());
                }
                Action::NewCredentials => {
                    self.wants_new = true;
                    self.vault.iter().for_each(|vault| vault.ask());
                }
                // The client watches the time of its dials itself.
                Action::Connect { conn, target, until: _ } => wire.dial(now, conn, target.address),
                Action::Flush { conn } => {
                    if let Some(link) = self.links.get_mut(&conn) {
                        link.flush = true;
                    }
                    self.flush(now, conn, wire);
                }
                Action::Close { conn, cause: _ } => {
                    self.links.remove(&conn);
                    self.keyless.retain(|keyless| *keyless != conn);
                    wire.hang_up(now, conn);
                }
                Action::Subscribed { change, outcome } => {
                    self.changes.insert(change, outcome);
                }
                Action::Deliver { subscription, item } => {
                    self.received.entry(subscription).or_default().push(item);
                }
                Action::Complete { request, outcome } => self.completed.push((request, outcome)),
                Action::Started(result) => self.started = Some(result),
                Action::Push { conn: _, elements } => self.pushes.push(elements),
                Action::Invalidated(told) => self.invalidations.push(told),
                Action::Leased { lease, outcome } => self.lease(lease).outcome = Some(outcome),
                Action::LeaseMoving { lease, deadline } => self.lease(lease).moving = Some(deadline),
                Action::LeaseLost { lease, cause } => self.lease(lease).lost = Some(cause),
                Action::Emit(event) => {
                    if let Event::CutOver { from, .. } = event {
                        self.retired.insert(from);
                    }
                    self.events.push((now, event));
                }
                Action::Terminated => {
                    assert!(self.client.is_terminated(), "said to be terminated, but is not");
                }
                // Actions that later versions add concern embedders that ask for them.
                _ => {}
            }
        }
    }

    fn lease(&mut self, lease: LeaseId) -> &mut LeaseState {
        self.leases.entry(lease).or_default()
    }

    /// Writes what a connection has to write, as far as its socket takes it.
    fn flush(&mut self, now: Instant, conn: ConnId, wire: &mut Wire) {
        let Some(link) = self.links.get_mut(&conn).filter(|link| link.flush && !self.blocked) else { return };
        self.client.handle_writable(now, conn);
        while self.client.poll_transmit(conn, &mut link.outgoing) {
            // What the client itself asks about commands that wait at the old server is nobody's request.
            let is_own = link.outgoing.chunk().starts_with(b"*4\r\n$6\r\nCLIENT\r\n");
            let may_write = is_own || !self.retired.contains(&conn);
            assert!(may_write, "INV-04: a request was written after the cut-over");
            while !link.outgoing.is_empty() {
                let chunk = Bytes::copy_from_slice(link.outgoing.chunk());
                link.outgoing.advance(chunk.len());
                wire.write(now, conn, chunk);
            }
        }
        link.flush = false;
    }

    /// The sockets take bytes again.
    pub(super) fn unblock(&mut self, now: Instant, wire: &mut Wire) {
        self.blocked = false;
        let waiting: Vec<ConnId> = self.links.keys().copied().collect();
        waiting.into_iter().for_each(|conn| self.flush(now, conn, wire));
    }

    /// Nothing is left after the end. INV-15
    pub(super) fn check_that_nothing_is_left(&self) {
        assert!(self.client.is_terminated());
        assert!(self.links.is_empty(), "connections are left: {:?}", self.links.keys());
        assert_eq!(self.client.poll_timeout(), None, "a timer is left");
        let stats = self.client.stats();
        assert_eq!((stats.serving, stats.requests, stats.parked), (0, 0, 0), "{stats:?}");
        assert_eq!((stats.dedicated, stats.leased, stats.waiting_for_lease), (0, 0, 0), "{stats:?}");
        let coordinator = stats.coordinator;
        assert!(coordinator.connections.is_empty() && coordinator.dialing == 0, "{coordinator:?}");
    }
}

impl Link {
    fn new(reply_limits: Limits) -> Self {
        Self { decoder: Decoder::new(reply_limits), outgoing: WriteBuffer::new(), flush: false }
    }
}
