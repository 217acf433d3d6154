//! A task that keeps a queue in a list of its own: it pushes elements, waits for them, and knows what the list must have.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use hitless_core::driver::{ClusterClient, Error, Runtime as _};
use hitless_core::error::Delivery;
use hitless_core::guide::Rng;
use resp3_codec::{Frame, cmd};

use super::super::caller::within;
use super::super::consumer::{Fate, element};
use super::super::faults::up_to;
use super::super::lock;
use super::super::runtime::Executor;
use super::super::trace::{Trace, What};

/// The longest that it takes to reach a server where nothing is wrong, its connection and a redirect included.
const LONGEST: Duration = Duration::from_secs(2);
/// How long the last commands wait.
const LAST_TIME: Duration = Duration::from_millis(200);
/// The longest between two steps.
const PAUSE: Duration = Duration::from_millis(160);

/// A task with a queue of its own.
pub(super) struct Worker {
    pub(super) executor: Executor,
    pub(super) client: ClusterClient<Executor>,
    pub(super) trace: Trace,
    pub(super) rng: Rng,
    /// Nothing is wrong, and it is told before a connection is closed.
    pub(super) is_safe: bool,
    pub(super) list: String,
    /// It goes on until then, and ends with what it waits for.
    pub(super) until: Instant,
    /// What commands had taken whose callers had left.
    pub(super) orphans: Arc<Mutex<Vec<String>>>,
}

/// A call that was told that there is nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nil {
    pub(super) began_at: Instant,
    pub(super) ended_at: Instant,
    /// How many elements were certainly there.
    pub(super) certain: usize,
}

/// What the list must have.
#[derive(Debug, Default)]
struct Queue {
    nils: Vec<Nil>,
    delivered: BTreeSet<String>,
    /// Elements in the order in which they were pushed, and whether each was certainly pushed.
    elements: VecDeque<(String, bool)>,
    /// How many of them may be gone: each command of which nobody knows the end may have taken one, or may do so yet.
    doubts: usize,
    pushed: u64,
}

impl Queue {
    /// How many elements are certainly there.
    fn certain(&self) -> usize {
        let certain = self.elements.iter().filter(|(_, is_certain)| *is_certain).count();
        certain.saturating_sub(self.doubts)
    }

    fn next(&mut self) -> String {
        self.pushed += 1;
        let element = format!("e{}", self.pushed);
        self.elements.push_back((element.clone(), false));
        element
    }

    fn note_pushed(&mut self, element: &str, pushed: &Result<Frame, Error>) {
        let Some(at) = self.elements.iter().position(|(it, _)| it == element) else { return };
        match pushed {
            Ok(_) => self.elements[at].1 = true,
            // It may have been pushed, or may be yet.
            Err(error) if error.delivery() == Some(Delivery::Unknown) => {}
            Err(_) => drop(self.elements.remove(at)),
        }
    }

    /// An element has been taken: nothing stands before it that is certainly there. INV-21
    fn take(&mut self, element: &str) {
        let place = self.elements.iter().position(|(it, _)| it == element);
        let place = place.unwrap_or_else(|| panic!("INV-21: {element} is not there, or was taken before"));
        let mut before: VecDeque<_> = self.elements.drain(..=place).collect();
        before.pop_back();
        let skipped = before.iter().filter(|(_, is_certain)| *is_certain).count();
        assert!(skipped <= self.doubts, "INV-21: {element} came before {skipped} others");
        self.doubts -= skipped;
        // What may not have been pushed may be yet.
        before
            .into_iter()
            .rev()
            .filter(|(_, is_certain)| !is_certain)
            .for_each(|it| self.elements.push_front(it));
    }
}

impl Worker {
    pub(super) async fn run(mut self) -> Vec<Nil> {
        let mut queue = Queue::default();
        while self.executor.now() < self.until {
            self.hear_orphans(&mut queue);
            if self.rng.below(2) == 0 {
                let element = queue.next();
                let pushed = push(&self.client, &self.list, &element).await;
                self.must_succeed(&pushed);
                queue.note_pushed(&element, &pushed);
            }
            self.pop(&mut queue).await;
            let pause = up_to(&mut self.rng, PAUSE);
            self.executor.sleep(pause).await;
        }
        // Whatever is there is given out in the end.
        while queue.certain() > 0 {
            self.hear_orphans(&mut queue);
            let nils = queue.nils.len();
            self.pop_for(&mut queue, LAST_TIME, None, None).await;
            if queue.nils.len() > nils {
                break;
            }
        }
        self.hear_orphans(&mut queue);
        queue.nils
    }

    /// What nobody has got was taken by one of the commands of which nobody knows the end.
    fn hear_orphans(&self, queue: &mut Queue) {
        for orphan in std::mem::take(&mut *lock(&self.orphans)) {
            assert!(
                queue.delivered.insert(orphan.clone()),
                "RULE-252: {orphan} was delivered, or is an orphan twice"
            );
            queue.elements.retain(|(element, _)| *element != orphan);
            queue.doubts = queue.doubts.saturating_sub(1);
        }
    }

    /// Waits for an element, which may be pushed meanwhile.
    async fn pop(&mut self, queue: &mut Queue) {
        let certain = queue.certain();
        let time = match self.rng.below(6) {
            // For ever: only where something is there.
            0 | 1 if certain > 0 => Duration::ZERO,
            0..3 => Duration::from_millis(500 + self.rng.below(2_000)),
            _ => Duration::from_millis(20 + self.rng.below(300)),
        };
        let patience = (self.rng.below(10) == 0).then(|| up_to(&mut self.rng, 2 * PAUSE));
        let coming = (self.rng.below(2) == 0).then(|| (up_to(&mut self.rng, 2 * PAUSE), queue.next()));
        self.pop_for(queue, time, patience, coming).await;
    }

    async fn pop_for(
        &mut self,
        queue: &mut Queue,
        time: Duration,
        patience: Option<Duration>,
        coming: Option<(Duration, String)>,
    ) {
        let certain = queue.certain();
        let began_at = self.executor.now();
        let blpop = cmd("BLPOP").arg(&self.list).arg(format!("{:.3}", time.as_secs_f64()));
        let wait = async {
            let popped = within(&self.executor, patience, self.client.call(blpop)).await;
            (popped, self.executor.now())
        };
        let push_later = async {
            let (pause, element) = coming.as_ref()?;
            self.executor.sleep(*pause).await;
            Some((element, push(&self.client, &self.list, element).await))
        };
        let ((popped, ended_at), pushed) = both(wait, push_later).await;
        if let Some((element, pushed)) = &pushed {
            self.must_succeed(pushed);
            queue.note_pushed(element, pushed);
        }
        let fate = self.judge(queue, (time, Nil { began_at, ended_at, certain }), popped);
        self.trace.note(What::Consumed { tag: self.list.clone(), fate });
    }

    /// Nil comes when the time is over, and what comes was there. INV-03, INV-21, RULE-248
    fn judge(
        &self,
        queue: &mut Queue,
        (time, nil): (Duration, Nil),
        popped: Option<Result<Frame, Error>>,
    ) -> Fate {
        if let Some(popped) = &popped {
            self.must_succeed(popped);
        }
        match popped {
            None => {
                queue.doubts += 1;
                Fate::Dropped
            }
            Some(Ok(reply)) if reply.is_null() => {
                queue.nils.push(nil);
                let took = nil.ended_at - nil.began_at;
                assert!(!time.is_zero() && took >= time, "RULE-248: nil after {took:?} of {time:?}");
                assert!(!self.is_safe || took <= time + LONGEST, "RULE-248: nil after {took:?} of {time:?}");
                Fate::Nil
            }
            Some(Ok(reply)) => {
                let took = nil.ended_at - nil.began_at;
                let is_slow = self.is_safe && nil.certain > 0 && took > LONGEST;
                assert!(!is_slow, "INV-03: an element that was there took {took:?}");
                let element = element(&reply);
                queue.take(&element);
                queue.delivered.insert(element.clone());
                Fate::Element(element)
            }
            Some(Err(error)) => match error.delivery() {
                Some(Delivery::NotSent) => Fate::NotSent,
                Some(Delivery::Unknown) => {
                    queue.doubts += 1;
                    Fate::Unknown
                }
                None => Fate::Refused,
            },
        }
    }

    /// Nothing fails where nothing is wrong. INV-03
    fn must_succeed(&self, result: &Result<Frame, Error>) {
        if let Err(error) = result {
            assert!(!self.is_safe, "INV-03: {} is told {error}", self.list);
        }
    }
}

async fn push(client: &ClusterClient<Executor>, list: &str, element: &str) -> Result<Frame, Error> {
    client.call(cmd("RPUSH").arg(list).arg(element)).await
}

/// The results of two futures that run at the same time.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(result) = one.as_mut().poll(cx)
        {
            first = Some(result);
        }
        if second.is_none()
            && let Poll::Ready(result) = other.as_mut().poll(cx)
        {
            second = Some(result);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            undone => {
                (first, second) = undone;
                Poll::Pending
            }
        }
    })
    .await
}
