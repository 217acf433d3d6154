//! Which node serves which slot, as requests read it: one look at a table that is never changed, only replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::handle::Client;
use super::super::traits::Runtime;
use crate::cluster::{Shard, Table};
use crate::ids::{IdMap, NodeId};
use crate::slots::SLOTS;

/// A node and its client.
pub(super) type Place<R> = (NodeId, Client<R>);
/// Nodes in the order of the table; `None` for one that has no client.
type Places<R> = Box<[Option<Place<R>>]>;

/// Whether a slot has left a node, be it that it has come back since.
#[derive(Debug)]
pub(super) struct Watch {
    slot: u16,
    node: NodeId,
    has_left: AtomicBool,
}

impl Watch {
    pub(super) const fn new(slot: u16, node: NodeId) -> Self {
        Self { slot, node, has_left: AtomicBool::new(false) }
    }

    /// Other routes take the place of those before.
    pub(super) fn note<R: Runtime>(&self, routes: &Routes<R>) {
        if routes.of_slot(self.slot).is_some_and(|(node, _)| *node != self.node) {
            self.has_left.store(true, Ordering::Release);
        }
    }

    /// Whether it has left since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.has_left.swap(false, Ordering::AcqRel)
    }
}

/// The table of the machine, with the client of each node.
pub(super) struct Routes<R: Runtime> {
    table: Arc<Table>,
    /// The primary of each shard, in the order of the table.
    primaries: Places<R>,
    /// The replicas of each that may be read from, in the order of the table.
    readable: Box<[Places<R>]>,
    /// Every node that has a client.
    clients: IdMap<NodeId, Client<R>>,
    /// How many shards have a node.
    serving: usize,
    turn: AtomicUsize,
}

impl<R: Runtime> Routes<R> {
    pub(super) fn new(table: Arc<Table>, clients: IdMap<NodeId, Client<R>>) -> Self {
        let place = |node: NodeId| Some((node, clients.get(node)?.clone()));
        let primaries: Places<R> = table.shards().iter().map(|shard| place(shard.primary())).collect();
        let readable = |shard: &Shard| shard.readable().iter().map(|node| place(*node)).collect();
        let readable = table.shards().iter().map(readable).collect();
        let serving = primaries.iter().flatten().count();
        Self { table, primaries, readable, clients, serving, turn: AtomicUsize::new(0) }
    }

    pub(super) const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The node that serves `slot`.
    #[inline]
    pub(super) fn of_slot(&self, slot: u16) -> Option<&Place<R>> {
        self.primaries.get(self.table.shard_of(slot)?)?.as_ref()
    }

    /// The replica that reads of `slot` go to.
    pub(super) fn replica_of(&self, slot: u16) -> Option<&Place<R>> {
        let (shard, place) = self.table.replica_at(slot)?;
        self.readable.get(shard)?.get(place)?.as_ref()
    }

    /// A node that serves slots, another one each time; one that serves none if nobody is known to serve any.
    pub(super) fn any(&self) -> Option<Place<R>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = turn.checked_rem(self.serving).and_then(|at| self.primaries().nth(at)) {
            return Some(place.clone());
        }
        let at = turn.checked_rem(self.clients.len())?;
        self.clients.iter().nth(at).map(|(node, client)| (node, client.clone()))
    }

    /// The nodes that serve slots, one for each shard, each with the first of its slots.
    pub(super) fn each(&self) -> impl Iterator<Item = (u16, &Place<R>)> {
        let mut firsts = vec![None; self.primaries.len()];
        for slot in (0..SLOTS).rev() {
            if let Some(first) = self.table.shard_of(slot).and_then(|shard| firsts.get_mut(shard)) {
                *first = Some(slot);
            }
        }
        firsts.into_iter().zip(&self.primaries).filter_map(|(first, place)| Some((first?, place.as_ref()?)))
    }

    /// The nodes that serve slots, one for each shard.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &Place<R>> {
        self.primaries.iter().flatten()
    }

    /// The first slot that nobody serves.
    pub(super) fn unserved(&self) -> Option<u16> {
        if self.serving == self.primaries.len() && self.table.uncovered() == 0 {
            return None;
        }
        (0..SLOTS).find(|slot| self.of_slot(*slot).is_none())
    }

    /// The client of `node`.
    pub(super) fn client(&self, node: NodeId) -> Option<&Client<R>> {
        self.clients.get(node)
    }

    /// All nodes that have a client.
    pub(super) fn clients(&self) -> &IdMap<NodeId, Client<R>> {
        &self.clients
    }
}
