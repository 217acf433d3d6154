//! cargo-mutants: its installation, its list of mutants, and the configuration that makes it try exactly some of them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::shell::Cmd;

/// The crates that are mutated.
pub(super) const PACKAGES: &str = "-p resp3-codec -p hitless-core";

/// What the feature `explore` adds is tested by the exploration, which takes too long to try it on each mutant.
const LEFT_OUT: &str = "fingerprint";

/// Installs cargo-mutants unless it is there.
pub(super) fn install() -> Result<(), String> {
    if Cmd::cargo().args_of("mutants --version").run_quietly() {
        return Ok(());
    }
    println!("there is no cargo-mutants: installing it");
    let installed = Cmd::cargo().args_of("install --locked cargo-mutants").run();
    if installed { Ok(()) } else { Err("cargo-mutants could not be installed".to_owned()) }
}

/// The names of the mutants of these files, or of all when there are none. A name holds file, line, column and what is replaced.
pub(super) fn list(work: &Path, files: &[String]) -> Result<BTreeSet<String>, String> {
    let list = Cmd::cargo().args_of("mutants --list --colors never").arg("--dir").arg(work).args_of(PACKAGES);
    let list = files.iter().fold(list, |list, file| list.arg("--file").arg(pattern(work, file)));
    let names = list.output()?;
    Ok(names.lines().filter(|name| !name.to_lowercase().contains(LEFT_OUT)).map(str::to_owned).collect())
}

/// The text of a configuration under which exactly these mutants are tried.
pub(super) fn configuration(mutants: &[String]) -> String {
    let files: BTreeSet<&str> = mutants.iter().filter_map(|mutant| Some(mutant.split_once(':')?.0)).collect();
    let files: Vec<String> = files.into_iter().map(quoted).collect();
    let names: Vec<String> = mutants.iter().map(|mutant| quoted(&format!("^{}$", escaped(mutant)))).collect();
    format!("examine_globs = [\n{}\n]\nexamine_re = [\n{}\n]\n", files.join(",\n"), names.join(",\n"))
}

/// A regular expression that matches nothing but this text.
fn escaped(text: &str) -> String {
    let mut expression = String::new();
    for character in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What cargo-mutants takes for `file`: of a folder, all that is in it.
fn pattern(work: &Path, file: &str) -> String {
    let folder = file.trim_end_matches('/');
    if work.join(folder).is_dir() { format!("{folder}/**/*.rs") } else { file.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_each_mutant_exactly() {
        let mutants = [
            "a/src/b.rs:1:2: replace f -> Option<u8> with Some(0)".to_owned(),
            "a/src/b.rs:3:4: replace + with *".to_owned(),
        ];
        let expected = "examine_globs = [\n\"a/src/b.rs\"\n]\nexamine_re = [\n\
            \"^a/src/b\\\\.rs:1:2: replace f \\\\-> Option<u8> with Some\\\\(0\\\\)$\",\n\
            \"^a/src/b\\\\.rs:3:4: replace \\\\+ with \\\\*$\"\n]\n";
        assert_eq!(configuration(&mutants), expected);
        assert_eq!(quoted("with \"xyzzy\""), "\"with \\\"xyzzy\\\"\"");
    }
}
