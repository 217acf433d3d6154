use std::hash::Hasher;

use super::{BYTES, READS, Traffic};
use crate::fingerprint::Digest;

impl Traffic {
    /// When it pauses matters to a connection that awaits replies.
    pub(in crate::client) fn fingerprint<H: Hasher>(&self, awaits: bool, digest: &mut Digest<'_, H>) {
        let Self { writing, reads, pauses_at } = self;
        digest.value(&(*writing > BYTES, (*reads).min(READS)));
        digest.deadline_if_any(pauses_at.filter(|_| awaits));
    }
}
