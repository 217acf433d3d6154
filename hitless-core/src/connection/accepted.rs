//! An accepted request, until it is completed.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::{Duration, Instant};

use resp3_codec::Frame;

use crate::error::{Delivery, Refusal};
use crate::ids::RequestId;
use crate::request::{Class, Replay, Request};
use crate::timer::after;
use crate::windows::effective_timeout;

/// The pause before a refused request is sent again. It doubles each time.
const FIRST_DEFERRAL: Duration = Duration::from_millis(20);
const LONGEST_DEFERRAL: Duration = Duration::from_secs(1);

/// How often a request that may run twice is sent again: one that has broken three links would break every other one.
const REPLAYS: u8 = 2;

/// An accepted request with its deadline. It may wait, be written, and come back to wait again. It cannot be in two
/// places: it moves by value.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub struct Accepted {
    /// Its id.
    pub id: RequestId,
    /// What was asked for.
    pub request: Request,
    accepted_at: Instant,
    deadline: Option<Instant>,
    /// How often it was deferred, up to 255.
    deferrals: u8,
    delivery: Delivery,
    /// How often it may have run without an answer, up to 255.
    losses: u8,
}

impl Accepted {
    /// Accepts `request` now. `configured` is the client's command timeout, `relaxed` that of an open window.
    #[inline]
    #[must_use]
    pub fn new(
        now: Instant,
        id: RequestId,
        request: Request,
        configured: Option<Duration>,
        relaxed: Option<Duration>,
    ) -> Self {
        Self::until(deadline(&request, now, configured, relaxed), now, id, request)
    }

    /// Accepts `request` now, with this deadline.
    #[inline]
    pub(super) const fn until(
        deadline: Option<Instant>,
        now: Instant,
        id: RequestId,
        request: Request,
    ) -> Self {
        Self { id, request, accepted_at: now, deadline, deferrals: 0, delivery: Delivery::NotSent, losses: 0 }
    }

    /// When it times out; `None` is never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// From acceptance to the deadline.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(self.accepted_at))
    }

    /// When it was accepted.
    #[must_use]
    pub fn accepted_at(&self) -> Instant {
        self.accepted_at
    }

    /// Whether it may have run: `Unknown` once a connection that it was written to was lost, or the server has
    /// refused a part of it.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The connection that it was written to is lost: it may have run, whatever becomes of it now.
    pub fn lose_reply(&mut self) {
        self.delivery = Delivery::Unknown;
        self.losses = self.losses.saturating_add(1);
    }

    /// Some of its commands have run, and all replies came: no link was lost.
    pub(super) fn note_partly_run(&mut self) {
        self.delivery = Delivery::Unknown;
    }

    /// Whether a link that had carried it was lost: whatever has broken that one may break the next.
    pub(crate) fn was_lost(&self) -> bool {
        self.losses > 0
    }

    /// Whether it may be sent again after one more loss: its replay rule allows that, and it was not sent again twice.
    pub(super) fn may_be_replayed(&self) -> bool {
        let is_repeatable = self.request.replay == Replay::Idempotent && self.request.class == Class::Shared;
        is_repeatable && self.losses < REPLAYS
    }

    /// True if some of its commands did not run at this node of a cluster, and may run at another one.
    pub(super) fn may_run_elsewhere(&self, replies: &[Frame]) -> bool {
        matches!(self.request.class, Class::Shared | Class::Atomic)
            && replies.iter().filter_map(Frame::as_error).any(Refusal::concerns_node)
    }

    /// True if the server refused all of it, or some of it and the rest may run again.
    pub(super) fn may_run_later(&self, replies: &[Frame]) -> bool {
        self.request.class == Class::Shared
            && match self.may_be_replayed() {
                true => replies.iter().any(did_not_run),
                false => !self.request.has_script && replies.iter().all(did_not_run),
            }
    }

    /// A window is open: extends the deadline, unless the caller has chosen it. Never shortens it.
    pub fn relax(&mut self, relaxed: Duration) {
        if let (Some(deadline), Some(limit)) = (self.deadline, self.request.time_limit(Some(relaxed))) {
            self.deadline = Some(deadline.max(after(self.accepted_at, limit)));
        }
    }

    /// The server has refused to run it for now. Returns how long to wait before sending it again.
    pub fn defer(&mut self) -> Duration {
        let pause = deferral(self.deferrals.into());
        self.deferrals = self.deferrals.saturating_add(1);
        pause
    }

    /// True if its deadline has come.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// When `request` times out if it is accepted now; see [`Accepted::new`].
#[inline]
pub(super) fn deadline(
    request: &Request,
    now: Instant,
    configured: Option<Duration>,
    relaxed: Option<Duration>,
) -> Option<Instant> {
    Some(after(now, request.time_limit(effective_timeout(configured, relaxed))?))
}

/// True if the reply proves that the command did not run, unless that is a script: the error of a demoted, a loading or an
/// orphaned server.
pub(super) fn did_not_run(reply: &Frame) -> bool {
    reply.as_error().and_then(Refusal::of_code).is_some()
}

/// The pause before something is sent again that the server has refused `before` times before.
pub(crate) fn deferral(before: u32) -> Duration {
    FIRST_DEFERRAL.saturating_mul(1 << before.min(8)).min(LONGEST_DEFERRAL)
}
