//! INVARIANTS.md and the comments above the tests agree.
//!
//! A test names what it proves in the comment above it: `/// INV-05, PITFALL-25`. INVARIANTS.md has a row for each id, whose last
//! column names files with such a test, or says that what the row promises is not built yet.
//!
//! Rows are of four kinds: invariants, pitfalls, behaviours of a cluster's client and rules. How many breakages one needs depends on its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::{Source, find_word, item_body};
use super::{Finding, cases};

pub(super) const REGISTER: &str = "INVARIANTS.md";
const NOT_BUILT: &str = "not built yet";
/// The kinds of rows, and how many breakages a row that has tests needs. The rules are many and small, and what matters of
/// them is an invariant or a pitfall as well.
const KINDS: &[(&str, usize)] = &[("INV-", 2), ("PITFALL-", 1), ("CLUSTER-", 1), ("RULE-", 0)];
/// How many behaviours of a cluster's client there are.
const CLUSTER_ROWS: u32 = 25;

/// A row of the register: an id, and the files whose tests prove it.
struct Row<'a> {
    id: String,
    line: usize,
    is_built: bool,
    files: Vec<&'a str>,
}

/// A place that names an id, and whether it does so above a test.
struct Mention {
    id: String,
    offset: usize,
    is_proof: bool,
}

/// What a test names is in the register, and what the register promises has a test.
pub(super) fn check(files: &[Source]) -> Vec<Finding> {
    let Some(register) = files.iter().find(|file| file.path == REGISTER) else {
        return vec![Finding::new(REGISTER, 1, "missing")];
    };
    let rows = rows(&register.text);
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut findings = Vec::new();
    for row in rows.iter().filter(|row| !known.insert(&row.id)) {
        findings.push(Finding::new(REGISTER, row.line, format!("a second row {}: give it a number", row.id)));
    }
    for file in files.iter().filter(|file| file.is_rust()) {
        for mention in mentions(file).into_iter().filter(|mention| !known.contains(mention.id.as_str())) {
            let message = format!("{} has no row in {REGISTER}: correct it, or add the row", mention.id);
            findings.push(Finding::at(file, mention.offset, message));
        }
    }
    let proofs = proofs(files);
    for row in &rows {
        findings.extend(check_row(row, proofs.get(&row.id)));
    }
    findings
}

/// Each behaviour of a cluster's client has a row, and a case of the suite that proves it.
pub(super) fn clusters(files: &[Source]) -> Vec<Finding> {
    let Some(register) = files.iter().find(|file| file.path == REGISTER) else { return Vec::new() };
    let rows = rows(&register.text);
    let findings = (1..=CLUSTER_ROWS).filter_map(|number| {
        let id = format!("CLUSTER-{number:02}");
        let Some(row) = rows.iter().find(|row| row.id == id) else {
            return Some(Finding::new(REGISTER, 1, format!("no row {id}: add it")));
        };
        let has_case = row.files.iter().any(|file| file.starts_with(cases::DIRECTORY));
        let message = || format!("no case of the suite names {id}: write one");
        (!has_case).then(|| Finding::new(REGISTER, row.line, message()))
    });
    findings.collect()
}

fn check_row(row: &Row<'_>, proofs: Option<&BTreeSet<&str>>) -> Option<Finding> {
    let finding = |message: String| Some(Finding::new(REGISTER, row.line, message));
    let id = &row.id;
    match proofs {
        None if row.is_built => finding(format!("no test names {id}: write one, or say `{NOT_BUILT}`")),
        None => None,
        Some(_) if !row.is_built => {
            finding(format!("tests name {id}: run `cargo xtask tidy --fix`")).map(Finding::warning)
        }
        Some(proofs) => {
            let wrong = row.files.iter().find(|file| !proofs.contains(**file));
            let missing = proofs.iter().find(|file| !row.files.contains(file));
            match (wrong, missing) {
                (Some(file), _) => {
                    finding(format!("no test in {file} names {id}: run `cargo xtask tidy --fix`"))
                }
                (None, Some(_)) if row.files.is_empty() => {
                    finding(format!("name a file for {id}: run `cargo xtask tidy --fix`"))
                }
                (None, Some(file)) => {
                    finding(format!("a test in {file} names {id} as well: run `cargo xtask tidy --fix`"))
                        .map(Finding::warning)
                }
                (None, None) => None,
            }
        }
    }
}

/// The ids of the register that are built, with their lines, and those that are not.
pub(super) fn built(files: &[Source]) -> (Vec<(String, usize)>, BTreeSet<String>) {
    let register = files.iter().find(|file| file.path == REGISTER).map_or("", |file| file.text.as_str());
    let (built, others): (Vec<_>, Vec<_>) = rows(register).into_iter().partition(|row| row.is_built);
    (
        built.into_iter().map(|row| (row.id, row.line)).collect(),
        others.into_iter().map(|row| row.id).collect(),
    )
}

/// How many breakages show that the tests of a row would notice.
pub(super) fn breakages_needed(id: &str) -> usize {
    KINDS.iter().find(|(kind, _)| id.starts_with(kind)).map_or(0, |(_, needed)| *needed)
}

/// Writes the last column of the register anew.
pub(super) fn fix(root: &Path, files: &[Source]) -> Result<(), String> {
    let register = files.iter().find(|file| file.path == REGISTER).ok_or("INVARIANTS.md is missing")?;
    let text = rewrite(&register.text, &proofs(files));
    std::fs::write(root.join(REGISTER), text).map_err(|error| format!("{REGISTER}: {error}"))
}

fn rewrite(text: &str, proofs: &BTreeMap<String, BTreeSet<&str>>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for row in rows(text) {
        let tests = proofs.get(&row.id).map(|files| {
            let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
            files.join(", ")
        });
        let line = &mut lines[row.line - 1];
        if let Some((head, _)) = line.trim_end().trim_end_matches('|').rsplit_once('|') {
            *line = format!("{head}| {} |", tests.as_deref().unwrap_or(NOT_BUILT));
        }
    }
    lines.join("\n") + "\n"
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let (Some(first), Some(last)) = (cells.first(), cells.last()) else { continue };
        let Some(id) = ids(first).pop().filter(|_| line.starts_with('|')) else { continue };
        let is_built = !last.starts_with(NOT_BUILT);
        let files = if is_built { last.split('`').skip(1).step_by(2).collect() } else { Vec::new() };
        rows.push(Row { id: id.1, line: index + 1, is_built, files });
    }
    rows
}

/// The files that prove each id.
fn proofs(files: &[Source]) -> BTreeMap<String, BTreeSet<&str>> {
    let mut proofs: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        for mention in mentions(file).into_iter().filter(|mention| mention.is_proof) {
            proofs.entry(mention.id).or_default().insert(&file.path);
        }
    }
    proofs
}

fn mentions(source: &Source) -> Vec<Mention> {
    let mentions = ids(&source.comments).into_iter().map(|(offset, id)| Mention {
        id,
        offset,
        is_proof: is_above_test(source, offset),
    });
    mentions.collect()
}

/// Whether a comment stands above a test, or at the head of a file of tests.
fn is_above_test(source: &Source, offset: usize) -> bool {
    // The cases of the suite are ordinary functions, which every adapter runs.
    if !source.is_test(offset) && !source.path.starts_with("conformance/") {
        return false;
    }
    let line_start = source.text[..offset].rfind('\n').map_or(0, |end| end + 1);
    if source.text[line_start..].trim_start().starts_with("//!") {
        return true;
    }
    let item = item_body(&source.code, offset).map_or("", |body| &source.code[offset..body]);
    find_word(item, "fn").next().is_some()
}

/// The ids that a text names, such as `INV-05`, written with two digits however they were written.
fn ids(text: &str) -> Vec<(usize, String)> {
    let mut ids = Vec::new();
    for (kind, _) in KINDS {
        for offset in find_word(text, kind) {
            let number = &text[offset + kind.len()..];
            let digits = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
            if let Ok(number) = number[..digits].parse::<u32>() {
                ids.push((offset, format!("{kind}{number:02}")));
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const REGISTERED: &str = "| id | must hold | tests |\n|---|---|---|\n| INV-01 | a | `a/tests/b.rs` |\n| INV-02 | b | not built yet |\n";

    fn messages(register: &str, test: &str) -> Vec<String> {
        let files = [Source::new(REGISTER, register), Source::new("a/tests/b.rs", test)];
        let failures = check(&files).into_iter().filter(|finding| finding.level == Level::Failure);
        failures.map(|finding| finding.message).collect()
    }

    #[test]
    fn an_invariant_without_a_test_is_caught() {
        assert!(messages(REGISTERED, "/// Conservation (INV-01).\n#[test]\nfn a() {}\n").is_empty());
        assert!(messages(REGISTERED, "//! INV-1\nuse a;\n").is_empty());
        let in_a_body = messages(REGISTERED, "fn a() {\n    // INV-01\n    b();\n}\n");
        assert!(in_a_body[0].starts_with("no test names INV-01"), "{in_a_body:?}");
    }

    #[test]
    fn a_test_that_names_an_unknown_invariant_is_caught() {
        let found = messages(REGISTERED, "/// INV-01, INV-09, PITFALL-3\nfn a() {}\n");
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("INV-09 has no row") && found[1].starts_with("PITFALL-03 has no row"));
    }

    #[test]
    fn a_row_that_names_the_wrong_file_is_caught() {
        let register = REGISTERED.replace("a/tests/b.rs", "a/tests/c.rs");
        let found = messages(&register, "/// INV-01\nfn a() {}\n");
        assert!(found[0].starts_with("no test in a/tests/c.rs names INV-01"), "{found:?}");
    }

    #[test]
    fn a_second_row_is_caught() {
        let register = format!("{REGISTERED}| INV-02 | c | not built yet |\n");
        let found = messages(&register, "/// INV-01\nfn a() {}\n");
        assert_eq!(found, ["a second row INV-02: give it a number"]);
    }

    #[test]
    fn a_behaviour_of_a_cluster_without_a_case_is_caught() {
        let rows = |path: &str| {
            (1..=CLUSTER_ROWS)
                .map(|number| format!("| CLUSTER-{number:02} | a | `{path}` |\n"))
                .collect::<String>()
        };
        let found = |register: &str| clusters(&[Source::new(REGISTER, register)]);
        let complete = rows("conformance/src/cases/a.rs");
        assert_eq!(found(&complete), []);
        assert_eq!(found(&complete.replace("CLUSTER-07", "RULE-07"))[0].message, "no row CLUSTER-07: add it");
        let by_unit_tests = found(&rows("core/src/a.rs"));
        assert_eq!(by_unit_tests.len() as u32, CLUSTER_ROWS);
        assert_eq!(by_unit_tests[0].message, "no case of the suite names CLUSTER-01: write one");
    }

    #[test]
    fn a_file_that_the_last_column_leaves_out_is_named() {
        let test = "/// RULE-01\nfn a() {}\n";
        let files = [
            Source::new(REGISTER, "| RULE-01 | a | `a/tests/b.rs` |\n"),
            Source::new("a/tests/b.rs", test),
            Source::new("a/tests/c.rs", test),
        ];
        let found = check(&files);
        assert!(found.len() == 1 && found[0].level == Level::Warning);
        assert!(found[0].message.starts_with("a test in a/tests/c.rs names RULE-01 as well"));
    }

    #[test]
    fn the_last_column_is_written_from_the_tests() {
        let test = Source::new("x/tests/y.rs", "/// INV-02\nfn a() {}\n");
        let expected = REGISTERED.replace("`a/tests/b.rs`", "not built yet");
        let expected = expected.replace("| b | not built yet |", "| b | `x/tests/y.rs` |");
        assert_eq!(rewrite(REGISTERED, &proofs(&[test])), expected);
    }
}
