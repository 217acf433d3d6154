//! What holds in every state of a cluster, and what it must come to once the world is kind.

use std::time::{Duration, Instant};

use hitless_core::ids::NodeId;

use super::servers::{OTHER_SLOT, SLOT};
use super::{ClusterModel, State};
use crate::explore::fact::Fact;
use crate::explore::scope::Server;
use crate::explore::search::{MOST_FACTS, Model as _, Violation};

/// Virtual time in which a kind world leads to rest without a read that nothing has asked for: those are farther apart.
const SOON: Duration = Duration::from_secs(20);
/// Virtual time in which there is such a read, and what follows from it.
const IN_THE_END: Duration = Duration::from_secs(110);

impl ClusterModel {
    /// The laws, after `fact`.
    pub(super) fn check(&self, fact: Fact) -> Result<(), Violation> {
        let timeout = self.cluster.poll_timeout();
        if timeout.is_some_and(|at| at < self.now || (at == self.now && fact == Fact::TimePasses)) {
            return Violation::of("INV-12: after a timeout something is still due");
        }
        self.check_table()?;
        let known = self.cluster.stats().nodes;
        if known > 2 || self.clients.len() > 2 {
            return Violation::of(format!("RULE-350: {known} of two nodes are known"));
        }
        if self.is_disbelieved && matches!(fact, Fact::ToldAsNow(_) | Fact::ToldAsAsked(_)) {
            return Violation::of("RULE-348: a topology is not believed");
        }
        Ok(())
    }

    /// The table says what all facts say together; for a while slots may lead to the node that had them.
    fn check_table(&self) -> Result<(), Violation> {
        if self.servers_at(OTHER_SLOT) != Some(Server::B) && self.judge.owner().is_some() {
            return Violation::of("RULE-346: slots that have not moved lead elsewhere");
        }
        let (led_to, owner) = (self.servers_at(SLOT), self.judge.owner());
        if led_to == owner {
            return Ok(());
        }
        let is_ready = |server: Option<Server>| {
            let ready = |it: &super::NodeClient| it.state == State::Ready && Some(it.server) == server;
            self.clients.iter().any(ready)
        };
        if self.judge.may_be_held(self.now) && is_ready(led_to) && !is_ready(owner) {
            return Ok(());
        }
        Violation::of(format!(
            "RULE-346: the slots lead to {led_to:?}, and belong to {owner:?} by what is known"
        ))
    }

    /// A client is closed. Only of a node that nothing leads to, and has not for a while.
    pub(super) fn close(&mut self, node: NodeId) -> Result<(), Violation> {
        let Some(at) = self.clients.iter().position(|client| client.node == node) else {
            return Violation::of(format!("RULE-349: {node} is closed, and is not open"));
        };
        let client = self.clients.remove(at);
        let is_used = self.cluster.table().nodes().any(|other| other == node);
        if is_used || self.judge.owner() == Some(client.server) {
            return Violation::of(format!("RULE-349: {:?} is closed, and slots lead there", client.server));
        }
        let idle = self.now - client.used_at;
        if idle < self.settings.node_grace() {
            return Violation::of(format!("RULE-349: {:?} is closed after {idle:?}", client.server));
        }
        let lost = self.questions.extract_if(.., |question| question.node == node);
        for question in lost {
            self.cluster.handle_topology_failed(self.now, question.query);
        }
        self.give_back(node)
    }

    /// All nodes are there, agree, and answer: the machine must come to say the same, and every request to its end.
    pub(super) fn come_to_rest(&mut self) -> Result<(), Violation> {
        self.note(format_args!("from here on the world is kind"));
        let begin = self.now;
        self.live_until(begin + SOON)?;
        if !self.callers.is_empty() {
            return Violation::of(format!("RULE-348: requests do not come to their end: {:?}", self.callers));
        }
        if self.judge.has_missed() {
            return Violation::of("RULE-348: a reason to read the topology is lost");
        }
        self.live_until(begin + IN_THE_END)?;
        let (led_to, owner) = (self.servers_at(SLOT), self.servers.owner());
        if led_to != owner || owner.is_none() {
            return Violation::of(format!("RULE-348: the slots are at {owner:?}, and lead to {led_to:?}"));
        }
        for client in &self.clients {
            let is_used = client.server == Server::B || owner == Some(client.server);
            if !is_used || client.state != State::Ready {
                return Violation::of(format!("RULE-349: this is left open: {client:?}"));
            }
        }
        Ok(())
    }

    fn live_until(&mut self, end: Instant) -> Result<(), Violation> {
        for _ in 0..MOST_FACTS {
            let fact = match self.kind_fact() {
                Some(fact) => fact,
                None if self.due().is_some_and(|at| at <= end) => Fact::TimePasses,
                None => {
                    self.now = self.now.max(end);
                    return Ok(());
                }
            };
            self.step(fact)?;
        }
        Violation::of(format!("RULE-348: this does not come to rest: {:?}", self.cluster.stats()))
    }

    /// Where the newest table leads `slot`.
    fn servers_at(&self, slot: u16) -> Option<Server> {
        let node = self.cluster.table().node_of(slot)?;
        self.client(node).map(|client| client.server)
    }
}
