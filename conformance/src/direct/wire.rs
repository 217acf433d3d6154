//! A virtual network with a server at its end: bytes arrive later, in pieces, and in order.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hitless_core::endpoint::Peer;
use hitless_core::error::CloseCause;
use hitless_core::guide::Rng;
use hitless_core::ids::ConnId;

use crate::server::{CloseHow, EndpointId, Listening, Server, ServerConn, ServerMachine};

/// The longest way of bytes from one end to the other.
const LONGEST_HOP: Duration = Duration::from_micros(300);
/// The most pieces that one write falls into.
const MOST_PIECES: u64 = 4;
/// When a dial that nobody answered is repeated.
const SYN_AGAIN: Duration = Duration::from_millis(50);

/// What arrives at the client's end.
#[derive(Debug)]
pub(super) enum Arrival {
    Resolved(ConnId, io::Result<Vec<IpAddr>>),
    Connected(ConnId, Peer),
    ConnectFailed(ConnId, io::ErrorKind),
    Bytes(ConnId, Bytes),
    Closed(ConnId, CloseCause),
}

/// What is under way.
#[derive(Debug)]
enum Cargo {
    ToClient(Arrival),
    Dial { conn: ConnId, endpoint: EndpointId, peer: Peer, reported: bool },
    ToServer(ConnId, Bytes),
    HangUp(ConnId),
}

/// The two directions of a connection: nothing overtakes what was sent before.
#[derive(Debug)]
struct Lane {
    server: Option<ServerConn>,
    to_server: Instant,
    to_client: Instant,
}

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) server: Server,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) lookups: BTreeMap<String, usize>,
    rng: Rng,
    /// Every way takes so long, and nothing is cut; otherwise both are drawn.
    hop: Option<Duration>,
    /// By time, then in the order in which it was sent.
    under_way: BTreeMap<(Instant, u64), Cargo>,
    sent: u64,
    lanes: BTreeMap<ConnId, Lane>,
    by_server: BTreeMap<ServerConn, ConnId>,
    /// Whether the client reads nothing, and what has arrived meanwhile.
    reads_blocked: bool,
    unread: VecDeque<Arrival>,
}

impl Wire {
    pub(super) fn new(server: Server, seed: u64, hop: Option<Duration>) -> Self {
        Self {
            server,
            names: BTreeMap::new(),
            lookups: BTreeMap::new(),
            rng: Rng::new(seed),
            hop,
            under_way: BTreeMap::new(),
            sent: 0,
            lanes: BTreeMap::new(),
            by_server: BTreeMap::new(),
            reads_blocked: false,
            unread: VecDeque::new(),
        }
    }

    /// Keeps what arrives for the client, or lets it have what has arrived.
    pub(super) fn block_reads(&mut self, blocked: bool) {
        self.reads_blocked = blocked;
    }

    /// Whether the end of `conn` has arrived as well, behind what is read of it now.
    pub(super) fn has_ended(&self, now: Instant, conn: ConnId) -> bool {
        if self.lanes.contains_key(&conn) {
            return false;
        }
        let is_end = |arrival: &Arrival| matches!(arrival, Arrival::Closed(ended, _) if *ended == conn);
        let mut arrived = self.under_way.range(..=(now, u64::MAX)).map(|(_, cargo)| cargo);
        self.unread.iter().any(is_end)
            || arrived.any(|cargo| matches!(cargo, Cargo::ToClient(arrival) if is_end(arrival)))
    }

    pub(super) fn resolve(&mut self, now: Instant, conn: ConnId, host: &str) {
        *self.lookups.entry(host.to_owned()).or_default() += 1;
        let known = self.names.get(host).cloned();
        let answer = known.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        let at = now + self.hop();
        self.post(at, Cargo::ToClient(Arrival::Resolved(conn, answer)));
    }

    pub(super) fn dial(&mut self, now: Instant, conn: ConnId, peer: Peer) {
        self.lanes.insert(conn, Lane { server: None, to_server: now, to_client: now });
        let endpoints = self.server.endpoints();
        let found = endpoints.into_iter().find(|id| Peer::from(self.server.address(*id)) == peer);
        let at = now + self.hop();
        let cargo = match found {
            Some(endpoint) => Cargo::Dial { conn, endpoint, peer, reported: false },
            None => Cargo::ToClient(Arrival::ConnectFailed(conn, io::ErrorKind::ConnectionRefused)),
        };
        self.post(at, cargo);
    }

    /// The client writes.
    pub(super) fn write(&mut self, now: Instant, conn: ConnId, bytes: Bytes) {
        for piece in self.pieces(bytes) {
            let at = now + self.hop();
            let Some(lane) = self.lanes.get_mut(&conn) else { return };
            lane.to_server = lane.to_server.max(at);
            let at = lane.to_server;
            self.post(at, Cargo::ToServer(conn, piece));
        }
    }

    /// The client closes, or gives a dial up. What it wrote still arrives; it hears nothing any more.
    pub(super) fn hang_up(&mut self, now: Instant, conn: ConnId) {
        let Some(lane) = self.lanes.get(&conn) else { return };
        let at = lane.to_server.max(now);
        self.post(at, Cargo::HangUp(conn));
        self.under_way.retain(|_, cargo| !cargo.is_to_client(conn) && !cargo.is_dial_of(conn));
        self.unread.retain(|arrival| arrival.conn() != conn);
    }

    /// When something arrives, or the server has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.under_way.keys().next().map(|(at, _)| *at);
        next.into_iter().chain(self.server.poll_timeout()).min()
    }

    /// Delivers what is due at the server's end, and lets the server act.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
        self.drain_server(now);
    }

    /// The next thing that has arrived at the client's end.
    pub(super) fn poll_arrival(&mut self, now: Instant) -> Option<Arrival> {
        if !self.reads_blocked && !self.unread.is_empty() {
            return self.unread.pop_front();
        }
        loop {
            let entry = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
            match entry.remove() {
                Cargo::ToClient(arrival @ (Arrival::Bytes(..) | Arrival::Closed(..)))
                    if self.reads_blocked =>
                {
                    self.unread.push_back(arrival);
                }
                Cargo::ToClient(arrival) => {
                    if let Arrival::ConnectFailed(conn, _) = &arrival {
                        self.forget(*conn);
                    }
                    return Some(arrival);
                }
                Cargo::Dial { conn, endpoint, peer, reported } => {
                    self.arrive(now, conn, endpoint, peer, reported);
                }
                Cargo::ToServer(conn, bytes) => {
                    if let Some(server) = self.lanes.get(&conn).and_then(|lane| lane.server) {
                        self.server.handle_bytes(now, server, &bytes);
                    }
                }
                Cargo::HangUp(conn) => {
                    if let Some(server) = self.forget(conn) {
                        self.server.handle_disconnect(now, server);
                    }
                }
            }
            self.drain_server(now);
        }
    }

    /// Takes what the server has to say, and puts it on its way.
    pub(super) fn drain_server(&mut self, now: Instant) {
        while let Some(server) = self.server.poll_ready() {
            let mut buffer = BytesMut::new();
            self.server.poll_transmit(server, &mut buffer);
            let Some(conn) = self.by_server.get(&server).copied() else { continue };
            for piece in self.pieces(buffer.freeze()) {
                self.send_to_client(now, conn, Arrival::Bytes(conn, piece));
            }
        }
        while let Some((server, how)) = self.server.poll_close() {
            let Some(conn) = self.by_server.get(&server).copied() else { continue };
            let cause = match how {
                CloseHow::Fin => CloseCause::ByServer,
                CloseHow::Reset => {
                    // A reset overtakes what is under way.
                    self.under_way.retain(|_, cargo| !cargo.is_to_client(conn));
                    CloseCause::Io(io::ErrorKind::ConnectionReset)
                }
            };
            self.send_to_client(now, conn, Arrival::Closed(conn, cause));
            self.forget(conn);
        }
    }

    /// Whether the client has no connection and no dial here.
    pub(super) fn is_deserted(&self) -> bool {
        self.lanes.is_empty()
    }

    fn arrive(&mut self, now: Instant, conn: ConnId, endpoint: EndpointId, peer: Peer, reported: bool) {
        if reported && self.server.listening(now, endpoint) == Listening::BlackHole {
            let cargo = Cargo::Dial { conn, endpoint, peer, reported };
            return self.post(now + SYN_AGAIN, cargo);
        }
        match self.server.accept(now, endpoint) {
            Ok(server) => {
                self.by_server.insert(server, conn);
                if let Some(lane) = self.lanes.get_mut(&conn) {
                    lane.server = Some(server);
                }
                self.send_to_client(now, conn, Arrival::Connected(conn, peer));
            }
            Err(_) if self.server.listening(now, endpoint) == Listening::BlackHole => {
                self.post(now + SYN_AGAIN, Cargo::Dial { conn, endpoint, peer, reported: true });
            }
            Err(_) => {
                let refused = Arrival::ConnectFailed(conn, io::ErrorKind::ConnectionRefused);
                self.send_to_client(now, conn, refused);
            }
        }
    }

    fn send_to_client(&mut self, now: Instant, conn: ConnId, arrival: Arrival) {
        let at = now + self.hop();
        let Some(lane) = self.lanes.get_mut(&conn) else { return };
        lane.to_client = lane.to_client.max(at);
        let at = lane.to_client;
        self.post(at, Cargo::ToClient(arrival));
    }

    fn forget(&mut self, conn: ConnId) -> Option<ServerConn> {
        let server = self.lanes.remove(&conn)?.server?;
        self.by_server.remove(&server);
        Some(server)
    }

    fn post(&mut self, at: Instant, cargo: Cargo) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), cargo);
    }

    fn hop(&mut self) -> Duration {
        self.hop.unwrap_or_else(|| self.rng.jitter(LONGEST_HOP / 2, 100))
    }

    /// Cuts a write anywhere, or not at all.
    fn pieces(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        let cuts = if self.hop.is_some() { 0 } else { self.rng.below(MOST_PIECES) };
        for _ in 0..cuts {
            let at = self.rng.below(bytes.len() as u64 + 1);
            pieces.push(bytes.split_to(usize::try_from(at).unwrap_or(0)));
        }
        pieces.push(bytes);
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

impl Cargo {
    fn is_to_client(&self, conn: ConnId) -> bool {
        match self {
            Self::ToClient(arrival) => arrival.conn() == conn,
            Self::Dial { .. } | Self::ToServer(..) | Self::HangUp(_) => false,
        }
    }

    fn is_dial_of(&self, conn: ConnId) -> bool {
        matches!(self, Self::Dial { conn: dialled, .. } if *dialled == conn)
    }
}

impl Arrival {
    fn conn(&self) -> ConnId {
        match self {
            Self::Resolved(conn, _)
            | Self::Connected(conn, _)
            | Self::ConnectFailed(conn, _)
            | Self::Bytes(conn, _)
            | Self::Closed(conn, _) => *conn,
        }
    }
}
