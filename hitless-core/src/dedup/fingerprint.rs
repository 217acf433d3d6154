use std::hash::{Hash, Hasher};

use super::Remembered;
use crate::fingerprint::{Digest, Fingerprint};

impl<K: Hash + Ord> Fingerprint for Remembered<K> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { until, capacity: _ } = self;
        let now = digest.now();
        digest.each(until.iter().filter(|(_, until)| **until > now), |digest, (key, until)| {
            digest.value(key);
            digest.deadline(*until);
        });
    }
}
