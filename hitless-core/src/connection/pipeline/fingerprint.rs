use std::hash::Hasher;

use super::{Pipeline, Unsent, Written};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Pipeline {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // Tickets ascend in both: their order says it all.
        // How many replies are awaited is the sum of what is left of each, and the large ones are counted.
        let Self {
            unsent,
            unsent_bytes: _,
            written,
            large: _,
            awaited: _,
            next_ticket: _,
            window_closed_before,
            quiet_until,
            used_at: _,
        } = self;
        digest.each(unsent, |digest, Unsent { ticket: _, accepted }| digest.part(accepted));
        digest.each(written, |digest, written| {
            let Written { ticket, accepted, left, replies, own, is_large, special } = written;
            digest.value(&(left, replies.len(), own, is_large, special, ticket < window_closed_before));
            digest.part(accepted);
        });
        digest.deadline_if_any(*quiet_until);
    }
}
