//! Callers that wait for room: as many requests as configured are under way, and nobody is to be sent away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Waker;

use super::effects::Effects;
use super::handle::Client;
use super::reply::Reply;
use super::shared::Shared;
use super::traits::Runtime;
use crate::request::{Request, SendError};

/// Who waits, in the order of arrival. Who is called has a place reserved, which nobody takes who came later.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waker>,
    called: BTreeSet<u64>,
    next: u64,
}

impl Queue {
    /// Calls as many as there is room for.
    pub(super) fn call(&mut self, room: usize, effects: &mut Effects) {
        while self.called.len() < room {
            let Some((ticket, waker)) = self.waiting.pop_first() else { return };
            self.called.insert(ticket);
            effects.wakers.push(waker);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether it is the turn of `ticket`, or of somebody who has just arrived.
    pub(super) fn is_next(&self, ticket: Option<u64>, room: usize) -> bool {
        let is_called = ticket.is_some_and(|ticket| self.called.contains(&ticket));
        let first = self.waiting.first_key_value().map(|(first, _)| *first);
        let is_first = first.is_none_or(|first| ticket == Some(first));
        is_called || (is_first && self.called.len() < room)
    }

    /// Waits in the place of `ticket`, or in a new one. The waker of before is handed back: it is foreign.
    pub(super) fn wait(&mut self, ticket: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let place = *ticket.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.called.remove(&place);
        self.waiting.insert(place, waker)
    }

    pub(super) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        self.called.remove(&ticket);
        self.waiting.remove(&ticket)
    }
}

/// A place in the queue.
struct Place<'a, R: Runtime> {
    shared: &'a Shared<R>,
    ticket: Option<u64>,
}

impl<R: Runtime> Drop for Place<'_, R> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // Also calls the next one: this one may have been called and not have come.
            self.shared.leave_queue(ticket);
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
    let mut place = Place { shared, ticket: None };
    let mut request = match shared.send_in_turn(&mut place.ticket, request, None) {
        Err(SendError::Full(back)) => Some(back),
        done => return done.map(accepted),
    };
    std::future::poll_fn(|cx| {
        let Some(again) = request.take() else { return std::task::Poll::Pending };
        match shared.send_in_turn(&mut place.ticket, again, Some(cx.waker().clone())) {
            Err(SendError::Full(back)) => {
                request = Some(back);
                std::task::Poll::Pending
            }
            done => std::task::Poll::Ready(done.map(accepted)),
        }
    })
    .await
}
