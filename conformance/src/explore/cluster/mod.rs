//! The cluster machine alone, with two nodes, slots that move from one to the other and back, and a naive driver.

mod callers;
mod happening;
mod judge;
mod laws;
mod servers;

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _};
use std::time::{Duration, Instant};

use hitless_core::cluster::{Cluster, ClusterEvent, Decision, Settings};
use hitless_core::endpoint::Endpoint;
use hitless_core::ids::{NodeId, QueryId};

use self::callers::{Caller, MAX_REDIRECTS, Stage};
use self::judge::Judge;
use self::servers::{Servers, endpoint};
use super::client::SEED;
use super::fact::Fact;
use super::scope::{Budget, Reshard, Scope, Server};
use super::search::{Model, Violation};

/// How far apart things happen that happen one after the other.
const MOMENT: Duration = Duration::from_millis(1);
/// From the start of the machine to the beginning of the exploration: what is asked for then is asked at once.
const AGE: Duration = Duration::from_secs(1);
/// A node that is connected for so long is well: its failures count from the beginning.
const WELL_AFTER: Duration = Duration::from_secs(2);
const BOTH: [Server; 2] = [Server::A, Server::B];

/// How the client of a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Opening,
    Ready,
    Failed,
}

/// The client of a node.
#[derive(Clone, Debug)]
struct NodeClient {
    node: NodeId,
    server: Server,
    state: State,
    /// When something has led there last.
    used_at: Instant,
    /// When it was connected last.
    ready_at: Instant,
    /// How often it has failed since it was opened, or since it was connected for long.
    failures: u32,
}

/// A question for the topology that was not answered yet.
#[derive(Clone, Debug)]
struct Question {
    query: QueryId,
    node: NodeId,
    server: Server,
    asked_at: Instant,
    /// What the node took for the owner when it was asked.
    knew: Server,
    /// The machine waits for the answer.
    is_open: bool,
}

/// A cluster machine, its driver, and the small world around them.
#[derive(Clone)]
pub(super) struct ClusterModel {
    settings: Settings,
    cluster: Cluster,
    epoch: Instant,
    now: Instant,
    /// No time passes beyond this.
    horizon: Instant,
    budget: Budget,
    servers: Servers,
    clients: Vec<NodeClient>,
    questions: Vec<Question>,
    callers: Vec<Caller>,
    judge: Judge,
    /// The answer that was handed in last is not believed.
    is_disbelieved: bool,
    trace: Option<String>,
}

impl ClusterModel {
    /// The cluster of `scope`, which was read, at the beginning of the exploration.
    pub(super) fn new(scope: &Scope, reshard: Reshard, epoch: Instant) -> Result<Self, Violation> {
        let Ok(settings) = Settings::builder().max_redirects(MAX_REDIRECTS).build() else {
            return Violation::of("these are no settings");
        };
        let mut cluster = Cluster::new(settings.clone(), vec![endpoint(Server::B)], SEED);
        cluster.handle_start(epoch);
        let mut model = Self {
            settings,
            cluster,
            epoch,
            now: epoch,
            horizon: epoch + Duration::from_secs(3600),
            budget: scope.budget,
            servers: Servers::new(reshard),
            clients: Vec::new(),
            questions: Vec::new(),
            callers: Vec::new(),
            judge: Judge::default(),
            is_disbelieved: false,
            trace: None,
        };
        model.obey()?;
        while let Some(fact) = model.kind_fact() {
            model.step(fact)?;
        }
        model.now += AGE;
        model.horizon = model.now + reshard.horizon;
        model.check(Fact::Moment)?;
        Ok(model)
    }

    /// What a kind world does next, until there is nothing left for it to do at this instant.
    fn kind_fact(&self) -> Option<Fact> {
        let servers = &self.servers;
        let back = BOTH.into_iter().find(|server| !servers.is_up(*server)).map(Fact::Returns);
        let opens = || self.clients.iter().find(|client| client.state == State::Opening);
        let asked = || self.questions.iter().position(|_| true).map(|nth| Fact::ToldAsNow(nth as u8));
        let goes = || servers.may_keys_go().then_some(Fact::KeysGo);
        let learns = || BOTH.into_iter().find(|server| servers.may_learn(*server)).map(Fact::Learns);
        let serves = || {
            (0..).zip(&self.callers).find_map(|(nth, caller)| match caller.stage {
                Stage::Pauses { .. } | Stage::Queued(_) => None,
                Stage::Written(_) => Some(Fact::NodeServes(nth)),
                Stage::Answered(..) => Some(Fact::NodeReplied(nth)),
            })
        };
        back.or_else(|| opens().map(|client| Fact::NodeReady(client.node)))
            .or_else(asked)
            .or_else(goes)
            .or_else(learns)
            .or_else(serves)
    }

    fn note(&mut self, line: fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            // Writing to a string does not fail.
            let _ = writeln!(trace, "{line}");
        }
    }

    /// When the machine or a request that pauses is due.
    fn due(&self) -> Option<Instant> {
        let pauses = self.callers.iter().filter_map(|caller| match caller.stage {
            Stage::Pauses { until, .. } => Some(until),
            _ => None,
        });
        pauses.chain(self.cluster.poll_timeout()).min()
    }

    fn client(&self, node: NodeId) -> Option<&NodeClient> {
        self.clients.iter().find(|client| client.node == node)
    }

    /// Something leads to `node`.
    fn note_use(&mut self, node: NodeId) {
        let now = self.now;
        self.clients.iter_mut().filter(|client| client.node == node).for_each(|it| it.used_at = now);
    }

    fn facts_of_nodes(&self, facts: &mut Vec<Fact>) {
        for client in &self.clients {
            if client.state == State::Opening {
                let is_up = self.servers.is_up(client.server);
                facts.extend(is_up.then_some(Fact::NodeReady(client.node)));
                let fails = !is_up || self.budget.faults > 0;
                facts.extend(fails.then_some(Fact::NodeUnreachable(client.node)));
            }
        }
        for server in BOTH {
            if !self.servers.is_up(server) {
                facts.push(Fact::Returns(server));
            } else if self.budget.closes > 0 {
                facts.push(Fact::Fails(server));
            }
        }
    }

    fn facts_of_servers(&self, facts: &mut Vec<Fact>) {
        let servers = &self.servers;
        let may_begin = self.budget.moves > 0 && !servers.is_moving();
        facts.extend(may_begin.then_some(Fact::MoveBegins));
        facts.extend(servers.may_keys_go().then_some(Fact::KeysGo));
        facts.extend(BOTH.into_iter().filter(|server| servers.may_learn(*server)).map(Fact::Learns));
        let is_heard = self.clients.iter().any(|client| client.state == State::Ready);
        if is_heard && self.budget.pushes > 0 {
            facts.extend((0..servers.announced().len()).map(|nth| Fact::Migrated(nth as u8)));
            facts.extend(servers.is_moving().then_some(Fact::Migrating));
        }
        for (nth, question) in (0..).zip(&self.questions) {
            facts.push(Fact::ToldAsNow(nth));
            let has_changed = question.knew != servers.owner_by(question.server);
            facts.extend(has_changed.then_some(Fact::ToldAsAsked(nth)));
        }
        for (nth, caller) in (0..).zip(&self.callers) {
            match caller.stage {
                Stage::Pauses { .. } | Stage::Queued(_) => {}
                Stage::Written(_) => {
                    facts.push(Fact::NodeServes(nth));
                    facts.extend((self.budget.refusals > 0).then_some(Fact::NodeRefuses(nth)));
                }
                Stage::Answered(..) => facts.push(Fact::NodeReplied(nth)),
            }
        }
    }

    /// Does what the machine says.
    fn obey(&mut self) -> Result<(), Violation> {
        let mut before = self.leads_to();
        while let Some(decision) = self.cluster.poll_decision() {
            if self.trace.is_some() {
                self.note(format_args!("    {decision:?}"));
            }
            match decision {
                Decision::Open { node, endpoint, .. } => self.open(node, &endpoint)?,
                Decision::Close { node } => self.close(node)?,
                Decision::AskTopology { query, node, .. } => self.ask(query, node)?,
                Decision::SwapTable(table) => {
                    if let Some(node) = table.nodes().find(|node| self.client(*node).is_none()) {
                        return Violation::of(format!(
                            "RULE-342: a table leads to {node}, which is not open"
                        ));
                    }
                    before.drain(..).for_each(|node| self.note_use(node));
                    before = self.leads_to();
                }
                Decision::Emit(ClusterEvent::RefreshFailed { .. }) => self.is_disbelieved = true,
                Decision::Emit(_) => {}
                other => return Violation::of(format!("a decision without a reason: {other:?}")),
            }
        }
        Ok(())
    }

    /// The nodes that the newest table leads to.
    fn leads_to(&self) -> Vec<NodeId> {
        self.cluster.table().nodes().collect()
    }

    fn open(&mut self, node: NodeId, at: &Endpoint) -> Result<(), Violation> {
        let Some(server) = BOTH.into_iter().find(|server| endpoint(*server) == *at) else {
            return Violation::of(format!("{at} is opened, and nobody is there"));
        };
        let now = self.now;
        match self.clients.iter_mut().find(|client| client.server == server) {
            Some(client) if client.node == node && client.state == State::Failed => {
                client.state = State::Opening;
                Ok(())
            }
            Some(_) => Violation::of(format!("RULE-349: {server:?} is opened twice")),
            None => {
                let (state, failures) = (State::Opening, 0);
                self.clients.push(NodeClient { node, server, state, used_at: now, ready_at: now, failures });
                Ok(())
            }
        }
    }

    fn ask(&mut self, query: QueryId, node: NodeId) -> Result<(), Violation> {
        let Some(client) = self.client(node).filter(|client| client.state == State::Ready) else {
            return Violation::of(format!("RULE-347: {node} is asked, and is not connected"));
        };
        if self.questions.iter().any(|question| question.is_open) {
            return Violation::of("RULE-347: two questions for the topology are under way");
        }
        let server = client.server;
        self.judge.note_question(self.now, node, self.settings.min_refresh_interval())?;
        let (asked_at, knew) = (self.now, self.servers.owner_by(server));
        self.questions.push(Question { query, node, server, asked_at, knew, is_open: true });
        Ok(())
    }
}

impl Model for ClusterModel {
    fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        let due = self.due();
        let may_wait = self.budget.delays != Some(0) || self.kind_fact().is_none();
        let in_time = |at: &Instant| *at <= self.horizon;
        facts.extend(due.filter(in_time).filter(|_| may_wait).map(|_| Fact::TimePasses));
        let is_free = due.is_none_or(|at| at > self.now + MOMENT);
        facts.extend((is_free && self.budget.pauses > 0).then_some(Fact::Moment));
        self.facts_of_nodes(&mut facts);
        self.facts_of_servers(&mut facts);
        facts.extend((self.budget.writes > 0).then_some(Fact::SendWrite));
        facts.extend((self.budget.scripts > 0).then_some(Fact::SendScript));
        facts
    }

    fn step(&mut self, fact: Fact) -> Result<(), Violation> {
        if self.trace.is_some() {
            let elapsed = self.now - self.epoch;
            self.note(format_args!("{elapsed:>12.3?}  {fact}"));
        }
        if fact == Fact::TimePasses && self.kind_fact().is_some() {
            self.budget.delays = self.budget.delays.map(|left| left.saturating_sub(1));
        }
        self.cluster.reseed(SEED);
        self.happen(fact)?;
        self.obey()?;
        if !self.questions.iter().any(|question| question.is_open) {
            self.judge.end_round();
        }
        self.check(fact)
    }

    fn fingerprint_machine(&self, hasher: &mut DefaultHasher) {
        self.cluster.fingerprint(self.now, hasher);
    }

    fn fingerprint_world(&self, hasher: &mut DefaultHasher) {
        let now = self.now;
        (&self.budget, &self.servers, self.horizon.saturating_duration_since(now)).hash(hasher);
        for client in &self.clients {
            (client.node.index(), client.server, client.state, client.failures).hash(hasher);
            now.saturating_duration_since(client.used_at).hash(hasher);
            now.saturating_duration_since(client.ready_at).min(WELL_AFTER).hash(hasher);
        }
        for question in &self.questions {
            (question.node.index(), question.server, question.knew, question.is_open).hash(hasher);
            now.saturating_duration_since(question.asked_at).hash(hasher);
        }
        self.callers.len().hash(hasher);
        self.callers.iter().for_each(|caller| caller.fingerprint(now, hasher));
        self.judge.fingerprint(now, hasher);
    }

    fn complete(&mut self) -> Result<(), Violation> {
        self.come_to_rest()
    }

    fn trace(&mut self) -> &mut Option<String> {
        &mut self.trace
    }
}
