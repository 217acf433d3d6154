//! One stream of typed events: what an operator reads to know what happened during an upgrade.
//!
//! The machines emit them in the order of the decisions they describe; logs and metrics are made from them. No
//! payload, key, password or raw error text of a server is ever in one.

mod line;

use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, Peer};
use crate::error::{CloseCause, ConnectError, CredentialsError, ErrorCode, Refusal};
use crate::ids::ConnId;
use crate::notification::{NotificationError, NotificationKind, Seq};

pub use self::line::Line;
pub use crate::level::Level;
pub use crate::review::{Ignored, Unreviewed};

/// Something that happened, true at the moment it is emitted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done; the connection may serve.
    ConnectionReady {
        /// Which.
        conn: ConnId,
        /// The connected address.
        peer: Peer,
        /// Whether it will be told of maintenance.
        notified: bool,
    },
    /// A connection that had been ready has ended.
    ConnectionClosed {
        /// Which.
        conn: ConnId,
        /// Its address.
        peer: Peer,
        /// Why.
        cause: CloseCause,
    },
    /// A connection owes a reply, and nothing came for the `dead_link_timeout`. It gets no more requests; another one is opened in
    /// its place.
    ConnectionSilent {
        /// Which.
        conn: ConnId,
        /// Its address.
        peer: Peer,
    },
    /// A connection has authenticated with the credentials that took the place of those it was opened with.
    Reauthenticated {
        /// Which.
        conn: ConnId,
        /// Its address.
        peer: Peer,
    },
    /// The server has refused the credentials that took the place of those that a connection was opened with. The connection
    /// goes on with those until the server closes it; it tries again when the credentials change again.
    ReauthenticationRefused {
        /// Which.
        conn: ConnId,
        /// The address of the server.
        peer: Peer,
        /// The code of its error.
        code: ErrorCode,
    },
    /// The credentials have changed, or are about to expire, and the provider has not given others. Connections go on with those
    /// that they have.
    CredentialsFailed {
        /// Why.
        error: CredentialsError,
        /// When the client asks again.
        retry_at: Instant,
    },
    /// A dial that belongs to no handoff failed.
    ConnectFailed {
        /// Which.
        conn: ConnId,
        /// Why.
        error: ConnectError,
    },
    /// The server does not know maintenance notifications: it is asked again after a while. Once per address and
    /// re-check.
    OptInRefused {
        /// The address.
        peer: Peer,
        /// The code of the server's error, if it answered at all.
        code: Option<ErrorCode>,
        /// When it will be asked again.
        recheck_at: Instant,
    },
    /// Something at this address did not take the usual handshake, took less, and answered: connections there speak RESP2, so
    /// they are not told of maintenance, and do without CLIENT if the link ended at more. With `protocol` RESP2 they do without
    /// CLIENT. Asked for everything again after a while. Once per address and re-check, and never where the usual handshake has
    /// succeeded before.
    FellBack {
        /// The address.
        peer: Peer,
        /// The code of the error in reply to HELLO, if there was one; otherwise the link ended, or the reply was that of RESP2.
        code: Option<ErrorCode>,
        /// When it will be asked again.
        recheck_at: Instant,
    },
    /// The server has come to support maintenance notifications, and this connection, which did without so far, is told
    /// of maintenance from now on.
    OptedIn {
        /// Which.
        conn: ConnId,
        /// Its address.
        peer: Peer,
    },
    /// A maintenance push arrived and was understood.
    NotificationReceived {
        /// On which connection.
        conn: ConnId,
        /// What it says.
        kind: NotificationKind,
        /// Its id.
        seq: Seq,
    },
    /// A maintenance push was dropped because it makes no sense; nothing else is affected.
    NotificationMalformed {
        /// On which connection.
        conn: ConnId,
        /// What was wrong.
        error: NotificationError,
    },
    /// A notification changed nothing.
    NotificationIgnored {
        /// On which connection.
        conn: ConnId,
        /// What it says.
        kind: NotificationKind,
        /// Its id.
        seq: Seq,
        /// Why.
        reason: Ignored,
    },
    /// A hook stopped this notification. The window that it opened is being closed.
    NotificationVetoed {
        /// On which connection it came.
        conn: ConnId,
        /// What it says.
        kind: NotificationKind,
        /// Its id.
        seq: Seq,
    },
    /// A hook put another notification in the place of this one.
    NotificationReplaced {
        /// On which connection it came.
        conn: ConnId,
        /// What it said.
        kind: NotificationKind,
        /// Its id.
        seq: Seq,
    },
    /// This notification takes effect without the verdict of the hooks.
    NotificationUnreviewed {
        /// On which connection it came.
        conn: ConnId,
        /// What it says.
        kind: NotificationKind,
        /// Its id.
        seq: Seq,
        /// Why.
        reason: Unreviewed,
    },
    /// The policy on targets forbids the endpoint that a MOVING names: nothing is dialled, and the old connections serve
    /// until the server closes them.
    TargetVetoed {
        /// The address that is being retired.
        source: Peer,
        /// The endpoint.
        target: Endpoint,
        /// The id of the MOVING.
        seq: Seq,
    },
    /// The policy on targets put another endpoint in the place of the one that a MOVING names.
    TargetRewritten {
        /// The address that is being retired.
        source: Peer,
        /// The endpoint that the server named.
        announced: Endpoint,
        /// The one that is dialled.
        target: Endpoint,
        /// The id of the MOVING.
        seq: Seq,
    },
    /// Over TLS a MOVING names a host outside of the domain of the configured name, and nothing allows that
    /// ([`target_domain`](crate::config::ConfigBuilder::target_domain), or a policy on targets): it counts as one without an
    /// endpoint, so that the move waits until the configured name leads elsewhere.
    TargetRefused {
        /// The address that is being retired.
        source: Peer,
        /// The endpoint.
        target: Endpoint,
        /// The id of the MOVING.
        seq: Seq,
    },
    /// Timeouts are relaxed from now on.
    WindowOpened {
        /// For whom.
        scope: WindowScope,
        /// What opened it.
        cause: NotificationKind,
        /// When it ends by itself.
        until: Instant,
    },
    /// A window has closed, by its completion or by itself.
    WindowClosed {
        /// For whom.
        scope: WindowScope,
        /// True if no completion came and it ended by itself.
        expired: bool,
    },
    /// After a completion, the configured name no longer leads to an address in use: the server was seen to close
    /// connections there later on, without a MOVING. Its connections begin to move.
    AddressWithdrawn {
        /// The address.
        peer: Peer,
    },
    /// Outside of a window the server at this address has refused commands with this code: nobody has announced anything, and
    /// its connections begin to move.
    Demoted {
        /// The address.
        peer: Peer,
        /// What it has refused them with.
        refusal: Refusal,
    },
    /// The connections of `source` begin to move.
    ///
    /// Where `target` is `source` itself, a newer MOVING has led back to it before all had left: new connections there take the place of
    /// those that the server has told to leave, and will close. Its id, its cause and its deadline are those of the move that had told them,
    /// which [`MoveSuperseded`](Self::MoveSuperseded) says first to be over: the next event of that id is of the replacement.
    MoveStarted {
        /// The address whose connections move.
        source: Peer,
        /// Where to; `None` if the server named no endpoint (the name is resolved again), or one that the policy on
        /// targets forbids (see [`TargetVetoed`](Self::TargetVetoed) and [`TargetRefused`](Self::TargetRefused)).
        target: Option<Endpoint>,
        /// The id of the MOVING; of the completion, after [`AddressWithdrawn`](Self::AddressWithdrawn); 0 after
        /// [`Demoted`](Self::Demoted), and no id of any notification then.
        seq: Seq,
        /// What it follows from.
        cause: MoveCause,
        /// When the server will close what is left; in a quiet move, when the client stops trying.
        deadline: Instant,
    },
    /// A newer MOVING took the place of this move, which of two with its id is the one that was started last.
    MoveSuperseded {
        /// The address whose connections move.
        source: Peer,
        /// The id of the move that gave way, as in [`MoveStarted`](Self::MoveStarted).
        seq: Seq,
        /// What that followed from.
        cause: MoveCause,
    },
    /// No connection of this move, which of two with its id is the one that was started last, is waiting or dialling any more.
    MoveFinished {
        /// The address whose connections move.
        source: Peer,
        /// The id of the move, as in [`MoveStarted`](Self::MoveStarted).
        seq: Seq,
        /// What it followed from.
        cause: MoveCause,
        /// Connections that were handed over.
        moved: u32,
        /// Connections that were left where they are, until the server closes them.
        stayed: u32,
        /// Since the move began.
        took: Duration,
    },
    /// A handoff dials.
    HandoffDialing {
        /// The connection to be replaced.
        from: ConnId,
        /// The new one.
        to: ConnId,
        /// Where to.
        address: Peer,
        /// 1 for the first.
        attempt: u32,
    },
    /// An attempt failed; the old connection goes on serving.
    HandoffFailed {
        /// The connection to be replaced.
        from: ConnId,
        /// Why.
        error: ConnectError,
        /// Which attempt it was.
        attempt: u32,
        /// When the next one begins; `None` if the old connection stays in service to the end.
        retry_at: Option<Instant>,
    },
    /// New requests go to `to` from now on.
    CutOver {
        /// The old connection.
        from: ConnId,
        /// The new connection.
        to: ConnId,
        /// Requests not yet written that went along.
        moved: usize,
    },
    /// An old connection has answered everything and is being closed.
    Drained {
        /// Which.
        conn: ConnId,
        /// Since the cut-over.
        took: Duration,
    },
    /// An old connection is being closed at its deadline with requests unanswered.
    DrainDeadline {
        /// Which.
        conn: ConnId,
    },
    /// A request had no reply within its timeout.
    RequestTimedOut {
        /// On which connection; `None` if it waited for one.
        conn: Option<ConnId>,
    },
    /// The connection of the subscriptions is lost, or messages were left out in its move: of so many topics messages may be missing. Those
    /// who subscribe are told where.
    SubscriptionGaps {
        /// How many topics.
        topics: usize,
        /// How the connection ended.
        cause: CloseCause,
    },
    /// The connection of the subscriptions has moved, and of so many topics messages with equal contents left it open which of them both
    /// connections have shown. None is repeated; those who subscribe are told where some may be missing.
    SubscriptionsAmbiguous {
        /// How many topics.
        topics: usize,
    },
    /// A command that blocks has taken something for a caller that had given it up. What that was goes to
    /// [`Action::Orphaned`](crate::client::Action::Orphaned) alone.
    Orphaned {
        /// The name of the command, in upper case.
        command: &'static str,
    },
    /// The machine has no connection left and will not open another. The client of a node of a cluster does not say so: nodes come and go.
    Terminated,
}

/// What a move follows from. Only the first one is announced; the others are quiet moves, which have no window, and for which the
/// server closes nothing that anybody knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MoveCause {
    /// A MOVING.
    Announced,
    /// The address has left the answers of the name: [`Event::AddressWithdrawn`].
    Withdrawn,
    /// The server at the address refuses commands: [`Event::Demoted`].
    Demoted,
}

/// Whose timeouts a window relaxes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WindowScope {
    /// Every connection of this client, and requests that wait for one.
    Database,
    /// The connections to one address.
    Peer(Peer),
    /// One connection, after its handoff.
    Connection(ConnId),
}
