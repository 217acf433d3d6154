//! What becomes of the slots and nodes of a cluster.

use std::time::{Duration, Instant};

use hitless_core::cluster::key_slot;
use hitless_core::driver::Runtime as _;

use super::super::cluster::plan::{Reshape, Slots, Told};
use super::{Network, State, What};
use crate::server::{
    CloseHow, Closes, EndpointId, Moving, Notice, Recipients, Retires, ServerMachine as _, SlotsForm, Target,
};

/// The keys that callers have at each tag.
pub(in crate::sim) const KEYS: [&str; 5] = ["counter", "key", "pair.a", "pair.b", "queue"];

/// What is known of the cluster beside what the server knows.
#[derive(Debug, Default)]
pub(in crate::sim) struct Scene {
    /// The hash tags of all keys.
    pub(in crate::sim) tags: Vec<String>,
    /// Slots that have gone to other nodes, as SMIGRATED has told it.
    told: Vec<(u64, Vec<[String; 3]>)>,
    /// Nodes that were never one, in order.
    pub(in crate::sim) spares: Vec<EndpointId>,
    newcomer: Option<EndpointId>,
    /// The primary that fails over.
    failing: Option<EndpointId>,
    dead: Option<EndpointId>,
    /// The node that has left.
    left: Option<EndpointId>,
}

/// Who serves the slot of a tag, and who imports it.
pub(in crate::sim) type Places = Vec<[Option<EndpointId>; 2]>;

impl Network {
    /// Something becomes of the cluster, if it can.
    pub(in crate::sim) fn reshape(&self, reshape: &Reshape) {
        let now = self.executor.now();
        let mut state = self.state();
        let Some(nodes) = state.reshape(now, reshape) else { return };
        // Before whatever follows from it.
        self.trace.note(What::Reshaped(reshape.clone(), nodes));
        self.trace.note(What::Places(state.places()));
        state.drain_server(now);
    }

    /// From now on every slot is at one node, and the cluster is up.
    pub(in crate::sim) fn calm_cluster(&self) {
        let now = self.executor.now();
        let mut state = self.state();
        if state.scene.tags.is_empty() {
            return;
        }
        state.server.close_slots(now, 0..hitless_core::cluster::SLOTS);
        state.server.set_cluster_down(now, false);
        self.trace.note(What::Places(state.places()));
        state.drain_server(now);
    }
}

impl State {
    pub(in crate::sim) fn places(&self) -> Places {
        let slots = self.scene.tags.iter().map(|tag| key_slot(tag.as_bytes()));
        slots.map(|slot| [self.server.slot_owner(slot), self.server.slot_importer(slot)]).collect()
    }

    /// Which nodes it concerns; nothing if it cannot be.
    fn reshape(&mut self, now: Instant, reshape: &Reshape) -> Option<Vec<EndpointId>> {
        match reshape {
            Reshape::Announced(slots, told) => self.announce_slots(now, slots, *told),
            Reshape::Migrated(slots, told) => {
                let to = self.heir(slots)?;
                let (moves, nodes) = self.hand_over(now, slots, to);
                self.tell_slots(now, None, &moves, *told);
                Some(nodes)
            }
            Reshape::MigratedTwice(slots) => self.migrate_twice(now, slots),
            Reshape::Repeated(told) => {
                let at = self.below(self.scene.told.len().max(1));
                let (seq, moves) = self.scene.told.get(at).cloned()?;
                let to = self.recipients(*told, None);
                self.send_slots(now, Some(seq), &moves, to);
                Some(Vec::new())
            }
            Reshape::Assigned(slots) => {
                let to = self.heir(slots)?;
                Some(self.hand_over(now, slots, to).1)
            }
            Reshape::Opened(slots) => {
                let to = self.heir(slots)?;
                self.server.open_slots(now, slots.clone(), to);
                Some(vec![to])
            }
            Reshape::Carried(slots) => self.carry_some(slots),
            Reshape::Closed(slots) => {
                self.server.close_slots(now, slots.clone());
                Some(Vec::new())
            }
            Reshape::Joined => {
                let spare = self.next_spare()?;
                self.server.add_node(spare);
                self.scene.newcomer = Some(spare);
                Some(vec![spare])
            }
            Reshape::Left(told) => self.leave_cluster(now, *told),
            Reshape::Retired => {
                let left = self.scene.left.take()?;
                self.shut(now, left, CloseHow::Fin);
                Some(vec![left])
            }
            Reshape::FailingOver(_) | Reshape::Promoted | Reshape::FailedOver => self.fail_over(now, reshape),
            Reshape::Died { .. } | Reshape::TookOver | Reshape::Revived => self.die(now, reshape),
            Reshape::Replaced(time) => self.replace(now, *time),
            Reshape::Hung(time) => self.hang(now, *time),
            Reshape::Down | Reshape::Up => {
                self.server.set_cluster_down(now, *reshape == Reshape::Down);
                Some(self.server.primaries())
            }
        }
    }

    fn announce_slots(&mut self, now: Instant, slots: &Slots, told: Told) -> Option<Vec<EndpointId>> {
        let owner = self.server.slot_owner(*slots.start())?;
        let to = self.recipients(told, Some(owner));
        let text = format!("{}-{}", slots.start(), slots.end());
        self.server.slots_migrating(now, Notice::of_slots(&text, Duration::from_secs(2)).told_to(to));
        Some(vec![owner])
    }

    /// From the first node to the second and on to the third; the last way is told first.
    fn migrate_twice(&mut self, now: Instant, slots: &Slots) -> Option<Vec<EndpointId>> {
        let (first, second, dead) =
            (self.server.slot_owner(*slots.start())?, self.heir(slots)?, self.scene.dead);
        let third = self.some_primary(|node| node != first && node != second && Some(node) != dead)?;
        let (first_way, mut nodes) = self.hand_over(now, slots, second);
        let (second_way, others) = self.hand_over(now, slots, third);
        let text = format!("{}-{}", slots.start(), slots.end());
        let notice = Notice::of_slots(&text, Duration::from_secs(2)).told_to(Recipients::None);
        let seq = self.server.slots_migrating(now, notice);
        self.tell_slots(now, Some(seq + 2), &second_way, Told::Everyone);
        self.tell_slots(now, Some(seq + 1), &first_way, Told::Everyone);
        nodes.extend(others);
        Some(nodes)
    }

    /// Gives slots, with their keys, to a node. Source, target and slots of each part, and the nodes.
    fn hand_over(
        &mut self,
        now: Instant,
        slots: &Slots,
        to: EndpointId,
    ) -> (Vec<[String; 3]>, Vec<EndpointId>) {
        let mut parts: Vec<(EndpointId, u16, u16)> = Vec::new();
        for slot in slots.clone() {
            let Some(owner) = self.server.slot_owner(slot).filter(|owner| *owner != to) else { continue };
            match parts.last_mut() {
                Some((of, _, last)) if *of == owner && *last + 1 == slot => *last = slot,
                _ => parts.push((owner, slot, slot)),
            }
        }
        self.server.assign_slots(now, slots.clone(), to);
        let target = self.server.address(to).to_string();
        let part = |(owner, first, last): &(EndpointId, u16, u16)| {
            [self.server.address(*owner).to_string(), target.clone(), format!("{first}-{last}")]
        };
        let moves = parts.iter().map(part).collect();
        (moves, parts.iter().map(|(owner, ..)| *owner).chain([to]).collect())
    }

    fn tell_slots(&mut self, now: Instant, seq: Option<u64>, moves: &[[String; 3]], told: Told) {
        let source = moves.first().map(|[source, ..]| source.clone());
        let endpoints = self.server.endpoints().into_iter();
        let source =
            endpoints.into_iter().find(|id| source.as_deref() == Some(&self.server.address(*id).to_string()));
        let Some(source) = source.filter(|_| told != Told::Nobody) else { return };
        let to = self.recipients(told, Some(source));
        let seq = self.send_slots(now, seq, moves, to);
        self.scene.told.push((seq, moves.to_vec()));
    }

    fn send_slots(&mut self, now: Instant, seq: Option<u64>, moves: &[[String; 3]], to: Recipients) -> u64 {
        let form = SlotsForm::ALL[self.below(SlotsForm::ALL.len())];
        let notice = Notice::default().told_to(to);
        let notice = seq.into_iter().fold(notice, Notice::with_seq);
        self.server.slots_migrated_in(now, form, moves, notice)
    }

    fn carry_some(&mut self, slots: &Slots) -> Option<Vec<EndpointId>> {
        let tags = self.scene.tags.iter().filter(|tag| slots.contains(&key_slot(tag.as_bytes())));
        let keys: Vec<String> = tags.flat_map(|tag| KEYS.map(|key| format!("{tag}{key}"))).collect();
        let to = self.server.slot_importer(*slots.start())?;
        for key in keys {
            if self.below(2) == 0 {
                self.server.carry_key(key.as_bytes());
            }
        }
        Some(vec![to])
    }

    fn leave_cluster(&mut self, now: Instant, told: Told) -> Option<Vec<EndpointId>> {
        if self.server.primaries().len() < 3 {
            return None;
        }
        let left = self.some_primary(|_| true)?;
        let heir = self.some_primary(|node| node != left)?;
        let mut concerned = vec![left, heir];
        for (first, last) in self.ranges_of(left) {
            let (moves, nodes) = self.hand_over(now, &(first..=last), heir);
            self.tell_slots(now, None, &moves, told);
            concerned.extend(nodes);
        }
        for replica in self.server.replicas(left) {
            self.server.add_replica(replica, heir);
        }
        self.server.remove_node(now, left);
        self.scene.left = Some(left);
        Some(concerned)
    }

    fn fail_over(&mut self, now: Instant, step: &Reshape) -> Option<Vec<EndpointId>> {
        if self.scene.failing.is_none() && *step != Reshape::FailedOver {
            let dead = self.scene.dead;
            self.scene.failing = self.some_primary_with_replica(dead);
        }
        let failing = self.scene.failing?;
        let to = || Recipients::At(failing);
        match step {
            Reshape::FailingOver(time) => {
                self.server.failing_over(now, Notice::new(*time).told_to(to()));
            }
            Reshape::Promoted => {
                let replica = self.server.replicas(failing).first().copied()?;
                self.server.promote(now, replica);
                return Some(vec![failing, replica]);
            }
            _ => {
                self.scene.failing = None;
                self.server.failed_over(now, Notice::default().told_to(to()));
            }
        }
        Some(vec![failing])
    }

    fn die(&mut self, now: Instant, step: &Reshape) -> Option<Vec<EndpointId>> {
        if let Reshape::Died { resets } = step {
            let dead = self.some_primary_with_replica(None).or_else(|| self.some_primary(|_| true))?;
            self.scene.dead = Some(dead);
            if *resets {
                self.shut(now, dead, CloseHow::Reset);
            } else {
                let until = self.calm_at.unwrap_or(now);
                for conn in self.server.connections(dead) {
                    self.server.stall(now, conn, until);
                }
                self.server.black_hole(now, dead, None);
            }
            return Some(vec![dead]);
        }
        let dead = self.scene.dead?;
        if *step == Reshape::TookOver {
            let replica = self.server.replicas(dead).first().copied()?;
            self.server.promote(now, replica);
            return Some(vec![dead, replica]);
        }
        self.scene.dead = None;
        // What said nothing has come to nothing.
        self.server.kill_all(now, dead, CloseHow::Reset);
        self.server.restore(dead);
        Some(vec![dead])
    }

    fn hang(&mut self, now: Instant, time: Duration) -> Option<Vec<EndpointId>> {
        let node = self.some_primary(|_| true)?;
        let until = now + time;
        let until = self.calm_at.map_or(until, |calm_at| until.min(calm_at));
        for conn in self.server.connections(node) {
            self.server.stall(now, conn, until);
        }
        self.server.black_hole(now, node, Some(until));
        Some(vec![node])
    }

    /// MOVING leads from a node to a new address: the node itself has moved there, or a node that is new has its slots.
    fn replace(&mut self, now: Instant, time: Duration) -> Option<Vec<EndpointId>> {
        let (failing, dead) = (self.scene.failing, self.scene.dead);
        let source = self.some_primary(|node| failing != Some(node) && dead != Some(node))?;
        let by = self.next_spare()?;
        let moving =
            Moving::new(Target::Endpoint(by), time).closing(Closes::Everyone).retiring(Retires::AtClose);
        if self.below(2) == 0 {
            self.server.relocate(now, source, by);
            self.server.moving(now, source, moving);
            return Some(vec![source, by]);
        }
        self.server.add_node(by);
        for (first, last) in self.ranges_of(source) {
            self.server.assign_slots(now, first..=last, by);
        }
        self.server.moving(now, source, moving);
        for replica in self.server.replicas(source) {
            self.server.add_replica(replica, by);
        }
        self.server.remove_node(now, source);
        Some(vec![source, by])
    }

    fn shut(&mut self, now: Instant, node: EndpointId, how: CloseHow) {
        self.server.refuse_dials(now, node, None);
        self.server.kill_all(now, node, how);
    }

    /// The slots of a node.
    fn ranges_of(&self, node: EndpointId) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in
            (0..hitless_core::cluster::SLOTS).filter(|slot| self.server.slot_owner(*slot) == Some(node))
        {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }

    /// Who is given these slots: the newcomer, if there is one, or any primary that has not the first of them.
    fn heir(&mut self, slots: &Slots) -> Option<EndpointId> {
        let owner = self.server.slot_owner(*slots.start());
        let newcomer = self
            .scene
            .newcomer
            .filter(|newcomer| Some(*newcomer) != owner && self.server.primaries().contains(newcomer));
        let dead = self.scene.dead;
        newcomer.or_else(|| self.some_primary(|node| Some(node) != owner && Some(node) != dead))
    }

    fn next_spare(&mut self) -> Option<EndpointId> {
        (!self.scene.spares.is_empty()).then(|| self.scene.spares.remove(0))
    }

    fn some_primary(&mut self, fits: impl Fn(EndpointId) -> bool) -> Option<EndpointId> {
        let primaries: Vec<EndpointId> = self.server.primaries().into_iter().filter(|id| fits(*id)).collect();
        let at = self.below(primaries.len().max(1));
        primaries.get(at).copied()
    }

    fn some_primary_with_replica(&mut self, but: Option<EndpointId>) -> Option<EndpointId> {
        let primaries = self.server.primaries().into_iter();
        let with: Vec<EndpointId> =
            primaries.filter(|id| Some(*id) != but && !self.server.replicas(*id).is_empty()).collect();
        self.some_primary(|node| with.contains(&node))
    }

    fn recipients(&mut self, told: Told, source: Option<EndpointId>) -> Recipients {
        match told {
            Told::Everyone => Recipients::All,
            Told::Source if source.is_some() => source.map_or(Recipients::None, Recipients::At),
            Told::Source | Told::OneNode => {
                self.some_primary(|_| true).map_or(Recipients::None, Recipients::At)
            }
            Told::Nobody => Recipients::None,
        }
    }
}
