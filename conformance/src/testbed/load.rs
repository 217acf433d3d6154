//! A load that never pauses for long, and notices everything that is wrong with its replies.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hitless_core::error::Delivery;
use hitless_core::request::{Outcome, Request};
use resp3_codec::{Command, Frame};

use super::{get, incr, millis, set};
use crate::server::{Event, Ledger};
use crate::world::{Ticket, World};

/// Between the end of one operation of a task and the next one, usually.
const THINK_TIME: Duration = millis(5);

/// Tasks that repeat INCR, SET and GET, or GET alone, each on keys of its own and one operation at a time.
///
/// INV-02: every reply is known in advance (the next number, the last value), so that a reply of somebody else shows.
#[derive(Debug)]
pub struct Load {
    tasks: Vec<Task>,
    mix: Mix,
    think_time: Duration,
    stopping: bool,
    completed: usize,
    longest: Duration,
    errors: Vec<String>,
    operations: Vec<Operation>,
}

/// A SET of the load: its value is unique.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The value.
    pub token: String,
    /// When it was sent.
    pub sent_at: Instant,
}

/// What the tasks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mix {
    /// INCR, SET and GET in turn.
    Everything,
    /// GET only: what may be asked again whatever happens.
    Reads,
}

#[derive(Debug)]
struct Task {
    number: usize,
    turn: u64,
    state: State,
    /// INCRs that were answered, or shown by a later answer to have run.
    counted: i64,
    /// INCRs of which it is not known.
    unsure: i64,
    /// What GET may answer: the last acknowledged value, if there is one, and those of later SETs of which it is not known.
    values: Vec<Option<String>>,
}

#[derive(Debug)]
enum State {
    Resting(Instant),
    Ready,
    Waiting { ticket: Ticket, sent_at: Instant },
    Done,
}

impl Load {
    pub(super) fn new(tasks: usize, mix: Mix) -> Self {
        let turn = mix.next(None);
        let task =
            |number| Task { number, turn, state: State::Ready, counted: 0, unsure: 0, values: vec![None] };
        Self {
            tasks: (0..tasks).map(task).collect(),
            mix,
            think_time: THINK_TIME,
            stopping: false,
            completed: 0,
            longest: Duration::ZERO,
            errors: Vec::new(),
            operations: Vec::new(),
        }
    }

    /// The same with longer pauses, for a case that takes long.
    pub(super) fn thinking(mut self, think_time: Duration) -> Self {
        self.think_time = think_time;
        self
    }

    /// Takes in what has ended, and sends what is due.
    pub(super) fn pump(&mut self, world: &mut dyn World) {
        let now = world.now();
        for at in 0..self.tasks.len() {
            let task = &mut self.tasks[at];
            if let State::Waiting { ticket, sent_at } = task.state {
                let Some(finished) = world.finished(ticket) else { continue };
                self.longest = self.longest.max(finished.at.saturating_duration_since(sent_at));
                match task.judge(&finished.outcome) {
                    Ok(()) => self.completed += 1,
                    Err(error) => self.errors.push(error),
                }
                task.turn = self.mix.next(Some(task.turn));
                task.state = State::Resting(now + self.think_time);
            }
            if matches!(task.state, State::Resting(until) if until <= now) {
                task.state = State::Ready;
            }
            match task.state {
                State::Resting(_) | State::Ready if self.stopping => task.state = State::Done,
                State::Ready => self.send(world, at),
                State::Resting(_) | State::Waiting { .. } | State::Done => {}
            }
        }
    }

    fn send(&mut self, world: &mut dyn World, at: usize) {
        let (task, sent_at) = (&mut self.tasks[at], world.now());
        let command = task.command();
        if let Some(token) = task.token() {
            self.operations.push(Operation { token, sent_at });
        }
        let request = Request::command(command).expect("a command for the shared client");
        match world.send(request) {
            Ok(ticket) => task.state = State::Waiting { ticket, sent_at },
            Err(error) => {
                self.errors.push(format!("not accepted: {error}"));
                task.state = State::Resting(sent_at + self.think_time);
            }
        }
    }

    /// When the next task has something to send.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let resting = self.tasks.iter().filter_map(|task| match task.state {
            State::Resting(until) => Some(until),
            State::Ready | State::Waiting { .. } | State::Done => None,
        });
        resting.min()
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.iter().all(|task| matches!(task.state, State::Done))
    }

    /// Operations that succeeded.
    #[must_use]
    pub fn completed(&self) -> usize {
        self.completed
    }

    /// The longest time that an operation took.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// What failed.
    #[must_use]
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// The SETs that were sent, in order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Every INCR was executed once, and those of which it is not known at most once. INV-05
    pub(super) fn check_executions(&self, ledger: &Ledger) {
        for task in &self.tasks {
            let key = task.counter();
            let executed = ledger.executions("INCR", key.as_bytes()).count() as i64;
            let possible = task.counted..=task.counted + task.unsure;
            assert!(
                possible.contains(&executed),
                "INV-05: {key} was executed {executed} times of {possible:?}"
            );
        }
        let mut tokens: Vec<&Bytes> = ledger.entries().iter().filter_map(executed_set).collect();
        tokens.sort();
        let twice = tokens.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(twice.is_none(), "INV-05: executed twice: {twice:?}");
    }
}

impl Mix {
    /// The turn after `turn`, or the first one. Every third is an INCR, a SET and a GET.
    fn next(self, turn: Option<u64>) -> u64 {
        match self {
            Self::Everything => turn.map_or(0, |turn| turn + 1),
            Self::Reads => turn.map_or(2, |turn| turn + 3),
        }
    }
}

/// The value of a SET of the load that was executed.
fn executed_set(entry: &crate::server::Entry) -> Option<&Bytes> {
    match &entry.event {
        Event::Executed { request, .. } if request.is("SET") => {
            request.words().get(2).filter(|value| value.starts_with(b"load."))
        }
        _ => None,
    }
}

impl Task {
    fn counter(&self) -> String {
        format!("load.counter.{}", self.number)
    }

    fn key(&self) -> String {
        format!("load.key.{}", self.number)
    }

    fn token(&self) -> Option<String> {
        (self.turn % 3 == 1).then(|| format!("load.{}.{}", self.number, self.turn))
    }

    fn command(&mut self) -> Command {
        match (self.turn % 3, self.token()) {
            (0, _) => incr(&self.counter()),
            (_, Some(token)) => set(&self.key(), &token),
            _ => get(&self.key()),
        }
    }

    /// Whether the end of the present operation is as it must be.
    fn judge(&mut self, outcome: &Outcome) -> Result<(), String> {
        let token = self.token();
        let reply = match outcome {
            Ok(replies) => &replies[0],
            Err(error) => {
                if error.delivery() == Delivery::Unknown {
                    match token {
                        Some(token) => self.values.push(Some(token)),
                        None => self.unsure += i64::from(self.turn.is_multiple_of(3)),
                    }
                }
                return Err(error.to_string());
            }
        };
        if reply.is_error() {
            return Err(format!("error reply: {}", reply.as_str().unwrap_or("?")));
        }
        match (self.turn % 3, token) {
            (0, _) => self.count(reply),
            (_, Some(token)) => {
                assert_eq!(reply, &Frame::simple("OK"), "INV-02: the reply to a SET");
                self.values = vec![Some(token)];
            }
            _ => {
                let value = reply.as_str().map(str::to_owned);
                let known = self.values.contains(&value);
                assert!(known, "INV-02: {value:?}, not one of {:?}", self.values);
            }
        }
        Ok(())
    }

    fn count(&mut self, reply: &Frame) {
        let number = reply.as_int().unwrap_or(-1);
        let next = self.counted + 1;
        let possible = next..=next + self.unsure;
        assert!(
            possible.contains(&number),
            "INV-02, INV-05: {number}, not one of {possible:?} ({})",
            self.counter()
        );
        self.unsure -= number - next;
        self.counted = number;
    }
}
