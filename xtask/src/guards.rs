//! `cargo xtask guards`: instructions and allocations of the codec and the machines, compared with those that are recorded. No clock is
//! read, so that a busy machine gives the same figures.
//!
//! Valgrind counts the instructions by itself: its own tool needs a program and the name of a function in it, and no crate beside
//! them whose version must fit.

mod record;

use std::path::Path;

use crate::program::VALGRIND;
use crate::shell::Cmd;
use crate::summary::Summary;
use crate::workspace;
use record::{Counts, Record};

/// What `cargo xtask guards` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write what was counted into the record, instead of comparing it.
    #[arg(long)]
    record: bool,
    /// Fail, instead of counting allocations alone, when there is no valgrind and none can be installed.
    #[arg(long)]
    require_valgrind: bool,
}

impl Args {
    pub(crate) const fn of_test_all(require_valgrind: bool) -> Self {
        Self { record: false, require_valgrind }
    }
}

const RECORD: &str = "xtask/guards/record.txt";
/// The function whose instructions count, in `xtask/guards/src/meter.rs`.
const COUNTED: &str = "*counted_part*";
/// The figure of what runs under the lock of a client.
const UNDER_THE_LOCK: &str = "client-lock";
/// What a processor executes in a second: 3 in a nanosecond.
const RATE: f64 = 3e9;
/// How many commands a second one client is to carry at least, before its lock is what limits it.
const WANTED: f64 = 3e6;

/// Counts everything, and compares or records it. Each figure counts as one test.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    let path = workspace::root().join(RECORD);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{RECORD}: {error}"))?;
    let recorded = Record::parse(&text).map_err(|error| format!("{RECORD}: {error}"))?;
    if !Cmd::cargo().args_of("build --quiet --release -p hitless-guards").run() {
        return Err("the program that does the work cannot be built".to_owned());
    }
    let here = record::target();
    let is_comparable = args.record || recorded.target == here;
    let mut summary = Summary::default();
    let valgrind = if is_comparable {
        VALGRIND.find_or_install()
    } else {
        Err(format!("the record is of {}, and this is {here}", recorded.target))
    };
    let valgrind = match valgrind {
        Ok(valgrind) => Some(valgrind),
        Err(reason) if is_comparable && (args.record || args.require_valgrind) => return Err(reason),
        Err(reason) => {
            println!("instructions are not counted: {reason}");
            summary.skipped += 1;
            None
        }
    };
    let counted = count(valgrind.as_deref())?;
    if let Some(counts) = counted.iter().find(|(name, _)| name == UNDER_THE_LOCK) {
        println!("{}", bound(&counts.1));
    }
    if args.record {
        let text = Record { target: here, figures: counted }.to_string();
        std::fs::write(&path, text).map_err(|error| format!("{RECORD}: {error}"))?;
        summary.passed += 1;
        return Ok(summary);
    }
    let faults = recorded.compare(&counted);
    recorded.falls(&counted).iter().chain(&faults).for_each(|line| println!("{line}"));
    if !faults.is_empty() {
        println!("if that is meant, `cargo xtask guards --record` writes the new figures into {RECORD}");
    }
    summary.failed += faults.len();
    summary.passed += counted.len().saturating_sub(faults.len());
    Ok(summary)
}

/// All figures, in the order in which the program has them. Prints each.
fn count(valgrind: Option<&Path>) -> Result<Vec<(String, Counts)>, String> {
    let program = workspace::target().join("release/hitless-guards");
    let list = Cmd::new(&program).output()?;
    let mut figures = Vec::new();
    for line in list.lines() {
        let (name, title) = line.split_once(": ").ok_or_else(|| format!("an odd figure: {line}"))?;
        let command = match valgrind {
            Some(valgrind) => Cmd::new(valgrind)
                .args_of("--tool=callgrind --log-fd=1 --callgrind-out-file=/dev/null --collect-atstart=no")
                .arg(format!("--toggle-collect={COUNTED}"))
                .arg(&program),
            None => Cmd::new(&program),
        };
        let output = command.arg(name).output()?;
        let counts = Counts::parse(&output, valgrind.is_some()).ok_or_else(|| format!("{name}: {output}"))?;
        println!("{name}: {counts} ({title})");
        figures.push((name.to_owned(), counts));
    }
    Ok(figures)
}

/// How many commands a second one client can carry, by what runs under its lock.
fn bound(counts: &Counts) -> String {
    let Some(instructions) = counts.instructions else { return String::new() };
    let commands = RATE / instructions;
    let verdict = if commands < WANTED { "less than" } else { "more than" };
    format!(
        "under the lock of a client: {instructions:.0} instructions for each command, sent and received. At 3 instructions in a ns that is {:.1} million \
         commands a second, however many processors there are: {verdict} the {:.0} million that are wanted",
        commands / 1e6,
        WANTED / 1e6,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_from_what_runs_under_the_lock() {
        let of = |instructions| bound(&Counts { instructions: Some(instructions), allocations: 0.0 });
        assert!(of(600.0).contains("5.0 million commands a second"));
        assert!(of(600.0).ends_with("more than the 3 million that are wanted"));
        assert!(of(1_200.0).ends_with("less than the 3 million that are wanted"));
    }
}
