use std::hash::Hasher;

use super::{HandoffSchedule, Reconnect};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for HandoffSchedule {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { budget, end, deadline, retries, handoff_timeout } = self;
        digest.value(&(budget, retries, handoff_timeout));
        digest.deadline(*end);
        digest.deadline(*deadline);
    }
}

impl Fingerprint for Reconnect {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { attempt, hopeless } = self;
        // From the sixth and the fourth on, all pauses are the longest.
        digest.value(&((*attempt).min(6), (*hopeless).min(4)));
    }
}
