//! The owner of a client in virtual time.

use crate::client::load::PAUSE;
use std::collections::BTreeSet;

use super::*;
use crate::tests::accepted_handshake;

/// A client, and servers that answer only when a test says so. Each reply repeats the payload that it answers.
pub(super) struct World {
    pub(super) client: Client,
    pub(super) now: Instant,
    pub(super) lookups: Vec<ConnId>,
    pub(super) dials: Vec<(ConnId, Peer)>,
    /// Connections that have something to write.
    pub(super) flushes: BTreeSet<ConnId>,
    /// Requests written and not answered, per connection.
    pub(super) pending: BTreeMap<ConnId, Vec<Bytes>>,
    /// Connections that the client has closed.
    pub(super) closed: Vec<ConnId>,
    pub(super) done: BTreeMap<RequestId, Outcome>,
    pub(super) started: Option<Result<(), ConnectError>>,
    pub(super) events: Vec<Event>,
    pub(super) reviews: Vec<Review>,
    /// Connections whose memory may be given back.
    pub(super) resting: Vec<ConnId>,
    /// Actions of other kinds.
    pub(super) others: Vec<Action>,
}

impl World {
    pub(super) fn new(pool: u32) -> Self {
        Self::with(|builder| builder.pool_size(pool))
    }

    pub(super) fn with(configure: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        let builder = configure(Config::builder(Endpoint::parse("127.0.0.1:1", 6379).unwrap()));
        Self::of(builder.build().unwrap())
    }

    pub(super) fn of(config: Config) -> Self {
        let now = epoch();
        let mut world = Self {
            client: Client::new(now, Arc::new(config), 1),
            now,
            lookups: Vec::new(),
            dials: Vec::new(),
            flushes: BTreeSet::new(),
            pending: BTreeMap::new(),
            closed: Vec::new(),
            done: BTreeMap::new(),
            started: None,
            events: Vec::new(),
            reviews: Vec::new(),
            resting: Vec::new(),
            others: Vec::new(),
        };
        world.obey();
        world
    }

    pub(super) fn started(pool: u32) -> Self {
        let mut world = Self::new(pool);
        world.answer_dials();
        assert_eq!(world.started, Some(Ok(())));
        world
    }

    /// Carries out what the client has decided, but writes nothing.
    pub(super) fn obey(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Resolve { conn, .. } => self.lookups.push(conn),
                Action::Connect { conn, target, .. } => self.dials.push((conn, target.address)),
                Action::Flush { conn } => {
                    self.flushes.insert(conn);
                }
                Action::Complete { request, outcome } => {
                    assert!(self.done.insert(request, outcome).is_none(), "{request} completed twice");
                }
                Action::Close { conn, .. } => {
                    self.pending.remove(&conn);
                    self.flushes.remove(&conn);
                    self.dials.retain(|(dialled, _)| *dialled != conn);
                    self.lookups.retain(|looked_up| *looked_up != conn);
                    self.closed.push(conn);
                }
                Action::Started(result) => assert!(self.started.replace(result).is_none(), "started twice"),
                Action::Emit(event) => self.events.push(event),
                Action::Review(review) => self.reviews.push(*review),
                Action::Rest { conn } => self.resting.push(conn),
                other => self.others.push(other),
            }
        }
        assert!(self.client.poll_timeout().is_none_or(|at| at > self.now), "it spins");
    }

    /// Carries out what the client has decided, and writes all there is.
    pub(super) fn drain(&mut self) {
        self.obey();
        while let Some(conn) = self.flushes.pop_first() {
            self.transmit(conn);
            self.obey();
        }
    }

    fn transmit(&mut self, conn: ConnId) {
        let mut buffer = WriteBuffer::new();
        while self.client.poll_transmit(conn, &mut buffer) {}
        let pending = self.pending.entry(conn).or_default();
        // Each request of these tests is one word, ended by a line feed; handshakes are answered by `connect`.
        let text = Bytes::copy_from_slice(buffer.chunk());
        let words = text.split(|byte| *byte == b'\n').filter(|word| !word.is_empty());
        pending.extend(words.map(|word| text.slice_ref(word)));
    }

    pub(super) fn connect(&mut self, conn: ConnId, address: Peer) {
        self.client.handle_connected(self.now, conn, address);
        self.drain();
        self.pending.remove(&conn);
        self.client.handle_frames(self.now, conn, accepted_handshake());
        self.drain();
    }

    pub(super) fn answer_dials(&mut self) {
        while !self.dials.is_empty() {
            let (conn, address) = self.dials.remove(0);
            self.connect(conn, address);
        }
    }

    pub(super) fn send(&mut self, word: &str) -> RequestId {
        self.send_as(word, Replay::IfUnsent)
    }

    pub(super) fn send_as(&mut self, word: &str, replay: Replay) -> RequestId {
        let payload = Bytes::from(format!("{word}\n"));
        let id = self.client.send(self.now, Request::raw(payload, NonZeroU32::MIN).replay(replay)).unwrap();
        self.drain();
        id
    }

    /// Sends a request that joins no other one while there is a connection that carries nothing: the others have not answered
    /// for a moment.
    pub(super) fn send_apart(&mut self, word: &str, replay: Replay) -> RequestId {
        self.now += PAUSE;
        self.send_as(word, replay)
    }

    /// The server answers everything that was written to `conn`.
    pub(super) fn answer(&mut self, conn: ConnId) {
        let replies = self.pending.remove(&conn).unwrap_or_default().into_iter().map(Frame::Bulk);
        let done = &mut self.done;
        self.client.handle_frames_with(self.now, conn, replies, |answer| {
            let request = answer.request;
            assert!(done.insert(request, answer.into_outcome()).is_none(), "{request} completed twice");
        });
        self.drain();
    }

    pub(super) fn push(&mut self, conn: ConnId, words: &[&str]) {
        self.push_only(conn, words);
        self.drain();
    }

    /// A push arrives, and nothing is carried out yet.
    pub(super) fn push_only(&mut self, conn: ConnId, words: &[&str]) {
        let elements = words.iter().map(|word| match word.parse() {
            Ok(number) => Frame::Integer(number),
            Err(_) => Frame::Bulk(Bytes::copy_from_slice(word.as_bytes())),
        });
        self.client.handle_frames(self.now, conn, [Frame::Push(elements.collect())]);
    }

    pub(super) fn conns(&self) -> Vec<ConnId> {
        self.client.links.ids().collect()
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.pending.remove(&conn);
        self.client.handle_closed(self.now, conn, CloseCause::ByServer);
        self.drain();
    }

    /// Lets time pass to the next timeout, if that is within `limit`.
    pub(super) fn next_timeout(&mut self, limit: Instant) -> bool {
        let Some(at) = self.client.poll_timeout().filter(|at| *at <= limit) else { return false };
        self.now = self.now.max(at);
        self.client.handle_timeout(self.now);
        self.obey();
        true
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.next_timeout(until) {
            self.drain();
        }
        self.now = until;
    }

    pub(super) fn reply_of(&self, request: RequestId) -> &str {
        self.done[&request].as_ref().unwrap()[0].as_str().unwrap()
    }

    pub(super) fn failure_of(&self, request: RequestId) -> &RequestError {
        self.done[&request].as_ref().unwrap_err()
    }
}
