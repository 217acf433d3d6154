//! A cluster as one machine: which node serves which slot, and where a request goes that a node did not run.
//!
//! [`Cluster`] has the four verbs of this crate, and no connection: each node is an ordinary client of the owner's, which opens,
//! closes and asks it as [`Decision`]s say. It hands out one immutable [`Table`] after the other. A request reads the newest one, goes
//! to a node, and comes to the machine only if that node says that it did not run it ([`is_refusal`]), or could not be sent it.
//! The [guide](crate::guide#clusters) shows the loop.
//!
//! # What is believed
//!
//! Nodes disagree while slots move, and what they say arrives late. So whatever is known of a slot has an instant, whose state it
//! shows at least, and the later one wins, slot by slot:
//!
//! | known by | its instant |
//! |---|---|
//! | a snapshot, the answer to a topology question | when the question was asked |
//! | a redirect (MOVED) | when the request that was redirected was sent ([`Sent::sent_at`]) |
//! | an announcement (SMIGRATED) | when the first push with its id was received; of two announcements the higher id wins |
//!
//! So a snapshot that was asked for before an announcement never takes that back, copies of an announcement do nothing however late
//! they come, and a MOVED for a request from before either sends the request on and patches nothing.
//!
//! Servers tell old events again to whoever connects. So an announcement changes nothing, and has the topology read, if its id is lower than
//! one that was heard before, or if the owner of the slot is neither the node that had it nor the one that has got it; and one that does
//! not say which node had the slots has the topology read besides.
//!
//! An answer is not believed, and the next node is asked, if it cannot be read, names no slot, gives a slot to two nodes, says of no owner
//! where it is, or names none of the nodes that are known: then an address leads to another cluster. Only if for ten seconds nobody
//! says anything else, or if no node serves and the name of a seed, looked up anew, leads there, the cluster has been made
//! anew, and that is believed. Slots that an answer leaves out keep their owner: nothing that a confused node says takes the map away.
//!
//! # Requests that did not run
//!
//! | reply | what follows |
//! |---|---|
//! | MOVED | the slot is patched, all slots of its shard if the target was known as a replica there; the request goes to the target at once, which is opened if it is not; the topology is read |
//! | ASK | the request goes to the target with ASKING, and nothing else changes. A transaction waits until its slot has moved, because ASKING holds for one command |
//! | TRYAGAIN | it goes to the same node again, after 2 ms at most, doubled up to 100 ms, each shortened by up to half at random |
//! | CLUSTERDOWN, READONLY, LOADING, MASTERDOWN, or not sent at all | the topology is read, and the request goes by the table, after 8 ms at most, doubled up to 100 ms. A command without keys goes to another node at once the first time. |
//!
//! A read that was sent to a replica ([`SentKind::Read`]) goes to the primary at once instead, and the map stays as it is: see [below](#replicas).
//!
//! A script may answer in these words after it has written. So what it says is its caller's, unless it is word for word what a server says
//! of this slot: MOVED, ASK, TRYAGAIN and CLUSTERDOWN.
//!
//! A MOVED or ASK that leads back to the node which says it means that another server is at that address now: the node is no longer looked for
//! there, the topology is read, and the request waits.
//!
//! A request follows 16 redirects ([`max_redirects`](SettingsBuilder::max_redirects)), the first four of them at once; pauses are
//! bounded by its deadline alone, and shortened where that is near. In the end the caller has the last error of the server.
//!
//! # Topology reads
//!
//! One question at a time, at least 250 ms between rounds ([`min_refresh_interval`](SettingsBuilder::min_refresh_interval)), and
//! four times as much where a MOVED has patched the map already; another node each time. A reason that a question has not taken in leads to another one, and no reason is lost. While answers
//! change nothing, pauses grow to a sixteenth of the time for which they have not, and to 5 s at most. A node that does not answer
//! within a second, or is closed, is passed over; when no node is left, the configured seeds are opened again, and replicas that are not open, and
//! rounds come at pauses of up to two seconds. A request that has timed out at a node is a reason; without one, the topology is read
//! once a minute.
//!
//! The question is CLUSTER SLOTS, although servers call it deprecated: each of them knows it, it names the ports that fit the
//! connection, and leaves out replicas that cannot serve. CLUSTER SHARDS has nothing besides that is of use here, and some services
//! refuse it. It is asked where CLUSTER SLOTS is refused, and then first; a node that refuses both tells nothing.
//!
//! # Nodes
//!
//! A node has the id that the server gives it, else its address, and its [`NodeId`] outlives both its connections and its
//! address: listed somewhere else, it is opened there ([`Decision::Retarget`]), and its slots follow. Where a MOVING has led its
//! connections, and what a topology names besides, are other addresses of the same node; several ids that are first heard of at one address are one node. Every node with slots is opened, and closed
//! when nothing has led to it for five seconds ([`node_grace`](SettingsBuilder::node_grace)); of one that fails, opening is said again
//! after pauses that grow, as long as something leads to it.
//!
//! When SMIGRATED names a node that is not connected, its new slots lead to the old node until it is, for a second at most, as long as the
//! old one serves them. SMIGRATING and
//! the move of a MOVING concern one node, and are the business of its client.
//!
//! # Replicas
//!
//! Where replicas are [opened](SettingsBuilder::open_replicas), the table names for each slot the one that is read from
//! ([`Table::replica_for`]): each of those that are connected has its part of the slots, so that nothing is counted on the way of a request, and
//! the reads of one key do not go back in time from replica to replica. [`only_reads`] says which requests may go there.
//!
//! | a replica | what follows |
//! |---|---|
//! | is lost, or did not get the read; answers LOADING, MASTERDOWN or CLUSTERDOWN, or MOVED to its own primary | the primary runs the read at once; the replica is left out for 50 ms at most, doubled up to 2 s |
//! | answers MOVED to another shard | the primary runs the read at once, and says itself where the slot has gone: a replica hears of that last |
//! | answers ASK | as a primary's |
//! | has not answered a read in its time | that read is its caller's; the replica is left out for ten seconds |
//! | has refused READONLY ([`handle_readonly_refused`](Cluster::handle_readonly_refused)) | it is left out until its client is opened anew |
//! | is promoted | the next MOVED or topology makes it the primary, and its client is that of before |
//!
//! # Bounds
//!
//! 4096 nodes with nine addresses each, as many runs in the map as there are slots, and the ids of 64 announcements; all of it
//! however long the machine runs and whatever servers say.

mod announced;
mod combine;
#[cfg(feature = "driver")]
mod crossing;
mod event;
#[cfg(feature = "explore")]
mod fingerprint;
mod heard;
mod holds;
mod map;
mod nodes;
mod redirect;
mod refresh;
mod requests;
mod rest;
mod route;
mod settings;
mod snapshot;
mod split;
mod stats;
mod strangers;
mod table;
#[cfg(test)]
mod tests;
mod topology;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use resp3_codec::Frame;

pub use self::combine::Combine;
#[cfg(feature = "driver")]
pub(crate) use self::crossing::{Crossing, Order};
pub use self::event::{ClusterEvent, NodeError, SlotsMoveCause, TopologyError};
use self::heard::Heard;
use self::holds::Holds;
use self::map::SlotMap;
use self::nodes::{Departure, Failure, Nodes};
pub use self::redirect::is_refusal;
#[cfg(feature = "driver")]
pub(crate) use self::redirect::{is_about_another_slot, is_refusal_of_server};
use self::refresh::Refresh;
#[cfg(feature = "driver")]
pub(crate) use self::route::strays_from;
pub use self::route::{Route, Routed, Scope, commands, only_reads, route, route_request};
pub use self::settings::{ReadFrom, Settings, SettingsBuilder};
pub use self::split::{Split, split};
pub use self::stats::ClusterStats;
use self::strangers::Strangers;
pub use self::table::{Shard, Table};
pub use self::words::{Decision, Next, Sent, SentKind, TopologyRequest, Trail};
use crate::endpoint::Endpoint;
use crate::error::ServerError;
use crate::ids::{NodeId, QueryId};
use crate::notification::Notification;
use crate::rng::Rng;
pub use crate::slots::{MAX_SLOT, SLOTS, SlotError, SlotMove, SlotRange, SlotSet, key_slot};
use crate::timer::earliest;

/// The map of a cluster, and all decisions about it. It owns no connection: each node is an ordinary client of its owner's.
///
/// Tell it the facts (`handle_*`), obey its [`Decision`]s until there is none, and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says so. Every method is total: nodes that are forgotten and questions that are not waited
/// for do nothing. The [module](self) explains what it decides.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub struct Cluster {
    settings: Settings,
    /// The configured endpoints.
    seeds: Vec<Endpoint>,
    nodes: Nodes,
    map: SlotMap,
    holds: Holds,
    heard: Heard,
    refresh: Refresh,
    /// Since when nobody has given a topology yet, or again: the seeds are wanted, and every node that is known.
    seeking_since: Option<Instant>,
    strangers: Strangers,
    /// The map or what is wanted of the nodes has changed since the last look.
    is_stale: bool,
    /// The newest table that was handed out.
    table: Arc<Table>,
    decisions: VecDeque<Decision>,
    /// A new table is to be handed out, behind the decisions above. Many facts at a time make one.
    has_new_table: bool,
    rng: Rng,
    stats: ClusterStats,
}

impl Cluster {
    /// A cluster of which nothing is known but its `seeds`, in any order; a seed that is there twice counts once, more than
    /// 4096 are not used, and without any nothing will ever be known. The same `seed` and the same facts give the same decisions.
    #[must_use]
    pub fn new(settings: Settings, seeds: Vec<Endpoint>, seed: u64) -> Self {
        Self {
            refresh: Refresh::new(&settings),
            settings,
            seeds,
            nodes: Nodes::new(),
            map: SlotMap::default(),
            holds: Holds::default(),
            heard: Heard::default(),
            seeking_since: None,
            strangers: Strangers::default(),
            is_stale: false,
            table: Arc::new(Table::empty()),
            decisions: VecDeque::new(),
            has_new_table: false,
            rng: Rng::new(seed),
            stats: ClusterStats::default(),
        }
    }

    /// It begins: the seeds are opened, all at once, and the first that is ready is asked. Called again, it does nothing but read
    /// the topology anew.
    pub fn handle_start(&mut self, now: Instant) {
        if self.nodes.len() == 0 {
            self.seeking_since = Some(now);
            self.reopen_seeds(now);
        }
        self.want_read(now);
        self.settle(now);
    }

    /// The client of `node` can take requests: for the first time, or again.
    pub fn handle_node_ready(&mut self, now: Instant, node: NodeId) {
        if self.nodes.handle_ready(now, node) {
            if self.nodes.take_lost(node)
                && let Some(endpoint) = self.nodes.endpoint(node).cloned()
            {
                self.emit(ClusterEvent::NodeRecovered { node, endpoint });
            }
            if self.map.is_owner(node) {
                self.strangers.handle_owner_ready();
            }
            self.is_stale |= self.settings.opens_replicas();
        }
        self.is_stale |= self.holds.release_for(node);
        self.refresh.handle_node_ready(now, &mut self.rng);
        self.settle(now);
    }

    /// The client of `node` could not be opened, or has lost its last connection and has no other one yet. The topology is read
    /// again, over another node, unless that was said of the last attempts already; [`Decision::Open`] follows after a pause as long as something leads to this one.
    pub fn handle_node_failed(&mut self, now: Instant, node: NodeId) {
        let failure = self.nodes.handle_failed(now, node, &mut self.rng);
        let is_news = matches!(failure, Failure::Lost | Failure::News);
        if failure == Failure::Lost
            && let Some(endpoint) = self.nodes.endpoint(node).cloned()
        {
            self.emit(ClusterEvent::NodeLost { node, endpoint });
        }
        if failure != Failure::Known {
            let was_read_from = is_news && self.settings.opens_replicas();
            self.is_stale |= self.holds.handle_failed(node) || was_read_from;
            if let Some(asking) = self.refresh.take_of(node) {
                self.on_no_answer(now, &asking, TopologyError::Unanswered);
            }
        }
        if is_news {
            self.want_read(now);
        }
        self.settle(now);
    }

    /// A connection to `node` was refused READONLY, so that it would redirect its reads: none go there until the client is opened
    /// anew, or has lost its last connection. To be told before [`handle_node_ready`](Self::handle_node_ready).
    pub fn handle_readonly_refused(&mut self, now: Instant, node: NodeId) {
        if self.nodes.refuse_reads(node) {
            self.is_stale = true;
            if let Some(endpoint) = self.nodes.endpoint(node).cloned() {
                self.emit(ClusterEvent::ReadonlyRefused { node, endpoint });
            }
        }
        self.settle(now);
    }

    /// The reply to a question for the topology, be it an error.
    pub fn handle_topology(&mut self, now: Instant, query: QueryId, reply: &Frame) {
        if let Some(asking) = self.refresh.take(query) {
            self.on_answer(now, &asking, reply);
        }
        self.settle(now);
    }

    /// A question for the topology will not be answered: its connection was lost, or its time was over. The next node is asked.
    pub fn handle_topology_failed(&mut self, now: Instant, query: QueryId) {
        if let Some(asking) = self.refresh.take(query) {
            self.on_no_answer(now, &asking, TopologyError::Unanswered);
        }
        self.settle(now);
    }

    /// A connection to `node` received a notification. All of them may be handed in, every copy of each; SMIGRATED and MOVING
    /// change something here.
    pub fn handle_notification(&mut self, now: Instant, node: NodeId, notification: &Notification) {
        self.on_notification(now, node, notification);
        self.settle(now);
    }

    /// The reply to a request is an error that says that it did not run ([`is_refusal`]). What is to become of it.
    #[must_use]
    pub fn handle_refusal(&mut self, now: Instant, sent: &Sent, error: &ServerError) -> Next {
        let next = self.judge(now, sent, error);
        self.settle(now);
        next
    }

    /// A node's client gave a request back unwritten, because it is closed or has no connection; or there is no node for its slot.
    /// What is to become of it.
    #[must_use]
    pub fn handle_unsent(&mut self, now: Instant, sent: &Sent) -> Next {
        let next = self.reroute(now, sent);
        self.settle(now);
        next
    }

    /// A request that was sent to `node` had no reply before its time was over. The topology is read again, from another node: the cluster may
    /// have replaced a primary that says nothing long before its connections break.
    pub fn handle_timed_out(&mut self, now: Instant, node: NodeId) {
        if self.nodes.endpoint(node).is_some() {
            self.refresh.shun(node);
            self.want_read(now);
            if self.settings.opens_replicas() && !self.map.is_owner(node) {
                self.is_stale |= self.nodes.begin_long_rest(now, node);
            }
        }
        self.settle(now);
    }

    /// Time has passed. Calling it too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(asking) = self.refresh.take_expired(now) {
            self.on_no_answer(now, &asking, TopologyError::Unanswered);
        }
        self.refresh.handle_timeout(now, &mut self.rng);
        self.is_stale |= self.holds.handle_timeout(now) | self.nodes.end_rests(now);
        while let Some((node, location)) = self.nodes.poll_reopen(now) {
            self.decisions.push_back(location.open(node));
        }
        let grace = self.settings.node_grace();
        self.is_stale |= self.nodes.poll_timeout(grace).is_some_and(|at| at <= now);
        self.settle(now);
    }

    /// The next decision. To be asked for after every fact, until there is none.
    pub fn poll_decision(&mut self) -> Option<Decision> {
        self.decisions.pop_front().or_else(|| self.swap_table())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest([
            self.refresh.poll_timeout(),
            self.nodes.poll_timeout(self.settings.node_grace()),
            self.holds.poll_timeout(),
            self.nodes.poll_rest(),
        ])
    }

    /// The newest table that [`Decision::SwapTable`] has handed out; an empty one at first.
    #[must_use]
    pub const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Where `node` is: where the topology says, or where a MOVING that was heard later has led its connections, as long as it has any;
    /// `None` once it is forgotten.
    #[must_use]
    pub fn endpoint(&self, node: NodeId) -> Option<&Endpoint> {
        self.nodes.endpoint(node)
    }

    /// What it has seen so far.
    #[must_use]
    pub fn stats(&self) -> ClusterStats {
        ClusterStats {
            nodes: self.nodes.len(),
            nodes_ready: self.nodes.ready().count(),
            uncovered: self.map.uncovered(),
            ..self.stats
        }
    }

    /// Does what follows from a fact: who is open, who is asked, what the table is.
    fn settle(&mut self, now: Instant) {
        // Nodes are closed first, so that no closed node is asked.
        self.tend_nodes(now);
        self.ask_next(now);
        // If no node could be asked, the seeds are wanted, and are opened here.
        self.tend_nodes(now);
    }

    /// The table that the map makes now, if it is another one.
    fn swap_table(&mut self) -> Option<Decision> {
        if !std::mem::take(&mut self.has_new_table) {
            return None;
        }
        let is_readable = |node| !self.map.is_owner(node) && self.nodes.is_readable(node);
        let table =
            self.map.table(self.holds.iter(), |node| self.settings.opens_replicas() && is_readable(node));
        (table != *self.table).then(|| {
            self.table = Arc::new(table);
            Decision::SwapTable(Arc::clone(&self.table))
        })
    }

    /// The map may lack what has just happened.
    fn want_read(&mut self, now: Instant) {
        self.refresh.want_news(now, &mut self.rng);
    }

    /// The node at `endpoint`. `None` when there are too many nodes.
    fn find_or_add(&mut self, now: Instant, endpoint: Endpoint) -> Option<NodeId> {
        self.nodes.at(&endpoint).or_else(|| self.add_node(now, endpoint))
    }

    fn add_node(&mut self, now: Instant, endpoint: Endpoint) -> Option<NodeId> {
        let node = self.nodes.add(now, endpoint.clone())?;
        self.is_stale = true;
        self.emit(ClusterEvent::NodeAdded { node, endpoint });
        Some(node)
    }

    fn open(&mut self, node: NodeId) {
        if let Some(location) = self.nodes.open(node) {
            self.decisions.push_back(location.open(node));
        }
    }

    /// Opens what is of use, and closes what has not been for a while, if anything has changed since the last look.
    fn tend_nodes(&mut self, now: Instant) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        self.has_new_table = true;
        let is_wanted = |node, is_listed, is_seed| {
            self.map.is_owner(node)
                || self.holds.is_source(node)
                || (self.settings.opens_replicas() && is_listed)
                || (self.seeking_since.is_some() && (is_seed || is_listed))
        };
        let opened = self.nodes.open_wanted(is_wanted);
        let departures = self.nodes.review(now, self.settings.node_grace(), is_wanted);
        for (node, location) in opened {
            self.decisions.push_back(location.open(node));
        }
        if departures.is_empty() {
            return;
        }
        // Nothing leads to what is closed.
        let table = self.swap_table();
        self.decisions.extend(table);
        for departure in departures {
            match departure {
                Departure::Closed { node, endpoint } => self.close(node, endpoint),
                Departure::Forgotten { node, endpoint, was_open } => {
                    if was_open {
                        self.close(node, endpoint.clone());
                    }
                    self.emit(ClusterEvent::NodeRemoved { node, endpoint });
                }
            }
        }
    }

    /// Closes `node`, which is at `endpoint`. If it is being asked, the round goes on with the next one.
    fn close(&mut self, node: NodeId, endpoint: Endpoint) {
        if self.refresh.take_of(node).is_some() {
            self.note_failed_read(node, endpoint, TopologyError::Unanswered);
        }
        self.decisions.push_back(Decision::Close { node });
    }

    fn emit(&mut self, event: ClusterEvent) {
        self.decisions.push_back(Decision::Emit(event));
    }
}
