//! Tasks that wait for elements of lists, and one that pushes them.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hitless_core::driver::{Client, Runtime as _};
use hitless_core::error::Delivery;
use hitless_core::guide::Rng;
use hitless_core::request::Outcome;
use resp3_codec::{Frame, cmd};

use super::caller::single;
use super::faults::{pick, up_to};
use super::runtime::Executor;
use super::trace::{Trace, What};

/// How elements are waited for, and where: each list is taken from at one end.
const LISTS: &[(&str, &str)] = &[("BLPOP", "sim.queue"), ("BRPOP", "sim.stack")];
/// The longest between two calls.
const PAUSE: Duration = Duration::from_millis(160);
/// The longest between two pushes: consumers wait most of the time.
const RARELY: Duration = Duration::from_millis(500);

/// Elements are pushed at whole multiples of this, so that who gives up can do so at the same moment.
const BEAT: Duration = Duration::from_millis(40);

/// A task that waits for elements, again and again.
pub(super) struct Consumer {
    pub(super) executor: Executor,
    pub(super) client: Client<Executor>,
    pub(super) trace: Trace,
    pub(super) rng: Rng,
    pub(super) number: usize,
    /// When the first element is pushed.
    pub(super) began_at: Instant,
    /// It goes on until then, and ends with what it waits for.
    pub(super) until: Instant,
    /// Somebody pushes as long as this is held.
    pub(super) hungry: Arc<()>,
}

/// A call of a consumer.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// A second key, to which nothing is pushed: the ledger tells by it whose command this is.
    pub(super) tag: String,
    /// How long the server is to wait; for ever if it is nothing.
    pub(super) time: Duration,
    pub(super) began_at: Instant,
    pub(super) ended_at: Instant,
    pub(super) fate: Fate,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Element(String),
    Nil,
    /// The node serves no such commands now.
    Refused,
    NotSent,
    Unknown,
    /// The future was dropped.
    Dropped,
}

impl Consumer {
    /// Waits for elements until its time is over.
    pub(super) async fn run(mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        while self.executor.now() < self.until {
            calls.push(self.call(calls.len()).await);
            // Whoever comes back at once may get the connection that another command has just left.
            if self.rng.below(4) > 0 {
                let pause = up_to(&mut self.rng, PAUSE);
                self.executor.sleep(pause).await;
            }
        }
        drop(self.hungry);
        calls
    }

    async fn call(&mut self, turn: usize) -> Call {
        let (name, list) = *pick(&mut self.rng, LISTS);
        let tag = format!("c{}.{turn}", self.number);
        let millis = match self.rng.below(6) {
            0 => 0,
            1 | 2 => 500 + self.rng.below(2_500),
            _ => 20 + self.rng.below(300),
        };
        let patience = match self.rng.below(6) {
            0 => Some(up_to(&mut self.rng, 2 * PAUSE)),
            // Just before something may be pushed.
            1 | 2 => Some(until_beat(&self.executor, self.began_at) - up_to(&mut self.rng, BEAT / 20)),
            _ => None,
        };
        // Leaves without a look at the reply that may have come.
        let is_hasty = patience.is_some() && self.rng.below(2) == 0;
        let seconds = format!("{}.{:03}", millis / 1_000, millis % 1_000);
        let began_at = self.executor.now();
        let fate = match self.client.send(single(cmd(name).arg(list).arg(&tag).arg(seconds))) {
            Err(_) => Fate::NotSent,
            Ok(reply) => {
                let mut alarm = pin!(self.executor.sleep(patience.unwrap_or_default()));
                let mut reply = pin!(reply);
                let outcome = std::future::poll_fn(|cx| {
                    if is_hasty && alarm.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    match reply.as_mut().poll(cx) {
                        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                        Poll::Pending if patience.is_none() || is_hasty => Poll::Pending,
                        Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
                    }
                });
                outcome.await.map_or(Fate::Dropped, |outcome| judge(&outcome))
            }
        };
        let (time, ended_at) = (Duration::from_millis(millis), self.executor.now());
        self.trace.note(What::Consumed { tag: tag.clone(), fate: fate.clone() });
        Call { tag, time, began_at, ended_at, fate }
    }
}

/// How long it is to the beat after the next one.
fn until_beat(executor: &Executor, began_at: Instant) -> Duration {
    let since = (executor.now() - began_at).as_nanos() % BEAT.as_nanos();
    2 * BEAT - Duration::from_nanos(u64::try_from(since).unwrap_or(0))
}

fn judge(outcome: &Outcome) -> Fate {
    let replies = match outcome {
        Ok(replies) => replies,
        Err(error) if error.delivery() == Delivery::NotSent => return Fate::NotSent,
        Err(_) => return Fate::Unknown,
    };
    let reply = &replies[0];
    if reply.is_null() {
        return Fate::Nil;
    }
    if let Some(text) = reply.as_str().filter(|_| reply.is_error()) {
        let refuses = ["READONLY ", "LOADING ", "MASTERDOWN "].iter().any(|code| text.starts_with(code));
        assert!(refuses, "INV-21: a consumer is told {text}");
        return Fate::Refused;
    }
    Fate::Element(element(reply))
}

/// The element in a reply.
pub(super) fn element(reply: &Frame) -> String {
    let element = reply.as_array().and_then(|pair| pair.get(1)).and_then(Frame::as_str);
    element.unwrap_or_else(|| panic!("INV-02: a list and its element, and not {reply:?}")).to_owned()
}

/// Pushes numbers until nobody is hungry any more.
pub(super) async fn produce(executor: Executor, client: Client<Executor>, mut rng: Rng, hungry: Arc<()>) {
    let (mut number, began_at) = (0, executor.now());
    while Arc::strong_count(&hungry) > 1 {
        let (_, list) = *pick(&mut rng, LISTS);
        let mut command = cmd("RPUSH").arg(list);
        for _ in 0..1 + rng.below(2) {
            number += 1;
            command = command.arg(format!("e{number}."));
        }
        // What a failed attempt has come to is known by the ledger.
        let _ = client.call(command).await;
        let pause = up_to(&mut rng, RARELY);
        executor.sleep(pause).await;
        let rest = until_beat(&executor, began_at);
        executor.sleep(rest).await;
    }
}
