//! The whole client, its servers and its callers.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless_core::Frame;
use hitless_core::client::{Action, Client, Stats};
use hitless_core::config::Config;
use hitless_core::event::Event;
use hitless_core::ids::LeaseId;

use super::fact::Fact;
use super::happening::PAUSE;
use super::scope::{Budget, Scope};
use super::search::{Model, PATIENCE, Violation};
use super::world::{FAR, Holding, OPT_IN, Retired, Socket, Stage, World};

/// The jitter after each fact, the same in every state.
pub(super) const SEED: u64 = 1;

/// A client, and the small world around it.
#[derive(Clone)]
pub(super) struct ClientModel {
    pub(super) scope: Arc<Scope>,
    config: Arc<Config>,
    pub(super) client: Client,
    epoch: Instant,
    pub(super) now: Instant,
    pub(super) budget: Budget,
    pub(super) world: World,
    /// Requests so far: each has a number.
    pub(super) sent: u8,
    pub(super) is_started: bool,
    /// Neither was the client shut down nor has its start failed.
    pub(super) takes_requests: bool,
    pub(super) is_terminated: bool,
    /// What happens, if somebody wants to read it.
    trace: Option<String>,
}

impl ClientModel {
    /// The client of `scope`, at the beginning of the exploration.
    pub(super) fn new(scope: &Arc<Scope>, epoch: Instant) -> Result<Self, Violation> {
        let config = scope.config();
        let mut model = Self {
            client: Client::new(epoch, Arc::clone(&config), SEED),
            config,
            scope: Arc::clone(scope),
            epoch,
            now: epoch,
            budget: scope.budget,
            world: World::default(),
            sent: 0,
            is_started: false,
            takes_requests: true,
            is_terminated: false,
            trace: None,
        };
        model.obey()?;
        while scope.is_open && !model.is_started {
            if model.elapsed() > PATIENCE {
                return Violation::of("the pool does not open");
            }
            model.step(model.kind_fact(0).unwrap_or(Fact::TimePasses))?;
        }
        model.admit_consumers()?;
        Ok(model)
    }

    /// What a kind world does next, until there is nothing left for it to do at this instant. The name has the nth of its
    /// answers.
    pub(super) fn kind_fact(&self, nth: usize) -> Option<Fact> {
        let fact = self.world.sockets.iter().find_map(|socket| {
            let conn = socket.conn;
            Some(match socket.stage {
                Stage::Resolving => Fact::Resolved(conn, nth as u8),
                Stage::Dialing if self.scope.is_dead(socket.peer.as_ref()) => return None,
                Stage::Dialing => Fact::Connected(conn),
                Stage::Greeting => Fact::Greeted(conn),
                Stage::Settling => Fact::Settled(conn),
                Stage::Serving if !socket.written.is_empty() => Fact::Replied(conn),
                Stage::Serving if socket.station.is_to_serve() => Fact::Served(conn),
                Stage::Serving if !socket.station.outbox.is_empty() => Fact::Replied(conn),
                Stage::Serving if socket.ending => Fact::Closed(conn),
                Stage::Serving if socket.flush => Fact::Written(conn),
                Stage::Serving => return None,
            })
        });
        // Whoever has a lease returns it.
        let holders = &self.world.holders;
        let done = || holders.iter().position(|holder| holder.stage != Holding::Waits);
        fact.or_else(|| done().map(|nth| Fact::Return(nth as u8)))
    }

    /// The answer by which the name leads to all servers.
    pub(super) fn last_answer(&self) -> usize {
        self.scope.answers.len() - 1
    }

    /// How much time has passed since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.epoch
    }

    pub(super) fn stats(&self) -> Stats {
        self.client.stats()
    }

    pub(super) fn note(&mut self, line: fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            // Writing to a string does not fail.
            let _ = writeln!(trace, "{line}");
        }
    }

    fn facts_of(&self, socket: &Socket, facts: &mut Vec<Fact>) {
        let conn = socket.conn;
        let fails = self.budget.faults > 0;
        match socket.stage {
            Stage::Resolving => {
                facts.extend((0..self.scope.answers.len()).map(|nth| Fact::Resolved(conn, nth as u8)));
                facts.extend(fails.then_some(Fact::ResolveFailed(conn)));
            }
            Stage::Dialing => {
                facts.extend((!self.scope.is_dead(socket.peer.as_ref())).then_some(Fact::Connected(conn)));
                facts.extend(fails.then_some(Fact::Refused(conn)));
            }
            Stage::Greeting => {
                facts.push(Fact::Greeted(conn));
                if fails {
                    facts.extend([Fact::Loading(conn), Fact::Closed(conn)]);
                    facts.extend(socket.asks.then_some(Fact::OptInRefused(conn)));
                }
            }
            Stage::Settling => {
                facts.push(Fact::Settled(conn));
                facts.extend(fails.then_some(Fact::Closed(conn)));
            }
            Stage::Serving => self.facts_of_serving(socket, facts),
        }
        if socket.notified && self.budget.pushes > 0 {
            facts.extend((0..self.scope.pushes.len()).map(|nth| Fact::Push(conn, nth as u8)));
        }
    }

    fn facts_of_serving(&self, socket: &Socket, facts: &mut Vec<Fact>) {
        let conn = socket.conn;
        if socket.flush && !socket.ending {
            facts.push(Fact::Written(conn));
        }
        if !socket.written.is_empty() {
            facts.push(Fact::Replied(conn));
            let may_refuse = self.budget.refusals > 0 && socket.written[0] != OPT_IN;
            facts.extend(may_refuse.then_some(Fact::RepliedReadOnly(conn)));
        }
        self.facts_of_station(socket, facts);
        if socket.ending || self.budget.closes > 0 {
            facts.push(Fact::Closed(conn));
        }
        if !socket.ending && self.budget.closes > 0 && self.budget.endings > 0 {
            facts.push(Fact::Ending(conn));
        }
    }

    fn obey(&mut self) -> Result<(), Violation> {
        while let Some(action) = self.client.poll_action() {
            self.note_action(&action);
            if self.is_terminated {
                return Violation::of(format!("INV-15: after the end: {action:?}"));
            }
            match action {
                Action::Resolve { conn, host: _ } => drop(self.world.begin(conn, Stage::Resolving)),
                Action::Connect { conn, target, until: _ } => {
                    self.world.begin(conn, Stage::Dialing).peer = Some(target.address);
                }
                Action::Flush { conn } => {
                    if let Some(socket) = self.world.socket_mut(conn) {
                        socket.flush = true;
                        socket.station.busy_since.get_or_insert(self.now);
                        if socket.stage == Stage::Greeting {
                            self.write(conn)?;
                        }
                    }
                }
                Action::Close { conn, cause: _ } => {
                    let Some(socket) = self.world.remove(conn) else {
                        return Violation::of(format!(
                            "INV-15: {conn} is closed, and there is no such connection"
                        ));
                    };
                    self.leave(&socket)?;
                }
                Action::Complete { request, outcome } if self.world.consumers.has(request) => {
                    self.judge_call(request, &outcome)?;
                }
                Action::Complete { request, outcome } => self.judge(request, &outcome)?,
                Action::Orphaned(orphan) => self.judge_orphan(&orphan.reply)?,
                Action::Subscribed { outcome, .. } => self.judge_subscribed(outcome.is_ok())?,
                Action::Deliver { item, .. } => self.judge_item(&item)?,
                Action::Leased { lease, outcome } => self.lent(lease, outcome.is_ok())?,
                Action::LeaseLost { lease, cause: _ } => {
                    let mut holders = self.world.holders.iter_mut();
                    holders.find(|it| it.lease == lease).into_iter().for_each(|it| it.stage = Holding::Lost);
                }
                // Drivers save memory by this.
                Action::LeaseMoving { .. } | Action::Rest { .. } => {}
                Action::Started(_) if self.is_started => return Violation::of("the start was told twice"),
                Action::Started(result) => {
                    self.is_started = true;
                    self.takes_requests &= result.is_ok();
                }
                Action::Terminated => self.is_terminated = true,
                Action::Emit(event) => self.observe(event),
                other => return Violation::of(format!("an action without a reason: {other:?}")),
            }
        }
        Ok(())
    }

    /// The wish for a lease has ended.
    fn lent(&mut self, lease: LeaseId, is_granted: bool) -> Result<(), Violation> {
        let holders = &mut self.world.holders;
        let Some(at) = holders.iter().position(|it| it.lease == lease && it.stage == Holding::Waits) else {
            return Violation::of("RULE-201: a lease that nobody waits for");
        };
        if holders[..at].iter().any(|earlier| earlier.stage == Holding::Waits) {
            return Violation::of("RULE-201: somebody else has waited longer for a lease");
        }
        if is_granted {
            holders[at].stage = Holding::Has;
        } else {
            holders.remove(at);
        }
        Ok(())
    }

    /// Notes an action; of replies, only whether the server refused.
    fn note_action(&mut self, action: &Action) {
        if self.trace.is_none() {
            return;
        }
        match action {
            Action::Complete { request, outcome: Ok(replies) } => {
                let how = if replies.iter().any(Frame::is_error) { "refused" } else { "answered" };
                self.note(format_args!("    Complete {request}: {how}"));
            }
            other => self.note(format_args!("    {other:?}")),
        }
    }

    fn observe(&mut self, event: Event) {
        match event {
            Event::MoveStarted { source, deadline, .. } => self.world.set_deadline(source, deadline),
            Event::ConnectionSilent { conn, .. } => {
                self.world.socket_mut(conn).into_iter().for_each(|socket| socket.silent = true);
            }
            Event::HandoffDialing { from, .. } => self.world.begin_to_leave(from),
            Event::CutOver { from, to, .. } => {
                let Some(peer) = self.world.socket(from).and_then(|socket| socket.peer.clone()) else {
                    return;
                };
                let relaxed = self.now + self.config.maintenance().relaxed_timeout();
                let until = self.world.deadline(&peer).map_or(relaxed, |deadline| deadline.max(relaxed));
                if let Some(socket) = self.world.socket_mut(from) {
                    // A silent one has the deadlines of its callers.
                    let until = if socket.silent { self.now + 2 * FAR } else { until };
                    socket.retired = Some(Retired { successor: to, until });
                }
            }
            _ => {}
        }
    }
}

impl Model for ClientModel {
    fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        let timeout = self.client.poll_timeout();
        let may_wait = self.budget.delays != Some(0) || self.kind_fact(0).is_none();
        facts.extend(timeout.filter(|_| may_wait).map(|_| Fact::TimePasses));
        if self.budget.pauses > 0 && timeout.is_some_and(|at| at > self.now + PAUSE) {
            facts.push(Fact::Pause);
        }
        for socket in &self.world.sockets {
            self.facts_of(socket, &mut facts);
        }
        if self.takes_requests {
            facts.extend((self.budget.writes > 0).then_some(Fact::SendWrite));
            facts.extend((self.budget.reads > 0).then_some(Fact::SendRead));
        }
        if self.takes_requests {
            facts.extend((self.budget.leases > 0).then_some(Fact::Wish));
        }
        for (nth, holder) in (0..).zip(&self.world.holders) {
            facts.push(Fact::Return(nth));
            let may_send = holder.stage == Holding::Has && self.budget.held > 0;
            facts.extend(may_send.then_some(Fact::SendOn(nth)));
        }
        if self.budget.cancels > 0 {
            facts.extend((0..self.world.ledger.len()).map(|nth| Fact::Cancel(nth as u8)));
        }
        self.facts_of_consumers(&mut facts);
        facts.extend((self.budget.shutdowns > 0).then_some(Fact::Shutdown));
        facts
    }

    fn step(&mut self, fact: Fact) -> Result<(), Violation> {
        if self.trace.is_some() {
            let elapsed = self.elapsed();
            self.note(format_args!("{elapsed:>12.3?}  {fact}"));
        }
        self.client.reseed(SEED);
        self.happen(fact)?;
        self.obey()?;
        self.check(fact)
    }

    fn fingerprint_machine(&self, hasher: &mut DefaultHasher) {
        self.client.fingerprint(self.now, hasher);
    }

    fn fingerprint_world(&self, hasher: &mut DefaultHasher) {
        self.budget.hash(hasher);
        self.world.fingerprint(self.now, hasher);
        (self.is_started, self.takes_requests, self.is_terminated).hash(hasher);
    }

    fn complete(&mut self) -> Result<(), Violation> {
        self.come_to_an_end()
    }

    fn trace(&mut self) -> &mut Option<String> {
        &mut self.trace
    }
}
