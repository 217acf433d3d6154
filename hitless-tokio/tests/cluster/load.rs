//! Workers with keys of their own, and what each of them knows of what must have happened.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::within;
use crate::hitless::driver::Timer as _;
use crate::hitless::{
    Adapter, ClusterClient, Command, Delivery, Error, Frame, RequestError, Runtime as _, cmd,
};
use crate::spawn;

/// How many there are, unless two loads share the machine.
pub(super) const WORKERS: usize = 32;
/// What each does between two operations.
const PAUSE: Duration = Duration::from_millis(2);

/// Whether what was acknowledged must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Servers {
    /// It must: nobody dies.
    KeepTheirWord,
    /// A primary that dies takes along what its replica has not got yet.
    MayForget,
}

/// What is known of a counter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) acknowledged: u64,
    /// INCRs that may have run.
    pub(super) unknown: u64,
}

/// What a worker has seen.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) worker: usize,
    pub(super) counters: BTreeMap<String, Outcome>,
    pub(super) errors: Vec<String>,
}

impl Tally {
    pub(super) fn unknown(&self) -> u64 {
        self.counters.values().map(|outcome| outcome.unknown).sum()
    }
}

/// Those who use the client.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<Pin<Box<dyn Future<Output = Tally>>>>,
    progress: Arc<Mutex<Progress>>,
}

/// How many rounds each worker has completed, and who waits for one more.
#[derive(Default)]
struct Progress {
    rounds: Vec<u64>,
    waiting: Vec<Waker>,
}

impl Load {
    /// Starts the workers. Each is at home at one node, in the slots of its own hash tag; its pipelines go to all of the nodes.
    pub(super) fn start(
        client: &ClusterClient,
        homes: &[Vec<String>],
        workers: usize,
        servers: Servers,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Progress { rounds: vec![0; workers], waiting: Vec::new() };
        let progress = Arc::new(Mutex::new(progress));
        let workers = (0..workers).map(|number| {
            let home = homes[number % homes.len()][number].clone();
            let everywhere = homes.iter().map(|tags| tags[number].clone()).collect();
            let worker = Worker {
                client: client.clone(),
                home,
                everywhere,
                servers,
                round: 0,
                tally: Tally { worker: number, counters: BTreeMap::new(), errors: Vec::new() },
            };
            boxed(worker.run(Arc::clone(&stop), Arc::clone(&progress)))
        });
        let workers = workers.collect();
        Self { stop, workers, progress }
    }

    /// Waits until every worker has completed a round that it has begun from now on.
    pub(super) async fn goes_on(&self) {
        let seen = self.progress.lock().unwrap().rounds.clone();
        let all = |rounds: &[u64]| rounds.iter().zip(&seen).all(|(rounds, seen)| *rounds >= seen + 2);
        within("everybody goes on", self.until(all)).await;
    }

    /// Waits for the end of rounds until `holds`.
    pub(super) async fn until(&self, holds: impl Fn(&[u64]) -> bool) {
        poll_fn(|cx| {
            let mut progress = self.progress.lock().unwrap();
            if holds(&progress.rounds) {
                return Poll::Ready(());
            }
            progress.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Lets everybody finish.
    pub(super) async fn finish(self) -> Vec<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut tallies = Vec::new();
        for worker in self.workers {
            tallies.push(within("the workers end", worker).await);
        }
        tallies
    }
}

struct Worker {
    client: ClusterClient,
    /// The hash tag of its own keys.
    home: String,
    /// Hash tags for its pipelines.
    everywhere: Vec<String>,
    servers: Servers,
    round: u64,
    tally: Tally,
}

impl Worker {
    async fn run(mut self, stop: Arc<AtomicBool>, progress: Arc<Mutex<Progress>>) -> Tally {
        while !stop.load(Ordering::Relaxed) {
            self.round += 1;
            self.incr().await;
            self.rest().await;
            self.set_and_get().await;
            self.rest().await;
            self.pipeline().await;
            self.rest().await;
            self.pair().await;
            self.rest().await;
            let waiting = {
                let mut progress = progress.lock().unwrap();
                progress.rounds[self.tally.worker] += 1;
                std::mem::take(&mut progress.waiting)
            };
            waiting.into_iter().for_each(Waker::wake);
        }
        self.tally
    }

    /// What a user takes for itself between two operations. It sets the rate of the load, which would take the machine from the servers
    /// otherwise; no check depends on how long it takes.
    async fn rest(&self) {
        pass(PAUSE).await;
    }

    async fn incr(&mut self) {
        let key = format!("{}:counter", self.home);
        let reply = self.client.call(cmd("INCR").arg(&key)).await;
        self.count(&key, reply);
    }

    async fn set_and_get(&mut self) {
        let (key, value) = (format!("{}:value", self.home), self.round.to_string());
        let set = self.call(cmd("SET").arg(&key).arg(&value)).await;
        let get = self.call(cmd("GET").arg(&key)).await;
        if let (Some(_), Some(found)) = (set, get) {
            self.expect(&found, &Frame::bulk(value));
        }
    }

    /// INCRs everywhere, and what one of them has counted.
    async fn pipeline(&mut self) {
        let keys: Vec<String> = self.everywhere.iter().map(|tag| format!("{tag}:pipeline")).collect();
        let read = format!("{}:copy", self.home);
        let value = self.round.to_string();
        let mut batch: Vec<Command> = keys.iter().map(|key| cmd("INCR").arg(key)).collect();
        batch.push(cmd("SET").arg(&read).arg(&value));
        batch.push(cmd("GET").arg(&read));
        match self.client.pipeline(batch).await {
            Ok(replies) => {
                assert_eq!(replies.len(), keys.len() + 2);
                let [counts @ .., set, get] = &replies[..] else { return };
                for (key, count) in keys.iter().zip(counts) {
                    self.count_frame(key, count);
                }
                match [set, get].map(|frame| frame.as_error().map(text)) {
                    [None, None] => self.expect(get, &Frame::bulk(value)),
                    errors => self.tally.errors.extend(errors.into_iter().flatten()),
                }
            }
            Err(error) => keys.iter().for_each(|key| self.count_error(key, &error)),
        }
    }

    /// Two keys of one slot, of which one may be gone already.
    async fn pair(&mut self) {
        let [a, b] = ["a", "b"].map(|name| format!("{}:{name}", self.home));
        let value = self.round.to_string();
        let set = self.call(cmd("MSET").args([&a, &value, &b, &value])).await;
        let get = self.call(cmd("MGET").args([&a, &b])).await;
        if let (Some(_), Some(found)) = (set, get) {
            self.expect(&found, &Frame::Array(vec![Frame::bulk(value.clone()), Frame::bulk(value)]));
        }
    }

    fn expect(&self, found: &Frame, expected: &Frame) {
        assert!(self.servers == Servers::MayForget || found == expected, "{found:?} for {expected:?}");
    }

    async fn call(&mut self, command: Command) -> Option<Frame> {
        match self.client.call(command).await {
            Ok(reply) => Some(reply),
            Err(error) => {
                self.tally.errors.push(describe(&error));
                None
            }
        }
    }

    fn count(&mut self, key: &str, reply: Result<Frame, Error>) {
        match reply {
            Ok(count) => self.count_frame(key, &count),
            Err(error) => self.count_error(key, &error),
        }
    }

    fn count_frame(&mut self, key: &str, reply: &Frame) {
        let outcome = self.tally.counters.entry(key.to_owned()).or_default();
        match reply.as_error() {
            Some(error) => self.tally.errors.push(text(error)),
            None => {
                outcome.acknowledged += 1;
                let count = u64::try_from(reply.as_int().unwrap()).unwrap();
                let known = outcome.acknowledged..=outcome.acknowledged + outcome.unknown;
                let is_known = self.servers == Servers::MayForget || known.contains(&count);
                assert!(is_known, "{key}: {count} counted, {outcome:?}");
            }
        }
    }

    fn count_error(&mut self, key: &str, error: &Error) {
        let outcome = self.tally.counters.entry(key.to_owned()).or_default();
        outcome.unknown += u64::from(error.delivery() == Some(Delivery::Unknown));
        self.tally.errors.push(describe(error));
    }
}

/// An error: what the server has said begins with `refused`, what was on a connection that ended with `lost`.
fn describe(error: &Error) -> String {
    match error {
        Error::Server(error) => format!("refused: {error}"),
        Error::Request(error @ RequestError::ConnectionLost { .. }) => format!("lost: {error}"),
        error => format!("{error}"),
    }
}

fn text(error: &[u8]) -> String {
    format!("refused: {}", String::from_utf8_lossy(error))
}

fn boxed<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T>>> {
    Box::pin(spawn(task))
}

/// Lets time pass.
pub(super) async fn pass(time: Duration) {
    let mut timer = Adapter.timer();
    timer.reset(Adapter.now() + time);
    poll_fn(|cx| timer.poll_expired(cx)).await;
}
