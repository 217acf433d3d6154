use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::element::{Cursor, Stop, Structure};
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::line::unterminated;
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
    #[inline]
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        // The commonest replies, built right where they are returned: moving a frame costs more than decoding it.
        if self.at < self.chunk.len() && self.stack.is_empty() {
            self.frame_start = self.offset + self.at as u64;
            let cursor = self.cursor();
            if let Ok(used) = cursor.ok() {
                self.at += used;
                return Ok(Some(Frame::Simple(Bytes::from_static(b"OK"))));
            }
            if let Ok((used, text)) = cursor.bulk() {
                self.at += used;
                return Ok(Some(Frame::Bulk(text)));
            }
            if let Ok((used, number)) = cursor.integer() {
                self.at += used;
                return Ok(Some(Frame::Integer(number)));
            }
        }
        self.poll_any()
    }

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
                Err(Stop::Structure) => return Err(self.fail(DecodeErrorKind::Chunk, 0)),
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
                        self.at += used;
                        done
                    }
                    Err(stop) => {
                        self.stack.vacate();
                        match stop {
                            Stop::Structure => self.structure()?,
                            stop => return Err(stop),
                        }
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
        let mut frame = Frame::Null;
        let used = match self.cursor().element(&mut frame) {
            Err(Stop::Structure) => return self.structure(),
            element => element?,
        };
        let done = self.stack.put(frame, &self.limits)?;
        self.at += used;
        Ok(done)
    }

    /// Opens or closes an aggregate or a streamed string.
    #[inline(never)]
    fn structure(&mut self) -> Result<bool, Stop> {
        let (used, structure) = self.cursor().structure()?;
        let done = match structure {
            Structure::Chunk(len) => {
                let end = self.at + used - 2;
                self.stack.chunk(&self.chunk[end - len..end], &self.limits)?
            }
            _ if self.stack.is_in_text() => return Err(Stop::fault(DecodeErrorKind::Chunk, 0)),
            Structure::Aggregate(kind, announced) => self.stack.begin(kind, announced, &self.limits)?,
            Structure::StreamedString => self.stack.begin_text(&self.limits)?,
            Structure::End => self.stack.end(&self.limits)?,
        };
        self.at += used;
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
        self.offset += self.at as u64;
        self.at = 0;
        self.chunk = Bytes::new();
        if self.buffer.len() < self.need {
            return Ok(false);
        }
        if self.searched > 0 {
            if let Some(searched) = unterminated(&self.buffer, self.searched) {
                self.searched = searched.max(1);
                let allowed = self.limits.line_bytes;
                if searched > allowed.saturating_add(1) {
                    let kind = DecodeErrorKind::Limit { limit: Limit::LineBytes, allowed: allowed as u64 };
                    return Err(self.fail(kind, 0));
                }
                return Ok(false);
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

    #[cold]
    fn fail(&mut self, kind: DecodeErrorKind, ahead: usize) -> DecodeError {
        let error = DecodeError::new(kind, self.offset + (self.at + ahead) as u64);
        self.failed = Some(error.clone());
        self.chunk = Bytes::new();
        self.at = 0;
        self.buffer = BytesMut::new();
        self.stack = Stack::new();
        error
    }
}
