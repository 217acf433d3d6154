//! What a test does to a server that is a cluster: each endpoint can be a node of it, and all nodes share one map.
//!
//! ```
//! use std::time::Duration;
//! use hitless_conformance::server::{EndpointSpec, Notice, Recipients, Server, ServerConfig};
//!
//! let mut server = Server::new(ServerConfig::default());
//! let nodes: Vec<_> = (0..3).map(|_| server.add_endpoint(EndpointSpec::loopback())).collect();
//! server.form_cluster(&nodes);
//! # let now = hitless_conformance::clock::now();
//! // Open source: the slot is on the move, and its keys go over one by one.
//! server.open_slots(now, [0], nodes[1]);
//! server.close_slots(now, [0]);
//! assert_eq!(server.slot_owner(0), Some(nodes[1]));
//! // Redis Cloud: the old node announces the move, all nodes tell of its end.
//! server.slots_migrating(now, Notice::of_slots("1-5", Duration::ZERO).told_to(Recipients::At(nodes[0])));
//! server.assign_slots(now, 1..=5, nodes[1]);
//! server.slots_migrated(now, nodes[0], nodes[1], Notice::of_slots("1-5", Duration::ZERO));
//! ```

use std::time::Instant;

use hitless_core::cluster::SLOTS;

use super::Server;
use super::embedded::{Cluster, Dataset};
use super::machine::EndpointId;

/// How a node is announced: in `CLUSTER SLOTS` and `SHARDS`, and in the errors that lead to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeNaming {
    /// By its address.
    #[default]
    Address,
    /// By its host name; `?` if it has none.
    Host,
    /// By an empty host: the one that was asked.
    Empty,
    /// By a null, and in errors by an empty host: the one that was asked.
    Null,
    /// By `?`: the server does not know.
    Unknown,
}

/// Which ports `CLUSTER SHARDS` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardPorts {
    /// `port`.
    #[default]
    Plain,
    /// `port`, and a `tls-port` of 0.
    TlsZero,
    /// `tls-port`, for servers that only speak TLS.
    TlsOnly,
}

/// What a node shows to those who are subscribed to sharded channels there, once their slot has another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldChannels {
    /// It tells them that this is over.
    #[default]
    End,
    /// They stay subscribed, and nothing comes any more.
    Silent,
    /// They stay subscribed, and what is published at the new node comes, as from two proxies before one shard.
    Shown,
}

/// Clusters. Until [`form_cluster`](Self::form_cluster) or [`add_node`](Self::add_node) the server is none.
impl Server<Dataset> {
    /// Makes these endpoints primaries that share the slots evenly, the first slots at the first one.
    pub fn form_cluster(&mut self, primaries: &[EndpointId]) {
        for (at, primary) in primaries.iter().enumerate() {
            self.add_node(*primary);
            let bound =
                |part: usize| u16::try_from(usize::from(SLOTS) * part / primaries.len()).unwrap_or(SLOTS);
            self.cluster().assign(bound(at)..bound(at + 1), Some(*primary));
        }
    }

    /// Makes an endpoint a primary, without slots if it was no node.
    pub fn add_node(&mut self, endpoint: EndpointId) {
        self.cluster().set_node(endpoint, None);
    }

    /// Makes an endpoint a replica. The slots that it has served are its primary's.
    pub fn add_replica(&mut self, replica: EndpointId, primary: EndpointId) {
        self.cluster().set_node(replica, Some(primary));
    }

    /// Takes an endpoint out of the cluster. Its slots have nobody to serve them; what is connected stays connected.
    pub fn remove_node(&mut self, now: Instant, endpoint: EndpointId) {
        self.cluster().remove_node(endpoint);
        self.on_map_changed(now);
    }

    /// Has a node, with its id, its slots and its replicas, be at another endpoint from now on. Who is connected to the old one is
    /// served as if he were there.
    pub fn relocate(&mut self, now: Instant, from: EndpointId, to: EndpointId) {
        self.cluster().relocate(from, to);
        self.on_map_changed(now);
    }

    /// Gives slots to a node, or to none: at once, with their keys. Who waits at the old node for one of them is sent away, and
    /// who is subscribed to a sharded channel there is told that this is over.
    pub fn assign_slots(
        &mut self,
        now: Instant,
        slots: impl IntoIterator<Item = u16>,
        owner: impl Into<Option<EndpointId>>,
    ) {
        self.cluster().assign(slots, owner.into());
        self.on_map_changed(now);
    }

    /// Puts slots between their owner and `to`, with all keys still at the owner: what `CLUSTER SETSLOT` does with `MIGRATING` and
    /// `IMPORTING`.
    pub fn open_slots(&mut self, now: Instant, slots: impl IntoIterator<Item = u16>, to: EndpointId) {
        self.cluster().open(slots, to);
        self.on_map_changed(now);
    }

    /// Takes a key to the node that imports its slot, as `MIGRATE` does. Without a slot on the move a no-op.
    pub fn carry_key(&mut self, key: &[u8]) {
        self.cluster().carry(key);
    }

    /// Gives slots on the move, with what is left of their keys, to the nodes that import them: `CLUSTER SETSLOT` with `NODE`.
    pub fn close_slots(&mut self, now: Instant, slots: impl IntoIterator<Item = u16>) {
        self.cluster().close(slots);
        self.on_map_changed(now);
    }

    /// Makes a replica the primary of its shard, and its primary a replica. A dead primary is a replica too, when it is back.
    pub fn promote(&mut self, now: Instant, replica: EndpointId) {
        self.cluster().promote(replica);
        self.on_map_changed(now);
    }

    /// Whether all nodes say that the cluster is down, to whatever has a key.
    pub fn set_cluster_down(&mut self, now: Instant, is_down: bool) {
        self.cluster().set_down(is_down);
        self.on_map_changed(now);
    }

    /// How a node is announced from now on.
    pub fn announce_as(&mut self, endpoint: EndpointId, naming: NodeNaming) {
        self.cluster().set_naming(endpoint, naming);
    }

    /// Which ports `CLUSTER SHARDS` tells from now on.
    pub fn set_shard_ports(&mut self, ports: ShardPorts) {
        self.cluster().set_ports(ports);
    }

    /// What becomes of sharded channels whose slots go to another node from now on, and of those that have stayed.
    pub fn set_old_channels(&mut self, now: Instant, old: OldChannels) {
        self.cluster().set_old_channels(old);
        self.on_map_changed(now);
    }

    /// Who serves a slot. While it is on the move that is the old node.
    #[must_use]
    pub fn slot_owner(&self, slot: u16) -> Option<EndpointId> {
        self.backend.map().and_then(|cluster| cluster.owner(slot))
    }

    /// The node that imports a slot while it is on the move.
    #[must_use]
    pub fn slot_importer(&self, slot: u16) -> Option<EndpointId> {
        self.backend.map().and_then(|cluster| cluster.importer(slot))
    }

    /// The primaries, those without slots included.
    #[must_use]
    pub fn primaries(&self) -> Vec<EndpointId> {
        self.backend.map().map(Cluster::primaries).unwrap_or_default()
    }

    /// The replicas of a node.
    #[must_use]
    pub fn replicas(&self, primary: EndpointId) -> Vec<EndpointId> {
        self.backend.map().map(|cluster| cluster.replicas_of(primary).collect()).unwrap_or_default()
    }

    fn cluster(&mut self) -> &mut Cluster {
        self.backend.map_mut()
    }

    fn on_map_changed(&mut self, now: Instant) {
        self.backend.redirect_blocked(now, &mut self.effects);
        self.backend.end_strange_channels(&mut self.effects);
        self.backend.settle(now, &mut self.effects);
        self.settle(now);
    }
}
