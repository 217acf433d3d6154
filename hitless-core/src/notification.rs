//! Maintenance notifications: the pushes by which a server announces what it is about to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use resp3_codec::Frame;

use crate::endpoint::{Endpoint, EndpointError, Peer};
pub use crate::slots::{MAX_SLOT, SlotError, SlotMove, SlotRange, SlotSet};

mod parse;

/// The shortest time that a notification can announce; 0, negative and missing seconds of late joiners count
/// as this.
pub const MIN_ANNOUNCED: Duration = Duration::from_secs(1);
/// The longest time that a notification can announce.
pub const MAX_ANNOUNCED: Duration = Duration::from_secs(3600);

/// The id of a notification.
///
/// Ids grow within one database, across all kinds, with gaps; 0 is a valid first one. All nodes give one
/// event the same id, but an event's start and its end need not share one, and two moves of different targets
/// may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a server announces.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification {
    /// The peer of this connection is being retired; it closes the connection when the grace is over.
    Moving {
        /// The id; with the target, it identifies the move.
        seq: Seq,
        /// How long the connection lives on, from 1 s to 1 h.
        grace: Duration,
        /// Where to go.
        target: MoveTarget,
    },
    /// Shards are about to move to another node: expect slow replies.
    Migrating {
        /// The id.
        seq: Seq,
        /// When it starts, from 1 s to 1 h; not every server says.
        starts_in: Option<Duration>,
        /// Which shards; none: the server does not say.
        shards: ShardIds,
    },
    /// Shards have moved. The last completion is sent again after every opt-in, even hours later.
    Migrated {
        /// The id.
        seq: Seq,
        /// Which shards; none: the server does not say.
        shards: ShardIds,
    },
    /// Shards are about to fail over to a replica: expect slow replies.
    FailingOver {
        /// The id.
        seq: Seq,
        /// When it starts, from 1 s to 1 h; not every server says.
        starts_in: Option<Duration>,
        /// Which shards; none: the server does not say.
        shards: ShardIds,
    },
    /// Shards have failed over. The last completion is sent again after every opt-in, even hours later.
    FailedOver {
        /// The id.
        seq: Seq,
        /// Which shards; none: the server does not say.
        shards: ShardIds,
    },
    /// Slots are about to leave this node of a cluster: expect slow replies.
    SlotsMigrating {
        /// The id.
        seq: Seq,
        /// Which slots.
        slots: SlotSet,
    },
    /// Slots have moved between nodes of a cluster. Every node says so, even one that is not concerned.
    SlotsMigrated {
        /// The id.
        seq: Seq,
        /// What moved. Empty when none of the entries can be read.
        moves: Vec<SlotMove>,
        /// How many entries cannot be read; the others are valid.
        skipped: usize,
    },
}

impl Notification {
    /// Reads the elements of a push; `None` when it is no maintenance notification.
    ///
    /// Every form that servers and test servers have been seen to send is read; elements that follow the
    /// known ones are left alone.
    ///
    /// # Errors
    /// Says what is wrong with a push that has the name of a notification. Such a push is to be reported and
    /// otherwise ignored.
    pub fn parse(push: &[Frame]) -> Result<Option<Self>, NotificationError> {
        parse::parse(push)
    }

    /// What it announces.
    #[must_use]
    pub const fn kind(&self) -> NotificationKind {
        match self {
            Self::Moving { .. } => NotificationKind::Moving,
            Self::Migrating { .. } => NotificationKind::Migrating,
            Self::Migrated { .. } => NotificationKind::Migrated,
            Self::FailingOver { .. } => NotificationKind::FailingOver,
            Self::FailedOver { .. } => NotificationKind::FailedOver,
            Self::SlotsMigrating { .. } => NotificationKind::SlotsMigrating,
            Self::SlotsMigrated { .. } => NotificationKind::SlotsMigrated,
        }
    }

    /// Its id.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        match self {
            Self::Moving { seq, .. }
            | Self::Migrating { seq, .. }
            | Self::Migrated { seq, .. }
            | Self::FailingOver { seq, .. }
            | Self::FailedOver { seq, .. }
            | Self::SlotsMigrating { seq, .. }
            | Self::SlotsMigrated { seq, .. } => *seq,
        }
    }

    /// The shards that it names; `None` for the kinds that are not about shards.
    #[must_use]
    pub const fn shards(&self) -> Option<&ShardIds> {
        match self {
            Self::Migrating { shards, .. }
            | Self::Migrated { shards, .. }
            | Self::FailingOver { shards, .. }
            | Self::FailedOver { shards, .. } => Some(shards),
            Self::Moving { .. } | Self::SlotsMigrating { .. } | Self::SlotsMigrated { .. } => None,
        }
    }
}

/// Where a [`Notification::Moving`] sends the client. The set is closed: the server names an endpoint or it
/// does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MoveTarget {
    /// The server names no endpoint: the configured name will lead to the new node.
    SameName,
    /// This endpoint.
    Endpoint(Endpoint),
}

impl MoveTarget {
    /// The address it names, if it names one that need not be looked up.
    #[must_use]
    pub fn address(&self) -> Option<Peer> {
        self.endpoint()?.peer()
    }

    /// The endpoint it names, if it names one.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            Self::SameName => None,
        }
    }
}

impl fmt::Display for MoveTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameName => f.pad("the same name"),
            Self::Endpoint(endpoint) => endpoint.fmt(f),
        }
    }
}

/// The kinds of [`Notification`]. More may come, with servers that send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NotificationKind {
    /// `MOVING`.
    Moving,
    /// `MIGRATING`.
    Migrating,
    /// `MIGRATED`.
    Migrated,
    /// `FAILING_OVER`.
    FailingOver,
    /// `FAILED_OVER`.
    FailedOver,
    /// `SMIGRATING`.
    SlotsMigrating,
    /// `SMIGRATED`.
    SlotsMigrated,
}

impl NotificationKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Moving,
        Self::Migrating,
        Self::Migrated,
        Self::FailingOver,
        Self::FailedOver,
        Self::SlotsMigrating,
        Self::SlotsMigrated,
    ];

    /// Whether it says that something has ended.
    pub(crate) const fn is_completion(self) -> bool {
        match self {
            Self::Migrated | Self::FailedOver | Self::SlotsMigrated => true,
            Self::Moving | Self::Migrating | Self::FailingOver | Self::SlotsMigrating => false,
        }
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moving => "MOVING",
            Self::Migrating => "MIGRATING",
            Self::Migrated => "MIGRATED",
            Self::FailingOver => "FAILING_OVER",
            Self::FailedOver => "FAILED_OVER",
            Self::SlotsMigrating => "SMIGRATING",
            Self::SlotsMigrated => "SMIGRATED",
        }
    }

    /// The kind of that name, in exactly this case.
    #[must_use]
    pub fn from_wire(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == name)
    }

    /// The kind that this kind completes; `None` when it completes none.
    #[must_use]
    pub const fn completes(self) -> Option<Self> {
        match self {
            Self::Migrated => Some(Self::Migrating),
            Self::FailedOver => Some(Self::FailingOver),
            Self::SlotsMigrated => Some(Self::SlotsMigrating),
            Self::Moving | Self::Migrating | Self::FailingOver | Self::SlotsMigrating => None,
        }
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The shards that a notification names, sorted; none when it does not say.
///
/// They only narrow down what a completion completes, so a list in an unknown form, or longer than any real
/// one, counts as none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIds(Arc<[Box<str>]>);

impl ShardIds {
    /// Whether none is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, ascending, each once.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether `id` is named.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.0.binary_search_by(|known| known.as_ref().cmp(id)).is_ok()
    }

    /// Those that `other` does not name.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|id| !other.contains(id)).collect()
    }
}

impl<'a> FromIterator<&'a str> for ShardIds {
    fn from_iter<I: IntoIterator<Item = &'a str>>(ids: I) -> Self {
        let mut ids: Vec<Box<str>> = ids.into_iter().map(Box::from).collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids.into())
    }
}

/// A push with the name of a notification that cannot be read as one. It repeats nothing of the push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {kind}: {problem}")]
pub struct NotificationError {
    /// What it would have announced.
    pub kind: NotificationKind,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a malformed notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no id, or it is not a number from 0.
    #[error("the id is missing or not a number")]
    Seq,
    /// There is no time, or it is not a number.
    #[error("the time is missing or not a number")]
    Time,
    /// The endpoint is not a string.
    #[error("the endpoint is not a string")]
    EndpointType,
    /// The endpoint is a string that cannot be read.
    #[error("the endpoint: {0}")]
    Endpoint(EndpointError),
    /// There are no slots where some should be.
    #[error("the slots are missing")]
    NoSlots,
    /// The slots cannot be read.
    #[error("the slots: {0}")]
    Slots(SlotError),
    /// There are no slot moves where some should be.
    #[error("the slot moves are missing")]
    NoMoves,
}

#[cfg(test)]
mod tests;
