use std::hash::Hasher;

use super::{Blocked, Decision, Entry, Part, PartKind};
use crate::fingerprint::{Digest, Fingerprint};
use crate::ids::RequestId;

impl Fingerprint for Blocked {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { commands, parts, errands, leases, decisions, unwilling, quiet_until } = self;
        digest.part(commands);
        digest.part(parts);
        digest.part(errands);
        digest.each(leases.iter(), |digest, (lease, id)| digest.value(&(lease.index(), id.index())));
        digest.each(decisions, |digest, (id, decision)| {
            digest.part(id);
            digest.value(&std::mem::discriminant::<Decision>(decision));
        });
        digest.value(&unwilling.len());
        digest.deadline_if_any(*quiet_until);
    }
}

impl Fingerprint for RequestId {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&self.index());
    }
}

impl Fingerprint for Entry {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { command, lease, main, probe, joined, errand, helper } = self;
        digest.part(command);
        digest.part(lease);
        digest.part(helper);
        digest.part(main);
        digest.part(probe);
        digest.each(joined, |digest, (request, conn)| {
            digest.part(request);
            digest.part(conn);
        });
        digest.part(errand);
    }
}

impl Fingerprint for Part {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { of, kind, conn } = self;
        digest.part(of);
        digest.value(&std::mem::discriminant::<PartKind>(kind));
        digest.part(conn);
    }
}
