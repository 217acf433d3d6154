use std::hash::Hasher;

use super::{Deferred, Place};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Deferred {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { at, accepted, replies: _ } = self;
        digest.deadline(*at);
        digest.part(accepted);
    }
}

impl Fingerprint for Place {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        match self {
            Self::Parked => digest.value(&0),
            Self::Deferred => digest.value(&1),
            // The connection knows the place of each of its requests.
            Self::On { conn, ticket: _ } => {
                digest.value(&2);
                digest.part(conn);
            }
        }
    }
}
