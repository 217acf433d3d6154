//! Two clients with the same fingerprint do the same from now on.

use std::hash::Hasher;
use std::time::Instant;

use super::Client;
use crate::fingerprint::{Digest, Fingerprint};

impl Client {
    /// Takes in all that decides what this client will do, relative to `now`: for model checking, by way of the feature
    /// `explore`.
    ///
    /// Obey all actions first: those that are pending count by their number alone. Left out are the bytes of requests,
    /// how often ids were used, figures, and the state of the jitter, for which there is [`reseed`](Self::reseed). A name
    /// is taken to have two addresses at most.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        Digest::new(now, &self.coordinator, hasher).part(self);
    }

    /// Draws the same jitter from now on as every other client after a call with this seed.
    pub fn reseed(&mut self, seed: u64) {
        self.coordinator.reseed(seed);
        self.pool.reseed(seed);
        self.leases.reseed(seed);
        self.subscriptions.reseed(seed);
    }
}

impl Fingerprint for Client {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            config: _,
            coordinator,
            links,
            pool,
            requests,
            lifecycle,
            outage,
            leases,
            subscriptions,
            blocked,
            keyring,
            actions,
            surplus: _,
            helpers,
            now: _,
            others_due_at: _,
        } = self;
        digest.part(coordinator);
        digest.part(links);
        pool.fingerprint(lifecycle.is_starting(), digest);
        digest.part(requests);
        digest.part(lifecycle);
        digest.part(outage);
        digest.part(leases);
        digest.part(subscriptions);
        digest.part(blocked);
        digest.part(helpers);
        digest.part(keyring);
        digest.value(&actions.len());
    }
}
