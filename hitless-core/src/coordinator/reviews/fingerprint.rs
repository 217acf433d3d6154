use std::hash::Hasher;

use super::{ReviewId, Reviews};
use crate::fingerprint::{Digest, Fingerprint};

impl<P> Reviews<P> {
    pub(in super::super) fn age(&self, review: ReviewId) -> u32 {
        self.pending.age(review)
    }
}

impl<P: Fingerprint> Fingerprint for Reviews<P> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { limit, pending, limits } = self;
        digest.value(limit);
        digest.part(pending);
        digest.part(limits);
    }
}
