//! Many deadlines, one alarm.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One deadline per key; the earliest is found, and any is moved or cancelled, in logarithmic time.
#[derive(Clone, Debug)]
pub(super) struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    armed: BTreeMap<K, Instant>,
}

impl<K: Ord + Clone> Timers<K> {
    pub(super) const fn new() -> Self {
        Self { due: BTreeSet::new(), armed: BTreeMap::new() }
    }

    /// Arms the timer of `key`, instead of what it was armed for.
    pub(super) fn arm(&mut self, key: K, at: Instant) {
        if let Some(before) = self.armed.insert(key.clone(), at) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key));
    }

    pub(super) fn cancel(&mut self, key: &K) {
        if let Some(at) = self.armed.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
    }

    /// The key of a timer that is due, which is then disarmed.
    pub(super) fn fire(&mut self, now: Instant) -> Option<K> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.armed.remove(&key);
        Some(key)
    }

    pub(super) fn is_armed(&self, key: &K) -> bool {
        self.armed.contains_key(key)
    }

    /// When the next timer is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::timer::epoch;

    #[test]
    fn timers_fire_once_in_order_and_the_last_arming_counts() {
        let start = epoch();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timers = Timers::new();
        timers.arm("a", at(30));
        timers.arm("b", at(20));
        timers.arm("c", at(10));
        timers.arm("a", at(15));
        timers.cancel(&"c");
        assert_eq!(timers.next(), Some(at(15)));
        assert_eq!(timers.fire(at(14)), None);
        assert_eq!(timers.fire(at(25)), Some("a"));
        assert_eq!(timers.fire(at(25)), Some("b"));
        assert_eq!(timers.fire(at(99)), None);
        assert_eq!(timers.next(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm { key: u8, at: u64 },
        Cancel { key: u8 },
        Fire { by: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..5u8, 0..20u64).prop_map(|(key, at)| Step::Arm { key, at }),
            1 => (0..5u8).prop_map(|key| Step::Cancel { key }),
            2 => (0..20u64).prop_map(|by| Step::Fire { by }),
        ]
    }

    proptest! {
        /// Whatever is due fires once, the earliest first, and nothing that is due stays behind. INV-12
        #[test]
        fn they_agree_with_a_list_that_is_searched(steps in proptest::collection::vec(step(), 0..60)) {
            let start = epoch();
            let at = |seconds| start + Duration::from_secs(seconds);
            let mut timers = Timers::new();
            let mut model: Vec<(u64, u8)> = Vec::new();
            for step in steps {
                match step {
                    Step::Arm { key, at: due } => {
                        timers.arm(key, at(due));
                        model.retain(|(_, known)| *known != key);
                        model.push((due, key));
                    }
                    Step::Cancel { key } => {
                        timers.cancel(&key);
                        model.retain(|(_, known)| *known != key);
                    }
                    Step::Fire { by } => {
                        let fired: Vec<u8> = std::iter::from_fn(|| timers.fire(at(by))).collect();
                        model.sort_unstable();
                        let due = model.extract_if(.., |(due, _)| *due <= by).map(|(_, key)| key);
                        prop_assert_eq!(fired, due.collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(timers.next(), model.iter().map(|(due, _)| at(*due)).min());
            }
        }
    }
}
