use std::hash::Hasher;

use super::{Subscriptions, Successor};
use crate::fingerprint::{Digest, Fingerprint};

impl Subscriptions {
    pub(in crate::client) fn reseed(&mut self, seed: u64) {
        self.place.reseed(seed);
    }
}

impl Fingerprint for Subscriptions {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { audience, place, active, successor, owed, guessed, ended_by, decisions } = self;
        digest.part(audience);
        digest.part(place);
        digest.part(active);
        digest.part(successor);
        digest.value(&(owed, guessed, ended_by, decisions.len()));
    }
}

impl Fingerprint for Successor {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { line, overlap, only_here, refused, is_offered } = self;
        digest.part(line);
        digest.part(overlap);
        digest.value(&(only_here, refused, is_offered));
    }
}
