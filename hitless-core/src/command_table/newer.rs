//! Commands that are newer than the server of `generated.rs`, and whose first argument is not their key.

use super::entry::{ADMIN, Entry, WRITE, at, command};

/// Source: the documentation of Redis 8 and Valkey 8. What is generated goes before.
pub(super) static NEWER: &[Entry] = &[
    // Of Valkey.
    command("COMMANDLOG", ADMIN, &[]),
    command("HOTKEYS", ADMIN, &[]),
    command("MSETEX", WRITE, &[at(1).counted(0, 1, 2)]),
    command("WAITAOF", 0, &[]),
];
