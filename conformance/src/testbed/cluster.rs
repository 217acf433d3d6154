//! A server that is a cluster, and a client of it.

use std::panic::resume_unwind;
use std::time::Duration;

use hitless_core::cluster::{ClusterEvent, ClusterStats, ReadFrom, key_slot};
use hitless_core::config::ConfigBuilder;
use hitless_core::endpoint::Endpoint;
use hitless_core::error::ConnectError;
use resp3_codec::{Command, Frame};

use super::{Declined, SECOND, Testbed, maintenance, set};
use crate::server::{EndpointId, Event};
use crate::world::{ClusterSettings, ClusterWorld, Holder, Host, Ticket};

/// A key of each node: of `a`, `b` and `c`.
pub const KEYS: [&str; 3] = ["bar", "k", "foo"];
/// Without a reason nobody reads the topology while a case lasts, unless it says otherwise.
const NEVER: Duration = Duration::from_secs(24 * 3600);

impl Testbed {
    /// A cluster of `a`, `b` and `c`, and an endpoint that is no node.
    #[must_use]
    pub fn cluster(host: &dyn Host) -> Self {
        Self::builder(host).cluster().build()
    }

    /// The endpoint that is no node at first.
    ///
    /// # Panics
    /// If the server is no cluster.
    #[must_use]
    pub fn spare(&self) -> EndpointId {
        self.spare.expect("the server is a cluster")
    }

    /// Settings of a client that knows these nodes, with a connection to each node and short times.
    pub fn cluster_settings(&mut self, seeds: &[EndpointId]) -> ClusterSettings {
        let addresses: Vec<String> = seeds.iter().map(|seed| self.address(*seed).to_string()).collect();
        self.cluster_settings_of(&addresses)
    }

    /// The same for seeds by their names.
    #[must_use]
    pub fn cluster_settings_of(&self, seeds: &[String]) -> ClusterSettings {
        let url = format!("redis://{}", seeds.join("&addr=").replacen('&', "?", 1));
        let nodes = ConfigBuilder::from_url(&url).expect("a list of addresses");
        let nodes = nodes
            .pool_size(1)
            .connect_timeout(Some(SECOND))
            .command_timeout(Some(self.command_timeout()))
            .maintenance(maintenance(|settings| settings));
        #[cfg(feature = "tls")]
        let nodes = match &self.tls {
            Some(tls) => nodes.tls(tls.clone()),
            None => nodes,
        };
        ClusterSettings {
            nodes,
            refresh_interval: NEVER,
            read_from: ReadFrom::default(),
            address_map: Vec::new(),
        }
    }

    /// Opens the client; declines the case where there is none of a cluster.
    ///
    /// # Errors
    /// No seed has answered.
    pub fn try_connect_cluster(&mut self, settings: ClusterSettings) -> Result<(), ConnectError> {
        let connected = self.world.connect_cluster(settings);
        connected.unwrap_or_else(|reason| resume_unwind(Box::new(Declined(reason.to_owned()))))
    }

    /// Opens the client, which must succeed, and waits until all three nodes are connected.
    pub fn connect_cluster_with(&mut self, settings: ClusterSettings) {
        let result = self.try_connect_cluster(settings);
        assert_eq!(result, Ok(()), "the client connects");
        self.run_until_soon("all nodes are connected", |bed| bed.cluster_stats().nodes_ready >= 3);
        // What is known from now on is newer than what was read at the start.
        self.run_for(Duration::from_millis(2));
    }

    /// Opens the client with the usual settings, of which `a` is the only seed.
    pub fn connect_cluster(&mut self) {
        let settings = self.cluster_settings(&[self.a]);
        self.connect_cluster_with(settings);
    }

    /// The figures of the cluster.
    pub fn cluster_stats(&mut self) -> ClusterStats {
        self.of_cluster().stats()
    }

    /// How many times the client was told MOVED.
    pub fn moved(&mut self) -> u64 {
        self.cluster_stats().moved
    }

    /// How many times the client has asked for the topology.
    pub fn reads(&mut self) -> u64 {
        self.cluster_stats().topology_reads
    }

    /// What was said of the cluster so far.
    pub fn cluster_events(&mut self) -> Vec<ClusterEvent> {
        self.of_cluster().events().iter().map(|(_, event)| event.clone()).collect()
    }

    /// Whether the client sends what has this key to this node.
    pub fn leads_to(&mut self, key: &str, node: EndpointId) -> bool {
        let there = self.endpoint_of(node);
        self.of_cluster().node_for(key) == Some(there)
    }

    /// Where the nodes are to which the client has connections, as it names them.
    pub fn endpoints(&mut self) -> Vec<Endpoint> {
        self.of_cluster().nodes()
    }

    /// How many nodes the client has connections to.
    pub fn open_nodes(&mut self) -> usize {
        self.endpoints().len()
    }

    /// The address of a node, as the client names it.
    pub fn endpoint_of(&mut self, node: EndpointId) -> Endpoint {
        let address = self.address(node);
        Endpoint::Tcp { host: address.ip().into(), port: address.port() }
    }

    /// Sends a command whose keys may have several slots, to be split.
    pub fn send_split(&mut self, command: Command) -> Ticket {
        self.of_cluster().send_split(command)
    }

    /// Waits for a lease at the node of `key`, which must come.
    pub fn lease_for(&mut self, key: &str) -> Holder {
        self.lends = true;
        let holder = self.of_cluster().lease_for(key);
        self.run_until_soon("the lease is there", |bed| bed.lease_state(holder).outcome.is_some());
        assert_eq!(self.lease_state(holder).outcome, Some(Ok(())));
        holder
    }

    /// Writes a key of each node.
    pub fn set_each(&mut self) {
        for key in KEYS {
            assert_eq!(self.call(set(key, "x")), Frame::simple("OK"), "{key}");
        }
    }

    /// Gives slots to a node, and tells nobody.
    pub fn give(&mut self, slots: impl IntoIterator<Item = u16>, to: EndpointId) {
        self.server(|server, now| server.assign_slots(now, slots, to));
    }

    /// The names of the commands that applications have sent to a node, in order, ASKING included.
    pub fn received_at(&mut self, node: EndpointId) -> Vec<String> {
        self.server(|server, _| {
            let entries = server.ledger().entries().iter().filter(|entry| entry.endpoint == node);
            let names = entries.filter_map(|entry| match &entry.event {
                Event::Received(request) if !request.is_handshake() => {
                    Some(String::from_utf8_lossy(request.name()).into_owned())
                }
                _ => None,
            });
            names.filter(|name| name != "CLUSTER").collect()
        })
    }

    /// The nodes at which requests that begin with these words have arrived, in order.
    pub fn nodes_of(&mut self, words: &str) -> Vec<EndpointId> {
        self.arrivals(words).into_iter().map(|(node, _)| node).collect()
    }

    pub(super) fn cluster_history(&mut self) -> String {
        let Some(cluster) = self.world.cluster() else { return String::new() };
        let Some((start, _)) = cluster.events().first() else { return String::new() };
        let lines = cluster.events().iter().map(|(at, event)| format!("{:>12?} {event}\n", *at - *start));
        format!("{:#?}\n{}", cluster.stats(), lines.collect::<String>())
    }

    fn of_cluster(&mut self) -> &mut dyn ClusterWorld {
        self.world.cluster().expect("connect to the cluster first")
    }
}

/// The slot of a key.
#[must_use]
pub fn slot(key: &str) -> u16 {
    key_slot(key.as_bytes())
}

/// So many keys, each of another slot in this range.
pub fn keys_in(slots: std::ops::RangeInclusive<u16>, count: usize) -> Vec<String> {
    let keys = (0..).map(|number| format!("key:{number}"));
    let mut seen = std::collections::BTreeSet::new();
    keys.filter(|key| slots.contains(&slot(key)) && seen.insert(slot(key))).take(count).collect()
}
