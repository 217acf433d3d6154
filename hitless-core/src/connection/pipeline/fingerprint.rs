use std::hash::Hasher;

use super::{Entry, Kind, Pipeline};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Pipeline {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // Tickets ascend: their order says it all.
        // How many replies are awaited is the sum of what is left of each, and the large ones are counted.
        let Self {
            entries,
            written,
            replies,
            unsent_bytes: _,
            large: _,
            awaited: _,
            next_ticket: _,
            quiet_until,
            used_at: _,
        } = self;
        digest.value(&(written, replies.len()));
        digest.each(entries, |digest, entry| {
            let Entry { ticket: _, left, is_large, outlived_window, kind } = entry;
            digest.value(&(left, is_large, outlived_window));
            match kind {
                Kind::Wanted(accepted) => {
                    digest.value(&0);
                    digest.part(accepted);
                }
                Kind::Abandoned(special) => digest.value(&(1, special)),
                Kind::Own(own) => digest.value(&(2, own)),
            }
        });
        digest.deadline_if_any(*quiet_until);
    }
}
