//! Events as lines of a log: a stable name, a level, and one line of text.

use std::fmt;
use std::time::Instant;

use super::{Event, Ignored, WindowScope};
use crate::error::CloseCause;
use crate::review::Unreviewed;

/// How much an [`Event`] matters to whoever operates the client.
///
/// As a limit, it lets through everything that matters as much or more: `Warn` lets `Error` and `Warn` through. The set
/// is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 0: requests were lost.
    Error = 0,
    /// 1: something did not go as it should, and was dealt with.
    #[default]
    Warn = 1,
    /// 2: the course of a maintenance.
    Info = 2,
    /// 3: every step of it.
    Debug = 3,
}

impl Level {
    /// Every level, by its number.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of this number, from 0 to 3.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Event {
    /// The name, stable from version to version: the subject, a dot, and what happened to it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConnectionReady { .. } => "connection.ready",
            Self::ConnectionClosed { .. } => "connection.closed",
            Self::ConnectFailed { .. } => "connection.failed",
            Self::OptInRefused { .. } => "negotiation.refused",
            Self::OptedIn { .. } => "negotiation.repeated",
            Self::NotificationReceived { .. } => "notification.received",
            Self::NotificationMalformed { .. } => "notification.malformed",
            Self::NotificationIgnored { .. } => "notification.ignored",
            Self::NotificationVetoed { .. } => "notification.vetoed",
            Self::NotificationReplaced { .. } => "notification.replaced",
            Self::NotificationUnreviewed { .. } => "notification.unreviewed",
            Self::TargetVetoed { .. } => "target.vetoed",
            Self::TargetRewritten { .. } => "target.rewritten",
            Self::WindowOpened { .. } => "window.opened",
            Self::WindowClosed { expired: false, .. } => "window.closed",
            Self::WindowClosed { expired: true, .. } => "window.expired",
            Self::AddressWithdrawn { .. } => "target.withdrawn",
            Self::MoveStarted { .. } => "move.started",
            Self::MoveSuperseded { .. } => "move.superseded",
            Self::MoveFinished { .. } => "move.finished",
            Self::HandoffDialing { .. } => "handoff.dialing",
            Self::HandoffFailed { .. } => "handoff.failed",
            Self::CutOver { .. } => "handoff.cut_over",
            Self::Drained { .. } => "handoff.drained",
            Self::DrainDeadline { .. } => "handoff.deadline_reached",
            Self::RequestTimedOut { .. } => "request.timed_out",
            Self::Terminated => "client.terminated",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::DrainDeadline { .. } => Level::Error,
            Self::ConnectFailed { .. }
            | Self::NotificationMalformed { .. }
            | Self::NotificationUnreviewed { .. }
            | Self::TargetVetoed { .. }
            | Self::HandoffFailed { .. }
            | Self::MoveFinished { stayed: 1.., .. } => Level::Warn,
            Self::ConnectionClosed { cause, .. } => match cause {
                CloseCause::ByClient | CloseCause::ShutDown => Level::Debug,
                _ => Level::Warn,
            },
            Self::NotificationReceived { .. }
            | Self::NotificationVetoed { .. }
            | Self::NotificationReplaced { .. }
            | Self::TargetRewritten { .. }
            | Self::WindowOpened { .. }
            | Self::WindowClosed { .. }
            | Self::AddressWithdrawn { .. }
            | Self::MoveStarted { .. }
            | Self::MoveSuperseded { .. }
            | Self::MoveFinished { .. }
            | Self::CutOver { .. }
            | Self::RequestTimedOut { .. }
            | Self::Terminated => Level::Info,
            // A refused opt-in is ordinary: servers without the feature refuse it, and the client works all the same.
            Self::OptInRefused { .. }
            | Self::OptedIn { .. }
            | Self::ConnectionReady { .. }
            | Self::NotificationIgnored { .. }
            | Self::HandoffDialing { .. }
            | Self::Drained { .. } => Level::Debug,
        }
    }

    /// One line for a log that is written at `now`: like the event itself, but instants are told as times from now.
    #[must_use]
    pub const fn line(&self, now: Instant) -> Line<'_> {
        Line { event: self, now: Some(now) }
    }
}

impl fmt::Display for Event {
    /// One line: addresses, ids, counts and words of ours. Instants are left out; [`Event::line`] tells them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Line { event: self, now: None }.fmt(f)
    }
}

/// An event as one line of text. Made by [`Event::line`].
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    event: &'a Event,
    now: Option<Instant>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::ConnectionReady { .. }
            | Event::ConnectionClosed { .. }
            | Event::ConnectFailed { .. }
            | Event::OptInRefused { .. }
            | Event::OptedIn { .. }
            | Event::RequestTimedOut { .. }
            | Event::Terminated => self.connection(f),
            Event::NotificationReceived { .. }
            | Event::NotificationMalformed { .. }
            | Event::NotificationIgnored { .. }
            | Event::NotificationVetoed { .. }
            | Event::NotificationReplaced { .. }
            | Event::NotificationUnreviewed { .. }
            | Event::WindowOpened { .. }
            | Event::WindowClosed { .. } => self.notification(f),
            Event::TargetVetoed { .. }
            | Event::TargetRewritten { .. }
            | Event::AddressWithdrawn { .. }
            | Event::MoveStarted { .. }
            | Event::MoveSuperseded { .. }
            | Event::MoveFinished { .. }
            | Event::HandoffDialing { .. }
            | Event::HandoffFailed { .. }
            | Event::CutOver { .. }
            | Event::Drained { .. }
            | Event::DrainDeadline { .. } => self.departure(f),
        }
    }
}

impl Line<'_> {
    fn connection(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::ConnectionReady { conn, peer, notified: true } => write!(f, "{conn} is ready at {peer}"),
            Event::ConnectionReady { conn, peer, notified: false } => {
                write!(f, "{conn} is ready at {peer}, and will not be told of maintenance")
            }
            Event::ConnectionClosed { conn, peer, cause } => write!(f, "{conn} at {peer} has ended: {cause}"),
            Event::ConnectFailed { conn, error } => write!(f, "{conn} could not be opened: {error}"),
            Event::OptedIn { conn, peer } => write!(f, "{conn} at {peer} is told of maintenance from now on"),
            Event::OptInRefused { peer, code, recheck_at } => {
                write!(f, "{peer} does not announce maintenance")?;
                code.as_ref().map_or(Ok(()), |code| write!(f, " ({code})"))?;
                self.time(f, "asked again", *recheck_at)
            }
            Event::RequestTimedOut { conn: Some(conn) } => write!(f, "a request on {conn} timed out"),
            Event::RequestTimedOut { conn: None } => {
                write!(f, "a request that waited for a connection timed out")
            }
            _ => write!(f, "the client has terminated"),
        }
    }

    fn notification(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::NotificationReceived { conn, kind, seq } => write!(f, "{conn} received {kind} {seq}"),
            Event::NotificationMalformed { conn, error } => write!(f, "{conn} received a {error}"),
            Event::NotificationIgnored { conn, kind, seq, reason } => {
                write!(f, "{kind} {seq} of {conn} changes nothing: {reason}")
            }
            Event::NotificationVetoed { conn, kind, seq } => {
                write!(f, "a hook stopped {kind} {seq} of {conn}")
            }
            Event::NotificationReplaced { conn, kind, seq } => {
                write!(f, "a hook changed {kind} {seq} of {conn}")
            }
            Event::NotificationUnreviewed { conn, kind, seq, reason } => {
                write!(f, "{kind} {seq} of {conn} takes effect without the hooks: {reason}")
            }
            Event::WindowOpened { scope, cause, until } => {
                write!(f, "timeouts are relaxed for {scope} by {cause}")?;
                self.time(f, "ending by itself", *until)
            }
            Event::WindowClosed { scope, expired: false } => {
                write!(f, "timeouts are as configured for {scope}")
            }
            Event::WindowClosed { scope, .. } => {
                write!(f, "timeouts are as configured for {scope}: no completion came")
            }
            _ => Ok(()),
        }
    }

    fn departure(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::TargetVetoed { source, target, seq } => {
                write!(f, "move {seq} from {source}: the policy forbids {target}")
            }
            Event::TargetRewritten { source, announced, target, seq } => {
                write!(f, "move {seq} from {source}: {announced} is reached as {target}")
            }
            Event::MoveStarted { source, target, seq, deadline } => {
                write!(f, "move {seq} from {source}")?;
                target.as_ref().map_or(Ok(()), |target| write!(f, " to {target}"))?;
                f.write_str(" begins")?;
                self.time(f, "closed by the server", *deadline)
            }
            Event::MoveSuperseded { source, seq } => {
                write!(f, "move {seq} from {source} gave way to a newer one")
            }
            Event::MoveFinished { source, seq, moved, stayed, took } => {
                write!(f, "move {seq} from {source} is done in {took:.3?}: {moved} moved, {stayed} stayed")
            }
            Event::HandoffDialing { from, to, address, attempt } => {
                write!(f, "{from} is to be replaced by {to} at {address}, attempt {attempt}")
            }
            Event::HandoffFailed { from, error, attempt, retry_at } => {
                write!(f, "attempt {attempt} to replace {from} failed: {error}")?;
                match retry_at {
                    Some(at) => self.time(f, "tried again", *at),
                    None => f.write_str("; it serves until the server closes it"),
                }
            }
            Event::CutOver { from, to, moved } => {
                write!(f, "{to} serves instead of {from}, {moved} requests along")
            }
            Event::AddressWithdrawn { peer } => {
                write!(f, "the name no longer leads to {peer}, where connections are")
            }
            Event::Drained { conn, took } => write!(f, "{conn} has answered everything in {took:.3?}"),
            Event::DrainDeadline { conn } => write!(f, "{conn} is closed with requests unanswered"),
            _ => Ok(()),
        }
    }

    fn time(&self, f: &mut fmt::Formatter<'_>, what: &str, at: Instant) -> fmt::Result {
        match self.now {
            Some(now) => write!(f, ", {what} in {:.1?}", at.saturating_duration_since(now)),
            None => Ok(()),
        }
    }
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

impl fmt::Display for WindowScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => f.write_str("the database"),
            Self::Peer(peer) => peer.fmt(f),
            Self::Connection(conn) => conn.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
