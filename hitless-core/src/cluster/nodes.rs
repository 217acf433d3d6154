//! The nodes that are known: by which id and which addresses, and how each of them does.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rest::Rest;
use super::snapshot::{Listed, MAX_NODES};
use super::words::Decision;
use crate::backoff::Reconnect;
use crate::endpoint::{Endpoint, Host};
use crate::ids::{Arena, NodeId};
use crate::rng::Rng;
use crate::timer::{after, earliest};

/// Addresses of one node: the one that it is opened at, those that the cluster announces besides, and where MOVINGs have led.
const ALIASES: usize = 8;

/// Beyond so many failures, some two minutes of them, one more is no news: the topology is read now and then anyway. A power of two.
const LAST_NEWS: u32 = 64;

/// How the client of a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is none.
    Known,
    Opening,
    Ready {
        since: Instant,
    },
    /// It is opened again then.
    Failed {
        retry_at: Instant,
    },
}

#[derive(Clone, Debug)]
struct Node {
    name: Option<Arc<str>>,
    endpoint: Endpoint,
    hostname: Option<Arc<str>>,
    /// Other addresses, the newest last.
    aliases: Vec<Endpoint>,
    /// Where a MOVING has led the connections that it has.
    moved: Option<Moved>,
    state: State,
    failures: Reconnect,
    /// How many there were since it had no client, or was well. Another address changes nothing: nodes may disagree about it at each read.
    failed: u32,
    /// It was lost, and has had no connection since.
    is_lost: bool,
    /// The last snapshot that was believed lists it.
    is_listed: bool,
    /// It is one of the configured seeds.
    is_seed: bool,
    /// It is open, and nothing has led to it since then.
    idle_since: Option<Instant>,
    /// It refuses READONLY.
    refuses_reads: bool,
    /// Whether it is left alone as a replica.
    rest: Rest,
}

/// What a MOVING has said.
#[derive(Clone, Debug)]
struct Moved {
    to: Endpoint,
    heard_at: Instant,
    /// A topology that was asked for later lists the node where it was.
    is_contradicted: bool,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) endpoint: Endpoint,
    pub(super) hostname: Option<Arc<str>>,
}

impl Location {
    /// The decision to open `node` there.
    pub(super) fn open(self, node: NodeId) -> Decision {
        Decision::Open { node, endpoint: self.endpoint, hostname: self.hostname }
    }
}

/// What a listing says of a node that was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relocation {
    /// It is where it was, or nobody has a client of it.
    None,
    /// Its connections are to be opened somewhere else.
    Elsewhere,
    /// Its address is another one that was known as its own: what is connected may stay.
    Alias,
}

/// What is new about a node that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing: it had failed already, or has no client.
    Known,
    /// It had a connection, and has none any more.
    Lost,
    /// It could not be opened: for the first time, or for twice as long as when that was news last.
    News,
    /// It could not be opened again.
    Again,
}

/// What becomes of a node that nothing leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It is closed, and stays known.
    Closed { node: NodeId, endpoint: Endpoint },
    /// It is closed if it was open, and forgotten.
    Forgotten { node: NodeId, endpoint: Endpoint, was_open: bool },
}

/// All nodes, at most [`MAX_NODES`] at a time.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    nodes: Arena<NodeId, Node>,
    by_name: BTreeMap<Arc<str>, NodeId>,
    by_endpoint: BTreeMap<Endpoint, NodeId>,
}

impl Nodes {
    pub(super) const fn new() -> Self {
        Self { nodes: Arena::new(), by_name: BTreeMap::new(), by_endpoint: BTreeMap::new() }
    }

    // ---- Who is who

    /// A node at `endpoint` that nobody has heard of. `None` when there are too many.
    pub(super) fn add(&mut self, now: Instant, endpoint: Endpoint) -> Option<NodeId> {
        if self.nodes.len() >= MAX_NODES {
            return None;
        }
        let node = self.nodes.insert(Node {
            name: None,
            endpoint: endpoint.clone(),
            hostname: None,
            aliases: Vec::new(),
            moved: None,
            state: State::Known,
            failures: Reconnect::new(),
            failed: 0,
            is_lost: false,
            is_listed: false,
            is_seed: false,
            idle_since: Some(now),
            refuses_reads: false,
            rest: Rest::default(),
        });
        self.by_endpoint.insert(endpoint, node);
        Some(node)
    }

    /// The node that a snapshot lists, if its id or one of its addresses is known. Where the node at its address has another id, that
    /// is another node, unless `is_listed` says that this other id is listed nowhere: then the server at the address has been
    /// replaced, or has begun anew.
    pub(super) fn find(&self, listed: &Listed, is_listed: impl Fn(&str) -> bool) -> Option<NodeId> {
        if let Some(node) = listed.name.as_ref().and_then(|name| self.by_name.get(name)) {
            return Some(*node);
        }
        let is_free = |node: &NodeId| {
            let known = self.nodes.get(*node).map(|node| node.name.as_deref());
            listed.name.is_none() || !known.flatten().is_some_and(&is_listed)
        };
        let addresses = listed.endpoint.iter().chain(&listed.others);
        addresses.filter_map(|address| self.at(address)).find(is_free)
    }

    /// Whether the id of `listed` is known.
    pub(super) fn is_known(&self, listed: &Listed) -> bool {
        listed.name.as_ref().is_some_and(|name| self.by_name.contains_key(name))
    }

    /// The node that is, or was heard to be, at `endpoint`.
    pub(super) fn at(&self, endpoint: &Endpoint) -> Option<NodeId> {
        self.by_endpoint.get(endpoint).copied()
    }

    /// Takes in what a snapshot that was asked for at `as_of` says of `node`.
    pub(super) fn note_listed(&mut self, node: NodeId, listed: &Listed, as_of: Instant) -> Relocation {
        let Some(known) = self.nodes.get_mut(node) else { return Relocation::None };
        known.is_listed = true;
        let was_named = known.name.is_some();
        if listed.hostname.is_some() {
            known.hostname.clone_from(&listed.hostname);
        }
        if let Some(name) = &listed.name
            && known.name.as_ref() != Some(name)
        {
            let former = known.name.replace(Arc::clone(name));
            if let Some(former) = former.filter(|former| self.by_name.get(former) == Some(&node)) {
                self.by_name.remove(&former);
            }
            self.by_name.insert(Arc::clone(name), node);
        }
        // Several nodes may share another name: what is connected by that alone may be connected to any of them.
        let others = if was_named { listed.others.as_slice() } else { &[] };
        let relocation = listed.endpoint.as_ref().map(|at| self.relocate(node, at, others, as_of));
        listed.others.iter().for_each(|alias| self.add_alias(node, alias));
        relocation.unwrap_or(Relocation::None)
    }

    /// No node is listed any more, until it is.
    pub(super) fn unlist_all(&mut self) {
        self.nodes.values_mut().for_each(|node| node.is_listed = false);
    }

    /// The connections of `node` go to this address.
    pub(super) fn note_moving(&mut self, now: Instant, node: NodeId, target: &Endpoint) {
        self.add_alias(node, target);
        if let Some(known) = self.nodes.get_mut(node) {
            known.moved = Some(Moved { to: target.clone(), heard_at: now, is_contradicted: false });
        }
    }

    /// `node` answers to this address as well.
    pub(super) fn add_alias(&mut self, node: NodeId, alias: &Endpoint) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        if known.endpoint == *alias {
            return;
        }
        let is_new = !known.aliases.contains(alias);
        if is_new {
            known.aliases.push(alias.clone());
        }
        let dropped = (known.aliases.len() > ALIASES).then(|| known.aliases.remove(0));
        // An address that another node is opened at says more than what one is called besides.
        let holder = self.by_endpoint.get(alias).and_then(|holder| self.nodes.get(*holder));
        if holder.is_none() || (is_new && holder.is_some_and(|holder| holder.endpoint != *alias)) {
            self.by_endpoint.insert(alias.clone(), node);
        }
        if let Some(dropped) = dropped {
            self.release(&dropped, node);
        }
    }

    /// `node` does not answer to this address after all, unless it is the one that it is opened at.
    pub(super) fn drop_alias(&mut self, node: NodeId, alias: &Endpoint) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        known.aliases.retain(|other| other != alias);
        if known.endpoint != *alias {
            self.release(alias, node);
        }
    }

    /// Whether `listed` is certainly one of the nodes that the last snapshot listed: by its id where both have one.
    pub(super) fn is_acquaintance(&self, listed: &Listed) -> bool {
        let by_name = listed.name.as_ref().and_then(|name| self.by_name.get(name).copied());
        let by_address = || {
            let node = self.at(listed.endpoint.as_ref()?)?;
            let is_named = listed.name.is_some() && self.nodes.get(node)?.name.is_some();
            (!is_named).then_some(node)
        };
        let node = by_name.or_else(by_address).and_then(|node| self.nodes.get(node));
        node.is_some_and(|node| node.is_listed)
    }

    /// Notes that a configured seed leads to `node`.
    pub(super) fn set_seed(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.is_seed = true;
        }
    }

    // ---- How they do

    /// A client of `node` is wanted. Where it is, if there is none.
    pub(super) fn open(&mut self, node: NodeId) -> Option<Location> {
        let node = self.nodes.get_mut(node)?;
        if node.state != State::Known {
            return None;
        }
        node.begin_opening();
        node.failed = 0;
        Some(node.location())
    }

    /// Opens those without a client of which one `is_wanted`, given whether they are listed and whether they are seeds.
    pub(super) fn open_wanted(
        &mut self,
        is_wanted: impl Fn(NodeId, bool, bool) -> bool,
    ) -> Vec<(NodeId, Location)> {
        let is_due = |(id, node): &(NodeId, &Node)| {
            node.state == State::Known && is_wanted(*id, node.is_listed, node.is_seed)
        };
        let due: Vec<NodeId> = self.nodes.iter().filter(is_due).map(|(id, _)| id).collect();
        due.into_iter().filter_map(|id| Some((id, self.open(id)?))).collect()
    }

    /// Says whether that is news.
    pub(super) fn handle_ready(&mut self, now: Instant, node: NodeId) -> bool {
        if let Some(node) = self.nodes.get_mut(node)
            && matches!(node.state, State::Opening | State::Failed { .. })
        {
            node.state = State::Ready { since: now };
            return true;
        }
        false
    }

    /// Says what is new about it.
    pub(super) fn handle_failed(&mut self, now: Instant, node: NodeId, rng: &mut Rng) -> Failure {
        let Some(node) = self.nodes.get_mut(node) else { return Failure::Known };
        let was_ready = match node.state {
            State::Known | State::Failed { .. } => return Failure::Known,
            State::Ready { .. } => true,
            State::Opening => false,
        };
        node.note_health(now);
        node.state = State::Failed { retry_at: after(now, node.failures.next(rng)) };
        node.refuses_reads = false;
        // It is opened where it was.
        node.moved = None;
        node.failed = node.failed.saturating_add(1).min(LAST_NEWS + 1);
        node.is_lost |= was_ready;
        match node.failed {
            _ if was_ready => Failure::Lost,
            failed if failed.is_power_of_two() && failed <= LAST_NEWS => Failure::News,
            _ => Failure::Again,
        }
    }

    /// Whether `node` was lost since this was last asked.
    pub(super) fn take_lost(&mut self, node: NodeId) -> bool {
        self.nodes.get_mut(node).is_some_and(|node| std::mem::take(&mut node.is_lost))
    }

    /// The next node that is to be opened again at `now`.
    pub(super) fn poll_reopen(&mut self, now: Instant) -> Option<(NodeId, Location)> {
        let is_due = |node: &Node| matches!(node.state, State::Failed { retry_at } if retry_at <= now);
        let id = self.nodes.iter().find(|(_, node)| is_due(node)).map(|(id, _)| id)?;
        let node = self.nodes.get_mut(id)?;
        node.state = State::Opening;
        Some((id, node.location()))
    }

    /// `node` refuses READONLY. Says whether that is news.
    pub(super) fn refuse_reads(&mut self, node: NodeId) -> bool {
        self.nodes.get_mut(node).is_some_and(|node| !std::mem::replace(&mut node.refuses_reads, true))
    }

    /// `node` has not served a read. Says whether it rests from now on, and has not before.
    pub(super) fn begin_rest(&mut self, now: Instant, node: NodeId, sent_at: Instant, rng: &mut Rng) -> bool {
        self.nodes.get_mut(node).is_some_and(|node| node.rest.begin(now, sent_at, rng))
    }

    /// `node` has not answered a read. Says whether it rests from now on, and has not before.
    pub(super) fn begin_long_rest(&mut self, now: Instant, node: NodeId) -> bool {
        self.nodes.get_mut(node).is_some_and(|node| node.rest.begin_long(now))
    }

    /// Time has passed. Says whether somebody has rested for long enough.
    pub(super) fn end_rests(&mut self, now: Instant) -> bool {
        let mut is_over = false;
        self.nodes.values_mut().for_each(|node| is_over |= node.rest.handle_timeout(now));
        is_over
    }

    /// When [`end_rests`](Self::end_rests) has something to do.
    pub(super) fn poll_rest(&self) -> Option<Instant> {
        earliest(self.nodes.iter().map(|(_, node)| node.rest.poll_timeout()))
    }

    // ---- Who is still of use

    /// Something is sent to `node`, although perhaps nothing leads there: it stays open for a while longer.
    pub(super) fn touch(&mut self, now: Instant, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.idle_since = node.idle_since.map(|_| now);
        }
    }

    /// Notes which of the nodes `is_wanted` from `now` on, given whether they are listed and whether they are seeds. Says which have been
    /// open for longer than `grace` without being wanted.
    pub(super) fn review(
        &mut self,
        now: Instant,
        grace: Duration,
        is_wanted: impl Fn(NodeId, bool, bool) -> bool,
    ) -> Vec<Departure> {
        let mut due = Vec::new();
        let ids: Vec<NodeId> = self.nodes.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            if is_wanted(id, node.is_listed, node.is_seed) {
                node.idle_since = None;
                continue;
            }
            let is_over = after(*node.idle_since.get_or_insert(now), grace) <= now;
            match node.state {
                State::Known if node.is_listed => {}
                _ if is_over && node.is_listed => {
                    node.note_health(now);
                    node.state = State::Known;
                    due.push(Departure::Closed { node: id, endpoint: node.whereabouts().clone() });
                }
                state if is_over || state == State::Known => due.extend(self.forget(id)),
                _ => {}
            }
        }
        due
    }

    /// When [`poll_reopen`](Self::poll_reopen) or [`review`](Self::review) has something to do.
    pub(super) fn poll_timeout(&self, grace: Duration) -> Option<Instant> {
        earliest(self.nodes.iter().flat_map(|(_, node)| {
            let retry_at = match node.state {
                State::Failed { retry_at } => Some(retry_at),
                _ => None,
            };
            let is_open = node.state != State::Known;
            [retry_at, node.idle_since.filter(|_| is_open).map(|since| after(since, grace))]
        }))
    }

    // ---- Looking

    pub(super) fn location(&self, node: NodeId) -> Option<Location> {
        self.nodes.get(node).map(Node::location)
    }

    /// Where `node` is: where it is listed, or where a MOVING has led that was heard later.
    pub(super) fn endpoint(&self, node: NodeId) -> Option<&Endpoint> {
        self.nodes.get(node).map(Node::whereabouts)
    }

    /// Where the connections of `node` are: where it is opened, unless a MOVING has led them somewhere else.
    pub(super) fn asked_at(&self, node: NodeId) -> Option<&Endpoint> {
        self.nodes.get(node).map(|node| node.moved.as_ref().map_or(&node.endpoint, |moved| &moved.to))
    }

    /// Whether `node` is opened at `endpoint`.
    pub(super) fn is_opened_at(&self, node: NodeId, endpoint: &Endpoint) -> bool {
        self.nodes.get(node).is_some_and(|node| node.endpoint == *endpoint)
    }

    /// Whether `node` is a configured seed with a name, and connected since `since` or later.
    pub(super) fn is_seed_since(&self, node: NodeId, since: Instant) -> bool {
        self.nodes.get(node).is_some_and(|node| {
            let is_connected = matches!(node.state, State::Ready { since: connected } if connected >= since);
            is_connected && node.is_seed && matches!(node.endpoint.host(), Some(Host::Name(_)))
        })
    }

    pub(super) fn is_ready(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_some_and(|node| matches!(node.state, State::Ready { .. }))
    }

    /// Whether `node` may be read from where it is a replica.
    pub(super) fn is_readable(&self, node: NodeId) -> bool {
        self.is_ready(node)
            && self.nodes.get(node).is_some_and(|node| !node.refuses_reads && !node.rest.is_on)
    }

    /// Those that can take requests, by their ids.
    pub(super) fn ready(&self) -> impl Iterator<Item = NodeId> {
        let ready = self.nodes.iter().filter(|(_, node)| matches!(node.state, State::Ready { .. }));
        ready.map(|(id, _)| id)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    // ---- Private

    /// `node` was at `at` at `as_of`, and at these `others`.
    fn relocate(&mut self, node: NodeId, at: &Endpoint, others: &[Endpoint], as_of: Instant) -> Relocation {
        let Some(known) = self.nodes.get_mut(node) else { return Relocation::None };
        if known.endpoint == *at {
            if let Some(moved) = known.moved.as_mut().filter(|moved| moved.heard_at < as_of) {
                moved.is_contradicted = true;
            }
            self.by_endpoint.insert(at.clone(), node);
            return Relocation::None;
        }
        let is_alias = known.aliases.contains(at) || others.contains(&known.endpoint);
        let former = std::mem::replace(&mut known.endpoint, at.clone());
        known.aliases.retain(|alias| alias != at);
        known.moved.take_if(|moved| moved.heard_at < as_of || moved.to == *at);
        let relocation = match known.state {
            State::Known => Relocation::None,
            State::Ready { .. } if is_alias => Relocation::Alias,
            State::Opening | State::Ready { .. } | State::Failed { .. } => {
                known.note_health(as_of);
                known.begin_opening();
                Relocation::Elsewhere
            }
        };
        self.by_endpoint.insert(at.clone(), node);
        self.release(&former, node);
        if is_alias {
            self.add_alias(node, &former);
        }
        relocation
    }

    /// `node` is not at `endpoint` any more.
    fn release(&mut self, endpoint: &Endpoint, node: NodeId) {
        if self.at(endpoint) == Some(node) {
            self.by_endpoint.remove(endpoint);
        }
    }

    fn forget(&mut self, id: NodeId) -> Option<Departure> {
        let node = self.nodes.remove(id)?;
        for endpoint in node.aliases.iter().chain([&node.endpoint]) {
            self.release(endpoint, id);
        }
        if let Some(name) = &node.name
            && self.by_name.get(name) == Some(&id)
        {
            self.by_name.remove(name);
        }
        let (endpoint, was_open) = (node.whereabouts().clone(), node.state != State::Known);
        Some(Departure::Forgotten { node: id, endpoint, was_open })
    }
}

impl Node {
    /// Forgets the failures of a node that was connected for long enough. Its client is about to be closed, or has failed.
    fn note_health(&mut self, now: Instant) {
        // A server that takes connections and closes them again is no better than one that takes none.
        if let State::Ready { since } = self.state
            && now.saturating_duration_since(since) >= Reconnect::PROVEN_AFTER
        {
            self.failures.reset();
            self.failed = 0;
        }
    }

    /// A new client of it is about to be opened.
    fn begin_opening(&mut self) {
        self.state = State::Opening;
        self.refuses_reads = false;
        self.moved = None;
    }

    fn whereabouts(&self) -> &Endpoint {
        let moved = self.moved.as_ref().filter(|moved| !moved.is_contradicted);
        moved.map_or(&self.endpoint, |moved| &moved.to)
    }

    fn location(&self) -> Location {
        Location { endpoint: self.endpoint.clone(), hostname: self.hostname.clone() }
    }
}
