//! A circuit breaker for each target that scouts were sent to.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::breaker::{AttemptEnd, Breaker, BreakerConfig, Denied, Permit};
use crate::notification::MoveTarget;

/// Targets whose breakers are kept; beyond it, one is forgotten.
const TARGETS: usize = 64;

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Breakers {
    config: BreakerConfig,
    targets: BTreeMap<MoveTarget, Breaker>,
}

impl Breakers {
    pub(super) const fn new(config: BreakerConfig) -> Self {
        Self { config, targets: BTreeMap::new() }
    }

    pub(super) fn try_acquire(&mut self, now: Instant, target: &MoveTarget) -> Result<Permit, Denied> {
        if !self.targets.contains_key(target) && self.targets.len() >= TARGETS {
            self.targets.pop_first();
        }
        let breaker = self.targets.entry(target.clone()).or_insert_with(|| Breaker::new(self.config));
        breaker.try_acquire(now)
    }

    /// The attempt that had `permit` has ended. A breaker that was forgotten meanwhile learns nothing.
    pub(super) fn settle(&mut self, now: Instant, target: &MoveTarget, permit: Permit, end: AttemptEnd) {
        if let Some(breaker) = self.targets.get_mut(target) {
            breaker.settle(now, permit, end);
        }
    }

    #[cfg(feature = "explore")]
    pub(super) fn get(&self, target: &MoveTarget) -> Option<&Breaker> {
        self.targets.get(target)
    }

    #[cfg(feature = "explore")]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&MoveTarget, &Breaker)> {
        self.targets.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::timer::epoch;

    fn target(port: u16) -> MoveTarget {
        MoveTarget::Endpoint(Endpoint::parse("127.0.0.1", port).unwrap())
    }

    /// One target's failures do not count against another's. PITFALL-19
    #[test]
    fn each_target_has_a_breaker_of_its_own() {
        let now = epoch();
        let mut breakers = Breakers::new(BreakerConfig { failures: 1, ..BreakerConfig::default() });
        let permit = breakers.try_acquire(now, &target(1)).unwrap();
        breakers.settle(now, &target(1), permit, AttemptEnd::Failure);
        assert!(breakers.try_acquire(now, &target(1)).is_err());
        assert!(breakers.try_acquire(now, &target(2)).is_ok());
        assert!(breakers.try_acquire(now, &target(1)).is_err(), "there is room for both");
    }

    /// A breaker that gave way to a newer one forgets its failures, and late ends change nothing. INV-14
    #[test]
    fn the_number_of_breakers_is_limited() {
        let now = epoch();
        let mut breakers = Breakers::new(BreakerConfig { failures: 1, ..BreakerConfig::default() });
        let early = breakers.try_acquire(now, &target(1)).unwrap();
        for port in 2..200 {
            let permit = breakers.try_acquire(now, &target(port)).unwrap();
            breakers.settle(now, &target(port), permit, AttemptEnd::Failure);
        }
        assert_eq!(breakers.targets.len(), TARGETS);
        breakers.settle(now, &target(1), early, AttemptEnd::Failure);
        assert!(breakers.try_acquire(now, &target(1)).is_ok());
    }
}
