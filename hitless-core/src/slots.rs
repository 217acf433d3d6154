//! Hash slots: the unit in which a cluster moves its keys.

use std::fmt;
use std::str::FromStr;

use crate::endpoint::Endpoint;

/// The highest hash slot.
pub const MAX_SLOT: u16 = 16_383;

/// How many hash slots there are.
pub const SLOTS: u16 = MAX_SLOT + 1;

/// The hash slot of a key. If there is a `{` in it, and a `}` behind that with something in between, only what stands between the first
/// `{` and the first `}` behind it counts, so that keys can be made to share a slot.
///
/// ```
/// use hitless_core::cluster::key_slot;
///
/// assert_eq!(key_slot(b"123456789"), 12_739);
/// assert_eq!(key_slot(b"{user:7}:name"), key_slot(b"{user:7}:visits"));
/// ```
#[must_use]
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// The part of `key` that is hashed.
fn hash_tag(key: &[u8]) -> &[u8] {
    if !has_brace(key) {
        return key;
    }
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let behind = key.get(open + 1..)?;
        let close = behind.iter().position(|byte| *byte == b'}')?;
        behind.get(..close).filter(|tag| !tag.is_empty())
    };
    tag().unwrap_or(key)
}

/// Whether there is a `{` in `key`. Eight bytes at a time: most keys have none.
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const BRACES: u64 = u64::from_ne_bytes([b'{'; 8]);
    let (eights, rest) = key.as_chunks();
    let is_in = |eight: &[u8; 8]| {
        // A byte is zero where a brace is. To take one from it sets its highest bit, which was not set before. Where no byte is zero, none
        // borrows, and no such bit appears.
        let differences = u64::from_ne_bytes(*eight) ^ BRACES;
        differences.wrapping_sub(ONES) & !differences & HIGHS != 0
    };
    eights.iter().any(is_in) || rest.contains(&b'{')
}

/// CRC-16/XMODEM: the polynomial 0x1021, from 0. Source: the appendix of the cluster specification
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
fn crc16(bytes: &[u8]) -> u16 {
    let [last, third, second, first] = &CRC16;
    let (fours, rest) = bytes.as_chunks();
    // Four at a time, because each look waits for the one before: every command with a key goes this way.
    let crc = fours.iter().fold(0, |crc: u16, [a, b, c, d]| {
        let [high, low] = crc.to_be_bytes();
        let [a, b, c, d] = [high ^ a, low ^ b, *c, *d].map(usize::from);
        first[a] ^ second[b] ^ third[c] ^ last[d]
    });
    rest.iter().fold(crc, |crc, byte| (crc << 8) ^ last[usize::from((crc >> 8) as u8 ^ byte)])
}

/// What each byte does to the rest if none, one, two or three follow it.
const CRC16: [[u16; 256]; 4] = {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut follow = 0;
        while follow < 4 {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
                bit += 1;
            }
            tables[follow][byte] = crc;
            follow += 1;
        }
        byte += 1;
    }
    tables
};

/// A run of slots, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    start: u16,
    end: u16,
}

impl SlotRange {
    /// The slots from `start` to `end`.
    ///
    /// # Errors
    /// [`SlotError::Range`] when `end` comes before `start` or lies beyond [`MAX_SLOT`].
    pub const fn new(start: u16, end: u16) -> Result<Self, SlotError> {
        if start <= end && end <= MAX_SLOT { Ok(Self { start, end }) } else { Err(SlotError::Range) }
    }

    /// The first slot.
    #[must_use]
    pub const fn start(self) -> u16 {
        self.start
    }

    /// The last slot.
    #[must_use]
    pub const fn end(self) -> u16 {
        self.end
    }
}

impl FromStr for SlotRange {
    type Err = SlotError;

    /// Reads `5` or `5-9`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        Self::new(slot(start)?, slot(end)?)
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { start, end } if start == end => write!(f, "{start}"),
            Self { start, end } => write!(f, "{start}-{end}"),
        }
    }
}

fn slot(digits: &str) -> Result<u16, SlotError> {
    let digits = digits.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SlotError::Syntax);
    }
    // Digits that do not fit are a number, only too large a one.
    digits.parse().map_err(|_| SlotError::Range)
}

/// A set of slots, kept as sorted ranges that neither overlap nor touch: equal sets look equal, and none has
/// over 8192 ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotSet {
    ranges: Box<[SlotRange]>,
}

impl SlotSet {
    /// Reads slots and ranges separated by commas, such as `1,2-5`, in any order; spaces around them do not
    /// matter.
    ///
    /// # Errors
    /// Says whether the text or a number in it is wrong. A text without a slot is wrong.
    pub fn parse(text: &str) -> Result<Self, SlotError> {
        text.split(',').map(|piece| piece.trim().parse()).collect::<Result<_, _>>()
    }

    /// Whether `slot` is one of them.
    #[must_use]
    pub fn contains(&self, slot: u16) -> bool {
        let next = self.ranges.partition_point(|range| range.end < slot);
        self.ranges.get(next).is_some_and(|range| range.start <= slot)
    }

    /// How many slots these are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|range| usize::from(range.end - range.start) + 1).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The slots as ranges, ascending, with at least one slot missing between each and the next.
    #[must_use]
    pub fn ranges(&self) -> &[SlotRange] {
        &self.ranges
    }
}

impl FromIterator<SlotRange> for SlotSet {
    fn from_iter<I: IntoIterator<Item = SlotRange>>(ranges: I) -> Self {
        let mut ranges: Vec<SlotRange> = ranges.into_iter().collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.start <= kept.end + 1;
            if joins {
                kept.end = kept.end.max(next.end);
            }
            joins
        });
        Self { ranges: ranges.into() }
    }
}

impl FromStr for SlotSet {
    type Err = SlotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{range}")?;
        }
        Ok(())
    }
}

/// Slots that changed hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMove {
    /// The node that served them; older servers do not say.
    pub source: Option<Endpoint>,
    /// The node that serves them now.
    pub target: Endpoint,
    /// What moved.
    pub slots: SlotSet,
}

/// Why a text is not a set of slots. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// Neither a number nor two with a dash between them.
    #[error("expected slots and ranges such as 1,2-5")]
    Syntax,
    /// A slot beyond the last one, or a range that runs backwards.
    #[error("not a range of slots from 0 to 16383")]
    Range,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(start: u16, end: u16) -> SlotRange {
        SlotRange::new(start, end).unwrap()
    }

    /// The specification's own vector, and slots that a server has told (`CLUSTER KEYSLOT`, Redis 7). RULE-302
    #[test]
    fn keys_have_the_slots_that_servers_give_them() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for end in 0..10 {
            let bytes = &b"\xff\x00{\x80ab\x01}\x7f\xc3"[..end];
            assert_eq!(crc16(bytes), bit_by_bit(bytes), "{end} bytes");
        }
        for (key, slot) in [("", 0), ("foo", 12_182), ("bar", 5061), ("{}foo", 9500), ("foo{{bar}}", 4015)] {
            assert_eq!(key_slot(key.as_bytes()), slot, "{key}");
        }
    }

    /// As the specification has it.
    fn bit_by_bit(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, byte| {
            let crc = crc ^ (u16::from(*byte) << 8);
            (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
        })
    }

    /// The first tag counts alone, and one that is empty or open is none. RULE-302, CLUSTER-01
    #[test]
    fn the_first_hash_tag_decides() {
        let hashed = |key: &str| String::from_utf8(hash_tag(key.as_bytes()).to_vec()).unwrap();
        for (key, tag) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("}{a}", "a"),
            ("{a", "{a"),
            ("a}", "a}"),
            ("{", "{"),
            ("{}", "{}"),
            ("", ""),
        ] {
            assert_eq!(hashed(key), tag, "{key}");
        }
    }

    /// Wherever it stands, and beside whatever: neighbours in value, and bytes that borrow from those above them. RULE-302
    #[test]
    fn a_brace_is_found_everywhere() {
        for other in [0, 1, b'z', b'{', b'|', b'{' ^ 0x80, 0x7f, 0x80, 0xff] {
            for len in 0..20 {
                let mut key = vec![other; len];
                assert_eq!(has_brace(&key), key.contains(&b'{'), "{key:?}");
                for place in 0..len {
                    key[place] = b'{';
                    assert!(has_brace(&key), "{key:?}");
                    key[place] = other;
                }
            }
        }
    }

    #[test]
    fn reads_slots_and_ranges_in_any_order() {
        let slots = SlotSet::parse("7, 2-5 ,1,16383,4-6").unwrap();
        assert_eq!(slots.ranges(), [range(1, 7), range(16_383, 16_383)]);
        assert_eq!(slots.to_string(), "1-7,16383");
        assert_eq!(slots.len(), 8);
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", " ", ",", "1,", "x", "1-", "-1", "+1", "1-2-3", "1 2"] {
            assert_eq!(SlotSet::parse(text), Err(SlotError::Syntax), "{text:?}");
        }
        for text in ["16384", "0-16384", "5-4", "99999999999999999999"] {
            assert_eq!(SlotSet::parse(text), Err(SlotError::Range), "{text:?}");
        }
    }

    #[test]
    fn a_whole_keyspace_is_one_range() {
        let all: SlotSet = (0..=MAX_SLOT).rev().map(|slot| range(slot, slot)).collect();
        assert_eq!(all.ranges(), [range(0, MAX_SLOT)]);
    }

    fn ranges() -> impl Strategy<Value = Vec<(u16, u16)>> {
        // A narrow band, so that ranges meet; the last slots are in it.
        let band = MAX_SLOT - 63..=MAX_SLOT;
        proptest::collection::vec(
            (band.clone(), band).prop_map(|(a, b)| (a.min(b), a.max(b).min(a.min(b) + 9))),
            0..12,
        )
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(ranges in ranges()) {
            let model: BTreeSet<u16> = ranges.iter().flat_map(|&(start, end)| start..=end).collect();
            let slots: SlotSet = ranges.iter().map(|&(start, end)| range(start, end)).collect();

            prop_assert_eq!(slots.len(), model.len());
            prop_assert_eq!(slots.is_empty(), model.is_empty());
            prop_assert!((0..=MAX_SLOT).all(|slot| slots.contains(slot) == model.contains(&slot)));
            prop_assert!(slots.ranges().windows(2).all(|pair| pair[0].end() + 1 < pair[1].start()));
            if !slots.is_empty() {
                prop_assert_eq!(SlotSet::parse(&slots.to_string()), Ok(slots));
            }
        }

        #[test]
        fn parse_is_total(text in "[0-9, -]{0,24}") {
            if let Ok(slots) = SlotSet::parse(&text) {
                prop_assert!(!slots.is_empty());
            }
        }
    }
}
