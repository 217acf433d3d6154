//! R2: no clock and no hash order where the same seed must give the same outputs.

use super::Finding;
use super::source::Source;

/// Directories whose code meets the real world only.
const OUTSIDE: &[&str] = &["xtask/"];

/// What clippy.toml must ban; `iter_over_hash_type` sees the `for` loops.
const BANS: &[&str] = &[
    "std::time::Instant::now",
    "std::time::Instant::elapsed",
    "std::time::SystemTime::now",
    "std::collections::HashMap::iter",
    "std::collections::HashMap::iter_mut",
    "std::collections::HashMap::keys",
    "std::collections::HashMap::values",
    "std::collections::HashMap::values_mut",
    "std::collections::HashMap::drain",
    "std::collections::HashSet::iter",
    "std::collections::HashSet::drain",
];

/// R2: only the files that are there for it read a clock.
pub(super) fn clock(source: &Source) -> Vec<Finding> {
    if !source.is_rust() || may_read_a_clock(source) {
        return Vec::new();
    }
    let hits = ["Instant::now", "SystemTime::now"].into_iter().flat_map(|name| {
        source.find(name).map(move |offset| {
            let message =
                format!("`{name}` does not belong here: take `now: Instant` as the first parameter");
            Finding::at(source, offset, message)
        })
    });
    hits.collect()
}

/// R2: only those files may switch the ban off.
pub(super) fn exceptions(source: &Source) -> Vec<Finding> {
    if !source.is_rust() || may_read_a_clock(source) {
        return Vec::new();
    }
    let hits = ["disallowed_methods", "iter_over_hash_type"].into_iter().flat_map(|lint| {
        source.find(lint).map(move |offset| {
            let message =
                format!("`clippy::{lint}` may not be switched off here: the clock belongs to runtime.rs");
            Finding::at(source, offset, message)
        })
    });
    hits.collect()
}

/// R2: clippy.toml still bans what it must.
pub(super) fn clippy(files: &[Source]) -> Vec<Finding> {
    let Some(file) = files.iter().find(|file| file.path == "clippy.toml") else {
        return vec![Finding::new("clippy.toml", 1, "missing: it holds the ban on clocks and hash order")];
    };
    let missing = BANS.iter().filter(|path| !file.text.contains(&format!("path = \"{path}\"")));
    missing
        .map(|path| Finding::new("clippy.toml", 1, format!("ban `{path}` under disallowed-methods")))
        .collect()
}

fn may_read_a_clock(source: &Source) -> bool {
    let path = source.path.as_str();
    let is_outside =
        OUTSIDE.iter().any(|directory| path.starts_with(directory)) || path.contains("/examples/");
    let is_suites_clock = path.starts_with("conformance/src/") && path.ends_with("/clock.rs");
    is_outside || is_suites_clock || path.ends_with("/runtime.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: &str = "fn a() {\n    let now = std::time::Instant::now();\n}\n\
                         #[cfg(test)]\nmod tests { fn b() { Instant::now(); } }\n";
    const SWITCHES_OFF: &str =
        "#[expect(\n    clippy::disallowed_methods,\n    reason = \"x\"\n)]\nfn a() {}\n";

    #[test]
    fn a_clock_is_caught_where_it_does_not_belong() {
        let findings = clock(&Source::new("hitless-core/src/client.rs", READS));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
        for path in [
            "hitless-tokio/src/runtime.rs",
            "conformance/src/net/clock.rs",
            "xtask/src/main.rs",
            "a/tests/b.rs",
        ] {
            assert!(clock(&Source::new(path, READS)).is_empty(), "{path}");
        }
    }

    #[test]
    fn switching_the_ban_off_is_caught() {
        let findings = exceptions(&Source::new("conformance/src/server.rs", SWITCHES_OFF));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
        assert!(exceptions(&Source::new("hitless-tokio/src/runtime.rs", SWITCHES_OFF)).is_empty());
    }

    #[test]
    fn a_ban_that_is_gone_is_caught() {
        let whole: String = BANS.iter().map(|path| format!("{{ path = \"{path}\" }},\n")).collect();
        assert!(clippy(&[Source::new("clippy.toml", whole.as_str())]).is_empty());
        let without = whole.replace("SystemTime", "Nothing");
        assert_eq!(clippy(&[Source::new("clippy.toml", without)]).len(), 1);
        assert_eq!(clippy(&[]).len(), 1);
    }
}
