//! What the owner of a [`Coordinator`](super::Coordinator) is told to do.

use std::sync::Arc;
use std::time::Instant;

use crate::endpoint::Target;
use crate::error::{CloseCause, ConnectError};
use crate::event::{Event, WindowScope};
use crate::handshake::Probe;
use crate::ids::{ConnId, ReviewId};
use crate::notification::Notification;
use crate::review::Handled;

/// A decision of the coordinator, in the order in which it was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub enum Directive {
    /// Look `host` up and report with [`Coordinator::handle_resolved`](super::Coordinator::handle_resolved).
    Resolve {
        /// The connection that will be dialled.
        conn: ConnId,
        /// The name.
        host: Arc<str>,
    },
    /// Connect, do the handshake, and report with `handle_connected`, then `handle_ready`, or with
    /// `handle_dial_failed` (`handle_lost_at_opt_in` if the link died between the opt-in and its answer).
    Dial {
        /// The connection.
        conn: ConnId,
        /// Where to, and the name by which the server there is verified.
        target: Target,
        /// What the handshake does about the opt-in.
        probe: Probe,
        /// When the coordinator gives the attempt up by itself and says `Close`; `None` is never.
        until: Option<Instant>,
        /// The connection that the new one is to take the place of; `None` for one that the owner opened.
        replaces: Option<ConnId>,
    },
    /// A connection that was opened is ready: it takes requests from now on, even if it is to move at once.
    Serve {
        /// The connection.
        conn: ConnId,
    },
    /// From now on new requests go to `to`, those included that `from` has not written yet. `from` may be gone.
    CutOver {
        /// The old connection.
        from: ConnId,
        /// The new connection, which is ready.
        to: ConnId,
    },
    /// Give `conn` no new requests; report with `handle_drained` when every reply is in, at once if none is owed. At
    /// `until` the coordinator says `Close`.
    Drain {
        /// The connection.
        conn: ConnId,
        /// Its deadline.
        until: Instant,
    },
    /// Stop resolving or dialling, or close the socket. The coordinator has forgotten the connection.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        cause: CloseCause,
    },
    /// A connection that was opened, or the replacement of one that is gone meanwhile, could not be established. The
    /// coordinator has forgotten it.
    Failed {
        /// The connection.
        conn: ConnId,
        /// Why.
        error: ConnectError,
        /// When to open another one.
        redial: Redial,
    },
    /// `conn` is not told of maintenance, and its server has come to support that: opt in on it, when nothing is under way
    /// there, and report with [`Coordinator::handle_opt_in`](super::Coordinator::handle_opt_in). A connection that speaks
    /// RESP2 cannot; do nothing then.
    OptIn {
        /// The connection.
        conn: ConnId,
    },
    /// A window has opened or closed: ask [`Coordinator::relaxed`](super::Coordinator::relaxed) for the connections of
    /// `scope`.
    Windows {
        /// Whose timeouts changed.
        scope: WindowScope,
    },
    /// Said only if the owner [reviews](super::Coordinator::review_notifications): judge `notification`, whose window is
    /// open by now, and report with [`Coordinator::handle_verdict`](super::Coordinator::handle_verdict).
    Review {
        /// The review.
        review: ReviewId,
        /// On which connection it came; it may be gone meanwhile.
        conn: ConnId,
        /// What the server announces.
        notification: Notification,
    },
    /// A review has ended, by a verdict or because its time was over. Said once for each.
    Reviewed {
        /// The review.
        review: ReviewId,
        /// What became of the notification.
        handled: Handled,
    },
    /// Something to observe.
    Emit(Event),
}

/// When to dial again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Redial {
    /// At once: the next dial is a different one.
    AtOnce,
    /// After a pause that grows with each failure.
    AfterPause,
    /// Not before something was changed (credentials, settings): fails the start of a client; a running one pauses.
    Hopeless,
}
