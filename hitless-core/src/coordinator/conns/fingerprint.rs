use std::hash::Hasher;

use super::{Conn, Conns, Phase};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Conns {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // `by_peer` says the same as `live` in another order.
        let Self { live, by_peer: _, behind, orphaned, deadlines } = self;
        digest.part(live);
        digest.part(behind);
        digest.part(orphaned);
        digest.part(deadlines);
    }
}

impl Fingerprint for Conn {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { role, peer, address, is_ending, phase } = self;
        digest.value(&(role, peer, address, is_ending, std::mem::discriminant(phase)));
        match phase {
            Phase::Serving => {}
            Phase::AwaitsSwitch { from } => digest.part(from),
            // Since when it drains is only reported.
            Phase::Draining { since: _, successor } => digest.part(successor),
        }
    }
}
