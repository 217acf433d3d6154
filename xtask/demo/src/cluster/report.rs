//! The verdict on every step, as a table.

use std::fmt;
use std::time::Duration;

use super::stage::Step;
use super::verdict::{Figures, Gap, Limits, judge};
use crate::pool::RuntimeName;
use crate::report::write_table;
use crate::verdict::{Check, millis};

/// What the demo has to say in the end.
pub(super) struct Report {
    runtime: RuntimeName,
    limits: Limits,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    title: &'static str,
    figures: [Figures; 2],
    checks: Vec<Check>,
}

impl Row {
    fn is_hitless(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// The cells of the table: those of the touched slots, then those of the others.
    fn cells(&self) -> [String; COLUMNS] {
        let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), millis);
        let part = |figures: &Figures| {
            [
                figures.operations.to_string(),
                figures.error_count().to_string(),
                figures.counted.lost.to_string(),
                figures.counted.twice.to_string(),
                millis(figures.gap),
                time(figures.p999_before),
                time(figures.p999_during),
            ]
        };
        let [touched, untouched] = &self.figures;
        let mut cells = [self.name.to_owned()].into_iter().chain(part(touched)).chain(part(untouched));
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    }
}

const COLUMNS: usize = 15;

const HEAD: [&str; COLUMNS] = [
    "step", "touched", "errors", "lost", "twice", "gap", "p99.9", "during", "others", "errors", "lost",
    "twice", "gap", "p99.9", "during",
];

impl Report {
    /// Judges what was measured. The first step is the control phase.
    pub(super) fn new(runtime: RuntimeName, steps: Vec<(&Step, [Figures; 2])>) -> Self {
        let control = steps.iter().find(|(step, _)| step.expected.gap == Gap::Reference);
        let limits = Limits::by(&control.map(|(_, figures)| figures.clone()).unwrap_or_default());
        let rows = steps.into_iter().map(|(step, figures)| Row {
            name: step.name,
            title: step.title,
            checks: judge(&step.expected, &figures, &limits),
            figures,
        });
        Self { runtime, limits, rows: rows.collect() }
    }

    /// Whether every step was.
    pub(super) fn is_hitless(&self) -> bool {
        self.rows.iter().all(Row::is_hitless)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, HEAD, self.rows.iter().map(|row| (row.cells(), row.is_hitless())).collect())?;
        for row in &self.rows {
            for (error, count) in row.figures.iter().flat_map(|figures| &figures.errors) {
                writeln!(f, "errors: {}: {count} x {error}", row.name)?;
            }
        }
        let [touched, others] = self.limits.gap.map(millis);
        writeln!(
            f,
            "hitless: in the reshard 0 errors, and no gap over {touched} at the touched slots and {others} at the others;\n\
             in the failover only errors by which the cluster itself refuses; of a primary that is killed only errors that say\n\
             so, with p99.9 at the other slots of at most {}; 0 INCRs executed twice, and none lost but by the primary that\n\
             was killed, by the servers' own count",
            millis(self.limits.slow)
        )?;
        for row in self.rows.iter().filter(|row| !row.is_hitless()) {
            for Check { what, found, allowed, .. } in row.checks.iter().filter(|check| !check.holds) {
                writeln!(f, "NOT HITLESS: {}: {what}: {found}, allowed: {allowed}", row.title)?;
            }
        }
        let verdict = if self.is_hitless() { "every step was hitless" } else { "not every step was hitless" };
        write!(f, "{verdict}; the client was on {}", self.runtime)
    }
}
