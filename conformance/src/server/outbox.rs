//! What a connection still has to send, some of it not before its time.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;

/// Whole frames in order; bytes with a release time wait for it and hold back what follows them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    ready: BytesMut,
    delayed: VecDeque<(Instant, BytesMut)>,
}

impl Outbox {
    /// The buffer in which something that may leave `at` the earliest is to be written.
    pub(super) fn buffer(&mut self, now: Instant, at: Instant) -> &mut BytesMut {
        let at = self.delayed.back().map_or(at, |(last, _)| at.max(*last));
        if at <= now && self.delayed.is_empty() {
            return &mut self.ready;
        }
        if self.delayed.back().is_none_or(|(last, _)| *last != at) {
            self.delayed.push_back((at, BytesMut::new()));
        }
        self.delayed.back_mut().map_or(&mut self.ready, |(_, buffer)| buffer)
    }

    /// The buffer of what leaves now, overtaking delayed replies.
    pub(super) fn urgent(&mut self) -> &mut BytesMut {
        &mut self.ready
    }

    /// Moves what is due to the bytes that leave now.
    pub(super) fn release(&mut self, now: Instant) {
        while self.delayed.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, due)) = self.delayed.pop_front() {
                self.ready.extend_from_slice(&due);
            }
        }
    }

    /// Holds everything that has not left yet until `until`.
    pub(super) fn hold(&mut self, until: Instant) {
        if !self.ready.is_empty() {
            self.delayed.push_front((until, self.ready.split()));
        }
        for (at, _) in &mut self.delayed {
            *at = (*at).max(until);
        }
    }

    /// Drops what has not been released.
    pub(super) fn drop_delayed(&mut self) {
        self.delayed.clear();
    }

    /// Appends what leaves now; `false` when there is nothing.
    pub(super) fn transmit(&mut self, buf: &mut BytesMut) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        buf.extend_from_slice(&self.ready);
        self.ready.clear();
        true
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.delayed.is_empty()
    }

    pub(super) fn next_release(&self) -> Option<Instant> {
        self.delayed.front().map(|(at, _)| *at)
    }
}
