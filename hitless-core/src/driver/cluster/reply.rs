//! The future of a request that was sent to a cluster.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::super::reply::Reply;
use super::super::traits::Runtime;
use super::handle::ClusterClient;
use super::journey::{self, Boxed};
use super::unit::Unit;
use crate::cluster::is_refusal;
use crate::ids::NodeId;
use crate::request::Outcome;

/// A future of the replies to a request that a [`ClusterClient`] has accepted. The request is on its way at once if its node's client takes it.
/// Where no node is known, and where a node refuses it because its slot has moved, it goes on only while this is polled.
///
/// # Cancel safety
/// Dropping it cancels the request, as dropping a [`Reply`] does.
#[must_use = "dropping the reply cancels the request"]
pub struct ClusterReply<R: Runtime> {
    /// Keeps the client from shutting down.
    client: ClusterClient<R>,
    stage: Stage<R>,
}

enum Stage<R: Runtime> {
    First {
        reply: Reply<R>,
        node: NodeId,
        slot: Option<u16>,
        /// The request, where the node's client does not hand it back.
        copy: Option<Box<Unit>>,
    },
    Further(Boxed<Outcome>),
    Done,
}

impl<R: Runtime> ClusterReply<R> {
    /// Of a request that the client of `node` has accepted.
    pub(super) fn new(client: ClusterClient<R>, node: NodeId, slot: Option<u16>, reply: Reply<R>) -> Self {
        Self { client, stage: Stage::First { reply, node, slot, copy: None } }
    }

    /// The same, with a copy of the request, which blocks.
    pub(super) fn of_copied(client: ClusterClient<R>, node: NodeId, copy: Unit, reply: Reply<R>) -> Self {
        Self { client, stage: Stage::First { reply, node, slot: copy.slot, copy: Some(Box::new(copy)) } }
    }

    /// Of a request that needs more than one look.
    pub(super) fn further(client: ClusterClient<R>, future: Boxed<Outcome>) -> Self {
        Self { client, stage: Stage::Further(future) }
    }
}

impl<R: Runtime> Future for ClusterReply<R> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        if let Stage::First { reply, node, slot, copy } = &mut this.stage {
            let Poll::Ready(outcome) = Pin::new(&mut *reply).poll(cx) else { return Poll::Pending };
            let is_final = outcome.as_ref().is_ok_and(|replies| !replies.iter().any(is_refusal));
            if is_final {
                this.stage = Stage::Done;
                return Poll::Ready(outcome);
            }
            let shared = Arc::clone(this.client.shared());
            this.stage = Stage::Further(match copy.take() {
                Some(copy) => journey::follow_copy(shared, *node, *copy, outcome),
                None => journey::follow(shared, (*node, *slot), reply, outcome),
            });
        }
        let Stage::Further(future) = &mut this.stage else { return Poll::Pending };
        let outcome = future.as_mut().poll(cx);
        if outcome.is_ready() {
            this.stage = Stage::Done;
        }
        outcome
    }
}

impl<R: Runtime> fmt::Debug for ClusterReply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::First { reply, .. } => return f.debug_tuple("ClusterReply").field(reply).finish(),
            Stage::Further(_) => "redirected",
            Stage::Done => "done",
        };
        f.debug_struct("ClusterReply").field("stage", &stage).finish_non_exhaustive()
    }
}
