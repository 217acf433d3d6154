use std::hash::Hasher;

use super::{Entry, Pipeline};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Pipeline {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // Tickets ascend: their order says it all.
        // How many replies are awaited is the sum of what is left of each, and the large ones are counted.
        let Self {
            entries,
            written,
            unsent_bytes: _,
            large: _,
            awaited: _,
            next_ticket: _,
            quiet_until,
            used_at: _,
        } = self;
        digest.value(written);
        digest.each(entries, |digest, entry| {
            let Entry { ticket: _, accepted, left, replies, own, is_large, outlived_window, special } = entry;
            digest.value(&(left, replies.len(), own, is_large, special, outlived_window));
            digest.part(accepted);
        });
        digest.deadline_if_any(*quiet_until);
    }
}
