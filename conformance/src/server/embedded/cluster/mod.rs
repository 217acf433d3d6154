//! The embedded data set as a cluster: which node serves which slot, and what the others say.
//!
//! All nodes share one store and one map, so that a slot that changes hands has its keys with it. Only while a slot is on the
//! move a key is at one of two nodes: at its old one, until it is carried over.

mod commands;
mod hash;
mod redirect;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;

use super::super::cluster::{NodeNaming, OldChannels, ShardPorts};
use super::super::machine::EndpointId;

pub(super) use self::commands::{asking, cluster, readonly, readwrite};
pub(super) use self::hash::slot_of;

/// How many slots there are.
const SLOTS: usize = hitless_core::cluster::SLOTS as usize;

/// Where an endpoint is, for those who are sent to it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) host: Option<String>,
}

/// The map that all nodes share.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: BTreeMap<EndpointId, Node>,
    /// By slot.
    owners: Vec<Option<EndpointId>>,
    moving: BTreeMap<u16, SlotMove>,
    /// Where nodes have been, and where they are.
    former: BTreeMap<EndpointId, EndpointId>,
    is_down: bool,
    ports: ShardPorts,
    old_channels: OldChannels,
}

#[derive(Debug)]
struct Node {
    /// Outlives its address.
    id: String,
    /// Whom it copies; none at a primary.
    primary: Option<EndpointId>,
    naming: NodeNaming,
}

/// A slot between two nodes: its owner migrates it, the other one imports it.
#[derive(Debug)]
struct SlotMove {
    to: EndpointId,
    /// Keys that are at the new node, or would be if they existed.
    carried: BTreeSet<Bytes>,
}

impl Cluster {
    /// A cluster without nodes, in which nobody serves any slot.
    pub(crate) fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            owners: vec![None; SLOTS],
            moving: BTreeMap::new(),
            former: BTreeMap::new(),
            is_down: false,
            ports: ShardPorts::default(),
            old_channels: OldChannels::default(),
        }
    }

    /// Adds a node, or changes what one is. The slots of one that is a replica from now on are its primary's.
    pub(crate) fn set_node(&mut self, endpoint: EndpointId, primary: Option<EndpointId>) {
        let node = self.nodes.entry(endpoint).or_insert_with(|| Node {
            id: format!("{:040x}", 0xabc0_0000_u64 + u64::from(endpoint.0)),
            primary: None,
            naming: NodeNaming::default(),
        });
        node.primary = primary;
        self.former.remove(&endpoint);
        if primary.is_some() {
            for owner in self.owners.iter_mut().filter(|owner| **owner == Some(endpoint)) {
                *owner = primary;
            }
        }
    }

    /// Removes a node. Its slots have nobody to serve them.
    pub(crate) fn remove_node(&mut self, endpoint: EndpointId) {
        self.nodes.remove(&endpoint);
        for owner in &mut self.owners {
            *owner = owner.filter(|owner| *owner != endpoint);
        }
        self.moving.retain(|_, moving| moving.to != endpoint);
    }

    /// Has a node be at another endpoint, which serves no node.
    pub(crate) fn relocate(&mut self, from: EndpointId, to: EndpointId) {
        let Some(node) = self.nodes.remove(&from) else { return };
        self.nodes.insert(to, node);
        self.former.insert(from, to);
        for primary in self.nodes.values_mut().filter_map(|node| node.primary.as_mut()) {
            *primary = if *primary == from { to } else { *primary };
        }
        for owner in self.owners.iter_mut().flatten().filter(|owner| **owner == from) {
            *owner = to;
        }
        for moving in self.moving.values_mut().filter(|moving| moving.to == from) {
            moving.to = to;
        }
    }

    /// Where the node is that this endpoint serves.
    fn seat(&self, endpoint: EndpointId) -> EndpointId {
        self.former.get(&endpoint).copied().unwrap_or(endpoint)
    }

    pub(crate) fn set_naming(&mut self, endpoint: EndpointId, naming: NodeNaming) {
        if let Some(node) = self.nodes.get_mut(&endpoint) {
            node.naming = naming;
        }
    }

    pub(crate) fn set_ports(&mut self, ports: ShardPorts) {
        self.ports = ports;
    }

    pub(crate) fn set_old_channels(&mut self, old: OldChannels) {
        self.old_channels = old;
    }

    pub(crate) fn set_down(&mut self, is_down: bool) {
        self.is_down = is_down;
    }

    /// Gives slots to a node, or to none. Whatever move they were on is over.
    pub(crate) fn assign(&mut self, slots: impl IntoIterator<Item = u16>, owner: Option<EndpointId>) {
        for slot in slots {
            if let Some(place) = self.owners.get_mut(usize::from(slot)) {
                *place = owner;
                self.moving.remove(&slot);
            }
        }
    }

    /// Puts slots between their owner and another node. Those that have no owner, or this one, stay where they are.
    pub(crate) fn open(&mut self, slots: impl IntoIterator<Item = u16>, to: EndpointId) {
        for slot in slots {
            if self.owner(slot).is_some_and(|owner| owner != to) {
                self.moving.insert(slot, SlotMove { to, carried: BTreeSet::new() });
            }
        }
    }

    /// Gives slots on the move to the nodes that import them.
    pub(crate) fn close(&mut self, slots: impl IntoIterator<Item = u16>) {
        for slot in slots {
            if let Some(to) = self.moving.get(&slot).map(|moving| moving.to) {
                self.assign([slot], Some(to));
            }
        }
    }

    /// Takes a key to the node that imports its slot.
    pub(crate) fn carry(&mut self, key: &[u8]) {
        if let Some(moving) = self.moving.get_mut(&slot_of(key)) {
            // Out of the read buffer of a connection.
            moving.carried.insert(Bytes::copy_from_slice(key));
        }
    }

    /// Makes a replica what its primary is, and that its replica; the other replicas follow.
    pub(crate) fn promote(&mut self, replica: EndpointId) {
        let Some(old) = self.primary_of(replica).filter(|old| *old != replica) else { return };
        for (endpoint, node) in &mut self.nodes {
            if *endpoint == replica {
                node.primary = None;
            } else if *endpoint == old || node.primary == Some(old) {
                node.primary = Some(replica);
            }
        }
        for owner in self.owners.iter_mut().flatten().filter(|owner| **owner == old) {
            *owner = replica;
        }
        for moving in self.moving.values_mut().filter(|moving| moving.to == old) {
            moving.to = replica;
        }
    }

    /// Who serves a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<EndpointId> {
        self.owners.get(usize::from(slot)).copied().flatten()
    }

    /// The node that imports a slot.
    pub(crate) fn importer(&self, slot: u16) -> Option<EndpointId> {
        self.moving.get(&slot).map(|moving| moving.to)
    }

    pub(crate) fn primaries(&self) -> Vec<EndpointId> {
        let primaries = self.nodes.iter().filter(|(_, node)| node.primary.is_none());
        primaries.map(|(endpoint, _)| *endpoint).collect()
    }

    /// The primary of a node's shard: the node itself, or whom it copies.
    fn primary_of(&self, endpoint: EndpointId) -> Option<EndpointId> {
        let endpoint = self.seat(endpoint);
        self.nodes.get(&endpoint).map(|node| node.primary.unwrap_or(endpoint))
    }

    pub(super) fn is_replica(&self, endpoint: EndpointId) -> bool {
        self.nodes.get(&self.seat(endpoint)).is_some_and(|node| node.primary.is_some())
    }

    /// Whether a key would be in the data of this node.
    pub(super) fn holds(&self, endpoint: EndpointId, key: &[u8]) -> bool {
        let slot = slot_of(key);
        let moving = self.moving.get(&slot).filter(|moving| moving.carried.contains(key));
        let at = moving.map_or_else(|| self.owner(slot), |moving| Some(moving.to));
        at.is_some() && at == self.primary_of(endpoint)
    }

    /// Whether a node or its primary serves the slot of a sharded channel. While it is on the move that is the old one.
    fn serves(&self, endpoint: EndpointId, channel: &[u8]) -> bool {
        let owner = self.owner(slot_of(channel));
        owner.is_some() && owner == self.primary_of(endpoint)
    }

    /// Whether what is published to a sharded channel comes to those who are subscribed at a node.
    pub(super) fn shows(&self, endpoint: EndpointId, channel: &[u8]) -> bool {
        self.old_channels == OldChannels::Shown || self.serves(endpoint, channel)
    }

    /// Whether those who are subscribed to a sharded channel at a node are told that this is over.
    pub(super) fn ends(&self, endpoint: EndpointId, channel: &[u8]) -> bool {
        self.old_channels == OldChannels::End && !self.serves(endpoint, channel)
    }

    /// The slots of each primary, as ranges, ascending.
    fn ranges(&self) -> Vec<(u16, u16, EndpointId)> {
        let mut ranges: Vec<(u16, u16, EndpointId)> = Vec::new();
        for (slot, owner) in (0_u16..).zip(&self.owners) {
            let Some(owner) = *owner else { continue };
            match ranges.last_mut() {
                Some((_, last, of)) if *of == owner && *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot, owner)),
            }
        }
        ranges
    }

    pub(crate) fn replicas_of(&self, primary: EndpointId) -> impl Iterator<Item = EndpointId> + '_ {
        let replicas = self.nodes.iter().filter(move |(_, node)| node.primary == Some(primary));
        replicas.map(|(endpoint, _)| *endpoint)
    }
}
