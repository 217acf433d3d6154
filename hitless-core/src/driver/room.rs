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

/// The callers that wait. Those of the pool stand in one line and those of each lease in another, because each connection
/// has room of its own; whoever finds room goes in the order of arrival. Room is reserved for a caller that was notified: a
/// later caller cannot take it.
#[derive(Default)]
pub(super) struct Queue {
    /// No line is empty.
    lines: BTreeMap<Option<LeaseId>, BTreeMap<u64, Waiting>>,
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
    /// Waiting for room is useless.
    Crowded(SendError),
    /// The time of the request was over before there was room.
    TimedOut(RequestError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Send(error) | Refusal::Crowded(error) => error.into(),
            Refusal::TimedOut(error) => error.into(),
        }
    }
}

impl Queue {
    /// Wakes as many callers as there is room for. `room` says how much a lease has, or the pool.
    pub(super) fn notify(&mut self, room: impl Fn(Option<LeaseId>) -> usize, effects: &mut Effects) {
        loop {
            let served = self.lines.iter().filter(|(lease, _)| self.notified.len() < room(**lease));
            let firsts = served.filter_map(|(lease, line)| Some((*line.first_key_value()?.0, *lease)));
            let Some((position, lease)) = firsts.min() else { return };
            self.notified.insert(position);
            effects.wakers.extend(self.take(lease, position));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// True if nobody waits, and room is reserved for nobody.
    pub(super) fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.notified.is_empty()
    }

    /// Whether it is the turn of this caller; one without a position has just arrived. `room` is what its line has.
    pub(super) fn is_next(&self, turn: &Turn, room: usize) -> bool {
        let is_notified = turn.position.is_some_and(|position| self.notified.contains(&position));
        let line = self.lines.get(&turn.lease);
        let first = line.and_then(|line| line.first_key_value()).map(|(first, _)| *first);
        let is_first = first.is_none_or(|first| turn.position == Some(first));
        is_notified || (is_first && self.notified.len() < room)
    }

    /// Waits at the position of `turn`, or at the end of its line. Returns the waker of before: dropping it runs foreign code.
    pub(super) fn wait(&mut self, turn: &mut Turn, waker: Waker, deadline: Option<Instant>) -> Option<Waker> {
        let position = *turn.position.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.notified.remove(&position);
        self.quiet_until = earliest([self.quiet_until, deadline]);
        let line = self.lines.entry(turn.lease).or_default();
        Some(line.insert(position, Waiting { waker, deadline })?.waker)
    }

    /// Takes the callers out whose time is over. Each looks by itself, and waits on if its time was extended.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        if self.quiet_until.is_none_or(|quiet_until| quiet_until > now) {
            return Vec::new();
        }
        let is_due = |waiting: &Waiting| waiting.deadline.is_some_and(|at| at <= now);
        let due = self.all().filter(|(.., waiting)| is_due(waiting));
        let due: Vec<_> = due.map(|(lease, position, _)| (lease, position)).collect();
        let wakers = due.into_iter().filter_map(|(lease, position)| self.take(lease, position)).collect();
        self.quiet_until = earliest(self.all().map(|(.., waiting)| waiting.deadline));
        wakers
    }

    /// When the time of a caller is over, or a little earlier.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    /// The caller does not wait any more.
    pub(super) fn leave(&mut self, lease: Option<LeaseId>, position: u64) -> Option<Waker> {
        self.notified.remove(&position);
        self.take(lease, position)
    }

    fn take(&mut self, lease: Option<LeaseId>, position: u64) -> Option<Waker> {
        let line = self.lines.get_mut(&lease)?;
        let taken = line.remove(&position);
        if line.is_empty() {
            self.lines.remove(&lease);
        }
        Some(taken?.waker)
    }

    fn all(&self) -> impl Iterator<Item = (Option<LeaseId>, u64, &Waiting)> {
        self.lines
            .iter()
            .flat_map(|(lease, line)| line.iter().map(|(position, waiting)| (*lease, *position, waiting)))
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
            self.shared.leave_queue(self.turn.lease, position);
        }
    }
}

/// Sends `request` when there is room for it and it is its turn, or fails when its time is over before that.
///
/// # Cancel safety
/// Until it is done the request was not accepted.
pub(super) async fn send<R: Runtime>(
    client: Client<R>,
    request: Request,
    lease: Option<&Lease<R>>,
) -> Result<Reply<R>, Error> {
    send_since(client, request, lease, None).await
}

/// [`send`] for a caller whose time counts from `since`, or from now.
///
/// # Cancel safety
/// Until it is done the request was not accepted.
pub(super) async fn send_since<R: Runtime>(
    client: Client<R>,
    request: Request,
    lease: Option<&Lease<R>>,
    since: Option<Instant>,
) -> Result<Reply<R>, Error> {
    let mut turn = Turn { lease: lease.map(Lease::id), since, ..Turn::default() };
    let mut request = match client.shared().send_in_turn(&mut turn, request, None) {
        Err(Refusal::Send(SendError::Full(back))) => Some(back),
        done => {
            let (id, waiter) = done?;
            return Ok(Reply::new(client, waiter, id, lease.cloned()));
        }
    };
    let shared: &Arc<Shared<R>> = client.shared();
    let mut guard = QueueGuard { shared, turn };
    let accepted = std::future::poll_fn(|cx| {
        let Some(again) = request.take() else { return std::task::Poll::Pending };
        match shared.send_in_turn(&mut guard.turn, again, Some(cx.waker().clone())) {
            Err(Refusal::Send(SendError::Full(back))) => {
                request = Some(back);
                std::task::Poll::Pending
            }
            done => std::task::Poll::Ready(done),
        }
    });
    let (id, waiter) = accepted.await?;
    Ok(Reply::new(client.clone(), waiter, id, lease.cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Arena;

    fn wait(queue: &mut Queue, lease: Option<LeaseId>) -> Turn {
        let mut turn = Turn { lease, ..Turn::default() };
        queue.wait(&mut turn, Waker::noop().clone(), None);
        turn
    }

    /// Room on one connection is no use to those who wait for another one: they sleep on, and hold nobody up. RULE-119
    #[test]
    fn each_caller_is_woken_by_room_where_it_waits() {
        let mut leases = Arena::new();
        let [full, free] = [(), ()].map(|()| Some(leases.insert(())));
        let (mut queue, mut effects) = (Queue::default(), Effects::default());
        let [first, second, third, last] = [full, None, free, None].map(|lease| wait(&mut queue, lease));
        let room = |lease| if lease == full { 0 } else { 2 };
        queue.notify(room, &mut effects);
        assert_eq!(effects.wakers.len(), 2);
        let may_go = |queue: &Queue, turn: &Turn| queue.is_next(turn, room(turn.lease));
        assert!(may_go(&queue, &second) && may_go(&queue, &third), "in the order of arrival");
        assert!(!may_go(&queue, &first) && !may_go(&queue, &last));
        for turn in [second, third] {
            queue.leave(turn.lease, turn.position.unwrap());
        }
        queue.notify(|_| 2, &mut effects);
        assert_eq!(effects.wakers.len(), 4);
        assert!(queue.is_empty() && may_go(&queue, &first) && may_go(&queue, &last));
    }
}
