use std::hash::Hasher;

use super::{Pool, Rng, START_ATTEMPTS, Slot};
use crate::fingerprint::Digest;

impl Pool {
    /// How often a slot failed matters to a client that has not been up.
    pub(in crate::client) fn fingerprint<H: Hasher>(&self, is_starting: bool, digest: &mut Digest<'_, H>) {
        let Self { slots, serving: _, retries: _, current, rng: _ } = self;
        digest.value(current);
        digest.each(slots, |digest, Slot { active, next, retry_at, failures, reconnect }| {
            digest.part(active);
            digest.part(next);
            digest.deadline_if_any(*retry_at);
            digest.part(reconnect);
            if is_starting {
                digest.value(&(*failures).min(START_ATTEMPTS));
            }
        });
    }

    pub(in crate::client) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}
