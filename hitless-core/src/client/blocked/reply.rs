//! What the reply of a command that blocks says of it.
//!
//! Source: `blocked.c` and `networking.c` of Redis 7, for the words behind `-UNBLOCKED`.

use resp3_codec::Frame;

use crate::connection;
use crate::error::Refusal;

/// What a reply says of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `-UNBLOCKED`, because somebody asked for it.
    Unblocked,
    /// `-UNBLOCKED`, because the server is no master any more. It closes the link.
    SentAway,
    /// The server cannot run it for now.
    Refused,
    /// Its time is over, or it is wrong.
    NothingTaken,
    Something,
}

impl Said {
    pub(super) fn of(reply: Option<&Frame>) -> Self {
        let Some(reply) = reply else { return Self::NothingTaken };
        let Some(text) = reply.as_error() else {
            return if reply.is_null() { Self::NothingTaken } else { Self::Something };
        };
        let says = |words: &[u8]| text.windows(words.len()).any(|it| it == words);
        match text.strip_prefix(b"UNBLOCKED ") {
            // An answer: the stream was deleted under XREADGROUP.
            Some(_) if says(b"no longer exists") => return Self::NothingTaken,
            Some(_) if says(b"force unblock") => return Self::SentAway,
            Some(_) => return Self::Unblocked,
            None => {}
        }
        if Refusal::of_code(text).is_some() { Self::Refused } else { Self::NothingTaken }
    }
}

/// Whether this is the answer to PING.
pub(super) fn is_pong(reply: Option<&Frame>) -> bool {
    reply.is_some_and(connection::is_pong)
}

/// Whether the user has no right to the command.
pub(super) fn is_denied(reply: Option<&Frame>) -> bool {
    reply.and_then(Frame::as_error).is_some_and(|text| text.starts_with(b"NOPERM "))
}

/// Whether the command has taken an element.
#[cfg(feature = "driver")]
pub(in crate::client) fn has_taken(reply: Option<&Frame>) -> bool {
    Said::of(reply) == Said::Something
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever else is said about it. RULE-293, RULE-148
    #[test]
    fn a_pong_is_a_simple_string() {
        let pong = || Frame::simple("PONG");
        let described = Frame::Attribute {
            attributes: vec![(Frame::bulk("ttl"), Frame::Integer(1))],
            value: Box::new(pong()),
        };
        assert!(is_pong(Some(&pong())) && is_pong(Some(&described)));
        for other in [Frame::bulk("PONG"), Frame::simple("OK"), Frame::error("PONG"), Frame::Null] {
            assert!(!is_pong(Some(&other)), "{other:?}");
        }
        assert!(!is_pong(None));
    }

    /// Only what says that nothing was taken is a proof; what answers the question is an answer, whatever its code. RULE-249
    #[test]
    fn only_two_errors_are_proofs() {
        for (reply, said) in [
            (Frame::error("UNBLOCKED client unblocked via CLIENT UNBLOCK"), Said::Unblocked),
            (
                Frame::error(
                    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
                ),
                Said::SentAway,
            ),
            (Frame::error("UNBLOCKED the stream key no longer exists"), Said::NothingTaken),
            (Frame::error("READONLY You can't write against a read only replica."), Said::Refused),
            (Frame::error("WRONGTYPE no list"), Said::NothingTaken),
            (Frame::Null, Said::NothingTaken),
            (Frame::NullArray, Said::NothingTaken),
            (Frame::Array(vec![Frame::bulk("q"), Frame::bulk("UNBLOCKED x")]), Said::Something),
            (Frame::bulk("UNBLOCKED x"), Said::Something),
        ] {
            assert_eq!(Said::of(Some(&reply)), said, "{reply:?}");
        }
        assert_eq!(Said::of(None), Said::NothingTaken);
    }
}
