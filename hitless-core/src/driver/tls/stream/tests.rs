use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use allocation_counter::measure;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::config::Tls;

/// Both directions of a connection in memory.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    to_client: VecDeque<u8>,
    to_server: VecDeque<u8>,
    /// What is written and not flushed.
    kept: Vec<u8>,
    /// The most that a read or a write takes; 0 is no limit.
    piece: usize,
    /// Every other poll comes to nothing, and wakes.
    hesitates: bool,
    /// Nothing is taken for the time being.
    is_blocked: bool,
    /// The server has closed its direction.
    is_closed: bool,
    polls: usize,
}

impl Wire {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap()
    }
}

impl Line {
    /// `Ready` with the most that this poll may take of `count`.
    fn turn(&mut self, cx: &Context<'_>, count: usize) -> Poll<usize> {
        self.polls += 1;
        if self.hesitates && self.polls.is_multiple_of(2) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(if self.piece == 0 { count } else { count.min(self.piece) })
    }
}

impl Stream for Wire {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut line = self.line();
        let room = (buffer.capacity() - buffer.len()).min(line.to_client.len());
        let count = ready!(line.turn(cx, room));
        if count == 0 && !line.is_closed {
            return Poll::Pending;
        }
        let (front, back) = line.to_client.as_slices();
        let first = front.len().min(count);
        buffer.extend_from_slice(&front[..first]);
        buffer.extend_from_slice(&back[..count - first]);
        line.to_client.drain(..count);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = self.line();
        if line.is_blocked {
            return Poll::Pending;
        }
        let count = ready!(line.turn(cx, bytes.len()));
        line.kept.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Line { kept, to_server, .. } = &mut *self.line();
        to_server.extend(kept.drain(..));
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How often a task was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The server's end.
struct Peer {
    session: ServerConnection,
    wire: Wire,
    received: Vec<u8>,
}

impl Peer {
    /// Reads what has come, and sends what there is to say.
    fn turn(&mut self) {
        let mut line = self.wire.line();
        while !line.to_server.is_empty() {
            if self.session.read_tls(&mut line.to_server).unwrap() == 0 {
                line.to_server.clear();
            }
            let state = self.session.process_new_packets().unwrap();
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            io::Read::read_exact(&mut self.session.reader(), &mut plain).unwrap();
            self.received.extend(plain);
        }
        while self.session.wants_write() {
            self.session.write_tls(&mut line.to_client).unwrap();
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.session.writer().write_all(bytes).unwrap();
        self.turn();
    }

    /// The closing message of TLS.
    fn say_goodbye(&mut self) {
        self.session.send_close_notify();
        self.turn();
    }

    /// The end of the stream.
    fn hang_up(&mut self) {
        self.wire.line().is_closed = true;
    }
}

/// A session that is negotiated, and both its ends.
struct Pair {
    stream: TlsStream<Wire>,
    peer: Peer,
    wire: Wire,
    wakes: Arc<Wakes>,
}

fn name() -> ServerName<'static> {
    ServerName::try_from("redis.example.com").unwrap()
}

fn session() -> ClientConnection {
    let tls = Tls::builder().dangerous_accept_any_server().build().unwrap();
    let config = tls.client_config(|| Ok(Vec::new())).unwrap();
    ClientConnection::new(config, name()).unwrap()
}

fn server_session() -> ServerConnection {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["redis.example.com".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

impl Pair {
    fn new() -> Self {
        Self::on(|_| ())
    }

    fn on(change: impl FnOnce(&mut Line)) -> Self {
        let (wire, wakes) = (Wire::default(), Arc::new(Wakes::default()));
        change(&mut wire.line());
        let mut peer = Peer { session: server_session(), wire: wire.clone(), received: Vec::new() };
        let told = Mutex::new(Vec::new());
        let stream = {
            let (name, report) = (name(), |progress| told.lock().unwrap().push(progress));
            let mut handshake = std::pin::pin!(TlsStream::handshake(wire.clone(), session(), &name, report));
            let waker = Waker::from(Arc::clone(&wakes));
            let mut polls = 0;
            loop {
                polls += 1;
                assert!(polls < 100_000, "it comes to an end");
                if let Poll::Ready(stream) = handshake.as_mut().poll(&mut Context::from_waker(&waker)) {
                    break stream.unwrap();
                }
                if polls == 1 {
                    assert_eq!(told.lock().unwrap()[..], [TlsProgress::Begun], "the server has said nothing");
                }
                peer.turn();
            }
        };
        assert_eq!(told.into_inner().unwrap(), [TlsProgress::Begun, TlsProgress::Answered]);
        let mut pair = Self { stream, peer, wire, wakes };
        pair.peer.turn();
        // Tickets for later sessions.
        assert!(pair.read(1024).is_pending());
        pair
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.wakes))
    }

    fn read(&mut self, room: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut buffer = BytesMut::with_capacity(room);
        let room = buffer.capacity();
        let waker = self.waker();
        let count = ready!(self.stream.poll_read(&mut Context::from_waker(&waker), &mut buffer))?;
        assert_eq!((count, buffer.capacity()), (buffer.len(), room), "no more than there was room for");
        Poll::Ready(Ok(buffer.to_vec()))
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waker = self.waker();
        self.stream.poll_write(&mut Context::from_waker(&waker), bytes)
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        let waker = self.waker();
        self.stream.poll_flush(&mut Context::from_waker(&waker))
    }

    /// Writes all of `bytes` to the server, however often that takes.
    fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write(rest) {
                Poll::Ready(count) => rest = &rest[count.unwrap()..],
                Poll::Pending => self.peer.turn(),
            }
        }
        while self.flush().is_pending() {
            self.peer.turn();
        }
        self.peer.turn();
    }

    /// Reads `count` bytes, however often that takes.
    fn receive(&mut self, count: usize) -> Vec<u8> {
        let (mut all, mut polls) = (Vec::new(), 0);
        while all.len() < count {
            polls += 1;
            assert!(polls < 1_000_000, "{} of {count}", all.len());
            if let Poll::Ready(bytes) = self.read(1000) {
                all.extend(bytes.unwrap());
            }
        }
        all
    }
}

fn value(length: u32) -> Vec<u8> {
    (0..length).map(|i| i.to_le_bytes()[1]).collect()
}

/// A handshake that fails tells the server why, also through a stream that keeps what it is given.
#[test]
fn the_alert_of_a_failed_handshake_is_flushed() {
    let wire = Wire::default();
    wire.line().to_client.extend(b"-ERR unknown command\r\n");
    let name = name();
    let handshake = TlsStream::handshake(wire.clone(), session(), &name, |_| ());
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(_)) = std::pin::pin!(handshake).poll(&mut cx) else { panic!("it has failed") };
    let line = wire.line();
    assert_eq!(line.kept, b"");
    // The last record is an alert, of two bytes.
    let alert = line.to_server.iter().rev().nth(6).copied();
    assert_eq!(alert, Some(21), "{:?}", line.to_server);
}

/// To write nothing is done at once.
#[test]
fn nothing_is_written_at_once() {
    let mut stream = TlsStream::new(Wire::default(), session());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(stream.poll_write(&mut cx, b""), Poll::Ready(Ok(0))));
}

/// A server that sends one byte at a time, a link that takes one at a time, and one that hesitates at every other: handshake and values
/// arrive whole. RULE-182
#[test]
fn bytes_may_come_and_go_one_by_one() {
    for (piece, hesitates) in [(0, false), (0, true), (1, false), (1, true), (7, true)] {
        let mut pair = Pair::on(|line| (line.piece, line.hesitates) = (piece, hesitates));
        let value = value(70_000);
        pair.send(&value);
        assert_eq!(pair.peer.received, value, "{piece} {hesitates}");
        pair.peer.say(&value[..20_000]);
        assert_eq!(pair.receive(20_000), value[..20_000], "{piece} {hesitates}");
    }
}

/// Without anything new, a poll asks the link once and wakes nobody: before a record, and in the middle of one. INV-12, RULE-239
#[test]
fn a_stream_without_work_does_not_spin() {
    let mut pair = Pair::new();
    pair.peer.say(b"hello");
    let held: Vec<u8> = pair.wire.line().to_client.drain(..).collect();
    for part in [&held[..0], &held[..3], &held[3..10], &held[10..held.len() - 1]] {
        pair.wire.line().to_client.extend(part);
        for _ in 0..2 {
            assert!(pair.read(64).is_pending());
            let before = (pair.wire.line().polls, pair.wakes.0.load(Ordering::Relaxed));
            assert!(pair.read(64).is_pending());
            let after = (pair.wire.line().polls, pair.wakes.0.load(Ordering::Relaxed));
            assert_eq!(after, (before.0 + 1, before.1));
        }
    }
    pair.wire.line().to_client.extend(&held[held.len() - 1..]);
    assert_eq!(pair.receive(5), b"hello");
}

/// A record that trickles in costs one poll a bounded number of reads, and then others have their turn. INV-14, RULE-239
#[test]
fn the_reads_of_one_poll_are_bounded() {
    let mut pair = Pair::new();
    pair.peer.say(&value(16_000));
    pair.wire.line().piece = 1;
    let before = (pair.wire.line().polls, pair.wakes.0.load(Ordering::Relaxed));
    assert!(pair.read(64).is_pending());
    let after = (pair.wire.line().polls, pair.wakes.0.load(Ordering::Relaxed));
    assert_eq!(after, (before.0 + READS_PER_POLL, before.1 + 1), "it asks to be polled again");
}

/// While the link takes nothing, the stream takes no more than a session keeps; then everything leaves in order. What is decrypted is handed
/// out as there is room, and no more is read meanwhile. INV-14, RULE-239
#[test]
fn what_is_kept_is_bounded() {
    const KEPT: usize = 64 * 1024;
    let (mut pair, value) = (Pair::new(), value(300_000));
    pair.wire.line().is_blocked = true;
    let mut taken = 0;
    while let Poll::Ready(count) = pair.write(&value[taken..]) {
        taken += count.unwrap();
        assert!(taken <= KEPT, "{taken}");
    }
    assert!(taken > 0 && pair.flush().is_pending() && pair.write(&value).is_pending());
    pair.wire.line().is_blocked = false;
    pair.send(&value[taken..]);
    assert_eq!(pair.peer.received, value);

    for part in value.chunks(50_000) {
        pair.peer.say(part);
    }
    let before = pair.wire.line().to_client.len();
    assert!(matches!(pair.read(64), Poll::Ready(Ok(_))));
    let left = pair.wire.line().to_client.len();
    assert!(before - left <= READ, "one read at a time");
    let rest = pair.receive(value.len() - 64);
    assert_eq!(rest, value[64..]);
}

/// The closing message, the end of the stream, both, in either order with what comes before: everything that was said is read, then the
/// end, again and again, without another look at the link; and until the link is gone the client may write. RULE-182, RULE-239
#[test]
fn an_end_comes_behind_what_was_said() {
    type End = fn(&mut Peer);
    let ends: [&[End]; 4] = [
        &[Peer::hang_up],
        &[Peer::say_goodbye],
        &[Peer::say_goodbye, Peer::hang_up],
        // What comes behind the closing message is nothing.
        &[Peer::say_goodbye, |peer| peer.wire.line().to_client.extend(b"garbage"), Peer::hang_up],
    ];
    for said in [&b""[..], b"last words"] {
        for end in ends {
            let mut pair = Pair::new();
            pair.peer.say(said);
            end.iter().for_each(|step| step(&mut pair.peer));
            if !said.is_empty() {
                assert_eq!(pair.receive(said.len()), said);
            }
            assert!(matches!(pair.read(64), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
            let polls = pair.wire.line().polls;
            assert!(matches!(pair.read(64), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
            assert_eq!(pair.wire.line().polls, polls);
            pair.send(b"half open");
            assert_eq!(pair.peer.received, b"half open");
        }
    }
}

/// Who closes first says so, and still reads what the server has to say. RULE-239
#[test]
fn the_client_may_close_first() {
    let mut pair = Pair::new();
    pair.send(b"bye");
    let waker = pair.waker();
    assert!(pair.stream.poll_close(&mut Context::from_waker(&waker)).is_ready());
    pair.peer.turn();
    assert_eq!(pair.peer.received, b"bye");
    let mut end = [0; 1];
    assert_eq!(io::Read::read(&mut pair.peer.session.reader(), &mut end).unwrap(), 0, "the closing message");
    pair.peer.say(b"late");
    assert_eq!(pair.receive(4), b"late");
}

/// A record that somebody has changed ends the stream behind those before it; the server is told, and the error stays. RULE-239
#[test]
fn a_broken_record_ends_the_stream_behind_the_good_ones() {
    let mut pair = Pair::new();
    pair.peer.say(b"good");
    let good = pair.wire.line().to_client.len();
    pair.peer.say(b"changed");
    let mut line = pair.wire.line();
    line.to_client[good + 8] ^= 1;
    line.to_server.clear();
    drop(line);
    assert_eq!(pair.receive(4), b"good");
    for _ in 0..2 {
        let polls = pair.wire.line().polls;
        let Poll::Ready(Err(error)) = pair.read(64) else { panic!("it is broken") };
        assert_eq!(error.get_ref().and_then(|error| error.downcast_ref()), Some(&TlsFault::Broken));
        assert!(pair.wire.line().polls <= polls + 1, "the alert alone is written");
    }
    assert!(!pair.wire.line().to_server.is_empty(), "the server is told");
}

/// In steady traffic the stream allocates nothing beyond what the session does: neither for a record nor for a write of several.
/// RULE-239
#[test]
fn steady_traffic_allocates_nothing() {
    const ROUNDS: usize = 50;
    let mut pair = Pair::new();
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    let (waker, request) = (Waker::noop(), [b'q'; 100]);
    let mut cx = Context::from_waker(waker);
    let mut allocations = Vec::new();
    // The session that does the same without the stream.
    let mut bare = bare_session();
    for round in 0..2 * ROUNDS {
        pair.peer.say(&request);
        let by_stream = measure(|| {
            // Three short records, which leave together.
            for _ in 0..3 {
                assert!(matches!(pair.stream.poll_write(&mut cx, &request), Poll::Ready(Ok(100))));
                assert!(pair.stream.session.wants_write());
            }
            assert!(pair.stream.poll_flush(&mut cx).is_ready());
            buffer.clear();
            assert!(matches!(pair.stream.poll_read(&mut cx, &mut buffer), Poll::Ready(Ok(100))));
        });
        let bare = bare.round(&request);
        if round >= ROUNDS {
            allocations.push((by_stream.count_total, bare));
        }
        pair.peer.turn();
    }
    assert!(allocations.iter().all(|(by_stream, bare)| by_stream <= bare), "{allocations:?}");
}

/// A session of rustls alone, which takes and gives what the stream does.
struct Bare {
    client: ClientConnection,
    server: ServerConnection,
    records: Vec<u8>,
    sent: Vec<u8>,
}

fn bare_session() -> Bare {
    let mut bare =
        Bare { client: session(), server: server_session(), records: Vec::new(), sent: Vec::new() };
    while bare.client.is_handshaking() || bare.client.wants_write() || bare.server.wants_write() {
        bare.exchange();
    }
    bare
}

impl Bare {
    fn exchange(&mut self) {
        let Self { client, server, records, sent } = self;
        sent.clear();
        while client.wants_write() {
            client.write_tls(sent).unwrap();
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        records.clear();
        while server.wants_write() {
            server.write_tls(records).unwrap();
        }
        let mut rest = &records[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }

    /// How often a session allocates for three requests and a reply.
    fn round(&mut self, request: &[u8]) -> u64 {
        self.server.writer().write_all(request).unwrap();
        self.records.clear();
        self.server.write_tls(&mut self.records).unwrap();
        self.sent.clear();
        self.sent.reserve(4096);
        let (client, records, sent) = (&mut self.client, &self.records, &mut self.sent);
        let counted = measure(|| {
            for _ in 0..3 {
                assert_eq!(client.writer().write(request).unwrap(), request.len());
            }
            while client.wants_write() {
                client.write_tls(sent).unwrap();
            }
            client.read_tls(&mut &records[..]).unwrap();
            client.process_new_packets().unwrap();
            let mut reader = client.reader();
            let count = reader.fill_buf().unwrap().len();
            reader.consume(count);
        });
        assert_eq!(self.server.read_tls(&mut &self.sent[..]).unwrap(), self.sent.len());
        let state = self.server.process_new_packets().unwrap();
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        io::Read::read_exact(&mut self.server.reader(), &mut plain).unwrap();
        counted.count_total
    }
}
