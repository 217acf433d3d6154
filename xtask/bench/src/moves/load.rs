//! The load: operations that are due at a steady pace. A client that falls behind begins them late, one behind the other, and their
//! latency counts from the instant at which they were due.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hitless_conformance::net::redis_connection::RedisConnection;
use hitless_conformance::tally::Counted;
use tokio::task::JoinSet;
use tokio::time;

use super::contenders::{Client, Failure};
use super::figures::{Delivered, Operation};
use crate::measure::now;

/// Operations under way at a time, at most.
pub(super) const TASKS: usize = 32;
/// From the instant at which one operation of a task is due to that of the next.
pub(super) const PERIOD: Duration = Duration::from_millis(5);

/// Consumers, each of which waits for items of a queue of its own.
pub(super) const CONSUMERS: usize = 4;
/// From one item of a queue to the next.
const ITEM_PERIOD: Duration = Duration::from_millis(50);
/// What tells a consumer of the end of its items.
const END: &str = "end";
/// A consumer that met an error tries again so much later.
const AFTER_ERROR: Duration = Duration::from_millis(10);

const CHANNEL: &str = "bench:news";
/// From one message to the next: 200 a second.
const MESSAGE_PERIOD: Duration = Duration::from_millis(5);

/// How long the last items and messages may take once everything else is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a task has done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// All that were due, also those that were never begun.
    pub(super) operations: Vec<Operation>,
    /// INCRs that were answered.
    pub(super) acknowledged: u64,
    /// INCRs that failed, and may have run.
    pub(super) uncertain_additions: u64,
    /// Operations that failed, and may have run.
    pub(super) uncertain: u64,
    pub(super) first_error: Option<String>,
}

/// The counter of a task.
pub(super) fn counter(task: usize) -> String {
    format!("bench:{task}:counter")
}

/// INCR, SET and GET in turn, on keys that nobody else uses.
pub(super) async fn run_task<C: Client>(client: C, task: usize, stop: Arc<AtomicBool>) -> Done {
    let (counter, key) = (counter(task), format!("bench:{task}:value"));
    let commands: [&[&str]; 3] =
        [&["INCR", counter.as_str()], &["SET", key.as_str(), "value"], &["GET", key.as_str()]];
    let mut done = Done::default();
    let mut due = now() + PERIOD * task as u32 / TASKS as u32;
    for (turn, command) in commands.into_iter().cycle().enumerate() {
        time::sleep_until(due.into()).await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let result = client.call(command).await;
        done.operations.push(Operation { due, ended: now(), is_answered: result.is_ok() });
        done.note(turn % commands.len() == 0, result);
        due += PERIOD;
    }
    done.leave(due, now());
    done
}

impl Done {
    /// Notes those that were due before the `end` of the load, from `due` on, and were not begun by then.
    fn leave(&mut self, mut due: Instant, end: Instant) {
        while due < end {
            self.operations.push(Operation { due, ended: end, is_answered: false });
            due += PERIOD;
        }
    }

    fn note(&mut self, is_addition: bool, result: Result<(), Failure>) {
        let Err(failure) = result else {
            self.acknowledged += u64::from(is_addition);
            return;
        };
        self.uncertain += u64::from(failure.is_uncertain);
        self.uncertain_additions += u64::from(failure.is_uncertain && is_addition);
        self.first_error.get_or_insert(failure.text);
    }

    /// Adds what another task has done; counters are compared before.
    pub(super) fn add(&mut self, other: Self) {
        self.operations.extend(other.operations);
        self.acknowledged += other.acknowledged;
        self.uncertain_additions += other.uncertain_additions;
        self.uncertain += other.uncertain;
        if let Some(error) = other.first_error {
            self.first_error.get_or_insert(error);
        }
    }
}

/// What a consumer has taken.
#[derive(Debug, Default)]
struct Taken {
    items: Vec<u64>,
    errors: u64,
    uncertain: u64,
}

/// Consumers that wait, and somebody who brings them items.
pub(super) struct Consumers {
    running: JoinSet<Taken>,
    feeder: Feeder,
}

impl Consumers {
    /// `data` leads round the nodes.
    ///
    /// # Errors
    /// A consumer cannot connect.
    pub(super) async fn start<C: Client>(client: &C, data: RedisConnection) -> io::Result<Self> {
        let mut running = JoinSet::new();
        let mut consumers = Vec::new();
        for _ in 0..CONSUMERS {
            consumers.push(client.consumer().await?);
        }
        for (number, consumer) in consumers.into_iter().enumerate() {
            running.spawn(consume::<C>(consumer, queue(number)));
        }
        let feeder = Feeder::start(ITEM_PERIOD, data, |data, item| {
            (0..CONSUMERS)
                .try_for_each(|number| data.call(&["RPUSH", queue(number).as_str(), item]).map(drop))
        });
        Ok(Self { running, feeder })
    }

    /// Lets the consumers come to the end of their items.
    ///
    /// # Errors
    /// The data could not be reached, or a consumer has not heard of the end.
    pub(super) async fn finish(self) -> io::Result<Delivered> {
        let (mut data, sent) = self.feeder.finish()?;
        for number in 0..CONSUMERS {
            data.call(&["RPUSH", queue(number).as_str(), END])?;
        }
        let ended = time::timeout(PATIENCE, self.running.join_all()).await;
        let taken = ended.map_err(|_| io::Error::other("a consumer has not come to the end of its items"))?;
        let mut counted = Counted::default();
        taken.iter().for_each(|taken| counted.add(Counted::of_numbers(sent, &taken.items)));
        Ok(Delivered {
            sent: sent * CONSUMERS as u64,
            counted,
            errors: taken.iter().map(|taken| taken.errors).sum(),
            uncertain: taken.iter().map(|taken| taken.uncertain).sum(),
        })
    }
}

async fn consume<C: Client>(mut consumer: C::Consumer, queue: String) -> Taken {
    let mut taken = Taken::default();
    loop {
        match C::pop(&mut consumer, &queue).await {
            Ok(item) if item == END => return taken,
            Ok(item) => taken.items.extend(item.parse::<u64>().ok()),
            Err(failure) => {
                taken.errors += 1;
                taken.uncertain += u64::from(failure.is_uncertain);
                time::sleep(AFTER_ERROR).await;
            }
        }
    }
}

fn queue(consumer: usize) -> String {
    format!("bench:{consumer}:queue")
}

/// A subscriber, and somebody who publishes.
pub(super) struct Subscriber {
    heard: Receiver<String>,
    feeder: Feeder,
}

impl Subscriber {
    /// `data` leads round the nodes.
    ///
    /// # Errors
    /// The server does not confirm the subscription.
    pub(super) async fn start<C: Client>(client: &C, data: RedisConnection) -> io::Result<Self> {
        let (listener, heard) = channel();
        client.subscribe(CHANNEL, listener).await?;
        let feeder = Feeder::start(MESSAGE_PERIOD, data, |data, message| {
            data.call(&["PUBLISH", CHANNEL, message]).map(drop)
        });
        Ok(Self { heard, feeder })
    }

    /// Waits for the last message.
    ///
    /// # Errors
    /// The data could not be reached, or the last message, which comes when nothing happens any more, was not received.
    pub(super) fn finish(self) -> io::Result<Delivered> {
        let (mut data, sent) = self.feeder.finish()?;
        data.call(&["PUBLISH", CHANNEL, END])?;
        let until = now() + PATIENCE;
        let mut messages = Vec::new();
        loop {
            let next = self.heard.recv_timeout(until.saturating_duration_since(now()));
            match next.map_err(|_| io::Error::other("the subscriber has not received the last message"))? {
                text if text == END => break,
                text => messages.extend(text.parse::<u64>().ok()),
            }
        }
        let counted = Counted::of_numbers(sent, &messages);
        Ok(Delivered { sent, counted, errors: 0, uncertain: 0 })
    }
}

/// Brings numbers, one after the other, on a thread of its own.
struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<(RedisConnection, u64)>>,
}

impl Feeder {
    fn start(
        period: Duration,
        mut data: RedisConnection,
        bring: impl Fn(&mut RedisConnection, &str) -> io::Result<()> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut sent, mut next) = (0_u64, now());
            while !stopped.load(Ordering::Relaxed) {
                bring(&mut data, &sent.to_string())?;
                sent += 1;
                next += period;
                thread::sleep(next.saturating_duration_since(now()));
            }
            Ok((data, sent))
        });
        Self { stop, thread }
    }

    /// The connection to the data, and how many numbers there were.
    fn finish(self) -> io::Result<(RedisConnection, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("who brings items has panicked")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_begun_counts_from_when_it_was_due() {
        let due = now();
        let end = due + PERIOD * 2;
        let mut done = Done::default();
        done.leave(due, end);
        let dues: Vec<_> = done.operations.iter().map(|one| one.due).collect();
        assert_eq!(dues, [due, due + PERIOD]);
        assert!(done.operations.iter().all(|one| one.ended == end && !one.is_answered));
        done.leave(end, end);
        assert_eq!(done.operations.len(), 2, "nothing was due any more");
    }
}
