//! Times without a server that can run a command that waits.

use std::time::{Duration, Instant};

use crate::timer::{after, earliest};

/// A time without a server that can run it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) since: Instant,
    /// Since when no server is there, the last time that it was so.
    pub(super) no_server_since: Option<Instant>,
    pub(super) last: Last,
}

/// How the last attempt of an outage has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    NoServer,
    /// A server was there that could not run it.
    Refused,
    /// Another server can run it.
    Redirected,
}

/// The times of an outage; `None` is for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The longest without a server.
    pub(super) no_server: Option<Duration>,
    /// The longest that servers may refuse a command which has no time of its own.
    pub(super) refused: Option<Duration>,
}

impl Outage {
    /// When the command fails whose time would be over at `deadline`. `is_explicit`: its caller has said so.
    pub(super) fn deadline(
        self,
        deadline: Option<Instant>,
        limits: Limits,
        is_explicit: bool,
    ) -> Option<Instant> {
        let no_server = self.no_server_since.zip(limits.no_server).map(|(since, limit)| after(since, limit));
        match (self.last, deadline) {
            (Last::NoServer, Some(deadline)) if is_explicit || no_server.is_none() => {
                earliest([Some(deadline), no_server])
            }
            (Last::NoServer, _) => no_server,
            (Last::Refused, None) => limits.refused.map(|limit| after(self.since, limit)),
            (_, Some(deadline)) if !is_explicit => Some(deadline).max(no_server),
            (_, deadline) => deadline,
        }
    }
}
