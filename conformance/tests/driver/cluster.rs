//! The cluster client where a test needs more than the cases `cluster_*` of the suite can see: what is left of it, the clients of its nodes, and
//! hooks.

mod each;
mod outages;
mod relocated;
mod replicas;
mod storm;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hitless_conformance::server::{EndpointId, Fault, Notice, Rule};
use hitless_core::cluster::{ClusterEvent, NodeError, TopologyError, key_slot};
use hitless_core::config::{ConfigError, Tracking, WhenDisconnected};
use hitless_core::driver::{ClusterBuilder, ClusterClient, HookContext, MetricsHook, NotificationHook};
use hitless_core::error::RouteError;
use hitless_core::notification::{Notification, NotificationKind};
use hitless_core::review::Verdict;

use super::*;

/// A key of each node, in the order of the nodes.
const KEYS: [&str; 3] = ["bar", "k", "foo"];
const PORTS: [u16; 3] = [6379, 2, 3];

/// Three nodes with a third of the slots each, and a fourth endpoint that is none.
pub(super) fn nodes() -> (Fixture, Vec<EndpointId>) {
    let mut server = Server::new(ServerConfig::default());
    let address = |port| EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let nodes = PORTS.map(|port| server.add_endpoint(address(port)));
    server.form_cluster(&nodes);
    let spare = server.add_endpoint(address(4));
    (Fixture::new(server), nodes.into_iter().chain([spare]).collect())
}

pub(super) fn cluster_builder(fixture: &Fixture, ports: &[u16]) -> ClusterBuilder<Executor, Network> {
    let urls = ports.iter().map(|port| format!("redis://127.0.0.1:{port}"));
    let builder = ClusterBuilder::new(fixture.runtime(), fixture.network(), urls).unwrap();
    builder.maintenance(maintenance::Config::builder().mode(Mode::Auto).build().unwrap()).pool_size(1)
}

pub(super) fn cluster() -> (Fixture, Vec<EndpointId>, ClusterClient<Executor>) {
    let (mut fixture, nodes) = nodes();
    let client = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap();
    // What is known from now on is newer than what was read at the start.
    fixture.pass(Duration::from_millis(1));
    (fixture, nodes, client)
}

fn set(key: &str, value: &str) -> resp3_codec::Command {
    cmd("SET").arg(key).arg(value)
}

fn get(key: &str) -> resp3_codec::Command {
    cmd("GET").arg(key)
}

/// The nodes that one names are the cluster, and all of them hang on one task. RULE-360, INV-15
#[test]
fn a_cluster_client_leaves_nothing_behind() {
    for ends_by_drop in [true, false] {
        let (mut fixture, _, client) = cluster();
        for key in KEYS {
            fixture.block_on(client.call(set(key, key))).unwrap();
        }
        let count = fixture.block_on(client.query::<u64>(cmd("DBSIZE"))).unwrap();
        assert_eq!((count, client.nodes().len()), (3, 3));
        assert_eq!(client.stats().moved, 0);
        if ends_by_drop {
            drop(client);
        } else {
            fixture.block_on(client.shutdown(SECOND));
            let error = fixture.block_on(client.call(get("k"))).unwrap_err();
            assert_eq!(error.delivery(), Some(Delivery::NotSent), "{error}");
        }
        fixture.run();
        assert_nothing_is_left(&fixture);
    }
}

/// A runtime that goes away takes the client along: whoever waits is told. RULE-375
#[test]
fn a_cluster_client_ends_with_its_runtime() {
    let (fixture, _, client) = cluster();
    fixture.answer_nothing();
    let reply = client.send(Request::command(get("k")).unwrap()).unwrap();
    fixture.die();
    let mut reply = pin!(reply);
    let Poll::Ready(outcome) = poll_once(reply.as_mut()) else { panic!("it waits for nobody") };
    assert!(matches!(outcome, Err(RequestError::ShutDown { .. })), "{outcome:?}");
    assert!(matches!(client.send(Request::command(get("k")).unwrap()), Err(SendError::ShuttingDown(_))));
}

/// RULE-362, RULE-366
#[test]
fn what_is_no_cluster_says_so() {
    let mut fixture = fixture();
    let error = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap_err();
    assert!(matches!(&error, Error::Topology { error: TopologyError::NotACluster, .. }), "{error:?}");
    let connect =
        |url: &str| ClusterBuilder::new(fixture.runtime(), fixture.network(), [url]).unwrap().connect();
    let error = poll_once(pin!(connect("redis://127.0.0.1/1")));
    assert!(
        matches!(&error, Poll::Ready(Err(Error::Config(error))) if error.to_string().contains("database 0"))
    );
    let tracking = cluster_builder(&fixture, &[6379]).tracking(Tracking::default_mode());
    let error = poll_once(pin!(tracking.connect()));
    assert!(
        matches!(&error, Poll::Ready(Err(Error::Config(error))) if error.to_string().contains("tracking"))
    );
    let differ = ["redis://127.0.0.1:1", "redis://:secret@127.0.0.1:2"];
    let error = ClusterBuilder::new(fixture.runtime(), fixture.network(), differ).err().unwrap();
    assert!(error.to_string().contains("the same but for host and port"), "{error}");
    let error = ClusterBuilder::new(fixture.runtime(), fixture.network(), [""; 0]).err().unwrap();
    assert!(matches!(&error, Error::Config(ConfigError::Urls(_))), "{error:?}");
    assert!(error.to_string().contains("one server at least"), "{error}");
}

/// Whoever is sent to the nodes with it is refused there as well. RULE-363
#[test]
fn a_command_that_no_client_takes_is_refused_at_once() {
    let (mut fixture, _, client) = cluster();
    for command in [cmd("MONITOR"), cmd("CLIENT").arg("REPLY").arg("OFF")] {
        let error = fixture.block_on(client.call(command)).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
    }
    let error = fixture.block_on(client.call(cmd("INFO"))).unwrap_err();
    assert!(matches!(error, Error::Route(RouteError::NeedsNode { .. })), "{error:?}");
}

/// The map of addresses panics for one of the seeds: the others lead to the cluster. RULE-383
#[test]
fn a_seed_that_the_map_does_not_know_ends_nothing() {
    let (mut fixture, _) = nodes();
    let builder = cluster_builder(&fixture, &[9, 6379]).address_map(|announced| {
        assert_ne!(announced.to_string(), "127.0.0.1:9");
        None
    });
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.block_on(client.call(set("foo", "x"))).unwrap();
    assert_eq!(client.hook_failures().panics, 1);
}

/// Whoever closes the client of a node leaves no hole: the node is opened again. What cannot be opened says why. RULE-384
#[test]
fn a_node_that_somebody_has_closed_is_opened_again() {
    let (mut fixture, nodes, client) = cluster();
    let node = client.node_for("foo").unwrap();
    fixture.block_on(node.client().shutdown(Duration::ZERO));
    let before = fixture.now();
    fixture.block_on(client.call(set("foo", "x"))).unwrap();
    assert!(fixture.now() < before + SECOND, "{:?}", fixture.now() - before);

    let mut events = client.events();
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], None));
    fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
    fixture.pass(30 * SECOND);
    let told = std::iter::from_fn(|| events.try_next()?.ok()).find_map(|event| match event {
        ClusterEvent::NodeNotOpened { endpoint, error: NodeError::Connect(_), .. } => Some(endpoint),
        _ => None,
    });
    assert_eq!(told.map(|endpoint| endpoint.to_string()).as_deref(), Some("127.0.0.1:3"));
    let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
}

/// An owner of slots takes connections and closes them at once: it is dialled as often as a client of one server dials, found when it is back, and told
/// with the reason. RULE-161, RULE-198, RULE-371, RULE-384
#[test]
fn an_owner_that_closes_at_once_is_not_flooded() {
    for pool in [1, 10] {
        let (mut fixture, nodes) = nodes();
        fixture.with_server(|server, _| server.close_after(nodes[2], Duration::ZERO, None));
        let client = fixture.block_on(cluster_builder(&fixture, &[6379]).pool_size(pool).connect()).unwrap();
        let mut events = client.events();
        for _ in 0..10 {
            let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
            assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
        }
        let dials: Vec<std::time::Instant> =
            fixture.with_server(|server, _| server.ledger().dials(nodes[2]).map(|(at, _)| at).collect());
        let most = 20 * pool as usize;
        let crowded =
            dials.iter().zip(dials.iter().skip(most)).find(|(first, last)| **last < **first + 10 * SECOND);
        assert!(crowded.is_none(), "{pool}: {} dials in {:?}", dials.len(), 30 * SECOND);
        let told = std::iter::from_fn(|| events.try_next()?.ok())
            .any(|event| matches!(event, ClusterEvent::NodeNotOpened { error: NodeError::Connect(_), .. }));
        assert!(told);
        fixture.with_server(|server, _| server.restore(nodes[2]));
        fixture.block_on(client.call(set("foo", "x"))).unwrap();
    }
}

/// The client of a node that somebody has closed, and that cannot be opened: callers are told why it cannot be opened, and not that their own client was shut
/// down. Those who do not want to wait do not. RULE-387
#[test]
fn nobody_waits_for_a_closed_node_who_does_not_want_to() {
    let (mut fixture, nodes) = nodes();
    let builder = cluster_builder(&fixture, &[6379]).when_disconnected(WhenDisconnected::Fail);
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], None));
    fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
    fixture.pass(20 * SECOND);
    let mut is_closed = false;
    for _ in 0..50 {
        fixture.pass(SECOND / 5);
        fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
        is_closed |= matches!(
            client.node_for("foo").unwrap().client().send(Request::command(get("foo")).unwrap()),
            Err(SendError::ShuttingDown(_))
        );
        let before = fixture.now();
        let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
        let is_told = matches!(
            error,
            Error::Request(RequestError::NoConnection { .. }) | Error::Send(SendError::NoConnection { .. })
        );
        assert!(is_told, "{error:?}");
        assert!(fixture.now() <= before + SECOND / 10, "{:?}", fixture.now() - before);
    }
    assert!(is_closed, "the client of the node is closed some of the time");
}

/// Counts what it is asked about.
struct Counting(Arc<AtomicU64>);

impl NotificationHook for Counting {
    async fn pre_hook(&self, _: &HookContext, _: &Notification) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Continue
    }
}

/// Hooks see the notifications of each node, those of nodes that come later included. RULE-377
#[test]
fn hooks_see_every_node() {
    let (mut fixture, nodes, client) = cluster();
    let metrics = MetricsHook::new();
    let hook = client.add_hook(metrics.clone());
    // Metrics are read where they are; this one is called.
    let calls = Arc::new(AtomicU64::new(0));
    client.add_hook(Counting(Arc::clone(&calls)));
    let tell = |fixture: &mut Fixture| {
        fixture.with_server(|server, now| {
            server.migrating(now, Notice::new(SECOND));
            server.migrated(now, Notice::new(SECOND));
        });
        fixture.pass(SECOND);
        let seen = metrics.snapshot().metrics;
        let kinds = [NotificationKind::Migrating, NotificationKind::Migrated];
        let received = kinds.into_iter().map(|kind| seen.notifications(kind).received).sum::<u64>();
        assert_eq!(calls.load(Ordering::Relaxed), received);
        received
    };
    assert_eq!(tell(&mut fixture), 6, "a beginning and an end at three nodes");
    fixture.with_server(|server, now| {
        server.add_node(nodes[3]);
        server.assign_slots(now, [key_slot(b"foo")], nodes[3]);
    });
    fixture.block_on(client.call(get("foo"))).unwrap();
    // A node tells whoever comes of the last end.
    assert_eq!(tell(&mut fixture), 6 + 1 + 8);
    assert!(client.remove_hook(hook) && !client.remove_hook(hook));
    assert_eq!(client.hook_failures(), hitless_core::driver::HookFailures::default());
}

/// A primary says nothing any more, and its connections stay: the first command that times out there has the topology read, which
/// shows its successor. RULE-388
#[test]
fn a_silent_primary_is_replaced_after_the_first_timeout() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| {
        server.set_reply_delay(nodes[2], 3600 * SECOND, None);
        server.assign_slots(now, [key_slot(b"foo")], nodes[0]);
    });
    let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::TimedOut { .. })), "{error:?}");
    fixture.pass(SECOND / 2);
    let before = fixture.now();
    fixture.block_on(client.call(set("foo", "x"))).unwrap();
    assert_eq!(client.node_for("foo").unwrap().endpoint().to_string(), "127.0.0.1:6379");
    assert_eq!(fixture.now(), before);
}

/// A batch that is for another slot than the watched keys would run as long as one node serves both slots. RULE-440
#[test]
fn all_keys_of_a_transaction_have_one_slot() {
    let (mut fixture, _, client) = cluster();
    let batches = [
        (Pipeline::from([set("foo", "1"), set("bar", "1")]), Some(key_slot(b"bar"))),
        (Pipeline::from([cmd("MSET").args(["bar", "1", "foo", "1"])]), Some(key_slot(b"bar"))),
        // Nobody knows where the keys of a module's commands are.
        (Pipeline::from([cmd("MODULE.DO").arg("bar")]), None),
        (Pipeline::from([set("foo", "2"), cmd("PING")]), None),
    ];
    for (batch, other) in batches {
        let before = fixture.received().len();
        let outcome =
            fixture.block_on(client.transaction(["foo"], |_| std::future::ready(Ok(Some(batch.clone())))));
        let refused = match outcome {
            Err(Error::Route(RouteError::CrossSlot { first, other })) => Some((first, other)),
            _ => None,
        };
        assert_eq!(refused, other.map(|other| (key_slot(b"foo"), other)));
        assert_eq!(fixture.received().len() - before == 2, other.is_some(), "WATCH and UNWATCH");
    }
}

/// Another connection by the same key would not help. RULE-440
#[test]
fn a_transaction_that_reads_a_key_of_another_slot_ends_at_once() {
    let (mut fixture, _, client) = cluster();
    let before = fixture.now();
    let error = fixture.block_on(client.transaction(["foo"], |lease| async move {
        lease.call(get("bar")).await?;
        Ok(None)
    }));
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Server(error) if error.code() == "MOVED"), "{error:?}");
    assert!(error.to_string().contains("lease a connection by a key of this slot"), "{error}");
    assert_eq!((fixture.now(), client.stats().moved), (before, 0));
}

/// A typed command of a transaction is redirected as others are: everything begins again at the other node. RULE-373
#[test]
fn a_transaction_whose_typed_command_is_redirected_begins_again() {
    use redis::AsyncCommands as _;

    let (mut fixture, _, client) = cluster();
    let moved = Frame::error(format!("MOVED {} 127.0.0.1:6379", key_slot(b"foo")));
    fixture.with_server(|server, _| server.add_rule(Rule::new(Fault::Refuse(moved)).on("GET")));
    let mut tries = 0;
    let replies = client.transaction(["foo"], |mut lease| {
        tries += 1;
        async move {
            let _: Option<String> = lease.get("foo").await?;
            Ok(Some(Pipeline::from([set("foo", "1")])))
        }
    });
    assert_eq!(fixture.block_on(replies).unwrap().map(|replies| replies.len()), Some(1));
    assert_eq!(tries, 2);
}
