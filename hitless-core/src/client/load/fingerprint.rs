use std::hash::Hasher;

use super::{BYTES, PAUSE, READS, Traffic};
use crate::fingerprint::Digest;
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
