//! Runs seeds of the simulation. `cargo xtask sim` is the way to call it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use hitless_conformance::clock;
use hitless_conformance::sim::{self, Coverage, Failure, Seed};

/// Lines of a trace that are shown with a failure.
const TAIL: usize = 40;
/// How often everything must happen in a range that is to tell something.
const LEAST: u64 = 100;
/// Failed seeds that are shown before the rest is left.
const MOST_FAILURES: usize = 8;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--seed", seed, "--trace"] => seed.parse().map_or_else(|_| usage(), show),
        ["--seeds", ranges, "--jobs", jobs] => run(ranges, jobs, false).unwrap_or_else(usage),
        ["--seeds", ranges, "--jobs", jobs, "--covered"] => run(ranges, jobs, true).unwrap_or_else(usage),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "sim --seed N --trace | --seeds N|A..B[,cA..cB] --jobs N [--covered]; those of clusters begin with a c"
    );
    ExitCode::FAILURE
}

/// Runs one seed and prints all that happens.
fn show(seed: Seed) -> ExitCode {
    let (result, trace) = sim::trace(seed, clock::now());
    let (verdict, code) = match result {
        Ok(report) => (format!("as it must be, {} entries", report.length), ExitCode::SUCCESS),
        Err(failure) => (failure.message, ExitCode::FAILURE),
    };
    // Whoever reads may have seen enough, as `head` has after ten lines.
    let _ = writeln!(std::io::stdout(), "{trace}seed {seed}: {verdict}");
    code
}

/// What the threads have in common.
struct Work {
    seeds: Vec<Seed>,
    next: AtomicUsize,
    stop: AtomicBool,
    done: AtomicUsize,
    results: Mutex<(Coverage, Vec<Failure>)>,
}

fn run(ranges: &str, jobs: &str, covered: bool) -> Option<ExitCode> {
    let seeds: Option<Vec<_>> = ranges.split(',').map(Seed::several).collect();
    let jobs: usize = jobs.parse().ok().filter(|jobs| *jobs > 0)?;
    // What a law says is printed once, below.
    std::panic::set_hook(Box::new(|_| {}));
    let start = clock::now();
    let work = Work {
        seeds: seeds?.concat(),
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        done: AtomicUsize::new(0),
        results: Mutex::new((Coverage::new(), Vec::new())),
    };
    thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(|| work.run(start)))));
    let (coverage, mut failures) = work.results.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    failures.iter().for_each(tell);
    print!("{coverage}");
    let rare = coverage.rarer_than(LEAST);
    if covered {
        for (what, count) in &rare {
            println!("too rare: {what} happened {count} times, less than {LEAST}");
        }
    }
    let done = work.done.into_inner();
    let took = clock::now() - start;
    println!("{done} seeds, each run twice, in {took:.1?}: {} failed", failures.len());
    let passed = failures.is_empty() && (rare.is_empty() || !covered);
    Some(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Work {
    fn run(&self, epoch: Instant) {
        let mut coverage = Coverage::new();
        while !self.stop.load(Ordering::Relaxed) {
            let Some(seed) = self.seeds.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            match sim::check(*seed, epoch) {
                Ok(report) => coverage.add(&report.coverage),
                Err(failure) => self.fail(failure),
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        self.results.lock().unwrap_or_else(PoisonError::into_inner).0.add(&coverage);
    }

    fn fail(&self, failure: Failure) {
        let failures = &mut self.results.lock().unwrap_or_else(PoisonError::into_inner).1;
        failures.push(failure);
        if failures.len() >= MOST_FAILURES {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Prints a failure, the end of its trace, and how to see it again; the whole trace goes to a file.
fn tell(failure: &Failure) {
    let Failure { seed, message, trace, .. } = failure;
    let lines: Vec<&str> = trace.lines().collect();
    println!("\nseed {seed} failed: {message}");
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        println!("    {line}");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let (directory, name) = (target.join("sim"), format!("seed-{seed}.txt"));
    let path = directory.join(name);
    let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, trace));
    match written {
        Ok(()) => println!("the whole trace: {}", path.display()),
        Err(error) => println!("the trace cannot be written: {error}"),
    }
    println!("again: cargo xtask sim --seed {seed} --trace\n");
}
