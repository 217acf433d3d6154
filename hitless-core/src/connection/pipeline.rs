//! The two queues of a connection: what waits to be written, and what waits for its replies. Order is the only
//! correlation between requests and replies, so nothing is ever taken out of the middle of what was written.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::accepted::Accepted;
use crate::request::Replies;
use crate::timer::{after, earliest};
use crate::write_buffer::WriteBuffer;

/// The place of a request in its connection, valid until it completes or leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[cfg(test)]
impl Ticket {
    /// The ticket of the request number `place`, for tests of those who keep tickets.
    pub(crate) const fn nth(place: u64) -> Self {
        Self(place)
    }
}

/// The most that one call hands out (the last request may exceed it).
const TAKE: usize = 64 * 1024;
/// What is awaited is handed in by so many parts: while the client works on one, the server works on the others.
const PARTS: usize = 4;
/// The fewest and the most replies that make a batch: each costs a visit, and nothing else runs during it.
const BATCH: (usize, usize) = (2, 64);
/// Places that a queue keeps although nothing waits in it.
const KEPT: usize = 8;
/// How long nothing must have come before a queue gives the others back: a burst does not come alone.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
struct Unsent {
    ticket: Ticket,
    accepted: Accepted,
}

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
struct Written {
    ticket: Ticket,
    /// `None` once it was cancelled or has timed out: its replies still come and are swallowed.
    accepted: Option<Accepted>,
    left: u32,
    replies: Replies,
    /// The connection itself has asked.
    own: bool,
}

/// What one reply did.
#[derive(Debug)]
pub(super) enum Matched {
    /// Nobody is waiting for a reply.
    Stray,
    /// More replies are to come, or nobody is interested any more.
    Nothing,
    /// The last reply of a request, which a window that is closed by now may have found under way.
    Complete { accepted: Accepted, replies: Replies, outlived_window: bool },
    /// The reply to what the connection itself has asked.
    Own(Frame),
}

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Pipeline {
    unsent: VecDeque<Unsent>,
    written: VecDeque<Written>,
    /// Replies to come for what is written.
    awaited: usize,
    next_ticket: u64,
    /// What is older than this and written was under way when a window was closed.
    window_closed_before: Ticket,
    /// Nothing is due before this instant. Only a lower bound, so that completions need not maintain it.
    quiet_until: Option<Instant>,
    /// When the youngest request was accepted.
    used_at: Option<Instant>,
}

impl Pipeline {
    pub(super) const fn new() -> Self {
        Self {
            unsent: VecDeque::new(),
            written: VecDeque::new(),
            awaited: 0,
            next_ticket: 0,
            window_closed_before: Ticket(0),
            quiet_until: None,
            used_at: None,
        }
    }

    pub(super) fn push(&mut self, accepted: Accepted) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.quiet_until = earliest([self.quiet_until, accepted.deadline()]);
        self.used_at = self.used_at.max(Some(accepted.accepted_at()));
        self.unsent.push_back(Unsent { ticket, accepted });
        ticket
    }

    /// Hands bytes out; true if there were any. From here on the server may run these requests.
    pub(super) fn transmit(&mut self, buffer: &mut WriteBuffer) -> bool {
        let limit = buffer.len() + TAKE;
        let mut any = false;
        while buffer.len() < limit {
            let Some(Unsent { ticket, accepted }) = self.unsent.pop_front() else { break };
            buffer.push(&accepted.request.payload);
            let left = accepted.request.replies.get();
            self.awaited += left as usize;
            self.written.push_back(Written {
                ticket,
                accepted: Some(accepted),
                left,
                replies: Replies::new(),
                own: false,
            });
            any = true;
        }
        any
    }

    /// Something was written that is no caller's and calls for one reply.
    pub(super) fn expect_own(&mut self) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let replies = Replies::new();
        self.written.push_back(Written { ticket, accepted: None, left: 1, replies, own: true });
        self.awaited += 1;
    }

    pub(super) fn reply(&mut self, frame: Frame) -> Matched {
        let Some(front) = self.written.front_mut() else { return Matched::Stray };
        self.awaited -= 1;
        if front.own {
            self.written.pop_front();
            return Matched::Own(frame);
        }
        front.left -= 1;
        if front.accepted.is_some() {
            front.replies.push(frame);
        }
        if front.left > 0 {
            return Matched::Nothing;
        }
        match self.written.pop_front() {
            Some(Written { ticket, accepted: Some(accepted), replies, .. }) => {
                let outlived_window = ticket < self.window_closed_before;
                Matched::Complete { accepted, replies, outlived_window }
            }
            _ => Matched::Nothing,
        }
    }

    /// Gives up on a request. True if it was here.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> bool {
        if let Ok(at) = self.unsent.binary_search_by_key(&ticket, |unsent| unsent.ticket) {
            return self.unsent.remove(at).is_some();
        }
        let Ok(at) = self.written.binary_search_by_key(&ticket, |written| written.ticket) else {
            return false;
        };
        let written = &mut self.written[at];
        written.replies = Replies::new();
        written.accepted.take().is_some()
    }

    /// Takes out what is due: `(request, true if it was written)`, in order of acceptance.
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
        if self.unsent.iter().any(|unsent| unsent.accepted.is_due(now)) {
            for unsent in std::mem::take(&mut self.unsent) {
                if unsent.accepted.is_due(now) {
                    due.push((unsent.accepted, false));
                } else {
                    self.unsent.push_back(unsent);
                }
            }
        }
        self.quiet_until = earliest(self.waiting().map(Accepted::deadline));
        if self.len() == 0 {
            self.rest(now);
        }
        due
    }

    /// Gives back what a burst needed, or asks for one more alarm if it is too early to say that it is over.
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

    /// The window is closed that was open for everything written so far.
    pub(super) fn close_window(&mut self) {
        let unsent = self.unsent.front().map(|unsent| unsent.ticket);
        self.window_closed_before = unsent.unwrap_or(Ticket(self.next_ticket));
    }

    /// Takes out everything that was not written, in order.
    pub(super) fn take_unsent(&mut self) -> impl Iterator<Item = Accepted> + use<> {
        std::mem::take(&mut self.unsent).into_iter().map(|unsent| unsent.accepted)
    }

    /// Takes out everything that was written and is still wanted, in order.
    pub(super) fn take_written(&mut self) -> impl Iterator<Item = Accepted> + use<> {
        self.awaited = 0;
        std::mem::take(&mut self.written).into_iter().filter_map(|written| written.accepted)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// True if every reply that will come has come. A cancelled request counts until its replies are in.
    pub(super) fn is_drained(&self) -> bool {
        self.written.is_empty()
    }

    /// Requests here, swallowed ones included.
    pub(super) fn len(&self) -> usize {
        self.unsent.len() + self.written.len()
    }

    /// How many frames are worth handing in at a time. A request with many replies is answered by the last of them, so that
    /// few requests make few parts.
    pub(super) fn batch(&self) -> usize {
        let parts = self.written.len().clamp(1, PARTS);
        (self.awaited / parts).clamp(BATCH.0, BATCH.1)
    }

    fn waiting(&self) -> impl Iterator<Item = &Accepted> {
        let written = self.written.iter().filter_map(|written| written.accepted.as_ref());
        written.chain(self.unsent.iter().map(|unsent| &unsent.accepted))
    }
}
