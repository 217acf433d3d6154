//! What became of the mutants, and how it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::{fmt, fs, io};

use crate::workspace;

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A test failed.
    Caught,
    /// Every test passed.
    Missed,
    /// A test did not end, or the build: it was noticed as well.
    Timeout,
    /// It does not compile.
    Unviable,
}

/// The mutants that have a result, by name.
pub(super) type Results = BTreeMap<String, Outcome>;

impl Outcome {
    const ALL: [Self; 4] = [Self::Caught, Self::Missed, Self::Timeout, Self::Unviable];

    /// Its name, which is that of the file where cargo-mutants writes down the mutants that it became of.
    fn name(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Missed => "missed",
            Self::Timeout => "timeout",
            Self::Unviable => "unviable",
        }
    }
}

/// The crate that a mutant is of: its name begins with the path of the file.
pub(super) fn package(mutant: &str) -> &str {
    mutant.split('/').next().unwrap_or_default()
}

/// Names the state of the code and of all that its tests are made of.
pub(super) fn state(work: &Path) -> Result<String, String> {
    let directories = ["resp3-codec/", "hitless-core/", "conformance/", "Cargo."];
    let mut hasher = DefaultHasher::new();
    for file in workspace::files()? {
        if directories.iter().any(|directory| file.starts_with(directory)) {
            let content = fs::read(work.join(&file)).unwrap_or_default();
            (file, content).hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Moves what cargo-mutants has written under `directory`, in this run or in one that was interrupted, to the kept results.
pub(super) fn collect(directory: &Path) -> Result<Results, String> {
    let fails = |error: io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(fails)?;
    let mut results = Results::new();
    for outcome in Outcome::ALL {
        let kept = directory.join(outcome.name()).with_extension("txt");
        let new = directory.join("mutants.out").join(outcome.name()).with_extension("txt");
        let mut names = read(&kept).map_err(fails)?;
        let count = names.len();
        names.extend(read(&new).map_err(fails)?);
        if names.len() > count {
            let text: String = names.iter().map(|name| format!("{name}\n")).collect();
            fs::write(&kept, text).map_err(fails)?;
        }
        results.extend(names.into_iter().map(|name| (name, outcome)));
    }
    Ok(results)
}

/// The lines of a file; none when there is no such file.
fn read(path: &Path) -> io::Result<BTreeSet<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        text => Ok(text?.lines().map(str::to_owned).collect()),
    }
}

/// How many mutants each outcome has, by crate.
#[derive(Debug, Default)]
pub(super) struct Table {
    crates: BTreeMap<String, [usize; Outcome::ALL.len()]>,
    untested: usize,
}

impl Table {
    pub(super) fn of(mutants: &[String], outcome: impl Fn(&str) -> Option<Outcome>) -> Self {
        let mut table = Self::default();
        for mutant in mutants {
            let package = package(mutant);
            match outcome(mutant) {
                Some(outcome) => table.crates.entry(package.to_owned()).or_default()[outcome as usize] += 1,
                None => table.untested += 1,
            }
        }
        table
    }

    /// How many have no result.
    pub(super) fn untested(&self) -> usize {
        self.untested
    }

    /// The percentage of those that compile that were noticed; none when none compiles.
    pub(super) fn share(&self) -> Option<f64> {
        share(self.total())
    }

    fn total(&self) -> [usize; Outcome::ALL.len()] {
        let mut total = [0; Outcome::ALL.len()];
        for counts in self.crates.values() {
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        total
    }
}

fn share([caught, missed, timeout, _]: [usize; Outcome::ALL.len()]) -> Option<f64> {
    let noticed = caught + timeout;
    let viable = noticed + missed;
    (viable > 0).then(|| 100.0 * noticed as f64 / viable as f64)
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<16}", "crate")?;
        Outcome::ALL.iter().try_for_each(|outcome| write!(formatter, "{:>10}", outcome.name()))?;
        write!(formatter, "{:>10}", "noticed")?;
        let total = [("all".to_owned(), self.total())];
        for (name, counts) in self.crates.clone().into_iter().chain(total) {
            write!(formatter, "\n{name:<16}")?;
            counts.iter().try_for_each(|count| write!(formatter, "{count:>10}"))?;
            let share = share(counts).map_or_else(|| "-".to_owned(), |share| format!("{share:.1} %"));
            write!(formatter, "{share:>10}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_do_not_compile_are_left_out_of_the_share_and_those_that_hang_are_noticed() {
        let outcomes = [
            ("a/src/x.rs:1", Some(Outcome::Caught)),
            ("a/src/x.rs:2", Some(Outcome::Missed)),
            ("b/src/x.rs:1", Some(Outcome::Timeout)),
            ("b/src/x.rs:2", Some(Outcome::Unviable)),
            ("b/src/x.rs:3", Some(Outcome::Caught)),
            ("b/src/x.rs:4", None),
        ];
        let names = outcomes.map(|(name, _)| name.to_owned());
        let outcomes = BTreeMap::from(outcomes);

        let table = Table::of(&names, |name| outcomes[name]);

        assert_eq!((table.share(), table.untested()), (Some(75.0), 1));
        let lines: Vec<Vec<String>> = table
            .to_string()
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        assert_eq!(lines[0], ["crate", "caught", "missed", "timeout", "unviable", "noticed"]);
        assert_eq!(lines[1], ["a", "1", "1", "0", "0", "50.0", "%"]);
        assert_eq!(lines[2], ["b", "1", "0", "1", "1", "100.0", "%"]);
        assert_eq!(lines[3], ["all", "2", "1", "1", "1", "75.0", "%"]);
    }

    #[test]
    fn the_results_of_an_interrupted_run_are_kept_beside_the_earlier_ones() {
        let directory = std::env::temp_dir().join(format!("hitless-mutants-{}", std::process::id()));
        fs::create_dir_all(directory.join("mutants.out")).unwrap();
        fs::write(directory.join("caught.txt"), "one\n").unwrap();
        fs::write(directory.join("mutants.out/caught.txt"), "two\n").unwrap();
        fs::write(directory.join("mutants.out/missed.txt"), "three\n").unwrap();

        let results = collect(&directory).unwrap();
        fs::remove_dir_all(directory.join("mutants.out")).unwrap();

        let expected = [("one", Outcome::Caught), ("three", Outcome::Missed), ("two", Outcome::Caught)];
        assert_eq!(results, Results::from(expected.map(|(name, outcome)| (name.to_owned(), outcome))));
        assert_eq!(collect(&directory).unwrap(), results, "they are still there");
        fs::remove_dir_all(directory).unwrap();
    }
}
