//! How busy a connection is, for the question whether one more request joins it.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::request::{LARGE, Size};
use crate::timer::after;

/// A connection with more bytes to send than this is busy: as many as one write takes.
pub(super) const BYTES: usize = LARGE;
/// A connection that awaits more replies than this is busy. So many requests make large batches on any connection.
pub(super) const REPLIES: usize = 1024;
/// A reply that so many reads in a row have not completed is a long one: a short one may come in two pieces.
pub(super) const READS: u32 = 4;
/// A connection on which no reply has come for so long, although one is awaited, is busy. Replies of a distant server
/// come later, but while many callers are at work they do not pause for so long.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// How busy a connection is; the least busy comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    /// A request may join those that are there: its reply comes about as early as on a connection without requests.
    Light,
    /// A request would wait for something that is no small request, or a large one would make small ones wait.
    Heavy,
    /// It takes no request.
    Full,
}

/// What is known of the bytes on their way, in either direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    /// The bytes taken last. When more is asked for they count no more: they were written, or they were few.
    writing: usize,
    /// The last reads, so many, have completed no reply.
    reads: u32,
    /// From here on the connection pauses, if it owes a reply: [`PAUSE`] after the last one, or after a request came to a connection without
    /// any.
    pauses_at: Option<Instant>,
}

impl Traffic {
    /// A request is about to join those of `connection`.
    pub(super) fn note_request(&mut self, now: Instant, connection: &Connection) {
        if connection.requests() == 0 {
            self.pauses_at = Some(after(now, PAUSE));
        }
    }

    /// The owner of the client has taken so many bytes to write.
    pub(super) fn note_taken(&mut self, bytes: usize) {
        self.writing = bytes;
    }

    /// Frames were received.
    pub(super) fn note_frames(&mut self, now: Instant) {
        self.reads = 0;
        self.pauses_at = Some(after(now, PAUSE));
    }

    /// Bytes were received that complete no frame.
    pub(super) fn note_part(&mut self) {
        self.reads = self.reads.saturating_add(1);
    }

    /// How busy `connection` is for a request of this size. It cannot have more than `limit` requests.
    pub(super) fn load(&self, now: Instant, connection: &Connection, limit: usize, size: Size) -> Load {
        let requests = connection.requests();
        if requests >= limit {
            return Load::Full;
        }
        let pauses = requests > 0 && self.pauses_at.is_some_and(|at| now >= at);
        let is_taken = match size {
            Size::Small => connection.has_large() || self.writing + connection.unsent_bytes() > BYTES,
            // Those that are there wait for a large request anyway.
            Size::Large => requests > 0 && !connection.has_large(),
        };
        let is_busy = is_taken || self.reads >= READS || connection.awaited() > REPLIES || pauses;
        if is_busy { Load::Heavy } else { Load::Light }
    }
}
