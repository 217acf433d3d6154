//! What the owner of a [`Coordinator`](super::Coordinator) is told to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backoff::Reconnect;
use crate::endpoint::Target;
use crate::error::{CloseCause, ConnectError};
use crate::event::{Event, WindowScope};
use crate::handshake::Probe;
use crate::ids::{ConnId, ReviewId};
use crate::notification::Notification;
use crate::review::Handled;
use crate::rng::Rng;

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
    ///
    /// Where a name has several addresses, more than one `Dial` may be said for what you wait for: when one fails, or beside one
    /// that takes 250 ms, and never for more than two at a time. Each has an id of its own. Of those that are not wanted any more
    /// because another one is connected the coordinator says `Close`.
    Dial {
        /// The connection.
        conn: ConnId,
        /// Where to, and the name by which the server there is verified.
        target: Target,
        /// What the handshake does about the opt-in.
        probe: Probe,
        /// When the coordinator gives the attempt up by itself and says `Close`, if no window opens meanwhile that gives it more
        /// time; `None` is never.
        until: Option<Instant>,
        /// The connection whose place the new one is for: one that serves and is to move, or the dial of another address,
        /// which has failed or goes on. `None` for the first dial of a connection that the owner opened.
        replaces: Option<ConnId>,
    },
    /// A connection that was opened is ready: it takes requests from now on, even if it is to move at once.
    Serve {
        /// The connection.
        conn: ConnId,
    },
    /// From now on new requests go to `to`, those included that `from` has not written yet. `from` may be gone. For a
    /// connection that is held this is the answer to `handle_switched`, unless `from` was lost before `to` was ready.
    CutOver {
        /// The old connection.
        from: ConnId,
        /// The new connection, which is ready.
        to: ConnId,
    },
    /// `to` is ready to take the place of `from`, which was opened to be [held](Role::Held) and serves on. Switch when its user
    /// can, and report with [`Coordinator::handle_switched`](super::Coordinator::handle_switched); `CutOver` and `Drain`
    /// follow. If a newer move or the loss of `to` comes first, another `Successor` may follow. If you have not switched by
    /// `until`, the coordinator says `Lost` with [`Replacement::Ready`], then `Close` for `from`, and `to` serves.
    Successor {
        /// The old connection.
        from: ConnId,
        /// The new connection, which is ready.
        to: ConnId,
        /// When the server closes `from`.
        until: Instant,
    },
    /// A connection that was serving is lost, and this is what is there in its place. Said once for each; not said of
    /// connections that drain, whose places were taken before.
    Lost {
        /// The connection. The coordinator has forgotten it.
        conn: ConnId,
        /// Whether to open another one.
        replacement: Replacement,
    },
    /// Give `conn` no new requests; report with `handle_drained` when every reply is in, at once if none is owed. At
    /// `until` the coordinator says `Close`.
    Drain {
        /// The connection.
        conn: ConnId,
        /// Its deadline.
        until: Instant,
    },
    /// Stop resolving or dialling, or close the socket. The coordinator has forgotten the connection. If `Lost` or
    /// `Failed` is said of it as well, that comes first.
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
    /// `scope`. If that is not a single connection, ask also for requests without one; and for these again at each
    /// [`Event::MoveStarted`]. The connections of an address are the ones that [`Coordinator::peer`](super::Coordinator::peer) connects to it.
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

/// Who decides when a connection is given up for its successor. The set is closed: there is no third one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// The coordinator: requests of many callers share the connection, and none of them cares which one carries it. When a
    /// successor is ready it takes over at once ([`Directive::CutOver`]).
    #[default]
    Shared,
    /// The owner: the connection has a state that somebody relies on (a watched key, a subscription, a command that blocks).
    /// When a successor is ready the owner is asked ([`Directive::Successor`]) and switches when it can.
    Held,
}

/// What is there in the place of a connection that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replacement {
    /// Nothing: open another one if it is still needed.
    Missing,
    /// This one is being dialled: open nothing. It, or the dial of another address in its place, ends in
    /// [`Directive::CutOver`], or in [`Directive::Failed`] like one that was opened.
    Dialing(ConnId),
    /// This one is ready, and the owner was asked to switch to it: it serves from now on. Open nothing.
    Ready(ConnId),
}

/// When to dial again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Redial {
    /// At once: the next dial is a different one.
    AtOnce,
    /// After a pause that grows with each failure.
    AfterPause,
    /// Not before something was changed (credentials, settings): fails the start of a client. In a running one a single slot
    /// tries again, after pauses that grow, and the others wait for it.
    Hopeless,
}

impl Redial {
    /// The pause before the next dial, after one more failure behind those that `pauses` knows. `None`: there is none.
    pub(crate) fn pause(self, pauses: &mut Reconnect, rng: &mut Rng) -> Option<Duration> {
        match self {
            Self::AtOnce => None,
            Self::AfterPause => Some(pauses.next(rng)),
            Self::Hopeless => Some(pauses.next_hopeless(rng)),
        }
    }
}
