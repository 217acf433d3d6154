//! Verbs that print a list may be followed by `| head`.

use std::process::{Command, Stdio};

#[test]
fn a_list_that_nobody_reads_ends_quietly() {
    for verb in [["breakages", "--list"].as_slice(), &["conformance", "--list"], &["tidy"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);

        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let ended = command.args(verb).stdout(writer).stderr(Stdio::piped()).output().unwrap();

        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{verb:?}");
        assert_eq!(ended.status.code(), Some(141), "{verb:?} ends as other programs do on SIGPIPE");
    }
}
