//! The control task: it hosts the machine of a cluster client, opens and closes the clients of the nodes, and asks them for the topology.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::super::dial::Dialer;
use super::super::handle::{Client, only};
use super::super::reply::Reply;
use super::super::signals;
use super::super::traits::{Runtime, Timer};
use super::inbox::NodeFact;
use super::nodes::{Nodes, Opener};
use super::routes::Routes;
use super::shared::{Fact, Phase, Shared, Turn};
use super::start::Start;
use crate::cluster::{ClusterEvent, Decision, NodeError, Table, TopologyRequest};
use crate::config::ConfigError;
use crate::ids::{NodeId, QueryId};
use crate::notification::Notification;
use crate::request::Request;
use crate::timer::{after, earliest};

/// How many turns one poll takes before other tasks run.
const TURNS_PER_POLL: usize = 16;

/// How much longer the start waits than the client of a seed does.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Starts the control task of a new cluster client.
pub(super) fn spawn<R: Runtime, D: Dialer>(shared: &Arc<Shared<R>>, opener: Opener<D>) {
    let guard = Guard { shared: Arc::clone(shared) };
    let runtime = shared.runtime.clone();
    let now = runtime.now();
    // The clients of the seeds give up just before that, and say why.
    let until = shared.policy.start_timeout.map(|limit| after(after(now, limit), LAST_WORDS));
    shared.runtime.spawn(async move {
        let mut control = Control {
            timer: runtime.timer(),
            armed: None,
            facts: vec![Fact::Start],
            nodes: Nodes::new(opener),
            table: Arc::new(Table::empty()),
            questions: Vec::new(),
            start: Start::new(now, until),
            closing: None,
            guard,
        };
        std::future::poll_fn(|cx| control.poll(cx)).await;
    });
}

struct Control<R: Runtime, D> {
    timer: R::Timer,
    /// What the timer is armed for.
    armed: Option<Instant>,
    /// What the machine is to be told.
    facts: Vec<Fact>,
    nodes: Nodes<R, D>,
    table: Arc<Table>,
    /// Questions for the topology that are under way.
    questions: Vec<(QueryId, Reply<R>)>,
    start: Start,
    /// Ready when the clients of all nodes have ended.
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    // The last field, so that it is dropped when nothing of the task is left.
    guard: Guard<R>,
}

impl<R: Runtime, D: Dialer> Control<R, D> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.guard.shared);
        shared.inbox.signals.register(cx.waker());
        for _ in 0..TURNS_PER_POLL {
            shared.inbox.signals.take(signals::WORK);
            let now = shared.runtime.now();
            shared.naps.handle_timeout(now);
            self.hear_nodes(&shared);
            self.poll_questions(cx);
            let turn = shared.begin_turn(&std::mem::take(&mut self.facts));
            if let Phase::Closing(until) = turn.phase {
                return self.close(cx, until);
            }
            self.obey(&shared, turn);
            if let Some(result) = self.start.poll(now, &self.table) {
                shared.started.complete(result);
            }
            if !self.facts.is_empty() || shared.inbox.signals.is_up(signals::WORK) {
                continue;
            }
            if self.sleep(cx, &shared).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Pending until there is something to do by the clock.
    fn sleep(&mut self, cx: &mut Context<'_>, shared: &Shared<R>) -> Poll<()> {
        let at = [shared.poll_timeout(), shared.naps.poll_timeout(), self.start.poll_timeout()];
        let Some(at) = earliest(at) else { return Poll::Pending };
        if self.armed != Some(at) {
            self.timer.reset(at);
            self.armed = Some(at);
        }
        let expired = self.timer.poll_expired(cx);
        if expired.is_ready() {
            self.armed = None;
        }
        expired
    }

    /// Makes facts for the machine out of what the clients of the nodes tell.
    fn hear_nodes(&mut self, shared: &Shared<R>) {
        for (from, fact) in shared.inbox.take() {
            let node = from.node;
            match fact {
                NodeFact::Notified(notification) => {
                    // A MOVING is about the connections of the client that has heard it, and about the node if that is where the client is. Slots
                    // move for all clients.
                    let is_about_slots = !matches!(*notification, Notification::Moving { .. });
                    let is_there = self.nodes.is_current(from) && self.nodes.is_placed(node);
                    if is_about_slots || is_there {
                        self.facts.push(Fact::Notified(node, notification));
                    }
                }
                NodeFact::Ended => self.nodes.forget_gone(),
                _ if !self.nodes.is_current(from) => {}
                // Somebody closes it through its own handle, and may give it time: the node is opened again.
                NodeFact::Closing => self.facts.push(Fact::Failed(node)),
                NodeFact::ReadonlyRefused => self.facts.push(Fact::ReadonlyRefused(node)),
                // It is opened somewhere else once it can be, or anew.
                NodeFact::Open | NodeFact::Back
                    if !self.nodes.is_placed(node) || !self.nodes.is_open(node) => {}
                NodeFact::Open | NodeFact::Back => {
                    self.start.note_ready(node);
                    shared.note_cause(node, None);
                    self.facts.push(Fact::Ready(node));
                }
                NodeFact::CutOff => {
                    self.facts.push(Fact::Failed(node));
                    // A client that is opened in the middle of a shutdown would not be awaited.
                    if shared.is_open() && self.open(shared, node, |nodes| nodes.note_cut_off(shared, node)) {
                        self.publish(shared);
                    } else if let Some(endpoint) = shared.endpoint(node) {
                        self.start.note_cut_off(node, &endpoint);
                    }
                }
                NodeFact::NotOpened(error) => {
                    let error = Arc::new(error);
                    self.tell_not_opened(shared, node, NodeError::Connect(Arc::clone(&error)));
                    self.start.note_failed(node, &error);
                    shared.note_cause(node, Some(error));
                    self.facts.push(Fact::Failed(node));
                }
            }
        }
    }

    fn poll_questions(&mut self, cx: &mut Context<'_>) {
        let mut under_way = Vec::new();
        for (query, mut reply) in self.questions.drain(..) {
            match Pin::new(&mut reply).poll(cx) {
                Poll::Pending => under_way.push((query, reply)),
                Poll::Ready(Ok(replies)) => {
                    self.facts.push(Fact::Topology(query, only(replies)));
                }
                Poll::Ready(Err(_)) => self.facts.push(Fact::NoTopology(query)),
            }
        }
        self.questions = under_way;
    }

    fn obey(&mut self, shared: &Shared<R>, mut turn: Turn) {
        let mut is_new = false;
        for decision in std::mem::take(&mut turn.decisions) {
            match decision {
                Decision::Open { node, endpoint, hostname } => {
                    self.start.note_opened(node);
                    is_new |= self.open(shared, node, |nodes| nodes.open(shared, node, endpoint, hostname));
                    // A client that goes on trying by itself tells of its first failure alone.
                    if self.nodes.client(node).is_some_and(|client| client.shared().is_cut_off()) {
                        if let Some(endpoint) = shared.endpoint(node) {
                            self.start.note_cut_off(node, &endpoint);
                        }
                        self.facts.push(Fact::Failed(node));
                        shared.wake();
                    }
                }
                Decision::Retarget { node, endpoint, hostname } => {
                    is_new |=
                        self.open(shared, node, |nodes| nodes.replace(shared, node, endpoint, hostname));
                }
                Decision::Readdress { node, endpoint } => self.nodes.readdress(node, endpoint),
                Decision::Close { node } => {
                    self.nodes.close(node);
                    shared.note_cause(node, None);
                    is_new = true;
                }
                Decision::AskTopology { query, node, request } => self.ask(query, node, request),
                Decision::SwapTable(table) => {
                    self.table = table;
                    is_new = true;
                }
                Decision::Emit(event) => {
                    if let ClusterEvent::RefreshFailed { node, endpoint, error } = &event {
                        self.start.note_no_topology(*node, endpoint, *error);
                    }
                    shared.emit(event);
                }
            }
        }
        if is_new {
            self.publish(shared);
        }
        shared.end_turn(&turn);
    }

    /// Has requests go by what is known now.
    fn publish(&mut self, shared: &Shared<R>) {
        shared.set_routes(Routes::new(Arc::clone(&self.table), self.nodes.clients()));
        // A hook that was added while the client was opened has not found it in the routes.
        for client in self.nodes.take_new() {
            client.shared().attach_all();
            client.shared().note_hooks();
        }
    }

    /// Opens a client by `open`. True if there is a new one.
    fn open(
        &mut self,
        shared: &Shared<R>,
        node: NodeId,
        open: impl FnOnce(&mut Nodes<R, D>) -> Result<bool, ConfigError>,
    ) -> bool {
        open(&mut self.nodes).unwrap_or_else(|error| {
            self.tell_not_opened(shared, node, NodeError::Config(error.clone()));
            self.start.note_impossible(node, error);
            self.facts.push(Fact::Failed(node));
            shared.wake();
            false
        })
    }

    fn tell_not_opened(&self, shared: &Shared<R>, node: NodeId, error: NodeError) {
        if let Some(endpoint) = shared.endpoint(node) {
            shared.emit(ClusterEvent::NodeNotOpened { node, endpoint, error });
        }
    }

    fn ask(&mut self, query: QueryId, node: NodeId, request: TopologyRequest) {
        let sent = self.nodes.client(node).zip(Request::command(request.command()).ok());
        match sent.and_then(|(client, request)| Client::clone(client).into_sent(request, None).ok()) {
            Some(reply) => self.questions.push((query, reply)),
            None => self.facts.push(Fact::NoTopology(query)),
        }
        // The reply is polled in the next turn, which registers the task for it.
        self.guard.shared.wake();
    }

    /// Closes the clients of all nodes. Ready when nothing of them is left.
    fn close(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        self.questions.clear();
        let grace = until.saturating_duration_since(self.guard.shared.runtime.now());
        self.nodes.shutdown(grace);
        let nodes = &self.nodes;
        let closing = self.closing.get_or_insert_with(|| Box::pin(nodes.gone()));
        closing.as_mut().poll(cx)
    }
}

/// Ends the client when its control task ends, or is dropped before its end.
struct Guard<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> Drop for Guard<R> {
    fn drop(&mut self) {
        self.shared.inbox.signals.disconnect();
        self.shared.end();
    }
}
