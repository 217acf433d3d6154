//! Why a reply is not the value that was asked for.

use std::borrow::Cow;

use resp3_codec::Frame;
use thiserror::Error;

use crate::error::ServerError;

/// Characters that an error shows of what came.
const SHOWN: usize = 256;

/// A reply is not the value that was asked for.
///
/// Its text shows what came, up to 256 characters of it, as [`Frame`]'s `Debug` does: if replies may be secrets, do not log it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The reply, or a part of it, is an error of the server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The reply, or a part of it, is something else.
    #[error("expected {expected}, got {got}{hint}", hint = hint(got))]
    Mismatch {
        /// What was asked for: `an integer from 0 to 255`.
        expected: Cow<'static, str>,
        /// What came, cut to 256 characters: `Bulk("hello")`.
        got: Box<str>,
    },
}

impl ValueError {
    /// `frame` is not what was expected: the server's error, if it is one.
    ///
    /// For implementations of [`FromFrame`](super::FromFrame): `expected` follows the word "expected" in the text of the error.
    #[must_use]
    pub fn mismatch(expected: impl Into<Cow<'static, str>>, frame: &Frame) -> Self {
        if let Some(error) = ServerError::from_frame(frame) {
            return Self::Server(error);
        }
        let mut got = format!("{frame:?}");
        if let Some((end, _)) = got.char_indices().nth(SHOWN) {
            got.truncate(end);
            got.push_str("..");
        }
        Self::Mismatch { expected: expected.into(), got: got.into() }
    }
}

fn hint(got: &str) -> &'static str {
    match got {
        "Null" | "NullBulk" | "NullArray" => " (an `Option` is what may be missing)",
        _ => "",
    }
}
