//! Slots that a SMIGRATED has given to a node which is not connected yet: until it is, requests go to the node that had them.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::map::Change;
use crate::ids::NodeId;
use crate::notification::SlotRange;
use crate::timer::after;

/// How long a new node may take to be connected before its slots lead there all the same. The old one serves meanwhile, or says
/// MOVED.
const CONNECT_FIRST: Duration = Duration::from_secs(1);

/// Slots that lead to `source` although `target` has them.
#[derive(Clone, Copy, Debug)]
struct Hold {
    slots: SlotRange,
    source: NodeId,
    target: NodeId,
    until: Instant,
}

/// All that is held, disjoint, by its first slot: never more than there are slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(BTreeMap<u16, Hold>);

impl Holds {
    /// The slots of `change` go on to lead to the node that had them.
    pub(super) fn begin(&mut self, now: Instant, change: &Change) {
        if let Some(source) = change.from {
            let until = after(now, CONNECT_FIRST);
            self.insert(Hold { slots: change.slots, source, target: change.to, until });
        }
    }

    /// These slots have another owner: they are held no longer.
    pub(super) fn handle_changed(&mut self, changes: &[Change]) {
        for change in changes {
            self.cut(change.slots);
        }
    }

    /// `slot` is held no longer. Says whether that is news.
    pub(super) fn release(&mut self, slot: u16) -> bool {
        let is_held = self.source_of(slot).is_some();
        if let Ok(slots) = SlotRange::new(slot, slot) {
            self.cut(slots);
        }
        is_held
    }

    /// The slots of `target` lead there from now on. Says whether that is news.
    pub(super) fn release_for(&mut self, target: NodeId) -> bool {
        self.keep(|hold| hold.target != target)
    }

    /// `node` has no connection: it can keep nothing. What it was to get stays where it is answered until its time is over. Says
    /// whether that is news.
    pub(super) fn handle_failed(&mut self, node: NodeId) -> bool {
        self.keep(|hold| hold.source != node)
    }

    /// Time has passed. Says whether anything is no longer held.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        self.keep(|hold| hold.until > now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|hold| hold.until).min()
    }

    /// Where `slot` leads in the meantime, if it is held.
    pub(super) fn source_of(&self, slot: u16) -> Option<NodeId> {
        let (_, hold) = self.0.range(..=slot).next_back()?;
        (slot <= hold.slots.end()).then_some(hold.source)
    }

    /// Whether anything leads to `node` in the meantime.
    pub(super) fn is_source(&self, node: NodeId) -> bool {
        self.0.values().any(|hold| hold.source == node)
    }

    /// All of it, with the nodes to which it leads.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotRange, NodeId)> {
        self.0.values().map(|hold| (hold.slots, hold.source))
    }

    /// Holds `slots` no longer, and what is beside them still.
    fn cut(&mut self, slots: SlotRange) {
        // The last that begins ahead of their end is the last that may meet them.
        while let Some((first, hold)) =
            self.0.range(..=slots.end()).next_back().map(|(first, hold)| (*first, *hold))
            && slots.start() <= hold.slots.end()
        {
            self.0.remove(&first);
            let before = slots.start().checked_sub(1).map(|end| (first, end));
            let behind = slots.end().checked_add(1).map(|start| (start, hold.slots.end()));
            let rest = [before, behind].into_iter().flatten();
            let rest = rest.filter_map(|(start, end)| SlotRange::new(start, end).ok());
            rest.for_each(|slots| self.insert(Hold { slots, ..hold }));
        }
    }

    fn insert(&mut self, hold: Hold) {
        self.0.insert(hold.slots.start(), hold);
    }

    fn keep(&mut self, is_kept: impl Fn(&Hold) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|_, hold| is_kept(hold));
        self.0.len() < before
    }
}
