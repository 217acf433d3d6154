//! Callers that wait for room: as many requests as configured are under way, and nobody is to be sent away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::effects::Effects;
use super::handle::Client;
use super::reply::Reply;
use super::shared::Shared;
use super::traits::Runtime;
use crate::request::{Request, SendError};

/// Who waits, in the order of arrival.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

impl Queue {
    /// Calls as many as there is room for. Who finds it taken waits in his old place.
    pub(super) fn call(&mut self, room: usize, effects: &mut Effects) {
        for _ in 0..room {
            let Some((_, waker)) = self.waiting.pop_first() else { return };
            effects.wakers.push(waker);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits in the place of `ticket`, or in a new one. The waker of before is handed back: it is foreign.
    pub(super) fn wait(&mut self, ticket: Option<u64>, waker: Waker) -> (u64, Option<Waker>) {
        let ticket = ticket.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        (ticket, self.waiting.insert(ticket, waker))
    }

    pub(super) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        self.waiting.remove(&ticket)
    }
}

/// A place in the queue.
struct Place<'a, R: Runtime> {
    shared: &'a Shared<R>,
    ticket: Option<u64>,
}

impl<R: Runtime> Place<'_, R> {
    fn wait(&mut self, waker: Waker) {
        self.ticket = Some(self.shared.wait_for_room(self.ticket, waker));
    }
}

impl<R: Runtime> Drop for Place<'_, R> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // Also calls the next one: this one may have been called and not have come.
            self.shared.leave_queue(ticket);
        }
    }
}

/// Sends `request` when there is room for it.
///
/// # Cancel safety
/// Until it is done the request was not accepted.
pub(super) async fn send<R: Runtime>(client: &Client<R>, request: Request) -> Result<Reply<R>, SendError> {
    let shared: &Arc<Shared<R>> = client.shared();
    let mut place = Place { shared, ticket: None };
    let mut request = Some(request);
    std::future::poll_fn(|cx: &mut Context<'_>| {
        // In the queue first: room that comes in between calls.
        place.wait(cx.waker().clone());
        match request.take().map(|request| client.send(request)) {
            Some(Err(SendError::Full(back))) => {
                request = Some(back);
                Poll::Pending
            }
            Some(done) => Poll::Ready(done),
            None => Poll::Pending,
        }
    })
    .await
}
