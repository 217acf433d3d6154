//! The load: tasks that INCR, SET and GET without pause, each on keys of its own, and check every reply.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hitless_conformance::clock;
use hitless_core::driver::{Client, Error, Runtime, Timer};
use hitless_core::error::Delivery;
use hitless_core::{Command, Frame, cmd};

use crate::log::{Log, Who};
use crate::meter::{Ended, Meter};

/// Operations under way at a time.
pub(crate) const TASKS: usize = 32;

/// A task that met an error waits this long: a load that fails at once would fail millions of times.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// The counter of each task.
pub(crate) fn counter_keys() -> Vec<String> {
    (0..TASKS).map(|task| format!("demo:{task}:counter")).collect()
}

/// What one task knows about its counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// INCRs that were answered.
    pub(crate) acknowledged: u64,
    /// INCRs that failed and may have run.
    pub(crate) uncertain: u64,
}

/// A load that runs.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tallies: Receiver<(usize, Tally)>,
}

impl Load {
    /// Starts the tasks. Called inside the runtime.
    pub(crate) fn start<R: Runtime>(
        runtime: &R,
        client: &Client<R>,
        meter: &Arc<Meter>,
        log: &Arc<Log>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(AtomicBool::new(false));
        let (done, tallies) = channel();
        for (task, counter) in counter_keys().into_iter().enumerate() {
            let worker = Worker {
                runtime: runtime.clone(),
                client: client.clone(),
                task,
                counter,
                key: format!("demo:{task}:value"),
                meter: Arc::clone(meter),
                log: Arc::clone(log),
                failed: Arc::clone(&failed),
                tally: Tally::default(),
                count: None,
                value: None,
            };
            runtime.spawn(worker.run(Arc::clone(&stop), done.clone()));
        }
        Self { stop, tallies }
    }

    /// Lets every task finish its operation, and returns what each knows. A task that is not done within `patience` is
    /// missing.
    pub(crate) fn finish(self, patience: Duration) -> Vec<Option<Tally>> {
        self.stop.store(true, Ordering::Relaxed);
        let until = clock::now() + patience;
        let mut tallies = vec![None; TASKS];
        while let Ok((task, tally)) = self.tallies.recv_timeout(until.saturating_duration_since(clock::now()))
        {
            tallies[task] = Some(tally);
        }
        tallies
    }
}

struct Worker<R: Runtime> {
    runtime: R,
    client: Client<R>,
    task: usize,
    counter: String,
    key: String,
    meter: Arc<Meter>,
    log: Arc<Log>,
    /// An operation of some task has failed: only the first is told, all are counted.
    failed: Arc<AtomicBool>,
    tally: Tally,
    /// What the counter holds, if nothing uncertain has happened to it.
    count: Option<i64>,
    /// What the key holds, if nothing uncertain has happened to it.
    value: Option<i64>,
}

/// An operation without the reply that it must have.
enum Failure {
    Failed(Error),
    WrongReply { command: &'static str, expected: String, found: Frame },
}

impl<R: Runtime> Worker<R> {
    async fn run(mut self, stop: Arc<AtomicBool>, done: Sender<(usize, Tally)>) {
        let mut began = clock::now();
        for turn in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let result = match turn % 3 {
                0 => self.incr().await,
                1 => self.set(turn as i64).await,
                _ => self.get().await,
            };
            let completed = clock::now();
            let ended = if result.is_ok() { Ended::WithReply } else { Ended::WithError };
            self.meter.record(began, completed, ended);
            began = completed;
            if let Err(failure) = result {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    self.log.add(Who::Demo, format!("task {} has the first error: {failure}", self.task));
                }
                self.pause().await;
                began = clock::now();
            }
        }
        // Nobody waits any more for a task that is late.
        let _ = done.send((self.task, self.tally));
    }

    async fn incr(&mut self) -> Result<(), Failure> {
        let before = self.count.take();
        match self.call(cmd("INCR").arg(&self.counter)).await {
            Ok(reply) => {
                self.tally.acknowledged += 1;
                self.count = reply.as_int();
                match (self.count, before.map(|before| before + 1)) {
                    (Some(_), None) => Ok(()),
                    (Some(count), Some(expected)) if count == expected => Ok(()),
                    (None, None) => Err(Failure::wrong("INCR", "a number", reply)),
                    (_, Some(expected)) => Err(Failure::wrong("INCR", expected, reply)),
                }
            }
            Err(error) if error.delivery() == Some(Delivery::Unknown) => {
                self.tally.uncertain += 1;
                Err(error.into())
            }
            Err(error) => {
                self.count = before;
                Err(error.into())
            }
        }
    }

    async fn set(&mut self, value: i64) -> Result<(), Failure> {
        self.value = None;
        let reply = self.call(cmd("SET").arg(&self.key).arg(value)).await?;
        self.value = Some(value);
        if reply.as_str() == Some("OK") { Ok(()) } else { Err(Failure::wrong("SET", "OK", reply)) }
    }

    async fn get(&mut self) -> Result<(), Failure> {
        let reply = self.call(cmd("GET").arg(&self.key)).await?;
        match self.value {
            Some(value) if reply.as_int() != Some(value) => Err(Failure::wrong("GET", value, reply)),
            _ => Ok(()),
        }
    }

    async fn call(&self, command: Command) -> Result<Frame, Error> {
        self.client.call(command).await
    }

    async fn pause(&self) {
        let mut timer = self.runtime.timer();
        timer.reset(self.runtime.now() + AFTER_ERROR);
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
