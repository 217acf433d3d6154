use bytes::{Buf, Bytes, BytesMut};
use nom::Err;
use smallvec::SmallVec;

use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::frame::Frame;
use crate::header::{Blob, Header, Line, header, unterminated};
use crate::limits::Limits;
use crate::stack::Stack;

/// What the read buffer is allocated in: as much as one small frame can keep alive.
const BLOCK: usize = 32 << 10;
/// The least room that [`Decoder::buffer`] offers.
const MIN_ROOM: usize = 4 << 10;
/// Room for an announced bulk string is reserved at once up to this much; beyond, as its bytes arrive.
const RESERVED_AHEAD: usize = 1 << 20;

/// Turns a stream of bytes into frames, however the stream was cut into reads.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// What the caller appends to. Starts with the element that was incomplete when `chunk` ran out.
    buffer: BytesMut,
    /// What is being decoded; frames are slices of it.
    chunk: Bytes,
    /// How much of `chunk` has been decoded.
    at: usize,
    /// Bytes of the stream before `chunk`, or before `buffer` while there is no chunk.
    offset: u64,
    /// Where in the stream the outermost open frame began.
    frame_start: u64,
    /// Bytes that `buffer` must hold before looking at it makes sense.
    need: usize,
    /// Bytes at the start of `buffer` that hold no line end.
    searched: usize,
    stack: Stack,
    failed: Option<DecodeError>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            chunk: Bytes::new(),
            at: 0,
            offset: 0,
            frame_start: 0,
            need: 1,
            searched: 0,
            stack: Stack::new(),
            failed: None,
        }
    }

    /// Where to append what was read from the connection.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let room = self.buffer.capacity() - self.buffer.len();
        if room < MIN_ROOM && !self.buffer.try_reclaim(MIN_ROOM) {
            if self.buffer.is_empty() {
                self.buffer = BytesMut::with_capacity(BLOCK);
            } else {
                let missing = self.need.saturating_sub(self.buffer.len());
                self.buffer.reserve(missing.clamp(MIN_ROOM, RESERVED_AHEAD.max(self.buffer.len())));
            }
        }
        &mut self.buffer
    }

    /// The next frame, or `None` if more bytes are needed for one.
    ///
    /// # Errors
    ///
    /// When the bytes are not RESP or exceed a limit. Final: every later call returns the same error.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        loop {
            if self.at == self.chunk.len() && !self.refill()? {
                return Ok(None);
            }
            match self.step() {
                Ok(Step::Frame(frame)) => return Ok(Some(frame)),
                Ok(Step::Element) => {}
                Ok(Step::Incomplete { need }) => self.park(need)?,
                Err((kind, ahead)) => return Err(self.fail(kind, ahead)),
            }
        }
    }

    /// Decodes one line, and the string that it announces.
    #[inline]
    fn step(&mut self) -> Result<Step, (DecodeErrorKind, usize)> {
        let input = &self.chunk[self.at..];
        let (rest, header) = match header(input) {
            Ok(parsed) => parsed,
            Err(Err::Incomplete(_)) => return Ok(Step::Incomplete { need: 0 }),
            Err(Err::Error(fault) | Err::Failure(fault)) => {
                self.check_line(input.len() - fault.rest)?;
                return Err((fault.kind, input.len() - fault.rest));
            }
        };
        let head = input.len() - rest.len();
        self.check_line(head)?;
        if self.stack.is_empty() {
            self.frame_start = self.offset + self.at as u64;
        }
        let body = match header {
            Header::Blob(_, len) => len.saturating_add(2),
            Header::Chunk(len) if len > 0 => len.saturating_add(2),
            _ => 0,
        };
        self.check_size(head, body)?;
        if body > rest.len() {
            return Ok(Step::Incomplete { need: head + body });
        }
        if body > 0 && rest[body - 2..body] != *b"\r\n" {
            return Err((DecodeErrorKind::StringEnd, head + body - 2));
        }
        if self.stack.in_text() && !matches!(header, Header::Chunk(_)) {
            return Err((DecodeErrorKind::Chunk, 0));
        }
        let text = |from: usize, len: usize| self.chunk.slice(self.at + from..self.at + from + len);
        let frame = match header {
            Header::Line(Line::Simple, 2) if input[1..3] == *b"OK" => {
                Frame::Simple(Bytes::from_static(b"OK"))
            }
            Header::Line(Line::Simple, len) => Frame::Simple(text(1, len)),
            Header::Line(Line::Error, len) => Frame::Error(text(1, len)),
            Header::Line(Line::BigNumber, len) => Frame::BigNumber(text(1, len)),
            Header::Integer(number) => Frame::Integer(number),
            Header::Double(number) => Frame::Double(number),
            Header::Boolean(truth) => Frame::Boolean(truth),
            Header::Null => Frame::Null,
            Header::NullBulk => Frame::NullBulk,
            Header::NullArray => Frame::NullArray,
            Header::Blob(Blob::Bulk, len) => Frame::Bulk(text(head, len)),
            Header::Blob(Blob::Error, len) => Frame::BlobError(text(head, len)),
            Header::Blob(Blob::Verbatim, len) => match rest[..len] {
                [a, b, c, b':', ..] => Frame::Verbatim { format: [a, b, c], text: text(head + 4, len - 4) },
                _ => return Err((DecodeErrorKind::Verbatim, head)),
            },
            Header::Aggregate(..) | Header::StreamedString | Header::Chunk(_) | Header::End => {
                return self.structure(header, head, body);
            }
        };
        let done = self.stack.put(frame, &self.limits).map_err(|kind| (kind, 0))?;
        self.at += head + body;
        Ok(done.map_or(Step::Element, Step::Frame))
    }

    /// Opens or closes an aggregate or a streamed string.
    fn structure(
        &mut self,
        header: Header,
        head: usize,
        body: usize,
    ) -> Result<Step, (DecodeErrorKind, usize)> {
        let closed = match header {
            Header::Aggregate(kind, announced) => self.stack.begin(kind, announced, &self.limits),
            Header::StreamedString => self.stack.begin_text(&self.limits).map(|()| None),
            Header::Chunk(len) => {
                let from = self.at + head;
                self.stack.chunk(&self.chunk[from..from + len], &self.limits)
            }
            _ => self.stack.end(),
        };
        let done = match closed {
            Ok(Some(frame)) => self.stack.put(frame, &self.limits),
            Ok(None) => Ok(None),
            Err(kind) => Err(kind),
        };
        let done = done.map_err(|kind| (kind, 0))?;
        self.at += head + body;
        Ok(done.map_or(Step::Element, Step::Frame))
    }

    /// Takes what has arrived for decoding; `false` if it cannot hold another element.
    fn refill(&mut self) -> Result<bool, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.offset += self.at as u64;
        self.at = 0;
        self.chunk = Bytes::new();
        if self.buffer.len() < self.need {
            return Ok(false);
        }
        if self.searched > 0 {
            if let Some(searched) = unterminated(&self.buffer, self.searched) {
                self.searched = searched.max(1);
                return match self.check_line(searched) {
                    Ok(()) => Ok(false),
                    Err((kind, ahead)) => Err(self.fail(kind, ahead)),
                };
            }
            self.searched = 0;
        }
        self.need = 1;
        self.chunk = self.buffer.split().freeze();
        if self.chunk.len() > BLOCK {
            self.buffer = BytesMut::new();
        }
        Ok(true)
    }

    /// Puts the incomplete element at the end of `chunk` in front of what arrives next.
    fn park(&mut self, need: usize) -> Result<(), DecodeError> {
        let mut tail = std::mem::take(&mut self.chunk);
        tail.advance(self.at);
        self.offset += self.at as u64;
        self.at = 0;
        self.need = need.max(tail.len() + 1);
        self.searched = 0;
        if need == 0 {
            self.searched = unterminated(&tail, 0).unwrap_or(tail.len()).max(1);
        }
        let len = tail.len() + self.buffer.len();
        if need > BLOCK || !self.buffer.is_empty() {
            let room = need.saturating_sub(len).min(RESERVED_AHEAD.max(len)) + MIN_ROOM;
            let mut buffer = BytesMut::with_capacity((len + room).max(BLOCK));
            buffer.extend_from_slice(&tail);
            buffer.extend_from_slice(&self.buffer);
            self.buffer = buffer;
        } else if self.buffer.capacity() >= tail.len().max(need) {
            self.buffer.extend_from_slice(&tail);
        } else {
            // The block may be free for reuse once the chunk lets go of it.
            let copy = SmallVec::<[u8; 128]>::from_slice(&tail);
            drop(tail);
            self.buffer.reserve(need.max(copy.len()));
            self.buffer.extend_from_slice(&copy);
        }
        Ok(())
    }

    fn check_line(&self, bytes: usize) -> Result<(), (DecodeErrorKind, usize)> {
        let allowed = self.limits.line_bytes;
        if bytes > allowed.saturating_add(3) {
            return Err((
                DecodeErrorKind::Limit { limit: Limit::LineBytes, allowed: allowed as u64 },
                allowed,
            ));
        }
        Ok(())
    }

    fn check_size(&self, head: usize, body: usize) -> Result<(), (DecodeErrorKind, usize)> {
        if body > self.limits.bulk_bytes.saturating_add(2) {
            let allowed = self.limits.bulk_bytes as u64;
            return Err((DecodeErrorKind::Limit { limit: Limit::BulkBytes, allowed }, 0));
        }
        let end = self.offset + (self.at + head) as u64 + body as u64;
        if end - self.frame_start > self.limits.frame_bytes {
            let allowed = self.limits.frame_bytes;
            return Err((DecodeErrorKind::Limit { limit: Limit::FrameBytes, allowed }, 0));
        }
        Ok(())
    }

    #[cold]
    fn fail(&mut self, kind: DecodeErrorKind, ahead: usize) -> DecodeError {
        let error = DecodeError::new(kind, self.offset + (self.at + ahead) as u64);
        self.failed = Some(error);
        self.chunk = Bytes::new();
        self.at = 0;
        self.buffer = BytesMut::new();
        self.stack = Stack::new();
        error
    }
}

enum Step {
    /// An outermost frame is complete.
    Frame(Frame),
    /// An element, or the header of an aggregate.
    Element,
    /// The element at hand ends beyond the chunk; at `need` bytes from its start, if its length is known.
    Incomplete { need: usize },
}
