//! A model of the client: a naive server for each connection, and a list of all requests. After every step the model says
//! what must, may and must not have happened to each request.

use super::*;
use crate::tests::accepted_handshake;

/// The configured command timeout, and the relaxed one.
const CONFIGURED: Duration = Duration::from_secs(3);
const RELAXED: Duration = Duration::from_secs(10);
/// Two payloads of this size do not fit into one write.
const LARGE: usize = 40 * 1024;
const REFUSAL: &str = "READONLY You can't write against a read only replica.";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It waits in the client.
    Unsent,
    /// Written to this connection; not all of its replies are in.
    Written(ConnId),
    /// The server has sent its last reply.
    Answered,
    /// The server has refused to run it.
    Refused,
    Done,
    Cancelled,
}

#[derive(Debug)]
struct Job {
    id: RequestId,
    replay: Replay,
    replies: usize,
    accepted_at: Instant,
    fate: Fate,
    /// How often it was written without a proof that it did not run.
    runs: u32,
    was_refused: bool,
    has_answer: bool,
}

/// It answers in order, and only when it is told to.
#[derive(Debug, Default)]
struct Server {
    /// Request and number of the reply.
    owes: VecDeque<(usize, usize)>,
    is_ready: bool,
    /// Its successor has taken over: it gets no new request.
    is_retired: bool,
}

struct Bench {
    world: World,
    pool: u32,
    jobs: Vec<Job>,
    servers: BTreeMap<ConnId, Server>,
    /// The last request that was written, if all go over one connection at a time.
    last_write: Option<usize>,
}

impl Bench {
    fn new(pool: u32) -> Self {
        let world = World::new(pool);
        let mut bench = Self { world, pool, jobs: Vec::new(), servers: BTreeMap::new(), last_write: None };
        bench.obey();
        while !bench.world.dials.is_empty() {
            bench.dial(true);
        }
        bench
    }

    // ---- facts ----

    fn send(&mut self, replay: Replay, replies: usize, is_large: bool) {
        let mut payload = format!("{}:{replies}", self.jobs.len());
        payload.push_str(&" ".repeat(if is_large { LARGE } else { 0 }));
        payload.push('\n');
        let request = Request::raw(payload.into(), NonZeroU32::new(replies as u32).unwrap()).replay(replay);
        let id = self.world.client.send(self.world.now, request).unwrap();
        let (accepted_at, fate) = (self.world.now, Fate::Unsent);
        self.jobs.push(Job {
            id,
            replay,
            replies,
            accepted_at,
            fate,
            runs: 0,
            was_refused: false,
            has_answer: false,
        });
        self.obey();
    }

    fn cancel(&mut self, job: usize) {
        let job = &mut self.jobs[job];
        if job.fate != Fate::Done {
            job.fate = Fate::Cancelled;
        }
        let id = job.id;
        self.world.client.cancel(self.world.now, id);
        self.obey();
    }

    fn dial(&mut self, lands: bool) {
        if self.world.dials.is_empty() {
            return;
        }
        let (conn, address) = self.world.dials.remove(0);
        if !lands {
            self.world.client.handle_connect_failed(self.world.now, conn, io::ErrorKind::ConnectionRefused);
            return self.obey();
        }
        self.servers.insert(conn, Server::default());
        self.world.client.handle_connected(self.world.now, conn, address);
        self.obey();
        assert!(self.world.flushes.contains(&conn), "the handshake waits to be written");
        self.take(conn);
        if let Some(server) = self.servers.get_mut(&conn) {
            server.is_ready = true;
        }
        self.world.client.handle_frames(self.world.now, conn, accepted_handshake());
        self.obey();
    }

    /// Writes once: the server gets everything that was taken.
    fn take(&mut self, conn: ConnId) {
        let mut buffer = WriteBuffer::new();
        if !self.world.client.poll_transmit(conn, &mut buffer) {
            self.world.flushes.remove(&conn);
        }
        let mut text = Vec::new();
        while !buffer.is_empty() {
            text.extend_from_slice(buffer.chunk());
            buffer.advance(buffer.chunk().len());
        }
        if self.servers[&conn].is_ready {
            for line in std::str::from_utf8(&text).unwrap().lines() {
                let (job, _) = line.trim_end().split_once(':').unwrap();
                self.on_written(conn, job.parse().unwrap());
            }
        }
    }

    fn on_written(&mut self, conn: ConnId, at: usize) {
        let job = &mut self.jobs[at];
        assert_eq!(job.fate, Fate::Unsent, "request {at} is written to {conn}");
        assert!(job.runs == 0 || job.replay == Replay::Idempotent, "request {at} may run twice");
        let server = self.servers.get_mut(&conn).unwrap();
        assert!(!server.is_retired, "{conn} gets a request after the cut-over");
        if self.pool == 1 && job.replay != Replay::Idempotent && !job.was_refused {
            assert!(self.last_write.is_none_or(|last| last < at), "request {at} has fallen behind");
            self.last_write = Some(at);
        }
        job.fate = Fate::Written(conn);
        job.runs += 1;
        server.owes.extend((0..job.replies).map(|reply| (at, reply)));
    }

    /// The server sends its next replies, in one read.
    fn answer(&mut self, conn: ConnId, count: usize) {
        let owes = &mut self.servers.get_mut(&conn).unwrap().owes;
        let replies: Vec<_> = owes.drain(..count.min(owes.len())).collect();
        for (at, reply) in &replies {
            let job = &mut self.jobs[*at];
            if job.fate == Fate::Written(conn) && reply + 1 == job.replies {
                job.fate = Fate::Answered;
            }
        }
        let frames = replies.into_iter().map(|(at, reply)| Frame::bulk(format!("{at}.{reply}")));
        self.world.client.handle_frames(self.world.now, conn, frames);
        self.obey();
        assert!(self.jobs.iter().all(|job| job.fate != Fate::Answered), "an answer was not delivered");
    }

    /// The server refuses to run the next request.
    fn refuse(&mut self, conn: ConnId) {
        let owes = &mut self.servers.get_mut(&conn).unwrap().owes;
        let Some((at, _)) = owes.pop_front_if(|(at, _)| self.jobs[*at].replies == 1) else { return };
        let job = &mut self.jobs[at];
        if job.fate == Fate::Written(conn) {
            (job.fate, job.was_refused) = (Fate::Refused, true);
            job.runs -= 1;
        }
        self.world.client.handle_frames(self.world.now, conn, [Frame::error(REFUSAL)]);
        self.obey();
        for job in self.jobs.iter_mut().filter(|job| job.fate == Fate::Refused) {
            // It was not delivered, so it waits to be sent again.
            job.fate = Fate::Unsent;
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.forget(conn);
        self.world.client.handle_closed(self.world.now, conn, CloseCause::ByServer);
        self.obey();
    }

    fn push(&mut self, conn: ConnId, words: &[&str]) {
        self.world.push_only(conn, words);
        self.obey();
    }

    fn next_timeout(&mut self, limit: Instant) -> bool {
        let passed = self.world.next_timeout(limit);
        self.obey();
        passed
    }

    // ---- decisions ----

    fn obey(&mut self) {
        self.world.obey();
        for (request, outcome) in std::mem::take(&mut self.world.done) {
            self.on_complete(request, outcome);
        }
        for conn in std::mem::take(&mut self.world.closed) {
            self.forget(conn);
        }
        for event in self.world.events.drain(..) {
            if let Event::CutOver { from, .. } = event
                && let Some(old) = self.servers.get_mut(&from)
            {
                old.is_retired = true;
            }
        }
        assert!(self.world.started.take().is_none_or(|started| started == Ok(())));
        assert!(self.world.lookups.is_empty() && self.world.reviews.is_empty());
        assert!(self.world.others.is_empty(), "{:?}", self.world.others);
        self.check();
    }

    /// `conn` is gone: requests that may be written again wait, and the others must fail before anything else happens.
    fn forget(&mut self, conn: ConnId) {
        self.world.flushes.remove(&conn);
        self.servers.remove(&conn);
    }

    fn on_complete(&mut self, request: RequestId, outcome: Outcome) {
        let at = self.jobs.iter().rposition(|job| job.id == request).unwrap();
        let job = &mut self.jobs[at];
        let fate = std::mem::replace(&mut job.fate, Fate::Done);
        let may_have_run = if job.runs > 0 { Delivery::Unknown } else { Delivery::NotSent };
        match outcome {
            Ok(replies) if replies[0].is_error() => {
                assert!(job.was_refused && matches!(fate, Fate::Refused | Fate::Unsent), "{fate:?}");
            }
            Ok(replies) => {
                assert_eq!(fate, Fate::Answered, "nobody has answered request {at}");
                let expected = (0..job.replies).map(|reply| Frame::bulk(format!("{at}.{reply}")));
                assert_eq!(replies.to_vec(), expected.collect::<Vec<_>>());
                job.has_answer = true;
            }
            Err(RequestError::TimedOut { delivery, .. } | RequestError::NoConnection { delivery, .. }) => {
                assert!(matches!(fate, Fate::Unsent | Fate::Written(_)), "request {at} was {fate:?}");
                assert!(self.world.now >= job.accepted_at + CONFIGURED, "request {at} ends early");
                assert_eq!(delivery, may_have_run, "request {at}");
            }
            Err(RequestError::ConnectionLost { delivery, .. } | RequestError::MoveDeadline { delivery }) => {
                assert_eq!(delivery, may_have_run, "request {at}");
                match fate {
                    Fate::Written(_) => assert!(job.replay != Replay::Idempotent || job.runs == 3),
                    fate => assert_eq!((fate, job.replay), (Fate::Unsent, Replay::Never), "request {at}"),
                }
            }
            Err(error) => panic!("request {at}: {error}"),
        }
    }

    // ---- what holds after each step ----

    fn check(&mut self) {
        for (at, job) in self.jobs.iter_mut().enumerate() {
            // A request of a connection that is gone has failed by now, or waits to be written again.
            if let Fate::Written(conn) = job.fate
                && !self.servers.contains_key(&conn)
            {
                assert_eq!(job.replay, Replay::Idempotent, "request {at} is lost with {conn}");
                assert!(job.runs < 3, "request {at} waits to run a fourth time");
                job.fate = Fate::Unsent;
            }
        }
        let open = self.jobs.iter().filter(|job| !matches!(job.fate, Fate::Done | Fate::Cancelled));
        assert_eq!(self.world.client.stats().requests, open.clone().count());
        let overdue = |job: &&Job| self.world.now > job.accepted_at + RELAXED;
        assert_eq!(open.clone().find(overdue).map(|job| job.id), None, "a request does not end");
    }

    /// Lets nothing fail any more: every open request ends, with an answer if there are connections and time.
    fn settle(&mut self) {
        let end = self.world.now + 120 * SECOND;
        let is_up = self.world.client.stats().serving == self.pool as usize;
        // A request that was refused waits for a second at most.
        let in_time = |job: &Job| is_up && self.world.now + SECOND < job.accepted_at + CONFIGURED;
        let is_open = |job: &Job| !matches!(job.fate, Fate::Done | Fate::Cancelled);
        let to_be_answered: Vec<usize> =
            (0..self.jobs.len()).filter(|at| is_open(&self.jobs[*at]) && in_time(&self.jobs[*at])).collect();
        loop {
            self.dial(true);
            let flushes = self.world.flushes.clone();
            flushes.into_iter().for_each(|conn| self.take(conn));
            let owing: Vec<ConnId> =
                self.servers.iter().filter(|(_, it)| !it.owes.is_empty()).map(|(conn, _)| *conn).collect();
            for conn in &owing {
                self.answer(*conn, usize::MAX);
            }
            let idle = self.world.dials.is_empty() && self.world.flushes.is_empty() && owing.is_empty();
            if idle && !self.next_timeout(end) {
                break;
            }
        }
        for (at, job) in self.jobs.iter().enumerate() {
            assert!(matches!(job.fate, Fate::Done | Fate::Cancelled), "request {at}: {job:?}");
        }
        for at in to_be_answered {
            assert!(self.jobs[at].has_answer, "request {at} has no answer");
        }
        assert_eq!(self.world.client.stats().serving, self.pool as usize);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Send { replay: Replay, replies: usize, is_large: bool },
    Take(usize),
    Answer { nth: usize, count: usize },
    Refuse(usize),
    Cancel(usize),
    Dial { lands: bool },
    Close(usize),
    Moving { nth: usize, seq: u64, port: u16, grace: u64 },
    FailingOver { nth: usize, seq: u64 },
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let nth = || 0..12_usize;
    let replay = proptest::sample::select(vec![
        Replay::Never,
        Replay::IfUnsent,
        Replay::IfUnsent,
        Replay::Idempotent,
        Replay::Idempotent,
    ]);
    prop_oneof![
        8 => (replay, 1..4_usize, prop::bool::weighted(0.05))
            .prop_map(|(replay, replies, is_large)| Op::Send { replay, replies, is_large }),
        6 => nth().prop_map(Op::Take),
        6 => (nth(), 1..5_usize).prop_map(|(nth, count)| Op::Answer { nth, count }),
        4 => nth().prop_map(Op::Refuse),
        1 => (0..40_usize).prop_map(Op::Cancel),
        5 => prop::bool::weighted(0.8).prop_map(|lands| Op::Dial { lands }),
        1 => nth().prop_map(Op::Close),
        2 => (nth(), 0..5_u64, 1..4_u16, 1..12_u64)
            .prop_map(|(nth, seq, port, grace)| Op::Moving { nth, seq, port, grace }),
        2 => (nth(), 0..5_u64).prop_map(|(nth, seq)| Op::FailingOver { nth, seq }),
        3 => (0..2500_u64).prop_map(Op::Pass),
    ]
}

proptest! {
    /// After each step every request is where the servers and the list say, and when nothing fails any more each is
    /// answered. INV-01, INV-02, INV-04, INV-05, INV-08, INV-12
    #[test]
    fn every_request_is_where_it_must_be(pool in 1..4_u32, ops in prop::collection::vec(op(), 0..100)) {
        let mut bench = Bench::new(pool);
        for op in ops {
            let ready = bench.servers.iter().filter(|(_, server)| server.is_ready);
            let ready: Vec<ConnId> = ready.map(|(conn, _)| *conn).collect();
            let pick = |nth: usize| nth.checked_rem(ready.len()).map(|at| ready[at]);
            match op {
                Op::Send { replay, replies, is_large } => bench.send(replay, replies, is_large),
                Op::Take(nth) => {
                    let flush = bench.world.flushes.iter().nth(nth % bench.world.flushes.len().max(1)).copied();
                    flush.into_iter().for_each(|conn| bench.take(conn));
                }
                Op::Answer { nth, count } => {
                    pick(nth).into_iter().for_each(|conn| bench.answer(conn, count));
                }
                Op::Refuse(nth) => pick(nth).into_iter().for_each(|conn| bench.refuse(conn)),
                Op::Cancel(at) if at < bench.jobs.len() => bench.cancel(at),
                Op::Cancel(_) => {}
                Op::Dial { lands } => bench.dial(lands),
                Op::Close(nth) => pick(nth).into_iter().for_each(|conn| bench.close(conn)),
                Op::Moving { nth, seq, port, grace } => {
                    let Some(conn) = pick(nth) else { continue };
                    let (seq, grace) = (seq.to_string(), grace.to_string());
                    bench.push(conn, &["MOVING", &seq, &grace, &format!("127.0.0.1:{port}")]);
                }
                Op::FailingOver { nth, seq } => {
                    let Some(conn) = pick(nth) else { continue };
                    bench.push(conn, &["FAILING_OVER", &seq.to_string(), "1", "1"]);
                }
                Op::Pass(millis) => {
                    let until = bench.world.now + Duration::from_millis(millis);
                    while bench.next_timeout(until) {}
                    bench.world.now = until;
                }
            }
        }
        bench.settle();
    }
}
