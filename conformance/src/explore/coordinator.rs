//! The coordinator alone, and an owner that keeps two connections open and does as it is told.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless_core::coordinator::{Coordinator, Directive, Replacement, Role};
use hitless_core::error::{CloseCause, ConnectError};
use hitless_core::event::Event;
use hitless_core::handshake::{ErrorCode, OptIn, Probe};
use hitless_core::ids::ConnId;
use hitless_core::notification::Notification;
use resp3_codec::Frame;

use super::client::SEED;
use super::fact::Fact;
use super::scope::{Budget, Scope};
use super::search::{MOST_FACTS, Model, PATIENCE, Violation};
use super::world::{OPT_IN, Retired, Socket, Stage, World};

/// A coordinator, its owner, and the small world around them.
#[derive(Clone)]
pub(super) struct CoordinatorModel {
    scope: Arc<Scope>,
    coordinator: Coordinator,
    epoch: Instant,
    now: Instant,
    budget: Budget,
    world: World,
    /// Connections that the owner is to open.
    missing: usize,
    /// Dials that are to take the place of a connection, with that connection.
    replacing: Vec<(ConnId, ConnId)>,
    trace: Option<String>,
}

impl CoordinatorModel {
    /// The coordinator of `scope`, at the beginning of the exploration.
    pub(super) fn new(scope: &Arc<Scope>, epoch: Instant) -> Result<Self, Violation> {
        let mut model = Self {
            coordinator: Coordinator::new(scope.config(), SEED),
            scope: Arc::clone(scope),
            epoch,
            now: epoch,
            budget: scope.budget,
            world: World::default(),
            missing: scope.pool,
            replacing: Vec::new(),
            trace: None,
        };
        while scope.is_open && model.serving() < scope.pool {
            let Some(fact) = model.kind_fact(0) else { return Violation::of("the pool does not open") };
            model.step(fact)?;
        }
        Ok(model)
    }

    fn note(&mut self, line: fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            // Writing to a string does not fail.
            let _ = writeln!(trace, "{line}");
        }
    }

    fn serving(&self) -> usize {
        let serves = |socket: &&Socket| socket.stage == Stage::Serving && socket.retired.is_none();
        self.world.sockets.iter().filter(serves).count()
    }

    /// What a kind world and a diligent owner do next. The name has the nth of its answers.
    fn kind_fact(&self, nth: usize) -> Option<Fact> {
        if self.missing > 0 {
            return Some(Fact::Open);
        }
        self.world.sockets.iter().find_map(|socket| {
            let conn = socket.conn;
            Some(match socket.stage {
                Stage::Resolving => Fact::Resolved(conn, nth as u8),
                Stage::Dialing if self.scope.is_dead(socket.peer.as_ref()) => return None,
                Stage::Dialing => Fact::Connected(conn),
                Stage::Greeting | Stage::Settling => Fact::Greeted(conn),
                Stage::Serving if socket.retired.is_some() => Fact::Drained(conn),
                Stage::Serving if socket.asked.is_some() => Fact::Switched(conn),
                Stage::Serving if socket.ending => Fact::Closed(conn),
                Stage::Serving if !socket.written.is_empty() => Fact::Replied(conn),
                Stage::Serving => return None,
            })
        })
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
            Stage::Greeting | Stage::Settling => {
                facts.push(Fact::Greeted(conn));
                facts.extend(fails.then_some(Fact::Closed(conn)));
                facts.extend((fails && socket.asks).then_some(Fact::OptInRefused(conn)));
            }
            Stage::Serving => {
                facts.extend((!socket.written.is_empty()).then_some(Fact::Replied(conn)));
                facts.extend(socket.retired.map(|_| Fact::Drained(conn)));
                facts.extend(socket.asked.map(|_| Fact::Switched(conn)));
                facts.extend((socket.ending || self.budget.closes > 0).then_some(Fact::Closed(conn)));
                let may_end = !socket.ending && self.budget.closes > 0 && self.budget.endings > 0;
                facts.extend(may_end.then_some(Fact::Ending(conn)));
            }
        }
        // The server may speak as soon as it has read the opt-in.
        let hears =
            socket.notified || (socket.stage == Stage::Greeting && socket.asks && self.scope.is_staged);
        if hears && self.budget.pushes > 0 {
            facts.extend((0..self.scope.pushes.len()).map(|nth| Fact::Push(conn, nth as u8)));
        }
    }

    fn happen(&mut self, fact: Fact) -> Result<(), Violation> {
        let now = self.now;
        match fact {
            Fact::TimePasses => {
                self.now = self.coordinator.poll_timeout().unwrap_or(now).max(now);
                self.coordinator.handle_timeout(self.now);
            }
            Fact::Open => {
                self.missing -= 1;
                self.coordinator.open(now, self.scope.role);
            }
            Fact::Resolved(conn, nth) => {
                self.world.remove(conn);
                self.coordinator.handle_resolved(now, conn, Ok(self.scope.addresses(nth)));
            }
            Fact::ResolveFailed(conn) => {
                self.budget.faults -= 1;
                self.world.remove(conn);
                self.coordinator.handle_resolved(now, conn, Err(io::ErrorKind::NotFound.into()));
            }
            Fact::Connected(conn) => {
                let Some(peer) = self.world.begin(conn, Stage::Greeting).peer.clone() else { return Ok(()) };
                self.coordinator.handle_connected(now, conn, peer);
            }
            Fact::Refused(conn) => {
                self.budget.faults -= 1;
                self.world.remove(conn);
                let refused = ConnectError::Connect(io::ErrorKind::ConnectionRefused.into());
                self.coordinator.handle_dial_failed(now, conn, refused);
            }
            Fact::Greeted(conn) | Fact::OptInRefused(conn) => self.greet(conn, fact),
            Fact::Replied(conn) => {
                if let Some(socket) = self.world.socket_mut(conn) {
                    socket.written.clear();
                    socket.notified = true;
                }
                self.coordinator.handle_opt_in(now, conn, OptIn::Accepted);
            }
            Fact::Push(conn, nth) => self.push(conn, nth)?,
            Fact::Ending(conn) => {
                self.budget.endings -= 1;
                if let Some(socket) = self.world.socket_mut(conn) {
                    socket.ending = true;
                }
                self.coordinator.handle_ending(conn);
            }
            Fact::Closed(conn) => self.close(conn),
            Fact::Drained(conn) => self.coordinator.handle_drained(now, conn),
            Fact::Switched(conn) => self.coordinator.handle_switched(now, conn),
            other => return Violation::of(format!("an owner of a coordinator does not know: {other}")),
        }
        Ok(())
    }

    fn push(&mut self, conn: ConnId, nth: u8) -> Result<(), Violation> {
        self.budget.pushes -= 1;
        let frame = self.scope.pushes[usize::from(nth)].frame();
        let Frame::Push(elements) = frame else { return Ok(()) };
        let Ok(Some(notification)) = Notification::parse(&elements) else {
            return Violation::of("a push of the scope is not understood");
        };
        self.coordinator.handle_notification(self.now, conn, &notification);
        Ok(())
    }

    fn greet(&mut self, conn: ConnId, fact: Fact) {
        let Some(socket) = self.world.socket_mut(conn) else { return };
        socket.stage = Stage::Serving;
        let opt_in = match fact {
            Fact::Greeted(_) if socket.asks => OptIn::Accepted,
            Fact::Greeted(_) => OptIn::NotAsked,
            _ => {
                self.budget.faults -= 1;
                OptIn::Refused(ErrorCode::of(b"ERR"))
            }
        };
        socket.notified = opt_in == OptIn::Accepted;
        self.coordinator.handle_ready(self.now, conn, opt_in);
    }

    fn close(&mut self, conn: ConnId) {
        let Some(socket) = self.world.remove(conn) else { return };
        self.world.forget_successor(conn);
        if socket.stage != Stage::Serving {
            self.budget.faults = self.budget.faults.saturating_sub(1);
            return self.coordinator.handle_lost_at_opt_in(self.now, conn, CloseCause::ByServer);
        }
        self.budget.closes = self.budget.closes.saturating_sub(1);
        self.coordinator.handle_closed(self.now, conn, CloseCause::ByServer);
    }

    fn obey(&mut self) -> Result<(), Violation> {
        while let Some(directive) = self.coordinator.poll_directive() {
            if self.trace.is_some() {
                self.note(format_args!("    {directive:?}"));
            }
            match directive {
                Directive::Resolve { conn, host: _ } => drop(self.world.begin(conn, Stage::Resolving)),
                Directive::Dial { conn, target, probe, until: _, replaces } => {
                    let socket = self.world.begin(conn, Stage::Dialing);
                    socket.peer = Some(target.address);
                    socket.asks = probe == Probe::OptIn;
                    // Another address of the same name is dialled for what the first one was dialled for.
                    let first = self.replacing.iter().find(|(dial, _)| Some(*dial) == replaces);
                    let replaces = first.map(|(_, from)| *from).or(replaces);
                    self.replacing.extend(replaces.map(|from| (conn, from)));
                }
                Directive::Serve { conn } => self.expect_ready(conn)?,
                Directive::CutOver { from, to } => self.cut_over(from, to)?,
                Directive::Successor { from, to, until } => {
                    self.expect_ready(from)?;
                    self.expect_ready(to)?;
                    self.replacing.retain(|(dial, _)| *dial != to);
                    let socket = self.world.socket_mut(from).filter(|socket| socket.asked.is_none());
                    let Some(socket) = socket else {
                        return Violation::of(format!("INV-20: {from} has two successors"));
                    };
                    socket.asked = Some(Retired { successor: to, until });
                }
                Directive::Lost { conn, replacement } => self.lose(conn, replacement)?,
                Directive::Drain { conn, until } => {
                    let socket = self.world.socket_mut(conn).and_then(|socket| socket.retired.as_mut());
                    let Some(retired) = socket else {
                        return Violation::of(format!("INV-04: {conn} drains, and nothing has its place"));
                    };
                    retired.until = until;
                }
                Directive::Close { conn, cause: _ } => {
                    self.replacing.retain(|(dial, _)| *dial != conn);
                    self.world.remove(conn);
                    self.world.forget_successor(conn);
                }
                Directive::Failed { conn, .. } => {
                    self.replacing.retain(|(dial, _)| *dial != conn);
                    self.world.remove(conn);
                    self.missing += 1;
                }
                Directive::OptIn { conn } => {
                    if let Some(socket) = self.world.socket_mut(conn) {
                        socket.written = vec![OPT_IN];
                    }
                }
                Directive::Emit(Event::HandoffDialing { from, .. }) => self.world.begin_to_leave(from),
                _ => {}
            }
        }
        // A dial that failed, and whose connection tries again or stays, is not reported.
        let sockets = &self.world.sockets;
        self.replacing.retain(|(dial, _)| sockets.iter().any(|socket| socket.conn == *dial));
        Ok(())
    }

    fn cut_over(&mut self, from: ConnId, to: ConnId) -> Result<(), Violation> {
        self.expect_ready(to)?;
        self.replacing.retain(|(dial, _)| *dial != to);
        let role = self.scope.role;
        let Some(socket) = self.world.socket_mut(from) else { return Ok(()) };
        let asked = socket.asked.take().map(|asked| asked.successor);
        if role == Role::Held && asked != Some(to) {
            return Violation::of(format!("INV-18: {from} is cut over, and its owner was not asked"));
        }
        socket.retired = Some(Retired { successor: to, until: self.now });
        Ok(())
    }

    /// A connection that served is lost, and the owner is told whether to open another one.
    fn lose(&mut self, conn: ConnId, replacement: Replacement) -> Result<(), Violation> {
        let dial = self.replacing.iter().find(|(_, from)| *from == conn).map(|(dial, _)| *dial);
        match replacement {
            Replacement::Missing if dial.is_some() => Violation::of(format!(
                "INV-20: {conn} is lost and to be opened, and {dial:?} is dialled for it"
            )),
            Replacement::Missing => {
                self.missing += 1;
                Ok(())
            }
            Replacement::Dialing(to) if dial == Some(to) => Ok(()),
            Replacement::Ready(to) => self.expect_ready(to),
            other => Violation::of(format!("INV-20: {conn} is lost, and {other:?} is not there")),
        }
    }

    fn expect_ready(&self, conn: ConnId) -> Result<(), Violation> {
        match self.world.socket(conn).map(|socket| socket.stage) {
            Some(Stage::Serving) => Ok(()),
            stage => Violation::of(format!("INV-04: {conn} is to serve, and is {stage:?}")),
        }
    }

    fn check(&self, fact: Fact) -> Result<(), Violation> {
        let timeout = self.coordinator.poll_timeout();
        if timeout.is_some_and(|at| at < self.now || (at == self.now && fact == Fact::TimePasses)) {
            return Violation::of("INV-12: after a timeout something is still due");
        }
        let late = |socket: &&Socket| {
            [socket.retired, socket.asked].into_iter().flatten().any(|retired| retired.until < self.now)
        };
        if let Some(socket) = self.world.sockets.iter().find(late) {
            return Violation::of(format!("INV-06: {} outlives its deadline", socket.conn));
        }
        let (count, most) = (self.world.count(), 2 * self.scope.pool);
        if count > most {
            return Violation::of(format!("INV-20: {count} sockets for {} slots", self.scope.pool));
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        let stats = self.coordinator.stats();
        let open = self.world.sockets.len();
        let busy =
            stats.windows + stats.moves + stats.dialing + stats.handoffs_queued + stats.handoffs_working;
        let known = stats.connections.values().sum::<u32>() as usize;
        let pool = self.scope.pool;
        busy == 0 && (self.serving(), open, known) == (pool, pool, pool)
    }
}

impl Model for CoordinatorModel {
    fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        facts.extend(self.coordinator.poll_timeout().map(|_| Fact::TimePasses));
        facts.extend((self.missing > 0).then_some(Fact::Open));
        for socket in &self.world.sockets {
            self.facts_of(socket, &mut facts);
        }
        facts
    }

    fn step(&mut self, fact: Fact) -> Result<(), Violation> {
        let elapsed: Duration = self.now - self.epoch;
        self.note(format_args!("{elapsed:>12.3?}  {fact}"));
        self.coordinator.reseed(SEED);
        self.happen(fact)?;
        self.obey()?;
        self.check(fact)
    }

    fn fingerprint_machine(&self, hasher: &mut DefaultHasher) {
        self.coordinator.fingerprint(self.now, hasher);
    }

    fn fingerprint_world(&self, hasher: &mut DefaultHasher) {
        self.world.fingerprint(self.now, hasher);
        (&self.budget, self.missing).hash(hasher);
        for (dial, from) in &self.replacing {
            let from = self.world.socket(*from).map(|socket| socket.conn.index());
            (dial.index(), from).hash(hasher);
        }
    }

    fn complete(&mut self) -> Result<(), Violation> {
        self.note(format_args!("from here on the world is kind"));
        let limit = self.now + PATIENCE;
        for _ in 0..MOST_FACTS {
            if let Some(fact) = self.kind_fact(self.scope.answers.len() - 1) {
                self.step(fact)?;
                continue;
            }
            if self.is_at_rest() {
                return Ok(());
            }
            if self.now > limit || self.coordinator.poll_timeout().is_none() {
                break;
            }
            self.step(Fact::TimePasses)?;
        }
        Violation::of(format!("INV-08, INV-20: this does not come to rest: {:?}", self.coordinator.stats()))
    }

    fn trace(&mut self) -> &mut Option<String> {
        &mut self.trace
    }
}
