//! The parts of a command for all shards: which node may run which of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::{SLOTS, Shard, Table};
use crate::ids::NodeId;

/// The part of one node of a command for all shards.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// The node whose slots it is about.
    owner: NodeId,
    /// Who is to run it.
    node: NodeId,
    all: Arc<Shares>,
}

/// The parts of a command for all shards.
#[derive(Debug)]
pub(super) struct Shares {
    /// Who had which slots when it began.
    table: Arc<Table>,
    /// The nodes that have a part.
    nodes: Mutex<BTreeSet<NodeId>>,
}

impl Shares {
    pub(super) fn new(table: &Arc<Table>) -> Self {
        let nodes = table.shards().iter().map(Shard::primary).collect();
        Self { table: Arc::clone(table), nodes: Mutex::new(nodes) }
    }
}

/// Whether a node may run a part of a command for all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayRun {
    Yes,
    /// It does not have all slots that the part is about, at least not yet.
    NotYet,
    /// It has another part.
    Never,
}

impl Share {
    /// The part of `owner`.
    pub(super) const fn new(owner: NodeId, all: Arc<Shares>) -> Self {
        Self { owner, node: owner, all }
    }

    /// Whether `node` may run it, by the table of now. What the nodes say together would be wrong if one of them said it twice, or if one that has some of
    /// the slots were left out.
    pub(super) fn may_run_at(&mut self, node: NodeId, now: &Table) -> MayRun {
        let Shares { table, nodes } = &*self.all;
        let mut nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = node == self.owner || node == self.node;
        if !is_own && nodes.contains(&node) {
            return MayRun::Never;
        }
        let mut own = (0..SLOTS).filter(|slot| table.node_of(*slot) == Some(self.owner));
        if own.any(|slot| now.node_of(slot) != Some(node)) {
            return MayRun::NotYet;
        }
        // The one before has not run it.
        if self.node != self.owner && self.node != node {
            nodes.remove(&self.node);
        }
        nodes.insert(node);
        self.node = node;
        MayRun::Yes
    }
}
