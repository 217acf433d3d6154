//! What the owner of a [`Client`](super::Client) is told to do.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use resp3_codec::Frame;

use crate::connection::Answer;
use crate::endpoint::{Peer, Target};
use crate::error::{CloseCause, ConnectError, LeaseError};
use crate::event::Event;
use crate::ids::{ChangeId, ConnId, LeaseId, RequestId, ReviewId, SubscriptionId};
use crate::notification::Notification;
use crate::pubsub::{Item, SubscribeError};
use crate::request::{Orphan, Outcome, Request};
use crate::review::Handled;

/// A decision of the client, in the order in which it was made. None goes stale when it is obeyed late: facts about a
/// connection that is gone meanwhile are no-ops.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub enum Action {
    /// Look `host` up and report with [`Client::handle_resolved`](super::Client::handle_resolved).
    Resolve {
        /// The connection that will be dialled.
        conn: ConnId,
        /// The name.
        host: Arc<str>,
    },
    /// Ask for the credentials that the handshake of `conn` is to have and report with
    /// [`Client::handle_credentials`](super::Client::handle_credentials); only then follows `Connect`. The client says this
    /// only where the configuration [asks](crate::config::ConfigBuilder::ask_for_credentials), and says `Close` if the answer
    /// takes more than half of the time that the dial has, or 5 s where it has all the time.
    Credentials {
        /// The connection that will be dialled.
        conn: ConnId,
    },
    /// Ask for the credentials that hold from now on and report with
    /// [`Client::handle_new_credentials`](super::Client::handle_new_credentials). The client says this after
    /// [`Client::handle_credentials_changed`](super::Client::handle_credentials_changed), and again if the answer is an error
    /// or takes more than half of the connect timeout: then the question before is void.
    NewCredentials,
    /// Connect a stream to `target` and report with [`Client::handle_connected`](super::Client::handle_connected) or
    /// [`Client::handle_connect_failed`](super::Client::handle_connect_failed). Where a name has several addresses the client
    /// says this of each that it tries, two at a time at most, each time under an id of its own.
    Connect {
        /// The connection.
        conn: ConnId,
        /// Where to, and the name by which the server there is verified.
        target: Target,
        /// When the client gives the dial up and says `Close`; `None` is never.
        until: Option<Instant>,
    },
    /// Write what `conn` has to write: call [`Client::poll_transmit`](super::Client::poll_transmit) when the socket takes
    /// bytes, until it returns false. The client says this once per batch, not once per request.
    Flush {
        /// The connection.
        conn: ConnId,
    },
    /// Stop resolving or dialling, or close the stream. The client has forgotten the connection: report nothing about it.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        cause: CloseCause,
    },
    /// A request did not run at this node of a cluster, or may run twice: here it is again, for another node. Its end follows. A client
    /// says this only where a cluster client has opened it.
    HandBack {
        /// Which.
        id: RequestId,
        /// The request itself.
        request: Box<Request>,
        /// When it was accepted.
        accepted_at: Instant,
    },
    /// A maintenance notification that counts has arrived, and its window is open. A client says this only where a cluster client has opened it.
    Notified(Box<Notification>),
    /// A connection is about to serve whose server does not take READONLY. A client says this only where a cluster client has opened it.
    ReadonlyRefused,
    /// A request has ended.
    Complete {
        /// The request.
        request: RequestId,
        /// Its replies, or why it has none.
        outcome: Outcome,
    },
    /// The pool is open, that is, each of its connections is ready; or it could not be opened. The client says this once. It ends where the
    /// pool could not be opened, but for that of a node of a `ClusterClient`, which goes on trying.
    Started(Result<(), ConnectError>),
    /// A push that is not a maintenance notification.
    Push {
        /// The connection that received it.
        conn: ConnId,
        /// Its elements, the name first.
        elements: Vec<Frame>,
    },
    /// Something that was read on a connection of the pool is invalid: the server says so, or would not be heard. It comes before the
    /// replies that follow it on that connection. The client says this only where the configuration
    /// [tracks](crate::config::ConfigBuilder::tracking).
    Invalidated(Invalidation),
    /// Judge a notification, whose window is open already, and report with
    /// [`Client::handle_verdict`](super::Client::handle_verdict). The client says this only after
    /// [`Client::review_notifications`](super::Client::review_notifications).
    Review(Box<Review>),
    /// A review has ended, by a verdict or because its time was over. Each review ends once.
    Reviewed {
        /// The review.
        review: ReviewId,
        /// What became of the notification.
        handled: Handled,
    },
    /// A wish for a lease has ended: the holder has the connection, or it gets none. The client says this once for each.
    Leased {
        /// The lease.
        lease: LeaseId,
        /// Why it gets none; that lease is over.
        outcome: Result<(), LeaseError>,
    },
    /// The server wants the connection of a lease to be given up: return the lease before `deadline`. The connection serves until then
    /// and may be closed then, whatever its holder does there. A newer move, with another deadline, may follow.
    LeaseMoving {
        /// The lease.
        lease: LeaseId,
        /// The deadline of the move.
        deadline: Instant,
    },
    /// The connection of a lease is gone, and what was not answered fails. Return the lease, and ask for another one if it is needed.
    LeaseLost {
        /// The lease.
        lease: LeaseId,
        /// Why the connection ended.
        cause: CloseCause,
    },
    /// A wish for topics has ended: all of them are confirmed, so that what is published from now on is delivered; or none of them is
    /// subscribed to. The client says this once for each.
    Subscribed {
        /// The wish.
        change: ChangeId,
        /// Why they are not.
        outcome: Result<(), SubscribeError>,
    },
    /// A subscription receives something. Keep no more of it than there is room for.
    Deliver {
        /// The subscription.
        subscription: SubscriptionId,
        /// What.
        item: Item,
    },
    /// A command that blocks has taken something after its caller had given it up. Nobody else will be told.
    Orphaned(Orphan),
    /// Nobody with a timeout waits for anything on `conn` any more, and nobody has for a while: what is kept for its next reads and writes alone may be given
    /// back. The client says this behind the last request that had a timeout, when that would be over, and once until the next such request. It does
    /// nothing more than save memory.
    Rest {
        /// The connection.
        conn: ConnId,
    },
    /// Something to observe.
    Emit(Event),
    /// Shut down: no connection, no request and no timer is left.
    Terminated,
}

impl Action {
    pub(super) fn completed(answer: Answer) -> Self {
        Self::Complete { request: answer.request, outcome: answer.into_outcome() }
    }
}

/// What a cache in the application must not believe any more.
///
/// This enum is closed: whoever keeps a cache has to obey each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// These keys have changed, were deleted or have expired, or the server does not watch them any more. Redis
    /// does not say of which database a key is.
    Keys(Vec<Bytes>),
    /// Everything may have changed.
    All,
}

/// A notification that waits for a verdict.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Review {
    /// The review.
    pub id: ReviewId,
    /// The connection that received the notification. It may be gone meanwhile.
    pub conn: ConnId,
    /// The server's id of that connection; `None` while its handshake is under way.
    pub client_id: Option<i64>,
    /// The address of that connection.
    pub peer: Option<Peer>,
    /// Whether it carries subscriptions, or a command that blocks waits there.
    pub is_blocking: bool,
    /// What the server announces.
    pub notification: Notification,
    /// The elements of the push, the name first.
    pub elements: Vec<Frame>,
}
