//! What was seen a while ago: a bounded memory that forgets by itself.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::BTreeMap;
use std::time::Instant;

/// Keys that are remembered, each until its own time.
///
/// It never holds more than its capacity: when that is exceeded, the key that would be forgotten soonest is
/// forgotten now, be it the newcomer. Inserting looks at every key, so the capacity should be some hundreds
/// at most.
#[derive(Clone, Debug)]
pub(crate) struct Remembered<K> {
    until: BTreeMap<K, Instant>,
    capacity: usize,
}

impl<K: Ord + Clone> Remembered<K> {
    /// A memory for `capacity` keys; with 0 it remembers nothing.
    #[must_use]
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { until: BTreeMap::new(), capacity }
    }

    /// Remembers `key` until then, or for as long as it is remembered anyway: never shorter. Says whether it
    /// was news at `now`.
    pub(crate) fn insert(&mut self, now: Instant, key: K, until: Instant) -> bool {
        self.expire(now);
        if let Some(known) = self.until.get_mut(&key) {
            *known = until.max(*known);
            return false;
        }
        if until > now {
            self.until.insert(key, until);
        }
        if self.until.len() > self.capacity {
            let soonest = self.until.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone());
            soonest.map(|key| self.until.remove(&key));
        }
        true
    }

    /// Forgets what is over at `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
    }

    /// Whether `key` is remembered at `now`.
    #[must_use]
    pub(crate) fn contains(&self, now: Instant, key: &K) -> bool {
        self.until.get(key).is_some_and(|until| *until > now)
    }

    /// What is remembered at `now`, in order.
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = &K> {
        self.until.iter().filter(move |(_, until)| **until > now).map(|(key, _)| key)
    }

    /// When the next key is forgotten.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::timer::epoch;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn news_is_news_once() {
        let now = epoch();
        let mut seen = Remembered::new(4);
        assert!(seen.insert(now, 1, now + 5 * SECOND));
        assert!(!seen.insert(now + SECOND, 1, now + 5 * SECOND));
        assert!(seen.contains(now + 4 * SECOND, &1));
        assert!(!seen.contains(now + 5 * SECOND, &1));
        assert!(seen.insert(now + 5 * SECOND, 1, now + 9 * SECOND));
    }

    /// INV-14
    #[test]
    fn a_full_memory_forgets_the_soonest_be_it_the_newcomer() {
        let now = epoch();
        let mut seen = Remembered::new(2);
        seen.insert(now, 'a', now + 5 * SECOND);
        seen.insert(now, 'b', now + 9 * SECOND);
        seen.insert(now, 'c', now + 7 * SECOND);
        assert!(seen.iter(now).eq(&['b', 'c']));
        assert!(seen.insert(now, 'd', now + 6 * SECOND));
        assert!(seen.iter(now).eq(&['b', 'c']));
        assert_eq!(seen.next_expiry(), Some(now + 7 * SECOND));
    }

    #[test]
    fn no_capacity_remembers_nothing() {
        let now = epoch();
        let mut seen = Remembered::new(0);
        assert!(seen.insert(now, 1, now + SECOND));
        assert!(seen.insert(now, 1, now + SECOND));
        assert_eq!(seen.next_expiry(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Insert { key: u8, lasts: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4u64).prop_map(Step::Wait),
            (0..8u8, 0..12u64).prop_map(|(key, lasts)| Step::Insert { key, lasts }),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_list_that_is_searched(
            capacity in 0..5usize, steps in proptest::collection::vec(step(), 0..40),
        ) {
            let origin = epoch();
            let at = |seconds: u64| origin + Duration::from_secs(seconds);
            let mut seen = Remembered::new(capacity);
            let mut model: Vec<(u64, u8)> = Vec::new(); // (forgotten at, key)
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Insert { key, lasts } => {
                        model.retain(|(until, _)| *until > now);
                        let known = model.iter().position(|(_, known)| *known == key);
                        prop_assert_eq!(seen.insert(at(now), key, at(now + lasts)), known.is_none());
                        match known {
                            Some(index) => model[index].0 = model[index].0.max(now + lasts),
                            None => model.push((now + lasts, key)),
                        }
                        model.retain(|(until, _)| *until > now);
                        model.sort_unstable();
                        model.drain(..model.len().saturating_sub(capacity));
                    }
                }
                for key in 0..8 {
                    let remembered = model.iter().any(|(until, known)| *known == key && *until > now);
                    prop_assert_eq!(seen.contains(at(now), &key), remembered);
                }
                prop_assert!(seen.iter(at(now)).count() <= capacity);
                let first = model.iter().map(|(until, _)| at(*until)).min();
                prop_assert_eq!(seen.next_expiry(), first);
            }
        }
    }
}
