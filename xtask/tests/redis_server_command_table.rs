//! The table of commands beside what a real `redis-server` says, which `HITLESS_REDIS_SERVER` names.

use std::process::Command;

/// Keys, reads and what blocks are what the server at hand says, for the commands that both know. RULE-306
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn the_table_of_commands_is_that_of_the_server() {
    let mut check = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = check.args(["command-table", "--check"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
