//! Events as lines of a log: a stable name, a level, and one line of text.

use std::fmt;
use std::time::Instant;

use super::{Event, MoveCause, WindowScope};
use crate::endpoint::Peer;
use crate::error::CloseCause;
use crate::level::Level;
use crate::notification::Seq;
use crate::timer::Span;

impl Event {
    /// The name, stable from version to version: the subject, a dot, and what happened to it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConnectionReady { .. } => "connection.ready",
            Self::ConnectionClosed { .. } => "connection.closed",
            Self::ConnectionSilent { .. } => "connection.silent",
            Self::Reauthenticated { .. } => "connection.reauthenticated",
            Self::ReauthenticationRefused { .. } => "connection.reauthentication_refused",
            Self::CredentialsFailed { .. } => "credentials.failed",
            Self::ConnectFailed { .. } => "connection.failed",
            Self::OptInRefused { .. } => "negotiation.refused",
            Self::FellBack { .. } => "negotiation.reduced",
            Self::OptedIn { .. } => "negotiation.repeated",
            Self::NotificationReceived { .. } => "notification.received",
            Self::NotificationMalformed { .. } => "notification.malformed",
            Self::NotificationIgnored { .. } => "notification.ignored",
            Self::NotificationVetoed { .. } => "notification.vetoed",
            Self::NotificationReplaced { .. } => "notification.replaced",
            Self::NotificationUnreviewed { .. } => "notification.unreviewed",
            Self::TargetVetoed { .. } => "target.vetoed",
            Self::TargetRewritten { .. } => "target.rewritten",
            Self::TargetRefused { .. } => "target.refused",
            Self::WindowOpened { .. } => "window.opened",
            Self::WindowClosed { expired: false, .. } => "window.closed",
            Self::WindowClosed { expired: true, .. } => "window.expired",
            Self::AddressWithdrawn { .. } => "target.withdrawn",
            Self::Demoted { .. } => "target.demoted",
            Self::MoveStarted { .. } => "move.started",
            Self::MoveSuperseded { .. } => "move.superseded",
            Self::MoveFinished { .. } => "move.finished",
            Self::HandoffDialing { .. } => "handoff.dialing",
            Self::HandoffFailed { .. } => "handoff.failed",
            Self::CutOver { .. } => "handoff.cut_over",
            Self::Drained { .. } => "handoff.drained",
            Self::DrainDeadline { .. } => "handoff.deadline_reached",
            Self::RequestTimedOut { .. } => "request.timed_out",
            Self::SubscriptionGaps { .. } => "subscription.gaps",
            Self::SubscriptionsAmbiguous { .. } => "subscription.ambiguous",
            Self::Orphaned { .. } => "request.orphaned",
            Self::Terminated => "client.terminated",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::DrainDeadline { .. } => Level::Error,
            Self::ConnectionSilent { .. }
            | Self::ReauthenticationRefused { .. }
            | Self::CredentialsFailed { .. }
            | Self::ConnectFailed { .. }
            | Self::FellBack { .. }
            | Self::Demoted { .. }
            | Self::NotificationMalformed { .. }
            | Self::NotificationUnreviewed { .. }
            | Self::TargetVetoed { .. }
            | Self::TargetRefused { .. }
            | Self::HandoffFailed { .. }
            | Self::SubscriptionGaps { .. }
            | Self::Orphaned { .. }
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
            | Self::SubscriptionsAmbiguous { .. }
            | Self::RequestTimedOut { .. }
            | Self::Terminated => Level::Info,
            // A refused opt-in is ordinary: servers without the feature refuse it, and the client works all the same.
            Self::OptInRefused { .. }
            | Self::OptedIn { .. }
            | Self::Reauthenticated { .. }
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
            | Event::ConnectionSilent { .. }
            | Event::Reauthenticated { .. }
            | Event::ReauthenticationRefused { .. }
            | Event::CredentialsFailed { .. }
            | Event::ConnectFailed { .. }
            | Event::OptInRefused { .. }
            | Event::FellBack { .. }
            | Event::OptedIn { .. }
            | Event::RequestTimedOut { .. }
            | Event::SubscriptionGaps { .. }
            | Event::SubscriptionsAmbiguous { .. }
            | Event::Orphaned { .. }
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
            | Event::TargetRefused { .. }
            | Event::AddressWithdrawn { .. }
            | Event::Demoted { .. }
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
            Event::SubscriptionGaps { topics, cause } => {
                let noun = if *topics == 1 { "topic" } else { "topics" };
                write!(f, "messages of {topics} {noun} may be missing: {cause}")
            }
            Event::SubscriptionsAmbiguous { topics } => {
                write!(
                    f,
                    "equal messages of {topics} topics could not be told apart in a move; some may be missing"
                )
            }
            Event::ConnectionSilent { conn, peer } => {
                write!(f, "{conn} at {peer} does not answer: another connection is opened in its place")
            }
            Event::Reauthenticated { conn, peer } => write!(f, "{conn} at {peer} has the new credentials"),
            Event::ReauthenticationRefused { conn, peer, code } => {
                write!(
                    f,
                    "{peer} refused the new credentials of {conn} with {code}; it goes on with the old ones"
                )
            }
            Event::CredentialsFailed { error, retry_at } => {
                write!(f, "there are no new credentials: {error}")?;
                self.time(f, "asked again", *retry_at)
            }
            Event::ConnectFailed { conn, error } => write!(f, "{conn} could not be opened: {error}"),
            Event::OptedIn { conn, peer } => write!(f, "{conn} at {peer} is told of maintenance from now on"),
            Event::OptInRefused { peer, code, recheck_at } => {
                write!(f, "{peer} does not announce maintenance")?;
                code.as_ref().map_or(Ok(()), |code| write!(f, " ({code})"))?;
                self.time(f, "asked again", *recheck_at)
            }
            Event::FellBack { peer, code, recheck_at } => {
                write!(f, "{peer} did not take the usual handshake")?;
                code.as_ref().map_or(Ok(()), |code| write!(f, " ({code})"))?;
                f.write_str(" and is asked for less: RESP2, or no CLIENT")?;
                self.time(f, "asked again", *recheck_at)
            }
            Event::RequestTimedOut { conn: Some(conn) } => write!(f, "a request on {conn} timed out"),
            Event::RequestTimedOut { conn: None } => {
                write!(f, "a request that waited for a connection timed out")
            }
            Event::Orphaned { command } => {
                write!(f, "{command} has taken something that nobody waits for any more")
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
            Event::TargetRefused { source, target, seq } => {
                let why = "is outside of the configured name's domain (`target_domain` allows others)";
                write!(f, "move {seq} from {source}: {target} {why}")
            }
            Event::MoveStarted { source, target, seq, cause, deadline } => {
                write!(f, "{}", Named { source, seq: *seq, cause: *cause })?;
                target.as_ref().map_or(Ok(()), |target| write!(f, " to {target}"))?;
                f.write_str(" begins")?;
                let what = match cause {
                    MoveCause::Announced => "closed by the server",
                    MoveCause::Withdrawn | MoveCause::Demoted => "given up",
                };
                self.time(f, what, *deadline)
            }
            Event::MoveSuperseded { source, seq, cause } => {
                write!(f, "{} gave way to a newer one", Named { source, seq: *seq, cause: *cause })
            }
            Event::MoveFinished { source, seq, cause, moved, stayed, took } => {
                let (name, took) = (Named { source, seq: *seq, cause: *cause }, Span(*took));
                write!(f, "{name} is done in {took:.3}: {moved} moved, {stayed} stayed")
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
            Event::Demoted { peer, refusal } => {
                write!(
                    f,
                    "the server at {peer} refuses commands with {refusal}; its connections look for another one"
                )
            }
            Event::Drained { conn, took } => {
                write!(f, "{conn} has answered everything in {:.3}", Span(*took))
            }
            Event::DrainDeadline { conn } => write!(f, "{conn} is closed with requests unanswered"),
            _ => Ok(()),
        }
    }

    fn time(&self, f: &mut fmt::Formatter<'_>, what: &str, at: Instant) -> fmt::Result {
        match self.now {
            Some(now) => write!(f, ", {what} in {:.1}", Span(at.saturating_duration_since(now))),
            None => Ok(()),
        }
    }
}

/// A move, as lines call it: by the id of its MOVING, or by why it began without one.
struct Named<'a> {
    source: &'a Peer,
    seq: Seq,
    cause: MoveCause,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, seq, cause } = self;
        match cause {
            MoveCause::Announced => write!(f, "move {seq} from {source}"),
            MoveCause::Withdrawn => write!(f, "quiet move from {source} (left the name's answers)"),
            MoveCause::Demoted => write!(f, "quiet move from {source} (refuses commands)"),
        }
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
