use std::hash::Hasher;

use super::{Knowledge, Known, Trial};
use crate::fingerprint::{Digest, Fingerprint};
use crate::mode::Support;

impl Fingerprint for Knowledge {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { config: _, known, unnotified } = self;
        digest.each(known, |digest, (peer, Known { support, trial, in_vain, otherwise, has_worked })| {
            let trial = trial.map(|Trial { probe, code: _ }| probe);
            digest.value(&(peer, trial, in_vain, otherwise, has_worked));
            digest.part(support);
        });
        digest.each(unnotified, |digest, (peer, conns)| {
            digest.value(peer);
            digest.part(conns);
        });
    }
}

impl Fingerprint for Support {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&std::mem::discriminant(self));
        match self {
            Self::Unknown | Self::Active => {}
            Self::Refused { recheck_at } => digest.deadline(*recheck_at),
        }
    }
}
