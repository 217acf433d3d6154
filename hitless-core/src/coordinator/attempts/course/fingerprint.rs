use std::hash::Hasher;

use super::Course;
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Course {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // Which dials stand beside others, the attempts say. A name is taken to have two addresses at most.
        let Self { turn, patience, beside: _, shunned } = self;
        digest.value(&(turn % 2));
        digest.part(patience);
        digest.part(shunned);
    }
}
