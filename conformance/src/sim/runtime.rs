//! A runtime in virtual time: one thread, a seeded scheduler, timers that ring when everybody is idle.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hitless_core::driver::{Runtime, Timer};
use hitless_core::guide::Rng;

use super::lock;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls without any time passing after which somebody is taken to spin. A burst of the largest scenario needs a tenth.
const SPIN: usize = 50_000;

/// A handle to the runtime; a clone is another one.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

struct Inner {
    epoch: Instant,
    /// Nanoseconds since the epoch.
    now: AtomicU64,
    seed: u64,
    state: Mutex<State>,
    ready: Arc<Ready>,
    /// Wakers that exist, of live tasks and of others.
    wakers: Arc<AtomicUsize>,
}

struct State {
    rng: Rng,
    policy: Policy,
    /// By number; `None` while it is polled and after its end.
    tasks: Vec<Slot>,
    live: usize,
    /// The runtime has gone: nothing is run any more.
    dead: bool,
    /// By instant, then by timer.
    alarms: BTreeMap<(Instant, u64), Waker>,
    timers: u64,
    /// The longest that a timer rings late.
    lateness: Duration,
    /// Polls since time last passed.
    polls: usize,
}

struct Slot {
    task: Option<Task>,
    waker: Option<Arc<TaskWaker>>,
}

/// How the next of the ready tasks is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Any of them.
    Random,
    /// The one that has waited longest, as most runtimes do.
    Fifo,
    /// Mostly the one that was woken last, as runtimes with a slot for it do.
    Lifo,
}

#[derive(Default)]
struct Ready {
    queue: Mutex<Vec<usize>>,
}

struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    ready: Arc<Ready>,
    count: Arc<AtomicUsize>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.ready.queue).push(self.task);
        }
    }
}

impl Drop for TaskWaker {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Executor {
    /// A runtime whose clock begins at `epoch`.
    pub(super) fn new(epoch: Instant, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let policy = match rng.below(4) {
            0 => Policy::Fifo,
            1 => Policy::Lifo,
            _ => Policy::Random,
        };
        let lateness = Duration::from_micros(rng.below(1_200));
        Self::with(epoch, seed, State::new(rng, policy, lateness))
    }

    /// A runtime without chance: the task that has waited longest is polled first, and timers ring on time.
    pub(super) fn orderly(epoch: Instant) -> Self {
        let seed = 7;
        Self::with(epoch, seed, State::new(Rng::new(seed), Policy::Fifo, Duration::ZERO))
    }

    fn with(epoch: Instant, seed: u64, state: State) -> Self {
        Self(Arc::new(Inner {
            epoch,
            now: AtomicU64::new(0),
            seed,
            state: Mutex::new(state),
            ready: Arc::default(),
            wakers: Arc::default(),
        }))
    }

    /// Lets time pass. It never runs backwards.
    pub(super) fn advance_to(&self, at: Instant) {
        let nanos = at.saturating_duration_since(self.0.epoch).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        if self.0.now.fetch_max(nanos, Ordering::Relaxed) < nanos {
            lock(&self.0.state).polls = 0;
        }
    }

    /// Rings the timers that are due.
    pub(super) fn ring(&self) {
        let now = self.now();
        loop {
            let mut state = lock(&self.0.state);
            let Some(entry) = state.alarms.first_entry().filter(|entry| entry.key().0 <= now) else { return };
            let waker = entry.remove();
            drop(state);
            waker.wake();
        }
    }

    /// When the next timer rings.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        lock(&self.0.state).alarms.keys().next().map(|(at, _)| *at)
    }

    /// Polls one of the tasks that are ready; the number of the task, or `None` if nobody is.
    ///
    /// # Panics
    /// INV-12: if tasks go on being ready without any time passing.
    pub(super) fn run_one(&self) -> Option<u64> {
        let mut state = lock(&self.0.state);
        let id = state.choose(&self.0.ready)?;
        state.polls += 1;
        let polls = state.polls;
        let slot = &mut state.tasks[id];
        let task = slot.task.take();
        let waker = slot.waker.clone();
        drop(state);
        assert!(polls < SPIN, "INV-12: tasks spin: {polls} polls at one instant");
        if let Some(waker) = &waker {
            waker.queued.store(false, Ordering::Relaxed);
        }
        if let (Some(mut task), Some(waker)) = (task, waker) {
            let waker = Waker::from(waker);
            let done = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if done {
                // Outside the lock: what a task owns may spawn or wake others when it is dropped.
                drop(task);
                let mut state = lock(&self.0.state);
                state.tasks[id].waker = None;
                state.live -= 1;
            } else {
                lock(&self.0.state).tasks[id].task = Some(task);
            }
        }
        Some(id as u64)
    }

    /// Drops every task, as a runtime does that goes away.
    pub(super) fn die(&self) {
        let mut state = lock(&self.0.state);
        state.dead = true;
        state.live = 0;
        let dropped: Vec<_> =
            state.tasks.iter_mut().map(|slot| (slot.task.take(), slot.waker.take())).collect();
        drop(state);
        drop(dropped);
    }

    /// Tasks that have not come to their end.
    pub(super) fn tasks(&self) -> usize {
        lock(&self.0.state).live
    }

    /// Timers that are armed and watched.
    pub(super) fn alarms(&self) -> usize {
        lock(&self.0.state).alarms.len()
    }

    /// Wakers that exist. When no task is left, somebody keeps them without need.
    pub(super) fn wakers(&self) -> usize {
        self.0.wakers.load(Ordering::Relaxed)
    }

    /// Waits.
    pub(super) async fn sleep(&self, time: Duration) {
        let mut alarm = self.timer();
        alarm.reset(self.now() + time);
        std::future::poll_fn(|cx| alarm.poll_expired(cx)).await;
    }
}

impl State {
    fn new(rng: Rng, policy: Policy, lateness: Duration) -> Self {
        Self {
            rng,
            policy,
            tasks: Vec::new(),
            live: 0,
            dead: false,
            alarms: BTreeMap::new(),
            timers: 0,
            lateness,
            polls: 0,
        }
    }

    fn choose(&mut self, ready: &Ready) -> Option<usize> {
        let mut queue = lock(&ready.queue);
        let len = queue.len();
        if len == 0 {
            return None;
        }
        let any = |rng: &mut Rng| usize::try_from(rng.below(len as u64)).unwrap_or(0);
        let at = match self.policy {
            Policy::Fifo => 0,
            Policy::Lifo if self.rng.below(8) > 0 => len - 1,
            Policy::Lifo | Policy::Random => any(&mut self.rng),
        };
        Some(queue.remove(at))
    }
}

impl Runtime for Executor {
    type Timer = Alarm;

    fn now(&self) -> Instant {
        self.0.epoch + Duration::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    fn timer(&self) -> Alarm {
        let mut state = lock(&self.0.state);
        state.timers += 1;
        Alarm { executor: self.clone(), at: None, watched: None, id: state.timers }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = lock(&self.0.state);
        if state.dead {
            drop(state);
            drop(task);
            return;
        }
        self.0.wakers.fetch_add(1, Ordering::Relaxed);
        let waker = Arc::new(TaskWaker {
            task: state.tasks.len(),
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.0.ready),
            count: Arc::clone(&self.0.wakers),
        });
        state.tasks.push(Slot { task: Some(Box::pin(task)), waker: Some(Arc::clone(&waker)) });
        state.live += 1;
        drop(state);
        waker.wake();
    }

    fn seed(&self) -> u64 {
        self.0.seed
    }
}

/// A timer of the runtime.
pub struct Alarm {
    executor: Executor,
    at: Option<Instant>,
    /// Where its waker waits.
    watched: Option<(Instant, u64)>,
    id: u64,
}

impl Timer for Alarm {
    fn reset(&mut self, at: Instant) {
        self.forget();
        self.at = Some(at);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        if at <= self.executor.now() {
            self.forget();
            return Poll::Ready(());
        }
        let mut state = lock(&self.executor.0.state);
        let key = match self.watched {
            Some(key) => key,
            None => {
                let lateness = state.lateness;
                (at + state.rng.jitter(lateness / 2, 100), self.id)
            }
        };
        self.watched = Some(key);
        let old = state.alarms.insert(key, cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Alarm {
    fn forget(&mut self) {
        if let Some(key) = self.watched.take() {
            let waker = lock(&self.executor.0.state).alarms.remove(&key);
            drop(waker);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.forget();
    }
}
