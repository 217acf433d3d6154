//! The queue of callers that wait for room: as many requests as configured are under way, and calls do not fail for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::effects::Effects;
use super::error::Error;
use super::handle::Client;
use super::lease::Lease;
use super::reply::Reply;
use super::shared::Shared;
use super::traits::Runtime;
use crate::error::RequestError;
use crate::ids::LeaseId;
use crate::request::{Request, SendError};
use crate::timer::earliest;

/// The callers that wait, in the order of arrival. Room is reserved for a caller that was notified: a later caller cannot
/// take it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waiting>,
    notified: BTreeSet<u64>,
    next: u64,
    /// Nobody's time is over before this instant. It is a lower bound: those who leave do not change it.
    quiet_until: Option<Instant>,
}

struct Waiting {
    waker: Waker,
    deadline: Option<Instant>,
}

/// The turn of one caller.
#[derive(Default)]
pub(super) struct Turn {
    /// Its place in the queue, once it waits.
    pub(super) position: Option<u64>,
    /// When it came: the time of its request counts from here.
    pub(super) since: Option<Instant>,
    /// The lease that its request is for.
    pub(super) lease: Option<LeaseId>,
}

/// Why a request was not accepted.
pub(super) enum Refusal {
    Send(SendError),
    /// The time of the request was over before there was room.
    TimedOut(RequestError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Send(error) => error.into(),
            Refusal::TimedOut(error) => error.into(),
        }
    }
}

impl Queue {
    /// Wakes as many callers as there is room for.
    pub(super) fn notify(&mut self, room: usize, effects: &mut Effects) {
        while self.notified.len() < room {
            let Some((position, waiting)) = self.waiting.pop_first() else { return };
            self.notified.insert(position);
            effects.wakers.push(waiting.waker);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether it is the turn of the caller at `position`; a caller without one has just arrived.
    pub(super) fn is_next(&self, position: Option<u64>, room: usize) -> bool {
        let is_notified = position.is_some_and(|position| self.notified.contains(&position));
        let first = self.waiting.first_key_value().map(|(first, _)| *first);
        let is_first = first.is_none_or(|first| position == Some(first));
        is_notified || (is_first && self.notified.len() < room)
    }

    /// Waits at `position`, or at the end of the queue. Returns the waker of before: dropping it runs foreign code.
    pub(super) fn wait(
        &mut self,
        position: &mut Option<u64>,
        waker: Waker,
        deadline: Option<Instant>,
    ) -> Option<Waker> {
        let position = *position.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.notified.remove(&position);
        self.quiet_until = earliest([self.quiet_until, deadline]);
        Some(self.waiting.insert(position, Waiting { waker, deadline })?.waker)
    }

    /// Takes the callers out whose time is over. Each looks by itself, and waits on if its time was extended.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        if self.quiet_until.is_none_or(|quiet_until| quiet_until > now) {
            return Vec::new();
        }
        let is_due = |waiting: &Waiting| waiting.deadline.is_some_and(|at| at <= now);
        let due = self.waiting.iter().filter(|(_, waiting)| is_due(waiting)).map(|(position, _)| *position);
        let due: Vec<u64> = due.collect();
        let wakers = due.iter().filter_map(|position| Some(self.waiting.remove(position)?.waker)).collect();
        self.quiet_until = earliest(self.waiting.values().map(|waiting| waiting.deadline));
        wakers
    }

    /// When the time of a caller is over, or a little earlier.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    pub(super) fn leave(&mut self, position: u64) -> Option<Waker> {
        self.notified.remove(&position);
        Some(self.waiting.remove(&position)?.waker)
    }
}

/// Leaves the queue when it is dropped.
struct QueueGuard<'a, R: Runtime> {
    shared: &'a Shared<R>,
    turn: Turn,
}

impl<R: Runtime> Drop for QueueGuard<'_, R> {
    fn drop(&mut self) {
        if let Some(position) = self.turn.position {
            // The next caller is notified as well: this one may have been, and does not use its turn.
            self.shared.leave_queue(position);
        }
    }
}

/// Sends `request` when there is room for it and it is its turn, or fails when its time is over before that.
///
/// # Cancel safety
/// Until it is done the request was not accepted.
pub(super) async fn send<R: Runtime>(
    client: &Client<R>,
    request: Request,
    lease: Option<&Lease<R>>,
) -> Result<Reply<R>, Error> {
    let shared: &Arc<Shared<R>> = client.shared();
    let accepted = |(id, waiter)| Reply::new(client.clone(), waiter, id, lease.cloned());
    let turn = Turn { lease: lease.map(Lease::id), ..Turn::default() };
    let mut guard = QueueGuard { shared, turn };
    let mut request = match shared.send_in_turn(&mut guard.turn, request, None) {
        Err(Refusal::Send(SendError::Full(back))) => Some(back),
        done => return Ok(accepted(done?)),
    };
    std::future::poll_fn(|cx| {
        let Some(again) = request.take() else { return std::task::Poll::Pending };
        match shared.send_in_turn(&mut guard.turn, again, Some(cx.waker().clone())) {
            Err(Refusal::Send(SendError::Full(back))) => {
                request = Some(back);
                std::task::Poll::Pending
            }
            done => std::task::Poll::Ready(done.map(accepted).map_err(Error::from)),
        }
    })
    .await
}
