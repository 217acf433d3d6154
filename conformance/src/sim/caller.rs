//! The load: tasks that send requests, think, and know what each reply must be.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use hitless_core::driver::{Client, Reply, Runtime as _};
use hitless_core::error::Delivery;
use hitless_core::guide::Rng;
use hitless_core::request::{Outcome, Pipeline, Request};
use resp3_codec::{Command, Frame, cmd};

use super::edges;
use super::faults::{FaultKind, pick, up_to};
use super::plan::Plan;
use super::runtime::Executor;
use super::trace::{RequestKind, Trace, What};

/// Requests of a burst.
const BURST: u64 = 6;
/// The longest that an impatient caller waits.
const PATIENCE: Duration = Duration::from_millis(400);
/// A value that fills more than one write.
const LARGE: usize = 40 * 1024;

/// A task that sends requests on keys of its own.
pub(super) struct Caller {
    pub(super) executor: Executor,
    pub(super) client: Client<Executor>,
    pub(super) trace: Trace,
    pub(super) rng: Rng,
    pub(super) number: usize,
    /// The number of the next request of all tasks.
    pub(super) numbers: Arc<AtomicU64>,
    /// Requests that it sends, at least.
    pub(super) quota: usize,
    /// It goes on until then.
    pub(super) until: Instant,
    pub(super) think: Duration,
    pub(super) habits: Habits,
    pub(super) keys: Keys,
}

/// What callers do that others do not, and what they must be prepared for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// They drop their requests when a time of their own is over.
    are_impatient: bool,
    /// They ask for keys whose replies kill the link.
    ask_for_poison: bool,
    /// They ask for keys whose replies are at the limits.
    ask_for_edges: bool,
    /// Nodes may refuse their requests.
    may_be_refused: bool,
}

impl Habits {
    /// Those that a plan asks for.
    pub(super) fn of(plan: &Plan) -> Self {
        let refusing = [FaultKind::Demotion, FaultKind::Loading, FaultKind::MasterLost];
        Self {
            are_impatient: plan.has(FaultKind::ImpatientCallers),
            ask_for_poison: plan.has(FaultKind::Poison),
            ask_for_edges: plan.has(FaultKind::EdgeReplies),
            may_be_refused: refusing.into_iter().any(|kind| plan.has(kind)),
        }
    }
}

/// What a task knows of its keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) counter: String,
    key: String,
    /// INCRs that were answered, or shown by a later answer to have run.
    pub(super) counted: i64,
    /// INCRs of which it is not known.
    pub(super) unsure: i64,
    /// The value that was acknowledged last.
    value: Option<String>,
    /// Values of which it is not known whether they were ever set, nor when.
    unsure_values: Vec<String>,
}

impl Keys {
    pub(super) fn of(task: usize) -> Self {
        Self::named(format!("counter.{task}"), format!("key.{task}"))
    }

    pub(super) fn named(counter: String, key: String) -> Self {
        Self { counter, key, ..Self::default() }
    }
}

/// A request and what its replies must be.
struct Asked {
    number: u64,
    kind: RequestKind,
    token: String,
    request: Request,
}

/// The word in a request by which the ledger is searched.
pub(super) fn token(number: u64) -> String {
    format!("r{number}")
}

impl Caller {
    /// Sends its requests and sees that each is answered as it must be.
    pub(super) async fn run(mut self) -> Keys {
        let mut sent = 0;
        while sent < self.quota || self.executor.now() < self.until {
            if self.rng.below(8) == 0 {
                sent += self.burst().await;
            } else {
                self.one().await;
                sent += 1;
            }
            let pause = up_to(&mut self.rng, self.think * 2);
            self.executor.sleep(pause).await;
        }
        self.trace.note(What::TaskDone(self.number));
        self.keys
    }

    async fn one(&mut self) {
        let asked = self.ask();
        let (number, kind, token) = (asked.number, asked.kind, asked.token.clone());
        let Some(reply) = self.send(asked) else { return };
        let patience = if self.habits.are_impatient {
            Some(Duration::from_millis(20) + up_to(&mut self.rng, PATIENCE))
        } else {
            (self.rng.below(10) == 0).then(|| up_to(&mut self.rng, Duration::from_millis(4)))
        };
        match within(&self.executor, patience, reply).await {
            None => self.give_up(number, kind, token),
            Some(outcome) => self.end(number, kind, token, &outcome),
        }
    }

    /// Several at a time, some of which are given up.
    async fn burst(&mut self) -> usize {
        let mut replies = Vec::new();
        for _ in 0..2 + self.rng.below(BURST) {
            let asked = self.echo();
            let (number, token) = (asked.number, asked.token.clone());
            if let Some(reply) = self.send(asked) {
                replies.push((number, token, reply));
            }
        }
        let sent = replies.len();
        for (number, token, reply) in replies {
            if self.rng.below(8) == 0 {
                drop(reply);
                self.give_up(number, RequestKind::Echo, token);
            } else {
                let outcome = reply.await;
                self.end(number, RequestKind::Echo, token, &outcome);
            }
        }
        sent
    }

    /// Sends a request; nothing if the client is full.
    fn send(&self, asked: Asked) -> Option<Reply<Executor>> {
        let (task, request) = (self.number, asked.number);
        self.trace.note(What::Sent { task, request, kind: asked.kind });
        match self.client.send(asked.request) {
            Ok(reply) => Some(reply),
            Err(_) => {
                self.trace.note(What::NotAccepted { task, request });
                None
            }
        }
    }

    fn ask(&mut self) -> Asked {
        if let Some(asked) = self.odd() {
            return asked;
        }
        let kind = match self.rng.below(10) {
            0..3 => RequestKind::Incr,
            3..5 => RequestKind::Set,
            5..7 => RequestKind::Get,
            7 => RequestKind::Echo,
            8 => RequestKind::Pipeline,
            _ => RequestKind::Atomic,
        };
        if kind == RequestKind::Echo {
            return self.echo();
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut value = token(number);
        if kind == RequestKind::Set && self.rng.below(64) == 0 {
            value.push('.');
            value.extend(std::iter::repeat_n('x', LARGE));
        }
        let keys = &self.keys;
        let (incr, get) = (cmd("INCR").arg(&keys.counter), cmd("GET").arg(&keys.key));
        let set = cmd("SET").arg(&keys.key).arg(&value);
        let mut request = match kind {
            RequestKind::Incr => single(incr),
            RequestKind::Set => single(set),
            RequestKind::Pipeline => several(Pipeline::new().command(set).command(get).command(incr)),
            RequestKind::Atomic => several(Pipeline::atomic().command(set).command(get).command(incr)),
            _ => single(get),
        };
        if self.rng.below(32) == 0 {
            request = request.timeout(Duration::from_millis(500 + self.rng.below(500)));
        }
        Asked { number, kind, token: value, request }
    }

    /// A request for a key whose reply is at a limit or beyond, if this caller asks for such keys and it is time for one.
    fn odd(&mut self) -> Option<Asked> {
        let (kind, end) = if self.habits.ask_for_poison && self.rng.below(48) == 0 {
            (RequestKind::Poison, pick(&mut self.rng, edges::POISONS).0)
        } else if self.habits.ask_for_edges && self.rng.below(8) == 0 {
            (RequestKind::Edge, *pick(&mut self.rng, edges::EDGES))
        } else {
            return None;
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let key = format!("{}.{end}", token(number));
        Some(Asked { number, kind, request: single(cmd("GET").arg(&key)), token: key })
    }

    fn echo(&self) -> Asked {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let token = token(number);
        Asked { number, kind: RequestKind::Echo, request: single(cmd("ECHO").arg(&token)), token }
    }

    fn give_up(&mut self, request: u64, kind: RequestKind, token: String) {
        self.trace.note(What::Cancelled { task: self.number, request });
        self.keys.doubt(kind, token);
    }

    fn end(&mut self, request: u64, kind: RequestKind, token: String, outcome: &Outcome) {
        let task = self.number;
        match outcome {
            Ok(replies) => {
                let replies: Vec<Frame> = replies.iter().map(plain).collect();
                if self.habits.may_be_refused && replies.iter().any(is_refusal) {
                    self.keys.refused(kind, token, &replies);
                    self.trace.note(What::Refused { task, request });
                } else {
                    self.keys.check(kind, token, &replies);
                    self.trace.note(What::Replied { task, request });
                }
            }
            Err(error) => {
                self.trace.note(What::Failed { task, request, error: error.clone() });
                if error.delivery() == Delivery::Unknown {
                    self.keys.doubt(kind, token);
                }
            }
        }
    }
}

impl Keys {
    /// It is not known whether this request ran.
    pub(super) fn doubt(&mut self, kind: RequestKind, token: String) {
        match kind {
            RequestKind::Incr => self.unsure += 1,
            RequestKind::Set => self.unsure_values.push(token),
            RequestKind::Pipeline | RequestKind::Atomic => {
                self.unsure += 1;
                self.unsure_values.push(token);
            }
            _ => {}
        }
    }

    /// Nothing of what was refused has run; of a pipeline the rest has.
    pub(super) fn refused(&mut self, kind: RequestKind, token: String, replies: &[Frame]) {
        match (kind, replies) {
            (RequestKind::Pipeline, [ok, value, number]) => {
                if !is_refusal(ok) {
                    self.acknowledge(ok, token);
                }
                if !is_refusal(value) {
                    self.known(value);
                }
                if !is_refusal(number) {
                    self.count(number);
                }
            }
            (RequestKind::Atomic, [.., exec]) => {
                assert!(exec.is_error(), "INV-02: EXEC of a refused batch has the reply {exec:?}");
            }
            _ => {}
        }
    }

    /// Replies are those of this request. INV-02
    pub(super) fn check(&mut self, kind: RequestKind, token: String, replies: &[Frame]) {
        match (kind, replies) {
            (RequestKind::Incr, [number]) => self.count(number),
            (RequestKind::Set, [ok]) => self.acknowledge(ok, token),
            (RequestKind::Get, [value]) => self.known(value),
            (RequestKind::Echo | RequestKind::Probe, [echo]) => {
                assert_eq!(echo.as_str(), Some(token.as_str()), "INV-02: the reply to an ECHO");
            }
            (RequestKind::Pipeline, [ok, value, number]) => {
                self.acknowledge(ok, token);
                self.known(value);
                self.count(number);
            }
            (RequestKind::Atomic, [multi, queued @ .., exec]) => {
                assert_eq!(multi, &Frame::simple("OK"), "INV-02: the reply to MULTI");
                let is_queued = queued.iter().all(|reply| *reply == Frame::simple("QUEUED"));
                assert!(is_queued && queued.len() == 3, "INV-02: the replies of a batch: {queued:?}");
                let Some([ok, value, number]) = exec.as_array() else {
                    panic!("INV-02: the reply to EXEC is {exec:?}");
                };
                assert_eq!(value.as_str(), Some(token.as_str()), "INV-02: a batch is atomic");
                self.acknowledge(ok, token);
                self.count(number);
            }
            (RequestKind::Edge, [frame]) => {
                let edge = token.split_once('.').map_or("", |(_, edge)| edge);
                assert_eq!(frame, &edges::reply(edge), "INV-02: the reply to {edge}");
            }
            (kind, replies) => panic!("INV-02: {kind:?} has the replies {replies:?}"),
        }
    }

    pub(super) fn acknowledge(&mut self, ok: &Frame, token: String) {
        assert_eq!(ok, &Frame::simple("OK"), "INV-02: the reply to a SET");
        self.value = Some(token);
    }

    /// A value that was acknowledged last, or may have been set at any time.
    pub(super) fn known(&self, value: &Frame) {
        let value = value.as_str();
        let known = value == self.value.as_deref()
            || value.is_some_and(|value| self.unsure_values.iter().any(|unsure| unsure == value));
        assert!(known, "INV-02: GET of {} is {value:?}", self.key);
    }

    fn count(&mut self, number: &Frame) {
        let number = number.as_int().unwrap_or(-1);
        let next = self.counted + 1;
        let possible = next..=next + self.unsure;
        assert!(
            possible.contains(&number),
            "INV-02, INV-05: {number}, not one of {possible:?} ({})",
            self.counter
        );
        self.unsure -= number - next;
        self.counted = number;
    }
}

/// The frame without what the server says about it and its elements.
fn plain(frame: &Frame) -> Frame {
    match frame.clone().without_attributes() {
        Frame::Array(elements) => Frame::Array(elements.iter().map(plain).collect()),
        frame => frame,
    }
}

/// Whether a node says that it serves no such requests now or not those of the slot, or a batch was not run for that reason.
pub(super) fn is_refusal(frame: &Frame) -> bool {
    let codes =
        ["READONLY ", "LOADING ", "MASTERDOWN ", "EXECABORT ", "MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN "];
    frame.is_error() && frame.as_str().is_some_and(|text| codes.iter().any(|code| text.starts_with(code)))
}

/// What a future comes to, unless it takes longer than `patience`.
pub(super) async fn within<T>(
    executor: &Executor,
    patience: Option<Duration>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let Some(patience) = patience else { return Some(future.await) };
    let mut future = pin!(future);
    let mut alarm = pin!(executor.sleep(patience));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A request of one command.
pub(super) fn single(command: Command) -> Request {
    Request::command(command).expect("a command for the shared client")
}

pub(super) fn several(pipeline: Pipeline) -> Request {
    pipeline.into_request().expect("commands for the shared client").expect("several commands")
}
