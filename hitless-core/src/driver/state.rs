//! The state under the client's lock: the machine, and the tables that the driver keeps beside it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use resp3_codec::Frame;

use super::cluster::{NodeFact, Report};
use super::detached::Detached;
use super::effects::{Effects, OnOrphan, Unclaimed};
use super::hooks::task::QueuedReview;
use super::invalidations::Readers;
use super::lease::{LeaseNotice, Terms};
use super::observer::{Broadcast, Events, Push};
use super::room::{Queue, Turn};
use super::signals::{self, Signals};
use super::subscription::Mailbox;
use super::waiter::Waiter;
use crate::client::{Action, Client as Machine, Invalidation, Review};
use crate::config::Config;
use crate::connection::Answer;
use crate::endpoint::Target;
use crate::error::{ConnectError, Delivery, LeaseError, RequestError};
use crate::event::Event;
use crate::ids::{ChangeId, ConnId, IdMap, LeaseId, RequestId, ReviewId, SubscriptionId};
use crate::observe::Metrics;
use crate::pubsub::{Item, SubscribeError, Topic};
use crate::request::{Class, Orphan, Outcome, Replies, Request, SendError};
use crate::review::Handled;
use crate::timer::earliest;

/// The task of a connection: it resolves the name, or connects and then reads and writes.
#[derive(Clone)]
pub(super) struct ConnTask {
    pub(super) conn: ConnId,
    pub(super) signals: Arc<Signals>,
}

/// A task that the supervisor is to start.
pub(super) struct DialOrder {
    pub(super) task: ConnTask,
    pub(super) step: DialStep,
}

pub(super) enum DialStep {
    Resolve(Arc<str>),
    Connect(Target),
}

/// The machine and the tables beside it. Only [`Shared`](super::shared::Shared) reaches it, and settles it after every
/// change.
pub(super) struct State {
    pub(super) machine: Machine,
    /// The latest time seen. Two threads may read the clock in one order and take the lock in the other.
    pub(super) latest: Instant,
    pub(super) waiters: IdMap<RequestId, Arc<Waiter<Outcome>>>,
    /// The requests whose replies are not waited for.
    detached: Detached,
    /// What is told to those who have or want a lease.
    leases: IdMap<LeaseId, Arc<Terms>>,
    /// What subscribers have not read.
    mailboxes: IdMap<SubscriptionId, Arc<Mailbox>>,
    /// Those who wait for topics to be confirmed.
    changes: IdMap<ChangeId, Arc<Waiter<Result<(), SubscribeError>>>>,
    /// Callers that wait for room.
    pub(super) queue: Queue,
    pub(super) orders: Vec<DialOrder>,
    /// Dials whose credentials are to be asked for.
    pub(super) asks: Vec<ConnTask>,
    /// Wakes the task that asks for new credentials.
    pub(super) renewal: Arc<Signals>,
    /// When the supervisor's timer rings; never later than the machine's own deadline.
    pub(super) alarm: Option<Instant>,
    /// How many batches of frames were read so far.
    pub(super) read: u64,
    pub(super) terminated: bool,
    /// The task of each connection.
    tasks: IdMap<ConnId, Arc<Signals>>,
    supervisor: Arc<Signals>,
    started: Arc<Waiter<Result<(), ConnectError>>>,
    events: Arc<Broadcast<Event>>,
    pushes: Arc<Broadcast<Push>>,
    /// Only where the server is asked to tell.
    invalidations: Option<Arc<Readers>>,
    metrics: Arc<Mutex<Metrics>>,
    pub(super) hooks: HookQueue,
    pub(super) on_orphan: Option<OnOrphan>,
    /// The cluster that this client's server is a node of.
    pub(super) cluster: Option<Report>,
    /// What the cluster was told last.
    is_cut_off: bool,
    /// The cluster client was told that this one shuts down.
    is_closing: bool,
}

/// Reviews on their way to the task of the hooks and back.
pub(super) struct HookQueue {
    /// Wakes the task of the hooks.
    signals: Arc<Signals>,
    /// True once there was a hook: then the task is started.
    is_wanted: bool,
    /// The events that the task begins with, until the supervisor has started it.
    pub(super) beginning: Option<Events>,
    pub(super) reviews: Vec<QueuedReview>,
    waiting: IdMap<ReviewId, Arc<Waiter<Handled>>>,
}

impl State {
    pub(super) fn new(
        now: Instant,
        seed: u64,
        config: Config,
        events: Arc<Broadcast<Event>>,
        (supervisor, hooks): (Arc<Signals>, Arc<Signals>),
        started: Arc<Waiter<Result<(), ConnectError>>>,
    ) -> Self {
        let capacity = config.event_capacity();
        events.set_capacity(capacity);
        let unread = config.invalidation_capacity();
        let invalidations = config.tracking().map(|_| Arc::new(Readers::new(unread)));
        Self {
            machine: Machine::new(now, Arc::new(config), seed),
            latest: now,
            waiters: IdMap::new(),
            detached: Detached::new(),
            leases: IdMap::new(),
            mailboxes: IdMap::new(),
            changes: IdMap::new(),
            queue: Queue::default(),
            orders: Vec::new(),
            asks: Vec::new(),
            renewal: Arc::default(),
            alarm: None,
            read: 0,
            terminated: false,
            tasks: IdMap::new(),
            supervisor,
            started,
            events,
            pushes: Arc::new(Broadcast::new(capacity)),
            invalidations,
            metrics: Arc::default(),
            hooks: HookQueue {
                signals: hooks,
                is_wanted: false,
                beginning: None,
                reviews: Vec::new(),
                waiting: IdMap::new(),
            },
            on_orphan: None,
            cluster: None,
            is_cut_off: false,
            is_closing: false,
        }
    }

    /// Hands a request to the machine, whose time counts from `since`, and keeps `waiter` for its outcome. With a lease it goes to the
    /// connection of that.
    pub(super) fn send(
        &mut self,
        now: Instant,
        since: Instant,
        lease: Option<LeaseId>,
        request: Request,
        waiter: &Arc<Waiter<Outcome>>,
    ) -> Result<RequestId, SendError> {
        let id = match lease {
            None => self.machine.send_since(now, since, request)?,
            Some(lease) => self.machine.send_on_since(now, since, lease, request)?,
        };
        self.waiters.insert(id, Arc::clone(waiter));
        Ok(id)
    }

    /// The caller of `request` waits for nothing, and wants it to run. Returns what is to be dropped.
    #[cfg(feature = "redis-rs")]
    pub(super) fn detach(
        &mut self,
        now: Instant,
        request: RequestId,
        waiter: &Waiter<Outcome>,
        lease: Option<LeaseId>,
    ) -> Option<Replies> {
        // The caller holds the waiter too, so that nothing is freed under the lock.
        if self.waiters.remove(request).is_some() {
            self.detached.insert(request, waiter.taker(), lease);
            return None;
        }
        let (command, replies) = waiter.take_unread()?;
        self.machine.handle_unread(now, command, replies)
    }

    /// Whether the room that `request` would have in the pool is for callers that wait.
    #[inline]
    pub(super) fn is_promised(&self, request: &Request) -> bool {
        !self.queue.is_idle()
            && self.machine.is_open()
            && request.class() != Class::Blocking
            && !self.queue.is_next(&Turn::default(), self.room(None))
    }

    /// Wants a lease of the machine, and keeps `terms` for what becomes of it.
    pub(super) fn lease(&mut self, now: Instant, terms: &Arc<Terms>) -> Result<LeaseId, LeaseError> {
        let lease = self.machine.lease(now)?;
        self.leases.insert(lease, Arc::clone(terms));
        Ok(lease)
    }

    /// Has the machine wish for another lease, unless it decides against it.
    pub(super) fn lease_again(
        &mut self,
        terms: &Arc<Terms>,
        wish: impl FnOnce(&mut Machine) -> Result<Option<LeaseId>, LeaseError>,
    ) -> Result<Option<LeaseId>, LeaseError> {
        let lease = wish(&mut self.machine)?;
        if let Some(lease) = lease {
            self.leases.insert(lease, Arc::clone(terms));
        }
        Ok(lease)
    }

    /// How many more requests the connection of a lease takes, or the pool.
    pub(super) fn room(&self, lease: Option<LeaseId>) -> usize {
        room(&self.machine, lease)
    }

    pub(super) fn return_lease(&mut self, now: Instant, lease: LeaseId) {
        // The handle that is being dropped holds the terms too, so that nothing is freed under the lock.
        self.leases.remove(lease);
        if self.detached.return_lease(lease) {
            self.machine.return_lease(now, lease);
        }
    }

    /// Opens a subscription of the machine, whose items go to `mailbox`.
    pub(super) fn open_subscription(
        &mut self,
        mailbox: &Arc<Mailbox>,
    ) -> Result<SubscriptionId, SubscribeError> {
        let subscription = self.machine.open_subscription()?;
        self.mailboxes.insert(subscription, Arc::clone(mailbox));
        Ok(subscription)
    }

    /// Has a subscription receive more topics, and keeps `confirmed` for what becomes of that.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        topics: Vec<Topic>,
        confirmed: &Arc<Waiter<Result<(), SubscribeError>>>,
    ) -> Result<(), SubscribeError> {
        let change = self.machine.subscribe(now, subscription, topics)?;
        self.changes.insert(change, Arc::clone(confirmed));
        Ok(())
    }

    /// Has a subscription receive all that was sent to it so far, and keeps `caught_up` for when that is so.
    pub(super) fn catch_up(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        caught_up: &Arc<Waiter<Result<(), SubscribeError>>>,
    ) -> Result<(), SubscribeError> {
        let change = self.machine.catch_up(now, subscription)?;
        self.changes.insert(change, Arc::clone(caught_up));
        Ok(())
    }

    pub(super) fn close_subscription(&mut self, now: Instant, subscription: SubscriptionId) {
        // The handle that is being dropped holds the mailbox too, so that nothing is freed under the lock.
        self.mailboxes.remove(subscription);
        self.machine.close_subscription(now, subscription);
    }

    /// Has the task of the hooks started, if it was not. It sees every event from now on.
    pub(super) fn want_hooks(&mut self, effects: &mut Effects) {
        if !std::mem::replace(&mut self.hooks.is_wanted, true) {
            self.hooks.beginning = Some(self.events.observe());
            effects.signals.push((Arc::clone(&self.supervisor), signals::WORK));
        }
    }

    /// `task` needs no more signals. To be called before the machine is told of its end.
    pub(super) fn forget_task(&mut self, task: &ConnTask) {
        // Resolving and connecting are two tasks of one connection: the end of the first is not that of the second.
        if self.tasks.get(task.conn).is_some_and(|known| Arc::ptr_eq(known, &task.signals)) {
            self.tasks.remove(task.conn);
        }
    }

    /// Takes the machine's actions. Those that neither run foreign code nor free memory are done here; the others go to
    /// `effects`.
    pub(super) fn settle(&mut self, effects: &mut Effects) {
        while let Some(action) = self.machine.poll_action() {
            self.on_action(action, effects);
        }
        // Not every end of an outage is an event: connections that said nothing may answer again.
        self.report_outage(effects);
        if !self.queue.is_empty() {
            let machine = &self.machine;
            self.queue.notify(|lease| room(machine, lease), effects);
        }
        if let Some(deadline) = self.earlier_deadline() {
            self.alarm = Some(deadline);
            effects.signals.push((Arc::clone(&self.supervisor), signals::WORK));
        }
    }

    /// Whether [`settle`](Self::settle) would do nothing.
    pub(super) fn is_settled(&self) -> bool {
        let is_quiet = !self.machine.has_actions() && self.queue.is_empty();
        is_quiet && self.earlier_deadline().is_none() && !self.has_begun_to_close()
    }

    /// Whether the cluster client has still to be told that this client shuts down.
    fn has_begun_to_close(&self) -> bool {
        !self.machine.is_open() && !self.is_closing && self.cluster.is_some()
    }

    /// The next deadline, if the alarm is not set or rings later. A later deadline waits for the earlier alarm, which then rings for
    /// nothing and is set anew.
    fn earlier_deadline(&self) -> Option<Instant> {
        let deadline = earliest([self.machine.poll_timeout(), self.queue.poll_timeout()])?;
        self.alarm.is_none_or(|alarm| deadline < alarm).then_some(deadline)
    }

    /// The driver has died: the machine does nothing more, so every waiter gets an error.
    pub(super) fn on_driver_death(&mut self, effects: &mut Effects) {
        let lost = Err(RequestError::ShutDown { delivery: Delivery::Unknown });
        let waiters = std::mem::replace(&mut self.waiters, IdMap::new());
        effects.completed.extend(waiters.iter().map(|(_, waiter)| (Arc::clone(waiter), lost.clone())));
        for (_, confirmed) in self.changes.iter() {
            effects.wakers.extend(confirmed.put(Err(SubscribeError::ShutDown)));
        }
        self.on_terminated(effects);
    }

    pub(super) fn events(&self) -> &Arc<Broadcast<Event>> {
        &self.events
    }

    pub(super) fn metrics(&self) -> &Arc<Mutex<Metrics>> {
        &self.metrics
    }

    pub(super) fn pushes(&self) -> &Arc<Broadcast<Push>> {
        &self.pushes
    }

    pub(super) fn invalidations(&self) -> Option<&Arc<Readers>> {
        self.invalidations.as_ref()
    }

    /// Frames of `conn` were received. Those of them that answer requests, as nearly all do, do not go by way of an action.
    pub(super) fn handle_frames(
        &mut self,
        now: Instant,
        conn: ConnId,
        frames: &mut Vec<Frame>,
        effects: &mut Effects,
    ) {
        self.read = self.read.wrapping_add(1);
        let Self { machine, waiters, .. } = self;
        let mut unheard = Vec::new();
        machine.handle_frames_with(now, conn, frames.drain(..), |answer| {
            let Answer { request, reply, command } = answer;
            effects.commands.push(command);
            let outcome = Ok(Replies::from_buf([reply]));
            match waiters.remove(request) {
                Some(waiter) => put(waiter, outcome, effects),
                None => unheard.push((request, outcome)),
            }
        });
        for (request, outcome) in unheard {
            self.on_unheard(request, outcome, effects);
        }
    }

    fn on_action(&mut self, action: Action, effects: &mut Effects) {
        match action {
            Action::Complete { request, outcome } => match self.waiters.remove(request) {
                Some(waiter) => put(waiter, outcome, effects),
                None => self.on_unheard(request, outcome, effects),
            },
            Action::HandBack { id, request, accepted_at } => {
                let waiter = self.waiters.get(id);
                drop(waiter.and_then(|waiter| waiter.hand_back(request, accepted_at)));
            }
            Action::ReadonlyRefused => self.report(NodeFact::ReadonlyRefused, effects),
            Action::Notified(notification) => self.report(NodeFact::Notified(notification), effects),
            Action::Flush { conn } => self.signal(conn, signals::WRITE, effects),
            Action::Rest { conn } => self.signal(conn, signals::REST, effects),
            Action::Resolve { conn, host } => self.order(conn, DialStep::Resolve(host), effects),
            Action::Credentials { conn } => {
                let task = self.begin_task(conn, effects);
                self.asks.push(task);
            }
            Action::NewCredentials => effects.signals.push((Arc::clone(&self.renewal), signals::WORK)),
            // The machine watches the time of a dial itself, and says `Close`.
            Action::Connect { conn, target, until: _ } => {
                self.order(conn, DialStep::Connect(target), effects)
            }
            Action::Close { conn, cause: _ } => {
                if let Some(signals) = self.tasks.remove(conn) {
                    self.withdraw(&signals);
                    effects.signals.push((signals, signals::CLOSE));
                }
            }
            Action::Push { conn, elements } => {
                let unseen = self.pushes.publish(Push { conn, elements }, &mut effects.wakers);
                effects.unclaimed.extend(unseen.map(|push| Frame::Push(push.elements).into()));
            }
            Action::Review(review) => self.on_review(review, effects),
            Action::Reviewed { review, handled } => {
                let waiter = self.hooks.waiting.remove(review);
                effects.wakers.extend(waiter.and_then(|waiter| waiter.put(handled)));
            }
            Action::Emit(event) => self.emit(event, effects),
            Action::Orphaned(orphan) => self.hand_out(orphan, effects),
            Action::Leased { lease, outcome } => {
                effects.wakers.extend(self.leases.get(lease).and_then(|terms| terms.grant(outcome)));
            }
            Action::LeaseMoving { lease, deadline } => {
                self.tell_holder(lease, LeaseNotice::Moving { deadline }, effects);
            }
            Action::LeaseLost { lease, cause } => {
                self.tell_holder(lease, LeaseNotice::Lost { cause }, effects)
            }
            Action::Subscribed { change, outcome } => self.on_subscribed(change, outcome, effects),
            Action::Invalidated(invalidation) => self.invalidate(invalidation, effects),
            Action::Deliver { subscription, item } => self.deliver(subscription, item, effects),
            Action::Started(result) => self.tell_start(result, effects),
            Action::Terminated => self.on_terminated(effects),
        }
    }

    /// Raises `flag` for the task of a connection.
    #[inline]
    fn signal(&self, conn: ConnId, flag: u8, effects: &mut Effects) {
        if let Some(signals) = self.tasks.get(conn) {
            effects.signals.push((Arc::clone(signals), flag));
        }
    }

    fn emit(&mut self, event: Event, effects: &mut Effects) {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).handle_event(&event);
        // Published under the lock, which keeps the events in order. Dropping an event under it is cheap: it
        // owns a reference or two.
        drop(self.events.publish(event, &mut effects.wakers));
    }

    /// Tells the cluster client that has opened this one, if there is one.
    fn report(&self, fact: NodeFact, effects: &mut Effects) {
        if let Some(cluster) = &self.cluster {
            effects.signals.push(cluster.tell(fact));
        }
    }

    /// Tells the cluster client when the last connection is gone and cannot be replaced, when there is one again, and when this client shuts down.
    fn report_outage(&mut self, effects: &mut Effects) {
        if self.cluster.is_none() {
            return;
        }
        self.report_closing(effects);
        let is_cut_off = self.machine.is_cut_off();
        if std::mem::replace(&mut self.is_cut_off, is_cut_off) != is_cut_off {
            self.report(if is_cut_off { NodeFact::CutOff } else { NodeFact::Back }, effects);
        }
    }

    fn report_closing(&mut self, effects: &mut Effects) {
        if self.has_begun_to_close() {
            self.is_closing = true;
            self.report(NodeFact::Closing, effects);
        }
    }

    /// A request has ended whose caller has left: it was cancelled, or runs all the same.
    fn on_unheard(&mut self, request: RequestId, outcome: Outcome, effects: &mut Effects) {
        let now = self.latest;
        let (takes, lease) = self.detached.complete(request);
        let unwanted = match (outcome, takes) {
            (Ok(replies), Some(command)) => self.machine.handle_unread(now, command, replies),
            (outcome, _) => outcome.ok(),
        };
        if let Some(lease) = lease {
            self.machine.return_lease(now, lease);
        }
        effects.unclaimed.extend(unwanted.into_iter().flatten().map(Unclaimed::from));
    }

    fn hand_out(&self, orphan: Orphan, effects: &mut Effects) {
        match &self.on_orphan {
            Some(on_orphan) => effects.unclaimed.push(Unclaimed::Orphan(Arc::clone(on_orphan), orphan)),
            None => effects.unclaimed.push(orphan.reply.into()),
        }
    }

    fn on_subscribed(
        &mut self,
        change: ChangeId,
        outcome: Result<(), SubscribeError>,
        effects: &mut Effects,
    ) {
        effects.wakers.extend(self.changes.remove(change).and_then(|waits| waits.put(outcome)));
    }

    /// The machine says this only where there are readers.
    fn invalidate(&self, invalidation: Invalidation, effects: &mut Effects) {
        if let Some(readers) = &self.invalidations {
            readers.tell(invalidation, effects);
        }
    }

    fn deliver(&self, subscription: SubscriptionId, item: Item, effects: &mut Effects) {
        match self.mailboxes.get(subscription) {
            Some(mailbox) => {
                let (missed, waker) = mailbox.put(item);
                effects.unclaimed.extend(missed.map(Unclaimed::from));
                effects.wakers.extend(waker);
            }
            None => effects.unclaimed.push(item.into()),
        }
    }

    fn tell_holder(&self, lease: LeaseId, notice: LeaseNotice, effects: &mut Effects) {
        if let Some(terms) = self.leases.get(lease) {
            effects.wakers.extend(terms.tell(notice));
        }
    }

    fn order(&mut self, conn: ConnId, step: DialStep, effects: &mut Effects) {
        let task = self.begin_task(conn, effects);
        self.orders.push(DialOrder { task, step });
    }

    /// Work for a task of `conn`, which the supervisor is to start.
    fn begin_task(&mut self, conn: ConnId, effects: &mut Effects) -> ConnTask {
        let signals = Arc::new(Signals::default());
        self.tasks.insert(conn, Arc::clone(&signals));
        effects.signals.push((Arc::clone(&self.supervisor), signals::WORK));
        ConnTask { conn, signals }
    }

    /// The work of this task is not begun any more, if the supervisor has not taken it: a server can have dial after dial given up while the
    /// supervisor waits for its turn.
    fn withdraw(&mut self, signals: &Arc<Signals>) {
        let is_another = |task: &ConnTask| !Arc::ptr_eq(&task.signals, signals);
        self.orders.retain(|order| is_another(&order.task));
        self.asks.retain(is_another);
    }

    fn on_review(&mut self, review: Box<Review>, effects: &mut Effects) {
        let handled = Arc::new(Waiter::new());
        self.hooks.waiting.insert(review.id, Arc::clone(&handled));
        self.hooks.reviews.push(QueuedReview { review, arrived_at: self.latest, handled });
        effects.signals.push((Arc::clone(&self.hooks.signals), signals::WORK));
    }

    /// The client of a node that could not be opened goes on trying, and may have some of its connections.
    fn tell_start(&mut self, result: Result<(), ConnectError>, effects: &mut Effects) {
        self.is_cut_off |= result.is_err() && self.machine.is_open();
        self.on_started(result, effects);
        self.report_outage(effects);
    }

    pub(super) fn on_started(&self, result: Result<(), ConnectError>, effects: &mut Effects) {
        let fact = result.clone().err().map_or(NodeFact::Open, NodeFact::NotOpened);
        effects.wakers.extend(self.started.put(result));
        self.report(fact, effects);
    }

    fn on_terminated(&mut self, effects: &mut Effects) {
        self.terminated = true;
        self.report_closing(effects);
        self.report(NodeFact::Ended, effects);
        // A machine that has terminated has closed its connections; one whose driver has died may not have.
        let tasks = std::mem::replace(&mut self.tasks, IdMap::new());
        effects.signals.extend(tasks.iter().map(|(_, signals)| (Arc::clone(signals), signals::CLOSE)));
        self.events.close(&mut effects.wakers);
        self.pushes.close(&mut effects.wakers);
        self.invalidations.iter().for_each(|readers| readers.close(effects));
        effects.wakers.extend(self.mailboxes.iter().filter_map(|(_, mailbox)| mailbox.close()));
        self.queue.notify(|_| usize::MAX, effects);
        effects.signals.push((Arc::clone(&self.renewal), signals::CLOSE));
        effects.signals.push((Arc::clone(&self.supervisor), signals::WORK));
    }
}

fn room(machine: &Machine, lease: Option<LeaseId>) -> usize {
    lease.map_or_else(|| machine.room(), |lease| machine.room_on(lease))
}

/// Has `waiter` get `outcome`: under the lock if that may be elements which exist nowhere else, and behind it otherwise.
#[inline]
fn put(waiter: Arc<Waiter<Outcome>>, outcome: Outcome, effects: &mut Effects) {
    if waiter.takes() {
        effects.wakers.extend(waiter.put(outcome));
    } else {
        effects.completed.push((waiter, outcome));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use resp3_codec::{Frame, cmd};

    use super::*;
    use crate::endpoint::{Endpoint, Host};
    use crate::timer::epoch;

    fn state() -> State {
        let endpoint = Endpoint::Tcp { host: Host::Name("h".into()), port: 1 };
        let config = Config::builder(endpoint).build().unwrap();
        let (signals, started) = (Arc::new(Signals::default()), Arc::new(Waiter::new()));
        let events = Arc::new(Broadcast::new(1));
        State::new(epoch(), 1, config, events, (Arc::clone(&signals), signals), started)
    }

    /// Elements are where a future that is dropped finds them before the client's lock is released. RULE-252
    #[test]
    fn elements_are_put_in_under_the_lock() {
        for (name, is_at_once) in [("BLPOP", true), ("LPOP", false)] {
            let (mut state, mut effects) = (state(), Effects::default());
            let request = Request::command(cmd(name).arg("q").arg(1)).unwrap();
            let waiter = Arc::new(Waiter::of(None, &request));
            let id = RequestId::from_parts(0, 0);
            state.waiters.insert(id, Arc::clone(&waiter));
            let outcome = Ok([Frame::bulk("element")].into_iter().collect());
            state.on_action(Action::Complete { request: id, outcome }, &mut effects);
            assert_eq!(effects.completed.is_empty(), is_at_once, "{name}");
            assert_eq!(waiter.take_unread().is_some(), is_at_once, "{name}");
        }
    }

    /// Nobody wants the reply of a command that takes: its element is handed out, whether it comes before that is said or behind. RULE-252
    #[cfg(feature = "redis-rs")]
    #[test]
    fn what_nobody_wants_is_handed_out() {
        let pair = || Frame::Array(vec![Frame::bulk("q"), Frame::bulk("element")]);
        for has_come in [true, false] {
            let (mut state, mut effects) = (state(), Effects::default());
            let waiter = Arc::new(Waiter::of(None, &Request::command(cmd("BLPOP").arg("q").arg(1)).unwrap()));
            let id = RequestId::from_parts(0, 0);
            state.waiters.insert(id, Arc::clone(&waiter));
            let complete = Action::Complete { request: id, outcome: Ok([pair()].into_iter().collect()) };
            if has_come {
                state.on_action(complete, &mut effects);
                assert_eq!(state.detach(epoch(), id, &waiter, None), None);
            } else {
                assert_eq!(state.detach(epoch(), id, &waiter, None), None);
                state.on_action(complete, &mut effects);
            }
            let actions: Vec<_> = std::iter::from_fn(|| state.machine.poll_action()).collect();
            let orphan = Orphan { command: "BLPOP", reply: pair() };
            let is_it = |action: &Action| matches!(action, Action::Orphaned(it) if *it == orphan);
            assert!(actions.iter().any(is_it), "{actions:?}");
            assert!(effects.unclaimed.is_empty());
        }
    }

    /// What is not there yet is not taken, and the waker that waits for it stays: dropping it would run foreign code under the lock.
    #[test]
    fn a_waker_outlasts_the_look_for_elements() {
        struct Wakes;
        impl std::task::Wake for Wakes {
            fn wake(self: Arc<Self>) {}
        }
        let wakes = Arc::new(Wakes);
        let waiter = Waiter::of(None, &Request::command(cmd("BLPOP").arg("q").arg(0)).unwrap());
        let waker = Arc::clone(&wakes).into();
        assert!(waiter.poll(&mut Context::from_waker(&waker)).is_pending());
        let before = Arc::strong_count(&wakes);
        assert!(waiter.take_unread().is_none());
        assert_eq!(Arc::strong_count(&wakes), before);
    }
}
