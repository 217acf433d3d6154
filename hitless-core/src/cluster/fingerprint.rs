//! Two cluster machines with the same fingerprint do the same from now on.

use std::hash::Hasher;
use std::time::Instant;

use super::Cluster;
use super::strangers::Strangers;
use crate::fingerprint::{Ages, Digest, Fingerprint};
use crate::ids::{ConnId, NodeId, ReviewId};
use crate::rng::Rng;

impl Cluster {
    /// Takes in all that decides what this cluster will do, relative to `now`: for model checking, by way of the feature
    /// `explore`.
    ///
    /// Obey all decisions first: those that are pending count by their number alone. Left out are settings, how often ids were used,
    /// figures, and the state of the jitter, for which there is [`reseed`](Self::reseed).
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        Digest::new(now, self, hasher).part(self);
    }

    /// Draws the same jitter from now on as every other cluster after a call with this seed.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Ages for Cluster {
    fn conn(&self, _: ConnId) -> u32 {
        0
    }

    fn review(&self, _: ReviewId) -> u32 {
        0
    }

    fn node(&self, node: NodeId) -> u32 {
        self.nodes.age(node)
    }
}

impl Fingerprint for Cluster {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // The table follows from the map and what is held.
        let Self {
            settings: _,
            seeds: _,
            nodes,
            map,
            holds,
            heard,
            refresh,
            seeking_since,
            strangers: Strangers { met_at, met_in_round, are_believed },
            is_stale,
            table: _,
            decisions,
            has_new_table,
            rng: _,
            stats: _,
        } = self;
        digest.part(nodes);
        digest.part(map);
        digest.part(holds);
        digest.part(heard);
        digest.part(refresh);
        for since in [seeking_since, met_at] {
            digest.each(since, |digest, since| digest.instant(*since));
        }
        digest.value(&(met_in_round, are_believed, is_stale, has_new_table));
        digest.value(&decisions.len());
    }
}
