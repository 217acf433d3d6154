//! How often a command allocates on its way through the client of a cluster.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::measure;
use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointId, EndpointSpec, Server, ServerConfig};
use hitless_tokio::cluster::key_slot;
use hitless_tokio::{Client, ClusterClient, ReadFrom, cmd};
use tokio::runtime::Runtime;

const COMMANDS: u32 = 1000;

/// A command to a cluster allocates as often as one to a single node, at the same client of that node: nothing is allocated to find it. RULE-311
#[test]
fn the_way_through_a_cluster_client_allocates_nothing() {
    let (server, nodes, _) = servers();
    let runtime = runtime();
    let url = format!("redis://{}", server.address(nodes[0]));
    let cluster = runtime.block_on(ClusterClient::connect([url])).unwrap();
    let node = cluster.node_for("k").unwrap().client().clone();
    compare(&runtime, &cluster, &node);
}

/// Nor to find a replica. RULE-311, RULE-405
#[test]
fn the_way_to_a_replica_allocates_nothing() {
    let (server, nodes, replica) = servers();
    let runtime = runtime();
    let url = format!("redis://{}", server.address(nodes[0]));
    let builder = ClusterClient::builder([url]).unwrap().read_from(ReadFrom::PreferReplica);
    let cluster = runtime.block_on(builder.connect()).unwrap();
    // It is read from once it is connected.
    while cluster.stats().nodes_ready < 4 {
        runtime.block_on(cluster.call(cmd("GET").arg("k"))).unwrap();
    }
    let address = server.address(replica).to_string();
    let replica = cluster.nodes().into_iter().find(|node| node.endpoint().to_string() == address).unwrap();
    compare(&runtime, &cluster, replica.client());
}

/// Three nodes, and a replica of the one that has the key.
fn servers() -> (TcpServer<Server>, Vec<EndpointId>, EndpointId) {
    let mut server = Server::new(ServerConfig::default());
    let nodes: Vec<_> = (0..3).map(|_| server.add_endpoint(EndpointSpec::loopback())).collect();
    server.form_cluster(&nodes);
    let replica = server.add_endpoint(EndpointSpec::loopback());
    server.add_replica(replica, server.slot_owner(key_slot(b"k")).unwrap());
    (TcpServer::start(server).unwrap(), nodes, replica)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The same commands through the client of the cluster, and at that of the node to which it sends them.
fn compare(runtime: &Runtime, cluster: &ClusterClient, node: &Client) {
    let by_node = || runtime.block_on(gets_by_node(node));
    let by_cluster = || runtime.block_on(gets_by_cluster(cluster));
    // Buffers and tables reach the size that they keep.
    by_node();
    by_cluster();
    let [of_node, of_cluster] = [measure(by_node), measure(by_cluster)].map(|counts| counts.count_total);
    assert!(
        of_node >= u64::from(COMMANDS),
        "{of_node} allocations by {COMMANDS} commands: they were not counted"
    );
    let tolerated = of_node + u64::from(COMMANDS / 10);
    assert!(of_cluster <= tolerated, "{COMMANDS} commands: {of_cluster} allocations, {of_node} at the node");
    runtime.block_on(cluster.shutdown(std::time::Duration::ZERO));
}

async fn gets_by_node(client: &Client) {
    for _ in 0..COMMANDS {
        client.call(cmd("GET").arg("k")).await.unwrap();
    }
}

async fn gets_by_cluster(client: &ClusterClient) {
    for _ in 0..COMMANDS {
        client.call(cmd("GET").arg("k")).await.unwrap();
    }
}
