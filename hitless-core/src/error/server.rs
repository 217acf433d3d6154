//! What a server says in an error reply.

use std::fmt;

use resp3_codec::Frame;
use thiserror::Error;

/// Characters of a server's error that `Debug` shows.
const DEBUG_CHARS: usize = 256;

/// An error reply of the server, such as `WRONGTYPE Operation against a key holding the wrong kind of value`.
///
/// `Display` shows the whole text. `Debug` shows up to 256 characters of it, escaped, because that is what `unwrap` and
/// `main` print. Servers repeat arguments in some errors: if yours may be secrets, log [`code`](Self::code) alone.
#[derive(Clone, PartialEq, Eq, Hash, Error)]
#[error("{text}")]
pub struct ServerError {
    text: Box<str>,
}

impl ServerError {
    /// The error that `frame` is; `None` if it is no error. An attribute around it is ignored.
    #[must_use]
    #[inline]
    pub fn from_frame(frame: &Frame) -> Option<Self> {
        frame.as_error().map(|text| Self { text: String::from_utf8_lossy(text).into() })
    }

    /// The error of an EXEC that was answered with nil, which does not say why.
    #[cfg(feature = "driver")]
    pub(crate) fn aborted() -> Self {
        Self { text: "EXECABORT the transaction was not executed".into() }
    }

    /// Its first word: `ERR`, `WRONGTYPE`, `READONLY` and so on.
    #[must_use]
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// The whole text.
    #[cfg(feature = "driver")]
    pub(crate) fn text(&self) -> &[u8] {
        self.text.as_bytes()
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

        let whole = "é".repeat(256);
        let shown = |text: String| format!("{:?}", ServerError::from_frame(&Frame::error(text)).unwrap());
        assert_eq!(shown(whole.clone()), format!("ServerError({whole:?})"));
        assert_eq!(shown(format!("{whole}!")), format!("ServerError({whole:?}.. 513 bytes)"));
    }
}
