//! Where a command that blocks is, and what follows.

use std::time::{Duration, Instant};

/// The longest pause before the server is asked again.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(160);
/// How often a server is asked in vain about a command that nobody waits for, before its connection is closed: ten seconds, in which a
/// segment that was lost is sent again and brings what the command has taken. As long is waited for the PONG behind one that has ended.
pub(super) const VAIN_QUESTIONS: u32 = 64;

/// On which of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::client) enum Place {
    Here,
    /// The successor.
    There,
}

/// Why a command is called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reason {
    /// A successor of its connection is ready.
    Move,
    ShutDown,
    /// Nobody waits for it any more.
    Dropped,
}

/// Where a command is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// It waits for a connection.
    Waiting,
    /// The server has refused it for now.
    Paused {
        until: Instant,
    },
    /// It was sent, and its reply is awaited.
    Sent(Step),
    /// It has ended on its connection, and the PING there or UNBLOCK is not answered yet. Nothing else is sent there, because UNBLOCK could hit it.
    /// The connection is given up at `until`.
    Answered {
        next: Next,
        is_unblocking: bool,
        until: Instant,
    },
    /// It did not run, and is being placed again.
    MovingOn,
    Over,
}

/// What is asked of the server of a command that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Whether it has begun on the successor.
    Joining,
    /// Whether it waits.
    Asking,
    /// To send it away.
    Unblocking,
    /// The server is asked again then.
    Resting {
        until: Instant,
    },
    /// It cannot be called back: its reply is awaited as long as the server lets it.
    Stuck,
}

/// What follows once all replies are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Return,
    /// It says that it was sent away: that is to be proved.
    Verify,
    MoveOn,
    Rest {
        until: Instant,
    },
    Again,
}

/// When the server's time for it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// It was never sent.
    Open,
    Never,
    At(Instant),
}

impl Ends {
    pub(super) fn at(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::Open | Self::Never => None,
        }
    }
}

/// How many questions fit into a time in which one was not answered.
pub(super) fn questions_in(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / LONGEST_PAUSE.as_millis())
        .unwrap_or(VAIN_QUESTIONS)
        .clamp(1, VAIN_QUESTIONS)
}
