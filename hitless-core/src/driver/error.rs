//! The errors of calls.

use std::fmt;

use resp3_codec::Frame;
use thiserror::Error as ThisError;

use crate::config::ConfigError;
use crate::error::{ConnectError, Delivery, LeaseError, RequestError};
use crate::request::{RefusedCommand, Replies, SendError};

/// Characters of a server's error that `Debug` shows.
const DEBUG_CHARS: usize = 256;

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
    /// The command would break the shared connection for the other callers; it was not sent.
    #[error(transparent)]
    Refused(#[from] RefusedCommand),
    /// There is no lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The client did not accept the request, which it gives back.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The request was accepted and has no reply.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server's reply is an error.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// One of several replies is an error: [`CheckReplies::check`].
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The server discarded an atomic pipeline: nothing of it ran.
    #[error("the server discarded the transaction: {0}")]
    Discarded(ServerError),
    /// A watched key was changed by another client, so the transaction did not run: `tries` times in a row.
    #[error("a watched key was changed, so the transaction did not run (tries: {tries})")]
    Conflict {
        /// How often it was tried.
        tries: u32,
    },
    /// The server refused MULTI and so may have run the commands after it one by one.
    #[error("the server refused MULTI: {0} (delivery: {delivery})", delivery = Delivery::Unknown)]
    NotAtomic(ServerError),
}

impl Error {
    /// Whether the server may have run what was asked; `None` if it answered.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Config(_) | Self::Connect(_) | Self::Refused(_) | Self::Lease(_) | Self::Send(_) => {
                Some(Delivery::NotSent)
            }
            Self::Request(error) => Some(error.delivery()),
            Self::NotAtomic(_) => Some(Delivery::Unknown),
            Self::Server(_) | Self::Reply(_) | Self::Discarded(_) | Self::Conflict { .. } => None,
        }
    }
}

/// An error reply of the server, such as `WRONGTYPE Operation against a key holding the wrong kind of value`.
///
/// `Display` shows the whole text. `Debug` shows up to 256 characters of it, escaped, because that is what `unwrap` and
/// `main` print. Servers repeat arguments in some errors: if yours may be secrets, log [`code`](Self::code) alone.
#[derive(Clone, PartialEq, Eq, Hash, ThisError)]
#[error("{text}")]
pub struct ServerError {
    text: Box<str>,
}

impl ServerError {
    /// The error that `frame` is; `None` if it is no error. An attribute around it is ignored.
    #[must_use]
    pub fn from_frame(frame: &Frame) -> Option<Self> {
        match frame {
            Frame::Error(text) | Frame::BlobError(text) => {
                Some(Self { text: String::from_utf8_lossy(text).into() })
            }
            Frame::Attribute { value, .. } => Self::from_frame(value),
            _ => None,
        }
    }

    /// The error of an EXEC that was answered with nil, which does not say why.
    pub(super) fn aborted() -> Self {
        Self { text: "EXECABORT the transaction was not executed".into() }
    }

    /// Its first word: `ERR`, `WRONGTYPE`, `READONLY` and so on.
    #[must_use]
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// What follows the code.
    #[must_use]
    pub fn message(&self) -> &str {
        self.text.split_once(' ').map_or("", |(_, message)| message)
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.char_indices().nth(DEBUG_CHARS) {
            Some((end, _)) => write!(f, "ServerError({:?}.. {} bytes)", &self.text[..end], self.text.len()),
            None => write!(f, "ServerError({:?})", self.text),
        }
    }
}

/// The first error among the replies to several commands. The commands before and after it ran, or have errors of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, ThisError)]
#[error("reply {index} of the pipeline (from 0) is an error: {error}")]
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

fn first_error(replies: &[Frame]) -> Option<ReplyError> {
    let mut errors = replies.iter().map(ServerError::from_frame).enumerate();
    errors.find_map(|(index, error)| Some(ReplyError { index, error: error? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_has_a_code_and_a_message() {
        let error = ServerError::from_frame(&Frame::error("WRONGTYPE wrong kind of value")).unwrap();
        assert_eq!((error.code(), error.message()), ("WRONGTYPE", "wrong kind of value"));
        assert_eq!(error.to_string(), "WRONGTYPE wrong kind of value");
        let bare = ServerError::from_frame(&Frame::error("ERR")).unwrap();
        assert_eq!((bare.code(), bare.message()), ("ERR", ""));
        assert_eq!(ServerError::from_frame(&Frame::simple("OK")), None);
    }

    #[test]
    fn debug_output_shows_the_message_escaped_and_cut() {
        let error = ServerError::from_frame(&Frame::error("ERR unknown command 'X\n'")).unwrap();
        assert_eq!(format!("{error:?}"), r#"ServerError("ERR unknown command 'X\n'")"#);
        assert_eq!(
            format!("{:?}", Error::from(error)),
            r#"Server(ServerError("ERR unknown command 'X\n'"))"#
        );

        let whole = "é".repeat(256);
        let shown = |text: String| format!("{:?}", ServerError::from_frame(&Frame::error(text)).unwrap());
        assert_eq!(shown(whole.clone()), format!("ServerError({whole:?})"));
        assert_eq!(shown(format!("{whole}!")), format!("ServerError({whole:?}.. 513 bytes)"));
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

    #[test]
    fn a_request_that_may_have_run_says_so() {
        let error = Error::from(RequestError::ShutDown { delivery: Delivery::Unknown });
        assert_eq!(error.delivery(), Some(Delivery::Unknown));
        assert!(error.to_string().contains("Unknown"), "{error}");
        let refused = Error::NotAtomic(ServerError { text: "NOPERM no".into() });
        assert!(refused.to_string().contains("Unknown"), "{refused}");
    }
}
