use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::buffer::{LARGE, ReadBuffer};
use crate::element::{Cursor, Stop, Structure};
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::line::unterminated;
use crate::stack::Stack;

/// Turns a stream of bytes into frames, however the stream was cut into reads.
///
/// Append what was read to [`Decoder::buffer`], then call [`Decoder::poll_frame`] until it returns `None`. The crate's
/// documentation says what memory this takes, and what keeps it alive.
pub struct Decoder {
    limits: Limits,
    /// What the caller appends to. Starts with the element that was incomplete when `chunk` ran out.
    buffer: ReadBuffer,
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
    /// Bytes at the start of `buffer` that hold no line end; 0 if that does not matter.
    searched: usize,
    stack: Stack,
    failed: Option<DecodeError>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: ReadBuffer::default(),
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

    /// Where to append what was read from the connection; has room for at least 16 KiB.
    ///
    /// Holds what the decoder has not taken yet, which is not all that it has not decoded: append, and leave what is
    /// there alone. Small frames share the memory of what is appended in one go, so append reads of up to 64 KiB.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.room(self.need)
    }

    /// [`buffer`](Self::buffer) for a connection that may be quiet for long: a decoder that is new or was [shrunk](Self::shrink) has
    /// room for 4 KiB at first, and goes on with blocks of 64 KiB when these are used up. It has room for at least 1 KiB.
    ///
    /// Small frames share the memory of what is appended in one go here as well. What is appended beyond the room that there
    /// is, is moved.
    pub fn frugal_buffer(&mut self) -> &mut BytesMut {
        self.buffer.frugal_room(self.need)
    }

    /// Gives back memory that is kept for reuse only: all of it, where nothing is half decoded. Worth calling when a
    /// connection has gone quiet; costs an allocation at its next read.
    pub fn shrink(&mut self) {
        if self.at == self.chunk.len() {
            self.drop_chunk();
        }
        self.buffer.shrink();
        self.stack.shrink();
    }

    /// The next frame, or `None` if more bytes are needed for one.
    ///
    /// # Errors
    ///
    /// When the bytes are not RESP or exceed a limit. Final: every later call returns the same error.
    #[inline]
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        // The commonest replies, built right where they are returned: moving a frame costs more than decoding it. Between
        // calls nothing is open while the chunk has more, because only the end of the chunk interrupts a frame.
        if self.at < self.chunk.len() {
            self.frame_start = self.offset + self.at as u64;
            let cursor = self.cursor();
            if let Some(used) = cursor.ok() {
                self.at += used;
                return Ok(Some(Frame::Simple(Bytes::from_static(b"OK"))));
            }
            if let Some((used, text)) = cursor.bulk()
                && used <= LARGE
            {
                self.at += used;
                return Ok(Some(Frame::Bulk(text)));
            }
            if let Some((used, number)) = cursor.integer() {
                self.at += used;
                return Ok(Some(Frame::Integer(number)));
            }
        }
        self.poll_any()
    }

    /// The next frame, whatever it is.
    #[inline(never)]
    fn poll_any(&mut self) -> Result<Option<Frame>, DecodeError> {
        loop {
            if self.at == self.chunk.len() && !self.refill()? {
                return Ok(None);
            }
            match self.advance() {
                Ok(true) => return Ok(Some(self.stack.take())),
                Ok(false) => {}
                Err(Stop::Incomplete { need }) => self.park(need)?,
                Err(Stop::Fault(fault)) => return Err(self.fail(fault.0, fault.1)),
            }
        }
    }

    /// Decodes elements until the outermost frame is complete (`true`) or the chunk ends (`false`).
    #[inline]
    fn advance(&mut self) -> Result<bool, Stop> {
        while self.at < self.chunk.len() {
            if self.stack.is_empty() {
                self.frame_start = self.offset + self.at as u64;
            }
            let allowed = self.allowed();
            let cursor = Cursor { chunk: &self.chunk, at: self.at, allowed, limits: &self.limits };
            let done = if cursor.is_structure() {
                self.structure()?
            } else if let Some(slot) = self.stack.slot() {
                match cursor.element(slot) {
                    Ok(used) => {
                        let done = self.stack.filled(&self.limits)?;
                        self.consume(used);
                        done
                    }
                    Err(stop) => {
                        self.stack.vacate();
                        return Err(stop);
                    }
                }
            } else {
                self.described()?
            };
            if done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decodes the scalar or string that attributes describe.
    fn described(&mut self) -> Result<bool, Stop> {
        if self.stack.is_in_text() {
            return Err(Stop::fault(DecodeErrorKind::Chunk, 0));
        }
        let mut frame = Frame::Null;
        let used = self.cursor().element(&mut frame)?;
        let done = self.stack.put(frame, &self.limits)?;
        self.consume(used);
        Ok(done)
    }

    /// Opens or closes an aggregate or a streamed string.
    #[inline(never)]
    fn structure(&mut self) -> Result<bool, Stop> {
        if self.stack.is_in_text() && self.chunk[self.at] != b';' {
            return Err(Stop::fault(DecodeErrorKind::Chunk, 0));
        }
        let (used, structure) = self.cursor().structure()?;
        let done = match structure {
            Structure::Chunk(len) => {
                let end = self.at + used - 2;
                self.stack.chunk(&self.chunk[end - len..end], &self.limits)?
            }
            Structure::Aggregate(kind, announced) => self.stack.begin(kind, announced, &self.limits)?,
            Structure::StreamedString => self.stack.begin_text(&self.limits)?,
            Structure::End => self.stack.end(&self.limits)?,
        };
        self.consume(used);
        Ok(done)
    }

    #[inline(always)]
    fn cursor(&self) -> Cursor<'_> {
        Cursor { chunk: &self.chunk, at: self.at, allowed: self.allowed(), limits: &self.limits }
    }

    /// How many bytes the frame at hand may still have.
    #[inline(always)]
    fn allowed(&self) -> u64 {
        let so_far = self.offset + self.at as u64 - self.frame_start;
        self.limits.frame_bytes.saturating_sub(so_far)
    }

    /// Takes what has arrived for decoding; `false` if it cannot hold another element.
    fn refill(&mut self) -> Result<bool, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.drop_chunk();
        let unread = self.buffer.unread();
        if unread.len() < self.need {
            return Ok(false);
        }
        if self.searched > 0
            && let Some(searched) = unterminated(unread, self.searched)
        {
            self.line_goes_on(searched)?;
            return Ok(false);
        }
        self.searched = 0;
        self.need = 1;
        self.chunk = self.buffer.take();
        Ok(true)
    }

    /// Puts the rest of the chunk in front of what arrives next: an incomplete element, `need` bytes long if that
    /// is known.
    fn park(&mut self, need: usize) -> Result<(), DecodeError> {
        let tail = &self.chunk[self.at..];
        self.need = need.max(tail.len() + 1);
        self.searched = 0;
        // Only text can be long. Everything else is short, and parsed again when more of it has arrived.
        if let [b'+' | b'-' | b'(' | b',', ..] = tail
            && let Some(searched) = unterminated(tail, 1)
        {
            self.line_goes_on(searched)?;
        }
        self.buffer.put_back(&self.chunk[self.at..], need);
        self.drop_chunk();
        Ok(())
    }

    /// Remembers how much of a line holds no end, unless that is too much already.
    fn line_goes_on(&mut self, searched: usize) -> Result<(), DecodeError> {
        self.searched = searched;
        let allowed = self.limits.line_bytes;
        // The type byte is not part of the line, and a CR at the end is not searched yet.
        if searched - 1 > allowed {
            let kind = DecodeErrorKind::Limit { limit: Limit::LineBytes, allowed: allowed as u64 };
            return Err(self.fail(kind, 0));
        }
        Ok(())
    }

    /// Steps over an element that is decoded.
    #[inline(always)]
    fn consume(&mut self, used: usize) {
        self.at += used;
        if used > LARGE {
            self.detach(used);
        }
    }

    /// Moves what follows a large string out of its memory, so that it does not keep that alive. Never more than the
    /// string's own size, or moving could take longer than decoding.
    #[cold]
    fn detach(&mut self, used: usize) {
        let rest = &self.chunk[self.at..];
        if rest.len() <= used {
            self.buffer.put_back(rest, 0);
            self.need = 1;
            self.drop_chunk();
        }
    }

    /// Lets go of the chunk, of which there is nothing left to decode.
    fn drop_chunk(&mut self) {
        self.offset += self.at as u64;
        self.at = 0;
        self.chunk = Bytes::new();
    }

    #[cold]
    fn fail(&mut self, kind: DecodeErrorKind, ahead: usize) -> DecodeError {
        let error = DecodeError::new(kind, self.offset + (self.at + ahead) as u64);
        self.failed = Some(error.clone());
        self.chunk = Bytes::new();
        self.at = 0;
        self.buffer = ReadBuffer::default();
        self.stack = Stack::new();
        error
    }
}

/// Counts only: what is buffered never reaches a log.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("decoded_bytes", &(self.offset + self.at as u64))
            .field("buffered_bytes", &(self.chunk.len() - self.at + self.buffer.unread().len()))
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
