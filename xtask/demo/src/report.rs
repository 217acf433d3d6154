//! The verdict on every step, as a table.

use std::fmt;
use std::time::Duration;

use crate::load::HELD_AT_MOST;
use crate::pool::RuntimeName;
use crate::step::Step;
use crate::verdict::{Check, Figures, GAP_FACTOR, GAP_FLOOR, Gap, gap_limit, judge, millis};

/// What the demo has to say in the end.
pub(crate) struct Report {
    server: String,
    runtime: RuntimeName,
    gap_limit: Duration,
    rows: Vec<Row>,
}

/// One step.
struct Row {
    name: &'static str,
    title: &'static str,
    figures: Figures,
    checks: Vec<Check>,
}

impl Row {
    fn is_hitless(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

impl Report {
    /// Judges what was measured. The first step is the control phase.
    pub(crate) fn new(server: String, runtime: RuntimeName, steps: Vec<(Step, Figures)>) -> Self {
        let control = steps.iter().find(|(step, _)| step.expected.gap == Gap::Reference);
        let gap_limit = gap_limit(control.map_or(Duration::ZERO, |(_, figures)| figures.gap));
        let rows = steps.into_iter().map(|(step, figures)| Row {
            name: step.name,
            title: step.title,
            checks: judge(&step.expected, &figures, gap_limit),
            figures,
        });
        Self { server, runtime, gap_limit, rows: rows.collect() }
    }

    /// Whether every step was.
    pub(crate) fn is_hitless(&self) -> bool {
        self.rows.iter().all(Row::is_hitless)
    }
}

impl Row {
    /// The cells of the table.
    fn cells(&self) -> [String; COLUMNS] {
        let Figures { operations, errors, counted, transactions, gap, .. } = &self.figures;
        let Figures { p999_before, p999_during, items, messages, emptied, dials, .. } = &self.figures;
        let time = |time: &Option<Duration>| time.map_or_else(|| "-".to_owned(), millis);
        let failed_dials = if dials.failed == 0 { String::new() } else { format!("{} + ", dials.failed) };
        [
            self.name.to_owned(),
            operations.to_string(),
            errors.to_string(),
            counted.lost.to_string(),
            counted.twice.to_string(),
            millis(*gap),
            time(p999_before),
            time(p999_during),
            transactions.completed.to_string(),
            transactions.counted.lost.to_string(),
            millis(transactions.gap),
            items.pushed.to_string(),
            items.counted.lost.to_string(),
            items.counted.twice.to_string(),
            messages.received.to_string(),
            messages.counted.lost.to_string(),
            messages.counted.twice.to_string(),
            messages.gaps.to_string(),
            time(emptied),
            format!("{failed_dials}{}", dials.accepted.iter().sum::<u64>()),
        ]
    }
}

const COLUMNS: usize = 20;

const HEAD: [&str; COLUMNS] = [
    "step",
    "operations",
    "errors",
    "lost",
    "twice",
    "gap",
    "p99.9",
    "during",
    "tx",
    "tx lost",
    "tx gap",
    "items",
    "lost",
    "twice",
    "messages",
    "lost",
    "twice",
    "told",
    "old empty",
    "dials",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, HEAD, self.rows.iter().map(|row| (row.cells(), row.is_hitless())).collect())?;
        self.write_thresholds(f)?;
        for row in self.rows.iter().filter(|row| !row.is_hitless()) {
            for Check { what, found, allowed, .. } in row.checks.iter().filter(|check| !check.holds) {
                writeln!(f, "NOT HITLESS: {}: {what}: {found}, allowed: {allowed}", row.title)?;
            }
        }
        let verdict = if self.is_hitless() { "every step was hitless" } else { "not every step was hitless" };
        write!(f, "{verdict}; the nodes were over {}; the client was on {}", self.server, self.runtime)
    }
}

impl Report {
    fn write_thresholds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "hitless: 0 errors; 0 INCRs and 0 updates by transactions (tx) lost or executed twice, by the server's own count;"
        )?;
        writeln!(
            f,
            "  gap (the longest time without a completed operation) at most {}, which is the larger of {}",
            millis(self.gap_limit),
            millis(GAP_FLOOR)
        )?;
        writeln!(
            f,
            "  and {GAP_FACTOR} x the control phase's; not judged where the server itself was slow, and longer by twice"
        )?;
        writeln!(f, "  the outage where it refused to serve; for tx {} more;", millis(HELD_AT_MOST))?;
        writeln!(
            f,
            "  dials: one for each connection that moves, by the nodes' own count, and the scout's that failed (n +);"
        )?;
        writeln!(f, "  the old node empty before it closes what is left;")?;
        writeln!(
            f,
            "  0 items that BLPOP takes and 0 messages of a subscriber lost or taken twice; of what may be missing (told) the subscriber"
        )?;
        writeln!(
            f,
            "  is told, before the next message, where a node closes its connections without a warning, and nowhere else"
        )
    }
}

/// The cells of each step below their heads, and whether the step was hitless.
pub(crate) fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: Vec<([String; N], bool)>,
) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().map(|(cells, _)| cells[column].len());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    write_row(f, &head.map(str::to_owned), &widths, "")?;
    for (cells, is_hitless) in &rows {
        write_row(f, cells, &widths, if *is_hitless { "hitless" } else { "NOT HITLESS" })?;
    }
    writeln!(f)
}

/// The first column to the left, the others to the right.
fn write_row(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize], last: &str) -> fmt::Result {
    write!(f, "{:1$}", cells[0], widths[0])?;
    for (cell, width) in cells.iter().zip(widths).skip(1) {
        write!(f, "  {cell:>width$}")?;
    }
    writeln!(f, "  {last}")
}
