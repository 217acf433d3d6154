//! R4 and R5: what the manifests must say, and features that only add.

use super::Finding;
use super::manifest;
use super::source::{Source, closing, find_word};

/// R4: the workspace forbids `unsafe`, and every member takes the lints of the workspace.
pub(super) fn workspace(files: &[Source]) -> Vec<Finding> {
    let manifest = |path: &str| files.iter().find(|file| file.path == path);
    let Some(root) = manifest("Cargo.toml") else {
        return vec![Finding::new("Cargo.toml", 1, "missing")];
    };
    let mut findings = Vec::new();
    let forbids = manifest::entries(&root.text).iter().any(|entry| {
        let is_forbidden = entry.value == "\"forbid\"" || entry.value.contains("level = \"forbid\"");
        entry.table == "workspace.lints.rust" && entry.key == "unsafe_code" && is_forbidden
    });
    if !forbids {
        findings.push(Finding::new(
            "Cargo.toml",
            1,
            "write `unsafe_code = \"forbid\"` under [workspace.lints.rust]",
        ));
    }
    for member in manifest::members(&root.text) {
        let path = format!("{member}/Cargo.toml");
        let inherits = manifest(&path).is_some_and(|file| {
            let entries = manifest::entries(&file.text);
            entries
                .iter()
                .any(|entry| entry.table == "lints" && entry.key == "workspace" && entry.value == "true")
        });
        if !inherits {
            findings.push(Finding::new(path, 1, "write `workspace = true` under [lints]"));
        }
    }
    findings
}

/// R5: a feature adds API; nothing exists only while a feature is off.
pub(super) fn features(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for start in ["cfg", "cfg_attr"].into_iter().flat_map(|word| source.find_all(word)) {
        let Some(open) = source.code[start..].find('(').map(|length| start + length) else { continue };
        let Some(close) = closing(&source.code, open) else { continue };
        for not in find_word(&source.code[open..close], "not").map(|offset| open + offset) {
            let Some(end) = closing(&source.code, not + "not".len()) else { continue };
            if find_word(&source.code[not..end], "feature").next().is_some() {
                let message = "features only add API: nothing may depend on a feature being off";
                findings.push(Finding::at(source, not, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str =
        "[workspace]\nmembers = [\"a\", \"b\"]\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
    const MEMBER: &str = "[package]\nname = \"a\"\n[lints]\nworkspace = true\n";

    #[test]
    fn a_member_without_the_lints_is_caught() {
        let member = |path: &str, text: &str| Source::new(path, text);
        let root = || Source::new("Cargo.toml", ROOT);
        assert!(
            workspace(&[root(), member("a/Cargo.toml", MEMBER), member("b/Cargo.toml", MEMBER)]).is_empty()
        );
        let findings =
            workspace(&[root(), member("a/Cargo.toml", MEMBER), member("b/Cargo.toml", "[package]\n")]);
        assert_eq!(
            findings.iter().map(|finding| finding.path.as_str()).collect::<Vec<_>>(),
            ["b/Cargo.toml"]
        );
    }

    #[test]
    fn unsafe_code_that_is_not_forbidden_is_caught() {
        let root = Source::new("Cargo.toml", ROOT.replace("forbid", "warn").replace("[\"a\", \"b\"]", "[]"));
        assert_eq!(workspace(&[root]).len(), 1);
    }

    #[test]
    fn code_for_a_feature_that_is_off_is_caught() {
        let text = "#[cfg(feature = \"a\")]\nfn a() {}\n#[cfg(not(feature = \"a\"))]\nfn b() {}\n\
                    #[cfg(all(unix, not(any(test, feature = \"a\"))))]\nfn c() {}\n#[cfg(not(unix))]\nfn d() {}\n";
        let findings = features(&Source::new("hitless-core/src/lib.rs", text));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [3, 5]);
    }
}
