//! The one lock of a client. Every access to the machine goes through [`Shared`].

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use resp3_codec::{Frame, Limits};

use super::cluster::Report;
use super::effects::{Effects, OnOrphan};
use super::hooks::task::{QueuedReview, review_limit};
use super::hooks::{ErasedHook, HookFailures, HookId, Live, Observed, Registry};
use super::invalidations::Invalidations;
use super::lease::Terms;
use super::observer::{Broadcast, Events, Pushes};
use super::room::{Refusal, Turn};
use super::signals::Signals;
use super::state::{ConnTask, DialOrder, State};
use super::subscription::Mailbox;
use super::traits::Runtime;
use super::waiter::{Latch, Waiter};
use crate::client::{Client as Machine, Stats};
use crate::config::{Config, Credentials, WhenFull};
use crate::endpoint::Peer;
use crate::error::{
    CloseCause, ConnectError, CredentialsError, Delivery, LeaseError, SystemError, TlsProgress,
};
use crate::event::{Event, Level};
use crate::ids::{ConnId, LeaseId, RequestId, ReviewId, SubscriptionId};
use crate::pubsub::{SubscribeError, Topic};
use crate::request::{Class, Outcome, Request, SendError};
use crate::review::Verdict;
use crate::timer::after;
use crate::write_buffer::WriteBuffer;

/// How much one visit takes from the machine to write. Requests that are not taken can still move to another connection.
const TAKE: usize = 64 * 1024;

/// The state that the handles and the tasks of one client share.
pub(super) struct Shared<R> {
    pub(super) runtime: R,
    /// Wakes the supervisor.
    pub(super) supervisor: Arc<Signals>,
    /// The result of opening the pool.
    pub(super) started: Arc<Waiter<Result<(), ConnectError>>>,
    /// Opens when the last task ends.
    pub(super) gone: Latch,
    pub(super) hooks: Arc<Registry>,
    /// Wakes the task of the hooks.
    pub(super) hook_signals: Arc<Signals>,
    /// The hooks that have seen this client.
    attached: Mutex<Vec<HookId>>,
    /// The name that the connections give themselves.
    pub(super) client_name: Option<Arc<str>>,
    pub(super) pool_size: u32,
    /// How many items a subscription may leave unread.
    pub(super) subscription_capacity: usize,
    pub(super) when_full: WhenFull,
    pub(super) log_level: Level,
    pub(super) reply_limits: Limits,
    #[cfg(feature = "redis-rs")]
    pub(super) database: u32,
    tasks: AtomicUsize,
    state: Mutex<State>,
}

/// The result of a visit for writing.
pub(super) struct Transmitted {
    /// The machine has more to write.
    pub(super) more: bool,
    /// How many frames to hand in at a time from now on.
    pub(super) batch: usize,
    /// A single reply is awaited, on a connection without subscriptions.
    pub(super) is_alone: bool,
}

/// What the supervisor has to do.
pub(super) struct Work {
    pub(super) orders: Vec<DialOrder>,
    /// Dials whose credentials are to be asked for.
    pub(super) asks: Vec<ConnTask>,
    pub(super) alarm: Option<Instant>,
    /// How many batches of frames were read so far.
    pub(super) read: u64,
    pub(super) terminated: bool,
    /// If there are any, the supervisor starts the task of the hooks with these events.
    pub(super) hooks: Option<Events>,
}

impl<R: Runtime> Shared<R> {
    pub(super) fn new(
        runtime: R,
        config: Config,
        events: Arc<Broadcast<Event>>,
        hooks: Arc<Registry>,
        (on_orphan, report): (Option<OnOrphan>, Option<Report>),
    ) -> Arc<Self> {
        let supervisor = Arc::new(Signals::default());
        let hook_signals = Arc::new(Signals::default());
        let started = Arc::new(Waiter::new());
        let (now, seed) = (runtime.now(), runtime.seed());
        let client_name = config.client_name().map(Arc::from);
        let when_full = config.when_full();
        let subscription_capacity = config.subscription_capacity();
        let (pool_size, log_level) = (config.pool_size(), config.maintenance().log_level());
        let reply_limits = config.reply_limits();
        #[cfg(feature = "redis-rs")]
        let database = config.database();
        let signals = (Arc::clone(&supervisor), Arc::clone(&hook_signals));
        let mut state = State::new(now, seed, config, events, signals, Arc::clone(&started));
        state.cluster = report;
        state.on_orphan = on_orphan.map(|on_orphan| -> OnOrphan {
            let failures = Arc::clone(hooks.failures());
            Arc::new(move |orphan| failures.guard(|| on_orphan(orphan)))
        });
        let shared = Arc::new(Self {
            runtime,
            supervisor,
            started,
            gone: Latch::default(),
            hooks,
            hook_signals,
            attached: Mutex::default(),
            client_name,
            pool_size,
            subscription_capacity,
            when_full,
            log_level,
            reply_limits,
            #[cfg(feature = "redis-rs")]
            database,
            tasks: AtomicUsize::new(0),
            state: Mutex::new(state),
        });
        shared.attach_all();
        shared.note_hooks();
        // The machine has actions from the beginning: it opens the pool.
        let mut effects = Effects::default();
        if cfg!(feature = "tracing") {
            shared.enter_unsettled(|state, _| state.want_hooks(&mut effects));
        }
        shared.enter_with(&mut effects, |_, _, _| ());
        shared
    }

    pub(super) fn send(&self, request: Request) -> Result<(RequestId, Arc<Waiter<Outcome>>), SendError> {
        self.send_since(request, None)
    }

    /// [`send`](Self::send) for a caller whose time counts from `since`, or from now.
    #[inline]
    pub(super) fn send_since(
        &self,
        request: Request,
        since: Option<Instant>,
    ) -> Result<(RequestId, Arc<Waiter<Outcome>>), SendError> {
        let waiter = Arc::new(Waiter::of(None, &request));
        let sent = self.enter(|state, now| match state.is_promised(&request) {
            false => state.send(now, since.unwrap_or(now), None, request, &waiter),
            true => Err(SendError::Full(request)),
        });
        sent.map(|id| (id, waiter))
    }

    /// [`send`](Self::send) on the connection of `lease`.
    pub(super) fn send_on(
        &self,
        lease: LeaseId,
        request: Request,
    ) -> Result<(RequestId, Arc<Waiter<Outcome>>), SendError> {
        let waiter = Arc::new(Waiter::of(Some(lease), &request));
        let sent = self.enter(|state, now| state.send(now, now, Some(lease), request, &waiter));
        sent.map(|id| (id, waiter))
    }

    /// Wants a connection for one caller.
    pub(super) fn lease(&self) -> Result<(LeaseId, Arc<Terms>), LeaseError> {
        let terms = Arc::new(Terms::new());
        let lease = self.enter(|state, now| state.lease(now, &terms))?;
        Ok((lease, terms))
    }

    /// Another wish, for a transaction that the server has `refused` to run; `None` if the refusal is to stand. The transaction has begun
    /// at `since`, and this is the refusal with that number.
    pub(super) fn lease_after_refusal(
        &self,
        refused: LeaseId,
        since: Instant,
        refusals: u32,
    ) -> Result<Option<(LeaseId, Arc<Terms>)>, LeaseError> {
        self.lease_again(|machine, now| machine.lease_after_refusal(now, refused, since, refusals))
    }

    /// Another wish, for a transaction that has lost its connection; `None` if the loss is to stand. The first of its losses was at
    /// `since`, and this is the loss with that number.
    pub(super) fn lease_after_loss(
        &self,
        since: Instant,
        losses: u32,
    ) -> Result<Option<(LeaseId, Arc<Terms>)>, LeaseError> {
        self.lease_again(|machine, now| machine.lease_after_loss(now, since, losses))
    }

    fn lease_again(
        &self,
        wish: impl FnOnce(&mut Machine, Instant) -> Result<Option<LeaseId>, LeaseError>,
    ) -> Result<Option<(LeaseId, Arc<Terms>)>, LeaseError> {
        let terms = Arc::new(Terms::new());
        let lease = self.enter(|state, now| state.lease_again(&terms, |machine| wish(machine, now)))?;
        Ok(lease.map(|lease| (lease, terms)))
    }

    /// The last handle of `lease` is gone.
    pub(super) fn return_lease(&self, lease: LeaseId) {
        self.enter(|state, now| state.return_lease(now, lease));
    }

    pub(super) fn open_subscription(&self, mailbox: &Arc<Mailbox>) -> Result<SubscriptionId, SubscribeError> {
        self.enter_unsettled(|state, _| state.open_subscription(mailbox))
    }

    /// Has a subscription receive more topics.
    pub(super) fn subscribe(
        &self,
        subscription: SubscriptionId,
        topics: Vec<Topic>,
    ) -> Result<Arc<Waiter<Result<(), SubscribeError>>>, SubscribeError> {
        let confirmed = Arc::new(Waiter::new());
        self.enter(|state, now| state.subscribe(now, subscription, topics, &confirmed))?;
        Ok(confirmed)
    }

    /// Has a subscription receive all that was sent to it so far.
    pub(super) fn catch_up(
        &self,
        subscription: SubscriptionId,
    ) -> Result<Arc<Waiter<Result<(), SubscribeError>>>, SubscribeError> {
        let caught_up = Arc::new(Waiter::new());
        self.enter(|state, now| state.catch_up(now, subscription, &caught_up))?;
        Ok(caught_up)
    }

    pub(super) fn unsubscribe(&self, subscription: SubscriptionId, topics: &[Topic]) {
        self.enter(|state, now| {
            state.machine.unsubscribe(now, subscription, topics);
        });
    }

    /// The handle of a subscription is gone.
    pub(super) fn close_subscription(&self, subscription: SubscriptionId) {
        self.enter(|state, now| state.close_subscription(now, subscription));
    }

    /// [`send`](Self::send) for callers that wait for room, in the order of their arrival. If it is not the caller's
    /// turn, this gives the request back; with a waker, the caller then waits in the queue.
    pub(super) fn send_in_turn(
        &self,
        turn: &mut Turn,
        request: Request,
        waker: Option<Waker>,
    ) -> Result<(RequestId, Arc<Waiter<Outcome>>), Refusal> {
        let waiter = Arc::new(Waiter::of(turn.lease, &request));
        let mut before = None;
        let sent = self.enter(|state, now| {
            let since = *turn.since.get_or_insert(now);
            // Whoever has just come is not too late: most calls wait for nothing.
            let limit = waker.as_ref().and_then(|_| state.machine.time_limit(now, &request));
            let deadline = limit.map(|limit| after(since, limit));
            if let Some(limit) = limit.filter(|_| deadline.is_some_and(|at| at <= now)) {
                return Err(Refusal::TimedOut(state.machine.too_late(limit, Delivery::NotSent)));
            }
            // While nobody waits, the machine alone knows whether there is room.
            let is_next = state.queue.is_idle() || state.queue.is_next(turn, state.room(turn.lease));
            let sent = match is_next {
                true => state.send(now, since, turn.lease, request, &waiter),
                false => Err(SendError::Full(request)),
            };
            // They wait for room whatever the reason is that there is none.
            let sent = sent.map_err(|error| match error {
                SendError::NoConnection { request, .. } => SendError::Full(request),
                error => error,
            });
            if let Err(SendError::Full(request)) = &sent
                && is_next
                && request.class() == Class::Blocking
                && state.room(turn.lease) > 0
            {
                // Room would not help: too many wait for a connection of their own.
                return sent.map_err(Refusal::Crowded);
            }
            if let (Err(SendError::Full(_)), Some(waker)) = (&sent, waker) {
                before = state.queue.wait(turn, waker, deadline);
            }
            sent.map_err(Refusal::Send)
        });
        drop(before);
        sent.map(|id| (id, waiter))
    }

    pub(super) fn leave_queue(&self, lease: Option<LeaseId>, position: u64) {
        drop(self.enter(|state, _| state.queue.leave(lease, position)));
    }

    /// The caller has dropped its reply. If it has come, it is in `waiter`.
    pub(super) fn cancel(&self, request: RequestId, waiter: &Waiter<Outcome>) {
        let unwanted = self.enter(|state, now| {
            // The future that is being dropped holds the waiter too, so that nothing is freed under the lock.
            state.waiters.remove(request);
            match waiter.take_unread() {
                Some((command, replies)) => state.machine.handle_unread(now, command, replies),
                None => {
                    state.machine.cancel(now, request);
                    None
                }
            }
        });
        drop(unwanted);
    }

    /// The caller does not want the replies, and wants the request to run. Its lease is not returned before the replies are in.
    #[cfg(feature = "redis-rs")]
    pub(super) fn detach(&self, request: RequestId, waiter: &Waiter<Outcome>, lease: Option<LeaseId>) {
        drop(self.enter(|state, now| state.detach(now, request, waiter, lease)));
    }

    /// Whether there is no connection, and the last attempt to open one has failed.
    pub(super) fn is_cut_off(&self) -> bool {
        self.lock().machine.is_cut_off()
    }

    /// Whether the subscriptions have no connection, nor anybody else.
    pub(super) fn receives_nothing(&self) -> bool {
        let state = self.lock();
        state.machine.is_cut_off() && !state.machine.receives()
    }

    /// The timeout of the windows that cover the whole database, if there are any.
    pub(super) fn relaxed(&self) -> Option<Duration> {
        self.enter_unsettled(|state, now| state.machine.relaxed(now))
    }

    /// The longest that `request` may take, if it is sent now; `None` is for ever.
    pub(super) fn time_limit(&self, request: &Request) -> Option<Duration> {
        self.enter_unsettled(|state, now| state.machine.time_limit(now, request))
    }

    /// Whether it accepts requests.
    pub(super) fn is_open(&self) -> bool {
        self.lock().machine.is_open()
    }

    pub(super) fn shutdown(&self, grace: Duration) {
        self.enter(|state, now| {
            // A grace beyond what an instant can hold is as good as a century.
            let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
            let until = now.checked_add(grace).unwrap_or_else(|| now + century);
            state.machine.shutdown(now, until);
        });
    }

    /// Adds `hook`, which sees everything from now on.
    pub(super) fn add_hook(self: &Arc<Self>, hook: Arc<dyn ErasedHook>) -> HookId {
        self.attach(&*hook);
        let mut attached = self.attached();
        let id = self.hooks.add(hook);
        attached.push(id);
        drop(attached);
        self.note_hooks();
        id
    }

    /// Shows this client to all hooks that have not seen it.
    pub(super) fn attach_all(self: &Arc<Self>) {
        for (id, hook) in self.hooks.entries() {
            self.attach_once(id, &*hook);
        }
    }

    /// Shows this client to `hook`, unless that was done: the one who adds a hook to a cluster and the one who opens a node may both do so.
    pub(super) fn attach_once(self: &Arc<Self>, id: HookId, hook: &dyn ErasedHook) {
        let mut attached = self.attached();
        let is_known = attached.contains(&id);
        if !is_known {
            attached.push(id);
        }
        drop(attached);
        if !is_known {
            self.attach(hook);
        }
    }

    fn attached(&self) -> MutexGuard<'_, Vec<HookId>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows this client to `hook`.
    fn attach(self: &Arc<Self>, hook: &dyn ErasedHook) {
        let failures = self.hooks.failures();
        let live: Weak<dyn Live> = Arc::downgrade(&(Arc::clone(self) as Arc<dyn Live>));
        let metrics = Arc::clone(self.lock().metrics());
        let client = Observed::new(metrics, Arc::clone(failures), live, self.log_level);
        failures.guard(|| hook.attached(client));
    }

    /// Hooks have come or gone, here or at another client that has the same ones.
    pub(super) fn note_hooks(&self) {
        let mut effects = Effects::default();
        self.enter_unsettled(|state, _| {
            let hooks = self.hooks.len();
            state.machine.review_notifications(review_limit(hooks));
            if hooks > 0 {
                state.want_hooks(&mut effects);
            }
        });
        effects.apply();
    }

    pub(super) fn remove_hook(&self, hook: HookId) -> bool {
        let is_removed = self.hooks.remove(hook);
        self.attached().retain(|id| *id != hook);
        self.note_hooks();
        is_removed
    }

    pub(super) fn handle_verdict(&self, review: ReviewId, verdict: Verdict) {
        self.enter(|state, now| state.machine.handle_verdict(now, review, verdict));
    }

    /// The notifications that the hooks have not seen.
    pub(super) fn take_reviews(&self) -> Vec<QueuedReview> {
        self.enter_unsettled(|state, _| std::mem::take(&mut state.hooks.reviews))
    }

    /// The runtime has dropped a task that the client cannot do without: every reply that is awaited fails.
    pub(super) fn on_driver_death(&self) {
        if self.lock().terminated {
            return;
        }
        let mut effects = Effects::default();
        // The first result of the start counts, and this one says more than that of a shutdown.
        self.enter_unsettled(|state, _| state.on_started(Err(ConnectError::TaskEnded), &mut effects));
        self.shutdown(Duration::ZERO);
        self.enter_unsettled(|state, _| state.on_driver_death(&mut effects));
        effects.apply();
    }

    pub(super) fn handle_timeout(&self) {
        let mut overdue = Vec::new();
        self.enter(|state, now| {
            state.alarm = None;
            state.machine.handle_timeout(now);
            overdue = state.queue.take_due(now);
        });
        overdue.into_iter().for_each(Waker::wake);
    }

    pub(super) fn handle_resolved(&self, task: &ConnTask, result: io::Result<Vec<IpAddr>>) {
        let result = result.map_err(SystemError::from);
        self.enter(|state, now| {
            state.forget_task(task);
            state.machine.handle_resolved(now, task.conn, result);
        });
    }

    pub(super) fn handle_credentials(&self, task: &ConnTask, answer: Result<Credentials, CredentialsError>) {
        self.enter(|state, now| {
            state.forget_task(task);
            state.machine.handle_credentials(now, task.conn, answer);
        });
    }

    pub(super) fn handle_credentials_changed(&self) {
        self.enter(|state, now| state.machine.handle_credentials_changed(now));
    }

    pub(super) fn handle_new_credentials(&self, answer: Result<Credentials, CredentialsError>) {
        self.enter(|state, now| state.machine.handle_new_credentials(now, answer));
    }

    /// What wakes the task that asks for new credentials.
    pub(super) fn renewal_signals(&self) -> Arc<Signals> {
        Arc::clone(&self.lock().renewal)
    }

    pub(super) fn handle_connect_failed(&self, task: &ConnTask, error: &io::Error) {
        let error = SystemError::from(error);
        self.enter(|state, now| {
            state.forget_task(task);
            state.machine.handle_connect_failed(now, task.conn, error);
        });
    }

    pub(super) fn handle_encrypting(&self, task: &ConnTask, progress: TlsProgress) {
        self.enter_unsettled(|state, _| state.machine.handle_encrypting(task.conn, progress));
    }

    pub(super) fn handle_connected(&self, task: &ConnTask, peer: Peer) {
        self.enter(|state, now| {
            state.machine.handle_connected(now, task.conn, peer);
        });
    }

    /// Bytes were received: hands `frames` in, which are empty afterwards. The caller keeps `effects` for their allocations.
    pub(super) fn handle_frames(&self, conn: ConnId, frames: &mut Vec<Frame>, effects: &mut Effects) {
        self.enter_with(effects, |state, now, effects| state.handle_frames(now, conn, frames, effects));
    }

    pub(super) fn handle_ending(&self, conn: ConnId) {
        self.enter_unsettled(|state, _| state.machine.handle_ending(conn));
    }

    pub(super) fn handle_closed(&self, task: &ConnTask, cause: CloseCause) {
        self.enter(|state, now| {
            state.forget_task(task);
            state.machine.handle_closed(now, task.conn, cause);
        });
    }

    /// Takes what `conn` has to write.
    pub(super) fn transmit(
        &self,
        conn: ConnId,
        buffer: &mut WriteBuffer,
        effects: &mut Effects,
    ) -> Transmitted {
        self.enter_with(effects, |state, now, _| {
            state.machine.handle_writable(now, conn);
            let mut more = false;
            while !more && state.machine.poll_transmit(conn, buffer) {
                more = buffer.len() >= TAKE;
            }
            Transmitted { more, batch: state.machine.batch(conn), is_alone: state.machine.is_alone(conn) }
        })
    }

    /// Takes the work of the supervisor.
    pub(super) fn take_work(&self) -> Work {
        self.enter_unsettled(|state, _| Work {
            orders: std::mem::take(&mut state.orders),
            asks: std::mem::take(&mut state.asks),
            alarm: state.alarm,
            read: state.read,
            terminated: state.terminated,
            hooks: state.hooks.beginning.take(),
        })
    }

    pub(super) fn task_began(&self) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
    }

    /// Only the supervisor begins tasks, and it is one itself: once the count is zero, no task begins any more.
    pub(super) fn task_ended(&self) {
        if self.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.gone.open();
        }
    }

    pub(super) fn events(&self) -> Events {
        self.lock().events().observe()
    }

    pub(super) fn pushes(&self) -> Pushes {
        self.lock().pushes().observe()
    }

    /// `None` where the server tells of none.
    pub(super) fn invalidations(&self) -> Option<Invalidations> {
        Some(self.lock().invalidations()?.read())
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().machine.stats()
    }

    /// How often hooks failed.
    pub(super) fn hook_failures(&self) -> HookFailures {
        self.hooks.failures().snapshot()
    }

    /// Changes the state under the lock, takes the machine's actions, and applies their effects after the lock is
    /// released. Most changes have none: one more request goes to a connection whose task has been woken for those before it.
    fn enter<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let (result, effects) = self.enter_unsettled(|state, now| {
            let result = change(state, now);
            if state.is_settled() {
                return (result, None);
            }
            let mut effects = Effects::default();
            state.settle(&mut effects);
            (result, Some(effects))
        });
        if let Some(mut effects) = effects {
            effects.apply();
        }
        result
    }

    /// [`enter`](Self::enter) for a caller that keeps `effects` for their allocations.
    fn enter_with<T>(
        &self,
        effects: &mut Effects,
        change: impl FnOnce(&mut State, Instant, &mut Effects) -> T,
    ) -> T {
        let result = self.enter_unsettled(|state, now| {
            let result = change(state, now, effects);
            state.settle(effects);
            result
        });
        effects.apply();
        result
    }

    /// Changes the state in a way that leads to no action.
    fn enter_unsettled<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = self.runtime.now();
        let mut state = self.lock();
        let now = now.max(state.latest);
        state.latest = now;
        change(&mut state, now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The machine's methods are total: they still work after one of them has panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> Live for Shared<R> {
    fn live_stats(&self) -> Stats {
        let state = self.lock();
        // The figures of a terminated machine are those of its last moment.
        if state.terminated { Stats::default() } else { state.machine.stats() }
    }
}
