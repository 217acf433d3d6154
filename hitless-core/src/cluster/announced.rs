//! The cluster machine and what nodes announce: SMIGRATED changes the map in place, MOVING tells another address of a node.
//!
//! SMIGRATING relaxes the timeouts at its node, which is the business of that node's client, and so is the move of a MOVING.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Cluster;
use super::event::SlotsMoveCause;
use super::heard::Word;
use super::map::{Change, Fact, Origin};
use super::refresh::Urgency;
use crate::ids::NodeId;
use crate::notification::{MoveTarget, Notification, Seq, SlotMove};

impl Cluster {
    pub(super) fn on_notification(&mut self, now: Instant, node: NodeId, notification: &Notification) {
        match notification {
            Notification::SlotsMigrated { seq, moves, skipped: _ } => self.on_slots_moved(now, *seq, moves),
            Notification::Moving { target: MoveTarget::Endpoint(endpoint), .. } => {
                self.nodes.note_moving(now, node, endpoint);
            }
            Notification::Moving { target: MoveTarget::SameName, .. }
            | Notification::SlotsMigrating { .. }
            | Notification::Migrating { .. }
            | Notification::Migrated { .. }
            | Notification::FailingOver { .. }
            | Notification::FailedOver { .. } => {}
        }
    }

    /// Every node tells the same, some of them late, and a cascade of moves may arrive in any order: each slot is judged alone. What cannot be
    /// right as it is said, or is said late, has the topology read instead.
    fn on_slots_moved(&mut self, now: Instant, seq: Seq, moves: &[SlotMove]) {
        let fact = match self.heard.note(now, seq) {
            Word::Of(first) => Fact { origin: Origin::Delta(seq), as_of: first },
            Word::Late if moves.iter().any(|moved| self.differs(now, moved)) => return self.want_read(now),
            Word::Late | Word::Known => return,
        };
        let says_all = moves.iter().all(|moved| moved.source.is_some());
        let sources = moves.iter().filter_map(|moved| self.nodes.at(moved.source.as_ref()?));
        let sources: BTreeSet<NodeId> = sources.collect();
        // A slot that is named twice has gone on: the last one counts, and of two facts with one id the first one stays.
        for SlotMove { source: _, target, slots } in moves.iter().rev() {
            let to = self.nodes.at(target);
            let (believed, doubted): (Vec<_>, Vec<_>) =
                slots.ranges().iter().flat_map(|range| self.map.news_in(*range, fact)).partition(
                    |(_, owner)| {
                        owner.is_none_or(|owner| !says_all || to == Some(owner) || sources.contains(&owner))
                    },
                );
            // The slot was somewhere else: this is an old event, or others have come before it that were not told.
            if !doubted.is_empty() {
                self.want_read(now);
            }
            // A copy, and what is older than all that is known, may name a node that has left meanwhile.
            if believed.is_empty() {
                continue;
            }
            let Some(target) = self.find_or_add(now, target.clone()) else { continue };
            let ranges: Vec<_> = believed.into_iter().map(|(range, _)| (range, target)).collect();
            let changes = self.map.apply(&ranges, fact);
            self.open(target);
            self.note_moved(&changes, target, SlotsMoveCause::Announced(seq));
            self.hold(now, target, &changes);
            if !says_all && !changes.is_empty() {
                // Whether it is an old event cannot be told.
                self.refresh.want(now, now, Urgency::Patched, &mut self.rng);
            }
        }
    }

    /// Whether a slot of `moved` is known to be somewhere else.
    fn differs(&self, now: Instant, moved: &SlotMove) -> bool {
        let to = self.nodes.at(&moved.target);
        let fact = Fact { origin: Origin::Redirect, as_of: now };
        let mut parts = moved.slots.ranges().iter().flat_map(|range| self.map.news_in(*range, fact));
        parts.any(|(_, owner)| owner.is_none() || owner != to)
    }

    /// Until `target` is connected, `changes` lead to the nodes that had the slots, if those can take requests.
    fn hold(&mut self, now: Instant, target: NodeId, changes: &[Change]) {
        if self.nodes.is_ready(target) {
            return;
        }
        for change in changes {
            if change.from.is_some_and(|source| self.nodes.is_ready(source)) {
                self.holds.begin(now, change);
            }
        }
    }
}
