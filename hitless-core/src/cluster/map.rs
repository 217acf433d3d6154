//! Which node owns which slot, and since when that is known: later knowledge wins, slot by slot.
//!
//! What is known of a slot is as old as the state of the server that it describes: a snapshot as the question for it, a redirect
//! as the request that was redirected, a delta as the first push with its id. Two deltas are compared by their ids alone.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use super::table::{NOBODY, SLOTS, Shard, Table};
use crate::ids::NodeId;
use crate::notification::{Seq, SlotRange};

/// What something is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The answer to a topology question.
    Snapshot,
    /// A MOVED.
    Redirect,
    /// A SMIGRATED.
    Delta(Seq),
}

/// What something is known by, and the instant whose state it shows at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) origin: Origin,
    pub(super) as_of: Instant,
}

impl Fact {
    /// Whether it is to be believed where `other` says something else. Of two that cannot be told apart the first stays.
    pub(super) fn beats(&self, other: &Self) -> bool {
        match (self.origin, other.origin) {
            (Origin::Delta(own), Origin::Delta(theirs)) => own > theirs,
            _ => self.as_of > other.as_of,
        }
    }
}

/// Slots with one owner, which is known by one fact.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u16,
    end: u16,
    owner: NodeId,
    fact: Fact,
}

/// Slots that have another owner than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) slots: SlotRange,
    pub(super) from: Option<NodeId>,
    pub(super) to: NodeId,
}

impl Change {
    /// How many slots.
    pub(super) fn len(&self) -> usize {
        len(self.slots.start(), self.slots.end())
    }
}

/// The owners of all slots, as runs that do not overlap, ascending: never more than there are slots.
///
/// A slot that has an owner keeps it until another one is known: no answer of a confused node takes the map away.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotMap {
    runs: Vec<Run>,
    /// How many slots each owner has, if it has any.
    owned: BTreeMap<NodeId, usize>,
    /// The replicas of each primary.
    replicas: BTreeMap<NodeId, Vec<NodeId>>,
}

impl SlotMap {
    /// Takes in that each of `news`, which are ascending and disjoint, has this owner. Says what that changes.
    pub(super) fn apply(&mut self, news: &[(SlotRange, NodeId)], fact: Fact) -> Vec<Change> {
        let (Some((first, _)), Some((last, _))) = (news.first(), news.last()) else { return Vec::new() };
        let window = self.window(first.start(), last.end());
        let mut merge = Merge::default();
        let old = self.runs.get(window.clone()).unwrap_or_default();
        for (start, end, old, new) in Pieces::new(old, news) {
            merge.add(start, end, old, new.map(|owner| (owner, fact)));
        }
        self.runs.splice(window, merge.runs);
        for change in &merge.changes {
            self.count(change);
        }
        merge.changes
    }

    /// Takes in that `slot` has this owner. Says what that changes.
    pub(super) fn assign(&mut self, slot: u16, owner: NodeId, fact: Fact) -> Vec<Change> {
        SlotRange::new(slot, slot).map_or_else(|_| Vec::new(), |slot| self.apply(&[(slot, owner)], fact))
    }

    /// Each of these primaries has these replicas, and no others. What is known of those that are not named, and own slots all the same by
    /// something later, stays.
    pub(super) fn set_replicas(&mut self, mut replicas: BTreeMap<NodeId, Vec<NodeId>>) {
        for (primary, known) in std::mem::take(&mut self.replicas) {
            replicas.entry(primary).or_insert(known);
        }
        replicas.retain(|primary, _| self.owned.contains_key(primary));
        self.replicas = replicas;
    }

    /// The replica `to` of `from` is the primary now: it has all the slots of `from` whose owner is not known by something later, and
    /// `from` for a replica.
    pub(super) fn promote(&mut self, from: NodeId, to: NodeId, fact: Fact) -> Vec<Change> {
        let mut others = self.replicas.remove(&from).unwrap_or_default();
        others.retain(|replica| *replica != to && *replica != from);
        others.push(from);
        self.replicas.insert(to, others);
        let ranges: Vec<_> = self.owned_by(from).map(|range| (range, to)).collect();
        self.apply(&ranges, fact)
    }

    /// The parts of `range` of which `fact` is to be believed, each with its owner, if it has one.
    pub(super) fn news_in(&self, range: SlotRange, fact: Fact) -> Vec<(SlotRange, Option<NodeId>)> {
        let old = self.runs.get(self.window(range.start(), range.end())).unwrap_or_default();
        let new = [(range, ())];
        let parts = Pieces::new(old, &new).filter_map(|(start, end, old, new)| {
            new.filter(|()| old.is_none_or(|old| fact.beats(&old.fact)))?;
            Some((SlotRange::new(start, end).ok()?, old.map(|old| old.owner)))
        });
        parts.collect()
    }

    /// Who owns `slot`, and how that is known.
    pub(super) fn owner(&self, slot: u16) -> Option<(NodeId, Fact)> {
        let at = self.runs.partition_point(|run| run.end < slot);
        self.runs.get(at).filter(|run| run.start <= slot).map(|run| (run.owner, run.fact))
    }

    /// Whether `node` owns a slot.
    pub(super) fn is_owner(&self, node: NodeId) -> bool {
        self.owned.contains_key(&node)
    }

    /// Whether `node` is known as a replica of `primary`.
    pub(super) fn is_replica(&self, primary: NodeId, node: NodeId) -> bool {
        self.replicas.get(&primary).is_some_and(|replicas| replicas.contains(&node))
    }

    /// The nodes that own slots.
    pub(super) fn owners(&self) -> impl Iterator<Item = NodeId> {
        self.owned.keys().copied()
    }

    /// How many slots nobody is known to own.
    pub(super) fn uncovered(&self) -> usize {
        SLOTS - self.owned.values().sum::<usize>().min(SLOTS)
    }

    /// As a table, in which these ranges lead to these nodes instead. `may_read` says which replicas may be read from.
    pub(super) fn table(
        &self,
        instead: impl Iterator<Item = (SlotRange, NodeId)>,
        may_read: impl Fn(NodeId) -> bool,
    ) -> Table {
        let mut slots = vec![NOBODY; SLOTS];
        let instead: Vec<_> = instead.collect();
        let mut primaries: Vec<NodeId> = self.owners().chain(instead.iter().map(|(_, node)| *node)).collect();
        primaries.sort_unstable();
        primaries.dedup();
        let mut fill = |start: u16, end: u16, owner: NodeId| {
            let shard = primaries.binary_search(&owner).ok().and_then(|at| u16::try_from(at).ok());
            if let Some(served) = slots.get_mut(usize::from(start)..=usize::from(end)) {
                served.fill(shard.unwrap_or(NOBODY));
            }
        };
        self.runs.iter().for_each(|run| fill(run.start, run.end, run.owner));
        instead.iter().for_each(|(range, node)| fill(range.start(), range.end(), *node));
        // Those whose slots all lead to other nodes for the moment serve nothing.
        let mut serves = vec![false; primaries.len()];
        for shard in &slots {
            serves.get_mut(usize::from(*shard)).into_iter().for_each(|serves| *serves = true);
        }
        let place = |next: &mut u16, serves: &bool| Some(std::mem::replace(next, *next + u16::from(*serves)));
        let places: Vec<u16> = serves.iter().scan(0, place).collect();
        for shard in &mut slots {
            *shard = places.get(usize::from(*shard)).copied().unwrap_or(NOBODY);
        }
        let serving = primaries.iter().zip(serves).filter(|(_, serves)| *serves).map(|(primary, _)| primary);
        let shard = |primary: &NodeId| {
            let replicas = self.replicas.get(primary).cloned().unwrap_or_default();
            let readable = replicas
                .iter()
                .copied()
                .filter(|node| !primaries.contains(node) && may_read(*node))
                .collect();
            Shard { primary: *primary, replicas: replicas.into(), readable }
        };
        Table::new(serving.map(shard).collect(), &slots)
    }

    /// The places of the runs that have slots from `first` to `last`.
    fn window(&self, first: u16, last: u16) -> Range<usize> {
        let begin = self.runs.partition_point(|run| run.end < first);
        begin..self.runs.partition_point(|run| run.start <= last).max(begin)
    }

    fn owned_by(&self, owner: NodeId) -> impl Iterator<Item = SlotRange> {
        let owned = self.runs.iter().filter(move |run| run.owner == owner);
        owned.filter_map(|run| SlotRange::new(run.start, run.end).ok())
    }

    fn count(&mut self, change: &Change) {
        *self.owned.entry(change.to).or_default() += change.len();
        if let Some(from) = change.from
            && let Some(owned) = self.owned.get_mut(&from)
        {
            *owned = owned.saturating_sub(change.len());
            if *owned == 0 {
                self.owned.remove(&from);
            }
        }
    }
}

fn len(start: u16, end: u16) -> usize {
    usize::from(end.saturating_sub(start)) + 1
}

/// The pieces of old runs and new ranges in which neither begins or ends: each has an old run, something new, or both.
struct Pieces<'a, T> {
    old: &'a [Run],
    new: &'a [(SlotRange, T)],
    at: u16,
}

impl<'a, T> Pieces<'a, T> {
    fn new(old: &'a [Run], new: &'a [(SlotRange, T)]) -> Self {
        Self { old, new, at: 0 }
    }
}

impl<'a, T: Copy> Iterator for Pieces<'a, T> {
    type Item = (u16, u16, Option<&'a Run>, Option<T>);

    fn next(&mut self) -> Option<Self::Item> {
        while let [done, rest @ ..] = self.old
            && done.end < self.at
        {
            self.old = rest;
        }
        while let [(done, _), rest @ ..] = self.new
            && done.end() < self.at
        {
            self.new = rest;
        }
        let (old, new) = (self.old.first(), self.new.first());
        let begins = [old.map(|run| run.start), new.map(|(range, _)| range.start())];
        let start = begins.into_iter().flatten().min()?.max(self.at);
        let ends = [old.map(|run| run.end), new.map(|(range, _)| range.end())];
        // It ends where the first of both ends, or before the one that has not begun.
        let bounds = begins
            .into_iter()
            .zip(ends)
            .filter_map(|(begin, end)| if begin? > start { begin?.checked_sub(1) } else { end });
        let end = bounds.min()?;
        self.at = end.saturating_add(1);
        let old = old.filter(|run| run.start <= start);
        let new = new.filter(|(range, _)| range.start() <= start).map(|(_, new)| *new);
        Some((start, end, old, new))
    }
}

/// Old runs and new facts, judged piece by piece.
#[derive(Default)]
struct Merge {
    runs: Vec<Run>,
    changes: Vec<Change>,
}

impl Merge {
    fn add(&mut self, start: u16, end: u16, old: Option<&Run>, new: Option<(NodeId, Fact)>) {
        let wins = |fact: &Fact| old.is_none_or(|old| fact.beats(&old.fact));
        let Some((owner, fact)) =
            new.filter(|(_, fact)| wins(fact)).or_else(|| old.map(|old| (old.owner, old.fact)))
        else {
            return;
        };
        let from = old.map(|old| old.owner);
        if from != Some(owner)
            && let Ok(slots) = SlotRange::new(start, end)
        {
            self.changes.push(Change { slots, from, to: owner });
        }
        match self.runs.last_mut() {
            Some(last)
                if last.owner == owner
                    && last.fact == fact
                    && len(last.start, last.end) + usize::from(last.start) == usize::from(start) =>
            {
                last.end = end;
            }
            _ => self.runs.push(Run { start, end, owner, fact }),
        }
    }
}

#[cfg(test)]
mod tests;
