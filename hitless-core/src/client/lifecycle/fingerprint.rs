use std::hash::Hasher;

use super::{Lifecycle, Phase};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Lifecycle {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { phase } = self;
        digest.value(&std::mem::discriminant(phase));
        match phase {
            // How long it has been starting stands in an error alone.
            Phase::Starting { since: _, until } => digest.deadline_if_any(*until),
            Phase::ShuttingDown { until } => digest.deadline(*until),
            Phase::Running | Phase::Terminated => {}
        }
    }
}
