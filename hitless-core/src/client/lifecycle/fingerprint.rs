use std::hash::Hasher;

use super::{Lifecycle, Phase};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Lifecycle {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { phase } = self;
        digest.value(&std::mem::discriminant(phase));
        match phase {
            Phase::ShuttingDown { until } => digest.deadline(*until),
            Phase::Starting | Phase::Running | Phase::Terminated => {}
        }
    }
}
