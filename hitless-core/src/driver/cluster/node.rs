//! One node of a cluster, for what concerns it alone.

use std::fmt;

use super::super::handle::Client;
use super::super::traits::Runtime;
use crate::endpoint::Endpoint;
use crate::ids::NodeId;

/// One node of a cluster, as it is known now. It does not keep the cluster client open, and its client is shut down when the node leaves: ask for it
/// anew each time.
pub struct Node<R: Runtime> {
    pub(super) id: NodeId,
    pub(super) endpoint: Endpoint,
    pub(super) client: Client<R>,
    pub(super) is_primary: bool,
}

impl<R: Runtime> Node<R> {
    /// Its number in events. It stays the same when the node gets another address.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where it is: where the topology says, or where a MOVING that was heard later has led.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it served slots when [`nodes`](super::ClusterClient::nodes) or [`node_for`](super::ClusterClient::node_for) returned it. Replicas do
    /// not, nor, for a while, do servers that were named at the start and primaries that have lost their slots.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.is_primary
    }

    /// The client of this node alone. It knows nothing of the cluster: MOVED is an error there, and so is everything that happens while the node
    /// is away ([`WhenDisconnected::Fail`](crate::config::WhenDisconnected::Fail)). It is shut down when the node leaves the cluster.
    #[must_use]
    pub fn client(&self) -> &Client<R> {
        &self.client
    }
}

impl<R: Runtime> Clone for Node<R> {
    fn clone(&self) -> Self {
        Self { endpoint: self.endpoint.clone(), client: self.client.clone(), ..*self }
    }
}

impl<R: Runtime> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("endpoint", &self.endpoint)
            .field("is_primary", &self.is_primary)
            .finish_non_exhaustive()
    }
}
