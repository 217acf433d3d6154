//! The aggregates that are open: their headers have arrived, not all of their elements have.

use std::mem::take;

use bytes::BytesMut;
use smallvec::SmallVec;

use crate::element::Kind;
use crate::error::{DecodeErrorKind, Limit};
use crate::frame::Frame;
use crate::limits::Limits;

/// Memory reserved for elements that were announced and have not arrived, over all levels. Enough for one
/// allocation per aggregate of up to 26 000 elements; larger ones grow as their elements arrive.
const RESERVED_AHEAD: usize = 1 << 20;

/// The path from the outermost open aggregate to the innermost.
#[derive(Debug)]
pub(crate) struct Stack {
    open: SmallVec<[Open; 4]>,
    /// Elements of the frame at hand, announced or, where they are streamed, arrived.
    elements: usize,
    reservable: usize,
}

#[derive(Debug)]
pub(crate) struct Open {
    kind: Kind,
    pub(crate) content: Content,
    /// Frames still to come, if that was announced.
    pub(crate) remaining: Option<usize>,
    reserved: usize,
}

#[derive(Debug)]
pub(crate) enum Content {
    Items(Slots),
    Pairs(Pairs),
    /// Attributes that are complete, waiting for the frame they describe.
    Attributed(Vec<(Frame, Frame)>),
    /// The chunks of a streamed string.
    Text(BytesMut),
}

/// A vector that makes its slots in batches: one by one, they would cost as much as what is put into them.
#[derive(Debug)]
pub(crate) struct Slots {
    filled: usize,
    items: Vec<Frame>,
}

impl Slots {
    #[inline(always)]
    fn slot(&mut self) -> Option<&mut Frame> {
        if self.filled == self.items.len() {
            self.grow();
        }
        self.filled += 1;
        self.items.get_mut(self.filled - 1)
    }

    #[inline(never)]
    fn grow(&mut self) {
        let room = self.items.capacity() - self.items.len();
        let more = if room == 0 { self.items.len().max(4) } else { room }.min(32);
        self.items.resize_with(self.items.len() + more, || Frame::Null);
    }

    fn pop(&mut self) {
        self.filled -= 1;
    }

    fn take(&mut self) -> Vec<Frame> {
        self.items.truncate(self.filled);
        take(&mut self.items)
    }
}

#[derive(Debug)]
pub(crate) struct Pairs {
    entries: Vec<(Frame, Frame)>,
    /// The last entry's value has not arrived: it is a placeholder.
    half: bool,
}

impl Open {
    /// A null where the next element belongs; `None` where a scalar or a string cannot come next.
    #[inline(always)]
    pub(crate) fn slot(&mut self) -> Option<&mut Frame> {
        match &mut self.content {
            Content::Items(items) => items.slot(),
            Content::Pairs(pairs) => {
                pairs.half = !pairs.half;
                if pairs.half {
                    pairs.entries.push((Frame::Null, Frame::Null));
                    return pairs.entries.last_mut().map(|(key, _)| key);
                }
                pairs.entries.last_mut().map(|(_, value)| value)
            }
            Content::Attributed(_) | Content::Text(_) => None,
        }
    }

    /// Takes back the last slot, which was not filled.
    #[cold]
    pub(crate) fn vacate(&mut self) {
        match &mut self.content {
            Content::Items(items) => items.pop(),
            Content::Pairs(pairs) => {
                if pairs.half {
                    pairs.entries.pop();
                }
                pairs.half = !pairs.half;
            }
            Content::Attributed(_) | Content::Text(_) => {}
        }
    }
}

impl Stack {
    pub(crate) fn new() -> Self {
        Self { open: SmallVec::new(), elements: 0, reservable: RESERVED_AHEAD }
    }

    /// Opens an aggregate; gives its frame back if it is complete already, being empty.
    pub(crate) fn begin(
        &mut self,
        kind: Kind,
        announced: Option<usize>,
        limits: &Limits,
    ) -> Result<Option<Frame>, DecodeErrorKind> {
        self.check_depth(limits)?;
        let width = if matches!(kind, Kind::Map | Kind::Attribute) { 2 } else { 1 };
        let remaining = announced.map(|count| count.saturating_mul(width));
        self.count(remaining.unwrap_or(0), limits)?;
        let size = width * size_of::<Frame>();
        let reserved = announced.unwrap_or(0).saturating_mul(size).min(self.reservable);
        self.reservable -= reserved;
        let content = if width == 2 {
            Content::Pairs(Pairs { entries: Vec::with_capacity(reserved / size), half: false })
        } else {
            Content::Items(Slots { filled: 0, items: Vec::with_capacity(reserved / size) })
        };
        self.open.push(Open { kind, content, remaining, reserved });
        Ok(if remaining == Some(0) { self.close() } else { None })
    }

    pub(crate) fn begin_text(&mut self, limits: &Limits) -> Result<(), DecodeErrorKind> {
        self.check_depth(limits)?;
        let content = Content::Text(BytesMut::new());
        self.open.push(Open { kind: Kind::Array, content, remaining: None, reserved: 0 });
        Ok(())
    }

    /// Adds a complete frame to the innermost aggregate; gives back the outermost one if that completes it.
    pub(crate) fn put(
        &mut self,
        mut frame: Frame,
        limits: &Limits,
    ) -> Result<Option<Frame>, DecodeErrorKind> {
        loop {
            let Some(top) = self.open.last_mut() else {
                self.elements = 0;
                return Ok(Some(frame));
            };
            if let Content::Attributed(attributes) = &mut top.content {
                frame = Frame::Attribute { attributes: take(attributes), value: Box::new(frame) };
                self.open.pop();
                continue;
            }
            match top.slot() {
                Some(slot) => *slot = frame,
                None => return Err(DecodeErrorKind::Chunk),
            }
            match self.counted(limits)? {
                Some(closed) => frame = closed,
                None => return Ok(None),
            }
        }
    }

    /// Accounts for an element that was put into the innermost aggregate; gives that back if it is complete.
    #[inline]
    pub(crate) fn counted(&mut self, limits: &Limits) -> Result<Option<Frame>, DecodeErrorKind> {
        match self.open.last_mut() {
            Some(Open { remaining: Some(remaining), .. }) => {
                *remaining -= 1;
                Ok(if *remaining == 0 { self.close() } else { None })
            }
            _ => self.count(1, limits).map(|()| None),
        }
    }

    /// Closes the innermost aggregate, which must be a streamed one.
    pub(crate) fn end(&mut self) -> Result<Option<Frame>, DecodeErrorKind> {
        match self.open.last() {
            Some(Open { content: Content::Items(_), remaining: None, .. }) => Ok(self.close()),
            Some(Open { content: Content::Pairs(Pairs { half: false, .. }), remaining: None, .. }) => {
                Ok(self.close())
            }
            _ => Err(DecodeErrorKind::End),
        }
    }

    /// Adds a chunk to a streamed string; gives back the string if the chunk is the empty one that ends it.
    pub(crate) fn chunk(&mut self, chunk: &[u8], limits: &Limits) -> Result<Option<Frame>, DecodeErrorKind> {
        let Some(Open { content: Content::Text(text), .. }) = self.open.last_mut() else {
            return Err(DecodeErrorKind::Chunk);
        };
        if chunk.is_empty() {
            let text = take(text).freeze();
            self.open.pop();
            return Ok(Some(Frame::Bulk(text)));
        }
        if text.len() + chunk.len() > limits.bulk_bytes {
            return Err(DecodeErrorKind::Limit {
                limit: Limit::BulkBytes,
                allowed: limits.bulk_bytes as u64,
            });
        }
        text.extend_from_slice(chunk);
        Ok(None)
    }

    /// Whether nothing is open.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The innermost open aggregate.
    #[inline(always)]
    pub(crate) fn top(&mut self) -> Option<&mut Open> {
        self.open.last_mut()
    }

    /// Takes the innermost aggregate off; `None` if it was attributes, which now wait for what they describe.
    fn close(&mut self) -> Option<Frame> {
        let top = self.open.last_mut()?;
        self.reservable += take(&mut top.reserved);
        let frame = match (top.kind, &mut top.content) {
            (Kind::Set, Content::Items(items)) => Frame::Set(items.take()),
            (Kind::Push, Content::Items(items)) => Frame::Push(items.take()),
            (_, Content::Items(items)) => Frame::Array(items.take()),
            (Kind::Attribute, Content::Pairs(pairs)) => {
                top.content = Content::Attributed(take(&mut pairs.entries));
                return None;
            }
            (_, Content::Pairs(pairs)) => Frame::Map(take(&mut pairs.entries)),
            (_, Content::Attributed(_) | Content::Text(_)) => return None,
        };
        self.open.pop();
        Some(frame)
    }

    fn check_depth(&self, limits: &Limits) -> Result<(), DecodeErrorKind> {
        if self.open.len() >= limits.depth {
            return Err(DecodeErrorKind::Limit { limit: Limit::Depth, allowed: limits.depth as u64 });
        }
        Ok(())
    }

    fn count(&mut self, elements: usize, limits: &Limits) -> Result<(), DecodeErrorKind> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > limits.elements {
            return Err(DecodeErrorKind::Limit { limit: Limit::Elements, allowed: limits.elements as u64 });
        }
        Ok(())
    }
}
