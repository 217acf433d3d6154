//! A runtime of a hundred lines: one thread, virtual time, tasks in the order of their wake-ups.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::driver::{Runtime, Timer};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The number of the future that `block_on` was called with; tasks begin at 1.
const MAIN: u64 = 0;

#[derive(Clone)]
pub(crate) struct World {
    inner: Arc<Inner>,
}

struct Inner {
    now: Mutex<Instant>,
    tasks: Mutex<Tasks>,
    ready: Arc<Ready>,
    /// By instant and number.
    alarms: Mutex<BTreeMap<(Instant, u64), Waker>>,
}

#[derive(Default)]
struct Tasks {
    next: u64,
    running: BTreeMap<u64, Task>,
    /// The runtime has gone: nothing is run any more.
    dead: bool,
    polls: usize,
}

type Ready = Mutex<VecDeque<u64>>;

struct TaskWaker {
    id: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap();
        if !ready.contains(&self.id) {
            ready.push_back(self.id);
        }
    }
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    pub(crate) fn new() -> Self {
        let inner = Inner {
            now: Mutex::new(Instant::now()),
            tasks: Mutex::default(),
            ready: Arc::default(),
            alarms: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs tasks, and time when no task is ready, until `future` is done.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        self.waker(MAIN).wake();
        loop {
            match self.next_ready() {
                Some(MAIN) => {
                    let waker = self.waker(MAIN);
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return output;
                    }
                }
                Some(id) => self.poll_task(id),
                None => assert!(self.advance_to_next_alarm(), "nobody will ever wake the future"),
            }
        }
    }

    /// Runs what is ready, without letting time pass.
    pub(crate) fn run(&self) {
        while let Some(id) = self.next_ready() {
            self.poll_task(id);
        }
    }

    /// Lets virtual time pass, without waiting: alarm by alarm, with what is ready being run in between.
    pub(crate) fn pass(&self, duration: Duration) {
        let until = *self.inner.now.lock().unwrap() + duration;
        self.run();
        while self.next_alarm().is_some_and(|at| at <= until) {
            self.advance_to_next_alarm();
            self.run();
        }
        *self.inner.now.lock().unwrap() = until;
    }

    /// Drops all tasks, as a runtime does that goes away.
    pub(crate) fn die(&self) {
        let mut tasks = self.inner.tasks.lock().unwrap();
        tasks.dead = true;
        let all = std::mem::take(&mut tasks.running);
        drop(tasks);
        drop(all);
    }

    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.inner.alarms.lock().unwrap().keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn tasks(&self) -> usize {
        self.inner.tasks.lock().unwrap().running.len()
    }

    pub(crate) fn polls(&self) -> usize {
        self.inner.tasks.lock().unwrap().polls
    }

    fn advance_to_next_alarm(&self) -> bool {
        let Some(((at, _), waker)) = self.inner.alarms.lock().unwrap().pop_first() else { return false };
        let mut now = self.inner.now.lock().unwrap();
        *now = at.max(*now);
        drop(now);
        waker.wake();
        true
    }

    fn next_ready(&self) -> Option<u64> {
        self.inner.ready.lock().unwrap().pop_front()
    }

    fn poll_task(&self, id: u64) {
        let task = self.inner.tasks.lock().unwrap().running.remove(&id);
        let Some(mut task) = task else { return };
        let waker = self.waker(id);
        let done = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.inner.tasks.lock().unwrap();
        tasks.polls += 1;
        if !done {
            tasks.running.insert(id, task);
        }
    }

    fn waker(&self, id: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.inner.ready) }))
    }
}

impl Runtime for World {
    type Timer = Alarm;

    fn now(&self) -> Instant {
        *self.inner.now.lock().unwrap()
    }

    fn timer(&self) -> Alarm {
        let mut tasks = self.inner.tasks.lock().unwrap();
        tasks.next += 1;
        Alarm { world: self.clone(), key: None, id: tasks.next }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.inner.tasks.lock().unwrap();
        if tasks.dead {
            return;
        }
        tasks.next += 1;
        let id = tasks.next;
        tasks.running.insert(id, Box::pin(task));
        drop(tasks);
        self.waker(id).wake();
    }

    fn seed(&self) -> u64 {
        7
    }
}

pub(crate) struct Alarm {
    world: World,
    key: Option<(Instant, u64)>,
    id: u64,
}

impl Timer for Alarm {
    fn reset(&mut self, at: Instant) {
        self.forget();
        self.key = Some((at, self.id));
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(key) = self.key else { return Poll::Pending };
        if key.0 <= self.world.now() {
            return Poll::Ready(());
        }
        self.world.inner.alarms.lock().unwrap().insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Alarm {
    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            self.world.inner.alarms.lock().unwrap().remove(&key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.forget();
    }
}
