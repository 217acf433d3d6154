//! A real cluster of `redis-server` processes whose slots move, whose replicas take over and whose primaries die while the client is used.

mod load;

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hitless_conformance::net::redis_cluster::{RedisCluster, Reshard, Shape};

use self::load::{Load, Outcome, Servers, Tally, WORKERS, pass};
use crate::hitless::cluster::SLOTS;
use crate::hitless::{ClusterClient, ClusterStats};
use crate::{block_on, unblock};

/// How long anything may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest time for an operation: longer than any outage here, so that what can go on after it does.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A third of the slots: those of the first primary.
const THIRD: u16 = SLOTS / 3;

/// One cluster at a time: six processes are enough for a small machine.
static ONE: Mutex<()> = Mutex::new(());

/// A third of the slots goes to another node and comes back, under a load of single commands, of pipelines across all slots, and of
/// pairs of keys that are half moved at times. Nobody sees an error, no INCR is lost and none is executed twice. RULE-390
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn nobody_notices_a_reshard_there_and_back() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = start(&Shape::default());
    block_on(async {
        let client = connect(&cluster, 0).await;
        let homes = homes(&cluster, &[0, 1, 2]);
        let load = Load::start(&client, &homes, WORKERS, Servers::KeepTheirWord);
        load.goes_on().await;
        hold_pairs_half_moved(&cluster, &client, &load, &homes[0]).await;
        load.goes_on().await;
        for (from, to) in [(0, 1), (1, 0)] {
            on(&cluster, move |cluster| cluster.reshard(0..THIRD, from, to).unwrap()).await;
            load.goes_on().await;
        }
        let tallies = finish(load, &client).await;
        for tally in &tallies {
            assert_eq!(tally.errors, [""; 0], "worker {}", tally.worker);
        }
        judge(&cluster, tallies, Servers::KeepTheirWord).await;
    });
}

/// Each primary in turn hands over to its replica. The client may pass on what the cluster itself refuses; whatever it says was done was
/// done once, and whatever was refused was not done. RULE-391
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn nothing_is_lost_in_a_planned_failover() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = start(&Shape::default());
    block_on(async {
        let client = connect(&cluster, 5).await;
        let homes = homes(&cluster, &[0, 1, 2]);
        let load = Load::start(&client, &homes, WORKERS, Servers::KeepTheirWord);
        load.goes_on().await;
        for replica in 3..6 {
            on(&cluster, move |cluster| cluster.failover(replica).unwrap()).await;
            load.goes_on().await;
        }
        let tallies = finish(load, &client).await;
        for tally in &tallies {
            assert!(tally.errors.iter().all(|error| error.starts_with("refused:")), "{tally:?}");
            assert_eq!(tally.unknown(), 0, "{tally:?}");
        }
        judge(&cluster, tallies, Servers::KeepTheirWord).await;
    });
}

/// A primary dies, and the cluster serves what is left. Users of the other slots see no error and are not held up, also before a replica
/// has taken over; users of the dead primary's slots go on with the replica. RULE-392
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_primary_that_dies_is_nobody_elses_matter() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = start(&Shape::default().serving_partially().with_node_timeout(Duration::from_secs(8)));
    block_on(async {
        // The seed is the one that dies.
        let client = connect(&cluster, 0).await;
        let load = |nodes, servers| Load::start(&client, &homes(&cluster, nodes), WORKERS / 2, servers);
        let touched = load(&[0], Servers::MayForget);
        let untouched = load(&[1, 2], Servers::KeepTheirWord);
        touched.goes_on().await;
        untouched.goes_on().await;
        cluster.kill(0);
        // The others finish rounds that they begin now, while nobody serves the slots of the dead one.
        untouched.goes_on().await;
        // The slots of the dead one begin with 0.
        on(&cluster, |cluster| cluster.await_successor(0).unwrap()).await;
        touched.goes_on().await;
        untouched.goes_on().await;
        let told = touched.finish().await;
        for tally in &told {
            let says_why =
                |error: &String| error.starts_with("lost:") || error.starts_with("refused: CLUSTERDOWN");
            assert!(tally.errors.iter().all(says_why), "{tally:?}");
        }
        judge(&cluster, told, Servers::MayForget).await;
        let tallies = finish(untouched, &client).await;
        for tally in &tallies {
            assert_eq!(tally.errors, [""; 0], "worker {}", tally.worker);
        }
        judge(&cluster, tallies, Servers::KeepTheirWord).await;
    });
}

fn start(shape: &Shape) -> Arc<RedisCluster> {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    Arc::new(RedisCluster::start(Path::new(&program), shape).unwrap())
}

/// A client that knows one node.
async fn connect(cluster: &RedisCluster, seed: usize) -> ClusterClient {
    let builder = ClusterClient::builder([format!("redis://{}", cluster.address(seed))]).unwrap();
    within("the client connects", builder.command_timeout(TIMEOUT).connect()).await.unwrap()
}

/// For each of these nodes hash tags whose slots it serves.
fn homes(cluster: &RedisCluster, nodes: &[usize]) -> Vec<Vec<String>> {
    let slots: Vec<_> = nodes.iter().map(|node| cluster.slots_of(*node).unwrap()).collect();
    let mut homes = vec![Vec::new(); nodes.len()];
    for number in 0.. {
        let tag = format!("{{h{number}}}");
        let slot = cluster.slot_of(&tag).unwrap();
        let home = slots.iter().position(|ranges| ranges.iter().any(|range| range.contains(&slot)));
        if let Some(home) = home.filter(|home| homes[*home].len() < WORKERS) {
            homes[home].push(tag);
        }
        if homes.iter().all(|tags| tags.len() == WORKERS) {
            break;
        }
    }
    homes
}

/// Moves the slots of these tags there and back. On the way there each of them has its counter at the new node until the old node has sent
/// requests on, and then one key of its pair as well until requests for both were told to try again.
async fn hold_pairs_half_moved(
    cluster: &Arc<RedisCluster>,
    client: &ClusterClient,
    load: &Load,
    tags: &[String],
) {
    let named = |name: &str| tags.iter().map(|tag| format!("{tag}:{name}")).collect::<Vec<String>>();
    let [counters, pairs] = ["counter", "a"].map(named);
    let slots = on(cluster, move |cluster| {
        let slots: Vec<u16> = counters.iter().map(|key| cluster.slot_of(key).unwrap()).collect();
        let mut reshard = cluster.open_slots(slots.clone(), 0, 1).unwrap();
        carry(&mut reshard, &counters);
        (slots, reshard)
    });
    let (slots, mut reshard) = slots.await;
    until_more("the old node sends requests on", client, load, |stats| stats.ask).await;
    let reshard = on(cluster, move |_| {
        carry(&mut reshard, &pairs);
        reshard
    });
    let reshard = reshard.await;
    until_more("the old node puts requests off", client, load, |stats| stats.waited).await;
    on(cluster, move |cluster| {
        reshard.finish().unwrap();
        cluster.reshard(slots, 1, 0).unwrap();
    })
    .await;
}

/// One by one: keys of different slots do not go over together.
fn carry(reshard: &mut Reshard, keys: &[String]) {
    keys.iter().for_each(|key| reshard.carry(&[key]).unwrap());
}

/// Waits until a figure is larger than now. Those whose keys do not move go on meanwhile, and after each of their rounds it is looked at.
async fn until_more(what: &str, client: &ClusterClient, load: &Load, figure: fn(&ClusterStats) -> u64) {
    let before = figure(&client.stats());
    within(what, load.until(|_| figure(&client.stats()) > before)).await;
}

/// Runs what blocks on a thread of its own.
async fn on<T: Send + 'static>(
    cluster: &Arc<RedisCluster>,
    verb: impl FnOnce(&RedisCluster) -> T + Send + 'static,
) -> T {
    let cluster = Arc::clone(cluster);
    within("the cluster changes", unblock(move || verb(&cluster))).await
}

/// Ends the load and the client.
async fn finish(load: Load, client: &ClusterClient) -> Vec<Tally> {
    let tallies = load.finish().await;
    within("the client ends", client.shutdown(Duration::from_secs(5))).await;
    tallies
}

/// What was counted is what was acknowledged. What may have run, may have been counted.
async fn judge(cluster: &Arc<RedisCluster>, tallies: Vec<Tally>, servers: Servers) {
    on(cluster, move |cluster| {
        for (key, Outcome { acknowledged, unknown }) in tallies.into_iter().flat_map(|tally| tally.counters) {
            let count = read(cluster, &key);
            let least = if servers == Servers::MayForget { 0 } else { acknowledged };
            assert!(
                acknowledged > 0 && (least..=acknowledged + unknown).contains(&count),
                "{key}: {count} counted, {acknowledged} acknowledged, {unknown} unknown"
            );
        }
    })
    .await;
}

/// A counter, as the server has it that serves its slot.
fn read(cluster: &RedisCluster, key: &str) -> u64 {
    let owner = cluster.primary_of(cluster.slot_of(key).unwrap()).unwrap();
    let value = cluster.connect(owner).unwrap().call(&["GET", key]).unwrap();
    value.as_str().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// What `future` comes to. Fails if that takes too long.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let (mut future, mut limit) = (pin!(future), pin!(pass(PATIENCE)));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending => limit.as_mut().poll(cx).map(|()| panic!("{what}: not within {PATIENCE:?}")),
        ready => ready,
    })
    .await
}
