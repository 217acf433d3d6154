//! How processes become a cluster.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use hitless_core::cluster::SLOTS;
use resp3_codec::Frame;

use super::{Directory, Node, RedisCluster, Shape, is_well, until};
use crate::net::redis_connection::{RedisConnection, text};
use crate::net::redis_process::RedisProcess;

/// The time of silence after which a node counts as dead, until all agree that the cluster is well.
const START_TIMEOUT: Duration = Duration::from_millis(1500);

pub(super) fn start(program: &Path, shape: &Shape) -> io::Result<RedisCluster> {
    let directory = Directory::new()?;
    let count = shape.primaries * (1 + shape.replicas);
    let nodes: Vec<Node> =
        (0..count).map(|number| start_node(program, shape, &directory, number)).collect::<io::Result<_>>()?;
    let cluster = RedisCluster { nodes, _directory: directory };
    let mut connections: Vec<RedisConnection> =
        (0..count).map(|node| cluster.connect(node)).collect::<io::Result<_>>()?;
    give_slots(&mut connections[..shape.primaries])?;
    introduce(&cluster, &mut connections)?;
    for (replica, connection) in connections.iter_mut().enumerate().skip(shape.primaries) {
        replicate(connection, cluster.id(replica % shape.primaries))?;
    }
    until("all agree that the cluster is well", || agree(&cluster, &mut connections, shape))?;
    let timeout = shape.node_timeout.as_millis().to_string();
    for connection in &mut connections {
        connection.call(&["CONFIG", "SET", "cluster-node-timeout", &timeout])?;
    }
    Ok(cluster)
}

fn start_node(program: &Path, shape: &Shape, directory: &Directory, number: usize) -> io::Result<Node> {
    let own = directory.part(&number.to_string())?;
    let own = own.to_str().ok_or(ErrorKind::InvalidFilename)?;
    // A cluster that forms waits for this time, up to five seconds, before it is well.
    let timeout = START_TIMEOUT.as_millis().to_string();
    let process = RedisProcess::start_node(
        program,
        &[
            "--dir",
            own,
            "--cluster-node-timeout",
            &timeout,
            "--cluster-require-full-coverage",
            if shape.full_coverage { "yes" } else { "no" },
            // A node that has met nobody does not know its address.
            "--cluster-announce-ip",
            "127.0.0.1",
            // A replica takes over however old its copy is, and keeps the primary that it was given.
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-allow-replica-migration",
            "no",
            // The first copy begins at once.
            "--repl-diskless-sync-delay",
            "0",
        ],
    )?;
    let bus = process.bus().ok_or(ErrorKind::AddrNotAvailable)?;
    let address = process.address();
    let id = text(RedisConnection::dial(address)?.call(&["CLUSTER", "MYID"])?)?;
    Ok(Node { id, address, bus, process: Mutex::new(Some(process)) })
}

/// Shares the slots out evenly, the first ones to the first primary.
fn give_slots(primaries: &mut [RedisConnection]) -> io::Result<()> {
    let count = primaries.len();
    for (at, primary) in primaries.iter_mut().enumerate() {
        // Each its own epoch: nodes that meet with the same one would have to settle that first.
        primary.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()])?;
        let [first, end] = [at, at + 1].map(|part| usize::from(SLOTS) * part / count);
        primary.call(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()])?;
    }
    Ok(())
}

/// Has each node meet all that were started before it, so that nobody has to wait for gossip. The port of the bus is the third
/// argument: nodes of version 7.0 guess it otherwise.
fn introduce(cluster: &RedisCluster, connections: &mut [RedisConnection]) -> io::Result<()> {
    for (number, connection) in connections.iter_mut().enumerate() {
        for other in &cluster.nodes[..number] {
            let [host, port] = host_and_port(other.address);
            connection.call(&["CLUSTER", "MEET", &host, &port, &other.bus.port().to_string()])?;
        }
    }
    Ok(())
}

/// Makes a node a replica, as soon as it knows its primary.
fn replicate(replica: &mut RedisConnection, primary: &str) -> io::Result<()> {
    until("the replica knows its primary", || match replica.call(&["CLUSTER", "REPLICATE", primary]) {
        Ok(_) => Ok(true),
        Err(error) if error.to_string().starts_with("ERR Unknown node") => Ok(false),
        Err(error) => Err(error),
    })
}

/// Whether every node knows all slots and all replicas, and every replica has its copy.
fn agree(cluster: &RedisCluster, connections: &mut [RedisConnection], shape: &Shape) -> io::Result<bool> {
    for (number, connection) in connections.iter_mut().enumerate() {
        let members = cluster.view(number)?;
        let slots: usize = members.iter().map(super::Member::slot_count).sum();
        let replicas = members.iter().filter(|member| member.primary.is_some()).count();
        let knows_all = slots == usize::from(SLOTS)
            && members.len() == cluster.node_count()
            && replicas == shape.primaries * shape.replicas
            && members.iter().all(|member| !member.is_failed);
        let has_copy = number < shape.primaries || is_linked(connection)?;
        if !(knows_all && has_copy && is_well(connection)? && shows_replicas(connection, shape)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_linked(replica: &mut RedisConnection) -> io::Result<bool> {
    let info = text(replica.call(&["INFO", "replication"])?)?;
    Ok(info.lines().any(|line| line == "master_link_status:up"))
}

/// Whether this node tells clients of all replicas. It leaves out a replica that has copied nothing yet.
fn shows_replicas(connection: &mut RedisConnection, shape: &Shape) -> io::Result<bool> {
    let ranges = connection.call(&["CLUSTER", "SLOTS"])?.into_array().unwrap_or_default();
    // The first slot, the last one, the primary, its replicas.
    let is_whole = |range: &Frame| range.as_array().is_some_and(|range| range.len() == 3 + shape.replicas);
    Ok(!ranges.is_empty() && ranges.iter().all(is_whole))
}

/// As two arguments of a command.
pub(super) fn host_and_port(address: SocketAddr) -> [String; 2] {
    [address.ip().to_string(), address.port().to_string()]
}
