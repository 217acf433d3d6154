//! GET through a cluster: the node is found, and its client carries the command.

use std::hint::black_box;
use std::sync::Arc;

use hitless_core::Cluster;
use hitless_core::cluster::{Decision, Route, Settings, Table, route};
use hitless_core::endpoint::Endpoint;
use hitless_core::ids::NodeId;
use resp3_codec::{Command, Frame};

use crate::figures::Work;
use crate::gets::{Gets, get};
use crate::meter::Meter;
use crate::world::World;

/// Commands in a pass.
pub const COMMANDS: usize = 1000;
/// The nodes' ports.
const PORTS: [i64; 3] = [7000, 7001, 7002];
const SLOTS: i64 = 16_384;

/// Finds the node of a command.
pub fn route_gets() -> Work {
    let table = table();
    let command = get();
    Box::new(move |meter| {
        let found = meter.part(|| (0..COMMANDS).filter_map(|_| find(&table, black_box(&command))).count());
        assert_eq!(found, COMMANDS, "all slots are served");
    })
}

/// Finds the node of each command, and has its client carry the command.
pub fn gets() -> Work {
    let table = table();
    let mut gets = Gets::new();
    Box::new(move |meter| {
        meter.part(|| gets.pass(&mut Meter::off(), |command| _ = black_box(find(&table, command))));
    })
}

fn find(table: &Table, command: &Command) -> Option<NodeId> {
    match route(command) {
        Route::Slot(slot) => table.node_of(slot),
        _ => None,
    }
}

/// That of three shards, as the machine makes it out of an answer to CLUSTER SLOTS.
fn table() -> Arc<Table> {
    let seed = Endpoint::parse("10.0.0.1:7000", 7000).expect("an address");
    let mut cluster = Cluster::new(Settings::default(), vec![seed], 1);
    let now = World::new(1).now;
    cluster.handle_start(now);
    while let Some(decision) = cluster.poll_decision() {
        match decision {
            Decision::Open { node, .. } => cluster.handle_node_ready(now, node),
            Decision::AskTopology { query, .. } => cluster.handle_topology(now, query, &topology()),
            _ => {}
        }
    }
    Arc::clone(cluster.table())
}

fn topology() -> Frame {
    let shard = |(at, port): (usize, &i64)| {
        let (shards, at) = (PORTS.len() as i64, at as i64);
        let ends = [SLOTS * at / shards, SLOTS * (at + 1) / shards - 1].map(Frame::Integer);
        let node = vec![Frame::bulk("10.0.0.1"), Frame::Integer(*port), Frame::bulk(format!("node-{port}"))];
        Frame::Array(ends.into_iter().chain([Frame::Array(node)]).collect())
    };
    Frame::Array(PORTS.iter().enumerate().map(shard).collect())
}
