//! One element at a time: a scalar or a string in full, or the header of something larger.

use std::mem::{forget, replace};

use bytes::Bytes;
use nom::Err;

use crate::error::{DecodeErrorKind, Limit};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::line::{self, Fault, Parsed};

/// Where a decoder stands.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(crate) chunk: &'a Bytes,
    /// The element's first byte in `chunk`.
    pub(crate) at: usize,
    /// How many bytes the outermost frame may still have.
    pub(crate) allowed: u64,
    pub(crate) limits: &'a Limits,
}

/// Why there is no scalar or string.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The chunk ends before the element does, `need` bytes from its first if that is known, else 0.
    Incomplete { need: usize },
    /// A fault so many bytes into the element. Boxed like [`line::Fault`].
    Fault(Box<(DecodeErrorKind, usize)>),
}

impl Stop {
    #[cold]
    pub(crate) fn fault(kind: DecodeErrorKind, ahead: usize) -> Self {
        Self::Fault(Box::new((kind, ahead)))
    }
}

/// Something that opens or closes an aggregate or a streamed string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Structure {
    /// So many elements follow (entries, for a map); streamed if the number is not announced.
    Aggregate(Kind, Option<usize>),
    /// Chunks follow.
    StreamedString,
    /// A chunk of so many bytes; the last one is empty.
    Chunk(usize),
    /// The end of a streamed aggregate.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Set,
    Push,
    Map,
    Attribute,
}

impl Kind {
    /// Whether its elements come as keys and values.
    #[inline(always)]
    pub(crate) fn has_pairs(self) -> bool {
        matches!(self, Self::Map | Self::Attribute)
    }
}

impl<'a> Cursor<'a> {
    /// Whether something opens or closes here, as far as the first two bytes tell.
    #[inline(always)]
    pub(crate) fn is_structure(&self) -> bool {
        match self.rest() {
            [b'*', b'-', ..] => false,
            [b'$', b'?', ..] => true,
            [b'*' | b'%' | b'~' | b'>' | b'|' | b';' | b'.', ..] => true,
            _ => false,
        }
    }

    /// Decodes `+OK`; its length.
    #[inline(always)]
    pub(crate) fn ok(&self) -> Option<usize> {
        if !self.rest().starts_with(b"+OK\r\n") {
            return None;
        }
        self.check_line(2).ok()?;
        self.check(5).ok()?;
        Some(5)
    }

    /// Decodes an integer, and its length.
    #[inline(always)]
    pub(crate) fn integer(&self) -> Option<(usize, i64)> {
        match self.rest() {
            [b':', rest @ ..] => self.line(line::integer(rest)).ok(),
            _ => None,
        }
    }

    /// Decodes a bulk string, and its length.
    #[inline(always)]
    pub(crate) fn bulk(&self) -> Option<(usize, Bytes)> {
        match self.rest() {
            [b'$', b'?' | b'-', ..] => None,
            [b'$', rest @ ..] => {
                let (head, len) = self.blob(rest).ok()?;
                Some((head + len + 2, self.slice(head, len)))
            }
            _ => None,
        }
    }

    /// Decodes a scalar or a string, where [`is_structure`](Self::is_structure) says that nothing opens or closes, into
    /// `slot`, which is null; gives its length.
    #[inline(always)]
    pub(crate) fn element(&self, slot: &mut Frame) -> Result<usize, Stop> {
        let input = self.rest();
        let Some((&tag, rest)) = input.split_first() else { return Err(Stop::Incomplete { need: 0 }) };
        match tag {
            b':' => {
                let (used, number) = self.line(line::integer(rest))?;
                fill(slot, Frame::Integer(number));
                Ok(used)
            }
            b'$' if !rest.starts_with(b"-") => {
                let (head, len) = self.blob(rest)?;
                fill(slot, Frame::Bulk(self.slice(head, len)));
                Ok(head + len + 2)
            }
            b'+' if rest.starts_with(b"OK\r\n") => {
                self.check_line(2)?;
                self.check(5)?;
                fill(slot, Frame::Simple(Bytes::from_static(b"OK")));
                Ok(5)
            }
            b'+' => {
                let (used, text) = self.line(line::text(rest))?;
                fill(slot, Frame::Simple(self.slice(1, text.len())));
                Ok(used)
            }
            _ => self.rare(tag, slot),
        }
    }

    #[inline(never)]
    fn rare(&self, tag: u8, slot: &mut Frame) -> Result<usize, Stop> {
        let rest = &self.rest()[1..];
        let used = match tag {
            b'_' => {
                let (head, ()) = self.line(line::end(rest))?;
                fill(slot, Frame::Null);
                head
            }
            b',' => {
                let (head, text) = self.line(line::text(rest))?;
                let Some(number) = line::double(text) else {
                    return Err(Stop::fault(DecodeErrorKind::Double, 1));
                };
                fill(slot, Frame::Double(number));
                head
            }
            b'#' => {
                let (head, truth) = self.line(line::boolean(rest))?;
                fill(slot, Frame::Boolean(truth));
                head
            }
            b'-' => {
                let (head, text) = self.line(line::text(rest))?;
                fill(slot, Frame::Error(self.slice(1, text.len())));
                head
            }
            b'(' => {
                let (head, text) = self.line(line::text(rest))?;
                if !line::is_big_number(text) {
                    return Err(Stop::fault(DecodeErrorKind::BigNumber, 1));
                }
                fill(slot, Frame::BigNumber(self.slice(1, text.len())));
                head
            }
            b'!' => {
                let (head, len) = self.blob(rest)?;
                fill(slot, Frame::BlobError(self.slice(head, len)));
                head + len + 2
            }
            b'=' => self.verbatim(rest, slot)?,
            b'$' => {
                let (head, ()) = self.line(line::minus_one(rest))?;
                fill(slot, Frame::NullBulk);
                head
            }
            b'*' => {
                let (head, ()) = self.line(line::minus_one(rest))?;
                fill(slot, Frame::NullArray);
                head
            }
            _ => return Err(Stop::fault(DecodeErrorKind::UnknownType(tag), 0)),
        };
        Ok(used)
    }

    /// Decodes what opens or closes here, and its length.
    #[inline]
    pub(crate) fn structure(&self) -> Result<(usize, Structure), Stop> {
        let input = self.rest();
        let Some((&tag, rest)) = input.split_first() else { return Err(Stop::Incomplete { need: 0 }) };
        let kind = match tag {
            b'*' => Kind::Array,
            b'%' => Kind::Map,
            b'~' => Kind::Set,
            b'>' => Kind::Push,
            b'|' => Kind::Attribute,
            b';' => {
                let (head, len) = self.line(line::length(rest))?;
                if len == 0 {
                    return Ok((head, Structure::Chunk(0)));
                }
                let (head, len) = self.blob(rest)?;
                return Ok((head + len + 2, Structure::Chunk(len)));
            }
            b'.' => {
                let (head, ()) = self.line(line::end(rest))?;
                return Ok((head, Structure::End));
            }
            _ => {
                let (head, ()) = self.line(line::streamed(rest))?;
                return Ok((head, Structure::StreamedString));
            }
        };
        if rest.first() == Some(&b'?') && matches!(kind, Kind::Array | Kind::Map | Kind::Set) {
            let (head, ()) = self.line(line::streamed(rest))?;
            return Ok((head, Structure::Aggregate(kind, None)));
        }
        let (head, len) = self.line(line::length(rest))?;
        Ok((head, Structure::Aggregate(kind, Some(len))))
    }

    fn verbatim(&self, rest: &[u8], slot: &mut Frame) -> Result<usize, Stop> {
        let (head, len) = self.blob(rest)?;
        match self.rest()[head..head + len] {
            [a, b, c, b':', ..] => {
                fill(slot, Frame::Verbatim { format: [a, b, c], text: self.slice(head + 4, len - 4) });
                Ok(head + len + 2)
            }
            _ => Err(Stop::fault(DecodeErrorKind::Verbatim, head)),
        }
    }

    /// A length, then so many bytes and CR LF: where the bytes start, and how many they are.
    #[inline(always)]
    fn blob(&self, rest: &[u8]) -> Result<(usize, usize), Stop> {
        let (head, len) = self.line(line::length(rest))?;
        if len > self.limits.bulk_bytes {
            return Err(exceeded(Limit::BulkBytes, self.limits.bulk_bytes as u64));
        }
        let end = head + len;
        self.check(end + 2)?;
        match self.rest().get(end..end + 2) {
            Some(b"\r\n") => Ok((head, len)),
            Some(_) => Err(Stop::fault(DecodeErrorKind::StringEnd, end)),
            None => Err(Stop::Incomplete { need: end + 2 }),
        }
    }

    /// The outcome of parsing a line, and the line's length with its type byte and its end.
    #[inline(always)]
    fn line<T>(&self, parsed: Parsed<'a, T>) -> Result<(usize, T), Stop> {
        match parsed {
            Ok((rest, value)) => {
                let head = self.rest().len() - rest.len();
                self.check_line(head - 3)?;
                self.check(head)?;
                Ok((head, value))
            }
            Err(error) => Err(self.stop(error)),
        }
    }

    #[cold]
    fn stop(&self, error: Err<Fault>) -> Stop {
        match error {
            Err::Incomplete(_) => Stop::Incomplete { need: 0 },
            Err::Error(fault) | Err::Failure(fault) => {
                let ahead = self.rest().len() - fault.0.rest;
                match self.check_line(ahead.saturating_sub(1)) {
                    Ok(()) => Stop::fault(fault.0.kind, ahead),
                    Err(stop) => stop,
                }
            }
        }
    }

    #[inline(always)]
    fn check_line(&self, len: usize) -> Result<(), Stop> {
        if len > self.limits.line_bytes {
            return Err(exceeded(Limit::LineBytes, self.limits.line_bytes as u64));
        }
        Ok(())
    }

    #[inline(always)]
    fn check(&self, len: usize) -> Result<(), Stop> {
        if len as u64 > self.allowed {
            return Err(exceeded(Limit::FrameBytes, self.limits.frame_bytes));
        }
        Ok(())
    }

    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        &self.chunk[self.at..]
    }

    #[inline(always)]
    fn slice(&self, from: usize, len: usize) -> Bytes {
        self.chunk.slice(self.at + from..self.at + from + len)
    }
}

#[cold]
pub(crate) fn exceeded(limit: Limit, allowed: u64) -> Stop {
    Stop::fault(DecodeErrorKind::Limit { limit, allowed }, 0)
}

/// Puts a frame in the place of a null, which needs no dropping.
#[inline(always)]
fn fill(slot: &mut Frame, frame: Frame) {
    forget(replace(slot, frame));
}
