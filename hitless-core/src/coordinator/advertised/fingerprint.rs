use std::hash::Hasher;

use super::{Advertised, Check};
use crate::fingerprint::{Digest, Fingerprint};
use crate::rng::Rng;

impl Advertised {
    pub(in super::super) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Fingerprint for Advertised {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { rng: _, seen, check } = self;
        digest.value(seen);
        digest.each(check, |digest, Check { seq, left, next_at }| {
            digest.value(&(seq, left));
            digest.deadline(*next_at);
        });
    }
}
