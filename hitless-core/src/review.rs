//! A second opinion on notifications: the words that a reviewer and a machine exchange.
//!
//! A machine whose owner asked for it (`review_notifications`) hands each notification out before it takes effect, and
//! goes on when it is given a [`Verdict`]. What must not wait does not: windows open at once, so that no command times
//! out meanwhile, and a veto closes them again.

use std::fmt;
use std::time::Duration;

use crate::notification::Notification;

/// How long a review lasts by default; without a verdict until then, the notification takes effect as it came.
///
/// More gives slow reviewers a say; the connections wait with their move for as long.
pub const REVIEW_LIMIT: Duration = Duration::from_secs(1);

/// What a reviewer says of a notification.
///
/// The set is closed: there is no fourth thing to do with a piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes effect as it came.
    Continue,
    /// This one takes effect in its place.
    ///
    /// A MOVING that replaces a MOVING brings another target or another grace (counted from the arrival of the first);
    /// copies of the first are recognised as such. Anything else is handled as if the server had sent it.
    Replace(Notification),
    /// It has no effect; the window that it opened is closed.
    Veto,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Handled {
    /// It took effect. Of a MOVING: the move has begun.
    Applied,
    /// It changed nothing.
    Ignored(Ignored),
    /// A reviewer stopped it.
    Vetoed,
}

/// Why a notification changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ignored {
    /// The same was known already.
    Duplicate,
    /// A newer one is in force, or this one is over.
    Stale,
    /// A completion that found no open window: servers repeat the last one right after the opt-in.
    NothingOpen,
    /// The connection is at the announced address already.
    AlreadyThere,
    /// The connection is being closed or was closed by the server.
    ConnectionEnding,
    /// Slot migrations concern cluster clients.
    NotACluster,
}

/// Why a notification took effect without the verdict of its reviewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unreviewed {
    /// None came in time.
    TimedOut,
    /// Too many reviews were pending to begin another.
    TooMany,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "it is known",
            Self::Stale => "it is over, or a newer one is in force",
            Self::NothingOpen => "nothing was open",
            Self::AlreadyThere => "the connection is there already",
            Self::ConnectionEnding => "the connection is ending",
            Self::NotACluster => "this is no cluster",
        })
    }
}

impl fmt::Display for Unreviewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "they took too long",
            Self::TooMany => "too many are waiting for them",
        })
    }
}
