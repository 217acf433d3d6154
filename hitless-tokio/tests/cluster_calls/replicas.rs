//! Reads from the replicas of a real cluster.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hitless_conformance::net::redis_cluster::Shape;

use super::{await_led, keys, start, url};
use crate::hitless::{ClusterClient, ReadFrom, cmd};
use crate::{block_on, unblock};

/// Reads are the replicas', and nothing else is; a failover makes the one the other on the connections that are there; a replica that dies is no
/// matter. RULE-405, RULE-408, RULE-410, CLUSTER-22
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn replicas_are_read_from() {
    block_on(async {
        let cluster = start(&Shape::default().serving_partially());
        let builder = ClusterClient::builder([url(&cluster, 0)]).unwrap().read_from(ReadFrom::PreferReplica);
        let client = builder.command_timeout(Duration::from_secs(60)).connect().await.unwrap();
        let address = |node: usize| cluster.address(node).to_string();
        let mut replicas = Vec::new();
        for (primary, key) in keys().into_iter().enumerate() {
            let asked = Arc::clone(&cluster);
            let replica = unblock(move || asked.replicas_of(primary).unwrap()[0]).await;
            set(&client, &key, 0).await;
            // It is read from once it is connected.
            while reads_at(&client, &address(replica)).await == 0 {
                assert_eq!(get(&client, &key).await, Some(0));
            }
            replicas.push(replica);
        }
        let moved = client.stats().moved;
        let mut before = Vec::new();
        for node in 0..6 {
            before.push(reads_at(&client, &address(node)).await);
        }
        for round in 1..=10 {
            for key in keys() {
                set(&client, &key, round).await;
                assert_eq!(get(&client, &key).await, Some(round));
            }
        }
        for (node, before) in before.into_iter().enumerate() {
            let expected = before + if replicas.contains(&node) { 10 } else { 0 };
            assert_eq!(reads_at(&client, &address(node)).await, expected, "node {node}");
        }
        assert_eq!(client.stats().moved, moved);

        let [first, second, _] = keys();
        let (asked, promoted) = (Arc::clone(&cluster), replicas[0]);
        let mut failover = pin!(unblock(move || asked.failover(promoted).unwrap()));
        while poll_fn(|cx| Poll::Ready(failover.as_mut().poll(cx).is_pending())).await {
            assert!(get(&client, &first).await.is_some());
        }
        client.call(cmd("SET").arg(&first).arg(11)).await.unwrap();
        await_led(&client, &first, cluster.address(promoted)).await;
        let before = reads_at(&client, &address(0)).await;
        while reads_at(&client, &address(0)).await == before {
            assert!(get(&client, &first).await.is_some());
        }

        cluster.kill(replicas[1]);
        for _ in 0..500 {
            assert_eq!(get(&client, &second).await, Some(10));
        }
        client.shutdown(Duration::from_secs(1)).await;
    });
}

/// Sets a key, and waits until a replica has it.
async fn set(client: &ClusterClient, key: &str, value: u32) {
    let lease = client.lease(key).await.unwrap();
    lease.call(cmd("SET").arg(key).arg(value)).await.unwrap();
    assert_eq!(lease.query::<u32>(cmd("WAIT").arg(1).arg(0)).await.unwrap(), 1);
}

async fn get(client: &ClusterClient, key: &str) -> Option<u32> {
    client.query(cmd("GET").arg(key)).await.unwrap()
}

/// How many GETs the node at this address has run; 0 if there is no client of it.
async fn reads_at(client: &ClusterClient, address: &str) -> u64 {
    let nodes = client.nodes();
    let Some(node) = nodes.iter().find(|node| node.endpoint().to_string() == address) else { return 0 };
    let stats: String = node.client().query(cmd("INFO").arg("commandstats")).await.unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
}
