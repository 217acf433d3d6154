//! What a database is going through, and the notifications that tell of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use resp3_codec::Frame;

use super::machine::{CloseHow, EndpointId, ServerConn};

/// Where a `MOVING` sends its readers.
#[derive(Clone, Debug)]
pub enum Target {
    /// To an endpoint of this server: its address, or its host name for those who asked for names.
    Endpoint(EndpointId),
    /// To this text, whatever it is.
    Address(String),
    /// Nowhere in particular: a RESP3 null.
    Null,
    /// The notification ends before the target.
    Absent,
    /// Whatever this frame is.
    Frame(Frame),
}

/// Which of the connections that opted in are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// All, those who opt in while it lasts included.
    All,
    /// Only these.
    Only(Vec<ServerConn>),
    /// Those at this endpoint, those who opt in there while it lasts included.
    At(EndpointId),
    /// None: the event comes without a warning.
    None,
}

impl Recipients {
    pub(super) fn include(&self, endpoint: EndpointId, conn: ServerConn) -> bool {
        match self {
            Self::Only(conns) => conns.contains(&conn),
            Self::All | Self::At(_) | Self::None => self.include_newcomers(endpoint),
        }
    }

    pub(super) fn include_newcomers(&self, endpoint: EndpointId) -> bool {
        match self {
            Self::All => true,
            Self::At(there) => *there == endpoint,
            Self::Only(_) | Self::None => false,
        }
    }
}

/// Which connections to the source are closed when the time of a move is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closes {
    /// Every one, told or not, as real servers do.
    Everyone,
    /// Those that were told.
    Recipients,
    /// None: the old node goes on serving.
    Nobody,
}

/// From when on the source of a move refuses dials: until [`Server::restore`](super::Server::restore).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retires {
    /// From the announcement on.
    AtOnce,
    /// From so long after the announcement on: the address moves before its connections are closed.
    After(Duration),
    /// From the moment on at which its connections are closed.
    AtClose,
    /// Never: a virtual address that leads to the new node, or a node that stays.
    Never,
}

/// A move of an endpoint's clients to another one.
#[derive(Clone, Debug)]
pub struct Moving {
    pub(super) seq: Option<u64>,
    pub(super) time: Duration,
    pub(super) target: Target,
    pub(super) to: Recipients,
    pub(super) closes: Closes,
    pub(super) retires: Retires,
    pub(super) close_delay: Duration,
    pub(super) how: CloseHow,
}

impl Moving {
    /// A move announced for `time` from now, in whole seconds on the wire. All are told, all are closed when the time
    /// is over, and the source refuses dials from then on.
    #[must_use]
    pub fn new(target: Target, time: Duration) -> Self {
        Self {
            seq: None,
            time,
            target,
            to: Recipients::All,
            closes: Closes::Everyone,
            retires: Retires::AtClose,
            close_delay: Duration::ZERO,
            how: CloseHow::Fin,
        }
    }

    /// The same with this id instead of the next one of the database.
    #[must_use]
    pub fn with_seq(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self
    }

    /// The same, told to these only.
    #[must_use]
    pub fn told_to(mut self, to: Recipients) -> Self {
        self.to = to;
        self
    }

    /// The same, closing these when the time is over.
    #[must_use]
    pub fn closing(mut self, closes: Closes) -> Self {
        self.closes = closes;
        self
    }

    /// The same, refusing dials from another moment on.
    #[must_use]
    pub fn retiring(mut self, retires: Retires) -> Self {
        self.retires = retires;
        self
    }

    /// The same, closing this much later than announced.
    #[must_use]
    pub fn closing_late_by(mut self, delay: Duration) -> Self {
        self.close_delay = delay;
        self
    }

    /// The same, closing in another way.
    #[must_use]
    pub fn closing_by(mut self, how: CloseHow) -> Self {
        self.how = how;
        self
    }
}

/// A `MIGRATING`, `MIGRATED`, `FAILING_OVER`, `FAILED_OVER`, `SMIGRATING` or `SMIGRATED`.
#[derive(Clone, Debug)]
pub struct Notice {
    pub(super) seq: Option<u64>,
    pub(super) time: Duration,
    /// Shards, or ranges of slots, as they stand in the frame.
    pub(super) parts: Option<String>,
    pub(super) to: Recipients,
}

impl Notice {
    /// Of an operation that begins within `time`, in whole seconds on the wire; completions carry no time.
    /// Told to all, for shard 1.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self { seq: None, time, parts: Some("[\"1\"]".to_owned()), to: Recipients::All }
    }

    /// Of slots, as `"1,7-9"`, that migrate within `time`, which is not told.
    #[must_use]
    pub fn of_slots(slots: &str, time: Duration) -> Self {
        Self { parts: Some(slots.to_owned()), ..Self::new(time) }
    }

    /// The same with this id instead of the next one of the database.
    #[must_use]
    pub fn with_seq(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self
    }

    /// The same for these shards, sent as the text of a JSON array.
    #[must_use]
    pub fn with_shards(mut self, shards: &[&str]) -> Self {
        self.parts = Some(format!("[\"{}\"]", shards.join("\",\"")));
        self
    }

    /// The same without an element for shards.
    #[must_use]
    pub fn without_shards(mut self) -> Self {
        self.parts = None;
        self
    }

    /// The same, told to these only.
    #[must_use]
    pub fn told_to(mut self, to: Recipients) -> Self {
        self.to = to;
        self
    }
}

impl Default for Notice {
    fn default() -> Self {
        Self::new(Duration::ZERO)
    }
}

/// The form of a `SMIGRATED`. Servers send the first; clients have met the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotsForm {
    /// `[[source, target, slots], ..]`
    #[default]
    Triplets,
    /// `[[target, slots], ..]`
    Pairs,
    /// `["target slots", ..]`
    Texts,
    /// `source target slots ..`
    FlatTriplets,
    /// `target slots ..`
    FlatPairs,
}

impl SlotsForm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Triplets, Self::Pairs, Self::Texts, Self::FlatTriplets, Self::FlatPairs];
}

/// The operations that are announced and completed for a whole database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Migration,
    Failover,
    SlotMigration,
}

impl Operation {
    pub(super) fn opener(self) -> &'static str {
        match self {
            Self::Migration => "MIGRATING",
            Self::Failover => "FAILING_OVER",
            Self::SlotMigration => "SMIGRATING",
        }
    }

    pub(super) fn completion(self) -> &'static str {
        match self {
            Self::Migration => "MIGRATED",
            Self::Failover => "FAILED_OVER",
            Self::SlotMigration => "SMIGRATED",
        }
    }
}

/// An operation that was announced and is not completed.
#[derive(Clone, Debug)]
pub(super) struct OpenOperation {
    pub(super) operation: Operation,
    pub(super) seq: u64,
    pub(super) until: Instant,
    pub(super) notice: Notice,
}

/// A move under way.
#[derive(Clone, Debug)]
pub(super) struct LiveMove {
    pub(super) id: u64,
    pub(super) source: EndpointId,
    pub(super) seq: u64,
    pub(super) until: Instant,
    pub(super) close_at: Instant,
    pub(super) moving: Moving,
}

/// The last completion, kept for those who opt in later.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    pub(super) operation: Operation,
    pub(super) seq: u64,
    pub(super) notice: Notice,
}

/// Everything a database is going through.
#[derive(Debug)]
pub(super) struct Maintenance {
    next_seq: u64,
    next_move: u64,
    random: u64,
    pub(super) open: Vec<OpenOperation>,
    pub(super) moves: Vec<LiveMove>,
    pub(super) completion: Option<Completion>,
}

impl Maintenance {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            next_seq: 1,
            next_move: 0,
            random: seed,
            open: Vec::new(),
            moves: Vec::new(),
            completion: None,
        }
    }

    /// The id of the next event: the given one, or one after the last, with gaps as real databases have them.
    pub(super) fn claim_seq(&mut self, given: Option<u64>) -> u64 {
        let seq = given.unwrap_or(self.next_seq);
        self.next_seq = self.next_seq.max(seq.saturating_add(1 + self.draw() % 3));
        seq
    }

    pub(super) fn claim_move(&mut self) -> u64 {
        self.next_move += 1;
        self.next_move
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Seconds from `now` to `until` as servers write them: rounded up, 0 when it is over.
pub(super) fn seconds_left(now: Instant, until: Instant) -> i64 {
    let left = until.saturating_duration_since(now);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// `>4 MOVING seq time_s target`, or three elements when there is no target.
pub(super) fn moving_frame(seq: u64, seconds: i64, target: Option<Frame>) -> Frame {
    let mut elements = vec![word("MOVING"), number(seq), Frame::Integer(seconds)];
    elements.extend(target);
    Frame::Push(elements)
}

/// `>4 MIGRATING seq time_s shards`, or `>3 SMIGRATING seq slots`.
pub(super) fn opener_frame(operation: Operation, seq: u64, seconds: i64, notice: &Notice) -> Frame {
    let mut elements = vec![word(operation.opener()), number(seq)];
    if operation != Operation::SlotMigration {
        elements.push(Frame::Integer(seconds));
    }
    elements.extend(notice.parts.as_ref().map(|parts| Frame::Bulk(Bytes::from(parts.clone()))));
    Frame::Push(elements)
}

/// `>3 MIGRATED seq shards`.
pub(super) fn completion_frame(operation: Operation, seq: u64, notice: &Notice) -> Frame {
    let mut elements = vec![word(operation.completion()), number(seq)];
    elements.extend(notice.parts.as_ref().map(|parts| Frame::Bulk(Bytes::from(parts.clone()))));
    Frame::Push(elements)
}

/// `>3 SMIGRATED seq [[source, target, slots], ..]`, or another form of it. Each move is source, target and slots.
pub(super) fn slots_migrated_frame(seq: u64, form: SlotsForm, moves: &[[String; 3]]) -> Frame {
    let text = |text: &str| Frame::Bulk(Bytes::from(text.to_owned()));
    let all = |words: &[String]| -> Vec<Frame> { words.iter().map(|word| text(word)).collect() };
    let nested = |frames: &mut dyn Iterator<Item = Frame>| vec![Frame::Array(frames.collect())];
    let moved = match form {
        SlotsForm::Triplets => nested(&mut moves.iter().map(|words| Frame::Array(all(words)))),
        SlotsForm::Pairs => nested(&mut moves.iter().map(|words| Frame::Array(all(&words[1..])))),
        SlotsForm::Texts => nested(&mut moves.iter().map(|words| text(&words[1..].join(" ")))),
        SlotsForm::FlatTriplets => moves.iter().flat_map(|words| all(words)).collect(),
        SlotsForm::FlatPairs => moves.iter().flat_map(|words| all(&words[1..])).collect(),
    };
    let head = [word(Operation::SlotMigration.completion()), number(seq)];
    Frame::Push(head.into_iter().chain(moved).collect())
}

fn word(text: &'static str) -> Frame {
    Frame::Bulk(Bytes::from_static(text.as_bytes()))
}

fn number(seq: u64) -> Frame {
    Frame::Integer(i64::try_from(seq).unwrap_or(i64::MAX))
}
