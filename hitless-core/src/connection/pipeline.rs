//! The two queues of a connection: requests that wait to be written, and requests that wait for their replies. Order alone
//! pairs requests with replies, so a written request keeps its place until its replies are in.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::accepted::Accepted;
use crate::command_table::Blocking;
use crate::request::{LARGE, Replies, Size, Special};
use crate::timer::{after, earliest};
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
const PARTS: usize = 4;
/// The fewest and the most replies in a batch. Each batch takes the lock of the client once, for as long as it lasts.
const BATCH: (usize, usize) = (2, 64);
/// Places that an empty queue keeps.
const KEPT: usize = 8;
/// How long a queue is unused before it gives the other places back: bursts come in groups.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
struct Unsent {
    ticket: Ticket,
    accepted: Accepted,
}

impl Unsent {
    fn bytes(&self) -> usize {
        self.accepted.request.payload.len()
    }

    fn is_large(&self) -> bool {
        self.accepted.request.size() == Size::Large
    }
}

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
struct Written {
    ticket: Ticket,
    /// `None` once it was cancelled or has timed out: its replies still come and are swallowed.
    accepted: Option<Accepted>,
    left: u32,
    replies: Replies,
    is_large: bool,
    /// What the request has of it: it may block the server also once nobody waits for it here.
    special: Option<Arc<Special>>,
    /// What it is, if the connection itself has sent it.
    own: Option<Own>,
}

/// What a connection sends of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Own {
    OptIn,
    Auth,
    /// A command of the subscriptions.
    Subscribing,
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
    unsent: VecDeque<Unsent>,
    /// The bytes of all that is unsent.
    unsent_bytes: usize,
    written: VecDeque<Written>,
    /// Large requests here, unsent or written.
    large: usize,
    /// Replies that are still to come.
    awaited: usize,
    next_ticket: u64,
    /// Written requests that are older than this were under way when a window closed.
    window_closed_before: Ticket,
    /// No request is due before this instant. It is a lower bound: completions do not change it.
    quiet_until: Option<Instant>,
    /// When the youngest request was accepted.
    used_at: Option<Instant>,
}

impl Pipeline {
    pub(super) const fn new() -> Self {
        Self {
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            written: VecDeque::new(),
            large: 0,
            awaited: 0,
            next_ticket: 0,
            window_closed_before: Ticket(0),
            quiet_until: None,
            used_at: None,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, accepted: Accepted) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.quiet_until = earliest([self.quiet_until, accepted.deadline()]);
        self.used_at = self.used_at.max(Some(accepted.accepted_at()));
        let unsent = Unsent { ticket, accepted };
        self.unsent_bytes += unsent.bytes();
        self.large += usize::from(unsent.is_large());
        self.unsent.push_back(unsent);
        ticket
    }

    /// Appends requests to `buffer`; true if there were any. From here on the server may run them.
    pub(super) fn transmit(&mut self, buffer: &mut WriteBuffer) -> bool {
        let limit = buffer.len() + TAKE;
        let mut any = false;
        while buffer.len() < limit {
            let Some(unsent) = self.unsent.pop_front() else { break };
            self.unsent_bytes -= unsent.bytes();
            let is_large = unsent.is_large();
            let Unsent { ticket, accepted } = unsent;
            buffer.push(&accepted.request.payload);
            let (left, special) = (accepted.request.replies.get(), accepted.request.special.clone());
            self.awaited += left as usize;
            self.written.push_back(Written {
                ticket,
                accepted: Some(accepted),
                left,
                replies: Replies::new(),
                own: None,
                is_large,
                special,
            });
            any = true;
        }
        any
    }

    /// The connection itself has written something that has one reply.
    pub(super) fn expect_own(&mut self, own: Own) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let replies = Replies::new();
        let written = Written {
            ticket,
            accepted: None,
            left: 1,
            replies,
            is_large: false,
            special: None,
            own: Some(own),
        };
        self.written.push_back(written);
        self.awaited += 1;
    }

    /// The answer to a command of the subscriptions has come as a push. True if one was the next to be answered.
    pub(super) fn confirm(&mut self) -> bool {
        let is_next = self.written.front().is_some_and(|written| written.own == Some(Own::Subscribing));
        if is_next {
            self.written.pop_front();
            self.awaited -= 1;
        }
        is_next
    }

    #[inline]
    pub(super) fn reply(&mut self, frame: Frame) -> Matched {
        let Some(front) = self.written.front_mut() else { return Matched::Stray };
        self.awaited -= 1;
        if let Some(own) = front.own {
            self.written.pop_front();
            return Matched::Own(own, frame);
        }
        front.left -= 1;
        if front.accepted.is_some() {
            front.replies.push(frame);
        }
        if front.left > 0 {
            return Matched::Nothing;
        }
        self.large -= usize::from(front.is_large);
        match self.written.pop_front() {
            Some(Written { ticket, accepted: Some(accepted), replies, .. }) => {
                let outlived_window = ticket < self.window_closed_before;
                Matched::Complete { accepted, replies, outlived_window }
            }
            _ => Matched::Nothing,
        }
    }

    /// Cancels a request. True if it was here.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> bool {
        if let Ok(at) = self.unsent.binary_search_by_key(&ticket, |unsent| unsent.ticket) {
            let cancelled = self.unsent.remove(at);
            self.unsent_bytes -= cancelled.as_ref().map_or(0, Unsent::bytes);
            self.large -= usize::from(cancelled.as_ref().is_some_and(Unsent::is_large));
            return cancelled.is_some();
        }
        let Ok(at) = self.written.binary_search_by_key(&ticket, |written| written.ticket) else {
            return false;
        };
        let written = &mut self.written[at];
        written.replies = Replies::new();
        written.accepted.take().is_some()
    }

    /// Takes out what is due, in order of acceptance, and whether it was written.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(Accepted, bool)> {
        if self.quiet_until.is_none_or(|quiet_until| quiet_until > now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        for written in &mut self.written {
            if written.accepted.as_ref().is_some_and(|accepted| accepted.is_due(now)) {
                written.replies = Replies::new();
                due.extend(written.accepted.take().map(|accepted| (accepted, true)));
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
        if !may_be_due || !self.unsent.iter().any(|unsent| unsent.accepted.is_due(now)) {
            return Vec::new();
        }
        let (due, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.unsent).into_iter().partition(|unsent| unsent.accepted.is_due(now));
        self.unsent = waiting;
        self.unsent_bytes -= due.iter().map(Unsent::bytes).sum::<usize>();
        self.large -= due.iter().filter(|unsent| unsent.is_large()).count();
        due.into_iter().map(|unsent| unsent.accepted).collect()
    }

    /// Gives back the memory of a burst, or asks for one more alarm if the burst may go on.
    fn rest(&mut self, now: Instant) {
        if self.unsent.capacity().max(self.written.capacity()) <= KEPT {
            return;
        }
        let rested_at = self.used_at.map(|used_at| after(used_at, REST));
        self.quiet_until = rested_at.filter(|rested_at| *rested_at > now);
        if self.quiet_until.is_none() {
            self.unsent.shrink_to(KEPT);
            self.written.shrink_to(KEPT);
        }
    }

    /// Extends the deadlines of everything here.
    pub(super) fn relax(&mut self, relaxed: Duration) {
        for written in &mut self.written {
            if let Some(accepted) = &mut written.accepted {
                accepted.relax(relaxed);
            }
        }
        for unsent in &mut self.unsent {
            unsent.accepted.relax(relaxed);
        }
        self.quiet_until = earliest(self.waiting().map(Accepted::deadline));
    }

    /// A window closes that was open for everything written so far.
    pub(super) fn close_window(&mut self) {
        let unsent = self.unsent.front().map(|unsent| unsent.ticket);
        self.window_closed_before = unsent.unwrap_or(Ticket(self.next_ticket));
    }

    /// Whether what is answered next was written in a window that has closed since.
    pub(super) fn next_has_outlived_window(&self) -> bool {
        self.written.front().is_some_and(|written| written.ticket < self.window_closed_before)
    }

    /// Takes out everything that was not written, in order.
    pub(super) fn take_unsent(&mut self) -> impl Iterator<Item = Accepted> + use<> {
        self.unsent_bytes = 0;
        self.large -= self.unsent.iter().filter(|unsent| unsent.is_large()).count();
        std::mem::take(&mut self.unsent).into_iter().map(|unsent| unsent.accepted)
    }

    /// Takes out the request whose reply is the next to come, unless it was cancelled or has timed out.
    pub(super) fn take_oldest(&mut self) -> Option<Accepted> {
        self.written.front_mut()?.accepted.take()
    }

    /// Takes out everything that was written, in order, but for what was cancelled or has timed out.
    pub(super) fn take_written(&mut self) -> impl Iterator<Item = Accepted> + use<> {
        self.awaited = 0;
        self.large -= self.written.iter().filter(|written| written.is_large).count();
        std::mem::take(&mut self.written).into_iter().filter_map(|written| written.accepted)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
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
        self.written.is_empty()
    }

    /// How long the server was asked to wait before the reply that is the next to come.
    pub(super) fn blocking(&self) -> Option<Blocking> {
        self.written.front()?.special.as_ref()?.blocking
    }

    /// True if somebody waits for a reply.
    pub(super) fn is_awaited(&self) -> bool {
        self.written.iter().any(|written| written.accepted.is_some())
    }

    /// Requests here. A cancelled one that was written counts until its replies are in.
    pub(super) fn len(&self) -> usize {
        self.unsent.len() + self.written.len()
    }

    /// Requests that were written and that nobody waits for any more.
    pub(super) fn abandoned(&self) -> usize {
        self.written.iter().filter(|written| written.accepted.is_none() && written.own.is_none()).count()
    }

    /// How many frames are worth handing in at a time. A request with many replies is answered by the last of them, so
    /// that few requests make few parts.
    pub(super) fn batch(&self) -> usize {
        let parts = self.written.len().clamp(1, PARTS);
        (self.awaited / parts).clamp(BATCH.0, BATCH.1)
    }

    fn waiting(&self) -> impl Iterator<Item = &Accepted> {
        let written = self.written.iter().filter_map(|written| written.accepted.as_ref());
        written.chain(self.unsent.iter().map(|unsent| &unsent.accepted))
    }
}
