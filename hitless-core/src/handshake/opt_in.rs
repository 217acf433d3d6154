//! The opt-in: the command by which a connection asks for maintenance notifications, and what the answer means.
//!
//! It is all that a client which does its own handshakes needs of this module: send [`opt_in_command`] after HELLO 3 if
//! the coordinator's [`Probe`] says so, make an [`OptIn`] of the answer, and report that.

use super::contains_ignoring_case;
use crate::config::Config;
use crate::endpoint::Peer;
use crate::error::{ErrorCode, HandshakeError, Stage};
use crate::mode::Mode;

/// What a handshake asks of the server, from the most to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// RESP3, and maintenance notifications.
    OptIn,
    /// RESP3 without notifications: the mode is `disabled`, the address is known to refuse them, or the link died at the
    /// last opt-in.
    Skip,
    /// RESP2 from the start, without HELLO: RESP2 is configured, or HELLO was refused there. A command has to be answered
    /// before the connection counts as ready.
    Resp2,
    /// RESP2, and no CLIENT either, which names the connection and the library: the link died in the handshakes before. A
    /// command has to be answered here as well.
    Bare,
}

/// What the server said to the opt-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptIn {
    /// `+OK`: this connection will be told of maintenance.
    Accepted,
    /// The server does not know or does not allow it: no use asking again soon.
    Refused(ErrorCode),
    /// It said something else (LOADING, BUSY, ...): the next connection asks again.
    Unclear(ErrorCode),
    /// HELLO was refused, so there is no RESP3 and nothing was opted in to.
    NoResp3(ErrorCode),
    /// It was not asked.
    NotAsked,
}

/// The words of the opt-in on a connection to `peer`, the command's name first, for whatever encodes them. RESP3 only:
/// HELLO 3 must have been accepted before the server reads it.
#[must_use]
pub fn opt_in_command(config: &Config, peer: &Peer) -> [&'static str; 5] {
    let kind = config.maintenance().endpoint_type().resolve(config.tls(), peer);
    ["CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", kind.as_str()]
}

impl OptIn {
    /// What an error reply to the opt-in means: its whole text, beginning with the code. Any other reply is
    /// [`Accepted`](Self::Accepted).
    ///
    /// ```
    /// use hitless_core::handshake::OptIn;
    ///
    /// let answer = OptIn::of_error(b"ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.");
    /// assert!(matches!(answer, OptIn::Refused(_)));
    /// let answer = OptIn::of_error(b"LOADING Redis is loading the dataset in memory");
    /// assert!(matches!(answer, OptIn::Unclear(_)));
    /// ```
    #[must_use]
    pub fn of_error(text: &[u8]) -> Self {
        let code = ErrorCode::of(text);
        let refused = code.as_str() == "NOPERM"
            || contains_ignoring_case(text, b"unknown subcommand")
            || contains_ignoring_case(text, b"unknown command");
        if refused { Self::Refused(code) } else { Self::Unclear(code) }
    }

    /// What `mode` makes of it: in the mode `enabled` nothing but [`Accepted`](Self::Accepted) yields a connection.
    pub(crate) fn under(self, mode: Mode) -> Result<Self, HandshakeError> {
        match (self, mode) {
            (Self::Refused(code) | Self::NoResp3(code), Mode::Enabled) => {
                Err(HandshakeError::MaintenanceRefused { code })
            }
            (Self::Unclear(code), Mode::Enabled) => {
                Err(HandshakeError::Refused { stage: Stage::OptIn, code })
            }
            (answer, _) => Ok(answer),
        }
    }
}
