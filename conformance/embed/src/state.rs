//! The connections of a pool, and how the coordinator's directives are obeyed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hitless_core::coordinator::{Redial, Replacement, Role};
use hitless_core::endpoint::Peer;
use hitless_core::error::{CloseCause, ConnectError};
use hitless_core::event::Event;
use hitless_core::guide::{Reconnect, Rng};
use hitless_core::handshake::{OptIn, Probe};
use hitless_core::ids::ConnId;
use hitless_core::{Config, Coordinator, Directive};
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;

use crate::dial;
use crate::runtime::Task;
use crate::shared::{DialFailure, Shared};

/// Failed dials of one slot after which a pool that has never been up gives up.
const START_ATTEMPTS: u32 = 4;

/// What a pool knows.
pub(crate) struct State {
    pub(crate) coordinator: Coordinator,
    pub(crate) slots: Vec<Slot>,
    links: BTreeMap<ConnId, Link>,
    /// Requests that wait for a connection, in order: the next one that serves is for all of them.
    waiting: VecDeque<oneshot::Sender<ConnId>>,
    /// Why the pool could not be opened.
    pub(crate) failed: Option<ConnectError>,
    pub(crate) closing: bool,
    turn: usize,
    rng: Rng,
    alarm: Option<Instant>,
}

/// Room for one connection. While it moves, the old and the new one share it.
#[derive(Default)]
pub(crate) struct Slot {
    /// The one that new requests go to.
    serving: Option<ConnId>,
    retry_at: Option<Instant>,
    failures: u32,
    reconnect: Reconnect,
}

/// One connection, from the decision to open it to its end.
struct Link {
    slot: usize,
    /// Dials, then drives the connection: when it is dropped, the socket is closed.
    task: Option<Task>,
    /// Once it is ready.
    connection: Option<MultiplexedConnection>,
    in_flight: usize,
    draining: bool,
    /// It is to ask for notifications once it carries no request.
    must_opt_in: bool,
    ended: Arc<OnceLock<CloseCause>>,
}

/// The right to send one request over a connection, which does not drain dry before it is given back.
pub(crate) struct Lease<'a> {
    shared: &'a Shared,
    pub(crate) conn: ConnId,
    pub(crate) connection: MultiplexedConnection,
    /// Why the connection has ended, if it has.
    pub(crate) ended: Arc<OnceLock<CloseCause>>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.shared.give_back(self.conn);
    }
}

impl State {
    pub(crate) fn new(config: Arc<Config>, seed: u64) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(config.pool_size() as usize).collect();
        Self {
            coordinator: Coordinator::new(config, seed),
            slots,
            links: BTreeMap::new(),
            waiting: VecDeque::new(),
            failed: None,
            closing: false,
            turn: 0,
            rng: Rng::new(!seed),
            alarm: None,
        }
    }

    /// Carries out what the coordinator has decided, until it has no more to say: after every fact.
    pub(crate) fn obey(&mut self, shared: &Shared, now: Instant) {
        while let Some(directive) = self.coordinator.poll_directive() {
            match directive {
                // An answer for a connection that is forgotten by then does nothing, so nobody keeps the task.
                Directive::Resolve { conn, host } => {
                    shared.spawn_detached(|shared| dial::resolve(shared, conn, host));
                }
                // The coordinator watches `until` and says `Close` then. The target's `server_name` is for TLS, which this
                // pool does not speak.
                Directive::Dial { conn, target, probe, until: _, replaces } => {
                    self.dial(shared, now, conn, target.address, probe, replaces);
                }
                Directive::Serve { conn } => self.serve(shared, conn),
                Directive::CutOver { from, to } => {
                    self.serve(shared, to);
                    // What redis-rs was given leaves by the old connection: nothing moves along.
                    shared.emit(now, Event::CutOver { from, to, moved: 0 });
                }
                Directive::Drain { conn, until: _ } => self.drain(now, conn),
                Directive::Close { conn, cause } => self.end(conn, cause),
                Directive::Failed { conn, error, redial } => {
                    self.open_failed(shared, now, conn, error, redial)
                }
                Directive::Lost { conn, replacement } => self.lost(now, conn, replacement),
                Directive::OptIn { conn } => self.opt_in_when_idle(shared, conn),
                // Requests in flight ask anew what their timeout is.
                Directive::Windows { .. } => shared.changed.notify_waiters(),
                Directive::Emit(event) => shared.emit(now, event),
                // Reviews are for those who ask for them, successors for those who hold connections.
                _ => {}
            }
        }
    }

    /// Opens a connection for every slot.
    pub(crate) fn open_all(&mut self, now: Instant) {
        (0..self.slots.len()).for_each(|slot| self.open(now, slot));
    }

    pub(crate) fn handle_ready(
        &mut self,
        now: Instant,
        conn: ConnId,
        connection: MultiplexedConnection,
        opt_in: OptIn,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.connection = Some(connection);
        self.coordinator.handle_ready(now, conn, opt_in);
    }

    pub(crate) fn handle_dial_failed(
        &mut self,
        shared: &Shared,
        now: Instant,
        conn: ConnId,
        failure: DialFailure,
    ) {
        match failure {
            DialFailure::Error(error) => self.coordinator.handle_dial_failed(now, conn, error),
            DialFailure::LostAtOptIn => {
                self.coordinator.handle_lost_at_opt_in(now, conn, CloseCause::ByServer);
            }
        }
        self.obey(shared, now);
        // No directive follows if this was the dial of a move and the old connection serves: the coordinator dials again
        // under another id, or leaves the old connection where it is.
        self.end(conn, CloseCause::ByClient);
    }

    pub(crate) fn handle_closed(&mut self, shared: &Shared, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some(slot) = self.links.get(&conn).map(|link| link.slot) else { return };
        self.vacate(slot, conn);
        self.coordinator.handle_closed(now, conn, cause);
        // The link stays until `Lost` is obeyed, which asks for its slot.
        self.obey(shared, now);
        self.end(conn, cause);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.coordinator.handle_timeout(now);
        for slot in 0..self.slots.len() {
            if self.slots[slot].retry_at.take_if(|at| *at <= now).is_some() {
                self.open(now, slot);
            }
        }
    }

    /// `wanted`, if it serves, or else any connection: they take turns. If none serves, a place in the queue.
    pub(crate) fn lease<'a>(
        &mut self,
        shared: &'a Shared,
        wanted: Option<ConnId>,
    ) -> Result<Lease<'a>, oneshot::Receiver<ConnId>> {
        self.try_lease(shared, wanted).ok_or_else(|| {
            // Those in front were there first, and are the first to have given up.
            while self.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                self.waiting.pop_front();
            }
            let (waiting, served) = oneshot::channel();
            if !self.closing {
                self.waiting.push_back(waiting);
            }
            served
        })
    }

    fn try_lease<'a>(&mut self, shared: &'a Shared, wanted: Option<ConnId>) -> Option<Lease<'a>> {
        let serving: Vec<ConnId> = self.slots.iter().filter_map(|slot| slot.serving).collect();
        let next = *serving.get(self.turn.checked_rem(serving.len())?)?;
        self.turn = self.turn.wrapping_add(1);
        let conn = wanted.filter(|wanted| serving.contains(wanted)).unwrap_or(next);
        let link = self.links.get_mut(&conn)?;
        let connection = link.connection.clone()?;
        link.in_flight += 1;
        Some(Lease { shared, conn, connection, ended: Arc::clone(&link.ended) })
    }

    pub(crate) fn give_back(&mut self, shared: &Shared, now: Instant, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.in_flight -= 1;
        if link.ended.get().is_none() {
            self.slots[link.slot].reconnect.reset();
        }
        if self.closing {
            shared.changed.notify_waiters();
        }
        if link.in_flight > 0 {
            return;
        }
        if link.draining {
            self.coordinator.handle_drained(now, conn);
        } else if link.must_opt_in {
            self.opt_in_when_idle(shared, conn);
        }
    }

    /// Takes no more requests, and tells those who wait for a connection. True if that was so already.
    pub(crate) fn begin_closing(&mut self) -> bool {
        self.waiting.clear();
        std::mem::replace(&mut self.closing, true)
    }

    /// Ends every connection, and hands out the tasks that are to be waited for.
    pub(crate) fn close_all(&mut self, now: Instant) -> Vec<Task> {
        self.slots.iter_mut().for_each(|slot| *slot = Slot::default());
        let mut tasks = Vec::new();
        for (conn, link) in std::mem::take(&mut self.links) {
            self.coordinator.release(now, conn);
            // Empty until now, because the link was here.
            let _ = link.ended.set(CloseCause::ShutDown);
            tasks.extend(link.task);
        }
        tasks
    }

    pub(crate) fn serving(&self) -> usize {
        self.slots.iter().filter(|slot| slot.serving.is_some()).count()
    }

    pub(crate) fn parked(&self) -> usize {
        self.waiting.iter().filter(|waiting| !waiting.is_closed()).count()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.links.values().map(|link| link.in_flight).sum()
    }

    /// When the timekeeper is to call.
    pub(crate) fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    /// Sets the alarm. True if it is another one than before.
    pub(crate) fn take_new_alarm(&mut self) -> bool {
        let retries = self.slots.iter().filter_map(|slot| slot.retry_at);
        let next = self.coordinator.poll_timeout().into_iter().chain(retries).min();
        std::mem::replace(&mut self.alarm, next) != next
    }

    fn open(&mut self, now: Instant, slot: usize) {
        let conn = self.coordinator.open(now, Role::Shared);
        self.links.insert(conn, Link::new(slot));
    }

    fn dial(
        &mut self,
        shared: &Shared,
        now: Instant,
        conn: ConnId,
        address: Peer,
        probe: Probe,
        replaces: Option<ConnId>,
    ) {
        // A connection that was opened has a link; one that replaces another shares its slot. There is neither once the
        // pool has closed all of them.
        let known = self.links.get(&conn).or_else(|| self.links.get(&replaces?));
        let Some(slot) = known.map(|link| link.slot) else { return self.coordinator.release(now, conn) };
        let link = self.links.entry(conn).or_insert_with(|| Link::new(slot));
        link.task = Some(shared.spawn(|shared| dial::dial(shared, conn, address, probe)));
    }

    /// The server has come to support notifications: the connection asks for them after all, when it carries no request
    /// that would be lost if the link did not survive the question.
    fn opt_in_when_idle(&mut self, shared: &Shared, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.must_opt_in = link.in_flight > 0;
        if link.must_opt_in {
            return;
        }
        let peer = self.coordinator.peer(conn).cloned();
        let Some((peer, connection)) = peer.zip(link.connection.clone()) else { return };
        // It ends with the connection.
        shared.spawn_detached(|shared| dial::opt_in_again(shared, conn, peer, connection));
    }

    /// The one atomic switch: from now on the slot's requests go to `conn`.
    fn serve(&mut self, shared: &Shared, conn: ConnId) {
        let Some(link) = self.links.get(&conn) else { return };
        // The failures are forgotten when it has answered something.
        let reconnect = std::mem::take(&mut self.slots[link.slot].reconnect);
        self.slots[link.slot] = Slot { serving: Some(conn), reconnect, ..Slot::default() };
        for waiting in self.waiting.drain(..) {
            // Somebody who has given up needs none.
            let _ = waiting.send(conn);
        }
        shared.changed.notify_waiters();
    }

    fn drain(&mut self, now: Instant, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.draining = true;
        if link.in_flight == 0 {
            self.coordinator.handle_drained(now, conn);
        }
    }

    /// Stops dialling, or closes the connection: requests that it carries fail.
    fn end(&mut self, conn: ConnId, cause: CloseCause) {
        let Some(link) = self.links.remove(&conn) else { return };
        // Empty until now, because the link was here.
        let _ = link.ended.set(cause);
        self.vacate(link.slot, conn);
    }

    fn vacate(&mut self, slot: usize, conn: ConnId) {
        self.slots[slot].serving.take_if(|serving| *serving == conn);
    }

    /// A connection that served is gone. Where its successor is being dialled there is nothing to open: `CutOver` or `Failed`
    /// follows for that one.
    fn lost(&mut self, now: Instant, conn: ConnId, replacement: Replacement) {
        if let (Some(link), Replacement::Missing) = (self.links.get(&conn), replacement) {
            self.reopen(now, link.slot, Redial::AfterPause);
        }
    }

    fn open_failed(
        &mut self,
        shared: &Shared,
        now: Instant,
        conn: ConnId,
        error: ConnectError,
        redial: Redial,
    ) {
        let Some(slot) = self.links.get(&conn).map(|link| link.slot) else { return };
        self.end(conn, CloseCause::ByClient);
        self.slots[slot].failures += u32::from(redial != Redial::AtOnce);
        if redial == Redial::Hopeless || self.slots[slot].failures >= START_ATTEMPTS {
            // Matters only to those who wait for the pool to be opened.
            self.failed = Some(error);
            shared.changed.notify_waiters();
        }
        self.reopen(now, slot, redial);
    }

    /// Opens another connection for `slot`. The coordinator has said that nothing else will.
    fn reopen(&mut self, now: Instant, slot: usize, redial: Redial) {
        if self.closing {
            return;
        }
        let empty = &mut self.slots[slot];
        let pause = match redial {
            Redial::AtOnce => return self.open(now, slot),
            Redial::AfterPause => empty.reconnect.next(&mut self.rng),
            Redial::Hopeless => empty.reconnect.next_hopeless(&mut self.rng),
        };
        empty.retry_at = Some(now + pause);
    }
}

impl Link {
    fn new(slot: usize) -> Self {
        Self {
            slot,
            task: None,
            connection: None,
            in_flight: 0,
            draining: false,
            must_opt_in: false,
            ended: Arc::default(),
        }
    }
}
