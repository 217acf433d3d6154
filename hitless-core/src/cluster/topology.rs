//! The cluster machine and its snapshots: whom it asks, and what it makes of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use resp3_codec::Frame;

use super::Cluster;
use super::event::{ClusterEvent, TopologyError};
use super::map::{Change, Fact, Origin};
use super::nodes::Relocation;
use super::refresh::Asking;
use super::snapshot::{Listed, Snapshot};
use super::strangers::Strangers;
use super::words::{Decision, TopologyRequest};
use crate::endpoint::Endpoint;
use crate::error::ServerError;
use crate::ids::NodeId;
use crate::notification::SlotRange;

impl Cluster {
    /// The answer to `asking` is there.
    pub(super) fn on_answer(&mut self, now: Instant, asking: &Asking, reply: &Frame) {
        if let Some(error) = ServerError::from_frame(reply) {
            return self.on_refused(now, asking, &error);
        }
        match self.read(asking, reply) {
            Ok(snapshot) => self.on_snapshot(now, asking, &snapshot),
            Err(error) => self.on_no_answer(now, asking, error),
        }
    }

    /// `asking` has led to nothing. The round goes on with the next node.
    pub(super) fn on_no_answer(&mut self, now: Instant, asking: &Asking, error: TopologyError) {
        if error == TopologyError::Foreign {
            self.strangers.handle_met(now);
        }
        if let Some(endpoint) = self.nodes.endpoint(asking.node).cloned() {
            self.note_failed_read(asking.node, endpoint, error);
        }
    }

    /// A question to `node`, which is at `endpoint`, has led to nothing.
    pub(super) fn note_failed_read(&mut self, node: NodeId, endpoint: Endpoint, error: TopologyError) {
        self.stats.topology_failures += 1;
        self.emit(ClusterEvent::RefreshFailed { node, endpoint, error });
    }

    /// Asks the next node, if a round is due or goes on.
    pub(super) fn ask_next(&mut self, now: Instant) {
        if !self.refresh.is_due(now) {
            return;
        }
        let ready: Vec<NodeId> = self.nodes.ready().collect();
        if let Some(asking) = self.refresh.ask_next(now, &ready, &mut self.rng) {
            return self.ask(&asking);
        }
        self.strangers.handle_round_failed(now);
        self.reopen_seeds(now);
    }

    fn ask(&mut self, asking: &Asking) {
        self.stats.topology_reads += 1;
        let Asking { query, node, request, .. } = *asking;
        self.decisions.push_back(Decision::AskTopology { query, node, request });
    }

    fn on_refused(&mut self, now: Instant, asking: &Asking, error: &ServerError) {
        if error.message().contains("cluster support disabled") {
            return self.on_no_answer(now, asking, TopologyError::NotACluster);
        }
        // Other codes, such as LOADING, say nothing about the command.
        let lacks_it = matches!(error.code(), "ERR" | "NOPERM");
        match lacks_it.then(|| self.refresh.handle_refused(now, asking)).flatten() {
            Some(other) => self.ask(&other),
            None => self.on_no_answer(now, asking, TopologyError::Refused),
        }
    }

    fn read(&self, asking: &Asking, reply: &Frame) -> Result<Snapshot, TopologyError> {
        let asked = self.nodes.asked_at(asking.node).ok_or(TopologyError::Unanswered)?;
        let snapshot = match asking.request {
            TopologyRequest::Slots => Snapshot::of_slots(reply, asked),
            TopologyRequest::Shards => Snapshot::of_shards(reply, asked, self.settings.is_encrypted()),
        };
        let snapshot = snapshot.ok_or(TopologyError::Malformed)?;
        if snapshot.ranges.is_empty() {
            return Err(TopologyError::Empty);
        }
        let is_reachable = |(_, place): &(SlotRange, usize)| {
            let owner = snapshot.nodes.get(*place);
            owner.is_some_and(|owner| owner.endpoint.is_some() || self.nodes.find(owner, |_| true).is_some())
        };
        if !snapshot.ranges.iter().any(is_reachable) {
            return Err(TopologyError::NoAddress);
        }
        if self.is_foreign(&snapshot) && !self.strangers.are_believed && !self.is_led_by_a_seed(asking.node) {
            return Err(TopologyError::Foreign);
        }
        Ok(snapshot)
    }

    /// Whether `snapshot` names none of the nodes that are known.
    fn is_foreign(&self, snapshot: &Snapshot) -> bool {
        let is_known = |listed: &Listed| self.nodes.is_acquaintance(listed);
        self.refresh.has_read() && !snapshot.nodes.iter().any(is_known)
    }

    /// Whether the name of a configured seed, looked up since nobody could be asked any more, leads to `node`, and nobody else serves.
    fn is_led_by_a_seed(&self, node: NodeId) -> bool {
        let mut others = self.map.owners().filter(|owner| *owner != node);
        let is_fresh = |since| self.nodes.is_seed_since(node, since);
        self.seeking_since.is_some_and(is_fresh) && !others.any(|owner| self.nodes.is_ready(owner))
    }

    /// Takes in a snapshot that is believed.
    fn on_snapshot(&mut self, now: Instant, asking: &Asking, snapshot: &Snapshot) {
        let nodes = self.note_listed(now, asking.asked_at, snapshot);
        let node_at = |place: &usize| nodes.get(*place).copied().flatten();
        // A range whose owner nobody can reach keeps the owner that it has, who says MOVED at worst.
        let owned = |(range, place): &(SlotRange, usize)| Some((*range, node_at(place)?));
        let ranges: Vec<(SlotRange, NodeId)> = snapshot.ranges.iter().filter_map(owned).collect();
        let mut replicas: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for (primary, of_primary) in &snapshot.replicas {
            if let Some(primary) = node_at(primary) {
                let others = of_primary.iter().filter_map(node_at).filter(|replica| *replica != primary);
                replicas.entry(primary).or_default().extend(others);
            }
        }
        for (_, primary) in &ranges {
            replicas.entry(*primary).or_default();
        }
        let fact = Fact { origin: Origin::Snapshot, as_of: asking.asked_at };
        let changes = self.map.apply(&ranges, fact);
        self.map.set_replicas(replicas);
        self.holds.handle_changed(&changes);
        self.refresh.handle_read(now, asking, !changes.is_empty(), &mut self.rng);
        self.seeking_since = None;
        self.strangers = Strangers::default();
        self.is_stale = true;
        let changed = changes.iter().map(Change::len).sum();
        if changed > 0 {
            let uncovered = self.map.uncovered();
            self.emit(ClusterEvent::TopologyRead { node: asking.node, changed, uncovered });
        }
    }

    /// The nodes of `snapshot`, in its order; `None` for those that nobody knows how to reach.
    fn note_listed(&mut self, now: Instant, as_of: Instant, snapshot: &Snapshot) -> Vec<Option<NodeId>> {
        self.nodes.unlist_all();
        let names: BTreeSet<&str> =
            snapshot.nodes.iter().filter_map(|listed| listed.name.as_deref()).collect();
        let mut found = vec![None; snapshot.nodes.len()];
        // Several shards may be behind one address, that of a proxy: there is one thing to connect to.
        let mut placed: BTreeMap<&Endpoint, NodeId> = BTreeMap::new();
        // Those whose ids are known come first: they leave the addresses that others have taken over.
        for is_known in [true, false] {
            for (listed, place) in snapshot.nodes.iter().zip(&mut found) {
                if place.is_some() || self.nodes.is_known(listed) != is_known {
                    continue;
                }
                let shared = listed.endpoint.as_ref().and_then(|endpoint| placed.get(endpoint).copied());
                *place = match shared {
                    Some(node) if !is_known => Some(node),
                    _ => self.note_one(now, as_of, listed, |name| names.contains(name)),
                };
                if let (Some(endpoint), Some(node)) = (&listed.endpoint, *place) {
                    placed.entry(endpoint).or_insert(node);
                }
            }
        }
        found
    }

    /// The node that is `listed`, as it is listed.
    fn note_one(
        &mut self,
        now: Instant,
        as_of: Instant,
        listed: &Listed,
        is_listed: impl Fn(&str) -> bool,
    ) -> Option<NodeId> {
        let node = self.nodes.find(listed, is_listed);
        let node = node.or_else(|| self.add_node(now, listed.endpoint.clone()?))?;
        let relocation = self.nodes.note_listed(node, listed, as_of);
        self.on_relocated(node, relocation);
        Some(node)
    }

    fn on_relocated(&mut self, node: NodeId, relocation: Relocation) {
        let Some(location) = self.nodes.location(node) else { return };
        let (endpoint, hostname) = (location.endpoint, location.hostname);
        match relocation {
            Relocation::None => return,
            Relocation::Elsewhere => {
                self.decisions.push_back(Decision::Retarget { node, endpoint: endpoint.clone(), hostname });
            }
            Relocation::Alias => {
                self.decisions.push_back(Decision::Readdress { node, endpoint: endpoint.clone() });
            }
        }
        self.emit(ClusterEvent::NodeMoved { node, endpoint });
    }

    /// Nobody who is known can be asked: the configured seeds are tried again, and every other node that is known.
    pub(super) fn reopen_seeds(&mut self, now: Instant) {
        let was_seeking = self.seeking_since.is_some();
        self.seeking_since.get_or_insert(now);
        self.is_stale |= !was_seeking;
        let mut added = 0;
        for seed in self.seeds.clone() {
            // One that is only another name of a node is not opened there: the name may lead somewhere else meanwhile.
            let known = self.nodes.at(&seed).filter(|node| self.nodes.is_opened_at(*node, &seed));
            let node = known.or_else(|| {
                added += 1;
                self.add_node(now, seed)
            });
            if let Some(node) = node {
                self.nodes.set_seed(node);
            }
        }
        if !was_seeking {
            self.emit(ClusterEvent::SeedsReopened { seeds: added });
        }
    }
}
