use std::hash::Hasher;

use super::{Pool, Rng, START_ATTEMPTS, Slot, Start};
use crate::fingerprint::Digest;

impl Pool {
    pub(in crate::client) fn fingerprint<H: Hasher>(&self, start: &Start, digest: &mut Digest<'_, H>) {
        let Self { slots, serving: _, retries: _, turn, rng: _ } = self;
        digest.value(turn);
        digest.value(start);
        digest.each(slots, |digest, Slot { active, next, retry_at, failures, reconnect }| {
            digest.part(active);
            digest.part(next);
            digest.deadline_if_any(*retry_at);
            digest.part(reconnect);
            if *start == Start::Pending {
                digest.value(&(*failures).min(START_ATTEMPTS));
            }
        });
    }

    pub(in crate::client) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}
