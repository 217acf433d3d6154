//! Commands that block on a plain `redis-server`, which `HITLESS_REDIS_SERVER` names, behind endpoints that move.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hitless_conformance::net::front::{self, Front};
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::server::{EndpointId, EndpointSpec, Moving, ServerConfig, ServerMachine, Target};
use hitless_tokio::{Client, Error, Events, Mode, Peer, RequestError, cmd, maintenance};

const SECOND: Duration = Duration::from_secs(1);
/// How long a move may take, and the server serves.
const GRACE: Duration = Duration::from_secs(20);
const CONSUMERS: u32 = 48;
const QUEUES: u32 = 6;

/// A server, and so many endpoints in front of it.
fn start(endpoints: usize) -> (RedisProcess, Front, Vec<EndpointId>) {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let redis = RedisProcess::start(Path::new(&program), &[]).unwrap();
    let specs = (0..endpoints).map(|_| EndpointSpec::loopback());
    let front = front::start(ServerConfig::default(), redis.address(), specs).unwrap();
    let endpoints = front.with(|server, _| server.endpoints());
    (redis, front, endpoints)
}

async fn connect(front: &Front, endpoint: EndpointId) -> (Client, Events) {
    let maintenance =
        maintenance::Config::builder().mode(Mode::Enabled).max_workers(CONSUMERS).build().unwrap();
    let url = format!("redis://{}", front.address(endpoint));
    let builder = Client::builder(&url).unwrap().pool_size(2).max_dedicated(CONSUMERS);
    let builder = builder.maintenance(maintenance);
    let events = builder.events();
    (builder.connect().await.unwrap(), events)
}

/// Asks the server until so many commands wait there, and fails if they do not.
async fn until_blocked(server: &Client, count: u32) {
    let look = async { while blocked(server).await != count {} };
    let in_time = tokio::time::timeout(GRACE, look).await;
    assert!(in_time.is_ok(), "{count} commands wait: {}", blocked(server).await);
}

/// How many commands wait at the server.
async fn blocked(server: &Client) -> u32 {
    let clients: String = server.query(cmd("INFO").arg("clients")).await.unwrap();
    let line = clients.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    line.unwrap().trim_end().parse().unwrap()
}

/// Waits for events until `holds`, and fails if it does not.
async fn until(what: &str, client: &Client, events: &mut Events, holds: impl Fn(&Client) -> bool) {
    let wait = async {
        while !holds(client) {
            events.next().await.expect("the client goes on").expect("no event is missed");
        }
    };
    let in_time = tokio::time::timeout(GRACE, wait).await;
    assert!(in_time.is_ok(), "{what}: {:?}", client.stats());
}

fn is_all_at(client: &Client, peer: &Peer) -> bool {
    let connections = client.stats().coordinator.connections;
    connections.len() == 1 && connections.contains_key(peer)
}

/// What consumers have got, and how often.
#[derive(Clone, Default)]
struct Basket {
    items: Arc<Mutex<BTreeMap<String, u32>>>,
    errors: Arc<Mutex<Vec<Error>>>,
}

impl Basket {
    fn put(&self, item: String) {
        *self.items.lock().unwrap().entry(item).or_default() += 1;
    }
}

/// Takes what there is until its client is shut down.
async fn consume(client: Client, queue: String, basket: Basket) {
    loop {
        match client.query::<(String, String)>(cmd("BLPOP").arg(&queue).arg(0)).await {
            Ok((_, item)) => basket.put(item),
            Err(Error::Request(RequestError::ShutDown { .. }) | Error::Send(_)) => return,
            Err(error) => return basket.errors.lock().unwrap().push(error),
        }
    }
}

/// How often the server has sent somebody away, or was asked to.
async fn unblocks(client: &Client) -> u64 {
    let stats: String = client.query(cmd("INFO").arg("commandstats")).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_client|unblock:calls="));
    line.and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

/// Moves, UNBLOCKs and pushes at the same instant: each element is consumed once or is still there, and nobody sees an error.
/// `HITLESS_RACES` says how many commands are to be called back at least; 300 without it. INV-21, PITFALL-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn no_element_is_lost_or_repeated_in_a_race() {
    let races: u64 = std::env::var("HITLESS_RACES").map_or(300, |races| races.parse().unwrap());
    // More moves than are needed: not every consumer waits at each.
    let moves = 10 + 2 * usize::try_from(races).unwrap() / CONSUMERS as usize;
    let (redis, front, nodes) = start(moves + 1);
    let producer = Client::connect(&format!("redis://{}", redis.address())).await.unwrap();
    let (client, _) = connect(&front, nodes[0]).await;
    let basket = Basket::default();
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|number| tokio::spawn(consume(client.clone(), format!("q{}", number % QUEUES), basket.clone())))
        .collect();
    let (mut pushed, mut called_back) = (0_u32, 0);
    for pair in nodes.windows(2) {
        until_blocked(&producer, CONSUMERS).await;
        front.with(|server, now| server.moving(now, pair[0], Moving::new(Target::Endpoint(pair[1]), GRACE)));
        let there = Peer::from(front.address(pair[1]));
        let push = async {
            while !is_all_at(&client, &there) {
                let queue = format!("q{}", pushed % QUEUES);
                producer.call(cmd("RPUSH").arg(queue).arg(pushed)).await.unwrap();
                pushed += 1;
            }
        };
        let in_time = tokio::time::timeout(GRACE, push).await;
        assert!(in_time.is_ok(), "the move has ended: {:?}", client.stats());
        called_back = unblocks(&producer).await;
        if called_back >= races {
            break;
        }
    }
    client.shutdown(GRACE).await;
    for consumer in consumers {
        consumer.await.unwrap();
    }
    for queue in 0..QUEUES {
        let left: Vec<String> =
            producer.query(cmd("LRANGE").arg(format!("q{queue}")).arg(0).arg(-1)).await.unwrap();
        left.into_iter().for_each(|item| basket.put(item));
    }
    let errors = std::mem::take(&mut *basket.errors.lock().unwrap());
    assert!(errors.is_empty(), "{errors:?}");
    let items = basket.items.lock().unwrap();
    let repeated: Vec<_> = items.iter().filter(|(_, times)| **times != 1).collect();
    let lost: Vec<_> = (0..pushed).filter(|item| !items.contains_key(&item.to_string())).collect();
    assert!(repeated.is_empty() && lost.is_empty(), "repeated: {repeated:?}, lost: {lost:?}");
    assert!(called_back >= races, "{called_back} of {races}, {pushed} elements");
    eprintln!("{called_back} called back, {pushed} elements");
}

/// Each command that blocks is taken along: it waits at the new node, and its reply comes from there. RULE-246, RULE-248, RULE-254
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn every_command_that_blocks_is_taken_along() {
    let (redis, front, nodes) = start(2);
    let producer = Client::connect(&format!("redis://{}", redis.address())).await.unwrap();
    producer.call(cmd("XGROUP").args(["CREATE", "group-stream", "g", "$", "MKSTREAM"])).await.unwrap();
    producer.call(cmd("XADD").args(["stream", "*", "f", "before"])).await.unwrap();
    let (client, mut events) = connect(&front, nodes[0]).await;
    let commands = [
        ("BLPOP l1 30", "RPUSH l1 new"),
        ("BRPOP l2 0", "RPUSH l2 new"),
        ("BLMOVE l3 o3 LEFT RIGHT 30", "RPUSH l3 new"),
        ("BRPOPLPUSH l4 o4 30", "RPUSH l4 new"),
        ("BLMPOP 30 1 l5 LEFT", "RPUSH l5 new"),
        ("BZPOPMIN z1 30", "ZADD z1 1 new"),
        ("BZPOPMAX z2 30", "ZADD z2 1 new"),
        ("BZMPOP 30 1 z3 MIN", "ZADD z3 1 new"),
        ("XREAD BLOCK 30000 STREAMS stream $", "XADD stream * f new"),
        ("XREADGROUP GROUP g c BLOCK 30000 STREAMS group-stream >", "XADD group-stream * f new"),
    ];
    let words = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        cmd(words.next().unwrap()).args(words)
    };
    let waiting: Vec<_> = commands
        .map(|(command, push)| {
            let (client, command) = (client.clone(), words(command));
            (tokio::spawn(async move { client.call(command).await }), push)
        })
        .into_iter()
        .collect();
    until_blocked(&producer, 10).await;
    front.with(|server, now| server.moving(now, nodes[0], Moving::new(Target::Endpoint(nodes[1]), GRACE)));
    let there = Peer::from(front.address(nodes[1]));
    until("they have moved", &client, &mut events, |client| is_all_at(client, &there)).await;
    for (reply, push) in waiting {
        producer.call(words(push)).await.unwrap();
        let reply = format!("{:?}", reply.await.unwrap().unwrap());
        assert!(reply.contains("new") && !reply.contains("before"), "{push}: {reply}");
    }
    assert!(unblocks(&producer).await >= 10);
    client.shutdown(SECOND).await;
}

/// A user that may not unblock others keeps what is delivered before the deadline. RULE-250
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn without_the_right_to_unblock_commands_stay() {
    let (redis, front, nodes) = start(2);
    let producer = Client::connect(&format!("redis://{}", redis.address())).await.unwrap();
    let rights = ["SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-client|unblock"];
    producer.call(cmd("ACL").args(rights)).await.unwrap();
    let url = format!("redis://app:secret@{}", front.address(nodes[0]));
    let builder = Client::builder(&url).unwrap().pool_size(1);
    let mut events = builder.events();
    let client = builder.connect().await.unwrap();
    let consumer = {
        let client = client.clone();
        tokio::spawn(async move { client.query::<(String, String)>(cmd("BLPOP").arg("q").arg(0)).await })
    };
    until_blocked(&producer, 1).await;
    front.with(|server, now| server.moving(now, nodes[0], Moving::new(Target::Endpoint(nodes[1]), GRACE)));
    let there = Peer::from(front.address(nodes[1]));
    until("the pool has moved", &client, &mut events, |client| {
        client.stats().coordinator.connections.contains_key(&there)
    })
    .await;
    producer.call(cmd("RPUSH").args(["q", "late"])).await.unwrap();
    assert_eq!(consumer.await.unwrap().unwrap().1, "late");
    client.shutdown(SECOND).await;
}

/// Redis before 7.2 shows a command that CLIENT PAUSE holds up as one that waits, says that it has sent it away, and runs it when the pause is
/// over. What it takes then for a caller that has left is an orphan, and reaches no other caller. RULE-293, INV-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn a_pause_of_the_server_mixes_nothing_up() {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let redis = RedisProcess::start(Path::new(&program), &[]).unwrap();
    let url = format!("redis://{}", redis.address());
    let admin = Client::connect(&url).await.unwrap();
    let orphans = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&orphans);
    let builder = Client::builder(&url).unwrap().pool_size(1).max_dedicated(1);
    let builder = builder.on_orphan(move |orphan| found.lock().unwrap().push(orphan.reply));
    let client = builder.connect().await.unwrap();
    admin.call(cmd("CLIENT").arg("PAUSE").arg(60_000).arg("WRITE")).await.unwrap();
    {
        let mut waits = std::pin::pin!(client.call(cmd("BLPOP").arg("jobs").arg(0)));
        let held_up = tokio::time::timeout(GRACE, async { while blocked(&admin).await == 0 {} });
        tokio::select! {
            popped = &mut waits => panic!("{popped:?}"),
            in_time = held_up => in_time.expect("it is held up"),
        }
    }
    let next = client.query::<Option<(String, String)>>(cmd("BLPOP").arg("other").arg(30));
    let goes_on = async {
        let server: String = admin.query(cmd("INFO").arg("server")).await.unwrap();
        // Valkey sends it away at the first call. Redis does not, or hits nothing, and is asked again.
        let calls = if server.contains("valkey_version") { 1 } else { 2 };
        let called_back = async { while unblocks(&admin).await < calls {} };
        tokio::time::timeout(GRACE, called_back).await.expect("it is called back");
        admin.call(cmd("CLIENT").arg("UNPAUSE")).await.unwrap();
        admin.call(cmd("RPUSH").arg("jobs").arg("job")).await.unwrap();
        admin.call(cmd("RPUSH").arg("other").arg("mine")).await.unwrap();
    };
    let (popped, ()) = tokio::join!(next, goes_on);
    assert_eq!(popped.unwrap(), Some(("other".to_owned(), "mine".to_owned())));
    let left: usize = admin.query(cmd("LLEN").arg("jobs")).await.unwrap();
    assert_eq!(left + orphans.lock().unwrap().len(), 1, "{orphans:?}");
}

/// Commands that CLIENT PAUSE holds up move when it is over, whatever the server has said of them before: each takes one element, and no
/// element is lost. RULE-293, INV-21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn what_a_pause_holds_up_moves_behind_its_proof() {
    const HELD_UP: u32 = 12;
    let (redis, front, nodes) = start(2);
    let admin = Client::connect(&format!("redis://{}", redis.address())).await.unwrap();
    let (client, mut events) = connect(&front, nodes[0]).await;
    admin.call(cmd("CLIENT").arg("PAUSE").arg(60_000).arg("WRITE")).await.unwrap();
    let consumers: Vec<_> = (0..HELD_UP)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.query::<(String, u32)>(cmd("BLPOP").arg("jobs").arg(0)).await })
        })
        .collect();
    until_blocked(&admin, HELD_UP).await;
    front.with(|server, now| server.moving(now, nodes[0], Moving::new(Target::Endpoint(nodes[1]), GRACE)));
    let called_back = async { while unblocks(&admin).await < HELD_UP.into() {} };
    tokio::time::timeout(GRACE, called_back).await.expect("they are called back");
    admin.call(cmd("CLIENT").arg("UNPAUSE")).await.unwrap();
    let half = HELD_UP / 2;
    for job in 0..half {
        admin.call(cmd("RPUSH").arg("jobs").arg(job)).await.unwrap();
    }
    let there = Peer::from(front.address(nodes[1]));
    until("all have moved", &client, &mut events, |client| is_all_at(client, &there)).await;
    for job in half..HELD_UP {
        admin.call(cmd("RPUSH").arg("jobs").arg(job)).await.unwrap();
    }
    let mut taken = Vec::new();
    for consumer in consumers {
        let in_time = tokio::time::timeout(GRACE, consumer).await.expect("an element for each");
        taken.push(in_time.unwrap().unwrap().1);
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..HELD_UP).collect::<Vec<_>>());
    client.shutdown(SECOND).await;
}
