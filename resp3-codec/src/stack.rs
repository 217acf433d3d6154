//! The aggregates that are open: their headers have arrived, not all of their elements have.

use std::mem::{replace, size_of, take};

use bytes::BytesMut;
use smallvec::SmallVec;

use crate::element::{Kind, Stop, exceeded};
use crate::error::{DecodeErrorKind, Limit};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::work::spend;

/// Elements that were announced and have not arrived, but that memory is reserved for, over all levels: 1 MiB.
/// Larger aggregates grow as their elements arrive.
const RESERVED_AHEAD: usize = (1 << 20) / size_of::<Frame>();
/// Elements that memory is reserved for at each level all the same.
const RESERVED_ANYWAY: usize = 32;

/// The path from the outermost open aggregate to the innermost.
pub(crate) struct Stack {
    /// Null, until the outermost frame is complete.
    outermost: Frame,
    /// The first `depth` are open; the others are kept for reuse.
    levels: SmallVec<[Level; 4]>,
    depth: usize,
    /// Elements of the frame at hand, announced or, where they are streamed, arrived.
    elements: usize,
    /// What is left of `RESERVED_AHEAD`.
    reservable: usize,
}

/// An open aggregate, or a streamed string.
struct Level {
    content: Content,
    /// Frames still to come, if that was announced.
    remaining: Option<usize>,
    /// Its part of `RESERVED_AHEAD`.
    reserved: usize,
    /// What has arrived, in the one of these that the content calls for.
    items: Slots<Frame>,
    pairs: Slots<(Frame, Frame)>,
    text: BytesMut,
    /// The last pair's value has not arrived.
    half: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Elements(Kind),
    /// Attributes that are complete, waiting for the frame they describe.
    Attributed,
    /// The chunks of a streamed string.
    Text,
}

/// What a slot that was filled completes.
enum Filled {
    /// The innermost aggregate, which is to be closed.
    Innermost,
    /// The outermost frame.
    Outermost,
    Nothing,
}

/// A vector that makes its slots in batches: one by one, they would cost as much as what is put into them.
struct Slots<T> {
    filled: usize,
    slots: Vec<T>,
}

impl Stack {
    pub(crate) fn new() -> Self {
        Self {
            outermost: Frame::Null,
            levels: SmallVec::new(),
            depth: 0,
            elements: 0,
            reservable: RESERVED_AHEAD,
        }
    }

    /// Opens an aggregate; whether the outermost frame is complete, this aggregate being empty.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        kind: Kind,
        announced: Option<usize>,
        limits: &Limits,
    ) -> Result<bool, Stop> {
        let remaining = announced.map(|count| if kind.has_pairs() { count.saturating_mul(2) } else { count });
        let frames = remaining.unwrap_or(0);
        self.count(frames, limits)?;
        let reserved = frames.min(self.reservable);
        let capacity = frames.min(reserved.max(RESERVED_ANYWAY));
        self.reservable -= reserved;
        let level = self.open(Content::Elements(kind), limits)?;
        level.remaining = remaining;
        level.reserved = reserved;
        if kind.has_pairs() {
            level.pairs.slots = Vec::with_capacity(capacity / 2);
        } else {
            level.items.slots = Vec::with_capacity(capacity);
        }
        if remaining == Some(0) { self.close_and_put(limits) } else { Ok(false) }
    }

    pub(crate) fn begin_text(&mut self, limits: &Limits) -> Result<bool, Stop> {
        self.open(Content::Text, limits).map(|_| false)
    }

    /// Closes the innermost aggregate, which must be a streamed one; whether that completes the outermost frame.
    pub(crate) fn end(&mut self, limits: &Limits) -> Result<bool, Stop> {
        match self.top() {
            Some(Level { content: Content::Elements(_), remaining: None, half: false, .. }) => {
                self.close_and_put(limits)
            }
            _ => Err(Stop::fault(DecodeErrorKind::End, 0)),
        }
    }

    /// Adds a chunk to a streamed string; whether that completes the outermost frame, the chunk being the empty one
    /// at the string's end.
    pub(crate) fn chunk(&mut self, chunk: &[u8], limits: &Limits) -> Result<bool, Stop> {
        let Some(Level { content: Content::Text, text, .. }) = self.top() else {
            return Err(Stop::fault(DecodeErrorKind::Chunk, 0));
        };
        if chunk.is_empty() {
            let text = take(text).freeze();
            self.depth -= 1;
            return self.put(Frame::Bulk(text), limits);
        }
        if text.len() + chunk.len() > limits.bulk_bytes {
            return Err(exceeded(Limit::BulkBytes, limits.bulk_bytes as u64));
        }
        spend(chunk.len());
        text.extend_from_slice(chunk);
        Ok(false)
    }

    /// Adds a complete frame; whether that completes the outermost one.
    #[inline]
    pub(crate) fn put(&mut self, frame: Frame, limits: &Limits) -> Result<bool, Stop> {
        let mut next = Some(frame);
        // A loop and no recursion: one frame may complete as many others as are nested.
        while let Some(frame) = next {
            if let Some(slot) = self.slot() {
                *slot = frame;
                next = match self.account(limits)? {
                    Filled::Innermost => self.close(),
                    Filled::Outermost => return Ok(true),
                    Filled::Nothing => None,
                };
            } else if let Some(Level { content: Content::Attributed, pairs, .. }) = self.top() {
                let attributes = pairs.take();
                self.depth -= 1;
                next = Some(Frame::Attribute { attributes, value: Box::new(frame) });
            } else {
                return Err(Stop::fault(DecodeErrorKind::Chunk, 0));
            }
        }
        Ok(false)
    }

    /// A null in the place of the next frame, to be overwritten with it; `None` where the frame has to be [`put`].
    ///
    /// [`put`]: Self::put
    #[inline(always)]
    pub(crate) fn slot(&mut self) -> Option<&mut Frame> {
        match self.levels.get_mut(self.depth.wrapping_sub(1)) {
            Some(top) => top.slot(),
            None => Some(&mut self.outermost),
        }
    }

    /// Accounts for a slot that was filled; whether that completes the outermost frame.
    #[inline(always)]
    pub(crate) fn filled(&mut self, limits: &Limits) -> Result<bool, Stop> {
        match self.account(limits)? {
            Filled::Innermost => self.close_and_put(limits),
            Filled::Outermost => Ok(true),
            Filled::Nothing => Ok(false),
        }
    }

    /// Takes back the last slot, which was not filled.
    #[cold]
    pub(crate) fn vacate(&mut self) {
        if let Some(top) = self.top() {
            top.vacate();
        }
    }

    /// The outermost frame, which is complete.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Frame {
        replace(&mut self.outermost, Frame::Null)
    }

    /// Gives back memory that is kept for reuse only.
    pub(crate) fn shrink(&mut self) {
        self.levels.truncate(self.depth);
        self.levels.shrink_to_fit();
    }

    /// Whether nothing is open.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    /// Whether a streamed string is open.
    pub(crate) fn is_in_text(&mut self) -> bool {
        matches!(self.top(), Some(Level { content: Content::Text, .. }))
    }

    /// The innermost open aggregate.
    #[inline(always)]
    fn top(&mut self) -> Option<&mut Level> {
        self.levels.get_mut(self.depth.wrapping_sub(1))
    }

    #[inline]
    fn open(&mut self, content: Content, limits: &Limits) -> Result<&mut Level, Stop> {
        if self.depth >= limits.depth {
            return Err(exceeded(Limit::Depth, limits.depth as u64));
        }
        if self.depth == self.levels.len() {
            self.levels.push(Level::new());
        }
        let level = &mut self.levels[self.depth];
        self.depth += 1;
        level.content = content;
        level.remaining = None;
        Ok(level)
    }

    /// Accounts for a slot that was filled; what that completes.
    #[inline(always)]
    fn account(&mut self, limits: &Limits) -> Result<Filled, Stop> {
        match self.top() {
            Some(Level { remaining: Some(remaining), .. }) => {
                *remaining -= 1;
                Ok(if *remaining == 0 { Filled::Innermost } else { Filled::Nothing })
            }
            Some(_) => self.count(1, limits).map(|()| Filled::Nothing),
            None => {
                self.elements = 0;
                Ok(Filled::Outermost)
            }
        }
    }

    /// Takes the innermost aggregate off and puts it into the one around it; whether that completes the outermost frame.
    fn close_and_put(&mut self, limits: &Limits) -> Result<bool, Stop> {
        match self.close() {
            Some(frame) => self.put(frame, limits),
            None => Ok(false),
        }
    }

    /// Takes the innermost aggregate off. Attributes stay, and wait for what they describe.
    fn close(&mut self) -> Option<Frame> {
        let top = self.levels.get_mut(self.depth.wrapping_sub(1))?;
        self.reservable += take(&mut top.reserved);
        let frame = match top.content {
            Content::Elements(Kind::Array) => Frame::Array(top.items.take()),
            Content::Elements(Kind::Set) => Frame::Set(top.items.take()),
            Content::Elements(Kind::Push) => Frame::Push(top.items.take()),
            Content::Elements(Kind::Map) => Frame::Map(top.pairs.take()),
            Content::Elements(Kind::Attribute) => {
                top.content = Content::Attributed;
                return None;
            }
            Content::Attributed | Content::Text => return None,
        };
        self.depth -= 1;
        Some(frame)
    }

    #[inline(always)]
    fn count(&mut self, elements: usize, limits: &Limits) -> Result<(), Stop> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > limits.elements {
            return Err(exceeded(Limit::Elements, limits.elements as u64));
        }
        Ok(())
    }
}

impl Level {
    fn new() -> Self {
        Self {
            content: Content::Text,
            remaining: None,
            reserved: 0,
            items: Slots::new(),
            pairs: Slots::new(),
            text: BytesMut::new(),
            half: false,
        }
    }

    /// A null where the next element belongs; `None` where a scalar or a string is not an element.
    #[inline(always)]
    fn slot(&mut self) -> Option<&mut Frame> {
        match self.content {
            Content::Elements(kind) if kind.has_pairs() => {
                self.half = !self.half;
                if self.half {
                    self.pairs.next(|| (Frame::Null, Frame::Null)).map(|(key, _)| key)
                } else {
                    self.pairs.last().map(|(_, value)| value)
                }
            }
            Content::Elements(_) => self.items.next(|| Frame::Null),
            Content::Attributed | Content::Text => None,
        }
    }

    /// Takes back the last slot, which was not filled.
    #[cold]
    fn vacate(&mut self) {
        match self.content {
            Content::Elements(kind) if kind.has_pairs() => {
                self.pairs.filled -= usize::from(self.half);
                self.half = !self.half;
            }
            Content::Elements(_) => self.items.filled -= 1,
            Content::Attributed | Content::Text => {}
        }
    }
}

impl<T> Slots<T> {
    const BATCH: usize = 32;

    fn new() -> Self {
        Self { filled: 0, slots: Vec::new() }
    }

    #[inline(always)]
    fn next(&mut self, empty: impl FnMut() -> T) -> Option<&mut T> {
        if self.filled == self.slots.len() {
            let room = self.slots.capacity() - self.filled;
            let more = if room > 0 { room.min(Self::BATCH) } else { self.filled.clamp(4, Self::BATCH) };
            self.slots.resize_with(self.filled + more, empty);
        }
        self.filled += 1;
        self.last()
    }

    #[inline(always)]
    fn last(&mut self) -> Option<&mut T> {
        self.slots.get_mut(self.filled.wrapping_sub(1))
    }

    #[inline(always)]
    fn take(&mut self) -> Vec<T> {
        self.slots.truncate(replace(&mut self.filled, 0));
        take(&mut self.slots)
    }
}
