//! Runs commands, and says which.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::summary::Summary;
use crate::workspace;

/// How long tests may print nothing. Building them counts. By then the harness has named each test that runs for more than a minute.
const SILENCE: Duration = Duration::from_secs(20 * 60);

/// A command that prints itself before it runs, in the root of the repository.
pub(crate) struct Cmd {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
}

impl Cmd {
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), variables: Vec::new() }
    }

    /// The cargo that runs us, so that the same toolchain is used all along.
    pub(crate) fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds the words of a text: `.args_of("test --workspace")`.
    pub(crate) fn args_of(mut self, words: &str) -> Self {
        self.arguments.extend(words.split_whitespace().map(OsString::from));
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs it with our own input and output, and answers whether it succeeded.
    pub(crate) fn run(&self) -> bool {
        println!("$ {self}");
        match self.command().status() {
            Ok(status) => status.success(),
            Err(error) => {
                println!("{}: {error}", self.program.display());
                false
            }
        }
    }

    /// Becomes the command where the system can do that, so that signals reach nobody but it; runs it otherwise.
    pub(crate) fn run_instead_of_us(&self) -> ExitCode {
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            println!("$ {self}");
            let error = self.command().exec();
            println!("{}: {error}", self.program.display());
            ExitCode::FAILURE
        }
        #[cfg(not(unix))]
        if self.run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Runs it, and answers what it printed, which must be text.
    ///
    /// # Errors
    /// Says what went wrong when it cannot be run or does not succeed.
    pub(crate) fn output(&self) -> Result<String, String> {
        println!("$ {self}");
        let output = self.command().stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| format!("{}: {error}", self.program.display()))?;
        if !output.status.success() {
            return Err(format!("{} failed", self.program.display()));
        }
        String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", self.program.display()))
    }

    /// Runs it without printing anything, and answers whether it succeeded.
    pub(crate) fn run_quietly(&self) -> bool {
        let status = self.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// Runs a `cargo test`, passes its output on, and counts its results. A run that fails without a failed test counts as one, and tests that say nothing for
    /// twenty minutes are killed.
    pub(crate) fn run_tests(&self) -> Summary {
        self.run_tests_within(SILENCE)
    }

    fn run_tests_within(&self, silence: Duration) -> Summary {
        println!("$ {self}");
        let mut summary = Summary::default();
        let on_line = |line: &str| summary.add_test_result(line);
        let succeeded = self.pass_on(silence, on_line).unwrap_or_else(|error| {
            println!("{}: {error}", self.program.display());
            false
        });
        if !succeeded && summary.failed == 0 {
            summary.add_step(false);
        }
        summary
    }

    fn pass_on(&self, silence: Duration, mut on_line: impl FnMut(&str)) -> std::io::Result<bool> {
        let mut child = self.command().stdout(Stdio::piped()).spawn()?;
        let Some(stdout) = child.stdout.take() else { return Ok(child.wait()?.success()) };
        let (heard, line) = mpsc::channel();
        let id = child.id();
        // It ends when `heard` is dropped.
        let watchdog = std::thread::spawn(move || {
            loop {
                match line.recv_timeout(silence) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => kill_descendants(id),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            on_line(&text);
            line.clear();
            let _ = heard.send(());
        }
        drop(heard);
        let _ = watchdog.join();
        Ok(child.wait()?.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(workspace::root());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl std::fmt::Display for Cmd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.variables {
            write!(formatter, "{name}={} ", quoted(value))?;
        }
        let is_cargo = std::env::var_os("CARGO").is_some_and(|cargo| cargo == self.program);
        let program = if is_cargo { "cargo".into() } else { quoted(&self.program) };
        formatter.write_str(&program)?;
        self.arguments.iter().try_for_each(|argument| write!(formatter, " {}", quoted(argument)))
    }
}

/// Kills the children of a process, and theirs: the servers that a test has started would go on without it. If it is cargo, the next tests run. Only Linux lists children;
/// elsewhere this does nothing.
fn kill_descendants(ancestor: u32) {
    // All of them are found first: those of a process that has ended are no longer its children.
    let mut found = children(ancestor);
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(children(parent));
        next += 1;
    }
    for process in found {
        println!("process {process}, started by {ancestor}, has said nothing for too long: it is killed");
        let _ = Command::new("sh").args(["-c", &format!("kill -KILL {process}")]).status();
    }
}

/// The processes that a process has started and that have not ended.
fn children(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|ids| ids.split_whitespace().flat_map(str::parse).collect::<Vec<_>>()).collect()
}

/// An argument as a shell would need it, for whoever copies the line.
fn quoted(argument: &OsStr) -> String {
    let text = argument.to_string_lossy();
    let is_plain = |character: char| character.is_alphanumeric() || "-_=./:,+@%".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_printed_as_a_shell_would_take_it() {
        let command =
            Cmd::new("cargo").args_of("clippy --workspace").arg("a b").env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(command.to_string(), "RUSTDOCFLAGS='-D warnings' cargo clippy --workspace 'a b'");
    }

    #[test]
    fn results_are_counted_and_a_failure_without_tests_counts_as_one() {
        let script = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'";
        let passing = Cmd::new("sh").arg("-c").arg(script).run_tests();
        assert_eq!(passing, Summary { passed: 2, failed: 0, skipped: 1 });
        let failing = Cmd::new("sh").args(["-c", "exit 3"]).run_tests();
        assert_eq!(failing, Summary { passed: 0, failed: 1, skipped: 0 });
        assert_eq!(Cmd::new("no-such-program").run_tests().failed, 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_test_that_hangs_is_killed_and_what_follows_is_run() {
        let script = "sleep 1000; echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'; exit 3";
        let command = Cmd::new("sh").arg("-c").arg(script);
        assert_eq!(command.run_tests_within(Duration::from_millis(100)).passed, 2);
    }

    /// Servers that a test has started have its output, which does not end as long as one of them lives.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_test_that_hangs_has_started_is_killed_as_well() {
        let script = "sh -c 'sleep 1000 & wait'; \
                      echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'; exit 3";
        let command = Cmd::new("sh").arg("-c").arg(script);
        assert_eq!(command.run_tests_within(Duration::from_millis(100)).passed, 2);
    }
}
