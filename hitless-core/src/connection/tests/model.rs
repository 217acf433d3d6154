//! A naive model of a connection: one list of requests in the order of their acceptance, which is searched from the
//! start for every answer. Tests compare the pipeline and the whole connection with it after each step.

use proptest::prelude::*;

use super::*;
use crate::request::Timeout;

/// One call of `transmit` begins no request after this many bytes.
const TAKE: usize = 64 * 1024;
/// Two payloads of this size do not fit into one call.
const LARGE: usize = 40 * 1024;
const CONFIGURED: u64 = 3;
/// What the connection itself has sent.
const OWN: u32 = u32::MAX;

/// A request as the model keeps it; instants are seconds.
#[derive(Clone, Debug)]
struct Item {
    id: u32,
    ticket: Ticket,
    payload: Bytes,
    left: u32,
    got: Vec<Frame>,
    /// It was cancelled or has timed out, and its replies are still to come.
    given_up: bool,
    is_written: bool,
    /// A window was closed while it was under way.
    outlived_window: bool,
    accepted_at: u64,
    deadline: Option<u64>,
    timeout: Timeout,
    class: Class,
    replay: Replay,
}

/// A request before it is accepted.
#[derive(Clone, Debug)]
struct Wish {
    replies: u32,
    is_large: bool,
    /// `None` is infinite.
    configured: Option<u64>,
    explicit: Option<u64>,
    class: Class,
    replay: Replay,
}

fn wish() -> impl Strategy<Value = Wish> {
    let replay = proptest::sample::select(vec![Replay::Never, Replay::IfUnsent, Replay::Idempotent]);
    (
        1..4_u32,
        prop::bool::weighted(0.1),
        prop::option::weighted(0.9, Just(CONFIGURED)),
        prop::option::weighted(0.2, 1..8_u64),
        prop::bool::weighted(0.2),
        replay,
    )
        .prop_map(|(replies, is_large, configured, explicit, is_atomic, replay)| {
            let class = if is_atomic { Class::Atomic } else { Class::Shared };
            Wish { replies, is_large, configured, explicit, class, replay }
        })
}

impl Wish {
    fn accepted(&self, now: Instant, id: u32) -> Accepted {
        let payload = Bytes::from(vec![id as u8; if self.is_large { LARGE } else { 3 }]);
        let mut request = Request::raw(payload, NonZeroU32::new(self.replies).unwrap());
        request.class = self.class;
        request.replay = self.replay;
        if let Some(seconds) = self.explicit {
            request = request.timeout(Duration::from_secs(seconds));
        }
        let configured = self.configured.map(Duration::from_secs);
        Accepted::new(now, RequestId::from_parts(id, 0), request, configured, None)
    }
}

#[derive(Debug, Default)]
struct Fifo {
    items: Vec<Item>,
}

impl Fifo {
    fn push(&mut self, now: u64, ticket: Ticket, accepted: &Accepted, wish: &Wish) {
        self.items.push(Item {
            id: accepted.id.index() as u32,
            ticket,
            payload: accepted.request.payload.clone(),
            left: wish.replies,
            got: Vec::new(),
            given_up: false,
            is_written: false,
            outlived_window: false,
            accepted_at: now,
            deadline: wish.explicit.or(wish.configured).map(|seconds| now + seconds),
            timeout: accepted.request.timeout,
            class: wish.class,
            replay: wish.replay,
        });
    }

    /// What the connection itself writes, before all that is not written. It is nobody's request.
    fn push_own(&mut self) {
        let place = self.items.iter().take_while(|item| item.is_written).count();
        self.items.insert(
            place,
            Item {
                id: OWN,
                ticket: Ticket::nth(u64::MAX),
                payload: Bytes::new(),
                left: 1,
                got: Vec::new(),
                given_up: true,
                is_written: true,
                outlived_window: false,
                accepted_at: 0,
                deadline: None,
                timeout: Timeout::Configured,
                class: Class::Shared,
                replay: Replay::Never,
            },
        );
    }

    fn relax(&mut self, seconds: u64) {
        for item in self.items.iter_mut().filter(|item| item.timeout == Timeout::Configured) {
            item.deadline = item.deadline.map(|deadline| deadline.max(item.accepted_at + seconds));
        }
    }

    fn transmit(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for item in self.items.iter_mut().filter(|item| !item.is_written) {
            if bytes.len() >= TAKE {
                break;
            }
            bytes.extend_from_slice(&item.payload);
            item.is_written = true;
        }
        bytes
    }

    /// `None` if no reply is awaited. Otherwise the request that the reply completes, unless it was cancelled.
    fn reply(&mut self, frame: Frame) -> Option<Option<Item>> {
        let front = self.items.first_mut().filter(|item| item.is_written)?;
        front.left -= 1;
        front.got.push(frame);
        let is_last = front.left == 0;
        Some(is_last.then(|| self.items.remove(0)).filter(|item| !item.given_up))
    }

    fn cancel(&mut self, ticket: Ticket) -> bool {
        let before = self.wanted().count();
        self.items.retain(|item| item.ticket != ticket || item.is_written);
        self.items.iter_mut().filter(|item| item.ticket == ticket).for_each(|item| item.given_up = true);
        self.wanted().count() < before
    }

    fn take_due(&mut self, now: u64) -> Vec<Item> {
        let is_due = |item: &Item| !item.given_up && item.deadline.is_some_and(|deadline| deadline <= now);
        let due: Vec<Item> = self.items.iter().filter(|item| is_due(item)).cloned().collect();
        due.iter().for_each(|item| assert!(self.cancel(item.ticket)));
        due
    }

    fn take(&mut self, takes: impl Fn(&Item) -> bool) -> Vec<Item> {
        self.items.extract_if(.., |item| takes(item)).collect()
    }

    fn wanted(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| !item.given_up)
    }

    fn has_unsent(&self) -> bool {
        self.items.iter().any(|item| !item.is_written)
    }

    fn is_drained(&self) -> bool {
        self.items.iter().all(|item| !item.is_written)
    }

    /// A quarter of the replies that are awaited, or what one request awaits if there are fewer than four, from 2 to 64.
    fn batch(&self) -> usize {
        let awaited: u32 = self.items.iter().filter(|item| item.is_written).map(|item| item.left).sum();
        let requests = self.items.iter().filter(|item| item.is_written).count();
        let part = match requests {
            0 | 1 => awaited,
            2 => awaited / 2,
            3 => awaited / 3,
            _ => awaited / 4,
        };
        match part {
            0..=2 => 2,
            3..=63 => part as usize,
            _ => 64,
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.wanted().filter_map(|item| item.deadline).min()
    }
}

fn drain(buffer: &mut WriteBuffer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !buffer.is_empty() {
        bytes.extend_from_slice(buffer.chunk());
        buffer.advance(buffer.chunk().len());
    }
    bytes
}

#[derive(Clone, Debug)]
enum Step {
    Push(Wish),
    PushOwn,
    Transmit,
    Reply,
    Abandon { nth: usize },
    Pass { seconds: u64 },
    Relax { seconds: u64 },
    TakeUnsent,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => wish().prop_map(Step::Push),
        1 => Just(Step::PushOwn),
        3 => Just(Step::Transmit),
        5 => Just(Step::Reply),
        2 => (0..12_usize).prop_map(|nth| Step::Abandon { nth }),
        2 => (0..3_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => (0..9_u64).prop_map(|seconds| Step::Relax { seconds }),
        1 => Just(Step::TakeUnsent),
    ]
}

proptest! {
    /// Whatever is written, cancelled, late or relaxed, each reply belongs to the oldest request that was written.
    /// INV-02, INV-08, INV-12
    #[test]
    fn the_pipeline_is_a_list_in_order(steps in prop::collection::vec(step(), 0..80)) {
        let origin = epoch();
        let at = |seconds: u64| origin + Duration::from_secs(seconds);
        let mut pipeline = Pipeline::new();
        let mut model = Fifo::default();
        let mut tickets = Vec::new();
        let mut buffer = WriteBuffer::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Push(wish) => {
                    let accepted = wish.accepted(at(now), tickets.len() as u32);
                    let copy = wish.accepted(at(now), tickets.len() as u32);
                    let ticket = pipeline.push(accepted);
                    tickets.push(ticket);
                    model.push(now, ticket, &copy, &wish);
                }
                Step::PushOwn => {
                    pipeline.expect_own(Own::Auth);
                    model.push_own();
                }
                Step::Transmit => {
                    let expected = model.transmit();
                    prop_assert_eq!(pipeline.transmit(&mut buffer), !expected.is_empty());
                    prop_assert!(drain(&mut buffer) == expected);
                }
                Step::Reply if model.items.first().is_some_and(|item| item.id == OWN) => {
                    model.items.remove(0);
                    prop_assert!(matches!(pipeline.reply(Frame::Null), Matched::Own(Own::Auth, Frame::Null)));
                }
                Step::Reply => match (pipeline.reply(Frame::Integer(now as i64)), model.reply(Frame::Integer(now as i64))) {
                    (Matched::Stray, None) | (Matched::Nothing, Some(None)) => {}
                    (Matched::Complete { accepted, replies, .. }, Some(Some(item))) => {
                        prop_assert_eq!(accepted.id.index() as u32, item.id);
                        prop_assert_eq!(replies.as_slice(), item.got.as_slice());
                    }
                    other => prop_assert!(false, "{:?}", other),
                },
                Step::Abandon { nth } => {
                    let Some(ticket) = tickets.get(nth) else { continue };
                    prop_assert_eq!(pipeline.cancel(*ticket), model.cancel(*ticket));
                }
                Step::Pass { seconds } => {
                    now += seconds;
                    let due: Vec<(u32, bool)> = pipeline
                        .take_due(at(now))
                        .into_iter()
                        .map(|(accepted, is_written)| (accepted.id.index() as u32, is_written))
                        .collect();
                    let expected = model.take_due(now).into_iter().map(|item| (item.id, item.is_written));
                    prop_assert_eq!(due, expected.collect::<Vec<_>>());
                    prop_assert!(pipeline.poll_timeout().is_none_or(|next| next > at(now)));
                }
                Step::Relax { seconds } => {
                    let before = pipeline.poll_timeout();
                    pipeline.relax(Duration::from_secs(seconds));
                    model.relax(seconds);
                    // Where nobody waits the alarm stays, because of the memory.
                    prop_assert_eq!(pipeline.poll_timeout(), model.next_deadline().map(at).or(before));
                }
                Step::TakeUnsent => {
                    let taken: Vec<u32> = pipeline.take_unsent().map(|accepted| accepted.id.index() as u32).collect();
                    let expected = model.take(|item| !item.is_written);
                    prop_assert_eq!(taken, expected.iter().map(|item| item.id).collect::<Vec<_>>());
                }
            }
            // A little early is allowed, late is not.
            if let Some(next) = model.next_deadline() {
                prop_assert!(pipeline.poll_timeout().is_some_and(|alarm| alarm <= at(next)));
            }
            prop_assert_eq!(pipeline.len(), model.items.len());
            prop_assert_eq!(pipeline.has_unsent(), model.has_unsent());
            prop_assert_eq!(pipeline.is_drained(), model.is_drained());
            prop_assert_eq!(pipeline.batch(PARTS), model.batch());
        }
        let written: Vec<u32> = pipeline.take_written().map(|accepted| accepted.id.index() as u32).collect();
        let expected = model.wanted().filter(|item| item.is_written).map(|item| item.id);
        prop_assert_eq!(written, expected.collect::<Vec<_>>());
    }
}

// ---- the connection as a whole ----

/// An event that a connection must have.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Replied(u32, Vec<Frame>),
    Failed(u32, RequestError),
    Returned(u32, Delivery),
    Deferred(u32, Vec<Frame>),
    Notified,
    Malformed,
    Pushed,
    Silent,
    Heard,
    Drained,
    LinkFailed(CloseCause),
}

impl Said {
    fn of(event: ConnectionEvent) -> Self {
        let id = |id: RequestId| id.index() as u32;
        match event {
            ConnectionEvent::Completed { id: of, outcome: Ok(replies) } => {
                Self::Replied(id(of), replies.to_vec())
            }
            ConnectionEvent::Completed { id: of, outcome: Err(error) } => Self::Failed(id(of), error),
            ConnectionEvent::Returned { accepted } => Self::Returned(id(accepted.id), accepted.delivery()),
            ConnectionEvent::Deferred { accepted, replies } => {
                Self::Deferred(id(accepted.id), replies.to_vec())
            }
            ConnectionEvent::Notified { .. } => Self::Notified,
            ConnectionEvent::Malformed(_) => Self::Malformed,
            ConnectionEvent::Pushed(_) => Self::Pushed,
            ConnectionEvent::Silent => Self::Silent,
            ConnectionEvent::Heard => Self::Heard,
            ConnectionEvent::Drained => Self::Drained,
            ConnectionEvent::Failed(cause) => Self::LinkFailed(cause),
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Serving,
    Draining,
    Closed,
}

/// A connection whose handshake is done.
struct Model {
    fifo: Fifo,
    state: State,
    relaxed: Option<u64>,
    now: u64,
    /// The last byte, or the write that found nothing owed.
    heard_at: u64,
    /// Three timeouts of windows since then.
    granted: u64,
    is_dead: bool,
    said: Vec<Said>,
}

impl Model {
    fn hear(&mut self) {
        self.heard_at = self.now;
        self.granted = 3 * self.relaxed.unwrap_or(0);
        if std::mem::take(&mut self.is_dead) && self.state == State::Serving {
            self.said.push(Said::Heard);
        }
    }

    fn reply(&mut self, frame: &Frame) {
        self.hear();
        if self.state == State::Closed {
            return;
        }
        let Some(completed) = self.fifo.reply(frame.clone()) else {
            let cause = CloseCause::Protocol(ProtocolError::UnexpectedReply);
            return self.said.push(Said::LinkFailed(cause));
        };
        if let Some(item) = completed {
            let refused = item.got.iter().filter(|reply| **reply == refusal()).count();
            let may_run_again =
                refused == item.got.len() || (item.replay == Replay::Idempotent && refused > 0);
            let in_window = self.relaxed.is_some() || item.outlived_window;
            let is_deferred = may_run_again && in_window && item.class == Class::Shared;
            self.said.push(match is_deferred {
                true => Said::Deferred(item.id, item.got),
                false => Said::Replied(item.id, item.got),
            });
        }
        self.settle();
    }

    fn settle(&mut self) {
        if self.state == State::Draining && self.fifo.is_drained() {
            self.said.push(Said::Drained);
        }
    }

    fn push(&mut self, said: Said) {
        self.hear();
        if self.state != State::Closed {
            self.said.push(said);
        }
    }

    fn pass(&mut self, now: u64) {
        for item in self.fifo.take_due(now) {
            let delivery = if item.is_written { Delivery::Unknown } else { Delivery::NotSent };
            let after = Duration::from_secs(item.deadline.unwrap() - item.accepted_at);
            self.said.push(Said::Failed(item.id, RequestError::TimedOut { after, delivery }));
        }
        let owes = self.fifo.items.iter().any(|item| item.is_written);
        if owes && !self.is_dead && now >= self.heard_at + self.granted.max(3 * CONFIGURED) {
            self.is_dead = true;
            self.said.push(Said::Silent);
            self.return_unsent();
        }
        self.give_up_if_dead();
    }

    fn return_unsent(&mut self) {
        for item in self.fifo.take(|item| !item.is_written) {
            self.said.push(Said::Returned(item.id, Delivery::NotSent));
        }
    }

    fn give_up_if_dead(&mut self) {
        let waits = self.fifo.wanted().any(|item| item.is_written);
        if self.state == State::Draining && self.is_dead && !waits {
            self.said.push(Said::LinkFailed(CloseCause::Silent));
        }
    }

    fn close(&mut self, cause: CloseCause) {
        self.state = State::Closed;
        let is_ours = matches!(cause, CloseCause::Protocol(_));
        for (nth, item) in self.fifo.take(|_| true).into_iter().enumerate() {
            let (may_repeat, delivery) = match (item.is_written, item.replay) {
                (false, replay) => (replay != Replay::Never, Delivery::NotSent),
                (true, replay) => {
                    let is_repeatable = replay == Replay::Idempotent && item.class == Class::Shared;
                    (is_repeatable && !(is_ours && nth == 0), Delivery::Unknown)
                }
            };
            match may_repeat {
                _ if item.given_up => {}
                true => self.said.push(Said::Returned(item.id, delivery)),
                false if cause == CloseCause::MoveDeadline => {
                    self.said.push(Said::Failed(item.id, RequestError::MoveDeadline { delivery }));
                }
                false => {
                    self.said.push(Said::Failed(item.id, RequestError::ConnectionLost { cause, delivery }));
                }
            }
        }
    }
}

const MALFORMED: CloseCause = CloseCause::Protocol(ProtocolError::Malformed);

fn refusal() -> Frame {
    Frame::error("READONLY You can't write against a read only replica.")
}

#[derive(Clone, Debug)]
enum Fact {
    Enqueue(Wish),
    Transmit,
    Reply(Frame),
    Push(&'static str),
    Received,
    Abandon { nth: usize },
    Pass { seconds: u64 },
    Retime(Option<u64>),
    Drain,
    Close(CloseCause),
}

fn fact() -> impl Strategy<Value = Fact> {
    let reply = prop_oneof![
        6 => (0..100_i64).prop_map(Frame::Integer),
        1 => Just(Frame::error("ERR it ran and failed")),
        2 => Just(refusal()),
    ];
    prop_oneof![
        8 => wish().prop_map(Fact::Enqueue),
        5 => Just(Fact::Transmit),
        9 => reply.prop_map(Fact::Reply),
        1 => proptest::sample::select(vec!["MIGRATING", "MOVING", "whatever"]).prop_map(Fact::Push),
        1 => Just(Fact::Received),
        2 => (0..12_usize).prop_map(|nth| Fact::Abandon { nth }),
        4 => (0..4_u64).prop_map(|seconds| Fact::Pass { seconds }),
        2 => prop::option::of(0..9_u64).prop_map(Fact::Retime),
        1 => Just(Fact::Drain),
        1 => proptest::sample::select(vec![CloseCause::ByServer, CloseCause::MoveDeadline, MALFORMED]).prop_map(Fact::Close),
    ]
}

proptest! {
    /// A connection has the same events as a plain list, in the same order. INV-01, INV-02, INV-05,
    /// INV-08, INV-12, RULE-31, RULE-65
    #[test]
    fn a_connection_says_what_the_list_says(facts in prop::collection::vec(fact(), 0..80)) {
        let origin = epoch();
        let at = |seconds: u64| origin + Duration::from_secs(seconds);
        let mut connection = ready();
        let mut model = Model {
            fifo: Fifo::default(),
            state: State::Serving,
            relaxed: None,
            now: 0,
            heard_at: 0,
            granted: 0,
            is_dead: false,
            said: vec![],
        };
        let mut tickets = Vec::new();
        let mut now = 0;
        for fact in facts {
            match fact {
                Fact::Enqueue(wish) => {
                    let copy = wish.accepted(at(now), tickets.len() as u32);
                    let taken = connection.enqueue(wish.accepted(at(now), tickets.len() as u32));
                    prop_assert_eq!(taken.is_ok(), model.state == State::Serving && !model.is_dead);
                    let Ok(ticket) = taken else { continue };
                    tickets.push(ticket);
                    model.fifo.push(now, ticket, &copy, &wish);
                    model.relaxed.into_iter().for_each(|seconds| model.fifo.relax(seconds));
                }
                Fact::Transmit => {
                    let serves = model.state == State::Serving;
                    if model.fifo.is_drained() {
                        model.heard_at = now;
                        model.granted = 3 * model.relaxed.unwrap_or(0);
                    }
                    let expected = if serves { model.fifo.transmit() } else { vec![] };
                    let mut buffer = WriteBuffer::new();
                    prop_assert_eq!(connection.poll_transmit(&mut buffer), !expected.is_empty());
                    prop_assert!(drain(&mut buffer) == expected);
                    connection.note_time(at(now));
                }
                Fact::Reply(frame) => {
                    connection.handle_frame(frame.clone());
                    model.reply(&frame);
                }
                Fact::Push(name) => {
                    let rest = if name == "MOVING" { vec![] } else { vec![Frame::Integer(7)] };
                    let push = Frame::Push([vec![Frame::bulk(name)], rest].concat());
                    // Attributes change nothing about what is a push.
                    let frame = match now % 2 {
                        0 => push,
                        _ => Frame::Attribute { attributes: vec![], value: Box::new(push) },
                    };
                    connection.handle_frame(frame);
                    model.push(match name {
                        "MIGRATING" => Said::Notified,
                        "MOVING" => Said::Malformed,
                        _ => Said::Pushed,
                    });
                }
                Fact::Received => {
                    connection.handle_received();
                    model.hear();
                }
                Fact::Abandon { nth } => {
                    let Some(ticket) = tickets.get(nth) else { continue };
                    prop_assert_eq!(connection.cancel(*ticket), model.fifo.cancel(*ticket));
                    model.give_up_if_dead();
                }
                Fact::Pass { seconds } => {
                    now += seconds;
                    model.now = now;
                    connection.handle_timeout(at(now));
                    model.pass(now);
                    prop_assert!(connection.poll_timeout().is_none_or(|next| next > at(now)));
                }
                Fact::Retime(relaxed) => {
                    connection.retime(relaxed.map(Duration::from_secs));
                    let closes = model.relaxed.is_some() && relaxed.is_none();
                    model.relaxed = relaxed;
                    model.granted = model.granted.max(3 * relaxed.unwrap_or(0));
                    let under_way = model.fifo.items.iter_mut().filter(|item| closes && item.is_written);
                    under_way.for_each(|item| item.outlived_window = true);
                    relaxed.into_iter().for_each(|seconds| model.fifo.relax(seconds));
                }
                Fact::Drain => {
                    connection.drain();
                    if model.state == State::Serving {
                        model.state = State::Draining;
                        model.return_unsent();
                        model.settle();
                        model.give_up_if_dead();
                    }
                }
                Fact::Close(cause) => {
                    connection.handle_closed(cause);
                    if model.state != State::Closed {
                        model.close(cause);
                    }
                }
            }
            connection.note_time(at(now));
            let events = std::iter::from_fn(|| connection.poll_event());
            // Which replies are hints at a demotion has a test of its own.
            let events = events.filter(|event| !matches!(event, ConnectionEvent::Refused(_)));
            let said: Vec<Said> = events.map(Said::of).collect();
            prop_assert_eq!(said, std::mem::take(&mut model.said));
            prop_assert_eq!(connection.is_serving(), model.state == State::Serving && !model.is_dead);
            prop_assert_eq!(connection.requests(), model.fifo.items.len());
            prop_assert_eq!(connection.has_unsent(), model.fifo.has_unsent());
            if let Some(next) = model.fifo.next_deadline() {
                prop_assert!(connection.poll_timeout().is_some_and(|alarm| alarm <= at(next)));
            }
        }
    }
}
