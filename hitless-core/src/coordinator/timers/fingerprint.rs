use std::hash::Hasher;

use super::Timers;
use crate::fingerprint::{Digest, Fingerprint};

impl<K: Fingerprint> Fingerprint for Timers<K> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // `armed` says the same in another order.
        let Self { due, armed: _ } = self;
        digest.each(due, |digest, (at, key)| {
            digest.instant(*at);
            digest.part(key);
        });
    }
}
