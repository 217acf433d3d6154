//! What a command that blocks has its client do.

use std::time::Duration;

use super::Place;
use crate::request::{Outcome, Replies};

/// What is to be done for a command.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client) enum Decision {
    /// It waits for a connection.
    Wait,
    /// Send it on the connection that it has, to wait for so long; as it was accepted if that says nothing else.
    Issue(Option<Duration>),
    /// Send it on the successor of its connection as well.
    Join(Option<Duration>),
    /// What was sent on the successor is not wanted, and neither is the successor.
    Leave,
    /// What was sent on the successor is the command from now on.
    TakeOver,
    /// Ask the server whether it waits there.
    Ask(Place),
    /// Have the server send it away.
    Unblock,
    /// Have the server answer a PING on its connection.
    Probe,
    /// It did not run: place it again, on the successor if there is one, or on the connection that it has if that may stay and the server
    /// was [probed](Self::Probe).
    MoveOn { may_stay: bool, is_verified: bool },
    /// It does not use its connection any more.
    Return { may_stay: bool },
    /// It has ended.
    Complete(Outcome),
    /// It has ended with what a server answers when the time is over.
    CompleteEmpty,
    /// It has taken something that nobody waits for any more.
    Orphan(Replies),
}
