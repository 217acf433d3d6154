//! How busy a connection is, for the question whether one more request joins it.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::{Duration, Instant};

use crate::connection::Connection;

/// A connection with more bytes to send than this is busy: as many as one write takes.
pub(super) const BYTES: usize = 64 * 1024;
/// A connection that awaits more replies than this is busy. So many requests make large batches on any connection.
pub(super) const REPLIES: usize = 1024;
/// The same for requests of any kind while long replies come: any request may call for the next one, and
/// those that have joined it wait.
pub(super) const COMPANY: usize = 8;
/// How long after a long reply the next one is expected.
const LONG_REPLIES: Duration = Duration::from_secs(1);
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
    /// A request would wait for something that is no small request.
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
    /// When the last reply came, or when a request came to a connection without any.
    waits_since: Option<Instant>,
}

impl Traffic {
    /// A request is about to join those of `connection`.
    pub(super) fn note_request(&mut self, now: Instant, connection: &Connection) {
        if connection.requests() == 0 {
            self.waits_since = Some(now);
        }
    }

    /// The owner of the client has taken so many bytes to write.
    pub(super) fn note_taken(&mut self, bytes: usize) {
        self.writing = bytes;
    }

    /// Frames were received.
    pub(super) fn note_frames(&mut self, now: Instant) {
        self.reads = 0;
        self.waits_since = Some(now);
    }

    /// Bytes were received that complete no frame.
    pub(super) fn note_part(&mut self) {
        self.reads = self.reads.saturating_add(1);
    }

    /// Whether a long reply is arriving.
    pub(super) fn is_in_long_reply(&self) -> bool {
        self.reads >= READS
    }

    /// How busy `connection` is, which cannot have more than `limit` requests, and has `company` of them at most while it is not
    /// busy.
    pub(super) fn load(&self, now: Instant, connection: &Connection, limit: usize, company: usize) -> Load {
        let requests = connection.requests();
        if requests >= limit {
            return Load::Full;
        }
        let pauses = requests > 0 && self.waits_since.is_some_and(|since| now >= since + PAUSE);
        let is_busy = requests >= company
            || self.is_in_long_reply()
            || self.writing + connection.unsent_bytes() > BYTES
            || connection.awaited() > REPLIES
            || pauses;
        if is_busy { Load::Heavy } else { Load::Light }
    }
}

/// Whether long replies come these days, on any connection.
#[derive(Clone, Debug, Default)]
pub(super) struct LongReplies {
    /// When a part of one came last.
    came_at: Option<Instant>,
}

impl LongReplies {
    /// A part of a long reply was received.
    pub(super) fn note(&mut self, now: Instant) {
        self.came_at = Some(now);
    }

    /// How many requests a connection may have for another one to join it.
    pub(super) fn company(&self, now: Instant) -> usize {
        let come = self.came_at.is_some_and(|at| now < at + LONG_REPLIES);
        if come { COMPANY } else { usize::MAX }
    }
}
