use std::hash::Hasher;

use super::{Demotions, LONGEST_PAUSE, Pace};
use crate::fingerprint::{Digest, Fingerprint};
use crate::rng::Rng;
use crate::timer::after;

impl Demotions {
    pub(in super::super) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Fingerprint for Demotions {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { rng: _, paces, suspects, outdates_lookup } = self;
        let now = digest.now();
        let remembered_until = |pace: &Pace| after(pace.refused_at, LONGEST_PAUSE);
        let paces = paces.iter().filter(|(_, pace)| remembered_until(pace) > now);
        digest.each(paces, |digest, (refusal, pace @ Pace { pause, until, refused_at: _ })| {
            digest.value(&(refusal, pause));
            digest.deadline(*until);
            digest.deadline(remembered_until(pace));
        });
        digest.value(&(suspects, outdates_lookup));
    }
}
