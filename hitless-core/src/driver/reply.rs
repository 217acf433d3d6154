//! The future of one accepted request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::handle::Client;
use super::lease::Lease;
use super::traits::Runtime;
use super::waiter::{HandedBack, Waiter};
use crate::ids::RequestId;
use crate::request::Outcome;

/// A future of the replies to an accepted request. The request is on its way whether this is polled or not.
///
/// # Cancel safety
/// Dropping it cancels the request. A request that was not yet written is never written. If it was written, the client
/// skips its replies, so that the others keep their order; the request may have run.
#[must_use = "dropping the reply cancels the request"]
pub struct Reply<R: Runtime> {
    /// Keeps the client from shutting down.
    client: Client<R>,
    waiter: Arc<Waiter<Outcome>>,
    request: RequestId,
    done: bool,
    /// Keeps the connection that the request is on from going to somebody else.
    lease: Option<Lease<R>>,
}

impl<R: Runtime> Reply<R> {
    pub(super) fn new(
        client: Client<R>,
        waiter: Arc<Waiter<Outcome>>,
        request: RequestId,
        lease: Option<Lease<R>>,
    ) -> Self {
        Self { client, waiter, request, done: false, lease }
    }

    /// The request's number in events and logs.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.request
    }

    /// The request itself, if its outcome has come and another node of the cluster may run it.
    pub(super) fn take_handed_back(&self) -> Option<Box<HandedBack>> {
        self.waiter.take_handed_back()
    }

    /// Nobody waits for the replies, and yet the request is not cancelled. `keeps_lease`: its lease is not returned before they are in.
    #[cfg(feature = "redis-rs")]
    pub(super) fn detach(mut self, keeps_lease: bool) {
        let lease = self.lease.as_ref().filter(|_| keeps_lease).map(Lease::id);
        self.client.shared().detach(self.request, &self.waiter, lease);
        self.done = true;
    }
}

impl<R: Runtime> Future for Reply<R> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = self.waiter.poll(cx);
        self.done |= outcome.is_ready();
        outcome
    }
}

impl<R: Runtime> Drop for Reply<R> {
    fn drop(&mut self) {
        if !self.done {
            self.client.shared().cancel(self.request, &self.waiter);
        }
    }
}

impl<R: Runtime> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("request", &self.request)
            .field("lease", &self.lease.as_ref().map(Lease::id))
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
