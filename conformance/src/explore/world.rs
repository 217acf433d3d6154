//! What is around a client: sockets and their servers, requests and their callers.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use hitless_core::endpoint::Peer;
use hitless_core::ids::{ConnId, LeaseId, RequestId};

use super::consumers::Consumers;
use super::keyspace::{Keyspace, Station};

/// How far a connection is, as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Resolving,
    Dialing,
    /// Nothing of the handshake is answered.
    Greeting,
    /// HELLO and the opt-in are answered.
    Settling,
    Serving,
}

/// A connection that the client wants or has.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) conn: ConnId,
    pub(super) stage: Stage,
    pub(super) peer: Option<Peer>,
    /// The client has asked for notifications.
    pub(super) asks: bool,
    /// The server sends them.
    pub(super) notified: bool,
    /// The client wants to write.
    pub(super) flush: bool,
    pub(super) ending: bool,
    /// Its successor was dialled.
    pub(super) leaving: bool,
    /// It does not answer, says the client.
    pub(super) silent: bool,
    /// The numbers of the requests whose replies are to come.
    pub(super) written: Vec<u8>,
    pub(super) retired: Option<Retired>,
    /// Its owner is asked to switch to this connection, until then.
    pub(super) asked: Option<Retired>,
    /// What its server has of it, where somebody waits for elements or messages.
    pub(super) station: Station,
}

/// Beyond all deadlines.
pub(super) const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection that was cut over, or whose owner is asked to switch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retired {
    pub(super) successor: ConnId,
    pub(super) until: Instant,
}

/// What is written of the client's own, in the place of a request's number: an opt-in that comes late.
pub(super) const OPT_IN: u8 = 0xff;
/// The number of the first request: not one of the bytes that an opt-in consists of.
pub(super) const FIRST: u8 = 0x80;

/// A request that was accepted and has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: RequestId,
    /// Tells the requests of one exploration apart: it is what is written, and what is replied.
    pub(super) number: u8,
    pub(super) is_repeatable: bool,
    pub(super) was_written: bool,
    /// The last time it was written the server proved that it did not run.
    pub(super) was_refused: bool,
    /// The lease that it was sent on.
    pub(super) lease: Option<LeaseId>,
}

/// Somebody who wants a lease, or has one.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) lease: LeaseId,
    pub(super) stage: Holding,
    /// Where its requests are written.
    pub(super) conn: Option<ConnId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holding {
    Waits,
    Has,
    Lost,
}

/// The tables, each in the order of its ids.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) sockets: Vec<Socket>,
    pub(super) ledger: Vec<Entry>,
    /// The deadlines of moves, by the address that they retire.
    pub(super) deadlines: Vec<(Peer, Instant)>,
    /// In the order in which they came.
    pub(super) holders: Vec<Holder>,
    pub(super) keyspace: Keyspace,
    pub(super) consumers: Consumers,
}

impl Socket {
    pub(super) fn new(conn: ConnId, stage: Stage) -> Self {
        Self {
            conn,
            stage,
            peer: None,
            asks: false,
            notified: false,
            flush: false,
            ending: false,
            leaving: false,
            silent: false,
            written: Vec::new(),
            retired: None,
            asked: None,
            station: Station::default(),
        }
    }
}

impl World {
    pub(super) fn socket(&self, conn: ConnId) -> Option<&Socket> {
        self.sockets.iter().find(|socket| socket.conn == conn)
    }

    pub(super) fn socket_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.sockets.iter_mut().find(|socket| socket.conn == conn)
    }

    /// The socket of `conn`, which is new unless the same attempt was resolving before.
    pub(super) fn begin(&mut self, conn: ConnId, stage: Stage) -> &mut Socket {
        let at = self.sockets.partition_point(|socket| socket.conn < conn);
        if self.sockets.get(at).is_none_or(|socket| socket.conn != conn) {
            self.sockets.insert(at, Socket::new(conn, stage));
        }
        let socket = &mut self.sockets[at];
        socket.stage = stage;
        socket
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Socket> {
        let at = self.sockets.iter().position(|socket| socket.conn == conn)?;
        Some(self.sockets.remove(at))
    }

    /// Nobody is to switch to `conn` any more.
    pub(super) fn forget_successor(&mut self, conn: ConnId) {
        for socket in &mut self.sockets {
            socket.asked.take_if(|asked| asked.successor == conn);
        }
    }

    pub(super) fn begin_to_leave(&mut self, conn: ConnId) {
        if let Some(socket) = self.socket_mut(conn) {
            socket.leaving = true;
        }
    }

    /// Requests that may have run and are to be sent again.
    pub(super) fn alone(&self) -> usize {
        let is_carried = |number: u8| self.sockets.iter().any(|socket| socket.written.contains(&number));
        let waits = |entry: &&Entry| entry.was_written && !entry.was_refused && !is_carried(entry.number);
        self.ledger.iter().filter(waits).count()
    }

    pub(super) fn accept(&mut self, entry: Entry) {
        let at = self.ledger.partition_point(|known| known.id < entry.id);
        self.ledger.insert(at, entry);
    }

    pub(super) fn numbered(&mut self, number: u8) -> Option<&mut Entry> {
        self.ledger.iter_mut().find(|entry| entry.number == number)
    }

    pub(super) fn end(&mut self, request: RequestId) -> Option<Entry> {
        let at = self.ledger.iter().position(|entry| entry.id == request)?;
        Some(self.ledger.remove(at))
    }

    pub(super) fn deadline(&self, source: &Peer) -> Option<Instant> {
        self.deadlines.iter().find(|(known, _)| known == source).map(|(_, deadline)| *deadline)
    }

    pub(super) fn set_deadline(&mut self, source: Peer, deadline: Instant) {
        self.deadlines.retain(|(known, _)| *known != source);
        let at = self.deadlines.partition_point(|(known, _)| *known < source);
        self.deadlines.insert(at, (source, deadline));
    }

    /// The streams that have begun a handshake, without those that still drain while their successor is being replaced itself.
    pub(super) fn count(&self) -> usize {
        let in_use = |conn: ConnId| self.socket(conn).is_some_and(|socket| !socket.leaving);
        let counts = |socket: &&Socket| {
            !matches!(socket.stage, Stage::Resolving | Stage::Dialing)
                && socket.retired.is_none_or(|retired| in_use(retired.successor))
        };
        self.sockets.iter().filter(counts).count()
    }

    /// Takes in the tables, relative to `now`: places for ids, and for numbers of requests.
    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let Self { sockets, ledger, deadlines, holders, keyspace: _, consumers } = self;
        for Holder { lease, stage, conn } in holders {
            (lease.index(), stage).hash(hasher);
            conn.and_then(|conn| self.socket(conn)).map(|socket| socket.conn.index()).hash(hasher);
        }
        sockets.len().hash(hasher);
        for socket in sockets {
            let Socket {
                conn,
                stage,
                peer,
                asks,
                notified,
                flush,
                ending,
                leaving,
                silent,
                written,
                retired,
                asked,
                station: _,
            } = socket;
            (conn.index(), stage, peer, asks, notified, flush, ending, leaving, silent).hash(hasher);
            let place = |number: u8| ledger.iter().position(|entry| entry.number == number);
            written.len().hash(hasher);
            written.iter().for_each(|number| (place(*number), *number == OPT_IN).hash(hasher));
            for successor in [retired, asked] {
                successor.is_some().hash(hasher);
                if let Some(Retired { successor, until }) = successor {
                    self.socket(*successor).map(|socket| socket.conn.index()).hash(hasher);
                    until.saturating_duration_since(now).min(FAR).hash(hasher);
                }
            }
        }
        ledger.len().hash(hasher);
        for Entry { id, number: _, is_repeatable, was_written, was_refused, lease } in ledger {
            (id.index(), is_repeatable, was_written, was_refused).hash(hasher);
            lease.map(LeaseId::index).hash(hasher);
        }
        for (source, deadline) in deadlines.iter().filter(|(_, deadline)| *deadline > now) {
            (source, deadline.saturating_duration_since(now)).hash(hasher);
        }
        if consumers.are_there() {
            self.fingerprint_servers(now, hasher);
            consumers.fingerprint(hasher);
        }
    }
}
