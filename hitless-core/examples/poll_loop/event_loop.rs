//! The loop: sockets that never block, readiness from mio, and a [`Client`] that is told what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hitless_core::endpoint::Peer;
use hitless_core::error::{CloseCause, ConnectError, SystemError};
use hitless_core::event::Event;
use hitless_core::ids::{ConnId, RequestId};
use hitless_core::request::Outcome;
use hitless_core::write_buffer::WriteBuffer;
use hitless_core::{Action, Client, Config, Decoder, Limits};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

/// Wakes the loop when a name has been looked up.
const NAMES: Token = Token(usize::MAX);
const READ: usize = 16 * 1024;
/// Reads from one connection before the others have their turn.
const READS: usize = 8;

/// What a turn of the loop brought, for the application.
#[derive(Debug)]
pub(crate) enum News {
    /// Every connection of the pool is there, or the client has given up.
    Started(Result<(), ConnectError>),
    /// A request has ended.
    Completed(RequestId, Outcome),
    /// Something to observe.
    Event(Event),
    /// The client has shut down, and nothing of it is left.
    Terminated,
}

/// A client and its sockets, on the thread that calls [`turn`](EventLoop::turn).
pub(crate) struct EventLoop {
    /// To be told what the application wants; it is carried out in the next turn.
    pub(crate) client: Client,
    poll: Poll,
    links: BTreeMap<Token, Link>,
    /// Connections that were not read to the end in their last turn. mio says once that there is something to read.
    unread: BTreeSet<Token>,
    names: Names,
    news: Vec<News>,
}

/// One connection.
struct Link {
    conn: ConnId,
    stream: TcpStream,
    is_connected: bool,
    decoder: Decoder,
    outgoing: WriteBuffer,
}

/// Looking a name up blocks, so it happens on threads of its own.
struct Names {
    sender: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    waker: Arc<Waker>,
}

type Answer = (ConnId, Result<Vec<IpAddr>, SystemError>);

impl EventLoop {
    /// A client that connects in the turns that follow. Its jitter is drawn from `seed`.
    pub(crate) fn new(config: Config, seed: u64) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (sender, answers) = mpsc::channel();
        let waker = Arc::new(Waker::new(poll.registry(), NAMES)?);
        Ok(Self {
            client: Client::new(now(), Arc::new(config), seed),
            poll,
            links: BTreeMap::new(),
            unread: BTreeSet::new(),
            names: Names { sender, answers, waker },
            news: Vec::new(),
        })
    }

    /// Obeys the client, waits for the network, but not beyond `until`, and tells the client what happened.
    pub(crate) fn turn(&mut self, until: Option<Instant>) -> io::Result<Vec<News>> {
        self.obey(now());
        let mut ready = Events::with_capacity(256);
        match self.poll.poll(&mut ready, self.patience(now(), until)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = now();
        let mut tokens = std::mem::take(&mut self.unread);
        tokens.extend(ready.iter().map(|event| event.token()));
        for token in tokens {
            if token == NAMES {
                self.hear_names(now);
            } else {
                self.serve(now, token);
            }
        }
        self.client.handle_timeout(now);
        self.obey(now);
        Ok(std::mem::take(&mut self.news))
    }

    /// How long to wait: until the client wants to be called, or the application does, if nothing happens before.
    fn patience(&self, now: Instant, until: Option<Instant>) -> Option<Duration> {
        if !self.unread.is_empty() || !self.news.is_empty() {
            return Some(Duration::ZERO);
        }
        let wake_at = self.client.poll_timeout().into_iter().chain(until).min();
        wake_at.map(|at| at.saturating_duration_since(now))
    }

    /// Carries out what the client has decided, until it has no more to say.
    fn obey(&mut self, now: Instant) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Resolve { conn, host } => self.names.look_up(conn, host),
                // The client watches the time of its dials itself: when it is over, it says `Close`.
                Action::Connect { conn, target, until: _ } => self.dial(now, conn, &target.address),
                Action::Flush { conn } => self.write(now, token(conn)),
                Action::Close { conn, cause: _ } => self.close(conn),
                Action::Complete { request, outcome } => self.news.push(News::Completed(request, outcome)),
                Action::Started(result) => self.news.push(News::Started(result)),
                Action::Emit(event) => self.news.push(News::Event(event)),
                Action::Terminated => self.news.push(News::Terminated),
                // `Push` is for those who subscribe to something; what else there is, only those hear who ask for it.
                _ => {}
            }
        }
    }

    fn dial(&mut self, now: Instant, conn: ConnId, address: &Peer) {
        match self.begin_dial(conn, address) {
            Ok(link) => {
                self.links.insert(token(conn), link);
            }
            Err(error) => self.client.handle_connect_failed(now, conn, error),
        }
    }

    fn begin_dial(&self, conn: ConnId, address: &Peer) -> io::Result<Link> {
        let Peer::Tcp(address) = address else { return Err(ErrorKind::Unsupported.into()) };
        let mut stream = TcpStream::connect(*address)?;
        self.poll.registry().register(&mut stream, token(conn), Interest::READABLE | Interest::WRITABLE)?;
        let decoder = Decoder::new(Limits::default());
        Ok(Link { conn, stream, is_connected: false, decoder, outgoing: WriteBuffer::new() })
    }

    /// The client has forgotten the connection: nothing need be said of its end.
    fn close(&mut self, conn: ConnId) {
        // One that has the place of a connection that is gone has its token, and another id.
        if self.links.get(&token(conn)).is_some_and(|link| link.conn == conn) {
            self.links.remove(&token(conn));
        }
    }

    /// A socket can be read or written, or it was said so of a predecessor: then the socket answers "would block".
    fn serve(&mut self, now: Instant, token: Token) {
        self.finish_dial(now, token);
        self.write(now, token);
        self.read(now, token);
    }

    fn finish_dial(&mut self, now: Instant, token: Token) {
        let Some(link) = self.links.get_mut(&token).filter(|link| !link.is_connected) else { return };
        let conn = link.conn;
        let failure = link.stream.take_error().unwrap_or_else(Some);
        match (failure, link.stream.peer_addr()) {
            (None, Ok(peer)) => {
                link.is_connected = true;
                // A socket without it works as well, only slower.
                let _ = link.stream.set_nodelay(true);
                self.client.handle_connected(now, conn, peer.into());
            }
            (None, Err(error)) if error.kind() == ErrorKind::NotConnected => {}
            (Some(error), _) | (None, Err(error)) => {
                self.links.remove(&token);
                self.client.handle_connect_failed(now, conn, error);
            }
        }
    }

    /// Writes what there is to write, as far as the socket takes it.
    fn write(&mut self, now: Instant, token: Token) {
        let Some(link) = self.links.get_mut(&token).filter(|link| link.is_connected) else { return };
        self.client.handle_writable(now, link.conn);
        loop {
            if link.outgoing.is_empty() && !self.client.poll_transmit(link.conn, &mut link.outgoing) {
                return;
            }
            match link.stream.write(link.outgoing.chunk()) {
                Ok(count) => link.outgoing.advance(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The rest when mio says that there is room.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.lose(now, token, CloseCause::Io(error.kind())),
            }
        }
    }

    fn read(&mut self, now: Instant, token: Token) {
        let Some(link) = self.links.get_mut(&token).filter(|link| link.is_connected) else { return };
        let end = match link.fill() {
            Filled::Everything => None,
            Filled::Part => {
                self.unread.insert(token);
                None
            }
            Filled::ToTheEnd(cause) => Some(cause),
        };
        let conn = link.conn;
        if end.is_some() {
            // Before the frames: what they announce may be old.
            self.client.handle_ending(conn);
        }
        let (mut frames, mut broken) = (Vec::new(), None);
        loop {
            match link.decoder.poll_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    broken = Some(CloseCause::Protocol(error.kind().into()));
                    break;
                }
            }
        }
        self.client.handle_frames(now, conn, frames);
        if let Some(cause) = broken.or(end) {
            self.lose(now, token, cause);
        }
    }

    fn lose(&mut self, now: Instant, token: Token, cause: CloseCause) {
        if let Some(link) = self.links.remove(&token) {
            self.client.handle_closed(now, link.conn, cause);
        }
    }

    fn hear_names(&mut self, now: Instant) {
        while let Ok((conn, answer)) = self.names.answers.try_recv() {
            self.client.handle_resolved(now, conn, answer);
        }
    }
}

/// How far a socket has been read.
enum Filled {
    /// Until there was nothing more.
    Everything,
    /// There may be more.
    Part,
    /// There will never be more.
    ToTheEnd(CloseCause),
}

impl Link {
    fn fill(&mut self) -> Filled {
        let mut buffer = [0; READ];
        for _ in 0..READS {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Filled::ToTheEnd(CloseCause::ByServer),
                Ok(count) => self.decoder.buffer().extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Filled::Everything,
                Err(error) => return Filled::ToTheEnd(CloseCause::Io(error.kind())),
            }
        }
        Filled::Part
    }
}

impl Names {
    fn look_up(&self, conn: ConnId, host: Arc<str>) {
        let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
        thread::spawn(move || {
            let answer = (&*host, 0).to_socket_addrs();
            let answer = answer.map(|addresses| addresses.map(|address| address.ip()).collect());
            // If the loop is gone, nobody wants to know.
            let _ = sender.send((conn, answer.map_err(SystemError::from)));
            let _ = waker.wake();
        });
    }
}

/// The places of ids are few and used again, just like tokens.
fn token(conn: ConnId) -> Token {
    Token(conn.index())
}

/// The one place where time comes from.
#[expect(clippy::disallowed_methods, reason = "below this loop, time is a parameter")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
