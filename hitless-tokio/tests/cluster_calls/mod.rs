//! What applications call at a cluster client, with real `redis-server` processes.

mod replicas;
mod sharded;

use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hitless_conformance::net::redis_cluster::{RedisCluster, Shape};
use hitless_conformance::net::redis_process::RedisProcess;

use crate::hitless::cluster::{SLOTS, key_slot};
use crate::hitless::pubsub::Item;
use crate::hitless::{Client, ClusterClient, Error, Frame, Pipeline, Replay, Request, RouteError, cmd};
use crate::{block_on, spawn, unblock};

/// Longest time for one test, on a machine that is busy with others.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

fn program() -> std::ffi::OsString {
    std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program")
}

fn start(shape: &Shape) -> Arc<RedisCluster> {
    Arc::new(RedisCluster::start(Path::new(&program()), shape).unwrap())
}

fn url(cluster: &RedisCluster, node: usize) -> String {
    format!("redis://{}", cluster.address(node))
}

/// A key in each third of the slots, so that each node has one.
fn keys() -> [String; 3] {
    [0, 1, 2].map(|third| {
        let is_there = |key: &String| usize::from(key_slot(key.as_bytes())) * 3 / usize::from(SLOTS) == third;
        (0..).map(|number| format!("key:{number}")).find(is_there).unwrap()
    })
}

/// Everything that a client of one server does, by one node's address. RULE-360, RULE-363
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn commands_find_their_nodes() {
    block_on(async {
        let cluster = start(&Shape::default().without_replicas());
        let client = ClusterClient::connect([url(&cluster, 1)]).await.unwrap();
        for key in keys() {
            client.call(cmd("SET").arg(&key).arg(&key)).await.unwrap();
            let node = client.node_for(&key).unwrap();
            let there: String = node.client().query(cmd("GET").arg(&key)).await.unwrap();
            assert_eq!(there, key, "the value is on the node that the client names");
        }
        assert_eq!(client.nodes().len(), 3);
        assert_eq!(client.query::<u64>(cmd("DBSIZE")).await.unwrap(), 3);
        assert_eq!(client.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));

        let gets: Pipeline = keys().map(|key| cmd("GET").arg(key)).into();
        assert_eq!(client.query_pipeline::<Vec<String>>(gets).await.unwrap(), keys());

        let batch = Pipeline::atomic().command(cmd("INCR").arg("{n}1")).command(cmd("INCR").arg("{n}2"));
        assert_eq!(client.query_pipeline::<(u32, u32)>(batch).await.unwrap(), (1, 1));
        assert_eq!(client.stats().moved, 0, "{:?}", client.stats());

        let across = client.call(cmd("MGET").args(keys())).await.unwrap_err();
        assert!(matches!(&across, Error::Route(RouteError::CrossSlot { .. })), "{across:?}");
        let of_a_node = client.call(cmd("INFO")).await.unwrap_err();
        assert!(matches!(&of_a_node, Error::Route(RouteError::NeedsNode { .. })), "{of_a_node:?}");
        client.shutdown(Duration::from_secs(1)).await;
    });
}

/// A server that is none of a cluster says so, and so does the plain client of one that is. RULE-362
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn the_wrong_client_says_which_is_right() {
    block_on(async {
        let single = RedisProcess::start(Path::new(&program()), &[]).unwrap();
        let error = ClusterClient::connect([format!("redis://{}", single.address())]).await.unwrap_err();
        assert!(matches!(error, Error::Topology { .. }), "{error:?}");
        assert!(error.to_string().contains("single server"), "{error}");

        let cluster = start(&Shape::default().without_replicas());
        let client = Client::connect(&url(&cluster, 0)).await.unwrap();
        for key in keys() {
            match client.call(cmd("GET").arg(&key)).await {
                Ok(frame) => assert!(frame.is_null()),
                Err(error) => assert!(error.to_string().contains("ClusterClient"), "{error}"),
            }
        }
    });
}

/// Keys of several slots are split where the caller says so. RULE-367
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn commands_over_several_slots_are_split_on_demand() {
    block_on(async {
        let cluster = start(&Shape::default().without_replicas());
        let client = ClusterClient::connect([url(&cluster, 2)]).await.unwrap();
        let [a, b, c] = &keys();
        client.call_split(cmd("MSET").args([a, "1", b, "2"])).await.unwrap();
        let values = client.call_split(cmd("MGET").args([b, c, a])).await.unwrap();
        assert_eq!(values, Frame::Array(vec![Frame::bulk("2"), Frame::Null, Frame::bulk("1")]));
        assert_eq!(client.call_split(cmd("DEL").args(keys())).await.unwrap(), Frame::Integer(2));
        let other = client.call_split(cmd("SINTER").args(keys())).await.unwrap_err();
        assert!(matches!(other, Error::Route(RouteError::NotSplit)), "{other:?}");
    });
}

/// Leases, transactions, commands that block and subscriptions find the node of their keys, also when it is another one by then. RULE-368, RULE-369
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn what_has_a_connection_of_its_own_follows_its_slot() {
    block_on(async {
        let cluster = start(&Shape::default().without_replicas());
        let client = ClusterClient::connect([url(&cluster, 0)]).await.unwrap();
        let key = &keys()[0];
        let queue = format!("{{{key}}}queue");
        let mut news = client.ssubscribe([key.as_bytes()]).await.unwrap();
        let mut all = client.subscribe([key.as_str()]).await.unwrap();
        let lease = client.lease(key).await.unwrap();
        lease.call(cmd("SET").arg(key).arg(1)).await.unwrap();
        let popper = spawn({
            let (client, queue) = (client.clone(), queue.clone());
            async move { client.query::<(String, String)>(cmd("BLPOP").arg(&queue).arg(20)).await }
        });
        await_blocked(&client, key, 1).await;

        move_slot(&cluster, key_slot(key.as_bytes()), 1).await;

        let moved = lease.call(cmd("GET").arg(key)).await.unwrap_err();
        assert!(moved.to_string().starts_with("MOVED"), "{moved}");
        drop(lease);
        // The table of this client may still lead to the node of before.
        let replies = client
            .transaction([key], |lease| async move {
                let before: u64 = lease.query(cmd("GET").arg(key)).await?;
                Ok(Some(Pipeline::from([cmd("SET").arg(key).arg(before + 1)])))
            })
            .await
            .unwrap();
        assert_eq!(replies, Some(vec![Frame::simple("OK")]));
        await_led(&client, key, cluster.address(1)).await;
        let lease = client.lease(key).await.unwrap();
        assert_eq!(lease.query::<u64>(cmd("GET").arg(key)).await.unwrap(), 2);

        client.call(cmd("RPUSH").arg(&queue).arg("x")).await.unwrap();
        assert_eq!(popper.await.unwrap(), (queue, "x".to_owned()));

        // It is subscribed to at the new node once it says that messages may be missing.
        loop {
            let item = news.next().await.unwrap();
            assert!(matches!(item, Item::Gap { .. }), "{item:?}");
            let receivers: u64 = client.query(cmd("SPUBLISH").arg(key).arg("news")).await.unwrap();
            if receivers > 0 {
                break;
            }
        }
        while let Some(item) = news.next().await {
            if let Some(message) = item.into_message() {
                assert_eq!(message.payload, "news");
                break;
            }
        }
        client.call(cmd("PUBLISH").arg(key).arg("all")).await.unwrap();
        assert_eq!(all.next().await.unwrap().into_message().unwrap().payload, "all");
    });
}

/// XREAD that waits for what comes from now on would miss what comes while it is under way to the next node: the redirect is its reply. One that
/// says behind which entry waits there. RULE-232
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_read_from_now_on_does_not_leave_its_node_in_silence() {
    block_on(async {
        let cluster = start(&Shape::default().without_replicas());
        let client = ClusterClient::connect([url(&cluster, 0)]).await.unwrap();
        let stream = format!("{{{}}}stream", keys()[0]);
        let read = |after: &str| {
            let client = client.clone();
            let command = cmd("XREAD").args(["BLOCK", "0", "STREAMS", stream.as_str(), after]);
            spawn(async move { client.call(command).await })
        };
        let add = cmd("XADD").args([stream.as_str(), "*", "field", "value"]);
        let (from_now, all) = (read("$"), read("0-0"));
        await_blocked(&client, &stream, 2).await;
        move_slot(&cluster, key_slot(stream.as_bytes()), 1).await;
        let error = from_now.await.unwrap_err();
        assert!(matches!(&error, Error::Server(error) if error.code() == "MOVED"), "{error:?}");
        client.call(add).await.unwrap();
        assert!(!all.await.unwrap().is_null());
    });
}

async fn move_slot(cluster: &Arc<RedisCluster>, slot: u16, to: usize) {
    let cluster = Arc::clone(cluster);
    let work = move || {
        let from = cluster.primary_of(slot).unwrap();
        cluster.reshard([slot], from, to).unwrap();
    };
    unblock(work).await;
}

/// A replica takes over from a living primary, and from one that was killed: callers wait for it. Messages come from another node then,
/// and the gap is told. RULE-371, RULE-372
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn failovers_are_waited_for() {
    block_on(async {
        let shape = Shape::default().serving_partially().with_node_timeout(Duration::from_secs(3));
        let cluster = start(&shape);
        let builder = ClusterClient::builder([url(&cluster, 0)]).unwrap();
        let client = builder.command_timeout(Duration::from_secs(60)).connect().await.unwrap();
        set_all(&client, 1).await;

        let asked = Arc::clone(&cluster);
        let mut failover = pin!(unblock(move || asked.failover(3).unwrap()));
        while poll_fn(|cx| Poll::Ready(failover.as_mut().poll(cx).is_pending())).await {
            set_all(&client, 2).await;
        }
        set_all(&client, 3).await;
        let key = &keys()[0];
        await_led(&client, key, cluster.address(3)).await;
        // It comes from the node that serves the slot of its name.
        let mut subscription = client.subscribe([key.as_str()]).await.unwrap();

        cluster.kill(3);
        set_all(&client, 4).await;
        await_led(&client, key, cluster.address(0)).await;

        let gap = subscription.next().await.unwrap();
        assert!(matches!(gap, Item::Gap { .. }), "{gap:?}");
        client.call(cmd("PUBLISH").arg(key).arg("behind the gap")).await.unwrap();
        let message = subscription.next().await.unwrap().into_message().unwrap();
        assert_eq!(message.payload, "behind the gap");
    });
}

/// Sets a key of each node, and reads it back.
async fn set_all(client: &ClusterClient, value: u32) {
    for key in keys() {
        let set = Request::command(cmd("SET").arg(&key).arg(value)).unwrap();
        // The link of a node that is killed may have taken it already.
        let replies = client.request(set.replay(Replay::Idempotent)).await.unwrap();
        assert_eq!(replies[0], Frame::simple("OK"));
        assert_eq!(client.query::<u32>(cmd("GET").arg(&key)).await.unwrap(), value);
    }
}

/// Typed commands, pipelines and transactions of the `redis` crate go to the nodes of their keys. RULE-373
#[cfg(feature = "redis-rs")]
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn typed_commands_find_their_nodes() {
    use redis::{AsyncCommands as _, ErrorKind, ServerErrorKind};

    block_on(async {
        let cluster = start(&Shape::default().without_replicas());
        let mut con = ClusterClient::connect([url(&cluster, 0)]).await.unwrap();
        let [a, b, c] = &keys();
        for (key, value) in [(a, 1), (b, 2), (c, 3)] {
            let () = con.set(key, value).await.unwrap();
        }
        let all: (u32, u32, u32) = redis::pipe().get(a).get(b).get(c).query_async(&mut con).await.unwrap();
        assert_eq!(all, (1, 2, 3));
        let mut batch = redis::pipe();
        batch.atomic().incr(a, 1).get(a);
        assert_eq!(batch.query_async::<(u32, u32)>(&mut con).await.unwrap(), (2, 2));
        let across = con.mget::<_, Vec<u32>>(&[a, b]).await.unwrap_err();
        assert_eq!(across.kind(), ErrorKind::from(ServerErrorKind::CrossSlot));
        let () = redis::cmd("SET").arg(b).arg(9).set_no_response(true).query_async(&mut con).await.unwrap();
        assert_eq!(con.get::<_, u32>(b).await.unwrap(), 9);
    });
}

/// Waits until so many clients are blocked at the node that serves `key`: the server says so, since a command that the client has accepted may not
/// have come there yet.
async fn await_blocked(client: &ClusterClient, key: &str, count: usize) {
    let node = client.node_for(key).unwrap();
    let line = format!("blocked_clients:{count}");
    loop {
        let info: String = node.client().query(cmd("INFO").arg("clients")).await.unwrap();
        if info.lines().any(|found| found == line) {
            break;
        }
    }
}

/// Waits until the client sends what has `key` to the node at `address`. The caller whose command was sent on may be told before others know.
async fn await_led(client: &ClusterClient, key: &str, address: SocketAddr) {
    while client.node_for(key).is_none_or(|node| node.endpoint().to_string() != address.to_string()) {
        yield_now().await;
    }
}

/// Lets other tasks run.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
