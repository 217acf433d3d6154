//! What the cluster machine is told of requests, and what it says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use resp3_codec::{Command, cmd};

use super::event::ClusterEvent;
use super::table::Table;
use crate::endpoint::Endpoint;
use crate::ids::{NodeId, QueryId};

/// What the machine wants done. To be obeyed in the order in which they are said.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// Open a client to this node. Answer with [`handle_node_ready`](super::Cluster::handle_node_ready) once it can take
    /// requests, and with [`handle_node_failed`](super::Cluster::handle_node_failed) when it cannot. Requests that are to go there
    /// meanwhile wait in its client.
    ///
    /// Said again, after pauses that grow, for a node that has failed; an owner whose client of that node goes on trying by
    /// itself has nothing to do then. A name is to be looked up anew each time.
    Open {
        /// Which.
        node: NodeId,
        /// Where it is.
        endpoint: Endpoint,
        /// The name that the cluster gives for a node which it announces by its address: what its certificate may be valid for.
        hostname: Option<Arc<str>>,
    },
    /// This node, known by its id, is somewhere else now: open a client there in the place of the one that it has, which is then
    /// to be closed as for [`Close`](Self::Close). Answered like [`Open`](Self::Open); what becomes known of the old client
    /// from now on is not to be told any more, because it would be taken for something of the new one.
    Retarget {
        /// Which.
        node: NodeId,
        /// Where it is now.
        endpoint: Endpoint,
        /// As in [`Open`](Self::Open).
        hostname: Option<Arc<str>>,
    },
    /// This node's connections have followed a MOVING to this address, and the cluster has confirmed it: later dials should go
    /// there. What is connected stays as it is.
    Readdress {
        /// Which.
        node: NodeId,
        /// Where it is now.
        endpoint: Endpoint,
    },
    /// Nothing leads to this node any more: close its client gracefully, so that what was written there is answered. While the
    /// cluster still lists it, as a replica for instance, it may be opened again under the same id.
    Close {
        /// Which.
        node: NodeId,
    },
    /// Send this request to this node, over a connection that there is, and hand in the reply, whatever it is
    /// ([`handle_topology`](super::Cluster::handle_topology)), or say that there is none
    /// ([`handle_topology_failed`](super::Cluster::handle_topology_failed)).
    AskTopology {
        /// What the answer is to.
        query: QueryId,
        /// Whom to ask.
        node: NodeId,
        /// What to ask for.
        request: TopologyRequest,
    },
    /// Route by this table from now on. All of its nodes were opened before, but for replicas where they
    /// [are not](super::SettingsBuilder::open_replicas).
    SwapTable(Arc<Table>),
    /// Tell whoever listens.
    Emit(ClusterEvent),
}

/// What to ask a node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TopologyRequest {
    /// `CLUSTER SLOTS`, which every server knows.
    Slots,
    /// `CLUSTER SHARDS`, where a server refuses the other.
    Shards,
}

impl TopologyRequest {
    /// As a command.
    #[must_use]
    pub fn command(self) -> Command {
        cmd("CLUSTER").arg(match self {
            Self::Slots => "SLOTS",
            Self::Shards => "SHARDS",
        })
    }
}

/// A request, as the machine has to know it when a node did not run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The node that it was sent to; `None` if nobody serves its slot.
    pub node: Option<NodeId>,
    /// The slot of its keys; `None` without keys.
    pub slot: Option<u16>,
    /// When it was handed to that node's client, this time.
    pub sent_at: Instant,
    /// Whether ASKING went ahead of it.
    pub asking: bool,
    /// When its caller stops waiting; `None` for one who waits for ever.
    pub deadline: Option<Instant>,
    /// What kind of request it is.
    pub kind: SentKind,
    /// Which way it has come so far: that of the last [`Next`], and the default for one that is sent for the first time.
    pub trail: Trail,
}

/// What kind of request was not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SentKind {
    /// A command, or one of a pipeline that is not atomic.
    #[default]
    Command,
    /// A script or a function: what looks like a refusal may be what the script says, after it has written. Only what is word for
    /// word what a server says of this slot counts.
    Script,
    /// MULTI .. EXEC, as a whole.
    Atomic,
    /// A [read](super::only_reads) that was sent to a replica ([`Table::replica_for`]). The primary runs what the replica does not, so it is a
    /// `Command` from then on.
    Read,
}

/// Which way a request has come: how many times it was redirected, and how many times it has paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trail {
    pub(super) redirects: u32,
    pub(super) pauses: u32,
}

/// What becomes of a request that a node did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Send it to this node.
    Resend {
        /// Which. It may be one that a [`Decision::Open`] of this very moment is about: obey what was decided before you follow
        /// this. If it is gone by then, say [`handle_unsent`](super::Cluster::handle_unsent).
        node: NodeId,
        /// Whether to write ASKING ahead of it, in one piece with it.
        asking: bool,
        /// After this pause; often 0.
        after: Duration,
        /// For [`Sent::trail`].
        trail: Trail,
    },
    /// Route it like a new request, by the table that is the newest then, and without ASKING. If nobody serves its slot, say
    /// [`handle_unsent`](super::Cluster::handle_unsent).
    Route {
        /// After this pause; often 0. It may end early when a new table comes that leads its slot elsewhere.
        after: Duration,
        /// For [`Sent::trail`].
        trail: Trail,
    },
    /// Give the caller what there is: the error reply, or that it was not sent.
    ReturnToCaller,
}
