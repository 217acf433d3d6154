//! Timers of machines that have no clock: an instant to be reached, or none.

use std::time::{Duration, Instant};

/// Where [`after`] ends: far enough to mean "never", near enough for every platform to represent.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// One deadline, armed or not.
///
/// It is neither `Copy` nor `Clone`: a copied timer that is cancelled here and fires there is a bug that the
/// compiler can find.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Timer {
    at: Option<Instant>,
}

impl Timer {
    /// A timer that is not armed.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: None }
    }

    /// Arms the timer for `at`, whatever it was armed for before.
    pub fn arm(&mut self, at: Instant) {
        self.at = Some(at);
    }

    /// Arms the timer for `at` unless it fires earlier anyway.
    pub fn arm_earlier(&mut self, at: Instant) {
        self.at = earliest([self.at, Some(at)]);
    }

    /// Disarms the timer.
    pub fn cancel(&mut self) {
        self.at = None;
    }

    /// Whether the timer is due; one that is due is disarmed, so it fires once.
    #[must_use]
    pub fn fire(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    /// When the timer fires, if it is armed.
    #[must_use]
    pub const fn at(&self) -> Option<Instant> {
        self.at
    }
}

/// The earliest of `deadlines`; absent ones do not count.
#[must_use]
pub fn earliest(deadlines: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    // Not `flatten().min()`, which keeps a state that compilers do not see through: this is on every request's way.
    deadlines.into_iter().fold(None, |earliest, deadline| match (earliest, deadline) {
        (Some(earliest), Some(deadline)) => Some(deadline.min(earliest)),
        (earliest, deadline) => earliest.or(deadline),
    })
}

/// `delay` after `now`, where `now + delay` could overflow and panic: such a delay ends in the far future
/// instead.
#[must_use]
pub fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).or_else(|| now.checked_add(FAR_FUTURE)).unwrap_or(now)
}

/// An arbitrary instant for tests to count from: nothing but a clock can make the first one.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests in virtual time need an origin")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fires_once_and_not_before_its_time() {
        let now = epoch();
        let mut timer = Timer::new();
        assert!(!timer.fire(now));

        timer.arm(now + SECOND);
        assert!(!timer.fire(now));
        assert_eq!(timer.at(), Some(now + SECOND));
        assert!(timer.fire(now + SECOND));
        assert!(!timer.fire(now + SECOND));
        assert_eq!(timer.at(), None);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire() {
        let now = epoch();
        let mut timer = Timer::new();
        timer.arm(now);
        timer.cancel();
        assert!(!timer.fire(now + SECOND));
    }

    #[test]
    fn arm_replaces_and_arm_earlier_only_hastens() {
        let now = epoch();
        let mut timer = Timer::new();
        timer.arm_earlier(now + 2 * SECOND);
        timer.arm_earlier(now + 3 * SECOND);
        assert_eq!(timer.at(), Some(now + 2 * SECOND));
        timer.arm_earlier(now + SECOND);
        assert_eq!(timer.at(), Some(now + SECOND));
        timer.arm(now + 3 * SECOND);
        assert_eq!(timer.at(), Some(now + 3 * SECOND));
    }

    #[test]
    fn earliest_skips_what_is_absent() {
        let now = epoch();
        assert_eq!(earliest([None, Some(now + SECOND), Some(now), None]), Some(now));
        assert_eq!(earliest([None, None]), None);
    }

    #[test]
    fn after_never_overflows() {
        let now = epoch();
        assert_eq!(after(now, SECOND), now + SECOND);
        assert!(after(now, Duration::MAX) > now + Duration::from_secs(3600));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u64),
        ArmEarlier(u64),
        Cancel,
        Fire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let seconds = || 0..20u64;
        prop_oneof![
            seconds().prop_map(Step::Arm),
            seconds().prop_map(Step::ArmEarlier),
            Just(Step::Cancel),
            seconds().prop_map(Step::Fire),
        ]
    }

    proptest! {
        /// INV-12: it fires when the earliest wish since it was last set, fired or cancelled has come, and once.
        #[test]
        fn it_agrees_with_the_list_of_wishes(steps in proptest::collection::vec(step(), 0..40)) {
            let start = epoch();
            let at = |seconds| start + Duration::from_secs(seconds);
            let mut timer = Timer::new();
            let mut wishes: Vec<u64> = Vec::new();
            for step in steps {
                match step {
                    Step::Arm(wish) => {
                        timer.arm(at(wish));
                        wishes = vec![wish];
                    }
                    Step::ArmEarlier(wish) => {
                        timer.arm_earlier(at(wish));
                        wishes.push(wish);
                    }
                    Step::Cancel => {
                        timer.cancel();
                        wishes.clear();
                    }
                    Step::Fire(now) => {
                        let is_due = wishes.iter().any(|wish| *wish <= now);
                        prop_assert_eq!(timer.fire(at(now)), is_due);
                        prop_assert!(!timer.fire(at(now)));
                        if is_due {
                            wishes.clear();
                        }
                    }
                }
                prop_assert_eq!(timer.at(), wishes.iter().min().map(|wish| at(*wish)));
            }
        }
    }
}
