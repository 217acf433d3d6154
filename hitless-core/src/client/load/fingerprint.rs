use std::hash::Hasher;

use super::{BYTES, LONG_REPLIES, LongReplies, PAUSE, READS, Traffic};
use crate::fingerprint::{Digest, Fingerprint};
use crate::timer::after;

impl Traffic {
    /// Since when replies are awaited matters to a connection that awaits some.
    pub(in crate::client) fn fingerprint<H: Hasher>(&self, awaits: bool, digest: &mut Digest<'_, H>) {
        let Self { writing, reads, waits_since } = self;
        digest.value(&(*writing > BYTES, (*reads).min(READS)));
        let pauses_at = waits_since.filter(|_| awaits).map(|since| after(since, PAUSE));
        digest.deadline_if_any(pauses_at);
    }
}

impl Fingerprint for LongReplies {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { came_at } = self;
        digest.deadline_if_any(came_at.map(|at| after(at, LONG_REPLIES)));
    }
}
