//! The load: tasks that use the client without pause, and check every reply.

mod commands;
mod consumers;
mod subscriber;
mod transactions;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use hitless_conformance::clock;
use hitless_core::Frame;
use hitless_core::driver::{Client, Error, Runtime, Timer};
use hitless_core::error::Delivery;

use self::commands::Commands;
pub(crate) use self::consumers::{CONSUMERS, SPARES, Taken};
pub(crate) use self::subscriber::{Lasting, Received, TOPICS};
use self::transactions::Transactions;
pub(crate) use self::transactions::{HELD_AT_MOST, WORKERS as TRANSACTORS};
use crate::log::{Log, Who};
use crate::meter::{Ended, Meter};

/// Single commands under way at a time.
pub(crate) const TASKS: usize = 32;

/// Connections that are lent to transactions and consumers.
pub(crate) const LENT: usize = TRANSACTORS + CONSUMERS + SPARES;

/// A task that met an error waits this long: a load that fails at once would fail millions of times.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// The counters: one for each task, then those that transactions share.
pub(crate) fn counter_keys() -> Vec<String> {
    let own = (0..TASKS).map(|task| format!("demo:{task}:counter"));
    own.chain((0..transactions::COUNTERS).map(|number| format!("demo:shared:{number}"))).collect()
}

/// What the users of a counter know about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Additions that were answered.
    pub(crate) acknowledged: u64,
    /// Additions that failed and may have run.
    pub(crate) uncertain: u64,
}

impl Tally {
    /// An addition has failed.
    fn note_failure(&mut self, error: &Error) {
        self.uncertain += u64::from(error.delivery() == Some(Delivery::Unknown));
    }
}

/// What the tasks of each kind measure.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) commands: Meter,
    pub(crate) transactions: Meter,
}

impl Meters {
    /// The first gaps begin now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { commands: Meter::new(now), transactions: Meter::new(now) }
    }
}

/// What a task knows in the end.
enum Known {
    Counted { counter: usize, tally: Tally },
    Taken(Taken),
    Received(Received),
}

/// What is known once the load has ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Of each counter.
    pub(crate) tallies: Vec<Tally>,
    /// By all consumers.
    pub(crate) taken: Taken,
    /// By the subscriber.
    pub(crate) received: Received,
    /// Tasks that did not end.
    pub(crate) missing: u64,
}

/// A load that runs.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    endings: Receiver<Known>,
}

impl Load {
    /// Starts the tasks. Called inside the runtime.
    pub(crate) fn start<R: Runtime>(
        runtime: &R,
        client: &Client<R>,
        lasting: &Lasting<R>,
        meters: &Arc<Meters>,
        log: &Arc<Log>,
    ) -> Self {
        let (done, endings) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Arc::new(Worker {
            runtime: runtime.clone(),
            client: client.clone(),
            meters: Arc::clone(meters),
            log: Arc::clone(log),
            stop: Arc::clone(&stop),
            failed: AtomicBool::new(false),
            done,
        });
        let mut keys = counter_keys().into_iter().enumerate();
        for (counter, key) in keys.by_ref().take(TASKS) {
            let job = Commands::new(key);
            runtime.spawn(Arc::clone(&worker).run(counter, |meters| &meters.commands, job));
        }
        let shared: Vec<_> = keys.collect();
        for (number, (counter, key)) in (0..TRANSACTORS).zip(shared.into_iter().cycle()) {
            let job = Transactions::new(key, number);
            runtime.spawn(Arc::clone(&worker).run(counter, |meters| &meters.transactions, job));
        }
        for _ in 0..CONSUMERS {
            runtime.spawn(Arc::clone(&worker).consume());
        }
        runtime.spawn(worker.receive(lasting.clone()));
        Self { stop, endings }
    }

    /// Lets every task finish its operation, and consumers and subscriber come to the end of what they are fed; returns what they know. A task that is not done within `patience` is
    /// missing.
    pub(crate) fn finish(self, patience: Duration) -> Ending {
        self.stop.store(true, Ordering::Relaxed);
        let until = clock::now() + patience;
        let tallies = vec![Tally::default(); counter_keys().len()];
        let (taken, received) = (Taken::default(), Received::default());
        let missing = (TASKS + TRANSACTORS + CONSUMERS + 1) as u64;
        let mut ending = Ending { tallies, taken, received, missing };
        let next = || self.endings.recv_timeout(until.saturating_duration_since(clock::now()));
        while let Ok(known) = next() {
            match known {
                Known::Counted { counter, tally: Tally { acknowledged, uncertain } } => {
                    let tally = &mut ending.tallies[counter];
                    tally.acknowledged += acknowledged;
                    tally.uncertain += uncertain;
                }
                Known::Taken(taken) => ending.taken.add(taken),
                Known::Received(received) => ending.received = received,
            }
            ending.missing -= 1;
        }
        ending
    }
}

/// What a task does again and again.
trait Job<R: Runtime>: Send + 'static {
    /// Does it once.
    fn turn(&mut self, worker: &Worker<R>) -> impl Future<Output = Result<Turn, Failure>> + Send;

    /// What it has added to its counter.
    fn tally(&self) -> Tally;
}

/// How a turn ended that met no error.
enum Turn {
    Done,
    /// Nothing was done, and nothing is wrong: others were faster for too long.
    GaveUp,
}

/// What all tasks have.
struct Worker<R: Runtime> {
    runtime: R,
    client: Client<R>,
    meters: Arc<Meters>,
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    /// An operation of some task has failed: only the first is told, all are counted.
    failed: AtomicBool,
    done: Sender<Known>,
}

/// An operation without the reply that it must have.
enum Failure {
    Failed(Error),
    WrongReply { command: &'static str, expected: String, found: Frame },
}

impl<R: Runtime> Worker<R> {
    async fn run<J: Job<R>>(self: Arc<Self>, counter: usize, meter: fn(&Meters) -> &Meter, mut job: J) {
        let mut began = clock::now();
        while !self.stop.load(Ordering::Relaxed) {
            let result = job.turn(&self).await;
            let completed = clock::now();
            let record = |ended| meter(&self.meters).record(began, completed, ended);
            match result {
                Ok(Turn::Done) => record(Ended::WithReply),
                Ok(Turn::GaveUp) => {}
                Err(failure) => {
                    record(Ended::WithError);
                    self.tell(&failure);
                    self.pause(AFTER_ERROR).await;
                }
            }
            began = clock::now();
        }
        // Nobody waits any more for a task that is late.
        let _ = self.done.send(Known::Counted { counter, tally: job.tally() });
    }

    fn tell(&self, failure: &Failure) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            self.log.add(Who::Demo, format_args!("the first error: {failure}"));
        }
    }

    async fn pause(&self, time: Duration) {
        let mut timer = self.runtime.timer();
        timer.reset(self.runtime.now() + time);
        std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
    }
}

impl Failure {
    fn wrong(command: &'static str, expected: impl ToString, found: Frame) -> Self {
        Self::WrongReply { command, expected: expected.to_string(), found }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::WrongReply { command, expected, found } => match found.as_str() {
                Some(found) => write!(f, "{command} was answered with {found:?} instead of {expected}"),
                None => write!(f, "{command} was answered with {found:?} instead of {expected}"),
            },
        }
    }
}
