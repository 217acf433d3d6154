use resp3_codec::{Command, cmd};

use super::*;
use crate::command_table::{Blocker, LONGEST, Verdict, verdict};

/// Commands and subcommands.
fn all() -> impl Iterator<Item = &'static Entry> {
    COMMANDS.iter().flat_map(|entry| std::iter::once(entry).chain(entry.subcommands))
}

fn of_name(name: &str) -> Command {
    let mut words = name.split(' ');
    cmd(words.next().unwrap()).args(words)
}

#[test]
fn every_command_is_found_in_any_case_and_no_other_is() {
    assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name), "sorted, each once");
    for entry in all() {
        for name in [entry.name.to_owned(), entry.name.to_lowercase()] {
            let found = Entry::of(&of_name(&name)).unwrap();
            assert!(std::ptr::eq(found, entry), "{name}: {found:?}");
        }
        let longer = format!("{}X", entry.name);
        let found = Entry::of(&of_name(&longer));
        assert!(
            found.is_none_or(|found| longer.starts_with(found.name) && found.name != entry.name),
            "{longer}"
        );
    }
    for name in ["", "X", "GET\r", "get.", "GEORADIUSBYMEMBER_RO_OR_LONGER"] {
        assert!(Entry::of(&cmd(name)).is_none(), "{name}");
    }
    assert_eq!(COMMANDS.iter().map(|entry| entry.name.len()).max(), Some(LONGEST));
}

/// The hash leaves out the bit that is the case of a letter. In any other byte it makes another byte.
#[test]
fn only_letters_have_two_cases() {
    for name in all().map(|entry| entry.name).filter(|name| !name.contains(' ')) {
        for place in 0..name.len() {
            let mut other = name.as_bytes().to_vec();
            other[place] ^= 0x20;
            let is_letter = name.as_bytes()[place].is_ascii_alphabetic();
            assert_eq!(find(&other).is_some(), is_letter, "{}", other.escape_ascii());
        }
    }
}

/// What is listed by hand is newer than the server of the table: a command that is in both is to be taken off the list.
#[test]
fn newer_commands_are_found_and_in_no_other_list() {
    for entry in NEWER {
        assert!(std::ptr::eq(find(entry.name.to_lowercase().as_bytes()).unwrap(), entry), "{}", entry.name);
    }
}

/// Where keys of newer subcommands are looked for is where those of the known ones are.
#[test]
fn the_keys_of_subcommands_follow_their_names() {
    for entry in COMMANDS.iter().flat_map(|entry| entry.subcommands) {
        assert!(matches!(entry.keys, [] | [Spec { begin: Begin::At(2), find: ONE, .. }]), "{entry:?}");
    }
}

/// Reads that change nothing, though the server does not call them so, and those that it calls so which may be sent once only.
const NOT_FLAGGED: [&str; 4] = ["ECHO", "INFO", "PING", "TIME"];
const SENT_ONCE: [&str; 6] =
    ["LOLWUT", "MEMORY USAGE", "OBJECT ENCODING", "OBJECT FREQ", "OBJECT IDLETIME", "OBJECT REFCOUNT"];

/// What may be repeated is what the server calls read-only, but for what is named here. RULE-306
#[test]
fn reads_are_those_of_the_server() {
    for entry in all() {
        // The server flags the subcommands of XINFO.
        let is_container = !entry.subcommands.is_empty() || entry.name == "XINFO HELP";
        let is_read = verdict(&of_name(entry.name)) == Verdict::ReadOnly;
        let expected = match entry.name {
            name if NOT_FLAGGED.contains(&name) => true,
            name if SENT_ONCE.contains(&name) => false,
            _ if is_container => is_read,
            _ => entry.flags & READ != 0,
        };
        assert_eq!(is_read, expected, "{}", entry.name);
        assert!(!is_read || entry.flags & WRITE == 0, "{}", entry.name);
    }
}

/// The commands that wait for elements are those that the server says may block. RULE-306
#[test]
fn commands_that_block_are_those_of_the_server() {
    for entry in all() {
        let command = match entry.name {
            "XREAD" | "XREADGROUP" => cmd(entry.name).arg("BLOCK").arg(0),
            name => of_name(name),
        };
        assert_eq!(Blocker::of(&command).is_some(), entry.flags & BLOCK != 0, "{}", entry.name);
    }
}
