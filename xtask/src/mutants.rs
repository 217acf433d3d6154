//! `cargo xtask mutants`: would the tests notice if any line did something else?
//!
//! cargo-mutants changes the codec and the core in every small way that it knows, or in a part of these drawn at random, on a copy of
//! the repository. Each mutant meets the tests of its own crate, and if they pass all the same, the suite on `direct`: most
//! are noticed by the first, which build in half of the time. Results are kept as long as the code and its tests are the same,
//! so a run that was interrupted, or a further shard, goes on where the one before ended. There is one copy: of two runs at the
//! same time each would test the mutants of the other.

mod draw;
mod results;
mod stage;
mod tool;

use std::path::Path;

use crate::copy;
use crate::summary::Summary;
use crate::workspace;
use draw::Shard;
use results::{Outcome, Results, Table};
use stage::Stage;

/// What `cargo xtask mutants` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Draw this many mutants instead of taking all. A larger sample holds the smaller one, so that it goes on from there.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Draw with this seed: the same seed draws the same mutants of the same code.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Take one part of n, where k counts from 0.
    #[arg(long, value_name = "k/n")]
    shard: Option<Shard>,
    /// Fail when the tests notice a smaller share of the mutants that compile.
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u8).range(0..=100))]
    at_least: u8,
    /// Mutate these files and folders only, such as `hitless-core/src/client`.
    files: Vec<String>,
}

/// Tries the mutants, and prints what came of them.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    tool::install()?;
    let directory = workspace::target().join("mutants");
    let work = directory.join("work");
    copy::update(&work)?;
    let mut mutants = draw::draw(tool::list(&work, &args.files)?, args.sample, args.seed);
    if let Some(shard) = args.shard {
        mutants = shard.of(mutants);
    }
    if mutants.is_empty() {
        return Err("there is no mutant in these files".to_owned());
    }
    println!("{} mutants", mutants.len());
    let results = try_out(&mutants, &work, &directory)?;
    let table = Table::of(&mutants, |mutant| results.get(mutant).copied());
    println!("\n{table}");
    for mutant in mutants.iter().filter(|mutant| results.get(*mutant) == Some(&Outcome::Missed)) {
        println!("missed  {mutant}");
    }
    judge(&table, args.at_least)
}

/// The outcome of each mutant, from an earlier run or a new one.
fn try_out(mutants: &[String], work: &Path, directory: &Path) -> Result<Results, String> {
    // Results are those of this code and these tests.
    let kept = directory.join(results::state(work)?);
    let mut results = Results::new();
    let mut left = mutants.to_vec();
    for stage in [Stage::OWN, Stage::DIRECT] {
        let of_stage = stage.try_out(&left, work, directory, &kept.join(stage.name))?;
        left.retain(|mutant| of_stage.get(mutant) == Some(&Outcome::Missed));
        results.extend(of_stage);
    }
    Ok(results)
}

/// Compares the share of the mutants that were noticed with what is wanted.
fn judge(table: &Table, at_least: u8) -> Result<Summary, String> {
    if table.untested() > 0 {
        return Err(format!("cargo-mutants has left {} mutants without a result", table.untested()));
    }
    let Some(share) = table.share() else { return Err("no mutant compiles".to_owned()) };
    println!("\n{share:.1} % of those that compile were noticed, {at_least} % are wanted");
    Ok(Summary::of_step(share >= f64::from(at_least)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_below_the_wanted_one_fails() {
        let table = |noticed: usize, missed: usize| {
            let outcomes = [vec![Outcome::Caught; noticed], vec![Outcome::Missed; missed]].concat();
            let names: Vec<String> =
                (0..outcomes.len()).map(|number| format!("a/src/b.rs:{number}")).collect();
            let outcomes: Results = names.iter().cloned().zip(outcomes).collect();
            Table::of(&names, |name| outcomes.get(name).copied())
        };
        assert_eq!(judge(&table(9, 1), 90), Ok(Summary::of_step(true)));
        assert_eq!(judge(&table(89, 11), 90), Ok(Summary::of_step(false)));
        assert!(judge(&table(0, 0), 0).is_err(), "nothing was shown");
        let untested = Table::of(&["a/src/b.rs:1".to_owned()], |_| None);
        assert!(judge(&untested, 0).is_err());
    }
}
