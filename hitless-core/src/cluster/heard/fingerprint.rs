use std::hash::Hasher;

use super::Heard;
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Heard {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { highest } = self;
        digest.each(highest, |digest, (seq, at)| {
            digest.value(seq);
            digest.instant(*at);
        });
    }
}
