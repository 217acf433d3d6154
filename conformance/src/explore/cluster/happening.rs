//! What happens to a cluster when a fact does.

use std::time::Duration;

use hitless_core::cluster::SentKind;
use hitless_core::ids::NodeId;
use hitless_core::notification::Notification;
use resp3_codec::Frame;

use super::servers::{migrated, migrating, topology};
use super::{ClusterModel, MOMENT, NodeClient, State, WELL_AFTER};
use crate::explore::fact::Fact;
use crate::explore::scope::Server;
use crate::explore::search::Violation;

/// Which failures of a node are a reason to read the topology, besides each loss: a node that stays away does not keep the others busy.
const NEWS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

impl ClusterModel {
    /// Tells the machine of `fact`, and lets the world keep count.
    pub(super) fn happen(&mut self, fact: Fact) -> Result<(), Violation> {
        let now = self.now;
        match fact {
            Fact::TimePasses => return self.pass_time(),
            Fact::Moment => {
                self.budget.pauses -= 1;
                self.now += MOMENT;
            }
            Fact::MoveBegins => {
                self.budget.moves -= 1;
                self.servers.begin_move();
            }
            Fact::KeysGo => self.servers.move_keys(),
            Fact::Learns(server) => self.servers.learn(server),
            Fact::Fails(server) => return self.fail(server),
            Fact::Returns(server) => self.servers.set_up(server, true),
            Fact::NodeReady(node) => {
                self.set_state(node, State::Ready);
                self.clients.iter_mut().filter(|it| it.node == node).for_each(|it| it.ready_at = now);
                self.flush(node);
                self.cluster.handle_node_ready(now, node);
            }
            Fact::NodeUnreachable(node) => {
                let is_up = self.client(node).is_some_and(|client| self.servers.is_up(client.server));
                self.budget.faults -= u8::from(is_up);
                return self.lose_node(node);
            }
            Fact::ToldAsAsked(nth) | Fact::ToldAsNow(nth) => self.answer(nth, fact),
            Fact::Migrating => return self.push(&migrating(1)),
            Fact::Migrated(nth) => {
                self.budget.pushes -= 1;
                let to = self.servers.announced()[usize::from(nth)];
                self.judge.note_announced(now, nth.into(), to);
                return self.push(&migrated(nth.into(), to));
            }
            Fact::SendWrite => {
                self.budget.writes -= 1;
                return self.send(SentKind::Command);
            }
            Fact::SendScript => {
                self.budget.scripts -= 1;
                return self.send(SentKind::Script);
            }
            Fact::NodeServes(nth) => return self.serve(nth, false),
            Fact::NodeRefuses(nth) => {
                self.budget.refusals -= 1;
                return self.serve(nth, true);
            }
            Fact::NodeReplied(nth) => return self.read_reply(nth),
            other => return Violation::of(format!("an owner of a cluster does not know: {other}")),
        }
        Ok(())
    }

    fn pass_time(&mut self) -> Result<(), Violation> {
        self.now = self.due().unwrap_or(self.now).max(self.now);
        let now = self.now;
        let timeout = self.settings.query_timeout();
        for question in self.questions.iter_mut().filter(|it| it.is_open && it.asked_at + timeout <= now) {
            question.is_open = false;
        }
        let late = &mut self.budget.late;
        self.questions.retain(|question| {
            let is_late = !question.is_open && question.asked_at + timeout == now;
            let stays = question.is_open || !is_late || *late > 0;
            *late -= u8::from(is_late && stays);
            stays
        });
        self.cluster.handle_timeout(now);
        self.obey()?;
        self.resume()
    }

    /// `server` goes away, and the machine is told of it.
    fn fail(&mut self, server: Server) -> Result<(), Violation> {
        self.budget.closes -= 1;
        self.servers.set_up(server, false);
        let connected = |it: &&NodeClient| it.server == server && it.state == State::Ready;
        match self.clients.iter().find(connected).map(|client| client.node) {
            Some(node) => self.lose_node(node),
            None => {
                // What was written before its client was closed.
                self.lose(server);
                Ok(())
            }
        }
    }

    /// The client of `node` has no connection.
    fn lose_node(&mut self, node: NodeId) -> Result<(), Violation> {
        let now = self.now;
        let Some(client) = self.clients.iter_mut().find(|client| client.node == node) else { return Ok(()) };
        let (server, was_ready) = (client.server, client.state == State::Ready);
        if was_ready && now - client.ready_at >= WELL_AFTER {
            client.failures = 0;
        }
        client.failures += 1;
        client.state = State::Failed;
        if was_ready || NEWS.contains(&client.failures) {
            self.judge.note_reason(now - Duration::from_nanos(1));
        }
        self.lose(server);
        self.cluster.handle_node_failed(self.now, node);
        let lost = self.questions.extract_if(.., |question| question.node == node);
        for question in lost {
            self.cluster.handle_topology_failed(self.now, question.query);
        }
        self.obey()?;
        self.give_back(node)
    }

    fn answer(&mut self, nth: u8, fact: Fact) {
        let question = self.questions.remove(usize::from(nth));
        let owner = match fact {
            Fact::ToldAsAsked(_) => question.knew,
            _ => self.servers.owner_by(question.server),
        };
        self.is_disbelieved = false;
        self.cluster.handle_topology(self.now, question.query, &topology(owner));
        if question.is_open {
            self.judge.note_snapshot(question.asked_at, owner);
        }
    }

    fn push(&mut self, frame: &Frame) -> Result<(), Violation> {
        let Frame::Push(elements) = frame else { return Ok(()) };
        let Ok(Some(notification)) = Notification::parse(elements) else {
            return Violation::of("a push of the scope is not understood");
        };
        // Whoever says it, it is about the cluster.
        let ready = self.clients.iter().find(|client| client.state == State::Ready);
        if let Some(node) = ready.map(|client| client.node) {
            self.cluster.handle_notification(self.now, node, &notification);
        }
        Ok(())
    }

    fn set_state(&mut self, node: NodeId, state: State) {
        self.clients.iter_mut().filter(|client| client.node == node).for_each(|it| it.state = state);
    }
}
