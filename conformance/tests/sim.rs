//! The driver in deterministic simulation: a range of seeds, the seeds that once found something, and the suite.
//!
//! `cargo xtask sim` runs more seeds, faster.

use hitless_conformance::clock;
use hitless_conformance::sim::{self, Coverage, Seed};

/// As many as take a few seconds without optimization.
const SEEDS: u64 = 40;
/// The same of those that draw clusters.
const CLUSTERS: u64 = 40;

hitless_conformance::suite!(hitless_conformance::sim::Sim, virtual_time);

fn check(seed: Seed) -> Coverage {
    match sim::check(seed, clock::now()) {
        Ok(report) => report.coverage,
        Err(failure) => {
            let seed = failure.seed;
            panic!("seed {seed}: {}\nagain: cargo xtask sim --seed {seed} --trace", failure.message);
        }
    }
}

/// Whatever servers, networks and callers do, in each run twice. With one server: INV-01, INV-02, INV-03, INV-04, INV-05, INV-06, INV-07,
/// INV-12, INV-13, INV-15, INV-20, INV-21, RULE-161, RULE-162, RULE-163, RULE-164, RULE-165
///
/// With a cluster: INV-01, INV-02, INV-05, INV-12, INV-13, INV-15, INV-21, RULE-161, RULE-163, RULE-419, RULE-420, RULE-421, RULE-422, RULE-439, RULE-448
#[test]
fn laws_hold_under_faults() {
    let mut coverage = Coverage::new();
    (0..SEEDS).for_each(|seed| coverage.add(&check(Seed::Database(seed))));
    (0..CLUSTERS).for_each(|seed| coverage.add(&check(Seed::Cluster(seed))));
    let never: Vec<_> = coverage.rarer_than(1).into_iter().map(|(what, _)| what).collect();
    assert!(never.len() < 12, "too much never happened in {SEEDS} runs: {never:?}");
}

#[test]
fn seeds_that_once_found_something_pass() {
    let seeds = include_str!("../regressions/seeds.txt").lines().filter_map(|line| {
        let seed = line.split('#').next().unwrap_or_default().trim();
        (!seed.is_empty()).then(|| seed.parse().expect("a seed, then a comment"))
    });
    for seed in seeds {
        check(seed);
    }
}
