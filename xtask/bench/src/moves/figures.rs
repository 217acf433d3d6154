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
    /// When it should have begun. It began later if the one before it took longer than the pace of the load allows.
    pub(super) due: Instant,
    /// When it ended; for one that was never begun, when the load was over.
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
    /// From here on operations count, by when they end.
    pub(super) from: Instant,
    /// The first event; none in a control.
    pub(super) event: Option<Instant>,
    pub(super) to: Instant,
}

/// What the operations of one scenario show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latencies {
    /// Those that ended in the span, and of them those that ended with an error.
    pub(super) operations: u64,
    pub(super) errors: u64,
    /// Those that were due in the span, and had not ended when it was over.
    pub(super) unended: u64,
    /// The longest time in which no operation was answered.
    pub(super) gap: Duration,
    /// p99.9 of those that were answered before the event, or of all of them if there is none.
    pub(super) before: Option<Duration>,
    /// p99.9 of those that were answered later. One that had not ended at the end of the span counts as long as it had taken by then.
    pub(super) during: Option<Duration>,
}

/// A point of the curves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// The middle of its slice, in seconds from the event on.
    pub(super) at: f64,
    /// Operations that were answered, per second.
    pub(super) rate: f64,
    /// The longest latency of them; none if none was answered.
    pub(super) slowest: Option<Duration>,
}

/// What became of numbered items or messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) sent: u64,
    pub(super) counted: Counted,
    /// Errors of those who take them.
    pub(super) errors: u64,
    /// Errors of those who take them that do not rule out that one was taken.
    pub(super) uncertain: u64,
}

/// All that is said of one client in one scenario.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) latencies: Latencies,
    /// INCRs, by the server's count.
    pub(super) counted: Counted,
    /// INCRs that ran although their caller has an error, by the server's count.
    pub(super) unanswered: u64,
    /// Errors, of all, that do not rule out that the command has run.
    pub(super) uncertain: u64,
    /// Connections that the nodes have accepted since the event.
    pub(super) opened: usize,
    /// From the event until the last connection that the old node had then was closed.
    pub(super) empty_after: Option<Duration>,
    /// Items or messages, where there are any.
    pub(super) delivered: Option<Delivered>,
    pub(super) marks: Vec<Mark>,
    pub(super) curve: Vec<Point>,
}

impl Figures {
    /// Errors of all that use the client.
    pub(super) fn errors(&self) -> u64 {
        self.latencies.errors + self.delivered.map_or(0, |delivered| delivered.errors)
    }
}

impl Span {
    fn origin(&self) -> Instant {
        self.event.unwrap_or(self.from)
    }
}

impl Operation {
    fn latency(&self) -> Duration {
        self.ended.saturating_duration_since(self.due)
    }
}

impl Latencies {
    /// `operations` in any order; those that end before the span or are due after it do not count.
    pub(super) fn of(all: &[Operation], span: Span) -> Self {
        let mut operations: Vec<_> = all.iter().filter(|one| is_in(one, span.from, span.to)).collect();
        operations.sort_by_key(|one| one.ended);
        let unended = all.iter().filter(|one| one.due < span.to && span.to <= one.ended);
        let unended = unended.map(|one| span.to.saturating_duration_since(one.due)).collect::<Vec<_>>();
        let answered = || operations.iter().filter(|one| one.is_answered).map(|one| one.ended);
        let gaps = std::iter::once(span.from).chain(answered()).zip(answered().chain([span.to]));
        let gap = gaps.map(|(one, next)| next.saturating_duration_since(one)).max();
        let event = span.event.unwrap_or(span.to);
        let (early, late) = operations.split_at(operations.partition_point(|one| one.ended < event));
        let latencies = |of: &[&Operation]| {
            let answered = of.iter().filter(|one| one.is_answered);
            answered.map(|one| one.latency()).collect::<Vec<_>>()
        };
        let (mut before, mut during) = (latencies(early), latencies(late));
        // Without an event all are before it.
        if span.event.is_some() { &mut during } else { &mut before }.extend(&unended);
        Self {
            operations: operations.len() as u64,
            errors: operations.iter().filter(|one| !one.is_answered).count() as u64,
            unended: unended.len() as u64,
            gap: gap.unwrap_or_default(),
            before: p999(&before),
            during: p999(&during),
        }
    }
}

/// The curves: one point for each slice that is wholly in the span.
pub(super) fn curve(operations: &[Operation], span: Span) -> Vec<Point> {
    let slices = span.to.saturating_duration_since(span.from).as_nanos() / SLICE.as_nanos();
    let point = |slice: u32| {
        let from = span.from + SLICE * slice;
        let answered = operations.iter().filter(|one| one.is_answered && is_in(one, from, from + SLICE));
        let latencies: Vec<_> = answered.map(Operation::latency).collect();
        Point {
            at: seconds_from(span.origin(), from + SLICE / 2),
            rate: latencies.len() as f64 / SLICE.as_secs_f64(),
            slowest: latencies.into_iter().max(),
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

/// The latency that 999 of 1000 did not exceed; none without any.
fn p999(latencies: &[Duration]) -> Option<Duration> {
    let bounds = Histogram::<u64>::new_with_bounds(1, micros(SLOWEST), DIGITS);
    let mut histogram = bounds.expect("the bounds are constants that the histogram accepts");
    for latency in latencies {
        histogram.saturating_record(micros(*latency).max(1));
    }
    let any = !histogram.is_empty();
    any.then(|| Duration::from_micros(histogram.value_at_quantile(0.999).min(histogram.max())))
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
            Operation { due: ended - latency, ended, is_answered: true }
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
        let mut all = operations(start, MS, 0..500);
        // An error has no latency: it may be quick, and nobody was served.
        all.extend(
            operations(start, MS, 500..1000).iter().map(|one| Operation { is_answered: false, ..*one }),
        );
        let found = Latencies::of(&all, span(start));
        assert_eq!((found.during, found.errors), (None, 500));
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
        let found = Latencies::of(&all, span(start));
        assert_eq!((found.operations, found.unended), (1000, 1), "one was due just before the end");
    }

    #[test]
    fn what_has_not_ended_counts_as_long_as_it_has_taken() {
        let start = crate::measure::now() + 10_000 * MS;
        // Answered, or never begun, 300 ms after the end: each was due 200 ms before it.
        for is_answered in [true, false] {
            let late = operations(start, 500 * MS, [1300]);
            let all: Vec<_> = late.iter().map(|one| Operation { is_answered, ..*one }).collect();
            let found = Latencies::of(&all, span(start));
            let during = found.during.unwrap();
            assert!(during.abs_diff(200 * MS) <= MS, "{during:?}");
            assert_eq!((found.operations, found.errors, found.unended, found.before), (0, 0, 1, None));
            let control = Latencies::of(&all, Span { event: None, ..span(start) });
            assert_eq!((control.before, control.during), (found.during, None));
        }
    }

    #[test]
    fn a_curve_has_a_point_for_each_slice() {
        let start = crate::measure::now() + 10_000 * MS;
        let mut all = operations(start, MS, (0..1000).filter(|end| !(200..300).contains(end)));
        all[0].is_answered = false;
        all[500].due -= 6 * MS;
        let points = curve(&all, span(start));
        assert_eq!(points.len(), 10);
        let rates: Vec<_> = points.iter().map(|point| point.rate).collect();
        assert_eq!(rates, [990.0, 1000.0, 0.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0]);
        assert_eq!(points[2].slowest, None);
        assert_eq!([3, 6].map(|slice| points[slice].slowest), [Some(MS), Some(7 * MS)]);
        let times: Vec<_> = points.iter().map(|point| (point.at * 1e3).round()).collect();
        assert_eq!((times[0], times[4], times[9]), (-450.0, -50.0, 450.0));
    }
}
