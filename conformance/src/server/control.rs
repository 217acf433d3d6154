//! What a test does to a server: maintenance, faults, slow and dead endpoints.

use std::time::{Duration, Instant};

use bytes::Bytes;
use resp3_codec::Frame;

use super::backend::{Backend, Condition};
use super::connection::Spell;
use super::faults::Rule;
use super::ledger::Event;
use super::machine::{CloseHow, EndpointId, ServerConn, ServerMachine};
use super::maintenance::{
    Closes, Completion, LiveMove, Moving, Notice, OpenOperation, Operation, Retires, SlotsForm,
    completion_frame, moving_frame, opener_frame, seconds_left, slots_migrated_frame,
};
use super::{Hello, OptIn, Server, Timer};

/// Maintenance.
impl<B: Backend> Server<B> {
    /// Announces that the clients of `source` are to go elsewhere, and closes what is left when the time is over.
    /// Returns the id of the notification.
    pub fn moving(&mut self, now: Instant, source: EndpointId, moving: Moving) -> u64 {
        let seq = self.maintenance.claim_seq(moving.seq);
        let until = now + moving.time;
        let live = LiveMove {
            id: self.maintenance.claim_move(),
            source,
            seq,
            until,
            close_at: until + moving.close_delay,
            moving,
        };
        for conn in self.connections(source) {
            if live.moving.to.include(source, conn) {
                let target = self.target_frame(conn, &live.moving.target);
                self.notify(now, conn, "MOVING", seq, &moving_frame(seq, seconds_left(now, until), target));
            }
        }
        match live.moving.retires {
            Retires::AtOnce => self.refuse_dials(now, source, None),
            Retires::After(time) => {
                self.timers.insert((now + time, Timer::Retire(live.id)));
            }
            Retires::AtClose | Retires::Never => {}
        }
        self.timers.insert((live.close_at, Timer::CloseMove(live.id)));
        self.maintenance.moves.push(live);
        seq
    }

    /// Announces `MIGRATING` to the whole database. Returns its id.
    pub fn migrating(&mut self, now: Instant, notice: Notice) -> u64 {
        self.begin(now, Operation::Migration, notice)
    }

    /// Completes a migration with `MIGRATED`. Returns its id.
    pub fn migrated(&mut self, now: Instant, notice: Notice) -> u64 {
        self.finish(now, Operation::Migration, notice)
    }

    /// Announces `FAILING_OVER` to the whole database. Returns its id.
    pub fn failing_over(&mut self, now: Instant, notice: Notice) -> u64 {
        self.begin(now, Operation::Failover, notice)
    }

    /// Completes a failover with `FAILED_OVER`. Returns its id.
    pub fn failed_over(&mut self, now: Instant, notice: Notice) -> u64 {
        self.finish(now, Operation::Failover, notice)
    }

    /// Announces `SMIGRATING` to the whole database, or to the clients of one node if the notice says so. Returns its id.
    pub fn slots_migrating(&mut self, now: Instant, notice: Notice) -> u64 {
        self.begin(now, Operation::SlotMigration, notice)
    }

    /// Tells every connection with `SMIGRATED` that slots have gone from one endpoint to another, as nodes do that are not
    /// concerned as well. Newcomers are not told. Returns its id.
    pub fn slots_migrated(&mut self, now: Instant, from: EndpointId, to: EndpointId, notice: Notice) -> u64 {
        let [source, target] = [from, to].map(|endpoint| self.address(endpoint).to_string());
        let slots = notice.parts.clone().unwrap_or_default();
        self.slots_migrated_in(now, SlotsForm::Triplets, &[[source, target, slots]], notice)
    }

    /// The same for several moves, each of which is source, target and slots as they stand in the frame, in another form of it. The
    /// slots of the notice are not told. Returns its id.
    pub fn slots_migrated_in(
        &mut self,
        now: Instant,
        form: SlotsForm,
        moves: &[[String; 3]],
        notice: Notice,
    ) -> u64 {
        let seq = self.maintenance.claim_seq(notice.seq);
        let frame = slots_migrated_frame(seq, form, moves);
        self.notify_database(now, Operation::SlotMigration.completion(), seq, &notice, &frame);
        self.maintenance.open.retain(|open| open.operation != Operation::SlotMigration);
        seq
    }

    /// Forgets moves and operations under way: nothing is closed and nobody is told any more.
    pub fn forget_maintenance(&mut self) {
        self.maintenance.moves.clear();
        self.maintenance.open.clear();
        self.maintenance.completion = None;
    }

    fn begin(&mut self, now: Instant, operation: Operation, notice: Notice) -> u64 {
        let seq = self.maintenance.claim_seq(notice.seq);
        let until = now + notice.time;
        let frame = opener_frame(operation, seq, seconds_left(now, until), &notice);
        self.notify_database(now, operation.opener(), seq, &notice, &frame);
        self.maintenance.open.push(OpenOperation { operation, seq, until, notice });
        seq
    }

    fn finish(&mut self, now: Instant, operation: Operation, notice: Notice) -> u64 {
        let seq = self.maintenance.claim_seq(notice.seq);
        let frame = completion_frame(operation, seq, &notice);
        self.notify_database(now, operation.completion(), seq, &notice, &frame);
        self.maintenance.open.retain(|open| open.operation != operation);
        self.maintenance.completion = Some(Completion { operation, seq, notice });
        seq
    }

    fn notify_database(
        &mut self,
        now: Instant,
        name: &'static str,
        seq: u64,
        notice: &Notice,
        frame: &Frame,
    ) {
        let all = self.connections.iter();
        let told = all.filter(|(conn, connection)| notice.to.include(connection.endpoint, **conn));
        let told: Vec<ServerConn> = told.map(|(conn, _)| *conn).collect();
        for conn in told {
            self.notify(now, conn, name, seq, frame);
        }
    }

    /// Writes a notification to a connection that opted in; it overtakes replies that are late.
    fn notify(&mut self, now: Instant, conn: ServerConn, name: &'static str, seq: u64, frame: &Frame) {
        if !self.is_opted_in(conn) {
            return;
        }
        if let Some(endpoint) = self.endpoint_of(conn) {
            self.ledger.add(now, endpoint, Some(conn), Event::Notified { name, seq });
            let frame = self.adorned(now, conn, frame);
            self.write_urgent(now, conn, |buf| frame.encode(buf));
        }
    }

    /// The source of a move refuses dials before its connections are closed.
    pub(super) fn on_retired(&mut self, now: Instant, id: u64) {
        let source = self.maintenance.moves.iter().find(|live| live.id == id).map(|live| live.source);
        if let Some(source) = source {
            self.refuse_dials(now, source, None);
        }
    }

    /// The time of a move is over.
    pub(super) fn on_move_over(&mut self, now: Instant, id: u64) {
        let Some(at) = self.maintenance.moves.iter().position(|live| live.id == id) else { return };
        let live = self.maintenance.moves.remove(at);
        if live.moving.retires == Retires::AtClose {
            self.refuse_dials(now, live.source, None);
        }
        for conn in self.connections(live.source) {
            let closes = match live.moving.closes {
                Closes::Everyone => true,
                Closes::Recipients => live.moving.to.include(live.source, conn),
                Closes::Nobody => false,
            };
            if closes {
                self.cut(now, conn, live.moving.how);
            }
        }
        self.settle(now);
    }
}

/// Faults.
impl<B: Backend> Server<B> {
    /// Sends frames to a connection at once, opted in or not.
    pub fn push(&mut self, now: Instant, conn: ServerConn, frames: &[Frame]) {
        self.write_urgent(now, conn, |buf| frames.iter().for_each(|frame| frame.encode(buf)));
    }

    /// Sends bytes to a connection at once: half a frame, or none at all. The next bytes complete it.
    pub fn push_bytes(&mut self, now: Instant, conn: ServerConn, bytes: &[u8]) {
        self.write_urgent(now, conn, |buf| buf.extend_from_slice(bytes));
    }

    /// Adds a rule: what happens to certain requests.
    pub fn add_rule(&mut self, rule: Rule) {
        self.rules.add(rule);
    }

    /// Drops all rules.
    pub fn clear_rules(&mut self) {
        self.rules.clear();
    }

    /// Ends a connection. Replies that are late are lost with it.
    pub fn kill(&mut self, now: Instant, conn: ServerConn, how: CloseHow) {
        self.cut(now, conn, how);
        self.settle(now);
    }

    /// Ends every connection of an endpoint.
    pub fn kill_all(&mut self, now: Instant, endpoint: EndpointId, how: CloseHow) {
        for conn in self.connections(endpoint) {
            self.kill(now, conn, how);
        }
    }

    /// Sends nothing to a connection until then; what it asks is executed.
    pub fn stall(&mut self, now: Instant, conn: ServerConn, until: Instant) {
        if let Some(connection) = self.connections.get_mut(&conn).filter(|_| until > now) {
            connection.held_until = Some(until);
            connection.outbox.hold(until);
            self.arm(conn);
        }
    }

    /// Refuses dials of an endpoint until then, or until [`restore`](Self::restore).
    pub fn refuse_dials(&mut self, now: Instant, endpoint: EndpointId, until: Option<Instant>) {
        self.endpoints[endpoint.index()].refusing = Spell::begin(until);
        self.arm_listening(now, endpoint, until);
    }

    /// Leaves dials of an endpoint unanswered until then, or until [`restore`](Self::restore).
    pub fn black_hole(&mut self, now: Instant, endpoint: EndpointId, until: Option<Instant>) {
        self.endpoints[endpoint.index()].black_hole = Spell::begin(until);
        self.arm_listening(now, endpoint, until);
    }

    /// Closes connections of an endpoint this long after they were accepted, as a proxy does that has nothing behind it: those
    /// that are accepted until then, or until [`restore`](Self::restore).
    pub fn close_after(&mut self, endpoint: EndpointId, life: Duration, until: Option<Instant>) {
        self.endpoints[endpoint.index()].lives = (life, Spell::begin(until));
    }

    /// Puts attributes in front of everything that an endpoint sends in RESP3, and inside of arrays and pushes, until then or
    /// until [`restore`](Self::restore).
    pub fn add_attributes(&mut self, endpoint: EndpointId, until: Option<Instant>) {
        self.endpoints[endpoint.index()].adorns = Spell::begin(until);
    }

    /// Makes an endpoint answer dials again, at its usual pace and in its usual way.
    pub fn restore(&mut self, endpoint: EndpointId) {
        let endpoint = &mut self.endpoints[endpoint.index()];
        endpoint.refusing = Spell::Over;
        endpoint.black_hole = Spell::Over;
        endpoint.slow = (Duration::ZERO, Spell::Over);
        endpoint.lives = (Duration::ZERO, Spell::Over);
        endpoint.adorns = Spell::Over;
    }

    /// Answers requests at an endpoint late by `delay` until then, or until [`restore`](Self::restore).
    pub fn set_reply_delay(&mut self, endpoint: EndpointId, delay: Duration, until: Option<Instant>) {
        self.endpoints[endpoint.index()].slow = (delay, Spell::begin(until));
    }

    /// Changes what an endpoint does with the opt-in from now on.
    pub fn set_opt_in(&mut self, endpoint: EndpointId, opt_in: OptIn) {
        self.endpoints[endpoint.index()].spec.opt_in = opt_in;
    }

    /// Changes what an endpoint does with `HELLO` from now on.
    pub fn set_hello(&mut self, endpoint: EndpointId, hello: Hello) {
        self.endpoints[endpoint.index()].spec.hello = hello;
    }

    /// Changes the state of the data behind an endpoint.
    pub fn set_condition(&mut self, now: Instant, endpoint: EndpointId, condition: Condition) {
        self.backend.set_condition(now, endpoint, condition, &mut self.effects);
        self.settle(now);
    }

    fn arm_listening(&mut self, now: Instant, endpoint: EndpointId, until: Option<Instant>) {
        if let Some(at) = until.filter(|at| *at > now) {
            self.timers.insert((at, Timer::Listen(endpoint)));
        }
    }

    /// Closes without waiting for what is late.
    fn cut(&mut self, now: Instant, conn: ServerConn, how: CloseHow) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.outbox.drop_delayed();
        }
        self.close(now, conn, how);
    }
}

/// The push frame of these words: the first is its name, numbers are integers.
///
/// ```
/// # use hitless_conformance::server::push_frame;
/// # use resp3_codec::Frame;
/// let frame = push_frame(&["MOVING", "7", "15", "10.0.0.2:6379"]);
/// assert!(matches!(&frame, Frame::Push(words) if words[1] == Frame::Integer(7)));
/// ```
#[must_use]
pub fn push_frame(words: &[&str]) -> Frame {
    let element = |word: &&str| match word.parse() {
        Ok(number) => Frame::Integer(number),
        Err(_) => Frame::Bulk(Bytes::from((*word).to_owned())),
    };
    Frame::Push(words.iter().map(element).collect())
}
