//! Subscriptions to a real `redis-server` behind endpoints that move.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hitless_conformance::net::front::{self, Front};
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::server::{EndpointSpec, Moving, ServerConfig, ServerMachine, Target};

use crate::block_on;
use crate::hitless::pubsub::Item;
use crate::hitless::{Client, Mode, Peer, Protocol, Topic, cmd, maintenance};

/// The connections move so often.
const MOVES: usize = 10;

fn start(endpoints: usize) -> (RedisProcess, Front) {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let redis = RedisProcess::start(Path::new(&program), &[]).unwrap();
    let specs = std::iter::repeat_with(EndpointSpec::loopback).take(endpoints);
    let front = front::start(ServerConfig::default(), redis.address(), specs).unwrap();
    (redis, front)
}

fn topics() -> [Topic; 3] {
    [Topic::from("ch"), Topic::pattern("c?"), Topic::sharded("ch")]
}

/// Messages of a channel, a pattern and a sharded channel, published without a pause while the connection moves from node to node: each is
/// received once, in order. INV-19, PITFALL-14, RULE-260
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn moves_lose_and_repeat_nothing() {
    block_on(async {
        let (redis, front) = start(MOVES + 1);
        let endpoints = front.with(|server, _| server.endpoints());
        let url = format!("redis://{}", front.address(endpoints[0]));
        let builder = Client::builder(&url).unwrap().pool_size(1).subscription_capacity(10_000_000);
        let client = builder.connect().await.unwrap();
        let mut subscription = client.subscribe(topics()).await.unwrap();
        let publisher = Client::connect(&format!("redis://{}", redis.address())).await.unwrap();

        let mut count = 0_u64;
        for pair in endpoints.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let moving = Moving::new(Target::Endpoint(to), Duration::from_secs(30));
            front.with(|server, now| server.moving(now, from, moving));
            let there = Peer::from(front.address(to));
            loop {
                let both = ["PUBLISH", "SPUBLISH"].map(|name| cmd(name).arg("ch").arg(count));
                publisher.pipeline(both).await.unwrap();
                count += 1;
                let connections = client.stats().coordinator.connections;
                if connections.get(&there) == Some(&2) && connections.len() == 1 {
                    break;
                }
            }
        }

        let mut next: BTreeMap<Topic, u64> = topics().map(|topic| (topic, 0)).into();
        while next.values().any(|next| *next < count) {
            match subscription.next().await.unwrap() {
                Item::Message(message) => {
                    let next = next.get_mut(&message.topic).unwrap();
                    assert_eq!(message.payload, next.to_string().as_bytes(), "{}", message.topic);
                    *next += 1;
                }
                // The messages are all different, so that the longest match is the right one.
                Item::Ambiguous { .. } => {}
                other => panic!("{other:?} behind {next:?}"),
            }
        }
        assert!(count >= MOVES as u64);
    });
}

/// A connection that is killed is a gap, and then messages go on: RESP2 and RESP3. RULE-263, RULE-265
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_killed_connection_is_a_gap() {
    block_on(async {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let (redis, _front) = start(1);
            let maintenance = maintenance::Config::builder().mode(Mode::Disabled).build().unwrap();
            let url = format!("redis://{}", redis.address());
            let builder = Client::builder(&url).unwrap().pool_size(1).protocol(protocol);
            let client = builder.maintenance(maintenance).connect().await.unwrap();
            let mut subscription = client.subscribe(topics()).await.unwrap();
            client.call(cmd("CLIENT").args(["KILL", "TYPE", "pubsub"])).await.unwrap();
            for _ in topics() {
                assert!(matches!(subscription.next().await, Some(Item::Gap { .. })));
            }
            client.call(cmd("PUBLISH").args(["ch", "1"])).await.unwrap();
            client.call(cmd("SPUBLISH").args(["ch", "1"])).await.unwrap();
            for topic in topics() {
                let message = subscription.next().await.and_then(Item::into_message).unwrap();
                assert_eq!((message.topic, message.payload), (topic, "1".into()));
            }
        }
    });
}
