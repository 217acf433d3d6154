//! `cargo xtask tidy`: the house rules, each a check that names the place and says what to do.

mod breakages;
mod cases;
mod determinism;
mod invariants;
mod layers;
mod lints;
pub(crate) mod manifest;
mod modules;
mod papers;
mod paths;
mod rings;
mod size;
pub(crate) mod source;
mod surface;
mod wording;

use std::path::Path;

use crate::summary::Summary;
use crate::workspace;
use source::Source;

/// What `cargo xtask tidy` takes.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Write into INVARIANTS.md which files prove what, as found in the comments above the tests.
    #[arg(long)]
    fix: bool,
}

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    level: Level,
    /// What is wrong and what to do about it.
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Makes `tidy` fail.
    Failure,
    /// Is printed only.
    Warning,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, level: Level::Failure, message: message.into() }
    }

    fn at(source: &Source, offset: usize, message: impl Into<String>) -> Self {
        Self::new(source.path.as_str(), source.line(offset), message)
    }

    fn warning(mut self) -> Self {
        self.level = Level::Warning;
        self
    }
}

/// A rule: its name, and the check that looks at every file of the repository.
struct Rule {
    name: &'static str,
    check: fn(&[Source]) -> Vec<Finding>,
}

const RULES: &[Rule] = &[
    Rule { name: "R1-dependencies", check: layers::dependencies },
    Rule { name: "R1-async-std", check: layers::discontinued },
    Rule { name: "R1-names", check: |files| each(files, layers::names) },
    Rule { name: "R1-modules", check: modules::layers },
    Rule { name: "R2-clock", check: |files| each(files, determinism::clock) },
    Rule { name: "R2-exceptions", check: |files| each(files, determinism::exceptions) },
    Rule { name: "R2-clippy", check: determinism::clippy },
    Rule { name: "R3-async", check: |files| each(files, layers::async_code) },
    Rule { name: "R4-decisions", check: |files| each(files, layers::decisions) },
    Rule { name: "R4-lints", check: lints::workspace },
    Rule { name: "R5-features", check: |files| each(files, lints::features) },
    Rule { name: "R5-files", check: |files| each(files, size::files) },
    Rule { name: "R5-functions", check: |files| each(files, size::functions) },
    Rule { name: "R1-rings", check: rings::rings },
    Rule { name: "R6-modules", check: |files| each(files, surface::public_modules) },
    Rule { name: "R6-fields", check: surface::shared_fields },
    Rule { name: "unfinished", check: |files| each(files, wording::unfinished) },
    Rule { name: "printing", check: |files| each(files, wording::printing) },
    Rule { name: "machine-paths", check: |files| each(files, wording::machine_paths) },
    Rule { name: "invariants", check: invariants::check },
    Rule { name: "clusters", check: invariants::clusters },
    Rule { name: "breakages", check: breakages::check },
    Rule { name: "cases", check: cases::listed },
    Rule { name: "readme", check: papers::readme },
    Rule { name: "architecture", check: papers::architecture },
];

/// Runs the verb: prints what breaks a rule, and fails if anything but warnings was found.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    let files = load()?;
    if args.fix {
        invariants::fix(&workspace::root(), &files)?;
        return Ok(check(&load()?));
    }
    Ok(check(&files))
}

/// Checks every rule against `files`; a rule counts as one test.
fn check(files: &[Source]) -> Summary {
    let mut summary = Summary::default();
    for rule in RULES {
        let findings = (rule.check)(files);
        for finding in &findings {
            let warning = if finding.level == Level::Warning { "warning: " } else { "" };
            println!("{}:{}: {}: {warning}{}", finding.path, finding.line, rule.name, finding.message);
        }
        let failed = findings.iter().any(|finding| finding.level == Level::Failure);
        summary.add_step(!failed);
    }
    summary
}

/// Reads every text file of the repository.
fn load() -> Result<Vec<Source>, String> {
    let root = workspace::root();
    let mut files = Vec::new();
    for path in workspace::files()? {
        // What is listed may have been deleted since, and what is not UTF-8 is not text.
        if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            files.push(Source::new(path, text));
        }
    }
    mark_test_modules(&mut files);
    Ok(files)
}

/// Marks files such as `client/laws.rs` that `client.rs` includes by `#[cfg(test)] mod laws;`.
fn mark_test_modules(files: &mut [Source]) {
    let mut test_paths = Vec::new();
    for file in files.iter() {
        let path = Path::new(&file.path);
        let is_root =
            path.file_name().is_some_and(|name| name == "lib.rs" || name == "main.rs" || name == "mod.rs");
        let directory =
            if is_root { path.parent().unwrap_or(path).to_owned() } else { path.with_extension("") };
        for module in file.test_modules() {
            test_paths.push(directory.join(module));
        }
    }
    for file in files {
        let path = Path::new(&file.path);
        if test_paths.iter().any(|test| path.starts_with(test) || path == test.with_extension("rs")) {
            file.mark_as_test();
        }
    }
}

/// Applies the check of one file to all of them.
fn each(files: &[Source], check: fn(&Source) -> Vec<Finding>) -> Vec<Finding> {
    files.iter().flat_map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_fails_and_a_warning_does_not() {
        let failed = check(&[Source::new("a.rs", "")]).failed;
        assert_eq!(check(&[Source::new("a.rs", "fn a() { todo!() }")]).failed, failed + 1);
        let long = "// line\n".repeat(500);
        assert_eq!(check(&[Source::new("a.rs", long)]).failed, check(&[]).failed);
    }

    #[test]
    fn a_test_module_of_its_own_file_is_test_code() {
        let mut files = [
            Source::new("core/src/lib.rs", "#[cfg(test)]\nmod fixtures;\nmod client;\n"),
            Source::new("core/src/fixtures.rs", "fn a() {}\n"),
            Source::new("core/src/client.rs", "#[cfg(test)]\nmod laws;\nfn b() {}\n"),
            Source::new("core/src/client/laws.rs", "fn c() {}\n"),
            Source::new("core/src/laws.rs", "fn d() {}\n"),
        ];
        mark_test_modules(&mut files);
        assert_eq!(files.map(|file| file.lines_without_tests()), [1, 0, 1, 0, 1]);
    }
}
