//! The queue of a connection: requests that wait for their replies, and behind them those that wait to be written. Order alone
//! pairs requests with replies, so a written request keeps its place until its replies are in.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use resp3_codec::Frame;

use super::accepted::Accepted;
use crate::command_table::Blocking;
use crate::ids::RequestId;
use crate::request::{LARGE, Replies, Size, Special};
use crate::timer::{after, bring_forward, earliest};
use crate::write_buffer::WriteBuffer;

/// The place of a request on its connection, valid until the request ends or comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[cfg(test)]
impl Ticket {
    /// The ticket of the request number `place`, for tests of what keeps tickets.
    pub(crate) const fn nth(place: u64) -> Self {
        Self(place)
    }
}

/// How many bytes one call appends at most; the last request may exceed it.
const TAKE: usize = LARGE;
/// The awaited replies are handed in by so many parts: the client works on one part while the server works on the next.
pub(super) const PARTS: usize = 4;
/// The fewest and the most replies in a batch. Each batch takes the lock of the client once, for as long as it lasts.
const BATCH: (usize, usize) = (2, 64);
/// Places that an empty queue keeps.
const KEPT: usize = 8;
/// How long a queue is unused before it gives the other places back: bursts come in groups.
const REST: Duration = Duration::from_secs(1);

/// Something that has replies.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
struct Entry {
    /// That of a command of the connection's own is the next request's, and names no place.
    ticket: Ticket,
    left: u32,
    is_large: bool,
    /// A window closed after this was written.
    outlived_window: bool,
    kind: Kind,
}

// It is copied when it is pushed and when it is taken out: beyond this size by a call of a function.
const _: () = assert!(size_of::<Entry>() <= 128);

/// What it is that has replies.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
enum Kind {
    /// A request that somebody waits for.
    Wanted(Accepted),
    /// A request that was written, and then cancelled or timed out: its replies still come and are swallowed. It may block the server all the same.
    Abandoned(Option<Arc<Special>>),
    /// The connection itself has sent it.
    Own(Own),
}

impl Entry {
    fn accepted(&self) -> Option<&Accepted> {
        match &self.kind {
            Kind::Wanted(accepted) => Some(accepted),
            Kind::Abandoned(_) | Kind::Own(_) => None,
        }
    }

    fn into_accepted(self) -> Option<Accepted> {
        match self.kind {
            Kind::Wanted(accepted) => Some(accepted),
            Kind::Abandoned(_) | Kind::Own(_) => None,
        }
    }

    /// Takes the request out, if somebody waits for it. Its replies are swallowed.
    fn abandon(&mut self) -> Option<Accepted> {
        let special = self.accepted()?.request.special.clone();
        match std::mem::replace(&mut self.kind, Kind::Abandoned(special)) {
            Kind::Wanted(accepted) => Some(accepted),
            Kind::Abandoned(_) | Kind::Own(_) => None,
        }
    }

    fn own(&self) -> Option<Own> {
        match self.kind {
            Kind::Own(own) => Some(own),
            Kind::Wanted(_) | Kind::Abandoned(_) => None,
        }
    }

    #[inline]
    fn special(&self) -> Option<&Special> {
        match &self.kind {
            Kind::Wanted(accepted) => accepted.request.special.as_deref(),
            Kind::Abandoned(special) => special.as_deref(),
            Kind::Own(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        self.accepted().map_or(0, |accepted| accepted.request.payload.len())
    }

    #[inline]
    fn is_probe(&self) -> bool {
        self.special().is_some_and(|special| special.is_probe)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.accepted().is_some_and(|accepted| accepted.is_due(now))
    }
}

/// What a connection sends of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Own {
    OptIn,
    Auth,
    /// A command of the subscriptions.
    Subscribing,
}

/// Whether this is the answer to PING. An element of a list that says the same is a bulk string.
pub(crate) fn is_pong(reply: &Frame) -> bool {
    matches!(reply.value(), Frame::Simple(text) if text.as_ref() == b"PONG".as_slice())
}

/// What one reply did.
#[derive(Debug)]
pub(super) enum Matched {
    /// No request waits for a reply.
    Stray,
    /// More replies of the request are to come, or the request was cancelled or has timed out.
    Nothing,
    /// The last reply of a request. `outlived_window`: a window closed while the request was under way.
    Complete { accepted: Accepted, replies: Replies, outlived_window: bool },
    /// The reply to what the connection itself has sent.
    Own(Own, Frame),
}

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Pipeline {
    /// Those that were written come first. Their tickets ascend.
    entries: VecDeque<Entry>,
    written: usize,
    /// The replies to what is answered next, while more of them are to come.
    replies: Vec<Frame>,
    /// The bytes of all that is unsent.
    unsent_bytes: usize,
    /// Large requests here, unsent or written.
    large: usize,
    /// Replies that are still to come.
    awaited: usize,
    next_ticket: Ticket,
    /// No request is due before this instant. It is a lower bound: completions do not change it.
    quiet_until: Option<Instant>,
    /// When the youngest request was accepted.
    used_at: Option<Instant>,
}

impl Pipeline {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            written: 0,
            replies: Vec::new(),
            unsent_bytes: 0,
            large: 0,
            awaited: 0,
            next_ticket: Ticket(0),
            quiet_until: None,
            used_at: None,
        }
    }

    /// The place of the next request.
    pub(super) const fn next_ticket(&self) -> Ticket {
        self.next_ticket
    }

    #[inline]
    pub(super) fn push(&mut self, accepted: Accepted) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket = Ticket(ticket.0 + 1);
        bring_forward(&mut self.quiet_until, accepted.deadline());
        if self.used_at < Some(accepted.accepted_at()) {
            self.used_at = Some(accepted.accepted_at());
        }
        let request = &accepted.request;
        let is_large = request.size() == Size::Large;
        self.unsent_bytes += request.payload.len();
        self.large += usize::from(is_large);
        self.entries.push_back(Entry {
            ticket,
            left: request.replies.get(),
            is_large,
            outlived_window: false,
            kind: Kind::Wanted(accepted),
        });
        ticket
    }

    /// Appends requests to `buffer`; true if there were any. From here on the server may run them.
    pub(super) fn transmit(&mut self, buffer: &mut WriteBuffer) -> bool {
        let limit = buffer.len() + TAKE;
        let before = self.written;
        while buffer.len() < limit {
            let Some(Entry { kind: Kind::Wanted(accepted), left, .. }) = self.entries.get(self.written)
            else {
                break;
            };
            buffer.push(&accepted.request.payload);
            self.unsent_bytes -= accepted.request.payload.len();
            self.awaited += *left as usize;
            self.written += 1;
        }
        self.written > before
    }

    /// The connection itself has written something that has one reply.
    pub(super) fn expect_own(&mut self, own: Own) {
        let entry = Entry {
            ticket: self.entries.get(self.written).map_or(self.next_ticket, |unsent| unsent.ticket),
            left: 1,
            is_large: false,
            outlived_window: false,
            kind: Kind::Own(own),
        };
        self.entries.insert(self.written, entry);
        self.written += 1;
        self.awaited += 1;
    }

    /// The answer to a command of the subscriptions has come as a push. True if one was the next to be answered.
    pub(super) fn confirm(&mut self) -> bool {
        let is_next = self.next().and_then(Entry::own) == Some(Own::Subscribing);
        if is_next {
            self.take_next();
            self.awaited -= 1;
        }
        is_next
    }

    #[inline]
    pub(super) fn reply(&mut self, frame: Frame) -> Matched {
        if self.is_probe_next() && self.is_second_reply(&frame) {
            return self.answer_probe(frame);
        }
        if self.written == 0 {
            return Matched::Stray;
        }
        let Some(next) = self.entries.front_mut() else { return Matched::Stray };
        self.awaited -= 1;
        if let Some(own) = next.own() {
            self.take_next();
            return Matched::Own(own, frame);
        }
        next.left -= 1;
        let is_wanted = next.accepted().is_some();
        if next.left > 0 {
            if is_wanted {
                self.replies.push(frame);
            }
            return Matched::Nothing;
        }
        self.large -= usize::from(next.is_large);
        // Empty if the request was abandoned.
        let mut replies = std::mem::take(&mut self.replies);
        match self.take_next() {
            Some(Entry { kind: Kind::Wanted(accepted), outlived_window, .. }) => {
                let replies = if replies.is_empty() {
                    Replies::from_buf([frame])
                } else {
                    replies.push(frame);
                    Replies::from_vec(replies)
                };
                Matched::Complete { accepted, replies, outlived_window }
            }
            _ => Matched::Nothing,
        }
    }

    /// Ends the request that is answered next, if it waits for one reply and is not [special](Special). Returns its id and its command.
    #[inline]
    pub(super) fn answer(&mut self) -> Option<(RequestId, Bytes)> {
        let next = self.entries.front().filter(|_| self.written > 0)?;
        let Kind::Wanted(accepted) = &next.kind else { return None };
        if next.left != 1 || accepted.request.special.is_some() || !self.replies.is_empty() {
            return None;
        }
        let Some(Entry { is_large, kind: Kind::Wanted(accepted), .. }) = self.take_next() else {
            return None;
        };
        self.large -= usize::from(is_large);
        self.awaited -= 1;
        Some((accepted.id, accepted.request.payload))
    }

    /// Whether somebody finds out what `-UNBLOCKED` means, if that is the next reply.
    pub(super) fn is_next_proved(&self) -> bool {
        self.entries.front().and_then(Entry::special).is_some_and(|special| special.is_proved)
    }

    #[inline]
    fn is_probe_next(&self) -> bool {
        self.entries.front().is_some_and(Entry::is_probe)
    }

    /// Whether `frame` is the second reply of the command before the PING: the server had held the command up, and has run it. An error may belong
    /// to either, and counts as the PING's.
    #[cold]
    fn is_second_reply(&self, frame: &Frame) -> bool {
        let is_error = || frame.as_error().is_some_and(|text| !text.starts_with(b"UNBLOCKED "));
        !is_pong(frame) && (self.written == 0 || !is_error())
    }

    /// Completes the PING with the second reply of the command before it. A PING that was written keeps its place, because its PONG is still to
    /// come; one that was not written is dropped.
    #[cold]
    fn answer_probe(&mut self, frame: Frame) -> Matched {
        let wanted = |entry: &Entry| entry.is_probe() && entry.accepted().is_some();
        let Some(at) = self.entries.iter().position(wanted) else { return Matched::Nothing };
        let accepted = if at < self.written {
            self.entries[at].abandon()
        } else {
            let unsent = self.entries.remove(at);
            self.unsent_bytes -= unsent.as_ref().map_or(0, Entry::bytes);
            unsent.and_then(Entry::into_accepted)
        };
        match accepted {
            Some(accepted) => {
                Matched::Complete { accepted, replies: Replies::from_buf([frame]), outlived_window: false }
            }
            None => Matched::Nothing,
        }
    }

    /// Cancels a request. True if it was here.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> bool {
        let from = self.entries.partition_point(|entry| entry.ticket < ticket);
        let mut same = self.entries.range(from..).take_while(|entry| entry.ticket == ticket);
        let Some(at) = same.position(|entry| entry.own().is_none()).map(|at| from + at) else { return false };
        if at < self.written {
            return self.abandon(at).is_some();
        }
        let cancelled = self.entries.remove(at);
        self.unsent_bytes -= cancelled.as_ref().map_or(0, Entry::bytes);
        self.large -= usize::from(cancelled.as_ref().is_some_and(|cancelled| cancelled.is_large));
        cancelled.is_some()
    }

    /// Takes out what is due, in order of acceptance, and whether it was written.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(Accepted, bool)> {
        if self.quiet_until.is_none_or(|quiet_until| quiet_until > now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        for at in 0..self.written {
            if self.entries[at].is_due(now) {
                due.extend(self.abandon(at).map(|accepted| (accepted, true)));
            }
        }
        due.extend(self.take_due_unsent(now).into_iter().map(|accepted| (accepted, false)));
        self.quiet_until = earliest(self.waiting().map(Accepted::deadline));
        if self.len() == 0 {
            self.rest(now);
        }
        due
    }

    /// Takes out what is due and was not written, in order of acceptance.
    pub(super) fn take_due_unsent(&mut self, now: Instant) -> Vec<Accepted> {
        let may_be_due = self.quiet_until.is_some_and(|quiet_until| quiet_until <= now);
        if !may_be_due || !self.entries.range(self.written..).any(|unsent| unsent.is_due(now)) {
            return Vec::new();
        }
        let unsent = self.entries.split_off(self.written);
        let (due, waiting): (Vec<_>, Vec<_>) = unsent.into_iter().partition(|unsent| unsent.is_due(now));
        self.entries.extend(waiting);
        self.unsent_bytes -= due.iter().map(Entry::bytes).sum::<usize>();
        self.large -= due.iter().filter(|unsent| unsent.is_large).count();
        due.into_iter().filter_map(Entry::into_accepted).collect()
    }

    /// Gives back the memory of a burst, or asks for one more alarm if the burst may go on.
    fn rest(&mut self, now: Instant) {
        if self.entries.capacity() <= KEPT {
            return;
        }
        let rested_at = self.used_at.map(|used_at| after(used_at, REST));
        self.quiet_until = rested_at.filter(|rested_at| *rested_at > now);
        if self.quiet_until.is_none() {
            self.entries.shrink_to(KEPT);
        }
    }

    /// Extends the deadlines of everything here.
    pub(super) fn relax(&mut self, relaxed: Duration) {
        if self.entries.is_empty() {
            return;
        }
        for entry in &mut self.entries {
            if let Kind::Wanted(accepted) = &mut entry.kind {
                accepted.relax(relaxed);
            }
        }
        // Where nobody waits, the alarm stays for which memory is given back.
        self.quiet_until = earliest(self.waiting().map(Accepted::deadline)).or(self.quiet_until);
    }

    /// A window closes that was open for everything written so far.
    pub(super) fn close_window(&mut self) {
        for written in self.entries.range_mut(..self.written) {
            written.outlived_window = true;
        }
    }

    /// Whether what is answered next was written in a window that has closed since.
    pub(super) fn next_has_outlived_window(&self) -> bool {
        self.next().is_some_and(|next| next.outlived_window)
    }

    /// Takes out everything that was not written, in order.
    pub(super) fn take_unsent(&mut self) -> impl Iterator<Item = Accepted> + use<> {
        let unsent = self.entries.split_off(self.written);
        self.unsent_bytes = 0;
        self.large -= unsent.iter().filter(|unsent| unsent.is_large).count();
        unsent.into_iter().filter_map(Entry::into_accepted)
    }

    /// Takes out the request whose reply is the next to come, unless it was cancelled or has timed out.
    pub(super) fn take_oldest(&mut self) -> Option<Accepted> {
        if self.written > 0 { self.abandon(0) } else { None }
    }

    /// Takes out everything that was written, in order, but for what was cancelled or has timed out.
    pub(super) fn take_written(&mut self) -> impl Iterator<Item = Accepted> + use<> {
        let unsent = self.entries.split_off(self.written);
        let written = std::mem::replace(&mut self.entries, unsent);
        self.written = 0;
        self.awaited = 0;
        self.replies = Vec::new();
        self.large -= written.iter().filter(|written| written.is_large).count();
        written.into_iter().filter_map(Entry::into_accepted)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.entries.len() > self.written
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// True if a large request is here. One that was cancelled after it was written counts until its replies are in.
    pub(super) fn has_large(&self) -> bool {
        self.large > 0
    }

    /// Replies that are still to come.
    pub(super) fn awaited(&self) -> usize {
        self.awaited
    }

    /// True if no reply is awaited. A cancelled request counts until its replies are in.
    pub(super) fn is_drained(&self) -> bool {
        self.written == 0
    }

    /// How long the server was asked to wait before the reply that is the next to come.
    pub(super) fn blocking(&self) -> Option<Blocking> {
        self.next()?.special()?.blocking
    }

    /// True if somebody waits for a reply.
    pub(super) fn is_awaited(&self) -> bool {
        self.entries.range(..self.written).any(|written| written.accepted().is_some())
    }

    /// Requests here. A cancelled one that was written counts until its replies are in.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Requests that were written and that nobody waits for any more.
    pub(super) fn abandoned(&self) -> usize {
        let written = self.entries.range(..self.written);
        written.filter(|written| matches!(written.kind, Kind::Abandoned(_))).count()
    }

    /// How many frames to hand in at a time, so that there are `parts`. A request with many replies is answered by the last of them, so
    /// that few requests make few parts.
    pub(super) fn batch(&self, parts: usize) -> usize {
        let parts = parts.min(self.written).max(1);
        (self.awaited / parts).clamp(BATCH.0, BATCH.1)
    }

    /// What is answered next.
    fn next(&self) -> Option<&Entry> {
        self.entries.front().filter(|_| self.written > 0)
    }

    /// Takes out what is answered next.
    #[inline]
    fn take_next(&mut self) -> Option<Entry> {
        self.written = self.written.checked_sub(1)?;
        self.entries.pop_front()
    }

    /// Takes out the request at this place, if somebody waits for it. Those of its replies that have come are dropped, and the others will be.
    fn abandon(&mut self, at: usize) -> Option<Accepted> {
        if at == 0 {
            self.replies = Vec::new();
        }
        self.entries[at].abandon()
    }

    fn waiting(&self) -> impl Iterator<Item = &Accepted> {
        self.entries.iter().filter_map(Entry::accepted)
    }
}
