//! Tasks that use the cluster client, and check every reply.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hitless_conformance::clock;
use hitless_conformance::net::redis_cluster::RedisCluster;
use hitless_core::cluster::SLOTS;
use hitless_core::driver::{ClusterClient, Error, Runtime, Timer};
use hitless_core::error::{Delivery, RequestError};
use hitless_core::{Command, Frame, cmd};

use crate::load::Tally;
use crate::meter::{Ended, Meter};

/// How many there are.
pub(super) const TASKS: usize = 32;
/// The slots that things happen to: those of the first primary at the start.
pub(super) const TOUCHED: u16 = SLOTS / 3;
/// Between two operations of a task: the servers are to have a processor, too.
const PAUSE: Duration = Duration::from_millis(2);

/// Which slots a task uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Touched,
    Untouched,
}

impl Part {
    pub(super) const BOTH: [Self; 2] = [Self::Touched, Self::Untouched];

    fn of(slot: u16) -> Self {
        if slot < TOUCHED { Self::Touched } else { Self::Untouched }
    }
}

/// Hash tags by which tasks stay in their part.
pub(crate) struct Tags([Vec<String>; 2]);

impl Tags {
    /// Two for each task: one for its own keys, one for what its pipelines count elsewhere.
    ///
    /// # Errors
    /// The cluster does not say which slots they have.
    pub(super) fn find(cluster: &RedisCluster) -> io::Result<Self> {
        let mut tags = [Vec::new(), Vec::new()];
        let mut number = 0;
        while tags.iter().any(|tags| tags.len() < TASKS) {
            let tag = format!("{{demo{number}}}");
            number += 1;
            tags[Part::of(cluster.slot_of(&tag)?) as usize].push(tag);
        }
        Ok(Self(tags))
    }

    /// The part and the tags of a task.
    fn of(&self, task: usize) -> (Part, [String; 2]) {
        let part = Part::BOTH[task % 2];
        let tags = &self.0[part as usize];
        (part, [&tags[task], &tags[(task + 1) % TASKS]].map(String::clone))
    }
}

/// What is measured of the tasks of a part.
#[derive(Debug)]
pub(crate) struct Meters {
    meters: [Meter; 2],
    errors: [Mutex<BTreeMap<String, u64>>; 2],
}

impl Meters {
    /// The first gaps begin now.
    pub(super) fn new(now: Instant) -> Self {
        Self { meters: [Meter::new(now), Meter::new(now)], errors: Default::default() }
    }

    pub(super) fn of(&self, part: Part) -> &Meter {
        &self.meters[part as usize]
    }

    /// Errors by what they say, and how often.
    pub(super) fn errors(&self, part: Part) -> BTreeMap<String, u64> {
        self.errors[part as usize].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, part: Part, reason: String) {
        let mut errors = self.errors[part as usize].lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(reason).or_default() += 1;
    }
}

/// What a task knows in the end.
pub(super) struct Known {
    pub(super) part: Part,
    pub(super) counters: BTreeMap<String, Tally>,
}

/// A load that runs.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    endings: Receiver<Known>,
}

impl Load {
    /// Starts the tasks. Called inside the runtime.
    pub(super) fn start<R: Runtime>(
        runtime: &R,
        client: &ClusterClient<R>,
        tags: &Tags,
        meters: &Arc<Meters>,
    ) -> Self {
        let (done, endings) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        for task in 0..TASKS {
            let (part, [home, away]) = tags.of(task);
            let task = Task {
                runtime: runtime.clone(),
                client: client.clone(),
                meters: Arc::clone(meters),
                part,
                home,
                away,
                turn: 0,
                counters: BTreeMap::new(),
            };
            runtime.spawn(task.run(Arc::clone(&stop), done.clone()));
        }
        Self { stop, endings }
    }

    /// Lets every task finish its operation. Those that are not done within `patience` are missing.
    pub(super) fn finish(self, patience: Duration) -> Vec<Known> {
        self.stop.store(true, Ordering::Relaxed);
        let until = clock::now() + patience;
        let next = || self.endings.recv_timeout(until.saturating_duration_since(clock::now())).ok();
        std::iter::from_fn(next).collect()
    }
}

/// Why an operation failed, in a few words.
struct Failure(String);

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self(match error {
            Error::Server(error) => format!("refused: {}", error.code()),
            Error::Request(RequestError::ConnectionLost { .. }) => "connection lost".to_owned(),
            Error::Request(RequestError::NoConnection { .. }) => "no connection".to_owned(),
            Error::Request(RequestError::TimedOut { .. }) => "timed out".to_owned(),
            error => error.to_string(),
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

struct Task<R: Runtime> {
    runtime: R,
    client: ClusterClient<R>,
    meters: Arc<Meters>,
    part: Part,
    /// The tag of its own keys.
    home: String,
    /// The tag of what its pipelines count as well.
    away: String,
    turn: u64,
    counters: BTreeMap<String, Tally>,
}

impl<R: Runtime> Task<R> {
    async fn run(mut self, stop: Arc<AtomicBool>, done: Sender<Known>) {
        while !stop.load(Ordering::Relaxed) {
            let began = clock::now();
            let result = self.operate().await;
            let ended = if result.is_ok() { Ended::WithReply } else { Ended::WithError };
            self.meters.of(self.part).record(began, clock::now(), ended);
            if let Err(Failure(reason)) = result {
                self.meters.note(self.part, reason);
            }
            self.pause(PAUSE).await;
        }
        // Nobody waits any more for a task that is late.
        let _ = done.send(Known { part: self.part, counters: self.counters });
    }

    /// INCR, SET and GET, a pipeline, and a pair of keys in turn.
    async fn operate(&mut self) -> Result<(), Failure> {
        self.turn += 1;
        match self.turn % 4 {
            0 => self.incr().await,
            1 => self.set_and_get().await,
            2 => self.pipeline().await,
            _ => self.pair().await,
        }
    }

    async fn incr(&mut self) -> Result<(), Failure> {
        let key = format!("{}:counter", self.home);
        match self.client.call(cmd("INCR").arg(&key)).await {
            Ok(_) => self.count(key),
            Err(error) => return Err(self.fail([key], &error)),
        }
        Ok(())
    }

    async fn set_and_get(&self) -> Result<(), Failure> {
        let (key, value) = (format!("{}:value", self.home), self.turn.to_string());
        self.client.call(cmd("SET").arg(&key).arg(&value)).await?;
        let found = self.client.call(cmd("GET").arg(&key)).await?;
        expect("GET", &found, &Frame::bulk(value))
    }

    async fn pipeline(&mut self) -> Result<(), Failure> {
        let keys = [format!("{}:pipeline", self.home), format!("{}:pipeline:{}", self.away, self.home)];
        let batch: Vec<Command> = keys.iter().map(|key| cmd("INCR").arg(key)).collect();
        let replies = match self.client.pipeline(batch).await {
            Ok(replies) => replies,
            Err(error) => return Err(self.fail(keys, &error)),
        };
        let mut failure = None;
        for (key, reply) in keys.into_iter().zip(replies) {
            match reply.as_error() {
                None => self.count(key),
                Some(error) => failure = Some(Failure(format!("refused: {}", first_word(error)))),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn pair(&self) -> Result<(), Failure> {
        let [a, b] = ["a", "b"].map(|name| format!("{}:{name}", self.home));
        let value = self.turn.to_string();
        self.client.call(cmd("MSET").args([&a, &value, &b, &value])).await?;
        let found = self.client.call(cmd("MGET").args([&a, &b])).await?;
        expect("MGET", &found, &Frame::Array(vec![Frame::bulk(value.clone()), Frame::bulk(value)]))
    }

    fn count(&mut self, key: String) {
        self.counters.entry(key).or_default().acknowledged += 1;
    }

    fn fail(&mut self, keys: impl IntoIterator<Item = String>, error: &Error) -> Failure {
        for key in keys {
            let uncertain = error.delivery() == Some(Delivery::Unknown);
            self.counters.entry(key).or_default().uncertain += u64::from(uncertain);
        }
        error.into()
    }

    async fn pause(&self, time: Duration) {
        let mut timer = self.runtime.timer();
        timer.reset(self.runtime.now() + time);
        std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
    }
}

fn expect(command: &str, found: &Frame, expected: &Frame) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(Failure(format!("wrong reply to {command}"))) }
}

fn first_word(text: &[u8]) -> String {
    let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    String::from_utf8_lossy(word).into_owned()
}
