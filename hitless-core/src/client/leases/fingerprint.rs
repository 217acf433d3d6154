use std::hash::Hasher;

use super::{Lease, Leases, UnderWay};
use crate::fingerprint::{Digest, Fingerprint};
use crate::ids::LeaseId;
use crate::rng::Rng;

impl Leases {
    pub(in crate::client) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Fingerprint for Leases {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            leases,
            queue,
            waiting: _,
            waiting_limit: _,
            later,
            queued,
            quiet_until,
            seats,
            retry_at,
            pauses,
            failure,
            rng: _,
        } = self;
        digest.part(leases);
        // Those who have given up are passed over.
        let waiting = queue.iter().filter(|lease| leases.get(**lease).is_some());
        digest.each(waiting, |digest, lease| digest.value(&lease.index()));
        digest.each(later, |digest, (at, lease)| {
            digest.instant(*at);
            digest.value(&lease.index());
        });
        digest.each(queued, |digest, conn| digest.part(conn));
        digest.deadline_if_any(*quiet_until);
        digest.part(seats);
        digest.deadline_if_any(*retry_at);
        digest.part(pauses);
        digest.value(&failure.is_some());
    }
}

impl Fingerprint for Lease {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        match self {
            // When it comes stands among those who do.
            Self::Later { at: _, limit } => digest.value(limit),
            // How long it has waited is only reported.
            Self::Waiting { since: _, until } => digest.deadline_if_any(*until),
            Self::Held { seat, session, under_way, refused_in_window } => {
                digest.value(&(seat, session, refused_in_window));
                digest.each(under_way, |digest, UnderWay { request, special }| {
                    digest.value(&(request.index(), special));
                });
            }
            Self::Lost { cause, refused_in_window } => digest.value(&(cause, refused_in_window)),
        }
    }
}

impl Fingerprint for LeaseId {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&self.index());
    }
}
