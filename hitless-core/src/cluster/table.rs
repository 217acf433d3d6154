//! Which node serves which slot: the immutable table that requests read.

use std::fmt;

use crate::ids::NodeId;
use crate::notification::MAX_SLOT;

/// How many slots there are.
pub(super) const SLOTS: usize = MAX_SLOT as usize + 1;
/// The index of a slot that nobody serves. There are at most 4096 shards, so no shard has it.
pub(super) const NOBODY: u16 = MIXED - 1;

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
    shards: Box<[Shard]>,
    slots: Slots,
}

/// The index of the shard of each slot. Every request looks into it, so it must be small where shards have long runs of slots, as in most
/// clusters: it has 512 bytes then.
#[derive(Clone, PartialEq, Eq)]
struct Slots {
    /// For each 64 slots: the shard of all of them, or, where they differ, `MIXED` and the index in `mixed`.
    blocks: [u16; SLOTS / BLOCK],
    mixed: Box<[[u16; BLOCK]]>,
}

const BLOCK: usize = 64;
/// Set where the slots of a block have different shards.
const MIXED: u16 = 1 << 15;

impl Slots {
    fn new(slots: &[u16]) -> Self {
        let (of_blocks, _) = slots.as_chunks::<BLOCK>();
        let mut blocks = [NOBODY; SLOTS / BLOCK];
        let mut mixed = Vec::new();
        for (block, slots) in blocks.iter_mut().zip(of_blocks) {
            *block = match slots {
                [first, rest @ ..] if rest.iter().all(|shard| shard == first) => *first,
                _ => {
                    mixed.push(*slots);
                    MIXED | (mixed.len() - 1) as u16
                }
            };
        }
        Self { blocks, mixed: mixed.into() }
    }

    #[inline]
    fn get(&self, slot: u16) -> Option<usize> {
        let (block, within) = (usize::from(slot) / BLOCK, usize::from(slot) % BLOCK);
        let shard = match *self.blocks.get(block)? {
            mixed if mixed & MIXED != 0 => *self.mixed.get(usize::from(mixed ^ MIXED))?.get(within)?,
            shard => shard,
        };
        (shard != NOBODY).then_some(usize::from(shard))
    }
}

impl Table {
    /// The table in which each slot has one of `shards`, by its index, or [`NOBODY`]: `slots` has one for each of the 16384.
    pub(super) fn new(shards: Box<[Shard]>, slots: &[u16]) -> Self {
        Self { shards, slots: Slots::new(slots) }
    }

    /// A table in which nobody serves anything.
    #[must_use]
    pub fn empty() -> Self {
        Self { shards: [].into(), slots: Slots { blocks: [NOBODY; SLOTS / BLOCK], mixed: [].into() } }
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
        self.slots.get(slot)
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
        (0..=MAX_SLOT).filter(|slot| self.slots.get(*slot).is_none()).count()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(slots: &[u16]) -> Table {
        Table::new([].into(), slots)
    }

    proptest! {
        /// However the slots lie: long runs, several in one block, slot by slot, and some that nobody serves.
        #[test]
        fn every_slot_has_the_shard_that_it_was_given(
            runs in proptest::collection::vec((prop_oneof![1..4usize, 60..70usize, 1..6_000usize], 0..4u16), 0..40),
            shuffled in 0..SLOTS,
            other in 0..SLOTS,
        ) {
            let mut slots: Vec<u16> =
                runs.iter().flat_map(|(len, shard)| std::iter::repeat_n(if *shard == 3 { NOBODY } else { *shard }, *len)).collect();
            slots.resize(SLOTS, 7);
            slots[..shuffled].iter_mut().enumerate().filter(|(slot, _)| slot % 5 == 0).for_each(|(_, shard)| *shard = 4_095);
            let shard = |shard: u16| (shard != NOBODY).then_some(usize::from(shard));
            let made = table(&slots);
            prop_assert!((0..=MAX_SLOT).map(|slot| made.shard_of(slot)).eq(slots.iter().copied().map(shard)));
            prop_assert_eq!(made.shard_of(MAX_SLOT + 1), None);
            prop_assert_eq!(made.shard_of(u16::MAX), None);
            prop_assert_eq!(made.uncovered(), slots.iter().filter(|shard| **shard == NOBODY).count());
            prop_assert!(made == table(&slots));
            slots[other] = 99;
            prop_assert!(made != table(&slots), "one slot differs");
        }
    }

    #[test]
    fn an_empty_table_has_no_shard_for_any_slot() {
        assert_eq!(Table::empty(), table(&[NOBODY; SLOTS]));
        assert_eq!(Table::empty().uncovered(), SLOTS);
    }
}
