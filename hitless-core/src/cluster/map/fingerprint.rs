use std::hash::Hasher;

use super::{Fact, Origin, Run, SlotMap};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for SlotMap {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // How many slots each has follows from the runs.
        let Self { runs, owned: _, replicas } = self;
        digest.each(runs, |digest, Run { start, end, owner, fact }| {
            digest.value(&(start, end));
            digest.part(owner);
            digest.part(fact);
        });
        digest.each(replicas, |digest, (primary, replicas)| {
            digest.part(primary);
            digest.part(replicas);
        });
    }
}

impl Fingerprint for Fact {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { origin, as_of } = self;
        digest.value(&match origin {
            // The two are judged alike.
            Origin::Snapshot | Origin::Redirect => None,
            Origin::Delta(seq) => Some(seq),
        });
        digest.instant(*as_of);
    }
}
