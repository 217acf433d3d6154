//! A copy of the repository on which breakages are tried, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::edit::apply;
use super::list::{Breakage, Test};
use crate::copy;
use crate::tidy::source::Source;

/// How long the tests of one target may take as they are.
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// How long a test may take before it counts as hanging: so long, or so many times what the tests of its target take without any edit.
const LEAST_LIMIT: Duration = Duration::from_secs(60);
const PATIENCE: u32 = 3;
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What became of a breakage.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The named test failed, or hung as declared.
    Detected,
    /// The named test passed.
    Undetected,
    DoesNotApply(String),
    DoesNotCompile,
    NoSuchTest,
    /// The test fails on the copy as it is.
    FailsAnyway,
    /// The test did not end, and that was not declared.
    Hangs,
    /// The test ended, though the opposite was declared.
    DoesNotHang,
}

/// A copy with a target directory of its own, which stays warm from one breakage to the next.
pub(super) struct Lane<'a> {
    work: PathBuf,
    target: PathBuf,
    logs: PathBuf,
    all: &'a [Breakage],
    /// What was seen of the tests without any edit, by package and target, for those that were looked at.
    unedited: BTreeMap<(&'a str, &'a str), Unedited>,
}

/// The tests of one target as they are.
struct Unedited {
    failing: BTreeSet<String>,
    took: Duration,
}

/// How a run of tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Succeeded,
    Failed,
    /// It was killed.
    TimedOut,
}

impl<'a> Lane<'a> {
    /// Brings the copy in `directory` up to date. What has not changed is not written, so that cargo need not build it again.
    pub(super) fn open(directory: &Path, all: &'a [Breakage]) -> Result<Self, String> {
        let lane = Self {
            work: directory.join("work"),
            target: directory.join("target"),
            logs: directory.join("logs"),
            all,
            unedited: BTreeMap::new(),
        };
        fs::create_dir_all(&lane.logs).map_err(|error| format!("{}: {error}", lane.logs.display()))?;
        copy::update(&lane.work)?;
        Ok(lane)
    }

    /// Applies a breakage, runs its test, and restores the file.
    pub(super) fn try_out(&mut self, breakage: &'a Breakage) -> Result<(Outcome, Duration), String> {
        let tried = self.passes_without(&breakage.test).and_then(|passes| {
            let began = now();
            let outcome = if passes { self.break_and_test(breakage) } else { Ok(Outcome::FailsAnyway) };
            outcome.map(|outcome| (outcome, now() - began))
        });
        tried.map_err(|error| format!("{}: {error}", breakage.id))
    }

    /// The output of the run of a breakage.
    pub(super) fn log_of(&self, breakage: &Breakage) -> PathBuf {
        self.logs.join(&breakage.id).with_extension("txt")
    }

    fn break_and_test(&self, breakage: &Breakage) -> io::Result<Outcome> {
        let path = self.work.join(&breakage.edit.file);
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(Outcome::DoesNotApply(format!("there is no file {}", breakage.edit.file)));
        };
        let source = Source::new(breakage.edit.file.as_str(), text);
        let broken = match apply(&source, &breakage.edit) {
            Ok(broken) => broken,
            Err(why) => return Ok(Outcome::DoesNotApply(why)),
        };
        fs::write(&path, broken)?;
        let outcome = self.test(breakage);
        fs::write(&path, &source.text)?;
        outcome
    }

    fn test(&self, breakage: &Breakage) -> io::Result<Outcome> {
        let log = self.log_of(breakage);
        if !self.build(&breakage.test, &log)? {
            return Ok(Outcome::DoesNotCompile);
        }
        let usual = self.unedited.get(&breakage.test.key()).map(|unedited| unedited.took);
        let limit = (usual.unwrap_or_default() * PATIENCE).clamp(LEAST_LIMIT, TIME_LIMIT);
        let ended = self.run(&breakage.test, &[&breakage.test.path], &log, limit)?;
        Ok(judge(breakage, ended, &fs::read_to_string(&log)?))
    }

    /// Whether a test passes on the copy as it is. The tests of one target are looked at together, when the first is asked for.
    fn passes_without(&mut self, test: &'a Test) -> io::Result<bool> {
        let key = test.key();
        if !self.unedited.contains_key(&key) {
            let unedited = self.without_edits(test)?;
            self.unedited.insert(key, unedited);
        }
        Ok(self.unedited.get(&key).is_some_and(|unedited| !unedited.failing.contains(&test.path)))
    }

    fn without_edits(&self, one: &Test) -> io::Result<Unedited> {
        let tests = self.all.iter().map(|breakage| &breakage.test);
        let of_target = tests.filter(|test| test.package == one.package && test.target == one.target);
        let paths: BTreeSet<&str> = of_target.map(|test| test.path.as_str()).collect();
        let log = self.logs.join(format!("{}-{}.txt", one.package, one.target));
        if !self.build(one, &log)? {
            println!("{} {} does not compile as it is ({})", one.package, one.target, log.display());
            let failing = paths.into_iter().map(str::to_owned).collect();
            return Ok(Unedited { failing, took: Duration::ZERO });
        }
        let filters: Vec<&str> = paths.iter().copied().collect();
        let began = now();
        let timed_out = matches!(self.run(one, &filters, &log, TIME_LIMIT)?, Ended::TimedOut);
        let took = now() - began;
        let results = results(&fs::read_to_string(&log)?);
        // A test that does not exist has no result here either, and is told apart later.
        let fails = |path: &&str| results.get(*path).map_or(timed_out, |passed| !passed);
        Ok(Unedited { failing: paths.into_iter().filter(fails).map(str::to_owned).collect(), took })
    }

    fn build(&self, test: &Test, log: &Path) -> io::Result<bool> {
        let mut command = self.cargo(test, log)?;
        command.arg("--no-run");
        Ok(command.status()?.success())
    }

    fn run(&self, test: &Test, paths: &[&str], log: &Path, limit: Duration) -> io::Result<Ended> {
        let mut command = self.cargo(test, log)?;
        command.args(["--", "--exact"]).args(paths);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        wait(command.spawn()?, limit)
    }

    /// A `cargo test` of the target of `test`, whose output goes to the log.
    fn cargo(&self, test: &Test, log: &Path) -> io::Result<Command> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--all-features", "-p", &test.package]);
        match test.target.as_str() {
            "lib" => command.arg("--lib"),
            target => command.args(["--test", target]),
        };
        command.current_dir(&self.work).env("CARGO_TARGET_DIR", &self.target);
        command.envs(copy::ENVIRONMENT);
        command
            .stdin(Stdio::null())
            .stdout(File::create(log)?)
            .stderr(File::create(log.with_extension("err"))?);
        Ok(command)
    }
}

/// Waits for the end, and brings it about when it takes too long.
fn wait(mut child: Child, limit: Duration) -> io::Result<Ended> {
    let deadline = now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if status.success() { Ended::Succeeded } else { Ended::Failed });
        }
        if now() >= deadline {
            kill(&mut child)?;
            return Ok(Ended::TimedOut);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Kills cargo together with the test that it runs: they are a process group where there is such a thing.
fn kill(child: &mut Child) -> io::Result<()> {
    if cfg!(unix) {
        Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
    } else {
        child.kill()?;
    }
    child.wait().map(drop)
}

/// What the run of the one test of a breakage shows.
fn judge(breakage: &Breakage, ended: Ended, output: &str) -> Outcome {
    let result = results(output).get(&breakage.test.path).copied();
    match (ended, result, breakage.hangs) {
        (Ended::TimedOut, _, true) => Outcome::Detected,
        (Ended::TimedOut, _, false) => Outcome::Hangs,
        // It began and has no result: the process has died of it.
        (Ended::Failed, None, false) if output.contains("running 1 test") => Outcome::Detected,
        (_, None, _) => Outcome::NoSuchTest,
        (_, Some(_), true) => Outcome::DoesNotHang,
        (_, Some(true), false) => Outcome::Undetected,
        (_, Some(false), false) => Outcome::Detected,
    }
}

/// What each test came to, from the output of the test harness: true for those that passed.
fn results(output: &str) -> BTreeMap<String, bool> {
    let result = |line: &str| {
        let (path, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        let path = path.trim_end_matches(" - should panic");
        match result {
            "ok" => Some((path.to_owned(), true)),
            "FAILED" => Some((path.to_owned(), false)),
            _ => None,
        }
    };
    output.lines().filter_map(result).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test that hangs is found by the clock; no test sees it")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_failure_of_the_named_test_counts() {
        let mut breakage =
            Breakage { test: Test { path: "a::b".into(), ..Test::default() }, ..Breakage::default() };
        let failed = "running 1 test\ntest a::b ... FAILED\n";
        assert_eq!(judge(&breakage, Ended::Failed, failed), Outcome::Detected);
        let passed = "running 1 test\ntest a::b ... ok\n";
        assert_eq!(judge(&breakage, Ended::Succeeded, passed), Outcome::Undetected);
        assert_eq!(judge(&breakage, Ended::Failed, "running 1 test\n"), Outcome::Detected, "it died");
        assert_eq!(judge(&breakage, Ended::Failed, ""), Outcome::NoSuchTest);
        assert_eq!(judge(&breakage, Ended::Succeeded, "running 0 tests\n"), Outcome::NoSuchTest);
        let ignored = "running 1 test\ntest a::b ... ignored, slow\n";
        assert_eq!(judge(&breakage, Ended::Succeeded, ignored), Outcome::NoSuchTest);
        assert_eq!(judge(&breakage, Ended::TimedOut, "running 1 test\n"), Outcome::Hangs);
        breakage.hangs = true;
        assert_eq!(judge(&breakage, Ended::TimedOut, "running 1 test\n"), Outcome::Detected);
        assert_eq!(judge(&breakage, Ended::Failed, failed), Outcome::DoesNotHang);
    }

    #[test]
    fn the_results_of_tests_are_read() {
        let output = "running 3 tests\ntest a::b ... ok\ntest c - should panic ... FAILED\ntest d ... ignored, slow\n\n\
            test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured\n";
        let expected = [("a::b".to_owned(), true), ("c".to_owned(), false)];
        assert_eq!(results(output), BTreeMap::from(expected));
    }

    #[cfg(unix)]
    #[test]
    fn what_takes_too_long_is_killed_with_its_children() {
        use std::os::unix::process::{CommandExt, ExitStatusExt};
        let mut child = Command::new("sh").args(["-c", "sleep 1000"]).process_group(0).spawn().unwrap();
        kill(&mut child).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let quick = Command::new("true").spawn().unwrap();
        assert_eq!(wait(quick, LEAST_LIMIT).unwrap(), Ended::Succeeded);
    }
}
