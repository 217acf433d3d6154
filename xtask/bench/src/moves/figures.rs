//! Figures out of what was recorded of every operation.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hitless_conformance::tally::Counted;

/// The time of one point of a curve.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// Latencies up to a minute, to three digits.
const SLOWEST: Duration = Duration::from_secs(60);
const DIGITS: u8 = 3;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// It ended with its reply and not with an error.
    pub(super) is_answered: bool,
}

/// When something happened, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// From the first mark on.
    pub(super) at: Duration,
    pub(super) what: &'static str,
}

/// The moments of a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// From here on operations count.
    pub(super) from: Instant,
    /// The first event; none in a control.
    pub(super) event: Option<Instant>,
    pub(super) to: Instant,
}

/// What the operations of one scenario show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latencies {
    pub(super) operations: u64,
    pub(super) errors: u64,
    /// The longest time in which no operation was answered.
    pub(super) gap: Duration,
    /// p99.9 of those that ended before the event, or of all of them if there is none.
    pub(super) before: Option<Duration>,
    /// p99.9 of those that ended later.
    pub(super) during: Option<Duration>,
}

/// A point of the curves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// The middle of its slice, in seconds from the event on.
    pub(super) at: f64,
    /// Operations that were answered, per second.
    pub(super) rate: f64,
    /// p99.9 of all that ended; none if none did.
    pub(super) p999: Option<Duration>,
}

/// What became of numbered items or messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) sent: u64,
    pub(super) counted: Counted,
}

/// All that is said of one client in one scenario.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) latencies: Latencies,
    /// INCRs, by the server's count.
    pub(super) counted: Counted,
    /// INCRs that ran although their caller has an error, by the server's count.
    pub(super) unanswered: u64,
    /// Errors of consumers and subscribers; those of the load are in `latencies`.
    pub(super) other_errors: u64,
    /// Errors, of all, that do not rule out that the command has run.
    pub(super) uncertain: u64,
    /// Connections that the nodes have accepted since the event.
    pub(super) opened: usize,
    /// From the event until the old node had closed, or lost, its last connection.
    pub(super) emptied: Option<Duration>,
    /// Items or messages, where there are any.
    pub(super) delivered: Option<Delivered>,
    pub(super) marks: Vec<Mark>,
    pub(super) curve: Vec<Point>,
}

impl Figures {
    /// Errors of all that use the client.
    pub(super) fn errors(&self) -> u64 {
        self.latencies.errors + self.other_errors
    }
}

impl Span {
    fn origin(&self) -> Instant {
        self.event.unwrap_or(self.from)
    }
}

impl Latencies {
    /// `operations` in any order; those that end outside of the span do not count.
    pub(super) fn of(operations: &[Operation], span: Span) -> Self {
        let mut operations: Vec<_> = operations.iter().filter(|one| is_in(one, span.from, span.to)).collect();
        operations.sort_by_key(|one| one.ended);
        let answered = || operations.iter().filter(|one| one.is_answered).map(|one| one.ended);
        let gaps = std::iter::once(span.from).chain(answered()).zip(answered().chain([span.to]));
        let gap = gaps.map(|(one, next)| next.saturating_duration_since(one)).max();
        let event = span.event.unwrap_or(span.to);
        let split = operations.partition_point(|one| one.ended < event);
        Self {
            operations: operations.len() as u64,
            errors: operations.iter().filter(|one| !one.is_answered).count() as u64,
            gap: gap.unwrap_or_default(),
            before: p999(operations[..split].iter().copied()),
            during: p999(operations[split..].iter().copied()),
        }
    }
}

/// The curves: one point for each slice that is wholly in the span.
pub(super) fn curve(operations: &[Operation], span: Span) -> Vec<Point> {
    let slices = span.to.saturating_duration_since(span.from).as_nanos() / SLICE.as_nanos();
    let point = |slice: u32| {
        let from = span.from + SLICE * slice;
        let within: Vec<_> = operations.iter().filter(|one| is_in(one, from, from + SLICE)).collect();
        let answered = within.iter().filter(|one| one.is_answered).count();
        Point {
            at: seconds_from(span.origin(), from + SLICE / 2),
            rate: answered as f64 / SLICE.as_secs_f64(),
            p999: p999(within.into_iter()),
        }
    };
    (0..u32::try_from(slices).unwrap_or_default()).map(point).collect()
}

fn is_in(operation: &Operation, from: Instant, to: Instant) -> bool {
    from <= operation.ended && operation.ended < to
}

/// Below zero if `at` is earlier.
fn seconds_from(origin: Instant, at: Instant) -> f64 {
    at.saturating_duration_since(origin).as_secs_f64() - origin.saturating_duration_since(at).as_secs_f64()
}

/// The latency that 999 of 1000 operations did not exceed; none without operations.
fn p999<'a>(operations: impl Iterator<Item = &'a Operation>) -> Option<Duration> {
    let bounds = Histogram::<u64>::new_with_bounds(1, micros(SLOWEST), DIGITS);
    let mut latencies = bounds.expect("the bounds are constants that the histogram accepts");
    for Operation { began, ended, .. } in operations {
        latencies.saturating_record(micros(ended.saturating_duration_since(*began)).max(1));
    }
    let any = !latencies.is_empty();
    any.then(|| Duration::from_micros(latencies.value_at_quantile(0.999).min(latencies.max())))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Operations that end at these milliseconds, each of which took `latency`.
    fn operations(start: Instant, latency: Duration, ends: impl IntoIterator<Item = u32>) -> Vec<Operation> {
        let operation = |end| {
            let ended = start + MS * end;
            Operation { began: ended - latency, ended, is_answered: true }
        };
        ends.into_iter().map(operation).collect()
    }

    /// From 0 to 1 s, with an event at 500 ms.
    fn span(from: Instant) -> Span {
        Span { from, event: Some(from + 500 * MS), to: from + 1000 * MS }
    }

    #[test]
    fn percentiles_are_those_of_the_parts_and_exact_to_three_digits() {
        let start = crate::measure::now() + 10_000 * MS;
        // One in a thousand is not the slowest of a thousand.
        let mut all = operations(start, MS, (0..500).cycle().take(999));
        all.extend(operations(start, 80 * MS, [499]));
        all.extend(operations(start, 2 * MS, (500..1000).cycle().take(998)));
        all.extend(operations(start, 70 * MS, [500, 999]));
        let found = Latencies::of(&all, span(start));
        let [before, during] = [found.before, found.during].map(Option::unwrap);
        assert!(before.abs_diff(MS) <= MS / 1000, "{before:?}");
        assert!(during.abs_diff(70 * MS) <= 70 * MS / 1000, "{during:?}");
        assert_eq!((found.operations, found.errors), (2000, 0));
    }

    #[test]
    fn a_part_without_operations_has_no_percentile() {
        let start = crate::measure::now() + 10_000 * MS;
        let found = Latencies::of(&operations(start, MS, 0..500), span(start));
        assert_eq!(found.during, None);
        let control = Span { event: None, ..span(start) };
        let found = Latencies::of(&operations(start, MS, 0..1000), control);
        assert!(found.before.is_some());
        assert_eq!(found.during, None, "without an event all is before it");
    }

    #[test]
    fn the_gap_is_the_longest_time_without_an_answer() {
        let start = crate::measure::now() + 10_000 * MS;
        let mut all = operations(start, MS, (0..300).chain(420..900));
        all[350].is_answered = false;
        let found = Latencies::of(&all, span(start));
        assert_eq!((found.gap, found.errors), (121 * MS, 1));
        // An error is no answer.
        let refused = all.iter().map(|one| Operation { is_answered: false, ..*one });
        let refused = Latencies::of(&refused.collect::<Vec<_>>(), span(start));
        assert_eq!((refused.gap, refused.errors), (1000 * MS, 780));
        // The end of the span ends a gap as well.
        let early = Latencies::of(&operations(start, MS, 0..300), span(start));
        assert_eq!(early.gap, 701 * MS);
    }

    #[test]
    fn what_ends_outside_of_the_span_does_not_count() {
        let start = crate::measure::now() + 10_000 * MS;
        let all = operations(start - 100 * MS, MS, 0..1200);
        assert_eq!(Latencies::of(&all, span(start)).operations, 1000);
    }

    #[test]
    fn a_curve_has_a_point_for_each_slice() {
        let start = crate::measure::now() + 10_000 * MS;
        let mut all = operations(start, MS, (0..1000).filter(|end| !(200..300).contains(end)));
        all[0].is_answered = false;
        let points = curve(&all, span(start));
        assert_eq!(points.len(), 10);
        let rates: Vec<_> = points.iter().map(|point| point.rate).collect();
        assert_eq!(rates, [990.0, 1000.0, 0.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0]);
        assert_eq!(points[2].p999, None);
        assert_eq!(points[3].p999, Some(MS));
        let times: Vec<_> = points.iter().map(|point| (point.at * 1e3).round()).collect();
        assert_eq!((times[0], times[4], times[9]), (-450.0, -50.0, 450.0));
    }
}
