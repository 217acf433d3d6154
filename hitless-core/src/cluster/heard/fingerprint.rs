use std::hash::Hasher;

use super::{Heard, Id};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Heard {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self(ids) = self;
        digest.each(ids, |digest, Id { seq, first, is_late }| {
            digest.value(&(seq, is_late));
            digest.instant(*first);
        });
    }
}
