use std::hash::Hasher;

use super::Outage;
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Outage {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // What failed stands in errors alone.
        let Self { policy: _, last: _, is_down } = self;
        digest.value(is_down);
    }
}
