use std::hash::Hasher;

use super::{Asking, Refresh};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Refresh {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            interval: _,
            least_pause: _,
            timeout: _,
            reason,
            urgent_reason,
            is_routine,
            due,
            is_due_fixed,
            began_at,
            unchanged_since,
            read_as_of,
            periodic_at,
            asking,
            asked,
            last,
            shunned,
            failed_rounds,
            queries: _,
            request,
        } = self;
        for known in [reason, urgent_reason, began_at, unchanged_since, read_as_of] {
            digest.each(known, |digest, at| digest.instant(*at));
        }
        digest.deadline_if_any(*due);
        digest.deadline_if_any(*periodic_at);
        digest.part(asking);
        digest.part(asked);
        digest.part(last);
        digest.part(shunned);
        digest.value(&(is_routine, is_due_fixed, failed_rounds, request));
    }
}

impl Fingerprint for Asking {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { query: _, node, request, asked_at, until, is_second } = self;
        digest.part(node);
        digest.value(&(request, is_second));
        digest.instant(*asked_at);
        digest.deadline(*until);
    }
}
