//! How often a command allocates, and how much memory a connection takes that does nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use allocation_counter::measure;
use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointId, EndpointSpec, Server, ServerConfig};
use hitless_tokio::cluster::key_slot;
use hitless_tokio::{Client, ClusterClient, Lease, Pipeline, ReadFrom, cmd};
use tokio::runtime::Runtime;

const COMMANDS: u32 = 1000;
/// Connections that do nothing.
const CONNECTIONS: u32 = 100;
/// What one of them may take of the heap.
const IDLE: i64 = 16 << 10;

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
    runtime.block_on(cluster.shutdown(Duration::ZERO));
}

/// Besides the buffer of the command, what its caller waits at is allocated, and nothing else: the reply is a slice of what was read. The tasks of
/// the client run on this thread, and are counted as well. RULE-436
#[test]
fn a_command_is_two_allocations() {
    let (_server, url) = server();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(Client::connect(&url)).unwrap();
    runtime.block_on(client.call(cmd("SET").arg("k").arg("value"))).unwrap();
    let gets = || runtime.block_on(gets_by_node(&client));
    gets();
    let allocations = measure(gets).count_total;
    let both = u64::from(2 * COMMANDS);
    // A block to read into is reused when its last reply is gone, and another one is allocated otherwise.
    assert!((both..both + u64::from(COMMANDS / 20)).contains(&allocations), "{COMMANDS}: {allocations}");
}

/// A connection that has been opened takes little, and one that has carried replies of any size takes little again when nobody has
/// waited for anything for a while. RULE-435
#[test]
fn a_connection_that_does_nothing_takes_little_memory() {
    let (_server, url) = server();
    let opened = held(
        || Client::builder(&url).unwrap().pool_size(CONNECTIONS),
        async |client| {
            assert_eq!(client.stats().serving, CONNECTIONS as usize);
        },
    );

    let used = held(
        || Client::builder(&url).unwrap().pool_size(1),
        async |client| {
            client.call(cmd("SET").arg("large").arg(vec![b'x'; 300_000])).await.unwrap();
            client.call(cmd("SET").arg("k").arg(vec![b'x'; 100])).await.unwrap();
            let mut leases = Vec::new();
            for _ in 0..CONNECTIONS {
                leases.push(client.lease().await.unwrap());
            }
            for lease in &leases {
                use_up(lease).await;
            }
            drop(leases);
            // From here the clock of tokio is virtual: ten seconds pass at once, and every timer rings in its turn.
            tokio::time::pause();
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert_eq!(client.stats().dedicated, CONNECTIONS as usize, "they are still open");
        },
    );
    println!("{opened} bytes for a connection that was opened, {used} for one that was used");
    assert!(
        opened <= IDLE && used <= IDLE,
        "{opened} bytes for a connection that was opened, {used} for one that was used"
    );
}

/// A large reply, a large request, and many small replies at once.
async fn use_up(lease: &Lease) {
    let large = lease.call(cmd("GET").arg("large")).await.unwrap();
    lease.call(cmd("SET").arg("large").arg(large.as_bytes().unwrap())).await.unwrap();
    let gets = (0..COMMANDS).fold(Pipeline::new(), |gets, _| gets.command(cmd("GET").arg("k")));
    assert_eq!(lease.pipeline(gets).await.unwrap().len(), COMMANDS as usize);
}

/// The bytes of the heap for each of the connections, runtime and client included, behind what `use_it` does.
fn held(builder: impl Fn() -> hitless_tokio::Builder, use_it: impl AsyncFnOnce(&Client)) -> i64 {
    let mut kept = None;
    let counts = measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(builder().connect()).unwrap();
        runtime.block_on(use_it(&client));
        kept = Some((client, runtime));
    });
    drop(kept);
    counts.bytes_current / i64::from(CONNECTIONS)
}

fn server() -> (TcpServer<Server>, String) {
    let mut server = Server::new(ServerConfig::default());
    let endpoint = server.add_endpoint(EndpointSpec::loopback());
    let server = TcpServer::start(server).unwrap();
    let url = format!("redis://{}", server.address(endpoint));
    (server, url)
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
