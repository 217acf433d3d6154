//! Commands that are newer than the server of `generated.rs`, and whose first argument is not their key.

use super::entry::{ADMIN, Entry, READ, WRITE, at, command};

/// Source: the documentation of Redis 8, its modules among it, and Valkey 8. What is generated goes before.
pub(super) static NEWER: &[Entry] = &[
    // Of Valkey.
    command("COMMANDLOG", ADMIN, &[]),
    // The cursor of FT.AGGREGATE is where the name of the index leads.
    command("FT.CONFIG", ADMIN, &[]),
    command("FT.CURSOR", 0, &[at(2)]),
    command("FT._LIST", 0, &[]),
    command("HOTKEYS", ADMIN, &[]),
    command("JSON.DEBUG", 0, &[]).subcommands(&[command("JSON.DEBUG MEMORY", READ, &[at(2)])]),
    command("MSETEX", WRITE, &[at(1).counted(0, 1, 2)]),
    command("WAITAOF", 0, &[]),
];
