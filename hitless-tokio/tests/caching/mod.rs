//! Client-side caching with a real `redis-server`, also behind endpoints that move.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hitless_conformance::net::front;
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::server::{EndpointSpec, Moving, ServerConfig, ServerMachine, Target};

use crate::block_on;
use crate::hitless::{
    Bytes, Client, Error, Invalidation, Invalidations, Mode, Peer, Tracking, cmd, maintenance,
};

/// The connection moves so often.
const MOVES: usize = 10;

const KEYS: [&str; 3] = ["a", "b", "c"];

fn start() -> RedisProcess {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    RedisProcess::start(Path::new(&program), &[]).unwrap()
}

/// A client with one connection, and another one that changes things.
async fn connect(redis: &RedisProcess, tracking: Tracking) -> (Client, Invalidations, Client) {
    let url = format!("redis://{}", redis.address());
    let maintenance = maintenance::Config::builder().mode(Mode::Disabled).build().unwrap();
    let builder = Client::builder(&url).unwrap().pool_size(1).maintenance(maintenance);
    let client = builder.tracking(tracking).connect().await.unwrap();
    let invalidations = client.invalidations().unwrap();
    (client, invalidations, Client::connect(&url).await.unwrap())
}

fn keys(names: &[&'static str]) -> Invalidation {
    Invalidation::Keys(names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect())
}

async fn set(client: &Client, key: &str, value: u64) {
    client.call(cmd("SET").arg(key).arg(value)).await.unwrap();
}

/// RULE-272, RULE-273, RULE-274
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn what_was_read_is_told_when_it_changes() {
    block_on(async {
        let redis = start();
        let (client, mut told, other) = connect(&redis, Tracking::default_mode()).await;
        assert_eq!(client.query::<Option<u64>>(cmd("GET").arg("a")).await.unwrap(), None);
        set(&other, "b", 1).await;
        set(&other, "a", 1).await;
        client.call(cmd("PING")).await.unwrap();
        assert_eq!(told.try_next(), Some(keys(&["a"])), "whoever has the reply can read it");
        assert_eq!(told.try_next(), None);
        other.call(cmd("FLUSHALL")).await.unwrap();
        assert_eq!(told.next().await, Some(Invalidation::All));
        other.call(cmd("CLIENT").args(["KILL", "TYPE", "normal", "SKIPME", "yes"])).await.unwrap();
        assert_eq!(told.next().await, Some(Invalidation::All));
        drop(client);
        assert_eq!(told.next().await, Some(Invalidation::All), "the last word");
        assert_eq!(told.next().await, None);
    });
}

/// RULE-270
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn changes_behind_a_prefix_are_broadcast() {
    block_on(async {
        let redis = start();
        let (client, mut told, other) = connect(&redis, Tracking::broadcast(["user:", "shop:"])).await;
        for key in ["user:1", "car:1", "shop:1"] {
            set(&other, key, 1).await;
            client.call(cmd("PING")).await.unwrap();
        }
        assert_eq!(told.try_next(), Some(keys(&["shop:1", "user:1"])));
    });
}

/// A server that refuses, here because of the rights of the user, is an error that says so. RULE-271
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_server_that_may_not_track_is_an_error() {
    block_on(async {
        let redis = start();
        let url = format!("redis://{}", redis.address());
        let admin = Client::connect(&url).await.unwrap();
        let acl = ["SETUSER", "default", "-client|tracking"];
        admin.call(cmd("ACL").args(acl)).await.unwrap();
        let builder = Client::builder(&url).unwrap().tracking(Tracking::default_mode());
        let error = builder.connect().await.unwrap_err().to_string();
        assert!(error.contains("refused CLIENT TRACKING with NOPERM"), "{error}");
    });
}

/// A cache as the documentation of `Invalidations` has it, with one task.
struct Cache {
    client: Client,
    invalidations: Invalidations,
    values: BTreeMap<&'static str, Option<u64>>,
    hits: usize,
}

impl Cache {
    async fn get(&mut self, key: &'static str) -> Result<(), Error> {
        self.follow();
        if self.values.contains_key(key) {
            self.hits += 1;
            return Ok(());
        }
        let value = self.client.query(cmd("GET").arg(key)).await?;
        // Nobody else asks, so what was told since the question is all that could remove a mark.
        if self.follow() == 0 {
            self.values.insert(key, value);
        }
        Ok(())
    }

    /// Forgets what is invalid. Returns how much was told.
    fn follow(&mut self) -> usize {
        let mut count = 0;
        while let Some(told) = self.invalidations.try_next() {
            count += 1;
            match told {
                Invalidation::Keys(keys) => {
                    self.values.retain(|key, _| !keys.iter().any(|told| *told == *key));
                }
                Invalidation::All => self.values.clear(),
            }
        }
        count
    }
}

/// A cache whose connection moves from node to node, while everything changes all the time: whatever it holds in the end is the server's.
/// RULE-92, RULE-274
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_cache_that_moves_is_up_to_date() {
    block_on(async {
        let redis = start();
        let specs = std::iter::repeat_with(EndpointSpec::loopback).take(MOVES + 1);
        let front = front::start(ServerConfig::default(), redis.address(), specs).unwrap();
        let endpoints = front.with(|server, _| server.endpoints());
        let url = format!("redis://{}", front.address(endpoints[0]));
        let builder = Client::builder(&url).unwrap().pool_size(1);
        let client = builder.tracking(Tracking::default_mode()).connect().await.unwrap();
        let invalidations = client.invalidations().unwrap();
        let mut cache = Cache { client: client.clone(), invalidations, values: BTreeMap::new(), hits: 0 };
        let writer = Client::connect(&format!("redis://{}", redis.address())).await.unwrap();

        let mut count = 0_u64;
        for pair in endpoints.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let moving = Moving::new(Target::Endpoint(to), Duration::from_secs(30));
            front.with(|server, now| server.moving(now, from, moving));
            let there = Peer::from(front.address(to));
            loop {
                count += 1;
                set(&writer, KEYS[count as usize % 2], count).await;
                for key in KEYS {
                    cache.get(key).await.unwrap();
                }
                let connections = client.stats().coordinator.connections;
                if connections.get(&there) == Some(&1) && connections.len() == 1 {
                    break;
                }
            }
            // Nothing changes any more, and what the server has said is there.
            client.call(cmd("PING")).await.unwrap();
            cache.follow();
            for key in KEYS {
                cache.get(key).await.unwrap();
            }
            for (key, value) in &cache.values {
                let at_server: Option<u64> = writer.query(cmd("GET").arg(*key)).await.unwrap();
                assert_eq!(*value, at_server, "{key} after {count} changes");
            }
            assert_eq!(cache.values.len(), KEYS.len());
        }
        assert!(cache.hits > 0, "it has served");
    });
}
