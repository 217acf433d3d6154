use std::hash::Hasher;

use super::{Deferred, Entry, Place, Requests};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Requests {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { limits: _, places, accepted: _, parked, alone, deferred, quiet_until } = self;
        digest.each(places.iter(), |digest, (id, Entry { order, place })| {
            let older = places.iter().filter(|(_, other)| other.order < *order).count();
            digest.value(&(id.index(), older));
            digest.part(place);
        });
        digest.part(parked);
        digest.part(alone);
        digest.part(deferred);
        digest.deadline_if_any(*quiet_until);
    }
}

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
            Self::Alone => digest.value(&3),
            Self::Apart => digest.value(&4),
            // The connection knows the place of each of its requests.
            Self::On { conn, ticket: _ } => {
                digest.value(&2);
                digest.part(conn);
            }
        }
    }
}
