//! The seeded breakages still apply, their tests exist, and nothing that is built has too few.

use super::invariants::{self, REGISTER};
use super::source::{Source, find_word};
use super::{Finding, manifest};
use crate::breakages::apply;
use crate::breakages::list::{self, Breakage, PATH, Test};

/// Looks at every breakage, and at every row of the register that says where its tests are.
pub(super) fn check(files: &[Source]) -> Vec<Finding> {
    let Some(list) = files.iter().find(|file| file.path == PATH) else {
        return vec![Finding::new(PATH, 1, "missing")];
    };
    let breakages = match list::parse(&list.text) {
        Ok(breakages) => breakages,
        Err(error) => return vec![Finding::new(PATH, 1, error)],
    };
    let mut findings = Vec::new();
    let (built, planned) = invariants::built(files);
    let is_known = |id: &String| planned.contains(id) || built.iter().any(|(known, _)| known == id);
    for breakage in &breakages {
        let mut find =
            |why: String| findings.push(Finding::new(PATH, breakage.line, format!("{}: {why}", breakage.id)));
        does_not_apply(files, breakage).into_iter().for_each(&mut find);
        if !exists(files, &breakage.test) {
            find(format!("there is no test {}", breakage.test));
        }
        let unknown = breakage.stands_for.iter().filter(|id| !is_known(id));
        unknown.for_each(|id| find(format!("{id} has no row in {REGISTER}")));
    }
    for (id, line) in built {
        let found = breakages.iter().filter(|breakage| breakage.stands_for.contains(&id)).count();
        let needed = invariants::breakages_needed(&id);
        if found < needed {
            let message = format!(
                "{id} has tests, and {found} of {needed} breakages in {PATH} that show that they would notice: add one"
            );
            findings.push(Finding::new(REGISTER, line, message));
        }
    }
    findings
}

fn does_not_apply(files: &[Source], breakage: &Breakage) -> Option<String> {
    let Some(source) = files.iter().find(|file| file.path == breakage.edit.file) else {
        return Some(format!("there is no file {}", breakage.edit.file));
    };
    apply(source, &breakage.edit).err()
}

/// Whether the package has a function of the test's name. (The cases of the suite become tests by a macro.)
fn exists(files: &[Source], test: &Test) -> bool {
    let named = format!("\"{}\"", test.package);
    let is_package =
        |entry: &manifest::Entry| entry.table == "package" && entry.key == "name" && entry.value == named;
    let manifests = files.iter().filter_map(|file| Some((file, file.path.strip_suffix("Cargo.toml")?)));
    let mut packages = manifests.filter(|(file, _)| manifest::entries(&file.text).iter().any(is_package));
    let Some((_, directory)) = packages.next() else { return false };
    let name = test.path.rsplit("::").next().unwrap_or(&test.path);
    let mut sources = files.iter().filter(|file| file.path.starts_with(directory) && file.is_rust());
    sources.any(|file| {
        let mut functions = file.find_all("fn").map(|start| file.code[start + "fn".len()..].trim_start());
        functions.any(|rest| find_word(rest, name).next() == Some(0))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const CODE: &str = "fn add() { a + b }\n#[cfg(test)]\nmod tests {\n fn it_adds() {}\n}\n";
    const LIST: &str = "[a]\nSubtracts.\nbreaks: PITFALL-01\nin: a/src/lib.rs fn add\n- a + b\n+ a - b\ntest: p lib tests::it_adds\n";
    const ROWS: &str = "| PITFALL-01 | a | `a/src/lib.rs` |\n| INV-02 | b | not built yet |\n";

    fn findings(code: &str, list: &str, rows: &str) -> Vec<(Level, String)> {
        let files = [
            Source::new("a/Cargo.toml", "[package]\nname = \"p\"\n"),
            Source::new("a/src/lib.rs", code),
            Source::new(PATH, list),
            Source::new(REGISTER, rows),
        ];
        check(&files).into_iter().map(|finding| (finding.level, finding.message)).collect()
    }

    #[test]
    fn a_list_that_fits_is_fine() {
        assert_eq!(findings(CODE, LIST, ROWS), []);
    }

    #[test]
    fn a_breakage_that_no_longer_applies_is_caught() {
        let found = findings(&CODE.replace("a + b", "b + a"), LIST, ROWS);
        assert_eq!(found, [(Level::Failure, "a: `add` in a/src/lib.rs no longer has `a + b`".to_owned())]);
        let found = findings(CODE, &LIST.replace("a/src/lib.rs", "a/src/c.rs"), ROWS);
        assert_eq!(found, [(Level::Failure, "a: there is no file a/src/c.rs".to_owned())]);
    }

    #[test]
    fn a_test_that_is_gone_is_caught() {
        for gone in [LIST.replace("it_adds", "it_subtracts"), LIST.replace("test: p", "test: q")] {
            let found = findings(CODE, &gone, ROWS);
            assert!(found.len() == 1 && found[0].1.starts_with("a: there is no test"), "{found:?}");
        }
    }

    #[test]
    fn what_is_built_has_a_breakage_and_what_is_broken_a_row() {
        let found = findings(CODE, &LIST.replace("PITFALL-01", "INV-02, INV-03"), ROWS);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1, "a: INV-03 has no row in INVARIANTS.md");
        assert!(found[1].1.starts_with("PITFALL-01 has tests"), "{found:?}");
    }

    #[test]
    fn an_invariant_needs_two_breakages_and_a_rule_none() {
        let rows = "| INV-01 | a | `a/src/lib.rs` |\n| RULE-01 | b | `a/src/lib.rs` |\n";
        let list = LIST.replace("PITFALL-01", "INV-01");
        let found = findings(CODE, &list, rows);
        assert_eq!(found.len(), 1);
        assert!(found[0].1.starts_with("INV-01 has tests, and 1 of 2 breakages"), "{found:?}");
        assert_eq!(findings(CODE, &format!("{list}{}", list.replace("[a]", "[b]")), rows), []);
    }
}
