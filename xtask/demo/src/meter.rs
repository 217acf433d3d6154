//! What the load measures: latencies, errors, and the longest time in which nothing was completed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Latencies from 1 us to a minute, exact to one per cent.
const SLOWEST: Duration = Duration::from_secs(60);
const DIGITS: u8 = 2;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    WithReply,
    WithError,
}

/// What was measured over some time.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    latencies: Histogram<u64>,
    errors: u64,
    gap: Duration,
}

impl Interval {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, micros(SLOWEST), DIGITS);
        let latencies = latencies.expect("the bounds are constants that the histogram accepts");
        Self { latencies, errors: 0, gap: Duration::ZERO }
    }

    fn record(&mut self, latency: Duration, gap: Duration, ended: Ended) {
        self.latencies.saturating_record(micros(latency).max(1));
        self.errors += u64::from(ended == Ended::WithError);
        self.gap = self.gap.max(gap);
    }

    /// Adds what was measured at another time.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all histograms have the same bounds");
        self.errors += other.errors;
        self.gap = self.gap.max(other.gap);
    }

    /// Operations that were completed, those that ended with an error included.
    pub(crate) fn operations(&self) -> u64 {
        self.latencies.len()
    }

    /// Operations that ended with an error.
    pub(crate) fn errors(&self) -> u64 {
        self.errors
    }

    /// The longest time between two completed operations, whoever completed them.
    pub(crate) fn gap(&self) -> Duration {
        self.gap
    }

    /// The latency that this share of the operations did not exceed; none without operations.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let any = !self.latencies.is_empty();
        any.then(|| Duration::from_micros(self.latencies.value_at_quantile(share).min(self.latencies.max())))
    }

    /// The slowest operation; none without operations.
    pub(crate) fn slowest(&self) -> Option<Duration> {
        self.quantile(1.0)
    }
}

/// Collects what the tasks of one step measure.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The last completion.
    last: Instant,
    second: Interval,
    part: Interval,
}

impl Meter {
    /// The first gap begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { last: now, second: Interval::new(), part: Interval::new() }))
    }

    /// Records an operation.
    pub(crate) fn record(&self, began: Instant, completed: Instant, ended: Ended) {
        let mut state = self.lock();
        let gap = completed.saturating_duration_since(state.last);
        state.last += gap;
        let latency = completed.saturating_duration_since(began);
        state.second.record(latency, gap, ended);
        state.part.record(latency, gap, ended);
    }

    /// What was measured since this was last asked for: for those who watch.
    pub(crate) fn take_second(&self) -> Interval {
        std::mem::replace(&mut self.lock().second, Interval::new())
    }

    /// What was measured since the last cut: for the verdict.
    pub(crate) fn cut(&self) -> Interval {
        std::mem::replace(&mut self.lock().part, Interval::new())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Figures are valid whatever a thread that panicked was doing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn meter() -> (Instant, Meter) {
        let now = hitless_conformance::clock::now();
        (now, Meter::new(now))
    }

    #[test]
    fn a_gap_is_the_time_between_completions_of_any_two_tasks() {
        let (start, meter) = meter();
        meter.record(start, start + 10 * MS, Ended::WithReply);
        meter.record(start, start + 40 * MS, Ended::WithReply);
        meter.record(start + 10 * MS, start + 45 * MS, Ended::WithReply);
        assert_eq!(meter.cut().gap(), 30 * MS);
    }

    #[test]
    fn a_completion_that_is_recorded_late_is_no_gap() {
        let (start, meter) = meter();
        meter.record(start, start + 20 * MS, Ended::WithReply);
        meter.record(start, start + 5 * MS, Ended::WithReply);
        meter.record(start, start + 21 * MS, Ended::WithReply);
        assert_eq!(meter.cut().gap(), 20 * MS);
    }

    #[test]
    fn the_time_before_the_first_completion_is_a_gap() {
        let (start, meter) = meter();
        meter.record(start, start + 70 * MS, Ended::WithReply);
        assert_eq!(meter.cut().gap(), 70 * MS);
    }

    #[test]
    fn seconds_and_parts_are_taken_independently_and_lose_nothing() {
        let (start, meter) = meter();
        let record = || meter.record(start, start + MS, Ended::WithReply);
        record();
        assert_eq!(meter.take_second().operations(), 1);
        record();
        let part = meter.cut();
        assert_eq!((part.operations(), part.errors()), (2, 0));
        assert_eq!(meter.take_second().operations(), 1);
        meter.record(start, start + MS, Ended::WithError);
        let part = meter.cut();
        assert_eq!((part.operations(), part.errors()), (1, 1));
    }

    #[test]
    fn quantiles_are_exact_to_one_per_cent() {
        let (start, meter) = meter();
        for latency in 1..=1000 {
            meter.record(start, start + latency * MS, Ended::WithReply);
        }
        let measured = meter.cut();
        for (share, expected) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = measured.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((found / expected - 1.0).abs() <= 0.01, "{share}: {found} ms");
        }
        let slowest = measured.slowest().unwrap();
        assert!(slowest >= 1000 * MS && slowest <= 1010 * MS, "{slowest:?}");
        assert_eq!(meter.cut().quantile(0.5), None);
    }
}
