//! What happened to a cluster, for logs and metrics.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::config::ConfigError;
use crate::endpoint::Endpoint;
use crate::error::ConnectError;
use crate::ids::NodeId;
use crate::level::Level;
use crate::notification::Seq;

/// Something that happened, true at the moment it is emitted. No key, payload or text of a server is ever in one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A node was heard of for the first time, or again after it was forgotten.
    NodeAdded {
        /// Which.
        node: NodeId,
        /// Where it is.
        endpoint: Endpoint,
    },
    /// Nothing leads to a node any more: it is closed and forgotten.
    NodeRemoved {
        /// Which.
        node: NodeId,
        /// Where it was.
        endpoint: Endpoint,
    },
    /// A node is at another address now. Its slots follow it.
    NodeMoved {
        /// Which.
        node: NodeId,
        /// Where it is now.
        endpoint: Endpoint,
    },
    /// A node could not be opened. It is tried again after pauses, as long as something leads to it; this is not said for each of them.
    NodeNotOpened {
        /// Which.
        node: NodeId,
        /// Where it is announced.
        endpoint: Endpoint,
        /// Why.
        error: NodeError,
    },
    /// The last connection to a node is gone, and another one could not be opened at once. Attempts go on. Commands for the node wait for
    /// it, or fail where the settings say so.
    NodeLost {
        /// Which.
        node: NodeId,
        /// Where it is announced.
        endpoint: Endpoint,
    },
    /// A node that was lost has a connection again.
    NodeRecovered {
        /// Which.
        node: NodeId,
        /// Where it is announced.
        endpoint: Endpoint,
    },
    /// A topology was read, and has changed what is known.
    TopologyRead {
        /// The node that gave it.
        node: NodeId,
        /// How many slots have another owner than before.
        changed: usize,
        /// How many slots nobody serves.
        uncovered: usize,
    },
    /// Slots have another owner, without a topology read.
    SlotsMoved {
        /// The node that serves them now.
        to: NodeId,
        /// Where it is.
        endpoint: Endpoint,
        /// How many.
        slots: usize,
        /// How that is known.
        cause: SlotsMoveCause,
    },
    /// A node that was asked for the topology gave none that can be used. Another one is asked, or this one later on.
    RefreshFailed {
        /// Which.
        node: NodeId,
        /// Where it is.
        endpoint: Endpoint,
        /// Why.
        error: TopologyError,
    },
    /// A node refuses READONLY, so that nothing is read from it while it is a replica. Said once for each of its clients.
    ReadonlyRefused {
        /// Which.
        node: NodeId,
        /// Where it is.
        endpoint: Endpoint,
    },
    /// None of the nodes that are known can be asked for the topology: the configured seeds are opened again.
    SeedsReopened {
        /// How many were not known any more.
        seeds: usize,
    },
}

/// Why a node could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Its connections could not be opened.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
    /// The settings forbid it: over TLS it lies outside of the domain of the seeds, for one.
    #[error(transparent)]
    Config(ConfigError),
}

/// How a move of slots is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlotsMoveCause {
    /// A MOVED.
    Redirect,
    /// A MOVED that led to a replica of the slots' shard: it has been promoted, and all of the shard's slots have gone over.
    Promotion,
    /// A SMIGRATED with this id.
    Announced(Seq),
}

/// Why a node's answer is no topology that can be used. It repeats nothing of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The server is none of a cluster: it wants an ordinary client.
    #[error(
        "the server does not support clusters (cluster support is disabled): use `Client`, the client for single servers"
    )]
    NotACluster,
    /// The server refuses to tell, with an error reply: it lacks the command or the permission, or cannot answer now.
    #[error(
        "the server refuses to tell its topology: it lacks CLUSTER SLOTS, the user may not run it, or it cannot answer now"
    )]
    Refused,
    /// The answer is not in a form that is known.
    #[error("the answer cannot be read as a topology")]
    Malformed,
    /// By the answer nobody serves anything: the node has left the cluster, or there is none yet.
    #[error("the answer names no slot: the node is not part of a cluster, or the cluster has no slots yet")]
    Empty,
    /// The answer does not say where any of the nodes is.
    #[error("the answer does not say where the nodes are (their host names are not set yet)")]
    NoAddress,
    /// The answer names none of the nodes that are known and serve: it is about another cluster.
    #[error("the answer names none of the known nodes: it is about another cluster")]
    Foreign,
    /// There was no answer in time, the connection was lost, or the node was closed meanwhile.
    #[error("there was no answer")]
    Unanswered,
}

impl ClusterEvent {
    /// The name, stable from version to version: the subject, a dot, and what happened to it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NodeAdded { .. } => "node.added",
            Self::NodeRemoved { .. } => "node.removed",
            Self::NodeMoved { .. } => "node.moved",
            Self::NodeNotOpened { .. } => "node.failed",
            Self::NodeLost { .. } => "node.lost",
            Self::NodeRecovered { .. } => "node.recovered",
            Self::TopologyRead { .. } => "topology.read",
            Self::SlotsMoved { .. } => "slots.moved",
            Self::RefreshFailed { .. } => "topology.failed",
            Self::ReadonlyRefused { .. } => "readonly.refused",
            Self::SeedsReopened { .. } => "seeds.reopened",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::NodeNotOpened { .. }
            | Self::NodeLost { .. }
            | Self::RefreshFailed { .. }
            | Self::ReadonlyRefused { .. }
            | Self::SeedsReopened { .. } => Level::Warn,
            Self::TopologyRead { uncovered: 1.., .. } => Level::Warn,
            Self::NodeAdded { .. }
            | Self::NodeRemoved { .. }
            | Self::NodeMoved { .. }
            | Self::NodeRecovered { .. }
            | Self::TopologyRead { .. } => Level::Info,
            // A reshard may have thousands of redirects.
            Self::SlotsMoved { cause: SlotsMoveCause::Redirect, .. } => Level::Debug,
            Self::SlotsMoved { .. } => Level::Info,
        }
    }
}

impl fmt::Display for ClusterEvent {
    /// One line: addresses, ids, counts and words of ours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeAdded { node, endpoint } => write!(f, "{node} at {endpoint} is known from now on"),
            Self::NodeRemoved { node, endpoint } => {
                write!(f, "nothing leads to {node} at {endpoint} any more")
            }
            Self::NodeMoved { node, endpoint } => write!(f, "{node} is at {endpoint} now"),
            Self::NodeNotOpened { node, endpoint, error } => {
                write!(f, "{node} at {endpoint} could not be opened: {error}")
            }
            Self::NodeLost { node, endpoint } => write!(f, "{node} at {endpoint} has no connection any more"),
            Self::NodeRecovered { node, endpoint } => {
                write!(f, "{node} at {endpoint} has a connection again")
            }
            Self::TopologyRead { node, changed, uncovered } => {
                write!(f, "by the topology of {node}, {} another owner", Slots(*changed, "has", "have"))?;
                match uncovered {
                    0 => Ok(()),
                    _ => write!(f, ", and {} served by nobody", Slots(*uncovered, "is", "are")),
                }
            }
            Self::SlotsMoved { to, endpoint, slots, cause } => {
                write!(f, "{} gone to {to} at {endpoint} ", Slots(*slots, "has", "have"))?;
                match cause {
                    SlotsMoveCause::Redirect => f.write_str("(MOVED)"),
                    SlotsMoveCause::Promotion => {
                        f.write_str("(MOVED to a replica, which is the primary now)")
                    }
                    SlotsMoveCause::Announced(seq) => write!(f, "(SMIGRATED {seq})"),
                }
            }
            Self::RefreshFailed { node, endpoint, error } => {
                write!(f, "{node} at {endpoint} gave no topology: {error}")
            }
            Self::ReadonlyRefused { node, endpoint } => {
                write!(f, "{node} at {endpoint} refuses READONLY, and is not read from while it is a replica")
            }
            Self::SeedsReopened { seeds } => {
                let verb = if *seeds == 1 { "is" } else { "are" };
                write!(
                    f,
                    "no known node can be asked for the topology; {seeds} of the seeds {verb} opened again"
                )
            }
        }
    }
}

/// So many slots, and the verb for them.
struct Slots(usize, &'static str, &'static str);

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(1, verb, _) => write!(f, "1 slot {verb}"),
            Self(slots, _, verb) => write!(f, "{slots} slots {verb}"),
        }
    }
}
