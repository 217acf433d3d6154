//! Why a handshake failed: at which step, and with which code of the server's.

use std::fmt;

use thiserror::Error;

/// The first word of an error reply, such as `NOAUTH`: all that is ever kept of a handshake error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode {
    text: [u8; Self::LONGEST],
    len: u8,
}

impl ErrorCode {
    const LONGEST: usize = 24;

    /// Takes the code off an error text. What does not look like a code (capital letters, no longer than any code that
    /// servers use) is taken for a plain `ERR`, because it might be part of a secret.
    #[must_use]
    pub fn of(error: &[u8]) -> Self {
        let end = error.iter().position(|&byte| byte == b' ').unwrap_or(error.len());
        let word = &error[..end];
        let plausible = (1..=Self::LONGEST).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
        let word = if plausible { word } else { b"ERR" };
        let mut text = [0; Self::LONGEST];
        text[..word.len()].copy_from_slice(word);
        // At most LONGEST, which fits a byte.
        Self { text, len: word.len() as u8 }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.len)]).unwrap_or("ERR")
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The step of the handshake that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// HELLO, with AUTH and SETNAME.
    Hello,
    /// CLIENT MAINT_NOTIFICATIONS.
    OptIn,
    /// AUTH, with a server that does not know HELLO.
    Auth,
    /// SELECT.
    Select,
    /// A setup command of the user.
    Setup,
    /// PING, with which a handshake in RESP2 ends where something has refused more.
    Ping,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "HELLO",
            Self::OptIn => "CLIENT MAINT_NOTIFICATIONS",
            Self::Auth => "AUTH",
            Self::Select => "SELECT",
            Self::Setup => "a setup command",
            Self::Ping => "PING",
        })
    }
}

/// The server refused a step of the handshake, or answered nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// An error reply.
    #[error("the server refused {stage} with {code}{}", hint(*.stage, .code))]
    Refused {
        /// At which step.
        stage: Stage,
        /// The code of its error.
        code: ErrorCode,
    },
    /// The server has as many clients as it takes, which may pass: while connections move there are more of them.
    #[error("the server has as many clients as it takes: raise its `maxclients`, or lower `pool_size`")]
    TooManyClients,
    /// Mode `enabled`, and the server knows no maintenance notifications.
    #[error(
        "mode `enabled`, but the server refused maintenance notifications with {code}: it needs Redis Software 8.0.2 or Redis Cloud; use mode `auto` to work without"
    )]
    MaintenanceRefused {
        /// The code of its error.
        code: ErrorCode,
    },
    /// The server, or a proxy in front of it, does not take HELLO 3, and does not say that it has no RESP3. In the mode `auto`
    /// the next dial speaks RESP2, unless RESP3 has worked at this address before.
    #[error(
        "the server did not accept HELLO 3 ({}): if it, or a proxy in front of it, has no RESP3, set `protocol` to RESP2",
        .code.as_ref().map_or("it went on in RESP2", ErrorCode::as_str)
    )]
    HelloRefused {
        /// The code of its error; `None` if the reply was that of RESP2.
        code: Option<ErrorCode>,
    },
    /// The server asks for a password although one was sent to it, and was accepted.
    #[error("the server asks for a password at {stage}, although it has accepted one")]
    NotAuthenticated {
        /// At which step.
        stage: Stage,
    },
    /// Not a reply that this step can have.
    #[error("the reply to {stage} is of the wrong type")]
    UnexpectedReply {
        /// At which step.
        stage: Stage,
    },
}

fn hint(stage: Stage, code: &ErrorCode) -> &'static str {
    match (stage, code.as_str()) {
        (_, "NOAUTH") => ": it asks for a password, and none is configured",
        (_, "WRONGPASS") => ": user or password is wrong",
        (_, "NOPERM") => ": the user may not run it",
        (Stage::Auth, "ERR") => ": is the password right, and does the server have one?",
        (Stage::Select, _) => ": does the database exist?",
        _ => "",
    }
}

impl HandshakeError {
    /// True if the same handshake may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { stage: Stage::OptIn, .. } | Self::TooManyClients | Self::HelloRefused { .. } => {
                true
            }
            // Something that is neither about credentials nor about rights: nothing answers behind it so far.
            Self::Refused { stage: Stage::Ping, code } => !matches!(code.as_str(), "NOAUTH" | "WRONGPASS"),
            Self::Refused { code, .. } => {
                matches!(code.as_str(), "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN")
            }
            Self::MaintenanceRefused { .. }
            | Self::NotAuthenticated { .. }
            | Self::UnexpectedReply { .. } => false,
        }
    }
}
