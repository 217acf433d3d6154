//! Reading a push. The canonical forms and the others that have been seen, newest first:
//!
//! | push | canonical, after the name | also |
//! |---|---|---|
//! | MOVING | `seq seconds "host:port"` | no endpoint: absent, any null, `""`, `null`, `none`, `?`, port 0 (old servers, test servers); no port |
//! | MIGRATING, FAILING_OVER | `seq seconds "[\"1\",\"2\"]"` | shards as an array or one id; without shards; without seconds |
//! | MIGRATED, FAILED_OVER | `seq "[\"1\",\"2\"]"` | the same; without shards |
//! | SMIGRATING | `seq "1,2-5"` | several elements; an array |
//! | SMIGRATED | `seq [[source, target, "1,2-5"], ..]` | `[[target, slots], ..]`, `["target slots", ..]`, `source target slots ..`, `target slots ..` |
//!
//! The name is a bulk or a simple string, integers may be decimal strings. Attributes of elements say nothing.

use std::slice;
use std::time::Duration;

use resp3_codec::Frame;

use super::{
    MAX_ANNOUNCED, MIN_ANNOUNCED, MoveTarget, Notification, NotificationError, NotificationKind, Problem,
    Seq, ShardIds,
};
use crate::endpoint::{Endpoint, EndpointError, split_port};
use crate::slots::{MAX_SLOT, SlotMove, SlotSet};

const DEFAULT_PORT: u16 = 6379;
/// More shards than a database can have, and longer ids than any: what exceeds this is not a list of shards.
const MAX_SHARDS: usize = 4_096;
const MAX_SHARD_ID: usize = 64;
/// No more moves can be told apart than there are slots.
const MAX_MOVES: usize = MAX_SLOT as usize + 1;

pub(super) fn parse(push: &[Frame]) -> Result<Option<Notification>, NotificationError> {
    let Some((name, elements)) = push.split_first() else { return Ok(None) };
    let (Frame::Bulk(name) | Frame::Simple(name)) = name.value() else { return Ok(None) };
    let Some(kind) = NotificationKind::from_wire(name) else { return Ok(None) };
    parse_elements(kind, elements).map(Some).map_err(|problem| NotificationError { kind, problem })
}

fn parse_elements(kind: NotificationKind, elements: &[Frame]) -> Result<Notification, Problem> {
    let (seq, rest) = elements.split_first().ok_or(Problem::Seq)?;
    let seq = decimal(seq).and_then(|seq| u64::try_from(seq).ok()).map(Seq).ok_or(Problem::Seq)?;
    Ok(match kind {
        NotificationKind::Moving => Notification::Moving {
            seq,
            grace: rest.first().and_then(decimal).map(announced).ok_or(Problem::Time)?,
            target: rest.get(1).map_or(Ok(MoveTarget::SameName), move_target)?,
        },
        NotificationKind::Migrating => {
            let (starts_in, shards) = start_and_shards(rest);
            Notification::Migrating { seq, starts_in, shards }
        }
        NotificationKind::FailingOver => {
            let (starts_in, shards) = start_and_shards(rest);
            Notification::FailingOver { seq, starts_in, shards }
        }
        NotificationKind::Migrated => Notification::Migrated { seq, shards: optional_shards(rest) },
        NotificationKind::FailedOver => Notification::FailedOver { seq, shards: optional_shards(rest) },
        NotificationKind::SlotsMigrating => {
            Notification::SlotsMigrating { seq, slots: announced_slots(rest)? }
        }
        NotificationKind::SlotsMigrated => {
            let (moves, skipped) = slot_moves(rest)?;
            Notification::SlotsMigrated { seq, moves, skipped }
        }
    })
}

// ---- scalars ----

fn text(frame: &Frame) -> Option<&str> {
    match frame.value() {
        Frame::Simple(text) | Frame::Bulk(text) | Frame::Verbatim { text, .. } => {
            std::str::from_utf8(text).ok()
        }
        _ => None,
    }
}

fn list(frame: &Frame) -> Option<&[Frame]> {
    match frame.value() {
        Frame::Array(elements) | Frame::Set(elements) => Some(elements),
        _ => None,
    }
}

/// An integer or a decimal string; one that does not fit becomes the largest of its sign.
fn decimal(frame: &Frame) -> Option<i128> {
    if let Frame::Integer(integer) = frame.value() {
        return Some((*integer).into());
    }
    let text = text(frame)?;
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(sign * digits.parse().unwrap_or(i128::MAX))
}

fn announced(seconds: i128) -> Duration {
    // Only a positive number can be beyond 64 bits once it has been bounded below.
    let seconds = u64::try_from(seconds.max(0)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).clamp(MIN_ANNOUNCED, MAX_ANNOUNCED)
}

// ---- MOVING ----

fn move_target(frame: &Frame) -> Result<MoveTarget, Problem> {
    if frame.is_null() {
        return Ok(MoveTarget::SameName);
    }
    let text = text(frame).ok_or(Problem::EndpointType)?;
    if is_placeholder(split_port(text).0) {
        return Ok(MoveTarget::SameName);
    }
    match Endpoint::parse(text, DEFAULT_PORT) {
        Ok(endpoint) => Ok(MoveTarget::Endpoint(endpoint)),
        Err(EndpointError::ZeroPort) => Ok(MoveTarget::SameName),
        Err(error) => Err(Problem::Endpoint(error)),
    }
}

/// What servers write for a host that they do not know or do not want to name.
fn is_placeholder(host: &str) -> bool {
    ["", "?"].contains(&host) || ["null", "none"].iter().any(|word| host.eq_ignore_ascii_case(word))
}

// ---- shards ----

fn start_and_shards(rest: &[Frame]) -> (Option<Duration>, ShardIds) {
    match rest {
        [] => Default::default(),
        // Test servers send `seq shard`: a lone decimal string is a shard and not a time.
        [lone] if matches!(lone.value(), Frame::Integer(_)) => {
            (decimal(lone).map(announced), ShardIds::default())
        }
        [lone] => (None, shards(lone)),
        [time, second, ..] => match decimal(time) {
            Some(seconds) => (Some(announced(seconds)), shards(second)),
            None if time.is_null() => (None, shards(second)),
            None => (None, shards(time)),
        },
    }
}

fn optional_shards(rest: &[Frame]) -> ShardIds {
    rest.first().map_or_else(ShardIds::default, shards)
}

fn shards(frame: &Frame) -> ShardIds {
    if let Some(elements) = list(frame) {
        // All or none: half a list would name too few.
        let ids: Option<Vec<String>> = elements.iter().take(MAX_SHARDS + 1).map(shard).collect();
        return bounded(ids.iter().flatten().map(String::as_str));
    }
    match (text(frame), shard(frame)) {
        (Some(text), _) if text.trim_start().starts_with('[') => bounded(json_array(text.trim())),
        (_, Some(id)) => bounded([id.as_str()]),
        _ => ShardIds::default(),
    }
}

fn shard(frame: &Frame) -> Option<String> {
    match frame.value() {
        Frame::Integer(id) => Some(id.to_string()),
        _ => text(frame).map(str::to_owned),
    }
}

/// The elements of a JSON array of strings or numbers. Ids hold neither commas nor quotes, so this is all
/// there is to it.
fn json_array(text: &str) -> impl Iterator<Item = &str> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inside.into_iter().flat_map(|inside| inside.split(',')).map(|piece| piece.trim().trim_matches('"'))
}

fn bounded<'a>(ids: impl IntoIterator<Item = &'a str>) -> ShardIds {
    let ids: Vec<&str> = ids.into_iter().filter(|id| !id.is_empty()).take(MAX_SHARDS + 1).collect();
    let is_plausible = ids.len() <= MAX_SHARDS && ids.iter().all(|id| id.len() <= MAX_SHARD_ID);
    if is_plausible { ids.into_iter().collect() } else { ShardIds::default() }
}

// ---- slots ----

fn announced_slots(rest: &[Frame]) -> Result<SlotSet, Problem> {
    let elements = match rest.first() {
        None => return Err(Problem::NoSlots),
        Some(first) => list(first).unwrap_or(rest),
    };
    let first = elements.first().ok_or(Problem::NoSlots)?;
    match Word::from(first) {
        Word::Slots(_) => Ok(leading_slots(&words(elements))),
        Word::Text(text) => SlotSet::parse(text).map_err(Problem::Slots),
        Word::Unnamed | Word::Other => Err(Problem::NoSlots),
    }
}

/// An element of a list of slot moves, by what it can be.
enum Word<'a> {
    Slots(SlotSet),
    /// An endpoint, if anything.
    Text(&'a str),
    /// No endpoint: a null or a placeholder.
    Unnamed,
    Other,
}

impl<'a> From<&'a Frame> for Word<'a> {
    fn from(frame: &'a Frame) -> Self {
        match frame.value() {
            Frame::Integer(slot) => SlotSet::parse(&slot.to_string()).map_or(Self::Other, Self::Slots),
            frame if frame.is_null() => Self::Unnamed,
            frame => text(frame).map_or(Self::Other, Self::from),
        }
    }
}

impl<'a> From<&'a str> for Word<'a> {
    fn from(text: &'a str) -> Self {
        match SlotSet::parse(text) {
            Ok(slots) => Self::Slots(slots),
            Err(_) if is_placeholder(split_port(text).0) => Self::Unnamed,
            Err(_) => Self::Text(text),
        }
    }
}

/// The elements as words: a list within them is taken apart, and so is a string that holds several words.
fn words(elements: &[Frame]) -> Vec<Word<'_>> {
    let mut words = Vec::with_capacity(elements.len());
    for element in elements {
        match (list(element), Word::from(element)) {
            (Some(inner), _) => words.extend(inner.iter().map(Word::from)),
            (None, Word::Text(text)) if text.contains(' ') => {
                words.extend(text.split_whitespace().map(Word::from))
            }
            (None, word) => words.push(word),
        }
    }
    words
}

fn leading_slots(words: &[Word<'_>]) -> SlotSet {
    let sets = words.iter().map_while(|word| match word {
        Word::Slots(slots) => Some(slots),
        _ => None,
    });
    sets.flat_map(|slots| slots.ranges().iter().copied()).collect()
}

/// The moves, and how many entries are not one.
fn slot_moves(rest: &[Frame]) -> Result<(Vec<SlotMove>, usize), Problem> {
    let entries = match rest.first() {
        None => return Err(Problem::NoMoves),
        Some(first) => list(first).unwrap_or(rest),
    };
    let is_nested =
        |entry: &Frame| list(entry).is_some() || text(entry).is_some_and(|text| text.contains(' '));
    let mut moves = Moves::default();
    match entries.first() {
        None => return Err(Problem::NoMoves),
        Some(first) if is_nested(first) => {
            entries
                .iter()
                .for_each(|entry| moves.add(&words(list(entry).unwrap_or_else(|| slice::from_ref(entry)))));
        }
        Some(_) => moves.add_flat(&words(entries)),
    }
    Ok((moves.valid, moves.skipped))
}

#[derive(Default)]
struct Moves {
    valid: Vec<SlotMove>,
    skipped: usize,
}

impl Moves {
    /// Adds entries that follow each other without brackets.
    fn add_flat(&mut self, mut words: &[Word<'_>]) {
        if !matches!(words, [_, Word::Slots(_), ..]) {
            return words.chunks(3).for_each(|triplet| self.add(triplet));
        }
        // A target and all its slots, until the next target.
        while let Some((_, rest)) = words.split_first() {
            let slots = rest.iter().take_while(|word| matches!(word, Word::Slots(_))).count();
            let (entry, others) = words.split_at(1 + slots);
            self.add(entry);
            words = others;
        }
    }

    fn add(&mut self, entry: &[Word<'_>]) {
        match slot_move(entry) {
            Some(valid) if self.valid.len() < MAX_MOVES => self.valid.push(valid),
            _ => self.skipped += 1,
        }
    }
}

/// `source target slots..` or `target slots..`.
fn slot_move(words: &[Word<'_>]) -> Option<SlotMove> {
    let (source, rest) = match words {
        [_, Word::Slots(_), ..] => (None, words),
        [Word::Unnamed, rest @ ..] => (None, rest),
        [Word::Text(source), rest @ ..] => (Some(Endpoint::parse(source, DEFAULT_PORT).ok()?), rest),
        _ => return None,
    };
    let [Word::Text(target), slots @ ..] = rest else { return None };
    let slots = leading_slots(slots);
    let target = Endpoint::parse(target, DEFAULT_PORT).ok()?;
    (!slots.is_empty()).then_some(SlotMove { source, target, slots })
}
