use std::hash::Hasher;

use super::Sought;
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Sought {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { old, before_pm, before_p1, new } = self;
        digest.value(&(old, before_pm, before_p1, new));
    }
}
