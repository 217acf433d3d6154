//! What a plan does to the network and the server.

use std::time::{Duration, Instant};

use hitless_core::driver::Runtime as _;

use super::super::edges;
use super::super::plan::{Maintenance, MoveStep, NAME, Told, Where};
use super::adapter::{REFUSES, SWALLOWS};
use super::{Fault, FaultKind, Network, SocketId, State, Waker, What, up_to};
use crate::server::{
    CloseHow, Closes, Condition, EndpointId, Fault as ServerFault, Hello, Moving, Notice, OptIn, Recipients,
    Retires, Rule, ServerConn, ServerMachine, Target, push_frame,
};

/// The state of the data that a fault brings.
fn condition(kind: FaultKind) -> Condition {
    match kind {
        FaultKind::Demotion => Condition::ReadOnly,
        FaultKind::Loading => Condition::Loading,
        FaultKind::Pause => Condition::Paused,
        _ => Condition::MasterDown,
    }
}

/// Slots that migrate, if any do.
const SLOTS: &str = "0-99,7000";

impl Network {
    /// A fault strikes, or begins.
    pub(in crate::sim) fn begin(&self, fault: Fault) {
        self.trace.note(What::Fault(fault));
        let now = self.executor.now();
        let mut state = self.state();
        if fault.kind.lasts() {
            state.active.push(fault);
        }
        if fault.kind.stays() {
            state.lasting.push(fault);
        }
        state.strike(now, fault);
        state.drain_server(now);
        if let Some(socket) = state.silenced.take() {
            self.trace.note(What::Silenced(socket));
        }
        if let Some(endpoint) = state.struck.take() {
            self.trace.note(What::Struck(endpoint));
        }
    }

    /// A fault that lasts is over.
    pub(in crate::sim) fn end(&self, fault: Fault) {
        self.trace.note(What::Healed(fault));
        let now = self.executor.now();
        let mut state = self.state();
        if let Some(at) = state.active.iter().position(|active| *active == fault) {
            state.active.remove(at);
        }
        state.heal(now, fault);
        state.drain_server(now);
        let wakers = state.writers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// From now on there is no fault but those that stay: every other endpoint serves, every name leads to those.
    pub(crate) fn calm(&self) {
        self.trace.note(What::Calm);
        let now = self.executor.now();
        let mut state = self.state();
        let active = std::mem::take(&mut state.active);
        active.into_iter().for_each(|fault| state.heal(now, fault));
        state.server.clear_rules();
        state.server.forget_maintenance();
        let endpoints = state.server.endpoints();
        for endpoint in &endpoints {
            state.server.restore(*endpoint);
        }
        let serving: Vec<EndpointId> = endpoints.into_iter().filter(|id| !state.is_demoted(*id)).collect();
        state.name(&serving);
        for fault in state.lasting.clone() {
            state.strike(now, fault);
        }
        state.drain_server(now);
        let wakers = state.writers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.calm_cluster();
    }

    /// When [`calm`](Self::calm) will be called: until then frozen connections stay frozen.
    pub(crate) fn set_calm_at(&self, at: Instant) {
        self.state().calm_at = Some(at);
    }

    /// A step of maintenance.
    pub(in crate::sim) fn maintain(&self, step: &Maintenance) {
        self.trace.note(What::Maintenance(step.clone()));
        let now = self.executor.now();
        let mut state = self.state();
        state.maintain(now, step);
        state.drain_server(now);
    }

    /// How long the executor does something else now.
    pub(crate) fn hiccup(&self) -> Duration {
        let mut state = self.state();
        if !state.is_active(FaultKind::Hiccups, None) || state.rng.below(32) > 0 {
            return Duration::ZERO;
        }
        let longest = state.delay_of(FaultKind::Hiccups);
        up_to(&mut state.rng, longest / 8)
    }
}

impl State {
    fn strike(&mut self, now: Instant, fault: Fault) {
        let endpoints: Vec<EndpointId> = match fault.endpoint {
            Some(endpoint) => vec![endpoint],
            None => self.server.endpoints(),
        };
        for endpoint in endpoints {
            match fault.kind {
                FaultKind::RefusedDials => self.server.refuse_dials(now, endpoint, Some(now + fault.lasts)),
                FaultKind::UnansweredDials => self.server.black_hole(now, endpoint, Some(now + fault.lasts)),
                FaultKind::SlowServer => {
                    self.server.set_reply_delay(endpoint, fault.delay, Some(now + fault.lasts));
                }
                FaultKind::OptInLoading => self.server.set_opt_in(endpoint, OptIn::Loading),
                FaultKind::OptInRefused => self.server.set_opt_in(endpoint, OptIn::UnknownSubcommand),
                FaultKind::OptInClosesLink => {
                    self.server.set_opt_in(endpoint, OptIn::ClosesLink(CloseHow::Fin));
                }
                FaultKind::HelloUnknown => self.server.set_hello(endpoint, Hello::Unknown),
                FaultKind::ShortLives => {
                    let life = Duration::from_millis(1) + fault.delay / 100;
                    self.server.close_after(endpoint, life, Some(now + fault.lasts));
                }
                FaultKind::Attributes => self.server.add_attributes(endpoint, None),
                // Nothing waits at a node that refuses it.
                FaultKind::Pause if self.is_demoted(endpoint) => {}
                FaultKind::Demotion | FaultKind::Loading | FaultKind::MasterLost | FaultKind::Pause => {
                    self.server.set_condition(now, endpoint, condition(fault.kind));
                }
                _ => {}
            }
        }
        self.strike_rules(now, fault);
        match fault.kind {
            FaultKind::AddressRefuses => self.dead_address = Some(REFUSES.into()),
            FaultKind::AddressSwallows => self.dead_address = Some(SWALLOWS.into()),
            _ => {}
        }
        if !fault.kind.lasts() && !fault.kind.stays() {
            self.strike_connection(now, fault);
        }
    }

    /// Adds the rules by which a server does this to requests.
    fn strike_rules(&mut self, now: Instant, fault: Fault) {
        let rule = match fault.kind {
            FaultKind::CloseUnexecuted => Some(ServerFault::CloseUnexecuted(self.some_way())),
            FaultKind::CloseUnanswered => Some(ServerFault::CloseUnanswered(self.some_way())),
            FaultKind::CloseAnswered => Some(ServerFault::CloseAnswered(self.some_way())),
            _ => None,
        };
        if let Some(rule) = rule {
            let word = ["INCR", "SET", "GET", "ECHO", "EXEC", "MULTI"][self.below(6)];
            self.server.add_rule(Rule::new(rule).on(word));
        }
        if matches!(fault.kind, FaultKind::Poison | FaultKind::EdgeReplies) {
            edges::rules().into_iter().for_each(|rule| self.server.add_rule(rule));
        }
        let (hello, client) = ("HELLO", "CLIENT");
        match fault.kind {
            FaultKind::HelloRefused => self.turn_away(fault, hello, Some(now), false),
            FaultKind::HelloClosesLink => self.turn_away(fault, hello, Some(now), true),
            FaultKind::ClientRefused => self.turn_away(fault, client, Some(now), false),
            FaultKind::ClientClosesLink => self.turn_away(fault, client, Some(now), true),
            FaultKind::SetInfoClosesLink => self.turn_away(fault, "CLIENT SETINFO", Some(now), true),
            FaultKind::PlainProxy => {
                // The same each time that it is struck.
                let (hello_closes, client_closes) = (
                    fault.delay.subsec_nanos().is_multiple_of(2),
                    fault.lasts.subsec_nanos().is_multiple_of(2),
                );
                self.turn_away(fault, hello, None, hello_closes);
                self.turn_away(fault, client, None, client_closes);
            }
            _ => {}
        }
    }

    /// A command is refused or ends the link, if `now` is given for a time.
    fn turn_away(&mut self, fault: Fault, command: &str, now: Option<Instant>, closes: bool) {
        let does = if closes {
            ServerFault::CloseUnexecuted(self.some_way())
        } else {
            let mut refusals = edges::refusals(command == "HELLO");
            ServerFault::Refuse(refusals.swap_remove(self.below(refusals.len())))
        };
        let mut rule = Rule::new(does).on(command).always();
        if let Some(endpoint) = fault.endpoint.filter(|_| now.is_some()) {
            rule = rule.at(endpoint);
        }
        if let Some(now) = now {
            rule = rule.until(now + fault.lasts);
        }
        self.server.add_rule(rule);
    }

    /// Whether an endpoint refuses writes to the end.
    fn is_demoted(&self, endpoint: EndpointId) -> bool {
        let demotes = |fault: &Fault| fault.kind == FaultKind::Demotion && fault.endpoint == Some(endpoint);
        self.lasting.iter().any(demotes)
    }

    /// What strikes one connection.
    fn strike_connection(&mut self, now: Instant, fault: Fault) {
        let Some((socket, conn)) = self.some_connection(fault.endpoint) else { return };
        self.struck = self.server.endpoint_of(conn);
        match fault.kind {
            FaultKind::Stall => self.stall(now + fault.delay, socket, true),
            FaultKind::Freeze => {
                self.stall(self.calm_at.unwrap_or(now), socket, false);
                self.silenced = Some(socket);
            }
            FaultKind::HalfClose => {
                let at = now + self.hop(socket);
                self.send_to_client(at, socket, super::Parcel::End(socket, None));
                if let Some(link) = self.links.get_mut(&socket) {
                    link.half_closed = true;
                }
            }
            FaultKind::LastWords => {
                self.speak_and_close(now, conn);
                let at = now + up_to(&mut self.rng, 2 * super::LONGEST_HOP + fault.delay / 8);
                self.hold(at, |parcel| parcel.is_to_client(socket));
            }
            FaultKind::Reset => self.reset_both(now, socket),
            FaultKind::Close => {
                let how = self.some_way();
                self.server.kill(now, conn, how);
            }
            FaultKind::Garbage => self.server.push_bytes(now, conn, b"?what is this\r\n"),
            FaultKind::UnknownPush => self.server.push(now, conn, &[push_frame(&["invalidate", "key"])]),
            FaultKind::MalformedPush => self.server.push(now, conn, &[push_frame(&["MOVING", "x"])]),
            _ => {}
        }
    }

    /// An announcement for one connection, and its end.
    fn speak_and_close(&mut self, now: Instant, conn: ServerConn) {
        let told = || Recipients::Only(vec![conn]);
        let time = Duration::from_secs(1 + self.rng.below(3));
        match (self.below(3), self.server.endpoint_of(conn)) {
            (0, Some(source)) => {
                let endpoints = self.server.endpoints();
                let target = Target::Endpoint(endpoints[self.below(endpoints.len())]);
                let moving = Moving::new(target, time).closing(Closes::Nobody).retiring(Retires::Never);
                self.server.moving(now, source, moving.told_to(told()));
            }
            (1, _) => drop(self.server.migrating(now, Notice::new(time).told_to(told()))),
            _ => drop(self.server.failing_over(now, Notice::new(time).told_to(told()))),
        }
        self.server.kill(now, conn, CloseHow::Fin);
        self.drain_server(now);
    }

    fn heal(&mut self, now: Instant, fault: Fault) {
        let endpoints: Vec<EndpointId> = match fault.endpoint {
            Some(endpoint) => vec![endpoint],
            None => self.server.endpoints(),
        };
        for endpoint in endpoints {
            match fault.kind {
                FaultKind::OptInLoading | FaultKind::OptInRefused | FaultKind::OptInClosesLink => {
                    self.server.set_opt_in(endpoint, OptIn::Supported);
                }
                FaultKind::HelloUnknown => self.server.set_hello(endpoint, Hello::Supported),
                FaultKind::Loading | FaultKind::MasterLost | FaultKind::Pause => {
                    let demoted = self.is_demoted(endpoint);
                    let condition = if demoted { Condition::ReadOnly } else { Condition::Serving };
                    self.server.set_condition(now, endpoint, condition);
                }
                _ => {}
            }
        }
    }

    /// Nothing arrives at the client before `until`, nor at the server if `both`.
    fn stall(&mut self, until: Instant, socket: SocketId, both: bool) {
        let until = self.calm_at.map_or(until, |calm_at| until.min(calm_at));
        self.hold(until, |parcel| parcel.is_to_client(socket) || (both && parcel.is_to_server(socket)));
        if let Some(link) = self.links.get_mut(&socket) {
            link.to_client = link.to_client.max(until);
            if both {
                link.to_server = link.to_server.max(until);
            }
        }
    }

    fn maintain(&mut self, now: Instant, step: &Maintenance) {
        match step {
            Maintenance::Moving(moving) => {
                self.server.restore(moving.lands);
                let seq = self.announce(now, moving, None);
                self.last_move = Some((moving.clone(), seq));
            }
            Maintenance::Repeated => self.repeat(now, 0),
            Maintenance::Stale => self.repeat(now, 1),
            Maintenance::Migrating(time) => drop(self.server.migrating(now, Notice::new(*time))),
            Maintenance::Migrated => drop(self.server.migrated(now, Notice::default())),
            Maintenance::FailingOver(time) => drop(self.server.failing_over(now, Notice::new(*time))),
            Maintenance::FailedOver => drop(self.server.failed_over(now, Notice::default())),
            Maintenance::SlotsMigrating(time) => {
                self.server.slots_migrating(now, Notice::of_slots(SLOTS, *time));
            }
            Maintenance::SlotsMigrated(from, to) => {
                self.server.slots_migrated(now, *from, *to, Notice::of_slots(SLOTS, Duration::ZERO));
            }
            Maintenance::Names(endpoints) => self.name(endpoints),
        }
    }

    fn announce(&mut self, now: Instant, moving: &MoveStep, seq: Option<u64>) -> u64 {
        let target = match moving.to {
            Where::Endpoint(endpoint) => Target::Endpoint(endpoint),
            Where::Nowhere => Target::Null,
            Where::Absent => Target::Absent,
            Where::Dead => Target::Address("10.99.0.1:7000".to_owned()),
        };
        let mut announced = Moving::new(target, moving.time)
            .closing(moving.closes)
            .retiring(moving.retires)
            .closing_late_by(moving.late)
            .closing_by(moving.how);
        // A repeated announcement ends when the first one does, so connections that are opened later do not hear of it.
        let told = match (moving.told, seq) {
            (Told::Some, _) => self.some_recipients(moving.source),
            (Told::All, Some(_)) | (Told::Present, _) => {
                Recipients::Only(self.server.connections(moving.source))
            }
            (Told::All, None) => Recipients::All,
        };
        announced = announced.told_to(told);
        if let Some(seq) = seq {
            announced = announced.with_seq(seq);
        }
        self.server.moving(now, moving.source, announced)
    }

    /// Announces the last move once more, or one that is older by so much. Nothing is closed for that.
    fn repeat(&mut self, now: Instant, older: u64) {
        let Some((last, seq)) = self.last_move.clone() else { return };
        let again = MoveStep { closes: Closes::Nobody, retires: Retires::Never, ..last };
        self.announce(now, &again, Some(seq.saturating_sub(older)));
    }

    /// What the name leads to from now on.
    pub(crate) fn name(&mut self, endpoints: &[EndpointId]) {
        let addresses = endpoints.iter().map(|endpoint| self.server.address(*endpoint).ip()).collect();
        if let Some(before) = self.names.insert(NAME.to_owned(), addresses) {
            self.former_names.insert(NAME.to_owned(), before);
        }
    }

    fn some_recipients(&mut self, source: EndpointId) -> Recipients {
        let mut told = self.server.connections(source);
        told.retain(|_| self.rng.below(2) == 0);
        Recipients::Only(told)
    }

    /// A connection that is up at both ends.
    fn some_connection(&mut self, endpoint: Option<EndpointId>) -> Option<(SocketId, ServerConn)> {
        let up: Vec<(SocketId, ServerConn)> = self
            .links
            .iter()
            .filter(|(_, link)| !link.dropped && (endpoint.is_none() || link.endpoint == endpoint))
            .filter_map(|(socket, link)| Some((*socket, link.server?)))
            .collect();
        if up.is_empty() {
            // Better to strike elsewhere than not at all.
            return endpoint.and_then(|_| self.some_connection(None));
        }
        let at = self.below(up.len());
        Some(up[at])
    }

    fn some_way(&mut self) -> CloseHow {
        if self.rng.below(2) == 0 { CloseHow::Fin } else { CloseHow::Reset }
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.below(count as u64)).unwrap_or(0)
    }

    /// Those who wait for a socket to take bytes.
    fn writers(&mut self) -> Vec<Waker> {
        self.links.values_mut().filter_map(|link| link.writer.take()).collect()
    }
}
