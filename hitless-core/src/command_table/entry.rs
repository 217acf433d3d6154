//! The words of `generated.rs`: what a server says of a command.
//!
//! Source: the reply to COMMAND, with its key specifications, flags and tips
//! (<https://redis.io/docs/latest/develop/reference/key-specs/>, <https://redis.io/docs/latest/develop/reference/command-tips/>).

use super::Words;
use super::generated::COMMANDS;
use super::newer::NEWER;

/// A command or a subcommand.
#[derive(Debug)]
pub(crate) struct Entry {
    /// In upper case. A subcommand has the name of its command in front: `CLIENT LIST`.
    pub(crate) name: &'static str,
    flags: u8,
    pub(super) keys: &'static [Spec],
    pub(crate) policy: Option<Policy>,
    subcommands: &'static [Self],
}

/// It changes nothing.
pub(super) const READ: u8 = 1;
/// It may change something.
pub(super) const WRITE: u8 = 1 << 1;
/// It may wait at the server.
pub(super) const BLOCK: u8 = 1 << 2;
/// It is for those who run the server.
pub(super) const ADMIN: u8 = 1 << 3;

/// An entry of the table.
pub(super) const fn command(name: &'static str, flags: u8, keys: &'static [Spec]) -> Entry {
    Entry { name, flags, keys, policy: None, subcommands: &[] }
}

impl Entry {
    pub(super) const fn subcommands(self, subcommands: &'static [Self]) -> Self {
        Self { subcommands, ..self }
    }

    pub(super) const fn policy(self, ask: Ask, answer: Answer) -> Self {
        Self { policy: Some(Policy { ask, answer }), ..self }
    }

    /// What the table says of `command`; of its subcommand, if that is known.
    pub(crate) fn of(command: &impl Words) -> Option<&'static Self> {
        let entry = find(command.name())?;
        if entry.subcommands.is_empty() {
            return Some(entry);
        }
        let known = command.words().nth(1).and_then(|word| entry.subcommand(word));
        Some(known.unwrap_or(entry))
    }

    pub(crate) fn is_for_admins(&self) -> bool {
        self.flags & ADMIN != 0
    }

    /// Whether subcommands of it have keys; none of the table has that at another place than behind its own name.
    pub(super) fn subcommands_have_keys(&self) -> bool {
        self.subcommands.iter().any(|subcommand| !subcommand.keys.is_empty())
    }

    fn subcommand(&self, word: &[u8]) -> Option<&'static Self> {
        let is_named = |entry: &&Self| {
            let own = entry.name.as_bytes().get(self.name.len() + 1..);
            own.is_some_and(|own| own.eq_ignore_ascii_case(word))
        };
        self.subcommands.iter().find(is_named)
    }
}

/// To whom a command without keys goes, and what its replies are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) ask: Ask,
    pub(crate) answer: Answer,
}

/// The tip `request_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    AllNodes,
    AllShards,
    MultiShard,
    Special,
}

/// The tip `response_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is no such tip.
    Unsaid,
    OneSucceeded,
    AllSucceeded,
    LogicalAnd,
    Min,
    Sum,
    Special,
}

/// Where some of the keys of a command are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) begin: Begin,
    pub(super) find: Find,
    /// It does not say where all of them are.
    is_incomplete: bool,
}

/// Where keys begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// At a place, the name of the command being at 0.
    At(usize),
    /// Behind a word, which is looked for from a place on; from a negative one, counted from the end, backwards.
    Behind(&'static str, isize),
    Unknown,
}

/// Which they are from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// Up to so many behind the first, or, if negative, counted from the end; then of what follows one part in `limit`, if that is not 0.
    Range {
        last: isize,
        step: usize,
        limit: usize,
    },
    /// As many as a number says. Both places are counted from where keys begin.
    Counted {
        number: usize,
        first: usize,
        step: usize,
    },
    Unknown,
}

const ONE: Find = Find::Range { last: 0, step: 1, limit: 0 };

/// The key at this place.
pub(super) const fn at(place: usize) -> Spec {
    Spec { begin: Begin::At(place), find: ONE, is_incomplete: false }
}

/// The key behind this word.
pub(super) const fn behind(word: &'static str, from: isize) -> Spec {
    Spec { begin: Begin::Behind(word, from), find: ONE, is_incomplete: false }
}

/// Keys that are found by who knows the command.
pub(super) const fn unknown() -> Spec {
    Spec { begin: Begin::Unknown, find: Find::Unknown, is_incomplete: false }
}

impl Spec {
    pub(super) const fn to(self, last: isize, step: usize, limit: usize) -> Self {
        Self { find: Find::Range { last, step, limit }, ..self }
    }

    pub(super) const fn counted(self, number: usize, first: usize, step: usize) -> Self {
        Self { find: Find::Counted { number, first, step }, ..self }
    }

    pub(super) const fn incomplete(self) -> Self {
        Self { is_incomplete: true, ..self }
    }

    /// Whether only who knows the options of the command can tell where these keys are: a value may be called like the word.
    pub(super) fn needs_more(&self) -> bool {
        self.is_incomplete || !matches!(self.begin, Begin::At(_))
    }
}

/// A power of two, twice the number of commands at least: most names are found at the first look.
const PLACES: usize = 1024;

const NONE: u16 = u16::MAX;

/// The number of each command's entry, at the place that its name hashes to or the first free one behind.
static INDEX: [u16; PLACES] = {
    assert!(COMMANDS.len() <= PLACES / 2);
    let mut index = [NONE; PLACES];
    let mut number = 0;
    while number < COMMANDS.len() {
        let mut place = hash(COMMANDS[number].name.as_bytes());
        while index[place] != NONE {
            place = (place + 1) % PLACES;
        }
        index[place] = number as u16;
        number += 1;
    }
    index
};

/// Of the length, the first four and the last four letters; the same for upper and lower case.
const fn hash(name: &[u8]) -> usize {
    const UPPER: u32 = 0xdfdf_dfdf;
    let (first, last) = match (name, name.first_chunk(), name.last_chunk()) {
        (_, Some(first), Some(last)) => (*first, *last),
        ([first, rest @ ..], ..) => match rest {
            [] => ([*first, 0, 0, 0], [0; 4]),
            [second] => ([*first, *second, 0, 0], [0; 4]),
            [second, third, ..] => ([*first, *second, *third, 0], [0; 4]),
        },
        _ => ([0; 4], [0; 4]),
    };
    let (first, last) = (u32::from_le_bytes(first) & UPPER, u32::from_le_bytes(last) & UPPER);
    let hash = first.wrapping_mul(31).wrapping_add(last).wrapping_add(name.len() as u32);
    // The upper bits depend on all of the lower ones.
    (hash.wrapping_mul(0x9e37_79b1) >> 22) as usize % PLACES
}

/// The entry of a command, however it is written. Every command goes this way.
pub(super) fn find(name: &[u8]) -> Option<&'static Entry> {
    if name.len() > super::LONGEST {
        return None;
    }
    let mut place = hash(name);
    // The index has free places, so that this ends.
    while let Some(entry) = COMMANDS.get(usize::from(INDEX[place])) {
        // The names of the table are in upper case.
        if name.iter().map(u8::to_ascii_uppercase).eq(entry.name.bytes()) {
            return Some(entry);
        }
        place = (place + 1) % PLACES;
    }
    NEWER.iter().find(|entry| entry.name.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
