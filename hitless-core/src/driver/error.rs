//! The errors of calls.

use resp3_codec::Frame;
use thiserror::Error as ThisError;

use crate::cluster::{TopologyError, is_refusal};
use crate::config::ConfigError;
use crate::endpoint::Endpoint;
use crate::error::{ConnectError, Delivery, LeaseError, RequestError, RouteError, ServerError};
use crate::pubsub::SubscribeError;
use crate::request::{RefusedCommand, Replies, SendError};
use crate::value::{FromFrame, ValueError};

/// Why a call of the client has no result.
///
/// [`delivery`](Self::delivery) says whether the server may have run what was asked.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The settings cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The pool could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster could not be read at this node.
    #[error("the cluster cannot be read at {endpoint}: {error}")]
    Topology {
        /// The node.
        endpoint: Endpoint,
        /// Why.
        error: TopologyError,
    },
    /// It is not clear which node of the cluster a command is for.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The command would break the shared connection for the other callers; it was not sent.
    #[error(transparent)]
    Refused(#[from] RefusedCommand),
    /// There is no lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Topics were not subscribed to.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The client did not accept the request, which it gives back.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The request was accepted and has no reply.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server's reply is an error. Where that is MOVED, which only a node of a cluster says, the text of this error adds that such a node
    /// wants a [`ClusterClient`](super::ClusterClient); so do those of [`Reply`](Self::Reply) and [`Discarded`](Self::Discarded).
    #[error("{0}{hint}", hint = hint(.0))]
    Server(ServerError),
    /// One of several replies is an error: [`CheckReplies::check`].
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The reply is not the value that was asked for.
    #[error("the reply is not the value that was asked for: {0}")]
    Value(ValueError),
    /// The server discarded an atomic pipeline: nothing of it ran.
    #[error("the server discarded the transaction: {0}{hint}", hint = hint(.0))]
    Discarded(ServerError),
    /// A watched key was changed by another client, so the transaction did not run: `tries` times in a row.
    #[error("a watched key was changed, so the transaction did not run (tries: {tries})")]
    Conflict {
        /// How often it was tried.
        tries: u32,
    },
    /// A command of the `redis` crate has failed: what `?` makes of its error in a function of this crate, such as the closure of
    /// [`Client::transaction`](super::Client::transaction).
    ///
    /// With the feature `redis-rs`.
    #[cfg(feature = "redis-rs")]
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// The server refused MULTI and so may have run the commands after it one by one.
    #[error("the server refused MULTI: {0} (delivery: {delivery})", delivery = Delivery::Unknown)]
    NotAtomic(ServerError),
}

impl Error {
    /// Whether the server may have run what was asked; `None` if it answered.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Config(_)
            | Self::Connect(_)
            | Self::Topology { .. }
            | Self::Route(_)
            | Self::Refused(_)
            | Self::Lease(_)
            | Self::Subscribe(_)
            | Self::Send(_) => Some(Delivery::NotSent),
            Self::Request(error) => Some(error.delivery()),
            Self::NotAtomic(_) => Some(Delivery::Unknown),
            #[cfg(feature = "redis-rs")]
            Self::Redis(error) => {
                // Another connection of the `redis` crate may have lost it.
                let is_lost = error.is_io_error().then_some(Delivery::Unknown);
                Delivery::of_redis_error(error).or(is_lost)
            }
            Self::Server(_)
            | Self::Reply(_)
            | Self::Value(_)
            | Self::Discarded(_)
            | Self::Conflict { .. } => None,
        }
    }
}

/// Codes of error replies about the state of a server, besides those that a cluster client acts on.
const STATES: [&str; 4] = ["BUSY", "MISCONF", "NOREPLICAS", "OOM"];

impl Error {
    /// Whether the same call may succeed after a pause: the error is about the state that the server or the client is in, and not about the command or the
    /// settings. It says nothing of whether the command has run: where [`delivery`](Self::delivery) is [`Unknown`](Delivery::Unknown), try again
    /// only what may run twice.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        if let Some(answer) = self.answer() {
            let is_state = STATES.contains(&answer.code());
            return is_state || is_refusal(&Frame::error(answer.to_string()));
        }
        match self {
            Self::Connect(cause) => cause.is_transient(),
            Self::Topology { error, .. } => *error != TopologyError::NotACluster,
            Self::Send(SendError::NoConnection { cause, .. })
            | Self::Request(RequestError::NoConnection { cause, .. })
            | Self::Lease(LeaseError::NoConnection { cause, .. })
            | Self::Subscribe(SubscribeError::NoConnection { cause, .. }) => cause.is_transient(),
            Self::Lease(error) => *error != LeaseError::ShutDown,
            Self::Subscribe(error) => !matches!(error, SubscribeError::ShutDown | SubscribeError::Closed),
            Self::Send(error) => matches!(error, SendError::Full(_)),
            Self::Request(error) => !matches!(error, RequestError::ShutDown { .. }),
            Self::Conflict { .. } => true,
            #[cfg(feature = "redis-rs")]
            Self::Redis(error) => match super::redis_rs::error::carried(error) {
                Some(error) => error.is_transient(),
                None => error.is_io_error(),
            },
            Self::Config(_)
            | Self::Route(_)
            | Self::Refused(_)
            | Self::Server(_)
            | Self::Reply(_)
            | Self::Value(_)
            | Self::Discarded(_)
            | Self::NotAtomic(_) => false,
        }
    }
}

// Not derived: it would make the error its own source, whose text it has already.
impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

impl Error {
    /// What the server has said, if it has.
    pub(super) fn answer(&self) -> Option<ServerError> {
        match self {
            Self::Server(error) | Self::Discarded(error) | Self::Reply(ReplyError { error, .. }) => {
                Some(error.clone())
            }
            Self::Subscribe(SubscribeError::Refused { error, .. }) => Some(error.clone()),
            #[cfg(feature = "redis-rs")]
            Self::Redis(error) => {
                let text = [error.code()?, error.detail().unwrap_or_default()].join(" ");
                ServerError::from_frame(&Frame::error(text))
            }
            _ => None,
        }
    }
}

fn hint(error: &ServerError) -> &'static str {
    match error.code() {
        "MOVED" => {
            " (the slot is at another node of the cluster: a `ClusterClient` goes there within the command timeout; a lease, and the \
             client of one node, stay where they are: lease a connection by a key of this slot)"
        }
        _ => "",
    }
}

impl From<ValueError> for Error {
    /// An error reply is [`Error::Server`], wherever it was found.
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Server(error) => error.into(),
            error => Self::Value(error),
        }
    }
}

/// The first error among the replies to several commands. The commands before and after it ran, or have errors of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, ThisError)]
#[error("reply {index} of the pipeline (from 0) is an error: {error}{hint}", hint = hint(.error))]
#[non_exhaustive]
pub struct ReplyError {
    /// The place of the reply, from 0.
    pub index: usize,
    /// What the server said.
    pub error: ServerError,
}

/// Replies to several commands, among which error replies may be.
///
/// ```
/// use hitless_core::Frame;
/// use hitless_core::driver::CheckReplies;
///
/// let replies = vec![Frame::simple("OK"), Frame::error("WRONGTYPE not a list")];
/// let error = replies.check().unwrap_err();
/// assert_eq!((error.index, error.error.code()), (1, "WRONGTYPE"));
/// ```
pub trait CheckReplies: Sized {
    /// The replies, if none of them is an error: `client.pipeline(..).await?.check()?`.
    ///
    /// # Errors
    /// The first that is one, with its place. What is inside a reply, such as an array, is not looked at.
    fn check(self) -> Result<Self, ReplyError>;

    /// The replies as values: a tuple of as many, or a `Vec` if all of them are of one type.
    ///
    /// ```
    /// use hitless_core::Frame;
    /// use hitless_core::driver::{CheckReplies, Error};
    ///
    /// let replies = vec![Frame::Integer(3), Frame::bulk("hello")];
    /// let (visits, greeting): (u64, String) = replies.read()?;
    /// assert_eq!((visits, greeting.as_str()), (3, "hello"));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Reply`] for the first error reply, unless a `Result` or a [`Frame`] was asked for in its place;
    /// [`Error::Server`] for an error inside a reply; [`Error::Value`] if a reply is something else than was asked for.
    fn read<T: FromFrame>(self) -> Result<T, Error>
    where
        Self: IntoIterator<Item = Frame>,
    {
        value_of(self.into_iter().collect())
    }
}

impl CheckReplies for Vec<Frame> {
    fn check(self) -> Result<Self, ReplyError> {
        first_error(&self).map_or(Ok(self), Err)
    }
}

impl CheckReplies for Replies {
    fn check(self) -> Result<Self, ReplyError> {
        first_error(&self).map_or(Ok(self), Err)
    }
}

/// Replies are read as the elements of an array are.
fn value_of<T: FromFrame>(replies: Vec<Frame>) -> Result<T, Error> {
    let errors: Vec<ReplyError> = errors(&replies).collect();
    match T::from_frame(Frame::Array(replies)) {
        Ok(value) => Ok(value),
        Err(ValueError::Server(error)) => match errors.into_iter().find(|reply| reply.error == error) {
            Some(reply) => Err(reply.into()),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn first_error(replies: &[Frame]) -> Option<ReplyError> {
    errors(replies).next()
}

fn errors(replies: &[Frame]) -> impl Iterator<Item = ReplyError> {
    let errors = replies.iter().map(ServerError::from_frame).enumerate();
    errors.filter_map(|(index, error)| Some(ReplyError { index, error: error? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_an_error_reply_shows_its_message() {
        let error = ServerError::from_frame(&Frame::error("ERR unknown command 'X'")).unwrap();
        assert_eq!(format!("{:?}", Error::from(error)), r#"Server(ServerError("ERR unknown command 'X'"))"#);
    }

    /// RULE-136
    #[test]
    fn the_first_error_among_replies_is_found() {
        let fine = vec![Frame::simple("OK"), Frame::Null];
        assert_eq!(fine.clone().check(), Ok(fine));
        assert_eq!(Vec::<Frame>::new().check(), Ok(Vec::new()));
        let attributes = vec![(Frame::bulk("ttl"), Frame::Integer(1))];
        let hidden = Frame::Attribute { attributes, value: Box::new(Frame::error("ERR first")) };
        let replies: Replies = [Frame::Integer(1), hidden, Frame::error("ERR second")].into_iter().collect();
        let error = replies.check().unwrap_err();
        assert_eq!((error.index, error.error.message()), (1, "first"));
        let error = Error::from(error);
        assert_eq!(error.delivery(), None, "the server has answered");
        assert_eq!(error.to_string(), "reply 1 of the pipeline (from 0) is an error: ERR first");
    }

    /// Whoever has taken a `Client` for a cluster learns it from whichever call shows MOVED first.
    #[test]
    fn wherever_moved_is_found_the_text_says_which_client_follows_it() {
        let moved = || ServerError::from_frame(&Frame::error("MOVED 1 10.0.0.1:7000")).unwrap();
        let errors: [Error; 3] =
            [moved().into(), ReplyError { index: 0, error: moved() }.into(), Error::Discarded(moved())];
        for error in errors {
            assert!(error.to_string().contains("a `ClusterClient` goes there"), "{error}");
        }
        let other = Error::Discarded(ServerError::aborted());
        assert!(!other.to_string().contains("ClusterClient"), "{other}");
    }

    /// A worker that loops over what cannot succeed never ends. RULE-446
    #[test]
    fn only_what_may_succeed_later_is_transient() {
        let server = |text: &'static str| Error::from(ServerError::from_frame(&Frame::error(text)).unwrap());
        let request = || crate::request::Request::command(resp3_codec::cmd("PING")).unwrap();
        let (after, delivery) = (std::time::Duration::ZERO, Delivery::Unknown);
        let crossed = || RouteError::CrossSlot { first: 1, other: 2 };
        let lost = |cause| {
            let (endpoint, cause) = (Endpoint::parse("h", 1).unwrap(), std::sync::Arc::new(cause));
            Error::from(LeaseError::NoConnection { endpoint, cause, after })
        };
        for (error, is_transient) in [
            (server("LOADING later"), true),
            (server("CLUSTERDOWN the cluster is down"), true),
            (server("MOVED 1 10.0.0.1:7000"), true),
            (server("NOREPLICAS not enough"), true),
            (server("OOM command not allowed"), true),
            (server("WRONGTYPE no list"), false),
            (server("NOPERM no"), false),
            (lost(ConnectError::CircuitOpen), true),
            (lost(ConnectError::ShutDown), false),
            (
                SendError::LeaseLost { request: request(), cause: crate::error::CloseCause::ByServer }.into(),
                false,
            ),
            (RequestError::TimedOut { after, delivery }.into(), true),
            (RequestError::ShutDown { delivery }.into(), false),
            (SendError::Full(request()).into(), true),
            (SendError::ShuttingDown(request()).into(), false),
            (SendError::NoRoute { request: request(), reason: crossed() }.into(), false),
            (crossed().into(), false),
            (LeaseError::TimedOut { after }.into(), true),
            (LeaseError::ShutDown.into(), false),
            (SubscribeError::TimedOut { after }.into(), true),
            (SubscribeError::Closed.into(), false),
            (ConnectError::CircuitOpen.into(), true),
            (ConnectError::ShutDown.into(), false),
            (Error::Conflict { tries: 3 }, true),
        ] {
            assert_eq!(error.is_transient(), is_transient, "{error:?}");
        }
        #[cfg(feature = "redis-rs")]
        for (error, is_transient) in [(LeaseError::TimedOut { after }, true), (LeaseError::ShutDown, false)] {
            let typed = Error::Redis(redis::RedisError::from(Error::Lease(error)));
            assert_eq!(typed.is_transient(), is_transient, "{typed:?}");
        }
    }

    #[test]
    fn a_request_that_may_have_run_says_so() {
        let error = Error::from(RequestError::ShutDown { delivery: Delivery::Unknown });
        assert_eq!(error.delivery(), Some(Delivery::Unknown));
        assert!(error.to_string().contains("Unknown"), "{error}");
        let refused = Error::NotAtomic(ServerError::from_frame(&Frame::error("NOPERM no")).unwrap());
        assert!(refused.to_string().contains("Unknown"), "{refused}");
    }

    /// RULE-191
    #[test]
    fn replies_are_read_as_a_tuple() {
        let replies = |frames: &[Frame]| frames.iter().cloned().collect::<Replies>();
        let wrong = || Frame::error("WRONGTYPE no list");
        let both = [Frame::Integer(3), Frame::bulk("x")];
        assert_eq!(replies(&both).read::<(u64, String)>().unwrap(), (3, "x".to_owned()));
        assert_eq!(both.to_vec().read::<Vec<String>>().unwrap(), ["3", "x"]);
        let nothing: Vec<Frame> = Vec::new();
        nothing.read::<()>().unwrap();

        let error = replies(&[Frame::Integer(3), wrong()]).read::<(u64, String)>().unwrap_err();
        assert!(matches!(&error, Error::Reply(reply) if reply.index == 1), "{error:?}");
        let error = replies(&[Frame::Integer(3), wrong()]).read::<()>().unwrap_err();
        assert!(matches!(&error, Error::Reply(reply) if reply.index == 1), "{error:?}");
        let (first, second) =
            replies(&[wrong(), Frame::Integer(3)]).read::<(Result<u8, ServerError>, u8)>().unwrap();
        assert_eq!((first.unwrap_err().code(), second), ("WRONGTYPE", 3));

        let inside = Frame::Array(vec![Frame::Integer(1), wrong()]);
        let error = replies(&[Frame::Integer(3), inside]).read::<(u64, Vec<u64>)>().unwrap_err();
        assert!(matches!(&error, Error::Server(_)), "{error:?}");
        let error = replies(&both).read::<(u64, u64)>().unwrap_err();
        assert!(matches!(&error, Error::Value(_)), "{error:?}");
        assert_eq!(error.delivery(), None, "the server has answered");
        let shown = error.to_string();
        assert!(shown.contains("expected an integer from 0") && shown.contains(r#"Bulk("x")"#), "{shown}");
    }
}
