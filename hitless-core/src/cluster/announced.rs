//! The cluster machine and what nodes announce: SMIGRATED changes the map in place, MOVING tells another address of a node.
//!
//! SMIGRATING relaxes the timeouts at its node, which is the business of that node's client, and so is the move of a MOVING.

use std::time::Instant;

use super::Cluster;
use super::event::SlotsMoveCause;
use super::map::{Change, Fact, Origin};
use crate::ids::NodeId;
use crate::notification::{MoveTarget, Notification, Seq, SlotMove};

impl Cluster {
    pub(super) fn on_notification(&mut self, now: Instant, node: NodeId, notification: &Notification) {
        match notification {
            Notification::SlotsMigrated { seq, moves, skipped: _ } => self.on_slots_moved(now, *seq, moves),
            Notification::Moving { target: MoveTarget::Endpoint(endpoint), .. } => {
                self.nodes.add_alias(node, endpoint);
            }
            Notification::Moving { target: MoveTarget::SameName, .. }
            | Notification::SlotsMigrating { .. }
            | Notification::Migrating { .. }
            | Notification::Migrated { .. }
            | Notification::FailingOver { .. }
            | Notification::FailedOver { .. } => {}
        }
    }

    /// Every node tells the same, some of them late, and a cascade of moves may arrive in any order: each slot is judged alone.
    fn on_slots_moved(&mut self, now: Instant, seq: Seq, moves: &[SlotMove]) {
        let fact = Fact { origin: Origin::Delta(seq), as_of: self.heard.note(now, seq) };
        for SlotMove { source: _, target, slots } in moves {
            // A copy, and what is older than all that is known, may name a node that has left meanwhile.
            if !slots.ranges().iter().any(|range| self.map.is_news(now, *range, fact)) {
                continue;
            }
            // Where it came from is known from the map, which is right even where an older server does not say.
            let Some(target) = self.find_or_add(now, target.clone()) else { continue };
            let ranges: Vec<_> = slots.ranges().iter().map(|range| (*range, target)).collect();
            let changes = self.map.apply(now, &ranges, fact);
            self.open(target);
            self.note_moved(&changes, target, SlotsMoveCause::Announced(seq));
            self.hold(now, target, &changes);
        }
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
