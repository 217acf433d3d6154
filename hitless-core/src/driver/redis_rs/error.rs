//! Errors as errors of the `redis` crate, and back.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value, parse_redis_value};

use crate::driver::Error;
use crate::error::{CloseCause, ConnectError, Delivery, LeaseError, RequestError, RouteError};
use crate::pubsub::SubscribeError;
use crate::request::{RefusedCommand, SendError};

impl Delivery {
    /// Whether the server may have run what failed with this error, if it is one of a client of this crate; `None` if the server
    /// has answered.
    ///
    /// With the feature `redis-rs`.
    #[must_use]
    pub fn of_redis_error(error: &RedisError) -> Option<Self> {
        match (carried(error), error.kind()) {
            (Some(error), _) => error.delivery(),
            // A server says it in other words.
            (None, kind) if kind == ServerErrorKind::CrossSlot.into() => {
                error.to_string().contains(CROSS_SLOT).then_some(Self::NotSent)
            }
            (None, ErrorKind::Client | ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig) => {
                Some(Self::NotSent)
            }
            (None, _) => None,
        }
    }
}

/// What an error says of keys in several slots that no server has seen.
const CROSS_SLOT: &str = "keys in different slots";

/// The error of ours that an error of the `redis` crate was made of, if it was, and is more than a text.
pub(in crate::driver) fn carried(error: &RedisError) -> Option<&Error> {
    let mut next = error.source();
    let mut causes = std::iter::from_fn(|| {
        let cause = next?;
        next = cause.source();
        Some(cause)
    });
    causes.find_map(|cause| cause.downcast_ref::<Error>())
}

impl From<Error> for RedisError {
    /// The error with the kind that the retry logic of the `redis` crate looks at.
    fn from(error: Error) -> Self {
        let error = match error {
            Error::Redis(error) => return error,
            error => error,
        };
        match &error {
            Error::Config(_) => general(ErrorKind::InvalidClientConfig, "settings", &error),
            Error::Refused(refused) => (*refused).into(),
            Error::Route(RouteError::CrossSlot { .. }) => {
                general(ServerErrorKind::CrossSlot.into(), CROSS_SLOT, &error)
            }
            Error::Route(_) => general(ErrorKind::Client, "no node for it", &error),
            Error::Send(SendError::Full(_)) => general(ErrorKind::Client, "too many requests", &error),
            Error::Value(_) => general(ErrorKind::UnexpectedReturnType, "reply", &error),
            Error::Server(error) => server(error.to_string().as_bytes()),
            Error::Reply(error) => server(error.error.to_string().as_bytes()),
            Error::Discarded(error) if error.code() == "EXECABORT" => server(error.to_string().as_bytes()),
            Error::Discarded(error) => server(format!("EXECABORT {error}").as_bytes()),
            Error::Connect(cause) if is_about_credentials(cause) => {
                general(ErrorKind::AuthenticationFailed, "credentials", &error)
            }
            Error::Lease(LeaseError::Full) => general(ErrorKind::Client, "too many callers", &error),
            Error::Connect(_)
            | Error::Topology { .. }
            | Error::Lease(_)
            | Error::Subscribe(_)
            | Error::Send(_)
            | Error::Request(_)
            | Error::Conflict { .. }
            | Error::Redis(_)
            | Error::NotAtomic(_) => io::Error::new(io_kind(&error), Carried(error)).into(),
        }
    }
}

impl From<RefusedCommand> for RedisError {
    fn from(refused: RefusedCommand) -> Self {
        general(ErrorKind::Client, "refused", &refused)
    }
}

/// The kind of the system's that the retry logic of the `redis` crate makes the right thing of.
fn io_kind(error: &Error) -> io::ErrorKind {
    match error {
        Error::Connect(cause) => no_connection(cause),
        Error::Send(SendError::NoConnection { cause, .. })
        | Error::Request(RequestError::NoConnection { cause, .. })
        | Error::Lease(LeaseError::NoConnection { cause, .. })
        | Error::Subscribe(SubscribeError::NoConnection { cause, .. }) => no_connection(cause),
        Error::Request(RequestError::TimedOut { .. } | RequestError::NotLent { .. })
        | Error::Lease(LeaseError::TimedOut { .. })
        | Error::Subscribe(SubscribeError::TimedOut { .. } | SubscribeError::NotLent { .. }) => {
            io::ErrorKind::TimedOut
        }
        Error::Send(SendError::LeaseLost { cause, .. }) => lost(*cause),
        Error::Request(RequestError::ConnectionLost { cause, .. }) => lost(*cause),
        Error::Request(RequestError::MoveDeadline { .. }) => io::ErrorKind::ConnectionAborted,
        Error::Request(RequestError::ShutDown { .. })
        | Error::Send(SendError::ShuttingDown(_))
        | Error::Lease(LeaseError::ShutDown)
        | Error::Subscribe(SubscribeError::ShutDown) => io::ErrorKind::BrokenPipe,
        // Trying again may do twice what it has done already, and finds nothing watched any more.
        Error::NotAtomic(_) | Error::Conflict { .. } => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    }
}

/// The error with this text, as the `redis` crate's parser has it.
pub(super) fn server(text: &[u8]) -> RedisError {
    match server_value(text) {
        Value::ServerError(error) => error.into(),
        other => (ErrorKind::Parse, "an error reply", format!("{other:?}")).into(),
    }
}

/// An error reply. Its type has no public constructor, so its parser makes it; what is no UTF-8 in it is replaced.
pub(super) fn server_value(text: &[u8]) -> Value {
    let head = [b"!", text.len().to_string().as_bytes(), b"\r\n"].concat();
    // It cannot fail: any text is an error.
    parse_redis_value(&[&head, text, b"\r\n"].concat()).unwrap_or_default()
}

fn general(kind: ErrorKind, what: &'static str, error: &impl fmt::Display) -> RedisError {
    (kind, what, error.to_string()).into()
}

/// The kind that says why there is no connection.
fn no_connection(cause: &ConnectError) -> io::ErrorKind {
    match cause.last() {
        ConnectError::Connect(error) | ConnectError::Resolve(error) if is_dropped(error.kind()) => {
            error.kind()
        }
        ConnectError::TimedOut(_) | ConnectError::TlsTimedOut { .. } | ConnectError::HandshakeTimedOut(_) => {
            io::ErrorKind::TimedOut
        }
        // To try again does not help.
        ConnectError::Handshake(error) if !error.is_transient() => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::NotConnected,
    }
}

fn lost(cause: CloseCause) -> io::ErrorKind {
    match cause {
        CloseCause::ByServer => io::ErrorKind::UnexpectedEof,
        CloseCause::Io(kind) if is_dropped(kind) => kind,
        _ => io::ErrorKind::ConnectionAborted,
    }
}

/// Whether the `redis` crate takes an error of this kind for a connection that is gone, or refused.
fn is_dropped(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::*;
    matches!(
        kind,
        BrokenPipe
            | ConnectionReset
            | ConnectionRefused
            | ConnectionAborted
            | UnexpectedEof
            | NotConnected
            | NotFound
    )
}

fn is_about_credentials(cause: &ConnectError) -> bool {
    cause.code().is_some_and(|code| ["WRONGPASS", "NOAUTH"].contains(&code.as_str()))
}

/// An error of the client inside one of the system, where [`Delivery::of_redis_error`] finds it.
#[derive(Debug)]
struct Carried(Error);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Carried {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use redis::RetryMethod;

    use super::*;

    /// The server has answered EXEC: a conflict says so as ours and as that of the `redis` crate, which does not try EXEC again
    /// by itself. RULE-197
    #[test]
    fn a_conflict_has_been_answered() {
        let error = Error::Conflict { tries: 1 };
        let (delivery, text) = (error.delivery(), error.to_string());
        let error = RedisError::from(error);
        assert_eq!(Delivery::of_redis_error(&error), delivery);
        assert_eq!(delivery, None);
        assert!(error.to_string().contains(&text), "{error}");
        assert!(matches!(error.retry_method(), RetryMethod::NoRetry));
        assert!(!error.is_connection_dropped() && !error.is_timeout());
    }

    /// No server has seen a command with keys of several slots, unless the server says so. RULE-197
    #[test]
    fn keys_of_several_slots_were_not_sent() {
        let ours = RedisError::from(Error::from(RouteError::CrossSlot { first: 1, other: 2 }));
        assert_eq!(Delivery::of_redis_error(&ours), Some(Delivery::NotSent));
        let theirs = server(b"CROSSSLOT Keys in request don't hash to the same slot");
        assert_eq!((theirs.kind(), Delivery::of_redis_error(&theirs)), (ours.kind(), None));
    }

    /// An error that went through `?` in a function of this crate comes out of it as it was. RULE-197
    #[test]
    fn an_error_comes_back_as_it_was() {
        let error = Error::from(server(b"WRONGTYPE not a string"));
        assert_eq!((error.delivery(), error.to_string().contains("not a string")), (None, true));
        assert_eq!(RedisError::from(error).code(), Some("WRONGTYPE"));

        let lost = RequestError::ConnectionLost { cause: CloseCause::ByServer, delivery: Delivery::Unknown };
        let error = Error::from(RedisError::from(Error::Request(lost)));
        assert_eq!(error.delivery(), Some(Delivery::Unknown));
        let error = RedisError::from(error);
        assert_eq!(Delivery::of_redis_error(&error), Some(Delivery::Unknown));
        assert!(error.is_connection_dropped(), "{error:?}");
        let theirs = RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(Error::from(theirs).delivery(), Some(Delivery::Unknown), "of another connection");
        let refused = RedisError::from(Error::from(server(b"READONLY no writes")));
        assert_eq!(refused.kind(), ServerErrorKind::ReadOnly.into());
    }
}
