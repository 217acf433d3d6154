//! The queue of callers that wait for room: as many requests as configured are under way, and calls do not fail for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Waker;

use super::effects::Effects;
use super::handle::Client;
use super::reply::Reply;
use super::shared::Shared;
use super::traits::Runtime;
use crate::request::{Request, SendError};

/// The callers that wait, in the order of arrival. Room is reserved for a caller that was notified: a later caller cannot
/// take it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waker>,
    notified: BTreeSet<u64>,
    next: u64,
}

impl Queue {
    /// Wakes as many callers as there is room for.
    pub(super) fn notify(&mut self, room: usize, effects: &mut Effects) {
        while self.notified.len() < room {
            let Some((position, waker)) = self.waiting.pop_first() else { return };
            self.notified.insert(position);
            effects.wakers.push(waker);
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
    pub(super) fn wait(&mut self, position: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let position = *position.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.notified.remove(&position);
        self.waiting.insert(position, waker)
    }

    pub(super) fn leave(&mut self, position: u64) -> Option<Waker> {
        self.notified.remove(&position);
        self.waiting.remove(&position)
    }
}

/// Leaves the queue when it is dropped.
struct QueueGuard<'a, R: Runtime> {
    shared: &'a Shared<R>,
    position: Option<u64>,
}

impl<R: Runtime> Drop for QueueGuard<'_, R> {
    fn drop(&mut self) {
        if let Some(position) = self.position {
            // The next caller is notified as well: this one may have been, and does not use its turn.
            self.shared.leave_queue(position);
        }
    }
}

/// Sends `request` when there is room for it and it is its turn.
///
/// # Cancel safety
/// Until it is done the request was not accepted.
pub(super) async fn send<R: Runtime>(client: &Client<R>, request: Request) -> Result<Reply<R>, SendError> {
    let shared: &Arc<Shared<R>> = client.shared();
    let accepted = |(id, waiter)| Reply::new(client.clone(), waiter, id);
    let mut guard = QueueGuard { shared, position: None };
    let mut request = match shared.send_in_turn(&mut guard.position, request, None) {
        Err(SendError::Full(back)) => Some(back),
        done => return done.map(accepted),
    };
    std::future::poll_fn(|cx| {
        let Some(again) = request.take() else { return std::task::Poll::Pending };
        match shared.send_in_turn(&mut guard.position, again, Some(cx.waker().clone())) {
            Err(SendError::Full(back)) => {
                request = Some(back);
                std::task::Poll::Pending
            }
            done => std::task::Poll::Ready(done.map(accepted)),
        }
    })
    .await
}
