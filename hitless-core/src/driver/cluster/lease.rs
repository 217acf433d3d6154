//! Leases and transactions: on a connection to the node that serves the slot of their keys.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use resp3_codec::{Frame, ToArgs, cmd};

use super::super::error::Error;
use super::super::lease::Lease;
use super::super::traits::Runtime;
use super::handle::ClusterClient;
use super::plan::Plan;
use super::routes::Place;
use super::shared::Shared;
use crate::cluster::{Next, Sent, SentKind, Trail, is_about_another_slot, is_refusal, key_slot, strays_from};
use crate::error::{Delivery, LeaseError, RequestError, RouteError, ServerError};
use crate::ids::NodeId;
use crate::pubsub::SubscribeError;
use crate::request::Pipeline;
use crate::timer;

const NO_KEY: &str = "name the keys that the transaction is about: they say which node runs it";

impl<R: Runtime> ClusterClient<R> {
    /// A connection for the caller alone, to the node that serves the slot of `key`; see [`Client::lease`](super::super::Client::lease). It stays
    /// with that node: when the slot moves away meanwhile, commands on its keys are answered with MOVED or ASK, which the holder sees as
    /// errors; return the lease then, and ask for another one. It does not keep the cluster client open: when
    /// the last handle is dropped, it ends.
    ///
    /// # Errors
    /// [`Error::Lease`]: none was returned in time, or none could be opened; [`RequestError::NotServed`] if nobody serves the slot.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue, or the connection, to the next one.
    pub async fn lease(&self, key: impl AsRef<[u8]>) -> Result<Lease<R>, Error> {
        let slot = key_slot(key.as_ref());
        let mut search = Search::new(self.shared(), slot, self.shared().policy.lease_timeout);
        let late = |after| LeaseError::TimedOut { after }.into();
        loop {
            let (node, outcome) = match search.place() {
                Some((node, client)) => (Some(node), search.bounded(client.lease(), late).await),
                None => (None, Err(LeaseError::ShutDown.into())),
            };
            match outcome {
                Ok(lease) => return Ok(lease),
                Err(error) => search.next(node, error).await?,
            }
        }
    }

    /// Runs a batch of commands as one transaction, provided that none of `keys` has changed since `build` has read what it needs; see
    /// [`Client::transaction`](super::super::Client::transaction). All keys, those of the batch included, have one slot. If that moves to another
    /// node before EXEC was run, nothing has run, and everything begins again there, unless the command timeout is over by then.
    ///
    /// # Errors
    /// [`Error::Route`] if the keys have different slots, those of the batch included, or there is none; those of [`Client::transaction`](super::super::Client::transaction).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. The transaction may have run wholly, if EXEC was sent; otherwise nothing has run.
    pub async fn transaction<F, B>(
        &self,
        keys: impl IntoIterator<Item = impl ToArgs>,
        mut build: F,
    ) -> Result<Option<Vec<Frame>>, Error>
    where
        F: FnMut(Lease<R>) -> B,
        B: Future<Output = Result<Option<Pipeline>, Error>>,
    {
        let watch = cmd("WATCH").args(keys);
        let Plan::One(Some(slot)) = Plan::of_command(&watch)? else {
            return Err(RouteError::NeedsNode { instead: NO_KEY }.into());
        };
        let mut search = Search::new(self.shared(), slot, self.shared().policy.command_timeout);
        loop {
            let (node, outcome) = match search.place() {
                Some((node, client)) => {
                    let mut build = |lease| {
                        let built = build(lease);
                        async move { built.await.and_then(|batch| of_slot(slot, batch)) }
                    };
                    (Some(node), client.transaction_behind(&watch, &mut build).await)
                }
                None => (None, Err(LeaseError::ShutDown.into())),
            };
            match outcome {
                Ok(replies) => return Ok(replies),
                Err(error) => search.next(node, error).await?,
            }
        }
    }
}

/// The search for a node that does something that is not one request.
pub(super) struct Search<'a, R: Runtime> {
    shared: &'a Arc<Shared<R>>,
    slot: u16,
    /// The node that was named, instead of the one in the table.
    next: Option<NodeId>,
    began_at: Instant,
    /// A node was tried before.
    is_further: bool,
    /// For a node that was away.
    has_waited: bool,
    sent_at: Instant,
    limit: Option<Duration>,
    deadline: Option<Instant>,
    trail: Trail,
}

impl<'a, R: Runtime> Search<'a, R> {
    pub(super) fn new(shared: &'a Arc<Shared<R>>, slot: u16, limit: Option<Duration>) -> Self {
        let sent_at = shared.runtime.now();
        let deadline = limit.map(|limit| timer::after(sent_at, limit));
        Self {
            shared,
            slot,
            next: None,
            began_at: sent_at,
            is_further: false,
            has_waited: false,
            sent_at,
            limit,
            deadline,
            trail: Trail::default(),
        }
    }

    /// The node to try.
    pub(super) fn place(&mut self) -> Option<Place<R>> {
        self.sent_at = self.shared.runtime.now();
        match self.next.take() {
            Some(node) => Some((node, self.shared.routes().client(node)?.clone())),
            None => self.shared.find(Some(self.slot)),
        }
    }

    /// The outcome of `wish`, if there is one in what is left of the caller's time, and the error that `late` makes otherwise: the node's client gives each
    /// wish the whole of it.
    pub(super) async fn bounded<T>(
        &self,
        wish: impl Future<Output = Result<T, Error>>,
        late: impl Fn(Duration) -> Error,
    ) -> Result<T, Error> {
        let Some(deadline) = self.deadline.filter(|_| self.is_further) else { return wish.await };
        let mut wish = pin!(wish);
        let nap = self.shared.naps.begin(deadline);
        self.shared.wake();
        let after = deadline.saturating_duration_since(self.began_at);
        std::future::poll_fn(|cx| match wish.as_mut().poll(cx) {
            // When the client shuts down, pauses end, and so does the wish.
            Poll::Pending if nap.poll(cx).is_ready() && self.shared.is_open() => {
                Poll::Ready(Err(late(after)))
            }
            outcome => outcome,
        })
        .await
    }

    /// It has failed at `node`.
    ///
    /// # Errors
    /// `error` itself, if no other node is to be tried.
    pub(super) async fn next(&mut self, node: Option<NodeId>, error: Error) -> Result<(), Error> {
        // A window at the node says that this may take longer.
        let relaxed = self.shared.relax(node, self.limit).map(|limit| timer::after(self.began_at, limit));
        self.deadline = self.deadline.and_then(|deadline| Some(deadline.max(relaxed?)));
        let refusal = match refusal(&error) {
            // A command of the caller's with a key that is not of this slot.
            Some(refusal) if is_about_another_slot(&refusal, self.slot) => return Err(error),
            Some(refusal) => Some(refusal),
            None if self.may_go_on(node, &error) => None,
            None => return Err(self.explain(node, error)),
        };
        let Self { slot, sent_at, deadline, trail, .. } = *self;
        let (slot, kind) = (Some(slot), SentKind::Atomic);
        let sent = Sent { node, slot, sent_at, asking: false, deadline, kind, trail };
        let (pause, trail, named) = match self.shared.judge(&sent, refusal.as_ref()) {
            Next::Resend { node, after, trail, .. } => (after, trail, Some(node)),
            Next::Route { after, trail } => (after, trail, None),
            Next::ReturnToCaller => return Err(self.explain(node, error)),
        };
        let until = timer::after(self.shared.runtime.now(), pause);
        // See `journey`: what needs more than one pause is waited for if the client waits.
        let is_away = refusal.is_none() && !pause.is_zero() && !self.shared.waits_for(node);
        let must_not_wait = is_away && std::mem::replace(&mut self.has_waited, true);
        if must_not_wait || self.deadline.is_some_and(|deadline| deadline <= until) {
            return Err(self.explain(node, error));
        }
        if !pause.is_zero() {
            self.shared.nap(pause).await;
        }
        if let Some(node) = named {
            // It may be about to be opened.
            self.shared.client_of(node).await;
        }
        (self.trail, self.next, self.is_further) = (trail, named, true);
        if self.shared.is_open() { Ok(()) } else { Err(error) }
    }

    /// What the caller is told. That a node's client was shut down says nothing to a caller whose own client is open, and why a node cannot be
    /// opened says more than that time was over.
    pub(super) fn explain(&self, node: Option<NodeId>, error: Error) -> Error {
        if let (Some(node), Error::Request(RequestError::TimedOut { .. })) = (node, &error) {
            self.shared.note_timed_out(node);
        }
        let (is_lease, is_closed) = match &error {
            Error::Lease(LeaseError::ShutDown) => (true, true),
            Error::Lease(LeaseError::TimedOut { .. } | LeaseError::NoConnection { .. }) => (true, false),
            Error::Subscribe(SubscribeError::ShutDown) => (false, true),
            Error::Subscribe(SubscribeError::TimedOut { .. } | SubscribeError::NotLent { .. }) => {
                (false, false)
            }
            _ => return error,
        };
        if !self.shared.is_open() {
            return error;
        }
        // The node's client counts the last wish alone.
        let after = self.shared.runtime.now().saturating_duration_since(self.began_at);
        let error = match error {
            Error::Lease(LeaseError::NoConnection { endpoint, cause, .. }) => {
                return LeaseError::NoConnection { endpoint, cause, after }.into();
            }
            Error::Lease(LeaseError::TimedOut { .. }) => LeaseError::TimedOut { after }.into(),
            error => error,
        };
        match self.shared.cause(node) {
            Some((endpoint, cause)) if is_lease => LeaseError::NoConnection { endpoint, cause, after }.into(),
            Some((endpoint, cause)) => SubscribeError::NoConnection { endpoint, cause }.into(),
            None if is_closed => {
                let (slot, delivery) = (Some(self.slot), Delivery::NotSent);
                RequestError::NotServed { slot, delivery }.into()
            }
            None => error,
        }
    }

    /// Whether the node is away, and another one may do it, or this one later.
    fn may_go_on(&self, node: Option<NodeId>, error: &Error) -> bool {
        let waits = || self.shared.waits_for(node);
        let is_away = match error {
            Error::Lease(LeaseError::ShutDown) => true,
            Error::Lease(LeaseError::NoConnection { .. }) => waits(),
            Error::Subscribe(SubscribeError::ShutDown) => true,
            Error::Subscribe(SubscribeError::NoConnection { .. }) => waits(),
            Error::Request(_) | Error::Send(_) => waits(),
            _ => false,
        };
        is_away && error.delivery() == Some(Delivery::NotSent)
    }
}

/// What the node has said, if it has run nothing.
fn refusal(error: &Error) -> Option<ServerError> {
    error.answer().filter(|error| is_refusal(&Frame::error(error.to_string())))
}

/// The batch of a transaction, unless it has a key of another slot than that of the watched ones. A server refuses keys of two slots in one batch, but
/// not a batch of another slot than that of WATCH, as long as it serves both.
fn of_slot(slot: u16, batch: Option<Pipeline>) -> Result<Option<Pipeline>, Error> {
    match batch.as_ref().and_then(|batch| strays_from(slot, batch)) {
        Some(other) => Err(RouteError::CrossSlot { first: slot, other }.into()),
        None => Ok(batch),
    }
}
