//! What subscribers subscribe to, and what they receive.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use resp3_codec::{Command, Frame, cmd};
use thiserror::Error;

use crate::endpoint::Endpoint;
use crate::error::{CloseCause, ConnectError, ServerError, to_server};
use crate::timer::Span;

/// What a subscriber subscribes to. Strings of any kind are channels; [`pattern`](Self::pattern) and [`sharded`](Self::sharded) make the
/// others.
///
/// This enum is closed: servers know these three kinds, and whoever maps them to something else has to map all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// All messages that are published to this channel (SUBSCRIBE).
    Channel(Bytes),
    /// All messages that are published to channels whose names fit this pattern, such as `news.*` (PSUBSCRIBE).
    Pattern(Bytes),
    /// All messages that are published to this channel by SPUBLISH (SSUBSCRIBE).
    Sharded(Bytes),
}

/// A message that was published to a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Message {
    /// What it is received for. A channel that fits a pattern may be subscribed to as well: then its messages come for each.
    pub topic: Topic,
    /// The channel that it was published to.
    pub channel: Bytes,
    /// What was published.
    pub payload: Bytes,
}

/// What a subscription receives, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A message.
    Message(Message),
    /// Messages of this topic may be missing here: what was published between the message before and this moment may be lost. From
    /// here on none is. Whoever keeps something up to date by messages reads it anew now.
    Gap {
        /// Which topic.
        topic: Topic,
        /// Why: how the connection ended that the messages had come by.
        cause: CloseCause,
    },
    /// The connection has moved, and messages with equal contents left it open which of them the old connection had shown already. None is
    /// repeated; as many may be missing as fit.
    Ambiguous {
        /// Which topic.
        topic: Topic,
        /// The channel that the messages in doubt were published to.
        channel: Bytes,
    },
    /// The subscriber was too slow: so many items that stood here were dropped, the oldest ones first.
    Lagged(u64),
    /// The server has refused to go on with this topic: nothing more comes for it.
    Refused {
        /// Which topic.
        topic: Topic,
        /// What the server said.
        error: ServerError,
    },
}

/// Why topics were not subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The server refuses one of the topics. None of those that were asked for together is subscribed to.
    #[error("the server refuses the {topic}: {error}")]
    Refused {
        /// Which.
        topic: Topic,
        /// What the server said.
        error: ServerError,
    },
    /// A connection had to be opened, and the last attempt to do so has failed.
    #[error("no connection for subscriptions{}: {cause}", to_server(.endpoint, .cause))]
    NoConnection {
        /// The configured server.
        endpoint: Endpoint,
        /// Why the last attempt failed.
        cause: Arc<ConnectError>,
    },
    /// Subscriptions need a connection for themselves: every one that `max_dedicated` allows was lent until `lease_timeout` was over.
    #[error(
        "no connection was free within {} for subscriptions: as many are lent as `max_dedicated` allows. Raise it or \
         `lease_timeout`",
        Span(*.after)
    )]
    NotLent {
        /// How long the caller waited.
        after: Duration,
    },
    /// The server did not confirm them in time.
    #[error("the server has not confirmed the subscription within {}", Span(*.after))]
    TimedOut {
        /// How long the caller waited.
        after: Duration,
    },
    /// The client has as many subscriptions, or topics in them, as it keeps.
    #[error("the client has {TOPIC_LIMIT} subscriptions, or topics in them, and keeps no more: close some")]
    Full,
    /// The subscription was closed.
    #[error("the subscription was closed")]
    Closed,
    /// The client shuts down.
    #[error("the client was shut down")]
    ShutDown,
}

/// As many subscriptions a client may have, and as many topics in all of them together. A topic that two subscriptions have counts twice.
pub const TOPIC_LIMIT: usize = 64 * 1024;

/// What a push or a RESP2 array about subscriptions says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    Message(Message),
    Subscribed(Topic),
    Unsubscribed(Topic),
}

impl Topic {
    /// A channel.
    #[must_use]
    pub fn channel(name: impl Into<Bytes>) -> Self {
        Self::Channel(name.into())
    }

    /// A pattern of channels.
    #[must_use]
    pub fn pattern(pattern: impl Into<Bytes>) -> Self {
        Self::Pattern(pattern.into())
    }

    /// A sharded channel.
    #[must_use]
    pub fn sharded(name: impl Into<Bytes>) -> Self {
        Self::Sharded(name.into())
    }

    /// The name of the channel, or the pattern.
    #[must_use]
    pub fn name(&self) -> &Bytes {
        match self {
            Self::Channel(name) | Self::Pattern(name) | Self::Sharded(name) => name,
        }
    }

    pub(crate) fn subscribe(&self) -> Command {
        self.command("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE")
    }

    pub(crate) fn unsubscribe(&self) -> Command {
        self.command("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE")
    }

    fn command(&self, channel: &'static str, pattern: &'static str, sharded: &'static str) -> Command {
        let name = match self {
            Self::Channel(_) => channel,
            Self::Pattern(_) => pattern,
            Self::Sharded(_) => sharded,
        };
        cmd(name).arg(self.name())
    }
}

impl Message {
    /// A message that is received for `topic`.
    #[must_use]
    pub fn new(topic: Topic, channel: impl Into<Bytes>, payload: impl Into<Bytes>) -> Self {
        Self { topic, channel: channel.into(), payload: payload.into() }
    }

    /// The pattern that it is received for, if it is one.
    #[must_use]
    pub fn pattern(&self) -> Option<&Bytes> {
        match &self.topic {
            Topic::Pattern(pattern) => Some(pattern),
            Topic::Channel(_) | Topic::Sharded(_) => None,
        }
    }
}

impl Item {
    /// The message, if it is one.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Gap { .. } | Self::Ambiguous { .. } | Self::Lagged(_) | Self::Refused { .. } => None,
        }
    }
}

impl Push {
    /// Whether the elements of an array are those of a push about subscriptions: RESP2 has no other form for them.
    pub(crate) fn is_one(elements: &[Frame]) -> bool {
        elements.first().and_then(Frame::as_bytes).is_some_and(|name| kind(name).is_some())
    }

    /// What the elements of a push say; `None` if they say something else. "Unsubscribed from nothing" is something else.
    pub(crate) fn parse(elements: &[Frame]) -> Option<Self> {
        let bytes = |at: usize| elements.get(at)?.clone().into_bytes();
        Some(match kind(elements.first()?.as_bytes()?)? {
            Kind::Message if elements.len() == 3 => {
                let channel = bytes(1)?;
                Self::Message(Message::new(Topic::Channel(channel.clone()), channel, bytes(2)?))
            }
            Kind::ShardedMessage if elements.len() == 3 => {
                let channel = bytes(1)?;
                Self::Message(Message::new(Topic::Sharded(channel.clone()), channel, bytes(2)?))
            }
            Kind::PatternMessage if elements.len() == 4 => {
                Self::Message(Message::new(Topic::Pattern(bytes(1)?), bytes(2)?, bytes(3)?))
            }
            Kind::Subscribed(topic) => Self::Subscribed(topic(bytes(1)?)),
            Kind::Unsubscribed(topic) => Self::Unsubscribed(topic(bytes(1)?)),
            Kind::Message | Kind::ShardedMessage | Kind::PatternMessage => return None,
        })
    }
}

/// What the name of a push says.
enum Kind {
    Message,
    PatternMessage,
    ShardedMessage,
    Subscribed(fn(Bytes) -> Topic),
    Unsubscribed(fn(Bytes) -> Topic),
}

/// Source: pubsub.c of Redis 7.
fn kind(name: &[u8]) -> Option<Kind> {
    Some(match name {
        b"message" => Kind::Message,
        b"pmessage" => Kind::PatternMessage,
        b"smessage" => Kind::ShardedMessage,
        b"subscribe" => Kind::Subscribed(Topic::Channel),
        b"psubscribe" => Kind::Subscribed(Topic::Pattern),
        b"ssubscribe" => Kind::Subscribed(Topic::Sharded),
        b"unsubscribe" => Kind::Unsubscribed(Topic::Channel),
        b"punsubscribe" => Kind::Unsubscribed(Topic::Pattern),
        b"sunsubscribe" => Kind::Unsubscribed(Topic::Sharded),
        _ => return None,
    })
}

impl From<&str> for Topic {
    fn from(channel: &str) -> Self {
        Self::Channel(Bytes::copy_from_slice(channel.as_bytes()))
    }
}

impl From<String> for Topic {
    fn from(channel: String) -> Self {
        Self::Channel(channel.into())
    }
}

impl From<&String> for Topic {
    fn from(channel: &String) -> Self {
        Self::from(channel.as_str())
    }
}

impl From<Bytes> for Topic {
    fn from(channel: Bytes) -> Self {
        Self::Channel(channel)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Channel(_) => "channel",
            Self::Pattern(_) => "pattern",
            Self::Sharded(_) => "sharded channel",
        };
        write!(f, "{kind} {}", String::from_utf8_lossy(self.name()))
    }
}
