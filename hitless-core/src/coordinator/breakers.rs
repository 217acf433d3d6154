//! A circuit breaker for each target that scouts were sent to.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::breaker::{Breaker, BreakerConfig, Denied, Permit, Verdict};
use crate::ids::ConnId;
use crate::notification::MoveTarget;

/// Targets whose breakers are kept; beyond it, one is forgotten.
const TARGETS: usize = 64;

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Breakers {
    config: BreakerConfig,
    targets: BTreeMap<MoveTarget, Breaker>,
    /// The permits of scouts under way, by their connection.
    permits: BTreeMap<ConnId, (MoveTarget, Permit)>,
}

impl Breakers {
    pub(super) const fn new(config: BreakerConfig) -> Self {
        Self { config, targets: BTreeMap::new(), permits: BTreeMap::new() }
    }

    pub(super) fn try_acquire(&mut self, now: Instant, target: &MoveTarget) -> Result<Permit, Denied> {
        if !self.targets.contains_key(target) {
            if self.targets.len() >= TARGETS {
                self.targets.pop_first();
            }
            self.targets.insert(target.clone(), Breaker::new(self.config));
        }
        match self.targets.get_mut(target) {
            Some(breaker) => breaker.try_acquire(now),
            None => Err(Denied { retry_at: now }),
        }
    }

    /// Keeps the permit of the scout `to` until it settles.
    pub(super) fn hold(&mut self, to: ConnId, target: MoveTarget, permit: Permit) {
        self.permits.insert(to, (target, permit));
    }

    /// The scout `to` has ended; other connections have no permit, and nothing happens.
    pub(super) fn settle(&mut self, now: Instant, to: ConnId, verdict: Verdict) {
        let Some((target, permit)) = self.permits.remove(&to) else { return };
        if let Some(breaker) = self.targets.get_mut(&target) {
            breaker.settle(now, permit, verdict);
        }
    }
}

#[cfg(feature = "explore")]
mod fingerprint {
    use std::hash::Hasher;

    use super::Breakers;
    use crate::fingerprint::{Digest, Fingerprint};

    impl Fingerprint for Breakers {
        fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
            let Self { config: _, targets, permits } = self;
            digest.each(targets, |digest, (target, breaker)| {
                digest.value(target);
                digest.part(breaker);
            });
            digest.each(permits, |digest, (conn, (target, permit))| {
                digest.part(conn);
                digest.value(target);
                digest.each(targets.get(target), |digest, breaker| breaker.tell(permit, digest));
            });
        }
    }
}
