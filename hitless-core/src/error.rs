//! Errors, by whose fault they are and what they are fatal to.
//!
//! | type | whose fault | fatal to |
//! |---|---|---|
//! | [`ConfigError`](crate::config::ConfigError) | the caller | construction |
//! | [`SendError`](crate::request::SendError) | the caller | the call; the request is given back |
//! | [`RefusedCommand`](crate::request::RefusedCommand) | the caller | the call |
//! | [`RequestError`] | nobody | one request; says what happened to it |
//! | [`LeaseError`] | the caller, or nobody | the wish for a lease |
//! | [`ConnectError`] | the network, the server or the credentials | one attempt |
//! | [`CredentialsError`] | whoever provides the credentials | one attempt |
//! | [`HandshakeError`] | the server or the credentials | one attempt |
//! | [`ProtocolError`] | the server | the connection |
//! | [`NotificationError`](crate::notification::NotificationError) | the server | nothing |
//! | [`ServerError`] | the caller or the server | one request; the server has answered |
//! | [`ValueError`](crate::ValueError) | the caller | one conversion; the server has answered |

mod credentials;
mod handshake;
mod refusal;
mod route;
mod server;
mod system;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use resp3_codec::{DecodeErrorKind, Limit};
use thiserror::Error;

pub use self::credentials::CredentialsError;
pub use self::handshake::{ErrorCode, HandshakeError, SetupCommand, Stage};
pub use self::refusal::Refusal;
pub(crate) use self::refusal::is_unblocked;
pub use self::route::RouteError;
pub use self::server::ServerError;
pub use self::system::SystemError;
pub use self::tls::{TlsFault, TlsProgress};
use crate::endpoint::Endpoint;
use crate::timer::Span;

/// What became of a request that failed: may the server have executed it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// It did not run: no byte of it was handed to a socket, or it was only queued in a transaction whose EXEC was not. Repeating it is
    /// safe; of a transaction, begin the whole of it again.
    NotSent,
    /// It was written, or may have been: it may have run. Repeating it is safe only if it is idempotent.
    Unknown,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "not sent",
            Self::Unknown => "Unknown, it may have run",
        })
    }
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No reply came within its timeout (relaxed by a maintenance window, if one was open).
    #[error("no reply within {} (delivery: {delivery})", Span(*.after))]
    TimedOut {
        /// From acceptance to the deadline.
        after: Duration,
        /// Whether it may have run.
        delivery: Delivery,
    },
    /// It blocks, and so needs a connection for itself: every one that `max_dedicated` allows was lent until `lease_timeout` was over.
    #[error(
        "no connection was free within {} for a command that blocks: as many are lent as `max_dedicated` allows. Raise it or \
         `lease_timeout` (delivery: {delivery})",
        Span(*.after)
    )]
    NotLent {
        /// How long it waited.
        after: Duration,
        /// Whether it may have run: `Unknown` if it was sent to another node of a cluster before, or if it is a part of a request whose
        /// other parts have run.
        delivery: Delivery,
    },
    /// There was no connection to send it on, and the last attempt to open one has failed.
    #[error("no connection{}{}: {cause} (delivery: {delivery})", to_server(.endpoint, .cause), within(*.after))]
    NoConnection {
        /// The configured server.
        endpoint: Endpoint,
        /// Why the last attempt failed. [`ConnectError::code`] is the code of a server that refused it.
        cause: Arc<ConnectError>,
        /// How long it waited: its timeout; nothing where
        /// [`WhenDisconnected::Fail`](crate::config::WhenDisconnected::Fail) is set and an attempt had failed before.
        after: Duration,
        /// Whether it may have run: `Unknown` if it was written to a connection that was lost before.
        delivery: Delivery,
    },
    /// The connection that carried it was lost before the reply.
    #[error("connection lost: {cause} (delivery: {delivery})")]
    ConnectionLost {
        /// Why the connection ended.
        cause: CloseCause,
        /// Whether it may have run.
        delivery: Delivery,
    },
    /// Nobody in the cluster is known to serve the slot of its keys.
    #[error("{} (delivery: {delivery})", not_served(*.slot))]
    NotServed {
        /// The slot; `None` for a command without keys, if there is no node at all.
        slot: Option<u16>,
        /// Whether it may have run: `Unknown` if it was sent to a node before, or if it is a part of a request whose other parts have run.
        delivery: Delivery,
    },
    /// The retiring node had not answered when the time of its move was over.
    #[error("the retiring node did not answer before the deadline of its move (delivery: {delivery})")]
    MoveDeadline {
        /// Whether it may have run.
        delivery: Delivery,
    },
    /// The client was shut down first, or the runtime on which it was opened was dropped.
    #[error(
        "the client was shut down, or the runtime that it was opened on was dropped (delivery: {delivery})"
    )]
    ShutDown {
        /// Whether it may have run.
        delivery: Delivery,
    },
}

impl RequestError {
    /// Whether the request may have run.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::TimedOut { delivery, .. }
            | Self::NotLent { delivery, .. }
            | Self::NoConnection { delivery, .. }
            | Self::ConnectionLost { delivery, .. }
            | Self::NotServed { delivery, .. }
            | Self::MoveDeadline { delivery }
            | Self::ShutDown { delivery } => *delivery,
        }
    }

    /// It turns out that the request has not run.
    pub(crate) fn set_not_run(&mut self) {
        self.set_delivery(Delivery::NotSent);
    }

    /// It turns out that the request may have run.
    pub(crate) fn set_unknown(&mut self) {
        self.set_delivery(Delivery::Unknown);
    }

    fn set_delivery(&mut self, known: Delivery) {
        match self {
            Self::TimedOut { delivery, .. }
            | Self::NotLent { delivery, .. }
            | Self::NoConnection { delivery, .. }
            | Self::ConnectionLost { delivery, .. }
            | Self::NotServed { delivery, .. }
            | Self::MoveDeadline { delivery }
            | Self::ShutDown { delivery } => *delivery = known,
        }
    }
}

fn not_served(slot: Option<u16>) -> String {
    match slot {
        Some(slot) => format!("no node of the cluster is known to serve slot {slot}"),
        None => "no node of the cluster is known".into(),
    }
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Every connection that may be lent was lent, until the time was over.
    #[error(
        "no connection was returned within {}: as many are lent as `max_dedicated` allows. Return leases sooner, or raise \
         `max_dedicated` or `lease_timeout`",
        Span(*.after)
    )]
    TimedOut {
        /// How long the caller waited.
        after: Duration,
    },
    /// A connection had to be opened, and the last attempt to do so has failed.
    #[error("no connection for a lease{}{}: {cause}", to_server(.endpoint, .cause), within(*.after))]
    NoConnection {
        /// The configured server.
        endpoint: Endpoint,
        /// Why the last attempt failed.
        cause: Arc<ConnectError>,
        /// How long the caller waited.
        after: Duration,
    },
    /// As many callers wait for a lease as `parked_requests` allows.
    #[error(
        "as many callers wait for a lease as `parked_requests` allows: return leases sooner, or raise `max_dedicated` or \
         `parked_requests`"
    )]
    Full,
    /// The client shuts down.
    #[error("the client was shut down")]
    ShutDown,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// The server closed it (FIN).
    #[error("closed by the server")]
    ByServer,
    /// The transport failed.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The encrypted session ended, and TLS says why.
    #[error("{0}")]
    Tls(TlsFault),
    /// The server broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(ProtocolError),
    /// Something written was unanswered, no byte was received for too long, and another connection has taken its place.
    #[error("the server is silent")]
    Silent,
    /// This side closed it: drained after a handoff, superseded or shut down.
    #[error("closed by the client")]
    ByClient,
    /// The client was shut down before everything was answered.
    #[error("the client was shut down")]
    ShutDown,
    /// This side closed it because the deadline of its move had come.
    #[error("the deadline of the move had come")]
    MoveDeadline,
}

impl From<&io::Error> for CloseCause {
    /// A stream that is encrypted says by an error which has a [`TlsFault`] inside what TLS said.
    fn from(error: &io::Error) -> Self {
        let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFault>());
        fault.map_or_else(|| Self::Io(error.kind()), |fault| Self::Tls(*fault))
    }
}

/// The server sent what the protocol does not allow. Fatal to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are not RESP.
    #[error("the bytes received are not RESP")]
    Malformed,
    /// A reply exceeds one of the [`reply_limits`](crate::config::ConfigBuilder::reply_limits).
    #[error("a reply exceeds a limit: {limit}, at most {allowed} (`reply_limits` sets it)")]
    Limit {
        /// Which limit.
        limit: Limit,
        /// Its setting.
        allowed: u64,
    },
    /// A reply arrived although no request was waiting for one.
    #[error("a reply without a request")]
    UnexpectedReply,
    /// A reply was `-UNBLOCKED`: somebody has sent CLIENT UNBLOCK. A server before Redis 7.2 runs a command nevertheless that it had held up
    /// (CLIENT PAUSE), and answers it once more; what would be read next may be that answer.
    #[error("a command was unblocked (CLIENT UNBLOCK), and may be answered once more")]
    Unblocked,
    /// SUBSCRIBE, PSUBSCRIBE or SSUBSCRIBE was answered neither by a confirmation nor by an error.
    #[error("the reply to SUBSCRIBE is neither a confirmation nor an error")]
    NotConfirmed,
}

impl From<DecodeErrorKind> for ProtocolError {
    fn from(kind: DecodeErrorKind) -> Self {
        match kind {
            DecodeErrorKind::Limit { limit, allowed } => Self::Limit { limit, allowed },
            _ => Self::Malformed,
        }
    }
}

/// Why a dial did not yield a usable connection.
///
/// Its text has all that is known; [`source`](std::error::Error::source) repeats none of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name could not be resolved, or to no address.
    #[error("cannot resolve {place}: {0}", place = .0.place().unwrap_or("the host name"))]
    Resolve(SystemError),
    /// The socket could not be connected.
    #[error("cannot connect{place}: {0}", place = to(.0.place()))]
    Connect(SystemError),
    /// There are no credentials to connect with, so nothing was connected.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The attempt took longer than it may, and no stream was connected.
    #[error("connecting took longer than {}", Span(*.0))]
    TimedOut(Duration),
    /// The stream was connected, and TLS was not negotiated within the time of the attempt.
    #[error("{}", tls_timed_out(*.progress, *.after))]
    TlsTimedOut {
        /// Whether the server had sent anything.
        progress: TlsProgress,
        /// How long the attempt could take.
        after: Duration,
    },
    /// The stream was connected, and the server did not answer the handshake within the time of the attempt.
    #[error("the server took the connection, and did not answer all of the handshake within {}", Span(*.0))]
    HandshakeTimedOut(Duration),
    /// The server refused a step of the handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The link ended during the handshake.
    #[error("the link ended during the handshake: {0}{hint}", hint = hint(.0))]
    LostInHandshake(CloseCause),
    /// The link ended right behind the handshake, before it had answered anything.
    #[error("the link ended right behind the handshake: {0}")]
    LostBehindHandshake(CloseCause),
    /// The circuit breaker of the target is open, so it was not dialled.
    #[error("the circuit breaker of the target is open")]
    CircuitOpen,
    /// It led to the very address that is being retired.
    #[error("the address is being retired")]
    Retiring,
    /// The owner of the connection gave it up before it was ready.
    #[error("given up by its owner")]
    Released,
    /// The client was shut down first.
    #[error("the client was shut down")]
    ShutDown,
    /// The pool could not be opened: the client has stopped trying, at once where another attempt cannot help.
    /// [`last`](Self::last) is the reason, to be matched on.
    #[error(
        "cannot open the connections{}: {last} (given up after {:.1}, attempts for each connection: {attempts})",
        to_server(.endpoint, .last),
        Span(*.took)
    )]
    GaveUp {
        /// The configured server.
        endpoint: Endpoint,
        /// How often the connection was tried that failed most often. An attempt dials each address of the name until one answers,
        /// and the other connections of the pool have as many attempts or fewer: there are more dials than attempts.
        attempts: u32,
        /// How long it took in total.
        took: Duration,
        /// Why the last attempt failed.
        last: Box<Self>,
    },
    /// A task that the client cannot do without has ended: its runtime is being dropped, or the task has panicked.
    #[error(
        "a task of the client has ended: either its runtime was dropped, or the task has panicked, and the message of the \
         panic says why (a runtime without timers, for one)"
    )]
    TaskEnded,
}

impl ConnectError {
    /// The failure itself: of a client that has given up, that of the last attempt.
    #[must_use]
    pub fn last(&self) -> &Self {
        match self {
            Self::GaveUp { last, .. } => last.last(),
            other => other,
        }
    }

    /// The address that was dialled, or the name that was looked up, where it was that which failed.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match self.last() {
            Self::Resolve(error) | Self::Connect(error) => error.place(),
            _ => None,
        }
    }

    /// The code of the server's error, such as `WRONGPASS`, if it refused the handshake with one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self.last() {
            Self::Handshake(error) => error.code(),
            _ => None,
        }
    }

    /// True if trying again without changing anything may help: everything but a refusal of the credentials or of a
    /// setting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Handshake(error) => error.is_transient(),
            Self::GaveUp { last, .. } => last.is_transient(),
            Self::ShutDown | Self::TaskEnded => false,
            Self::Resolve(_)
            | Self::Connect(_)
            | Self::Credentials(_)
            | Self::TimedOut(_)
            | Self::TlsTimedOut { .. }
            | Self::HandshakeTimedOut(_)
            | Self::LostInHandshake(_)
            | Self::LostBehindHandshake(_)
            | Self::CircuitOpen
            | Self::Retiring
            | Self::Released => true,
        }
    }
}

fn to(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(" to {place}"))
}

/// Names the server, unless `cause` does.
pub(crate) fn to_server(endpoint: &Endpoint, cause: &ConnectError) -> String {
    if cause.place().is_some() { String::new() } else { format!(" to {endpoint}") }
}

fn within(after: Duration) -> String {
    if after.is_zero() { String::new() } else { format!(" within {}", Span(after)) }
}

fn tls_timed_out(progress: TlsProgress, after: Duration) -> String {
    let after = Span(after);
    match progress {
        TlsProgress::Begun => format!(
            "TLS: the server took the connection and sent nothing within {after}. A port without TLS does so: use the server's port for \
             TLS, or redis:// (valkey://) for one without"
        ),
        TlsProgress::Answered => {
            format!("TLS: the server answered, and the handshake was not done within {after}")
        }
    }
}

/// What to look at when a link has ended for this cause before the server said anything that makes sense.
fn hint(cause: &CloseCause) -> &'static str {
    match cause {
        CloseCause::ByServer
        | CloseCause::Io(
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe,
        ) => ". Does the server refuse clients of this address, or expect TLS (rediss://)?",
        CloseCause::Protocol(_) => ". Is it a Redis server, and without TLS?",
        _ => "",
    }
}
