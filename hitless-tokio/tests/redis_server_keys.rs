//! Slots and keys beside what a plain `redis-server` in cluster mode says, which `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use hitless_conformance::net::redis_process::RedisProcess;
use hitless_core::cluster::{Route, key_slot, route};
use hitless_tokio::{Client, Command, Error, Pipeline, cmd};

/// A cluster of one server, which serves all slots.
struct Cluster {
    client: Client,
    _server: RedisProcess,
    nodes: PathBuf,
}

impl Cluster {
    async fn start() -> Self {
        let program =
            std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
        // The port of the bus is picked by the system; whoever takes it in the meantime makes the server end.
        let attempt = || {
            let bus = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
            let name = format!("hitless-nodes-{}-{bus}.conf", std::process::id());
            let options =
                ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-config-file", &name];
            let server = RedisProcess::start(Path::new(&program), &options)?;
            io::Result::Ok((server, std::env::temp_dir().join(name)))
        };
        let mut started = attempt();
        for _ in 1..5 {
            match &started {
                Err(error) if error.kind() == ErrorKind::AddrInUse => started = attempt(),
                _ => break,
            }
        }
        let (server, nodes) = started.unwrap();
        let client = Client::connect(&format!("redis://{}", server.address())).await.unwrap();
        let slots = cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383);
        client.query::<()>(slots).await.unwrap();
        Self { client, _server: server, nodes }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The server may not have written it.
        let _ = std::fs::remove_file(&self.nodes);
    }
}

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// Of any bytes, with more braces than chance has.
    fn key(&mut self) -> Vec<u8> {
        let len = self.below(24);
        let byte = |numbers: &mut Self| match numbers.below(4) {
            0 => b"{}"[numbers.below(2)],
            _ => numbers.below(256) as u8,
        };
        (0..len).map(|_| byte(self)).collect()
    }
}

/// Our slot of a key is the server's. RULE-302
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn slots_are_those_of_the_server() {
    let cluster = Cluster::start().await;
    let mut numbers = Numbers(1);
    let keys: Vec<Vec<u8>> = (0..5000).map(|_| numbers.key()).collect();

    let asked = keys.iter().map(|key| cmd("CLUSTER").arg("KEYSLOT").arg(&key[..]));
    let slots: Vec<u16> = cluster.client.query_pipeline(asked.collect::<Pipeline>()).await.unwrap();

    assert_eq!(slots.len(), keys.len());
    for (key, slot) in keys.iter().zip(slots) {
        assert_eq!(key_slot(key), slot, "{}", key.escape_ascii());
    }
}

/// Commands; each `k` stands for a key, and so does each `STORE` and `STREAMS` that is one.
const COMMANDS: &[&str] = &[
    "GET k",
    "MGET k k k",
    "MSET k 1 k 2",
    "MSETNX k 1 k 2",
    "DEL k k",
    "UNLINK k k k",
    "EXISTS k k",
    "TOUCH k k",
    "RENAME k k",
    "COPY k k",
    "BITOP AND k k k",
    "PFMERGE k",
    "PFMERGE k k k",
    "PFCOUNT k k",
    "LCS k k",
    "SINTERSTORE k k k",
    "SDIFF k k",
    "SMOVE k k m",
    "SINTERCARD 2 k k LIMIT 1",
    "ZUNIONSTORE k 2 k k WEIGHTS 1 2",
    "ZUNIONSTORE k 1 k",
    "ZINTER 2 k k WITHSCORES",
    "ZRANGESTORE k k 0 1",
    "LMOVE k k LEFT RIGHT",
    "LMPOP 2 k k LEFT",
    "ZMPOP 1 k MIN",
    "RPOPLPUSH k k",
    "BLPOP k k 0.01",
    "BLMPOP 0.01 2 k k LEFT",
    "BZMPOP 0.01 1 k MAX",
    "BLMOVE k k LEFT RIGHT 0.01",
    "GEOSEARCHSTORE k k FROMLONLAT 0 0 BYRADIUS 1 km",
    "GEORADIUS k 1 2 3 km COUNT 1 STORE k",
    "GEORADIUS k 1 2 3 km STOREDIST k",
    "GEORADIUS k 1 2 3 km STOREDIST STORE",
    "GEORADIUS k 1 2 3 km STORE k STOREDIST k",
    "GEORADIUSBYMEMBER k STORE 3 km STORE k",
    "SORT k LIMIT 0 1 STORE k",
    "SORT k ALPHA STORE STORE",
    "SORT k STORE k STORE k",
    "SORT_RO k",
    "EVAL return 2 k k x",
    "EVAL_RO return 1 k x",
    "XREAD COUNT 1 STREAMS k k 0 0",
    "XREAD STREAMS STREAMS k 0 0",
    "XREADGROUP GROUP STREAMS streams COUNT 1 STREAMS k k > >",
    "OBJECT ENCODING k",
    "MEMORY USAGE k",
    "XINFO STREAM k",
    "XGROUP CREATE k g $",
    "MIGRATE 127.0.0.1 1 k 0 1",
    "SPUBLISH k m",
    "RESTORE k 0 x",
];

/// A cluster refuses the commands of which the route says that their keys are in several slots, and runs or waits for all others; keys that
/// it says a command has give our route. RULE-303, RULE-304
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn routes_are_those_of_the_server() {
    let cluster = Cluster::start().await;
    let (mut numbers, mut across) = (Numbers(2), 0);
    for words in COMMANDS.iter().flat_map(|words| [words; 8]) {
        // Few keys, so that some of a command are equal, and some share a tag.
        let mut word = |word: &str| match word {
            "k" => ["a", "b", "{a}x"][numbers.below(3)].to_owned(),
            word => word.to_owned(),
        };
        let words: Vec<String> = words.split(' ').map(&mut word).collect();
        let command = || words[1..].iter().fold(cmd(&words[0]), Command::arg);
        let ours = route(&command());

        let reply = cluster.client.call(command()).await;

        let error = match &reply {
            Err(Error::Server(error)) => error.to_string(),
            Ok(reply) => {
                reply.as_error().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
            }
            Err(error) => panic!("{words:?}: {error}"),
        };
        let is_across = matches!(ours, Route::Across { .. });
        assert_eq!(error.contains("CROSSSLOT"), is_across, "{words:?} {ours:?}: {reply:?}");
        across += u32::from(is_across);
    }
    assert!(across > 100, "{across}");
}

/// The keys that a server finds in a command have the slots of our route. RULE-303
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn keys_are_those_of_the_server() {
    let cluster = Cluster::start().await;
    let mut found = 0;
    for words in COMMANDS {
        let words: Vec<&str> = words.split(' ').collect();
        let asked = cmd("COMMAND").arg("GETKEYS").args(&words);
        // What has options that are called like keys is answered by another part of the server than the one that sends commands on.
        let Ok(keys) = cluster.client.query::<Vec<String>>(asked).await else { continue };
        let slots: Vec<u16> = keys.iter().map(|key| key_slot(key.as_bytes())).collect();
        let ours = route(&words[1..].iter().fold(cmd(words[0]), Command::arg));
        match ours {
            Route::Slot(slot) => assert!(slots.iter().all(|own| *own == slot), "{words:?}: {keys:?}"),
            Route::Across { first, other } => {
                assert!(slots[0] == first && slots.contains(&other), "{words:?}: {keys:?}");
            }
            other => panic!("{words:?}: {other:?}"),
        }
        found += 1;
    }
    assert!(found > COMMANDS.len() - 5, "{found}");
}
