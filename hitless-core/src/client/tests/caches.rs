//! A naive server that tracks what is read on each connection, a cache that follows its word, and everything that may happen between them.

use super::tracking::{connect, push, told, tracking};
use super::*;
use crate::config::Tracking;

const KEYS: [&str; 3] = ["a", "b", "c"];

/// One connection of the server.
struct Server {
    tracked: BTreeSet<usize>,
    /// Sent, and not received yet.
    sent: VecDeque<Frame>,
    /// Its node was left: it answers what was there then, and tells nothing more.
    stale: Option<[u32; 3]>,
}

/// What a reply has brought.
#[derive(Clone, Copy, Debug)]
struct Answer {
    conn: ConnId,
    value: u32,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Asked(RequestId),
    Value(Answer),
}

struct Bench {
    world: World,
    broadcasts: bool,
    values: [u32; 3],
    servers: BTreeMap<ConnId, Server>,
    /// All that was answered; a reply says which.
    answers: Vec<Answer>,
    asked: BTreeMap<RequestId, usize>,
    /// What the client has told, and its reader has not read.
    told: VecDeque<Invalidation>,
    /// Replies that their callers have not taken.
    replies: VecDeque<RequestId>,
    cache: BTreeMap<usize, Entry>,
    /// Connections whose successors serve.
    left: BTreeSet<ConnId>,
    moves: u32,
}

impl Bench {
    fn new(pool: u32, broadcasts: bool) -> Self {
        let mode = if broadcasts { Tracking::broadcast_all() } else { Tracking::default_mode() };
        let mut bench = Self {
            world: tracking(pool, mode),
            broadcasts,
            values: [0; 3],
            servers: BTreeMap::new(),
            answers: Vec::new(),
            asked: BTreeMap::new(),
            told: VecDeque::new(),
            replies: VecDeque::new(),
            cache: BTreeMap::new(),
            left: BTreeSet::new(),
            moves: 0,
        };
        while bench.dial() {}
        bench
    }

    /// Takes in what the client has said.
    fn hear(&mut self) {
        self.told.extend(told(&mut self.world));
        for event in std::mem::take(&mut self.world.events) {
            if let Event::CutOver { from, .. } = event {
                self.left.insert(from);
            }
        }
        for conn in std::mem::take(&mut self.world.closed) {
            self.servers.remove(&conn);
        }
        for id in self.world.done.keys() {
            if !self.replies.contains(id) {
                self.replies.push_back(*id);
            }
        }
        self.check();
    }

    /// Once everything told is read, nothing is believed that nobody vouches for.
    fn check(&self) {
        if !self.told.is_empty() {
            return;
        }
        for entry in self.cache.values() {
            if let Entry::Value(Answer { conn, .. }) = entry {
                assert!(self.servers.contains_key(conn), "{entry:?}: its connection is gone");
                assert!(!self.left.contains(conn), "{entry:?}: its server was left");
            }
        }
    }

    // ---- the application ----

    fn ask(&mut self, key: usize, replay: Replay) {
        if let Some(Entry::Value(_)) = self.cache.get(&key) {
            return;
        }
        let id = self.world.send_as(KEYS[key], replay);
        self.asked.insert(id, key);
        self.cache.insert(key, Entry::Asked(id));
        self.hear();
    }

    fn take_reply(&mut self) -> bool {
        let Some(id) = self.replies.pop_front() else { return false };
        let (key, outcome) = (self.asked.remove(&id).unwrap(), self.world.done.remove(&id).unwrap());
        if self.remove_mark(key, id)
            && let Ok(replies) = outcome
        {
            let answer = self.answers[replies[0].as_str().unwrap().parse::<usize>().unwrap()];
            self.cache.insert(key, Entry::Value(answer));
        }
        self.check();
        true
    }

    /// The mark of `id` is not needed any more. False if it is gone.
    fn remove_mark(&mut self, key: usize, id: RequestId) -> bool {
        let is_marked = matches!(self.cache.get(&key), Some(Entry::Asked(mark)) if *mark == id);
        if is_marked {
            self.cache.remove(&key);
        }
        is_marked
    }

    /// A caller gives up.
    fn cancel(&mut self, nth: usize) {
        let Some(at) = nth.checked_rem(self.asked.len()) else { return };
        let id = *self.asked.keys().nth(at).expect("it is below the length");
        let key = self.asked.remove(&id).expect("it was asked");
        self.remove_mark(key, id);
        self.replies.retain(|reply| *reply != id);
        if self.world.done.remove(&id).is_none() {
            self.world.client.cancel(self.world.now, id);
            self.world.drain();
        }
        self.hear();
    }

    fn read_told(&mut self) -> bool {
        match self.told.pop_front() {
            None => return false,
            Some(Invalidation::All) => self.cache.clear(),
            Some(Invalidation::Keys(keys)) => {
                self.cache.retain(|key, _| !keys.iter().any(|told| *told == KEYS[*key]));
            }
        }
        self.check();
        true
    }

    // ---- the servers ----

    fn write(&mut self, key: usize) {
        self.values[key] += 1;
        for server in self.servers.values_mut().filter(|server| server.stale.is_none()) {
            if self.broadcasts || server.tracked.remove(&key) {
                server.sent.push_back(push(&[KEYS[key]]));
            }
        }
    }

    fn flush_all(&mut self) {
        self.values.iter_mut().for_each(|value| *value += 1);
        for server in self.servers.values_mut().filter(|server| server.stale.is_none()) {
            server.tracked.clear();
            server.sent.push_back(Frame::Push(vec![Frame::bulk("invalidate"), Frame::Null]));
        }
    }

    /// Other shards take the place of those behind the connections: they know nothing of what was read, and everything has changed
    /// there.
    fn fail_over(&mut self) {
        self.moves += 1;
        self.values.iter_mut().for_each(|value| *value += 1);
        let words = vec![Frame::bulk("FAILED_OVER"), Frame::Integer(self.moves.into())];
        for server in self.servers.values_mut().filter(|server| server.stale.is_none()) {
            server.tracked.clear();
            server.sent.push_back(Frame::Push(words.clone()));
        }
    }

    /// The server runs the oldest request that was written to `conn`.
    fn run(&mut self, conn: ConnId) -> bool {
        let Some(written) = self.world.pending.get_mut(&conn).filter(|written| !written.is_empty()) else {
            return false;
        };
        let word = written.remove(0);
        let key = KEYS.iter().position(|key| key.as_bytes() == word).expect("all requests are reads");
        let server = self.servers.get_mut(&conn).expect("it is connected");
        let value = server.stale.unwrap_or(self.values)[key];
        if server.stale.is_none() {
            server.tracked.insert(key);
        }
        server.sent.push_back(Frame::bulk(self.answers.len().to_string()));
        self.answers.push(Answer { conn, value });
        true
    }

    /// The client receives the next frame.
    fn receive(&mut self, conn: ConnId) -> bool {
        let Some(frame) = self.servers.get_mut(&conn).and_then(|server| server.sent.pop_front()) else {
            return false;
        };
        self.world.client.handle_frames(self.world.now, conn, [frame]);
        self.world.drain();
        self.hear();
        true
    }

    fn dial(&mut self) -> bool {
        if self.world.dials.is_empty() {
            return false;
        }
        let conn = connect(&mut self.world);
        self.servers.insert(conn, Server { tracked: BTreeSet::new(), sent: VecDeque::new(), stale: None });
        self.hear();
        true
    }

    fn lose(&mut self, conn: ConnId) {
        self.world.close(conn);
        self.servers.remove(&conn);
        self.hear();
    }

    /// All connections are to go to another node; the one that they are on may be left at once.
    fn announce(&mut self, is_left: bool) {
        self.moves += 1;
        let target = format!("127.0.0.1:{}", self.moves + 1);
        let words = ["MOVING", &self.moves.to_string(), "10", &target];
        let elements = words.iter().map(|word| match word.parse() {
            Ok(number) => Frame::Integer(number),
            Err(_) => Frame::bulk((*word).to_owned()),
        });
        let frame = Frame::Push(elements.collect());
        for server in self.servers.values_mut().filter(|server| server.stale.is_none()) {
            server.sent.push_back(frame.clone());
            if is_left {
                server.stale = Some(self.values);
            }
        }
    }

    fn conn(&self, nth: usize) -> Option<ConnId> {
        let at = nth.checked_rem(self.servers.len())?;
        self.servers.keys().nth(at).copied()
    }

    /// Everything arrives, nodes that were left end, and the cache is up to date.
    fn finish(&mut self) {
        loop {
            let conns: Vec<ConnId> = self.servers.keys().copied().collect();
            let mut is_busy = self.dial();
            for conn in conns {
                while self.run(conn) || self.receive(conn) {
                    is_busy = true;
                }
                if self.servers.get(&conn).is_some_and(|server| server.stale.is_some()) {
                    self.lose(conn);
                    is_busy = true;
                }
            }
            if !is_busy && self.replies.len() == self.asked.len() {
                break;
            }
            // Pauses between dials, and what is left of timeouts.
            if !is_busy {
                self.world.pass(SECOND);
                self.hear();
            }
        }
        while self.take_reply() || self.read_told() {}
        for (key, entry) in &self.cache {
            let Entry::Value(answer) = entry else { panic!("{entry:?}: everything is answered") };
            assert_eq!(answer.value, self.values[*key], "the cache is outdated");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Ask(usize, Replay),
    Cancel(usize),
    TakeReply,
    ReadTold,
    Write(usize),
    FlushAll,
    FailOver,
    Run(usize),
    Receive(usize),
    Dial,
    Lose(usize),
    Announce { is_left: bool },
    Pass(u32),
}

/// Most reads are replayed after a loss, as GET is.
fn replay() -> impl Strategy<Value = Replay> {
    prop_oneof![3 => Just(Replay::Idempotent), 1 => Just(Replay::IfUnsent), 1 => Just(Replay::Never)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..KEYS.len(), replay()).prop_map(|(key, replay)| Op::Ask(key, replay)),
        1 => (0..8_usize).prop_map(Op::Cancel),
        6 => Just(Op::TakeReply),
        6 => Just(Op::ReadTold),
        3 => (0..KEYS.len()).prop_map(Op::Write),
        1 => Just(Op::FlushAll),
        1 => Just(Op::FailOver),
        6 => (0..8_usize).prop_map(Op::Run),
        8 => (0..8_usize).prop_map(Op::Receive),
        4 => Just(Op::Dial),
        1 => (0..8_usize).prop_map(Op::Lose),
        1 => any::<bool>().prop_map(|is_left| Op::Announce { is_left }),
        2 => (1..10_000_u32).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Reads that are given up or replayed, writes, moves, failovers and losses in any order, with everything late: once a cache has read what it was told, each of its values is
    /// vouched for by a connection that serves, and in the end each is the server's. RULE-274, RULE-278, RULE-92
    #[test]
    fn a_cache_that_is_up_to_date_believes_nothing_outdated(
        pool in 1..3_u32,
        broadcasts: bool,
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut bench = Bench::new(pool, broadcasts);
        for op in ops {
            match op {
                Op::Ask(key, replay) => bench.ask(key, replay),
                Op::Cancel(nth) => bench.cancel(nth),
                Op::TakeReply => drop(bench.take_reply()),
                Op::ReadTold => drop(bench.read_told()),
                Op::Write(key) => bench.write(key),
                Op::FlushAll => bench.flush_all(),
                Op::FailOver => bench.fail_over(),
                Op::Run(nth) => drop(bench.conn(nth).map(|conn| bench.run(conn))),
                Op::Receive(nth) => drop(bench.conn(nth).map(|conn| bench.receive(conn))),
                Op::Dial => drop(bench.dial()),
                Op::Lose(nth) => bench.conn(nth).into_iter().for_each(|conn| bench.lose(conn)),
                Op::Announce { is_left } => bench.announce(is_left),
                Op::Pass(millis) => {
                    bench.world.pass(Duration::from_millis(millis.into()));
                    bench.hear();
                }
            }
        }
        bench.finish();
    }
}
