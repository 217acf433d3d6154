//! Errors, by whose fault they are and what they are fatal to.
//!
//! | type | whose fault | fatal to |
//! |---|---|---|
//! | [`ConfigError`](crate::config::ConfigError) | the caller | construction |
//! | [`SendError`](crate::request::SendError) | the caller | the call; the request is given back |
//! | [`RefusedCommand`](crate::request::RefusedCommand) | the caller | the call |
//! | [`RequestError`] | nobody | one request; says what happened to it |
//! | [`ConnectError`] | the network, the server or the credentials | one attempt |
//! | [`HandshakeError`] | the server or the credentials | one attempt |
//! | [`ProtocolError`] | the server | the connection |
//! | [`NotificationError`](crate::notification::NotificationError) | the server | nothing |

mod handshake;
mod refusal;

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

pub use self::handshake::{ErrorCode, HandshakeError, Stage};
pub use self::refusal::Refusal;

/// What became of a request that failed: may the server have executed it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// No byte of it was handed to a socket: it did not run.
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
    #[error("no reply within {after:?} (delivery: {delivery})")]
    TimedOut {
        /// From acceptance to the deadline.
        after: Duration,
        /// Whether it may have run.
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
    /// The retiring node had not answered when the time of its move was over.
    #[error("the retiring node did not answer before the deadline of its move (delivery: {delivery})")]
    MoveDeadline {
        /// Whether it may have run.
        delivery: Delivery,
    },
    /// The client was shut down first.
    #[error("the client was shut down (delivery: {delivery})")]
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
            | Self::ConnectionLost { delivery, .. }
            | Self::MoveDeadline { delivery }
            | Self::ShutDown { delivery } => *delivery,
        }
    }
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
    /// The server broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(ProtocolError),
    /// Several requests in a row timed out and not one byte was received meanwhile.
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

/// The server sent what the protocol does not allow. Fatal to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are not RESP, or exceed a limit of the decoder.
    #[error("the bytes received are not RESP or exceed a limit")]
    Malformed,
    /// A reply arrived although no request was waiting for one.
    #[error("a reply without a request")]
    UnexpectedReply,
}

/// Why a dial did not yield a usable connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name could not be resolved, or to no address.
    #[error("cannot resolve the host name: {0}")]
    Resolve(io::ErrorKind),
    /// The socket could not be connected.
    #[error("cannot connect: {0}")]
    Connect(io::ErrorKind),
    /// The attempt took longer than it may.
    #[error("no usable connection within {0:?}")]
    TimedOut(Duration),
    /// The server refused a step of the handshake.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    /// The link ended during the handshake.
    #[error("the link ended during the handshake: {0}")]
    LostInHandshake(CloseCause),
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
}

impl ConnectError {
    /// True if trying again without changing anything may help: everything but a refusal of the credentials or of a
    /// setting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Handshake(error) => error.is_transient(),
            Self::ShutDown => false,
            Self::Resolve(_)
            | Self::Connect(_)
            | Self::TimedOut(_)
            | Self::LostInHandshake(_)
            | Self::CircuitOpen
            | Self::Retiring
            | Self::Released => true,
        }
    }
}
