//! What a connection tells its owner.

use std::fmt;

use bytes::Bytes;
use resp3_codec::Frame;

use super::Accepted;
use crate::error::{CloseCause, ErrorCode, HandshakeError, Refusal};
use crate::handshake::{Negotiated, OptIn};
use crate::ids::RequestId;
use crate::notification::{Notification, NotificationError};
use crate::request::{Outcome, Replies};

/// A request has ended by one reply that is no error, as most do.
///
/// `Debug` shows how many bytes the command has and not what they are: the arguments of commands may be secrets.
#[non_exhaustive]
pub struct Answer {
    /// The request.
    pub request: RequestId,
    /// Its only reply.
    pub reply: Frame,
    /// What was written for it. Nobody needs it any more: a loop behind a lock frees it when it has released that.
    pub command: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, reply, command } = self;
        let mut shown = f.debug_struct("Answer");
        shown.field("request", request).field("reply", reply).field("command", &command.len()).finish()
    }
}

impl Answer {
    /// How the request ended. Frees its command.
    #[inline]
    pub fn into_outcome(self) -> Outcome {
        Ok(Replies::from_buf([self.reply]))
    }
}

/// What has happened on a connection.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The handshake is done, and the server does not take its READONLY: as a replica it redirects reads. [`Ready`](Self::Ready) follows.
    ReadonlyRefused,
    /// The handshake is done; requests may be enqueued.
    Ready(Negotiated),
    /// The handshake failed; close the socket.
    HandshakeFailed(HandshakeError),
    /// A request has ended.
    Completed {
        /// The request.
        id: RequestId,
        /// Its replies, or why it has none.
        outcome: Outcome,
    },
    /// A request comes back: it did not run, or running it again does no harm. Put it on another connection, or fail it
    /// with its [`Accepted::delivery`].
    Returned {
        /// The request.
        accepted: Box<Accepted>,
    },
    /// The server refused to run a request, as servers do for a while during maintenance, and nodes of a cluster whose slots have moved.
    /// Send it again a little later, or elsewhere.
    Deferred {
        /// The request.
        accepted: Box<Accepted>,
        /// The refusal, which is the outcome if the request is not sent again.
        replies: Replies,
    },
    /// The server has refused to run something, in a window or outside of one. What becomes of the request is another event.
    Refused(Refusal),
    /// The answer to an opt-in after the handshake.
    OptedIn(OptIn),
    /// The answer to [`Connection::authenticate`](super::Connection::authenticate): `Ok`, or the code of the server's error. After an error the connection is
    /// what it was before.
    Authenticated(Result<(), ErrorCode>),
    /// The server announces maintenance.
    Notified {
        /// What it announces.
        notification: Notification,
        /// The elements of the push, the name first.
        elements: Vec<Frame>,
    },
    /// A maintenance push that makes no sense was dropped.
    Malformed(NotificationError),
    /// A push that is not a maintenance notification. On a connection for subscriptions also the arrays that are none by their
    /// type because the server speaks RESP2.
    Pushed(Vec<Frame>),
    /// On a connection for subscriptions: a reply to what was written for them, that to a PING or an error.
    Answered(Frame),
    /// Something written is unanswered, and no byte came for so long that the link counts as dead: give it no more
    /// requests, and open another connection. Said once until something comes.
    Silent,
    /// Something came on a link that had counted as dead: it takes requests again, unless it drains.
    Heard,
    /// The connection drains, and every reply is in; close the socket.
    Drained,
    /// The link is unusable; close the socket.
    Failed(CloseCause),
}
