//! What the tests of several machines share: the answer to a handshake, and tables in the documentation whose cells are found
//! out by tests.

use std::path::Path;

use resp3_codec::Frame;

/// What a server that accepts everything says to a handshake.
pub(crate) fn accepted_handshake() -> [Frame; 4] {
    let ok = || Frame::simple("OK");
    [Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(3))]), ok(), ok(), ok()]
}

/// Rewrites the tables instead of comparing them.
const BLESS: &str = "HITLESS_BLESS";

/// A table under `docs/`, which the documentation includes.
pub(crate) struct Table {
    file: &'static str,
    /// What stands above and below it.
    legend: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(file: &'static str, legend: &'static str, head: &[&str]) -> Self {
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let rule = vec!["---".to_owned(); head.len()];
        Self { file, legend, rows: vec![head, rule] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.rows[0].len(), "{cells:?}");
        self.rows.push(cells);
    }

    /// Fails if the file says anything else.
    pub(crate) fn check(self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(self.file);
        let lines = self.rows.iter().map(|cells| format!("| {} |", cells.join(" | ")).replace("|  |", "| |"));
        let table = format!("{}\n\n{}\n", lines.collect::<Vec<_>>().join("\n"), self.legend.trim());
        if std::env::var_os(BLESS).is_some() {
            std::fs::write(&path, &table).unwrap();
        }
        let documented = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            documented == table,
            "docs/{} says something else than the machine does; if the machine is right, write it anew with\n\
             {BLESS}=1 cargo test -p hitless-core --lib table\n\n{table}",
            self.file
        );
    }
}

/// What was said, and the state that follows unless it is the same: a cell.
pub(crate) fn cell(said: &[String], before: &str, after: &str) -> String {
    let mut words = said.to_vec();
    words.dedup();
    if before != after {
        words.push(format!("→ **{after}**"));
    }
    if words.is_empty() { "·".to_owned() } else { words.join(", ") }
}
