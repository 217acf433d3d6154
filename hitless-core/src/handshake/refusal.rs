//! What an error reply to a step of the handshake says, and what a reply to HELLO holds. Proxies refuse HELLO in words of
//! their own, so only what is known for certain is read out of a text.

use resp3_codec::Frame;

use super::contains_ignoring_case;
use crate::error::{ErrorCode, HandshakeError, Stage};

/// No code that servers use is shorter. A sentence may begin with a letter or a short word in capitals.
const SHORTEST_CODE: usize = 3;

/// What an error reply to HELLO means.
#[derive(Debug, PartialEq)]
pub(super) enum HelloRefusal {
    /// There is no RESP3, and the link takes other commands.
    NoResp3(ErrorCode),
    /// HELLO is not taken; why, the words do not say.
    Unclear(ErrorCode),
    /// It is about something else: credentials, rights, the state of the server.
    Other(HandshakeError),
}

impl HelloRefusal {
    /// Reads `text`, the error's, beginning with the code. `has_password`: HELLO carried AUTH.
    pub(super) fn of(text: &[u8], has_password: bool) -> Self {
        let code = ErrorCode::of(text);
        if is_full(text) {
            return Self::Other(HandshakeError::TooManyClients);
        }
        match (code.as_str(), begins_with_code(text)) {
            ("NOPROTO", _) => Self::NoResp3(code),
            // The proxy has not understood that HELLO carried it.
            ("NOAUTH", _) if has_password => Self::Unclear(code),
            ("ERR", _) | (_, false) => Self::of_sentence(text, has_password),
            (_, true) => Self::Other(HandshakeError::Refused { stage: Stage::Hello, code }),
        }
    }

    fn of_sentence(text: &[u8], has_password: bool) -> Self {
        // What begins with no code has that of a plain error.
        let code = ErrorCode::of(b"ERR");
        if contains_ignoring_case(text, b"unknown command") {
            return Self::NoResp3(code);
        }
        if has_password && is_about_password(text) {
            return Self::Other(HandshakeError::Refused { stage: Stage::Auth, code });
        }
        Self::Unclear(code)
    }
}

/// The error of a step that the server has refused with `text`.
pub(super) fn refusal(stage: Stage, text: &[u8], has_password: bool) -> HandshakeError {
    let code = ErrorCode::of(text);
    if is_full(text) {
        HandshakeError::TooManyClients
    } else if has_password && code.as_str() == "NOAUTH" {
        HandshakeError::NotAuthenticated { stage }
    } else {
        HandshakeError::Refused { stage, code }
    }
}

/// A number in the reply to HELLO: a map, or an array of the same in RESP2.
pub(super) fn field(reply: &Frame, name: &[u8]) -> Option<i64> {
    let value = match (reply.as_map(), reply.as_array()) {
        (Some(fields), _) => {
            fields.iter().find(|(key, _)| key.as_bytes() == Some(name)).map(|(_, value)| value)
        }
        (None, Some(elements)) => elements.chunks_exact(2).find_map(|pair| match pair {
            [key, value] if key.as_bytes() == Some(name) => Some(value),
            _ => None,
        }),
        (None, None) => None,
    };
    value.and_then(Frame::as_int)
}

fn is_full(text: &[u8]) -> bool {
    contains_ignoring_case(text, b"max number of clients")
}

/// In the words of Redis before 6.2, of Redis without a password, and of proxies.
fn is_about_password(text: &[u8]) -> bool {
    [&b"invalid password"[..], b"username-password", b"no password is set", b"without any password"]
        .iter()
        .any(|words| contains_ignoring_case(text, words))
}

/// Whether the first word is a code such as WRONGPASS, and not the beginning of a sentence.
fn begins_with_code(text: &[u8]) -> bool {
    let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_code = ErrorCode::of(text).as_str().as_bytes() == word && word.len() >= SHORTEST_CODE;
    // A sentence about a command may begin with its name.
    is_code && ![&b"HELLO"[..], b"AUTH", b"SETNAME", b"CLIENT", b"RESP"].contains(&word)
}
