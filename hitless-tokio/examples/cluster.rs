//! A cluster: each command finds the node of its keys, and a slot that moves while they are sent costs nothing but a redirect.
//!
//! ```console
//! $ cargo run --example cluster -p hitless-tokio
//! $ cargo run --example cluster -p hitless-tokio -- redis://127.0.0.1:7000
//! ```

use std::{env, io};

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointId, EndpointSpec, Server, ServerConfig};
use hitless_tokio::cluster::key_slot;
use hitless_tokio::{ClusterClient, Error, Pipeline, cmd};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(url) = env::args().nth(1) {
        run(&url, || ()).await?;
        return Ok(());
    }
    let (server, nodes) = three_nodes()?;
    let move_slot = || server.with(|server, now| server.assign_slots(now, [key_slot(b"alice")], nodes[2]));
    run(&format!("redis://{}", server.address(nodes[0])), move_slot).await?;
    Ok(())
}

/// A server that is a cluster of three nodes.
pub(crate) fn three_nodes() -> io::Result<(TcpServer<Server>, [EndpointId; 3])> {
    let mut server = Server::new(ServerConfig::default());
    let nodes = [(); 3].map(|()| server.add_endpoint(EndpointSpec::loopback()));
    server.form_cluster(&nodes);
    Ok((TcpServer::start(server)?, nodes))
}

/// Works on a cluster of which `url` is one server. `move_slot` is called in the midst of it. Says how often a node sent a command away.
pub(crate) async fn run(url: &str, move_slot: impl FnOnce()) -> Result<u64, Error> {
    let client = ClusterClient::connect([url]).await?;

    // One command goes to the node of its key.
    client.call(cmd("SET").arg("{alice}:name").arg("Alice").arg("EX").arg(60)).await?;
    // Keys with the same hash tag, the part in braces, are at one node: they may be in one command, and in one transaction.
    let visit = Pipeline::atomic()
        .command(cmd("INCR").arg("{alice}:visits"))
        .command(cmd("EXPIRE").arg("{alice}:visits").arg(60));
    let (visits, ()): (u64, ()) = client.query_pipeline(visit).await?;
    println!("visit {visits}");

    // A command that is split has keys of any slots, and is not atomic.
    let names: Vec<Option<String>> =
        client.query_split(cmd("MGET").args(["{alice}:name", "{bob}:name"])).await?;
    println!("{names:?}");

    move_slot();

    // So has a pipeline: each node has its part, and the replies are in the order of the commands.
    let (name, length): (String, u64) =
        client.query_pipeline([cmd("GET").arg("{alice}:name"), cmd("STRLEN").arg("{bob}:name")]).await?;
    println!("{name}, and a name of {length} letters");

    // What concerns one node is called there; DBSIZE is asked of all of them.
    for node in client.nodes().iter().filter(|node| node.is_primary()) {
        let keys: u64 = node.client().query(cmd("DBSIZE")).await?;
        println!("{}: {keys} keys", node.endpoint());
    }
    let keys: u64 = client.query(cmd("DBSIZE")).await?;
    println!("all nodes: {keys} keys");
    Ok(client.stats().moved)
}
