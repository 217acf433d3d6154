use std::hash::Hasher;

use super::{Hold, Holds};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Holds {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self(holds) = self;
        digest.each(holds.values(), |digest, Hold { slots, source, target, until }| {
            digest.value(slots);
            digest.part(source);
            digest.part(target);
            digest.deadline(*until);
        });
    }
}
