//! What happened at a server, in order: the material of the laws that tests check.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use super::config::Detail;
use super::machine::{EndpointId, Listening, ServerConn};
use super::request::Request;

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client closed, or the link broke.
    Client,
    /// The server, in the course of a maintenance or because a test asked for it.
    Server,
}

/// How an opt-in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptInOutcome {
    /// Accepted, with the endpoint type that was asked for.
    Accepted(Option<Bytes>),
    /// Turned off again.
    Off,
    /// Refused.
    Refused,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The endpoint was dialled.
    Dialled(Listening),
    /// A connection asked for notifications.
    OptIn(OptInOutcome),
    /// A request was read from the connection; executed or not.
    Received(Request),
    /// A request was executed.
    Executed {
        /// What was executed.
        request: Request,
        /// Whether it ended without an error.
        ok: bool,
    },
    /// A request is held up by a pause.
    HeldUp(Request),
    /// A request that was held up runs now.
    Resumed(Request),
    /// A maintenance notification was written to the connection.
    Notified {
        /// `MOVING`, `MIGRATING` ...
        name: &'static str,
        /// Its id.
        seq: u64,
    },
    /// The connection ended.
    Closed(ClosedBy),
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// Where.
    pub endpoint: EndpointId,
    /// On which connection; none for a dial that was not accepted.
    pub conn: Option<ServerConn>,
    /// What.
    pub event: Event,
}

/// The ledger. Entries are in the order in which things happened, which is finer than their times.
#[derive(Debug)]
pub struct Ledger {
    detail: Detail,
    entries: Vec<Entry>,
    last_request: BTreeMap<ServerConn, Instant>,
}

impl Ledger {
    pub(super) fn new(detail: Detail) -> Self {
        Self { detail, entries: Vec::new(), last_request: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, at: Instant, endpoint: EndpointId, conn: Option<ServerConn>, event: Event) {
        self.entries.push(Entry { at, endpoint, conn, event });
    }

    pub(super) fn received(
        &mut self,
        at: Instant,
        endpoint: EndpointId,
        conn: ServerConn,
        request: &Request,
    ) {
        self.last_request.insert(conn, at);
        if self.detail == Detail::Everything {
            self.add(at, endpoint, Some(conn), Event::Received(request.clone()));
        }
    }

    pub(super) fn executed(
        &mut self,
        at: Instant,
        endpoint: EndpointId,
        conn: ServerConn,
        request: Request,
        ok: bool,
    ) {
        if self.detail == Detail::Everything {
            self.add(at, endpoint, Some(conn), Event::Executed { request, ok });
        }
    }

    /// A pause has held a request up, or lets it run.
    pub(super) fn paused(&mut self, at: Instant, endpoint: EndpointId, conn: ServerConn, event: Event) {
        if self.detail == Detail::Everything {
            self.add(at, endpoint, Some(conn), event);
        }
    }

    /// Everything that is kept, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Forgets what happened so far.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Executions of a command with this first argument: `executions("INCR", b"counter")`.
    pub fn executions<'a>(&'a self, words: &'a str, key: &'a [u8]) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| match &entry.event {
            Event::Executed { request, .. } => {
                request.is(words) && request.key().is_some_and(|first| first == key)
            }
            _ => false,
        })
    }

    /// Executions of requests that hold this word anywhere: a token that a test made unique.
    pub fn executions_with<'a>(&'a self, token: &'a [u8]) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| match &entry.event {
            Event::Executed { request, .. } => request.words().iter().any(|word| word == token),
            _ => false,
        })
    }

    /// The requests that arrived on a connection, in order.
    pub fn received_on(&self, conn: ServerConn) -> impl Iterator<Item = &Request> {
        self.requests().filter(move |(entry, _)| entry.conn == Some(conn)).map(|(_, request)| request)
    }

    /// The requests that arrived at an endpoint, with time and connection.
    pub fn received_at(&self, endpoint: EndpointId) -> impl Iterator<Item = (&Entry, &Request)> {
        self.requests().filter(move |(entry, _)| entry.endpoint == endpoint)
    }

    /// The requests of applications (not those of handshakes) that arrived at an endpoint later than `since`.
    pub fn user_requests_after(
        &self,
        endpoint: EndpointId,
        since: Instant,
    ) -> impl Iterator<Item = (&Entry, &Request)> {
        self.received_at(endpoint).filter(move |(entry, request)| entry.at > since && !request.is_handshake())
    }

    /// The dials of an endpoint, with time and result.
    pub fn dials(&self, endpoint: EndpointId) -> impl Iterator<Item = (Instant, Listening)> {
        self.entries.iter().filter(move |entry| entry.endpoint == endpoint).filter_map(|entry| {
            match entry.event {
                Event::Dialled(listening) => Some((entry.at, listening)),
                _ => None,
            }
        })
    }

    /// The number of dials that an endpoint accepted.
    #[must_use]
    pub fn accepted(&self, endpoint: EndpointId) -> usize {
        self.dials(endpoint).filter(|(_, listening)| *listening == Listening::Accepting).count()
    }

    /// The opt-ins at an endpoint, with their connections.
    pub fn opt_ins(&self, endpoint: EndpointId) -> impl Iterator<Item = (ServerConn, &OptInOutcome)> {
        self.entries.iter().filter(move |entry| entry.endpoint == endpoint).filter_map(|entry| {
            match (&entry.event, entry.conn) {
                (Event::OptIn(outcome), Some(conn)) => Some((conn, outcome)),
                _ => None,
            }
        })
    }

    /// The notifications that were written to a connection, in order: name and id.
    pub fn notified(&self, conn: ServerConn) -> impl Iterator<Item = (&'static str, u64)> {
        self.entries.iter().filter(move |entry| entry.conn == Some(conn)).filter_map(|entry| {
            match entry.event {
                Event::Notified { name, seq } => Some((name, seq)),
                _ => None,
            }
        })
    }

    /// When and by whom a connection was ended.
    #[must_use]
    pub fn closed(&self, conn: ServerConn) -> Option<(Instant, ClosedBy)> {
        self.entries.iter().find_map(|entry| match entry.event {
            Event::Closed(by) if entry.conn == Some(conn) => Some((entry.at, by)),
            _ => None,
        })
    }

    /// When the last request arrived on a connection; kept whatever the detail.
    #[must_use]
    pub fn last_request(&self, conn: ServerConn) -> Option<Instant> {
        self.last_request.get(&conn).copied()
    }

    fn requests(&self) -> impl Iterator<Item = (&Entry, &Request)> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Received(request) => Some((entry, request)),
            _ => None,
        })
    }
}
