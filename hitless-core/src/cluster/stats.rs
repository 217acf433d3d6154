//! What the cluster machine has seen so far, in figures.

/// Figures of a [`Cluster`](super::Cluster): counters grow from 0, gauges are of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Nodes that are known, open or not. A gauge.
    pub nodes: usize,
    /// Nodes that can take requests. A gauge.
    pub nodes_ready: usize,
    /// Slots that nobody is known to serve. A gauge.
    pub uncovered: usize,
    /// MOVED replies.
    pub moved: u64,
    /// ASK replies.
    pub ask: u64,
    /// Requests that had to wait: TRYAGAIN, CLUSTERDOWN and their like, and nodes without a connection.
    pub waited: u64,
    /// Questions for the topology.
    pub topology_reads: u64,
    /// Those without an answer that could be used.
    pub topology_failures: u64,
}
