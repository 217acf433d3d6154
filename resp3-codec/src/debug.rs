//! `Debug` of frames: what is in them, cut before it drowns the line it is on.

use std::cell::Cell;
use std::fmt;

use crate::frame::Frame;

/// Bytes that are shown of a string.
const TEXT: usize = 128;
/// Elements or pairs that are shown of an aggregate.
const ELEMENTS: usize = 32;
/// Aggregates and attributes inside each other that are shown with what they hold.
const LEVELS: usize = 8;
/// Frames that are shown of a tree.
const FRAMES: usize = 128;

/// Shows the variant and its value: `Bulk("hello")`, `Array([Integer(1), Null])`, `Map({Simple("a"): Integer(1)})`.
/// Strings are escaped; one that is not UTF-8 is shown as a byte string, `b"\xff"`.
///
/// The output is bounded, whatever the frame holds. It shows the first 128 bytes of a string, then its length if it is
/// longer; the first 32 elements of an aggregate, or pairs of a map, then the number of the others; 8 levels of nesting;
/// and 128 frames altogether. It is always shorter than 128 KiB.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = Cell::new(FRAMES);
        Shown { frame: self, room: Room { levels: LEVELS, frames: &frames } }.fmt(f)
    }
}

/// What may still be shown.
#[derive(Clone, Copy)]
struct Room<'a> {
    levels: usize,
    frames: &'a Cell<usize>,
}

impl Room<'_> {
    /// Room inside an aggregate.
    fn inside(self) -> Self {
        Self { levels: self.levels.saturating_sub(1), ..self }
    }

    /// Whether there is room for `count` more frames, which is then taken.
    fn take(self, count: usize) -> bool {
        let left = self.frames.get().checked_sub(count).filter(|_| self.levels > 0);
        left.inspect(|left| self.frames.set(*left)).is_some()
    }
}

struct Shown<'a> {
    frame: &'a Frame,
    room: Room<'a>,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = self.room;
        let elements = |items| Elements { items, room };
        match self.frame {
            Frame::Simple(text) => f.debug_tuple("Simple").field(&Text(text)).finish(),
            Frame::Error(text) => f.debug_tuple("Error").field(&Text(text)).finish(),
            Frame::Integer(number) => f.debug_tuple("Integer").field(number).finish(),
            Frame::Bulk(text) => f.debug_tuple("Bulk").field(&Text(text)).finish(),
            Frame::BlobError(text) => f.debug_tuple("BlobError").field(&Text(text)).finish(),
            Frame::Double(number) => f.debug_tuple("Double").field(number).finish(),
            Frame::BigNumber(text) => f.debug_tuple("BigNumber").field(&Text(text)).finish(),
            Frame::Boolean(truth) => f.debug_tuple("Boolean").field(truth).finish(),
            Frame::Verbatim { format, text } => {
                f.debug_struct("Verbatim").field("format", &Text(format)).field("text", &Text(text)).finish()
            }
            Frame::Null => f.write_str("Null"),
            Frame::NullBulk => f.write_str("NullBulk"),
            Frame::NullArray => f.write_str("NullArray"),
            Frame::Array(items) => f.debug_tuple("Array").field(&elements(items)).finish(),
            Frame::Set(items) => f.debug_tuple("Set").field(&elements(items)).finish(),
            Frame::Push(items) => f.debug_tuple("Push").field(&elements(items)).finish(),
            Frame::Map(pairs) => f.debug_tuple("Map").field(&Pairs { pairs, room }).finish(),
            Frame::Attribute { attributes, value } => {
                let mut shown = f.debug_struct("Attribute");
                shown.field("attributes", &Pairs { pairs: attributes, room });
                if !room.take(1) {
                    return shown.finish_non_exhaustive();
                }
                shown.field("value", &Shown { frame: value, room: room.inside() }).finish()
            }
        }
    }
}

struct Elements<'a> {
    items: &'a [Frame],
    room: Room<'a>,
}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for (at, frame) in self.items.iter().enumerate() {
            if at == ELEMENTS || !self.room.take(1) {
                list.entry(&More(self.items.len() - at));
                break;
            }
            list.entry(&Shown { frame, room: self.room.inside() });
        }
        list.finish()
    }
}

struct Pairs<'a> {
    pairs: &'a [(Frame, Frame)],
    room: Room<'a>,
}

impl fmt::Debug for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = self.room.inside();
        // A set of pairs, because every entry of `debug_map` has a value, and the number of those left out has none.
        let mut set = f.debug_set();
        for (at, (key, value)) in self.pairs.iter().enumerate() {
            if at == ELEMENTS || !self.room.take(2) {
                set.entry(&More(self.pairs.len() - at));
                break;
            }
            set.entry(&Pair { key: Shown { frame: key, room }, value: Shown { frame: value, room } });
        }
        set.finish()
    }
}

struct Pair<'a> {
    key: Shown<'a>,
    value: Shown<'a>,
}

impl fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        f.write_str(": ")?;
        self.value.fmt(f)
    }
}

/// How many elements are not shown.
struct More(usize);

impl fmt::Debug for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".. {} more", self.0)
    }
}

struct Text<'a>(&'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(TEXT)];
        let is_cut = shown.len() < self.0.len();
        match str::from_utf8(shown) {
            Ok(text) => write!(f, "{text:?}")?,
            // The cut goes through a character.
            Err(error) if is_cut && error.error_len().is_none() => {
                write!(f, "{:?}", String::from_utf8_lossy(&shown[..error.valid_up_to()]))?;
            }
            Err(_) => write!(f, "b\"{}\"", shown.escape_ascii())?,
        }
        if is_cut { write!(f, ".. {} bytes", self.0.len()) } else { Ok(()) }
    }
}
