//! `cargo xtask test-all`: everything that must pass before a change goes in.
//!
//! The steps share one target directory and one profile; only the simulation and the guards are optimized: it runs thousands
//! of seeds, and they count what a release executes. Their order puts what fails fast first, and packages and features are named so that a step finds as much as possible
//! already built by the one before it.

use std::time::{Duration, Instant};

use crate::guards;
use crate::program::REDIS_SERVER;
use crate::shell::Cmd;
use crate::sim;
use crate::summary::Summary;
use crate::tidy::{self, manifest};
use crate::workspace;

/// What `cargo xtask test-all` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail, instead of skipping tests, when there is no redis-server and none can be installed.
    #[arg(long)]
    require_redis: bool,
    /// Fail, instead of leaving instructions uncounted, when there is no valgrind and none can be installed.
    #[arg(long)]
    require_valgrind: bool,
}

/// The benchmarks pull in every peer, so they are linted on their own and built for nothing else.
const MEMBERS: &str = "--workspace --exclude hitless-bench";

/// The adapters, which must also build with no more features than they ask for themselves.
const ADAPTERS: &[&str] = &["hitless-tokio", "hitless-async-std"];

/// The features with which each adapter is linted alone, besides none.
const ADAPTER_FEATURES: &[&str] = &["tls", "redis-rs", "redis-rs,tls"];

/// Runs all steps, a failed one does not stop the others.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    let mut report = Report::default();
    report.step("fmt", || check(Cmd::cargo().args_of("fmt --all --check")));
    report.step("tidy", || {
        println!("$ cargo xtask tidy");
        tidy::run(&tidy::Args::default()).unwrap_or_else(|error| {
            println!("{error}");
            Summary::of_step(false)
        })
    });
    report.step("clippy", || check(clippy(MEMBERS).args_of("--all-targets --all-features").args(DENY)));
    lint_combinations(&mut report)?;
    report.step("clippy, benchmarks", || check(clippy("-p hitless-bench --all-targets").args(DENY)));
    report.step("docs", || Summary::of_step(crate::docs::build()));
    let skipped = report.step("tests", || {
        Cmd::cargo().args_of("test --no-fail-fast --all-features").args_of(MEMBERS).run_tests()
    });
    report.step("simulation", || sim::run(&sim::Args::ci()));
    report.step("guards", || {
        println!("$ cargo xtask guards");
        guards::run(&guards::Args::of_test_all(args.require_valgrind)).unwrap_or_else(|error| {
            println!("{error}");
            Summary::of_step(false)
        })
    });
    test_without_features(&mut report);
    real_server(&mut report, args, skipped.skipped);
    report.print();
    Ok(report.total())
}

/// Each feature of the core by itself, and each adapter without the features that its tests or other packages switch on.
fn lint_combinations(report: &mut Report) -> Result<(), String> {
    for feature in core_features()? {
        let target = format!("-p hitless-core --no-default-features --features {feature} --lib");
        report.step(format!("clippy, core with {feature}"), || check(clippy(&target).args(DENY)));
    }
    for adapter in ADAPTERS {
        let target = format!("-p {adapter} --no-default-features --lib");
        let alone = format!("{target} --tests");
        report.step(format!("clippy, {adapter} alone"), || check(clippy(&alone).args(DENY)));
        for features in ADAPTER_FEATURES {
            let target = format!("{target} --features {features}");
            report.step(format!("clippy, {adapter}, {features}"), || check(clippy(&target).args(DENY)));
        }
    }
    Ok(())
}

/// Features only add to the core, so that what holds without them and with all of them, in the step `tests`, holds with each.
fn test_without_features(report: &mut Report) {
    report.step("tests, core with no feature", || {
        let test = Cmd::cargo().args_of("test --no-fail-fast -p hitless-core --no-default-features");
        // What is ignored here was counted by the step with all features.
        Summary { skipped: 0, ..test.run_tests() }
    });
}

/// Runs the tests that need a `redis-server`: by convention, the ignored ones in the files `tests/redis_server*.rs`.
fn real_server(report: &mut Report, args: &Args, ignored: usize) {
    let server = match REDIS_SERVER.find_or_install() {
        Ok(server) => server,
        Err(reason) => {
            println!("{ignored} tests skipped: {reason}");
            if args.require_redis {
                report.step("tests, redis-server", || Summary::of_step(false));
            }
            return;
        }
    };
    let summary = report.step("tests, redis-server", || {
        let test =
            Cmd::cargo().args_of("test --no-fail-fast --all-features --test redis_server*").args_of(MEMBERS);
        test.args_of("-- --ignored").env(REDIS_SERVER.variable, server).run_tests()
    });
    report.no_longer_skipped(summary.passed + summary.failed);
}

fn core_features() -> Result<Vec<String>, String> {
    let path = workspace::root().join("hitless-core/Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(manifest::features(&text))
}

const DENY: [&str; 3] = ["--", "-D", "warnings"];

fn clippy(target: &str) -> Cmd {
    Cmd::cargo().arg("clippy").args_of(target)
}

fn check(command: Cmd) -> Summary {
    Summary::of_step(command.run())
}

/// The steps so far, with what they counted and how long they took.
#[derive(Default)]
struct Report {
    steps: Vec<(String, Summary, Duration)>,
}

impl Report {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a step takes is told to people, and decides nothing"
    )]
    fn step(&mut self, name: impl Into<String>, run: impl FnOnce() -> Summary) -> Summary {
        let name = name.into();
        println!("\n== {name}");
        let start = Instant::now();
        let summary = run();
        self.steps.push((name, summary, start.elapsed()));
        summary
    }

    /// Takes off what was skipped by one step and run by a later one.
    fn no_longer_skipped(&mut self, mut count: usize) {
        for (_, summary, _) in &mut self.steps {
            let taken = count.min(summary.skipped);
            summary.skipped -= taken;
            count -= taken;
        }
    }

    fn total(&self) -> Summary {
        let mut total = Summary::default();
        self.steps.iter().for_each(|(_, summary, _)| total.add(*summary));
        total
    }

    fn print(&self) {
        println!("\n{:<32}{:>8}{:>8}{:>9}{:>9}", "step", "passed", "failed", "skipped", "seconds");
        for (name, Summary { passed, failed, skipped }, time) in &self.steps {
            println!("{name:<32}{passed:>8}{failed:>8}{skipped:>9}{:>9.1}", time.as_secs_f64());
        }
        let time: Duration = self.steps.iter().map(|(_, _, time)| *time).sum();
        println!("{:<57}{:>9.1}\n", "all", time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_step_runs_is_no_longer_skipped() {
        let mut report = Report::default();
        report.step("lint", || Summary::of_step(true));
        report.step("tests", || Summary { passed: 4, failed: 1, skipped: 3 });
        report.step("redis", || Summary { passed: 2, failed: 0, skipped: 0 });
        report.no_longer_skipped(2);
        assert_eq!(report.total(), Summary { passed: 7, failed: 1, skipped: 1 });
    }

    #[test]
    fn the_features_of_the_core_are_found() {
        assert!(core_features().unwrap().contains(&"driver".to_owned()));
    }
}
