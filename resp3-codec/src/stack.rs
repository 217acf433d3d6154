//! The aggregates that are open: their headers have arrived, not all of their elements have.

use std::mem::{replace, size_of, take};

use bytes::BytesMut;
use smallvec::SmallVec;

use crate::error::{DecodeErrorKind, Limit};
use crate::frame::Frame;
use crate::header::Kind;
use crate::limits::Limits;

/// Memory reserved for elements that were announced and have not arrived, over all levels. Enough for one
/// allocation per aggregate of up to 26 000 elements; larger ones grow as their elements arrive.
const RESERVED_AHEAD: usize = 1 << 20;

type Pairs = Vec<(Frame, Frame)>;

#[derive(Debug)]
enum Content {
    Array(Vec<Frame>),
    Set(Vec<Frame>),
    Push(Vec<Frame>),
    Map(Pairs, Option<Frame>),
    Attribute(Pairs, Option<Frame>),
    /// Attributes that are complete, waiting for the frame they describe.
    Attributed(Pairs),
    /// The chunks of a streamed string.
    Text(BytesMut),
}

#[derive(Debug)]
struct Open {
    content: Content,
    /// Frames still to come; `STREAMED` if that was not announced.
    remaining: usize,
    reserved: usize,
}

const STREAMED: usize = usize::MAX;

/// The path from the outermost open aggregate to the innermost.
#[derive(Debug)]
pub(crate) struct Stack {
    open: SmallVec<[Open; 4]>,
    elements: usize,
    reservable: usize,
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
        let remaining = match announced {
            Some(count) => {
                let frames = count.checked_mul(width).filter(|&frames| frames < STREAMED);
                self.count(frames.unwrap_or(STREAMED), limits)?;
                frames.unwrap_or(STREAMED)
            }
            None => STREAMED,
        };
        let bytes = announced.unwrap_or(0).saturating_mul(width * size_of::<Frame>()).min(self.reservable);
        let capacity = bytes / (width * size_of::<Frame>());
        let content = match kind {
            Kind::Array => Content::Array(Vec::with_capacity(capacity)),
            Kind::Set => Content::Set(Vec::with_capacity(capacity)),
            Kind::Push => Content::Push(Vec::with_capacity(capacity)),
            Kind::Map => Content::Map(Vec::with_capacity(capacity), None),
            Kind::Attribute => Content::Attribute(Vec::with_capacity(capacity), None),
        };
        self.reservable -= bytes;
        self.open.push(Open { content, remaining, reserved: bytes });
        Ok(if remaining == 0 { self.close() } else { None })
    }

    pub(crate) fn begin_text(&mut self, limits: &Limits) -> Result<(), DecodeErrorKind> {
        self.check_depth(limits)?;
        self.open.push(Open { content: Content::Text(BytesMut::new()), remaining: STREAMED, reserved: 0 });
        Ok(())
    }

    /// Adds a complete frame to the innermost aggregate; gives back the outermost one if that completes it.
    #[inline]
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
            match &mut top.content {
                Content::Array(items) | Content::Set(items) | Content::Push(items) => items.push(frame),
                Content::Map(pairs, key) | Content::Attribute(pairs, key) => match key.take() {
                    Some(key) => pairs.push((key, frame)),
                    None => *key = Some(frame),
                },
                Content::Attributed(attributes) => {
                    frame = Frame::Attribute { attributes: take(attributes), value: Box::new(frame) };
                    self.open.pop();
                    continue;
                }
                Content::Text(_) => return Err(DecodeErrorKind::Chunk),
            }
            if top.remaining == STREAMED {
                self.count(1, limits)?;
                return Ok(None);
            }
            top.remaining -= 1;
            if top.remaining > 0 {
                return Ok(None);
            }
            match self.close() {
                Some(closed) => frame = closed,
                None => return Ok(None),
            }
        }
    }

    /// Closes the innermost aggregate, which must be a streamed one.
    pub(crate) fn end(&mut self) -> Result<Option<Frame>, DecodeErrorKind> {
        match self.open.last() {
            Some(Open { content: Content::Map(_, Some(_)) | Content::Text(_), .. }) => {
                Err(DecodeErrorKind::End)
            }
            Some(Open { content: Content::Attributed(_), .. }) => Err(DecodeErrorKind::End),
            Some(Open { remaining: STREAMED, .. }) => Ok(self.close()),
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

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn in_text(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Text(_), .. }))
    }

    /// Takes the innermost aggregate off; `None` if it was attributes, which now wait for what they describe.
    fn close(&mut self) -> Option<Frame> {
        let top = self.open.last_mut()?;
        self.reservable += replace(&mut top.reserved, 0);
        let frame = match &mut top.content {
            Content::Array(items) => Frame::Array(take(items)),
            Content::Set(items) => Frame::Set(take(items)),
            Content::Push(items) => Frame::Push(take(items)),
            Content::Map(pairs, _) => Frame::Map(take(pairs)),
            Content::Attribute(pairs, _) => {
                top.content = Content::Attributed(take(pairs));
                top.remaining = 1;
                return None;
            }
            Content::Attributed(_) | Content::Text(_) => return None,
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
