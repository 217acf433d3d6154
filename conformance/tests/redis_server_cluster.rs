//! The cluster of real `redis-server` processes that other tests use; `HITLESS_REDIS_SERVER` names the program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use hitless_conformance::net::redis_cluster::{RedisCluster, Shape};
use hitless_conformance::net::redis_connection::RedisConnection;
use hitless_core::cluster::SLOTS;
use resp3_codec::Frame;

fn start(shape: &Shape) -> RedisCluster {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    RedisCluster::start(Path::new(&program), shape).unwrap()
}

/// The text of the error with which a node refuses a command.
fn refusal(connection: &mut RedisConnection, words: &[&str]) -> String {
    connection.call(words).unwrap_err().to_string()
}

/// Keys of 40 slots of the first node, which hold a value.
fn fill(cluster: &RedisCluster, node: usize) -> Vec<(String, u16)> {
    let mut connection = cluster.connect(node).unwrap();
    let mut keys = Vec::new();
    for number in 0.. {
        let key = format!("key:{number}");
        let slot = cluster.slot_of(&key).unwrap();
        if cluster.primary_of(slot).unwrap() == node {
            connection.call(&["SET", &key, &number.to_string()]).unwrap();
            keys.push((key, slot));
        }
        if keys.len() == 40 {
            break;
        }
    }
    keys
}

#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn six_processes_are_one_cluster_until_they_are_dropped() {
    let cluster = start(&Shape::default());
    assert_eq!(cluster.node_count(), 6);
    assert_eq!(cluster.primaries().unwrap().len(), 3);
    for primary in 0..3 {
        assert_eq!(cluster.replicas_of(primary).unwrap(), [primary + 3]);
    }
    let owners = [0, SLOTS / 2, SLOTS - 1].map(|slot| cluster.primary_of(slot).unwrap());
    assert_eq!(owners, [0, 1, 2]);
    let addresses: Vec<_> = (0..6).map(|node| cluster.address(node)).collect();
    drop(cluster);
    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_err()));
}

#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn slots_move_there_and_back_with_their_keys() {
    let cluster = start(&Shape::default().without_replicas());
    let keys = fill(&cluster, 0);
    let (key, slot) = &keys[0];
    for (from, to) in [(0, 1), (1, 0)] {
        let slots: Vec<u16> = keys.iter().map(|(_, slot)| *slot).collect();
        cluster.reshard(slots, from, to).unwrap();
        for node in 0..3 {
            assert!(cluster.view(node).unwrap().iter().any(|member| {
                member.id == cluster.id(to) && keys.iter().all(|(_, slot)| member.serves(*slot))
            }));
        }
        let mut there = cluster.connect(to).unwrap();
        for (key, _) in &keys {
            let number = key.strip_prefix("key:").unwrap().to_owned();
            assert_eq!(there.call(&["GET", key]).unwrap(), Frame::bulk(number));
        }
        let moved = refusal(&mut cluster.connect(from).unwrap(), &["GET", key]);
        assert_eq!(moved, format!("MOVED {slot} {}", cluster.address(to)));
    }
}

#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_slot_stays_between_two_nodes_until_its_move_is_finished() {
    let cluster = start(&Shape::default().without_replicas());
    let [mut old, mut new] = [2, 0].map(|node| cluster.connect(node).unwrap());
    old.call(&["MSET", "foo", "x", "{foo}2", "y"]).unwrap();
    let mut reshard = cluster.open_slots([cluster.slot_of("foo").unwrap()], 2, 0).unwrap();
    reshard.carry(&["foo", "{foo}3"]).unwrap();
    assert_eq!(refusal(&mut old, &["GET", "foo"]), format!("ASK 12182 {}", cluster.address(0)));
    assert_eq!(old.call(&["GET", "{foo}2"]).unwrap(), Frame::bulk("y"));
    new.call(&["ASKING"]).unwrap();
    assert!(refusal(&mut new, &["MGET", "foo", "{foo}2"]).starts_with("TRYAGAIN "));
    reshard.finish().unwrap();
    let both = Frame::Array(vec![Frame::bulk("x"), Frame::bulk("y")]);
    assert_eq!(new.call(&["MGET", "foo", "{foo}2"]).unwrap(), both);
}

#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_replica_takes_over_when_it_is_told_and_when_its_primary_dies() {
    let cluster = start(&Shape::default().serving_partially().with_node_timeout(Duration::from_secs(3)));
    cluster.connect(0).unwrap().call(&["SET", "{06S}", "x"]).unwrap();

    cluster.failover(3).unwrap();
    assert_eq!(cluster.primary_of(0).unwrap(), 3);
    assert_eq!(cluster.replicas_of(3).unwrap(), [0]);
    assert!(refusal(&mut cluster.connect(0).unwrap(), &["SET", "{06S}", "y"]).starts_with("MOVED 0 "));

    cluster.kill(3);
    // The others go on, because full coverage is not required: `foo` is in slot 12182.
    cluster.connect(2).unwrap().call(&["SET", "foo", "x"]).unwrap();
    assert_eq!(cluster.await_successor(0).unwrap(), 0);
    assert_eq!(cluster.connect(0).unwrap().call(&["GET", "{06S}"]).unwrap(), Frame::bulk("x"));
    assert!(TcpStream::connect(cluster.address(3)).is_err());
}
