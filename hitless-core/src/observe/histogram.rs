//! How long things took, in buckets that are the same everywhere, so that histograms can be added up.

use std::time::Duration;

/// The first bound; each is twice the one before.
const FIRST: Duration = Duration::from_micros(125);
const BOUNDS: usize = 22;

/// Counts per duration, in buckets that double from 125 µs to 262 s, and one beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS + 1],
    sum: Duration,
}

impl Histogram {
    /// Counts `took`.
    pub fn record(&mut self, took: Duration) {
        let bucket = (0..BOUNDS).position(|index| took <= bound(index)).unwrap_or(BOUNDS);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// Adds what `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The upper bound of each bucket (`None`: there is none) and how many fell into it and not into one before.
    #[must_use]
    pub fn buckets(&self) -> Buckets<'_> {
        Buckets { histogram: self, next: 0 }
    }
}

/// The buckets of a [`Histogram`], ascending.
#[derive(Clone, Debug)]
pub struct Buckets<'a> {
    histogram: &'a Histogram,
    next: usize,
}

impl Iterator for Buckets<'_> {
    type Item = (Option<Duration>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        let count = *self.histogram.counts.get(index)?;
        self.next += 1;
        Some(((index < BOUNDS).then(|| bound(index)), count))
    }
}

fn bound(index: usize) -> Duration {
    FIRST * (1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        let durations = [0, 125, 126, 1_000, 300_000_000].map(Duration::from_micros);
        for took in durations {
            histogram.record(took);
        }
        let filled: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        let micros = |micros| Some(Duration::from_micros(micros));
        assert_eq!(filled, [(micros(125), 2), (micros(250), 1), (micros(1_000), 1), (None, 1)]);
        assert_eq!((histogram.count(), histogram.sum()), (5, durations.iter().sum()));
        assert_eq!(histogram.buckets().count(), 23);
    }

    #[test]
    fn merging_adds() {
        let mut one = Histogram::default();
        one.record(Duration::from_secs(1));
        let mut other = Histogram::default();
        other.record(Duration::from_secs(2));
        other.merge(&one);
        assert_eq!((other.count(), other.sum()), (2, Duration::from_secs(3)));
    }
}
