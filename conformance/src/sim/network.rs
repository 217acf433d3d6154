//! The network between the driver's streams and the sans-IO server: bytes arrive later, in pieces, in order, or not at
//! all.

mod adapter;
mod apply;
mod ear;
mod parcel;
pub(super) mod reshape;
mod stream_faults;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hitless_core::driver::Runtime as _;
use hitless_core::endpoint::Peer;
use hitless_core::guide::Rng;

use self::ear::Ear;
use self::parcel::Parcel;
use self::reshape::Scene;
use self::stream_faults::StreamFaults;
use super::faults::{Fault, FaultKind, up_to};
use super::lock;
use super::plan::MoveStep;
use super::runtime::Executor;
use super::trace::{Trace, What};
use crate::server::{CloseHow, EndpointId, Listening, Server, ServerConn, ServerMachine};

/// The longest way of bytes from one end to the other, without a fault.
const LONGEST_HOP: Duration = Duration::from_micros(300);
/// When a dial that nobody answered is repeated.
const SYN_AGAIN: Duration = Duration::from_millis(50);
/// Bytes kept and under way to the server beyond which a socket takes no more.
const SEND_BUFFER: usize = 16 * 1024;

/// A socket of the client. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SocketId(u64);

/// A handle to the network: what the driver resolves and connects with. A clone is another handle.
#[derive(Clone)]
pub struct Network {
    executor: Executor,
    trace: Trace,
    state: Arc<Mutex<State>>,
}

pub(super) struct State {
    pub(super) server: Server,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    /// What the names led to before they led there.
    former_names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) lookups: BTreeMap<String, usize>,
    /// Faults that last.
    active: Vec<Fault>,
    /// Faults that are there to the end.
    lasting: Vec<Fault>,
    /// The socket that has just been silenced, to be noted.
    silenced: Option<SocketId>,
    /// To where the connection leads that has just been struck, to be noted.
    struck: Option<EndpointId>,
    /// An address of the name where nobody is.
    dead_address: Option<IpAddr>,
    /// When everything that is held up will be let go.
    calm_at: Option<Instant>,
    /// The last move, for what repeats it.
    last_move: Option<(MoveStep, u64)>,
    /// What consumers can know of.
    pub(super) ear: Ear,
    /// The cluster, if the server is one.
    pub(super) scene: Scene,
    rng: Rng,
    under_way: BTreeMap<(Instant, u64), Parcel>,
    sent: u64,
    links: BTreeMap<SocketId, Link>,
    by_server: BTreeMap<ServerConn, SocketId>,
    next_socket: u64,
    stream_faults: StreamFaults,
    /// Bytes are there at once, as they were sent.
    is_instant: bool,
}

/// One connection.
#[derive(Debug)]
struct Link {
    endpoint: Option<EndpointId>,
    /// Whether the dial is lost on its way.
    swallowed: bool,
    server: Option<ServerConn>,
    /// The answer to the dial, until it is fetched.
    answer: Option<Result<(), io::ErrorKind>>,
    /// When the last bytes under way arrive, in each direction.
    to_server: Instant,
    to_client: Instant,
    /// Whether what is written stays here until it is flushed, as it may in an encrypted stream.
    keeps_writes: bool,
    outbox: BytesMut,
    /// Bytes in the outbox and under way to the server.
    in_flight: usize,
    inbox: BytesMut,
    /// Nothing comes after what is in the inbox; an error if it was a reset.
    end: Option<Option<io::ErrorKind>>,
    /// What the server says is lost: its side has ended.
    half_closed: bool,
    /// The client has let go.
    dropped: bool,
    /// The task that dials or reads.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Network {
    pub(super) fn new(executor: &Executor, trace: &Trace, server: Server, seed: u64) -> Self {
        let state = State {
            server,
            names: BTreeMap::new(),
            former_names: BTreeMap::new(),
            lookups: BTreeMap::new(),
            active: Vec::new(),
            lasting: Vec::new(),
            silenced: None,
            struck: None,
            dead_address: None,
            calm_at: None,
            last_move: None,
            ear: Ear::default(),
            scene: Scene::default(),
            rng: Rng::new(seed),
            under_way: BTreeMap::new(),
            sent: 0,
            links: BTreeMap::new(),
            by_server: BTreeMap::new(),
            next_socket: 0,
            stream_faults: StreamFaults::default(),
            is_instant: false,
        };
        Self { executor: executor.clone(), trace: trace.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// A network without chance: what is sent arrives at once and in one piece.
    pub(super) fn instant(executor: &Executor, trace: &Trace, server: Server) -> Self {
        let network = Self::new(executor, trace, server, 0);
        network.state().is_instant = true;
        network.keep_writes(false);
        network
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Does something to the server, or looks at it, and carries out what follows.
    pub(super) fn with_server<T>(&self, act: impl FnOnce(&mut Server, Instant) -> T) -> T {
        let now = self.executor.now();
        let mut state = self.state();
        let result = act(&mut state.server, now);
        state.drain_server(now);
        result
    }

    /// When something arrives, or the server has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let state = self.state();
        let next = state.under_way.keys().next().map(|(at, _)| *at);
        next.into_iter().chain(state.server.poll_timeout()).min()
    }

    /// Delivers what is due, and lets the server act. True if there was anything.
    pub(super) fn handle_timeout(&self) -> bool {
        let now = self.executor.now();
        let mut state = self.state();
        let mut wakers = Vec::new();
        let mut acted = false;
        if state.server.poll_timeout().is_some_and(|at| at <= now) {
            acted = true;
            state.server.handle_timeout(now);
            state.drain_server(now);
        }
        while let Some(entry) = state.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            acted = true;
            let parcel = entry.remove();
            state.deliver(now, parcel, &self.trace, &mut wakers);
            state.drain_server(now);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        acted
    }

    /// Whether neither end knows of any connection, and nothing is under way.
    pub(super) fn is_deserted(&self) -> bool {
        let state = self.state();
        state.links.is_empty() && state.by_server.is_empty() && state.under_way.is_empty()
    }

    /// Sockets that the client has not let go of.
    pub(super) fn open_sockets(&self) -> usize {
        self.state().links.values().filter(|link| !link.dropped).count()
    }
}

impl State {
    fn deliver(&mut self, now: Instant, parcel: Parcel, trace: &Trace, wakers: &mut Vec<Waker>) {
        match parcel {
            Parcel::Dial { socket, reported } => {
                self.arrive(now, socket, reported);
                let accepted = self.links.get(&socket).and_then(|link| link.server);
                accepted.into_iter().for_each(|conn| trace.note(What::Accepted(socket, conn)));
            }
            Parcel::Answer(socket, error) => {
                trace.note(What::Answered(socket, error));
                if let Some(link) = self.links.get_mut(&socket) {
                    link.answer = Some(error.map_or(Ok(()), Err));
                    wakers.extend(link.reader.take());
                }
            }
            Parcel::ToServer(socket, bytes) => {
                trace.note(What::Arrived(socket, bytes.len()));
                let Some(link) = self.links.get_mut(&socket) else { return };
                link.in_flight -= bytes.len();
                wakers.extend(link.writer.take());
                if let Some(conn) = link.server {
                    self.server.handle_bytes(now, conn, &bytes);
                }
            }
            Parcel::HangUp(socket) => {
                if let Some(conn) = self.forget(socket) {
                    self.server.handle_disconnect(now, conn);
                }
            }
            Parcel::ToClient(socket, bytes) => {
                if let Some(link) = self.links.get_mut(&socket).filter(|link| link.end.is_none()) {
                    link.inbox.extend_from_slice(&bytes);
                    wakers.extend(link.reader.take());
                }
            }
            Parcel::End(socket, error) => {
                if let Some(link) = self.links.get_mut(&socket) {
                    if error.is_some() {
                        // A reset takes what was not read with it.
                        link.inbox.clear();
                    }
                    link.end = Some(error);
                    wakers.extend(link.reader.take());
                    wakers.extend(link.writer.take());
                }
            }
        }
    }

    /// A dial reaches the endpoint.
    fn arrive(&mut self, now: Instant, socket: SocketId, reported: bool) {
        let Some(link) = self.links.get(&socket).filter(|link| !link.swallowed) else { return };
        let Some(endpoint) = link.endpoint else {
            return self.answer(now, socket, Some(io::ErrorKind::ConnectionRefused));
        };
        let unanswered = |state: &Self| state.server.listening(now, endpoint) == Listening::BlackHole;
        if !(reported && unanswered(self)) {
            match self.server.accept(now, endpoint) {
                Ok(conn) => {
                    self.by_server.insert(conn, socket);
                    if let Some(link) = self.links.get_mut(&socket) {
                        link.server = Some(conn);
                    }
                    return self.answer(now, socket, None);
                }
                Err(_) if !unanswered(self) => {
                    return self.answer(now, socket, Some(io::ErrorKind::ConnectionRefused));
                }
                Err(_) => {}
            }
        }
        self.post(now + SYN_AGAIN, Parcel::Dial { socket, reported: true });
    }

    fn answer(&mut self, now: Instant, socket: SocketId, error: Option<io::ErrorKind>) {
        let mut delay = self.hop(socket);
        if self.is_active(FaultKind::SlowDials, self.endpoint(socket)) {
            let longest = self.delay_of(FaultKind::SlowDials);
            delay += up_to(&mut self.rng, longest);
        }
        self.send_to_client(now + delay, socket, Parcel::Answer(socket, error));
    }

    /// Takes what the server has to say, and puts it on its way.
    fn drain_server(&mut self, now: Instant) {
        while let Some(conn) = self.server.poll_ready() {
            let mut buffer = BytesMut::new();
            self.server.poll_transmit(conn, &mut buffer);
            let Some(socket) = self.by_server.get(&conn).copied() else { continue };
            if self.links.get(&socket).is_some_and(|link| link.half_closed) {
                continue;
            }
            for piece in self.pieces(socket, buffer.freeze()) {
                let at = now + self.hop(socket);
                self.send_to_client(at, socket, Parcel::ToClient(socket, piece));
            }
        }
        while let Some((conn, how)) = self.server.poll_close() {
            let Some(socket) = self.by_server.remove(&conn) else { continue };
            if let Some(link) = self.links.get_mut(&socket) {
                link.server = None;
            }
            let at = now + self.hop(socket);
            match how {
                CloseHow::Fin => self.send_to_client(at, socket, Parcel::End(socket, None)),
                CloseHow::Reset => self.reset_client(at, socket),
            }
        }
    }

    /// A reset overtakes what is under way.
    fn reset_client(&mut self, at: Instant, socket: SocketId) {
        self.under_way.retain(|_, parcel| !parcel.is_to_client(socket));
        self.post(at, Parcel::End(socket, Some(io::ErrorKind::ConnectionReset)));
    }

    /// Both ends of a connection hear of a reset; what is under way is lost.
    fn reset_both(&mut self, now: Instant, socket: SocketId) {
        self.under_way.retain(|_, parcel| !parcel.is_to_client(socket) && !parcel.is_to_server(socket));
        let Some(link) = self.links.get_mut(&socket) else { return };
        link.in_flight = 0;
        link.outbox.clear();
        let conn = link.server.take();
        self.post(now, Parcel::End(socket, Some(io::ErrorKind::ConnectionReset)));
        if let Some(conn) = conn {
            self.by_server.remove(&conn);
            self.server.handle_disconnect(now, conn);
        }
    }

    /// Keeps what is under way in the direction that `is_meant` describes from arriving before `until`, in order.
    fn hold(&mut self, until: Instant, is_meant: impl Fn(&Parcel) -> bool) {
        let keys: Vec<(Instant, u64)> =
            self.under_way.iter().filter(|(_, parcel)| is_meant(parcel)).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(parcel) = self.under_way.remove(&key) {
                self.post(key.0.max(until), parcel);
            }
        }
    }

    fn send_to_client(&mut self, at: Instant, socket: SocketId, parcel: Parcel) {
        let Some(link) = self.links.get_mut(&socket) else { return };
        link.to_client = link.to_client.max(at);
        let at = link.to_client;
        self.post(at, parcel);
    }

    fn post(&mut self, at: Instant, parcel: Parcel) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), parcel);
    }

    fn forget(&mut self, socket: SocketId) -> Option<ServerConn> {
        let conn = self.links.remove(&socket)?.server?;
        self.by_server.remove(&conn);
        Some(conn)
    }

    fn endpoint(&self, socket: SocketId) -> Option<EndpointId> {
        self.links.get(&socket).and_then(|link| link.endpoint)
    }

    fn endpoint_at(&self, peer: &Peer) -> Option<EndpointId> {
        self.server.endpoints().into_iter().find(|id| Peer::from(self.server.address(*id)) == *peer)
    }

    fn longest_hop(&self) -> Duration {
        if self.is_instant { Duration::ZERO } else { LONGEST_HOP }
    }

    /// How long a way takes now.
    fn hop(&mut self, socket: SocketId) -> Duration {
        let endpoint = self.endpoint(socket);
        let longest = self.longest_hop();
        let mut hop = up_to(&mut self.rng, longest);
        for at in 0..self.active.len() {
            let fault = self.active[at];
            if fault.endpoint.is_some() && fault.endpoint != endpoint {
                continue;
            }
            match fault.kind {
                FaultKind::Latency => hop += fault.delay,
                FaultKind::Jitter => hop += up_to(&mut self.rng, fault.delay),
                _ => {}
            }
        }
        hop
    }

    fn is_active(&self, kind: FaultKind, endpoint: Option<EndpointId>) -> bool {
        self.active.iter().any(|fault| {
            fault.kind == kind
                && (fault.endpoint.is_none() || fault.endpoint == endpoint || endpoint.is_none())
        })
    }

    fn delay_of(&self, kind: FaultKind) -> Duration {
        let delays = self.active.iter().filter(|fault| fault.kind == kind).map(|fault| fault.delay);
        delays.max().unwrap_or_default()
    }

    /// Cuts bytes anywhere, or not at all.
    fn pieces(&mut self, socket: SocketId, mut bytes: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        if self.is_active(FaultKind::Splits, self.endpoint(socket)) {
            while !bytes.is_empty() {
                let at = (1 + self.rng.below(3)).min(bytes.len() as u64);
                pieces.push(bytes.split_to(usize::try_from(at).unwrap_or(1)));
            }
            return pieces;
        }
        if !self.is_instant && self.rng.below(4) == 0 {
            let at = self.rng.below(bytes.len() as u64 + 1);
            pieces.push(bytes.split_to(usize::try_from(at).unwrap_or(0)));
        }
        pieces.push(bytes);
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}
