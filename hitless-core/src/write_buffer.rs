//! Bytes on their way to a socket.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// Payloads at least this long are queued as they are instead of being copied behind the others.
const BY_REFERENCE: usize = 16 * 1024;

/// An ordered queue of bytes to write: small payloads are copied together so that they go out in one write, large ones
/// are kept by reference and never copied.
///
/// `Debug` shows how many bytes wait and not what they are: handshakes hold passwords.
#[derive(Default)]
pub struct WriteBuffer {
    whole: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl WriteBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `payload`.
    pub fn push(&mut self, payload: &Bytes) {
        self.len += payload.len();
        if payload.len() < BY_REFERENCE {
            self.tail.extend_from_slice(payload);
            return;
        }
        if !self.tail.is_empty() {
            self.whole.push_back(self.tail.split().freeze());
        }
        self.whole.push_back(payload.clone());
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next bytes to write, in one piece; empty only if nothing waits.
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        self.whole.front().map_or(&self.tail, |bytes| bytes)
    }

    /// Takes `count` bytes of the current [`chunk`](Self::chunk) off: they were written.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.chunk().len());
        self.len -= count;
        let Some(front) = self.whole.front_mut() else {
            self.tail.advance(count);
            if self.tail.is_empty() {
                // The next push starts at the front of the allocation again.
                self.tail.clear();
            }
            return;
        };
        front.advance(count);
        if front.is_empty() {
            self.whole.pop_front();
        }
    }
}

impl fmt::Debug for WriteBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBuffer").field("bytes", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(buffer: &mut WriteBuffer, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !buffer.is_empty() {
            let taken = buffer.chunk().len().min(step);
            assert!(taken > 0, "a buffer that is not empty has something to write");
            written.extend_from_slice(&buffer.chunk()[..taken]);
            buffer.advance(taken);
        }
        assert_eq!(buffer.len(), 0);
        written
    }

    #[test]
    fn small_and_large_payloads_keep_their_order() {
        let large = Bytes::from(vec![b'L'; BY_REFERENCE]);
        let mut buffer = WriteBuffer::new();
        let mut expected = Vec::new();
        for payload in [Bytes::from("one"), Bytes::from("two"), large.clone(), Bytes::from("three"), large] {
            expected.extend_from_slice(&payload);
            buffer.push(&payload);
        }
        assert_eq!(buffer.len(), expected.len());
        assert_eq!(drain(&mut buffer, 1000), expected);
    }

    #[test]
    fn a_large_payload_is_not_copied() {
        let large = Bytes::from(vec![b'L'; BY_REFERENCE]);
        let mut buffer = WriteBuffer::new();
        buffer.push(&large);
        assert_eq!(buffer.chunk().as_ptr(), large.as_ptr());
    }

    #[test]
    fn small_payloads_go_out_in_one_piece() {
        let mut buffer = WriteBuffer::new();
        buffer.push(&Bytes::from("PING"));
        buffer.push(&Bytes::from("PONG"));
        assert_eq!(buffer.chunk(), b"PINGPONG");
    }
}
