//! What hitless means for a cluster, as a function of what was measured.

use std::collections::BTreeMap;
use std::time::Duration;

use hitless_conformance::tally::Counted;

use super::load::Part;
use crate::meter::Interval;
use crate::verdict::{Check, GAP_FLOOR, gap_limit, millis};

/// The slowest operations at the untouched slots may take so many times as long as in the control phase.
const SLOW_FACTOR: u32 = 5;

/// What a step must show.
pub(super) struct Expectation {
    pub(super) gap: Gap,
    /// Whether what was acknowledged must be there: a primary that is killed takes along what its replica has not got yet.
    pub(super) keeps_its_word: bool,
    /// How errors at the touched slots may begin. Where there is none, there may be no error.
    pub(super) errors: &'static [&'static str],
}

/// How the longest gap is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// It is the measure of the others.
    Reference,
    /// It may not be longer than usual.
    Limited,
    /// Not at the touched slots. At the others operations may not be much slower than usual.
    OthersLimited,
    /// Not at all.
    Free,
}

/// What was measured of one part.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) operations: u64,
    /// By what they say.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) counted: Counted,
    pub(super) gap: Duration,
    pub(super) p999_before: Option<Duration>,
    pub(super) p999_during: Option<Duration>,
}

impl Figures {
    /// Of the load alone.
    pub(super) fn before(load: Interval) -> Self {
        Self {
            operations: load.operations(),
            gap: load.gap(),
            p999_before: load.quantile(0.999),
            ..Self::default()
        }
    }

    /// Adds what was measured since, and all errors.
    pub(super) fn add_event(&mut self, event: Interval, errors: BTreeMap<String, u64>) {
        self.operations += event.operations();
        self.gap = self.gap.max(event.gap());
        self.p999_during = event.quantile(0.999);
        self.errors = errors;
    }

    /// Tasks that did not end are errors.
    pub(super) fn add_missing(&mut self, tasks: u64) {
        if tasks > 0 {
            self.errors.insert("never ended".to_owned(), tasks);
        }
    }

    pub(super) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// What the others are measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of gaps, by part.
    pub(super) gap: [Duration; 2],
    /// Of p99.9 at the untouched slots.
    pub(super) slow: Duration,
}

impl Limits {
    pub(super) fn by(control: &[Figures; 2]) -> Self {
        let slow = control[Part::Untouched as usize].p999_during.unwrap_or_default() * SLOW_FACTOR;
        Self {
            gap: [&control[0], &control[1]].map(|figures| gap_limit(figures.gap)),
            slow: slow.max(GAP_FLOOR),
        }
    }
}

/// Every criterion of a step.
pub(super) fn judge(expected: &Expectation, found: &[Figures; 2], limits: &Limits) -> Vec<Check> {
    let [touched, untouched] = found;
    let mut checks = Vec::new();
    for figures in found {
        checks.push(Check::new("operations", figures.operations, "some", figures.operations > 0));
        checks.push(Check::none("INCRs executed twice", figures.counted.twice));
    }
    let others: BTreeMap<&String, &u64> = touched
        .errors
        .iter()
        .filter(|(error, _)| !expected.errors.iter().any(|allowed| error.starts_with(allowed)))
        .collect();
    checks.push(Check::new(
        "errors",
        format!("{others:?}"),
        format!("{:?}", expected.errors),
        others.is_empty(),
    ));
    checks.push(Check::none("errors elsewhere", untouched.error_count()));
    checks.push(Check::none("INCRs lost elsewhere", untouched.counted.lost));
    if expected.keeps_its_word {
        checks.push(Check::none("INCRs lost", touched.counted.lost));
    }
    let at_most = |what, found: Duration, limit: Duration| {
        Check::new(what, millis(found), format!("at most {}", millis(limit)), found <= limit)
    };
    match expected.gap {
        Gap::Reference | Gap::Free => {}
        Gap::Limited => {
            checks.push(at_most("longest gap", touched.gap, limits.gap[0]));
            checks.push(at_most("longest gap elsewhere", untouched.gap, limits.gap[1]));
        }
        Gap::OthersLimited => {
            let slow = untouched.p999_during.unwrap_or(Duration::MAX);
            checks.push(at_most("p99.9 elsewhere", slow, limits.slow));
        }
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn quiet() -> Figures {
        let p999 = Some(4 * MS);
        Figures { operations: 9, gap: 30 * MS, p999_before: p999, p999_during: p999, ..Figures::default() }
    }

    fn failing(expected: &Expectation, touched: Figures, untouched: Figures) -> Vec<&'static str> {
        let limits = Limits::by(&[quiet(), quiet()]);
        let checks = judge(expected, &[touched, untouched], &limits);
        checks.into_iter().filter(|check| !check.holds).map(|check| check.what).collect()
    }

    fn with_error(error: &str) -> Figures {
        Figures { errors: [(error.to_owned(), 1)].into(), ..quiet() }
    }

    #[test]
    fn limits_are_those_of_the_control_phase_or_of_the_noise() {
        let limits = Limits::by(&[Figures { gap: 50 * MS, ..quiet() }, quiet()]);
        assert_eq!((limits.gap, limits.slow), ([150 * MS, 100 * MS], 100 * MS));
    }

    #[test]
    fn errors_are_allowed_where_a_step_brings_them() {
        let expected = Expectation { gap: Gap::Free, keeps_its_word: true, errors: &["refused: "] };
        assert_eq!(failing(&expected, with_error("refused: CLUSTERDOWN"), quiet()), [""; 0]);
        assert_eq!(failing(&expected, with_error("timed out"), quiet()), ["errors"]);
        assert_eq!(failing(&expected, quiet(), with_error("refused: CLUSTERDOWN")), ["errors elsewhere"]);
    }

    #[test]
    fn what_is_counted_wrongly_is_not_hitless() {
        let lost = Figures { counted: Counted { lost: 1, twice: 0 }, ..quiet() };
        let twice = Figures { counted: Counted { lost: 0, twice: 1 }, ..quiet() };
        let mut expected = Expectation { gap: Gap::Free, keeps_its_word: true, errors: &[] };
        assert_eq!(failing(&expected, lost.clone(), quiet()), ["INCRs lost"]);
        assert_eq!(failing(&expected, twice, lost.clone()), ["INCRs executed twice", "INCRs lost elsewhere"]);
        expected.keeps_its_word = false;
        assert_eq!(failing(&expected, lost, quiet()), [""; 0]);
    }

    #[test]
    fn gaps_and_slowness_are_judged_where_a_step_says_so() {
        let slow = Figures { gap: 101 * MS, p999_during: Some(101 * MS), ..quiet() };
        let failing = |gap| {
            failing(&Expectation { gap, keeps_its_word: true, errors: &[] }, slow.clone(), slow.clone())
        };
        assert_eq!(failing(Gap::Free), [""; 0]);
        assert_eq!(failing(Gap::Limited), ["longest gap", "longest gap elsewhere"]);
        assert_eq!(failing(Gap::OthersLimited), ["p99.9 elsewhere"]);
    }
}
