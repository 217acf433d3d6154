//! Every case of the conformance suite is in its list, since one that is not never runs.

use super::Finding;
use super::source::Source;
use crate::suite;

pub(super) const DIRECTORY: &str = "conformance/src/cases/";

/// Looks for the cases, which are the public functions of the files of cases, in the list.
pub(super) fn listed(files: &[Source]) -> Vec<Finding> {
    let Some(list) = files.iter().find(|file| file.path == suite::PATH) else {
        return vec![Finding::new(suite::PATH, 1, "missing")];
    };
    let listed = match suite::cases(list) {
        Ok(listed) => listed,
        Err(why) => return vec![Finding::new(suite::PATH, 1, why)],
    };
    let mut findings = Vec::new();
    for file in files {
        let Some(group) = group(file) else { continue };
        for (offset, name) in public_functions(file) {
            let id = format!("{group}::{name}");
            if listed.iter().all(|case| case.id != id) {
                let message =
                    format!("the case `{id}` never runs: list it in {}, or make it private", suite::PATH);
                findings.push(Finding::at(file, offset, message));
            }
        }
    }
    findings
}

/// The group whose cases a file has: `cases/moving.rs` has those of `moving`.
fn group(file: &Source) -> Option<&str> {
    let group = file.path.strip_prefix(DIRECTORY)?.strip_suffix(".rs")?;
    (group != "mod").then_some(group)
}

fn public_functions(file: &Source) -> impl Iterator<Item = (usize, &str)> {
    file.find("pub fn").filter_map(|start| {
        let name = file.code[start + "pub fn".len()..].trim_start();
        let end = name.find(|character: char| character != '_' && !character.is_alphanumeric())?;
        Some((start, &name[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "macro_rules! for_each_case {\n    () => { $callback! { [$($argument)*] moving { fast, ; slow: \"why\", } } };\n}\n";

    fn findings(path: &str, text: &str) -> Vec<(String, usize, String)> {
        let files = [Source::new(suite::PATH, LIST), Source::new(path, text)];
        listed(&files).into_iter().map(|finding| (finding.path, finding.line, finding.message)).collect()
    }

    #[test]
    fn a_case_that_is_not_listed_is_named_with_its_file() {
        let text = "pub fn fast(host: &dyn Host) {}\npub fn slow(host: &dyn Host) {}\npub fn fas(host: &dyn Host) {}\nfn part() {}\n";
        let found = findings("conformance/src/cases/moving.rs", text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), found[0].1), ("conformance/src/cases/moving.rs", 3));
        assert!(found[0].2.contains("`moving::fas`"), "{found:?}");
    }

    #[test]
    fn a_file_without_any_listed_case_is_caught() {
        let found = findings("conformance/src/cases/leases.rs", "pub fn fast(host: &dyn Host) {}\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].2.contains("`leases::fast`"), "{found:?}");
    }

    #[test]
    fn what_the_cases_share_is_no_case() {
        assert_eq!(findings("conformance/src/cases/mod.rs", "pub fn shared() {}\n"), []);
        assert_eq!(findings("conformance/src/world.rs", "pub fn other() {}\n"), []);
    }
}
