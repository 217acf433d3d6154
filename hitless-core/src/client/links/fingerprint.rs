use std::hash::Hasher;

use super::{Link, Links};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Links {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { live } = self;
        digest.part(live);
    }
}

impl Fingerprint for Link {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { owner, probe, connection, flushing, traffic, client_id: _ } = self;
        digest.value(&(owner, probe, flushing));
        digest.part(connection);
        let awaits = connection.as_ref().is_some_and(|connection| connection.requests() > 0);
        traffic.fingerprint(awaits, digest);
    }
}
