//! Which node serves which slot: the immutable table that requests read.

use std::fmt;

use crate::ids::NodeId;
use crate::notification::MAX_SLOT;

/// How many slots there are.
pub(super) const SLOTS: usize = MAX_SLOT as usize + 1;
/// The index of a slot that nobody serves. There are at most as many shards as slots, so no shard has it.
pub(super) const NOBODY: u16 = u16::MAX;

/// Nodes that serve the same slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub(super) primary: NodeId,
    pub(super) replicas: Box<[NodeId]>,
    pub(super) readable: Box<[NodeId]>,
}

impl Shard {
    /// The node that takes writes.
    #[must_use]
    pub const fn primary(&self) -> NodeId {
        self.primary
    }

    /// Its replicas, as far as they are known. They are open only where that is
    /// [set](super::SettingsBuilder::open_replicas).
    #[must_use]
    pub fn replicas(&self) -> &[NodeId] {
        &self.replicas
    }

    /// Those of its replicas that are connected, have not refused READONLY, and are not left alone because they have not served a read. None where replicas are not
    /// [opened](super::SettingsBuilder::open_replicas).
    #[must_use]
    pub fn readable(&self) -> &[NodeId] {
        &self.readable
    }
}

/// Which shard serves each of the 16384 slots. It never changes: what changes is which table is the newest
/// ([`Decision::SwapTable`](super::Decision::SwapTable)).
#[derive(Clone, PartialEq, Eq)]
pub struct Table {
    pub(super) shards: Box<[Shard]>,
    pub(super) slots: Box<[u16]>,
}

impl Table {
    /// A table in which nobody serves anything.
    #[must_use]
    pub fn empty() -> Self {
        Self { shards: Box::new([]), slots: vec![NOBODY; SLOTS].into() }
    }

    /// The primary that serves `slot`; `None` if nobody is known to, or there is no such slot.
    #[must_use]
    pub fn node_of(&self, slot: u16) -> Option<NodeId> {
        self.shard_of(slot).and_then(|shard| self.shards.get(shard)).map(Shard::primary)
    }

    /// The replicas of the shard that serves `slot`.
    #[must_use]
    pub fn replicas_of(&self, slot: u16) -> &[NodeId] {
        self.shard_of(slot).and_then(|shard| self.shards.get(shard)).map_or(&[], Shard::replicas)
    }

    /// The replica that [reads](super::only_reads) of `slot` go to; `None` if they go to the primary. Each replica has its part of the slots,
    /// and keeps it when another one goes or comes, so that the reads of one key do not go back and forth between replicas of which one knows more
    /// than the other.
    #[must_use]
    pub fn replica_for(&self, slot: u16) -> Option<NodeId> {
        let (shard, place) = self.replica_at(slot)?;
        self.shards.get(shard)?.readable.get(place).copied()
    }

    /// The place of the shard that serves `slot`, and of the replica among those that are [readable](Shard::readable).
    #[inline]
    pub(crate) fn replica_at(&self, slot: u16) -> Option<(usize, usize)> {
        let shard = self.shard_of(slot)?;
        let readable = &self.shards.get(shard)?.readable;
        let weigh = |place: &usize| readable.get(*place).map(|node| weight(slot, *node));
        Some((shard, (0..readable.len()).max_by_key(weigh)?))
    }

    /// The place in [`shards`](Self::shards) of the shard that serves `slot`: a small number, for tables of your own beside this
    /// one.
    #[must_use]
    #[inline]
    pub fn shard_of(&self, slot: u16) -> Option<usize> {
        self.slots.get(usize::from(slot)).filter(|shard| **shard != NOBODY).map(|shard| usize::from(*shard))
    }

    /// The shards that serve at least one slot, by the ids of their primaries.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// All nodes of all shards, primaries first.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let replicas = self.shards.iter().flat_map(|shard| shard.replicas.iter().copied());
        self.shards.iter().map(Shard::primary).chain(replicas)
    }

    /// How many slots nobody is known to serve.
    #[must_use]
    pub fn uncovered(&self) -> usize {
        self.slots.iter().filter(|shard| **shard == NOBODY).count()
    }
}

/// How much `node` is for `slot`: of several the heaviest one has it, in whatever order they are listed. So a node that goes or comes takes its own
/// slots along, and no others (rendezvous hashing).
fn weight(slot: u16, node: NodeId) -> u64 {
    let mut bits = u64::from(slot) << 32 | node.index() as u64;
    // The finalizer of SplitMix64.
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("shards", &self.shards).field("uncovered", &self.uncovered()).finish()
    }
}
