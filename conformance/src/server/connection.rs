//! The server's side of one connection, and of one endpoint.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::config::EndpointSpec;
use super::machine::{CloseHow, EndpointId, Listening};
use super::outbox::Outbox;
use super::request::RequestParser;

/// What the server answers itself when its turn comes.
#[derive(Clone, Debug)]
pub(super) enum OwnAnswer {
    /// The opt-in, as the endpoint treats it.
    OptIn,
    /// This frame.
    Frame(Frame),
}

/// Whether a connection gets notifications, and how it wants targets to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notifications {
    Off,
    On(Naming),
}

/// How a target is named to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Address,
    Host,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) endpoint: EndpointId,
    pub(super) parser: RequestParser,
    pub(super) outbox: Outbox,
    pub(super) notifications: Notifications,
    pub(super) own_answers: VecDeque<OwnAnswer>,
    /// Nothing leaves before.
    pub(super) held_until: Option<Instant>,
    /// Whether it stands in the queue of those with something to send.
    pub(super) queued: bool,
    /// Set once it is to be closed: nothing is read any more.
    pub(super) closing: Option<CloseHow>,
}

impl Connection {
    pub(super) fn new(endpoint: EndpointId) -> Self {
        Self {
            endpoint,
            parser: RequestParser::default(),
            outbox: Outbox::default(),
            notifications: Notifications::Off,
            own_answers: VecDeque::new(),
            held_until: None,
            queued: false,
            closing: None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.closing.is_none()
    }
}

/// A state that lasts until a moment, or until it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spell {
    Over,
    Until(Instant),
    Indefinite,
}

impl Spell {
    pub(super) fn begin(until: Option<Instant>) -> Self {
        until.map_or(Self::Indefinite, Self::Until)
    }

    pub(super) fn lasts(self, now: Instant) -> bool {
        match self {
            Self::Over => false,
            Self::Until(end) => now < end,
            Self::Indefinite => true,
        }
    }
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) spec: EndpointSpec,
    pub(super) refusing: Spell,
    pub(super) black_hole: Spell,
    /// Latency that is added for a time.
    pub(super) slow: (Duration, Spell),
    /// How long connections live that are accepted meanwhile.
    pub(super) lives: (Duration, Spell),
    /// Attributes stand in front of what it sends, and inside.
    pub(super) adorns: Spell,
}

impl Endpoint {
    pub(super) fn new(spec: EndpointSpec) -> Self {
        let never = (Duration::ZERO, Spell::Over);
        Self {
            spec,
            refusing: Spell::Over,
            black_hole: Spell::Over,
            slow: never,
            lives: never,
            adorns: Spell::Over,
        }
    }

    pub(super) fn listening(&self, now: Instant) -> Listening {
        if self.refusing.lasts(now) {
            Listening::Refusing
        } else if self.black_hole.lasts(now) {
            Listening::BlackHole
        } else {
            Listening::Accepting
        }
    }

    /// How long a connection lives that is accepted now, if that is not left to others.
    pub(super) fn life(&self, now: Instant) -> Option<Duration> {
        let (life, spell) = self.lives;
        spell.lasts(now).then_some(life)
    }

    pub(super) fn latency(&self, now: Instant) -> Duration {
        let (extra, spell) = self.slow;
        if spell.lasts(now) { self.spec.latency + extra } else { self.spec.latency }
    }
}
