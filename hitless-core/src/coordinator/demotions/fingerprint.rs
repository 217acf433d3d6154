use std::hash::Hasher;

use super::{Demotions, Pace};
use crate::fingerprint::{Digest, Fingerprint};
use crate::rng::Rng;

impl Demotions {
    pub(in super::super) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Fingerprint for Demotions {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { rng: _, paces, suspects, lookup } = self;
        digest.each(paces, |digest, (refusal, Pace { pause, until, refused_at })| {
            digest.value(&(refusal, pause));
            digest.deadline(*until);
            digest.instant(*refused_at);
        });
        digest.value(suspects);
        digest.part(lookup);
    }
}
