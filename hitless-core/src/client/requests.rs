//! The requests that are accepted and not completed: where each one is, and when those without a connection are due.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connection::{Accepted, Ticket};
use crate::ids::{Arena, ConnId, RequestId};
use crate::request::{Replies, Request};
use crate::timer::{after, bring_forward, earliest};

/// The requests of one client. A connection keeps those that are on it; this machine keeps the others and every place.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Requests {
    limits: RequestLimits,
    places: Arena<RequestId, Entry>,
    /// How many requests were accepted.
    accepted: u64,
    /// Requests for which there is no connection, in the order in which they will be sent.
    parked: VecDeque<Accepted>,
    /// Requests that may have run, and are to be sent again, each alone on its connection; in their order.
    alone: VecDeque<Accepted>,
    /// Requests that the server refused to run for now.
    deferred: Vec<Deferred>,
    /// No request is due before this instant, neither here nor on a connection. It is a lower bound: completions do not
    /// change it.
    quiet_until: Option<Instant>,
}

/// How many requests are accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLimits {
    pub(super) in_flight: usize,
    pub(super) parked: usize,
}

/// A request that the server refused to run, and that is to be sent again.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Deferred {
    at: Instant,
    accepted: Accepted,
    /// The refusal, which is the request's outcome if it is not sent again.
    replies: Replies,
}

/// An accepted request, which is kept elsewhere.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// How many were accepted before it.
    order: u64,
    place: Place,
}

/// Where an accepted request is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Parked, or about to be put on a connection.
    Parked,
    Alone,
    Deferred,
    /// The client sends requests of its own for it.
    Apart,
    On {
        conn: ConnId,
        ticket: Ticket,
    },
}

impl Requests {
    pub(super) const fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            places: Arena::new(),
            accepted: 0,
            parked: VecDeque::new(),
            alone: VecDeque::new(),
            deferred: Vec::new(),
            quiet_until: None,
        }
    }

    /// Gives `request` an id. The caller puts it on a connection ([`enqueued`](Self::enqueued)) or [parks](Self::park) it.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        request: Request,
        command_timeout: Option<Duration>,
    ) -> Accepted {
        let id = self.insert(Place::Parked);
        Accepted::new(now, id, request, command_timeout, None)
    }

    /// Gives an id to a request that the caller puts on `conn`, where its place is `ticket`, and [watches](Self::wake_by).
    #[inline]
    pub(super) fn accept_on(&mut self, conn: ConnId, ticket: Ticket) -> RequestId {
        self.insert(Place::On { conn, ticket })
    }

    /// Gives an id to a request for which the client sends others. It is in use until [`complete`](Self::complete).
    pub(super) fn accept_apart(&mut self) -> RequestId {
        self.insert(Place::Apart)
    }

    #[inline]
    fn insert(&mut self, place: Place) -> RequestId {
        let order = self.accepted;
        self.accepted += 1;
        self.places.insert(Entry { order, place })
    }

    /// A request with this deadline was put on `conn`.
    #[inline]
    pub(super) fn enqueued(
        &mut self,
        id: RequestId,
        deadline: Option<Instant>,
        conn: ConnId,
        ticket: Ticket,
    ) {
        self.wake_by(deadline);
        self.set_place(id, Place::On { conn, ticket });
    }

    /// There is no connection for a request: it waits for one.
    pub(super) fn park(&mut self, accepted: Accepted) {
        self.wake_by(accepted.deadline());
        self.set_place(accepted.id, Place::Parked);
        insert_in_order(&self.places, &mut self.parked, accepted);
    }

    /// A request may have run, and may run again: it waits for a connection that it has for itself.
    pub(super) fn wait_alone(&mut self, accepted: Accepted) {
        self.wake_by(accepted.deadline());
        self.set_place(accepted.id, Place::Alone);
        insert_in_order(&self.places, &mut self.alone, accepted);
    }

    /// The next request that has a connection for itself.
    pub(super) fn take_alone(&mut self) -> Option<Accepted> {
        self.alone.pop_front()
    }

    /// Whether a request waits for a connection that it has for itself.
    pub(super) fn wants_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// The server refused to run a request: it is sent again a little later. If its deadline comes first, the refusal
    /// is its outcome.
    pub(super) fn defer(&mut self, now: Instant, mut accepted: Accepted, replies: Replies) {
        let at = after(now, accepted.defer());
        let at = accepted.deadline().map_or(at, |deadline| at.min(deadline));
        self.wake_by(Some(at));
        if self.set_place(accepted.id, Place::Deferred) {
            self.deferred.push(Deferred { at, accepted, replies });
        }
    }

    /// A window is open: extends the deadlines of what has no connection.
    pub(super) fn relax_parked(&mut self, relaxed: Duration) {
        for accepted in self.parked.iter_mut().chain(&mut self.alone) {
            accepted.relax(relaxed);
        }
    }

    /// Takes out everything that is parked, in order.
    pub(super) fn take_parked(&mut self) -> VecDeque<Accepted> {
        std::mem::take(&mut self.parked)
    }

    /// Takes out what has no connection and is due, in order.
    pub(super) fn take_due_parked(&mut self, now: Instant) -> VecDeque<Accepted> {
        let mut all_due = VecDeque::new();
        for queue in [&mut self.alone, &mut self.parked] {
            let (mut due, waiting): (VecDeque<_>, _) =
                std::mem::take(queue).into_iter().partition(|accepted| accepted.is_due(now));
            *queue = waiting;
            all_due.append(&mut due);
        }
        all_due
    }

    /// Takes out everything that is deferred.
    pub(super) fn take_deferred(&mut self) -> Vec<Deferred> {
        std::mem::take(&mut self.deferred)
    }

    /// Takes out what is deferred and due.
    pub(super) fn take_due_deferred(&mut self, now: Instant) -> Vec<Deferred> {
        let (due, later) =
            std::mem::take(&mut self.deferred).into_iter().partition(|deferred| deferred.at <= now);
        self.deferred = later;
        due
    }

    /// A request ends. False if it had ended before, or was cancelled.
    pub(super) fn complete(&mut self, id: RequestId) -> bool {
        self.places.remove(id).is_some()
    }

    /// The caller does not want a request any more. Returns its place on a connection, which has to cancel it as well.
    pub(super) fn cancel(&mut self, id: RequestId) -> Option<(ConnId, Ticket)> {
        if let Place::Apart = self.places.get(id)?.place {
            return None;
        }
        match self.places.remove(id)?.place {
            Place::On { conn, ticket } => return Some((conn, ticket)),
            Place::Apart => {}
            Place::Deferred => self.deferred.retain(|deferred| deferred.accepted.id != id),
            Place::Parked => self.parked.retain(|parked| parked.id != id),
            Place::Alone => self.alone.retain(|alone| alone.id != id),
        }
        None
    }

    /// Everything due was taken out. `on_connections` is when the next request on a connection is due.
    pub(super) fn settle_timeout(&mut self, on_connections: Option<Instant>) {
        let parked = self.parked.iter().chain(&self.alone).map(Accepted::deadline);
        let deferred = self.deferred.iter().map(|deferred| Some(deferred.at));
        self.quiet_until = earliest(parked.chain(deferred).chain([on_connections]));
    }

    /// Gives back the memory of a burst, but for `kept` places.
    pub(super) fn rest(&mut self, kept: usize) {
        self.parked.shrink_to(kept);
        self.places.rest(kept);
    }

    /// When a request is due, here or on a connection, or a little earlier.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    /// Whether one more request is accepted by a connection that has room.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.places.len() < self.limits.in_flight
    }

    /// How many more requests are accepted. `carried` is how many there are on the connection that the next one goes to;
    /// without a connection it would be parked.
    pub(super) fn room(&self, carried: Option<usize>) -> usize {
        let left = self.limits.in_flight.saturating_sub(self.places.len());
        match carried {
            // A cancelled request counts here until its replies are in.
            Some(carried) => left.min(self.limits.in_flight.saturating_sub(carried)),
            None => left.min(self.limits.parked.saturating_sub(self.parked.len())),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Requests that wait for a connection.
    pub(super) fn parked(&self) -> usize {
        self.parked.len() + self.alone.len()
    }

    /// False if the request has ended.
    fn set_place(&mut self, id: RequestId, place: Place) -> bool {
        let Some(entry) = self.places.get_mut(id) else { return false };
        entry.place = place;
        true
    }

    /// Something is due at `at`.
    #[inline]
    pub(super) fn wake_by(&mut self, at: Option<Instant>) {
        bring_forward(&mut self.quiet_until, at);
    }
}

/// Most requests are younger than those that wait already. One that comes back from a connection is older than those that found
/// none.
fn insert_in_order(places: &Arena<RequestId, Entry>, queue: &mut VecDeque<Accepted>, accepted: Accepted) {
    let order = |id| places.get(id).map(|entry| entry.order);
    let own = order(accepted.id);
    let behind = queue.iter().rev().take_while(|waiting| order(waiting.id) > own).count();
    queue.insert(queue.len() - behind, accepted);
}

impl Deferred {
    /// The request, to be sent again; or its outcome if its deadline has come.
    pub(super) fn into_due(self, now: Instant) -> Result<Accepted, (RequestId, Replies)> {
        if self.accepted.is_due(now) { Err(self.into_outcome()) } else { Ok(self.accepted) }
    }

    /// The refusal, for a request that is not sent again.
    pub(super) fn into_outcome(self) -> (RequestId, Replies) {
        (self.accepted.id, self.replies)
    }
}
