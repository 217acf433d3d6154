//! The tests that mutants meet: first those of the crate, then the suite.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::results::{self, Results};
use super::tool;
use crate::copy;
use crate::shell::Cmd;

/// How long the tests of a mutant may take, at least; they may take as many times what they take without it.
const LEAST_TIME: Duration = Duration::from_secs(30);
const TIMES: u32 = 4;
/// How long a mutant may take to build.
const BUILD_TIME: Duration = Duration::from_secs(600);

/// Tests that mutants meet.
pub(super) struct Stage {
    /// Where its results are kept.
    pub(super) name: &'static str,
    /// The package whose tests they are; none when they are those of the mutated crate.
    package: Option<&'static str>,
    /// What `cargo test` takes to run them.
    tests: &'static str,
}

impl Stage {
    /// The unit tests and the files of tests of the mutated crate itself.
    pub(super) const OWN: Self = Self { name: "own", package: None, tests: "--tests" };

    /// The suite on `direct`, as `cargo xtask conformance --adapter direct` runs it.
    pub(super) const DIRECT: Self =
        Self { name: "direct", package: Some("hitless-conformance"), tests: "--test conformance" };

    /// The outcome of each of `mutants`: those that have none in `kept` meet the tests.
    pub(super) fn try_out(
        &self,
        mutants: &[String],
        work: &Path,
        directory: &Path,
        kept: &Path,
    ) -> Result<Results, String> {
        let mut results = results::collect(kept)?;
        let is_new = |mutant: &&String| !results.contains_key(*mutant);
        let new: Vec<String> = mutants.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            println!("\n{} mutants meet the tests `{}`", new.len(), self.name);
            let target = directory.join("target");
            let limit = self.baseline(&new, work, &target)?.saturating_mul(TIMES).max(LEAST_TIME);
            let configuration = kept.join("mutants.toml");
            fs::write(&configuration, tool::configuration(&new))
                .map_err(|error| format!("{}: {error}", configuration.display()))?;
            // Its verdict is on all of them together; what counts is which of them have a result.
            self.mutate(work, &target, kept, &configuration, limit).run();
            results = results::collect(kept)?;
        }
        results.retain(|mutant, _| mutants.contains(mutant));
        Ok(results)
    }

    /// Runs the tests without a mutant, which builds what mutants have in common, and answers how long they take.
    #[expect(clippy::disallowed_methods, reason = "how long the tests take decides when one of them hangs")]
    fn baseline(&self, mutants: &[String], work: &Path, target: &Path) -> Result<Duration, String> {
        let packages: BTreeSet<&str> = match self.package {
            Some(package) => [package].into(),
            None => mutants.iter().map(|mutant| results::package(mutant)).collect(),
        };
        let mut longest = Duration::ZERO;
        for package in packages {
            let test = |more: &str| {
                let test = cargo(target).arg("test").arg("--manifest-path").arg(work.join("Cargo.toml"));
                test.args(["--package", package]).args_of("--all-features").args_of(self.tests).args_of(more)
            };
            let built = test("--no-run").run();
            let start = Instant::now();
            if !built || test("--quiet").run_tests().failed > 0 {
                return Err(format!("the tests of {package} fail without a mutant"));
            }
            longest = longest.max(start.elapsed());
        }
        Ok(longest)
    }

    fn mutate(
        &self,
        work: &Path,
        target: &Path,
        output: &Path,
        configuration: &Path,
        limit: Duration,
    ) -> Cmd {
        let mutants = cargo(target).args_of("mutants --in-place --baseline skip --no-shuffle --all-features");
        let mutants = mutants.arg("--dir").arg(work).arg("--output").arg(output);
        let mutants = mutants.arg("--config").arg(configuration).args_of(tool::PACKAGES);
        let mutants = self
            .package
            .into_iter()
            .fold(mutants, |mutants, package| mutants.args(["--test-package", package]));
        let mutants = mutants.args(["--timeout".to_owned(), limit.as_secs().to_string()]);
        let mutants = mutants.args(["--build-timeout".to_owned(), BUILD_TIME.as_secs().to_string()]);
        mutants.arg("--").args_of(self.tests)
    }
}

fn cargo(target: &Path) -> Cmd {
    let cargo =
        copy::ENVIRONMENT.into_iter().fold(Cmd::cargo(), |cargo, (name, value)| cargo.env(name, value));
    cargo.env("CARGO_TARGET_DIR", target)
}
