use std::hash::Hasher;

use super::Place;
use crate::backoff::Reconnect;
use crate::fingerprint::{Digest, Fingerprint};
use crate::rng::Rng;

impl Place {
    pub(in crate::client) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Fingerprint for Place {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { since, dialled, ping_at, retry_at, pauses, failure, rng: _ } = self;
        digest.deadline_if_any(since.map(|since| since + Reconnect::PROVEN_AFTER));
        digest.deadline_if_any(since.map(|since| since + Reconnect::TRUSTED_AFTER));
        digest.part(dialled);
        digest.deadline_if_any(*ping_at);
        digest.deadline_if_any(*retry_at);
        digest.part(pauses);
        digest.value(&failure.is_some());
    }
}
