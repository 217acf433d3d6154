//! The two adapters are the same, name for name: what they export, and their examples.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

const ADAPTERS: [&str; 2] = ["hitless-tokio", "hitless-async-std"];

/// A directory or file of each adapter.
fn paths(part: &str) -> [std::path::PathBuf; 2] {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    ADAPTERS.map(|adapter| workspace.join(adapter).join(part))
}

/// The statements by which a crate exports names, each on one line.
fn exports(source: &str) -> BTreeSet<String> {
    let statements = source.split("\npub ").skip(1).map(|rest| {
        let statement = rest.split_once(';').map_or(rest, |(statement, _)| statement);
        statement.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    statements.collect()
}

/// The files below a directory.
fn files(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn both_adapters_export_the_same_names() {
    let [tokio, async_std] = paths("src/lib.rs").map(|path| exports(&std::fs::read_to_string(path).unwrap()));
    assert!(tokio.contains("type Client = driver::Client<Adapter>"), "{tokio:?}");
    assert_eq!(tokio, async_std);
}

/// Both have the first example, the one whose networks read on either, and the workload, by which upgrades are tried. The others
/// show the same names on tokio alone.
#[test]
fn both_adapters_have_the_examples_to_begin_with() {
    let [tokio, async_std] = paths("examples").map(|path| files(&path));
    assert_eq!(async_std, ["network", "quick_start.rs", "workload"].map(str::to_owned).into());
    assert!(async_std.is_subset(&tokio), "{tokio:?}");
}
