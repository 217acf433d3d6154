//! The cluster client, whose nodes are three endpoints of one server.

use hitless_conformance::server::{
    CloseHow, Closes, EndpointId, Event as Entry, Moving, NodeNaming, Notice, Target as MoveTo,
};
use hitless_core::cluster::{ClusterEvent, NodeError, SlotsMoveCause, TopologyError, key_slot};
use hitless_core::config::WhenDisconnected;
use hitless_core::driver::{ClusterBuilder, ClusterClient, ClusterReply};
use hitless_core::error::RouteError;
use hitless_core::notification::NotificationKind;

use super::*;

/// A key of each node, in the order of the nodes.
const KEYS: [&str; 3] = ["bar", "k", "foo"];
const PORTS: [u16; 3] = [6379, 2, 3];

/// Three nodes with a third of the slots each, and a fourth endpoint that is none.
fn nodes() -> (Fixture, Vec<EndpointId>) {
    let mut server = Server::new(ServerConfig::default());
    let address = |port| EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let nodes = PORTS.map(|port| server.add_endpoint(address(port)));
    server.form_cluster(&nodes);
    let spare = server.add_endpoint(address(4));
    (Fixture::new(server), nodes.into_iter().chain([spare]).collect())
}

fn cluster_builder(fixture: &Fixture, ports: &[u16]) -> ClusterBuilder<Executor, Network> {
    let urls = ports.iter().map(|port| format!("redis://127.0.0.1:{port}"));
    let builder = ClusterBuilder::new(fixture.runtime(), fixture.network(), urls).unwrap();
    builder.maintenance(maintenance::Config::builder().mode(Mode::Auto).build().unwrap()).pool_size(1)
}

fn cluster() -> (Fixture, Vec<EndpointId>, ClusterClient<Executor>) {
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

/// The commands with keys, and ASKING, in the order in which they came to each node.
fn received_at(fixture: &Fixture, node: EndpointId) -> Vec<String> {
    fixture.with_server(|server, _| {
        let entries = server.ledger().entries().iter();
        let words = entries.filter_map(|entry| match &entry.event {
            Entry::Received(request) if !request.is_handshake() && entry.endpoint == node => {
                Some(String::from_utf8_lossy(request.name()).into_owned())
            }
            _ => None,
        });
        words.filter(|name| name != "CLUSTER").collect()
    })
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

/// One seed is away, and says nothing: the others are asked at the same time. No seed at all is an error that is bounded. RULE-361
#[test]
fn a_dead_seed_delays_nothing() {
    let (mut fixture, nodes) = nodes();
    fixture.with_server(|server, now| server.black_hole(now, nodes[0], None));
    let before = fixture.now();
    let client = fixture.block_on(cluster_builder(&fixture, &[6379, 2]).connect()).unwrap();
    assert_eq!(fixture.now(), before);
    // Its slots wait for it, and no others do.
    fixture.block_on(client.call(set("k", "x"))).unwrap();
    assert_eq!(fixture.now(), before);
    drop(client);
    fixture.swallow_dials();
    let builder = cluster_builder(&fixture, &[6379, 2]).connect_timeout(SECOND);
    let error = fixture.block_on(builder.connect()).unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error:?}");
    assert!(fixture.now() <= before + 2 * SECOND);
    fixture.run();
    assert_nothing_is_left(&fixture);
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
    let differ = ["redis://127.0.0.1:1", "redis://:secret@127.0.0.1:2"];
    let error = ClusterBuilder::new(fixture.runtime(), fixture.network(), differ).err().unwrap();
    assert!(error.to_string().contains("the same but for host and port"), "{error}");
    assert!(ClusterBuilder::new(fixture.runtime(), fixture.network(), [""; 0]).is_err());
}

/// A slot moves without a word: the first command learns it by MOVED, the others go there at once. Its batch is not run in
/// two halves, and each command has run once. RULE-364, RULE-365, INV-05
#[test]
fn moved_commands_are_sent_again() {
    let (mut fixture, nodes, client) = cluster();
    let slot = key_slot(b"foo");
    fixture.with_server(|server, now| server.assign_slots(now, [slot], nodes[0]));
    let incr = || cmd("INCR").arg("foo");
    let batch = Pipeline::atomic().command(incr()).command(incr());
    let counts: (u64, u64) = fixture.block_on(client.query_pipeline(batch)).unwrap();
    assert_eq!(counts, (1, 2));
    assert_eq!(client.stats().moved, 1);
    for expected in 3..6_u64 {
        assert_eq!(fixture.block_on(client.query::<u64>(incr())).unwrap(), expected);
    }
    assert_eq!(client.stats().moved, 1, "{:?}", client.stats());
    // Another one, in a pipeline over all nodes.
    fixture.with_server(|server, now| server.assign_slots(now, [slot], nodes[1]));
    let mixed = Pipeline::from([set("bar", "1"), incr(), set("k", "2"), incr(), get("bar"), get("k")]);
    let replies: ((), u64, (), u64, u64, u64) = fixture.block_on(client.query_pipeline(mixed)).unwrap();
    assert_eq!(replies, ((), 6, (), 7, 1, 2));
}

/// While a slot is between two nodes: ASKING right ahead of each command, in one write, and the map stays as it is. What needs keys of
/// both, and every batch, waits. RULE-364, RULE-365
#[test]
fn a_slot_on_the_move_is_asked_for() {
    let (mut fixture, nodes, client) = cluster();
    fixture.block_on(client.call(cmd("MSET").args(["{foo}1", "a", "{foo}2", "b"]))).unwrap();
    fixture.with_server(|server, now| {
        server.open_slots(now, [key_slot(b"foo")], nodes[0]);
        server.carry_key(b"{foo}2");
    });
    let pipeline = Pipeline::from([get("{foo}1"), get("{foo}2"), set("{foo}3", "c"), get("{foo}3")]);
    let replies: (String, String, (), String) = fixture.block_on(client.query_pipeline(pipeline)).unwrap();
    assert_eq!(replies, ("a".into(), "b".into(), (), "c".into()));
    assert_eq!(received_at(&fixture, nodes[0]), ["ASKING", "GET", "ASKING", "SET", "ASKING", "GET"]);
    assert_eq!(client.node_for("foo").unwrap().endpoint().to_string(), "127.0.0.1:3");

    let both = client.send(Request::command(cmd("MGET").args(["{foo}1", "{foo}2"])).unwrap()).unwrap();
    let batch = Pipeline::atomic().command(get("{foo}2")).into_request().unwrap().unwrap();
    let batch = client.send(batch).unwrap();
    let (mut both, mut batch): (Pinned, Pinned) = (Box::pin(both), Box::pin(batch));
    for _ in 0..20 {
        fixture.pass(Duration::from_millis(10));
        assert!(poll_once(both.as_mut()).is_pending() && poll_once(batch.as_mut()).is_pending());
    }
    fixture.with_server(|server, now| server.close_slots(now, [key_slot(b"foo")]));
    let closed_at = fixture.now();
    let values = vec![Frame::bulk("a"), Frame::bulk("b")];
    assert_eq!(fixture.block_on(both).unwrap()[..], [Frame::Array(values)]);
    assert_eq!(fixture.block_on(batch).unwrap()[2], Frame::Array(vec![Frame::bulk("b")]));
    assert!(fixture.now() < closed_at + SECOND, "{:?}", fixture.now() - closed_at);
}

/// It waits at its node before anybody polls it, and at the next one when the slot has moved. RULE-380
#[test]
fn a_command_that_waits_follows_its_slot() {
    let (mut fixture, nodes, client) = cluster();
    let pop = Request::command(cmd("BLPOP").arg("foo").arg(0)).unwrap();
    let mut popped: Pinned = Box::pin(client.send(pop).unwrap());
    fixture.pass(SECOND);
    assert_eq!(received_at(&fixture, nodes[2]), ["BLPOP"]);
    fixture.with_server(|server, now| server.assign_slots(now, [key_slot(b"foo")], nodes[0]));
    fixture.run();
    assert!(poll_once(popped.as_mut()).is_pending());
    fixture.pass(SECOND);
    fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
    let element = Frame::Array(vec![Frame::bulk("foo"), Frame::bulk("x")]);
    assert_eq!(fixture.block_on(popped).unwrap()[..], [element]);
}

type Pinned = std::pin::Pin<Box<ClusterReply<Executor>>>;

/// Slots that are announced to move are gone to where they are before anybody is sent away, whichever node has told first. RULE-374
#[test]
fn announced_slots_move_without_a_redirect() {
    let (mut fixture, nodes, client) = cluster();
    let mut events = client.events();
    fixture.block_on(client.call(set("foo", "x"))).unwrap();
    fixture.with_server(|server, now| {
        server.slots_migrating(now, Notice::of_slots("12000-12200", Duration::ZERO));
        server.assign_slots(now, 12000..=12200, nodes[0]);
        server.slots_migrated(now, nodes[2], nodes[0], Notice::of_slots("12000-12200", Duration::ZERO));
    });
    fixture.run();
    assert_eq!(fixture.block_on(client.query::<String>(get("foo"))).unwrap(), "x");
    assert_eq!((client.stats().moved, received_at(&fixture, nodes[0])), (0, vec!["GET".to_owned()]));
    let moved = std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
        Ok(ClusterEvent::SlotsMoved { slots, cause: SlotsMoveCause::Announced(_), .. }) => Some(slots),
        _ => None,
    });
    assert_eq!(moved, Some(201));
}

/// The destination of an announced move is a node that nobody knew. RULE-374
#[test]
fn announced_slots_move_to_a_newcomer() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| {
        server.add_node(nodes[3]);
        server.assign_slots(now, 12000..=12200, nodes[3]);
        server.slots_migrated(now, nodes[2], nodes[3], Notice::of_slots("12000-12200", Duration::ZERO));
    });
    fixture.run();
    fixture.block_on(client.call(set("foo", "x"))).unwrap();
    assert_eq!((client.stats().moved, client.nodes().len()), (0, 4));
    assert_eq!(client.node_for("foo").unwrap().endpoint().to_string(), "127.0.0.1:4");
}

/// One node is away: what is for the others does not wait, and what is for it waits until it is back, or until its time is over. RULE-371
#[test]
fn a_node_that_is_away_is_a_matter_of_its_own_slots() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], None);
        server.kill_all(now, nodes[2], CloseHow::Reset);
    });
    fixture.run();
    let before = fixture.now();
    for key in ["bar", "k"] {
        fixture.block_on(client.call(set(key, "x"))).unwrap();
    }
    assert_eq!(fixture.now(), before);
    let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
    assert_eq!(error.delivery(), Some(Delivery::NotSent), "{error}");
    assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
    assert!(fixture.now() <= before + 3 * SECOND, "{:?}", fixture.now() - before);

    let waits = client.send(Request::command(set("foo", "y")).unwrap()).unwrap();
    let mut waits: Pinned = Box::pin(waits);
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.pass(SECOND / 2);
    fixture.with_server(|server, _| server.restore(nodes[2]));
    fixture.block_on(waits).unwrap();
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

/// A node that cannot be opened has a client that is closed: callers are told why it cannot be opened, and not that their own client was shut
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

/// A failover is announced, and the primary is gone before its replica has taken over: callers go to that as soon as it has, and do not wait
/// for the window to end. RULE-371
#[test]
fn nobody_waits_for_a_primary_that_does_not_come_back() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| {
        server.add_replica(nodes[3], nodes[2]);
        server.failing_over(now, Notice::new(10 * SECOND));
        server.refuse_dials(now, nodes[2], None);
        server.kill_all(now, nodes[2], CloseHow::Reset);
    });
    fixture.run();
    let before = fixture.now();
    let mut waits: Pinned = Box::pin(client.send(Request::command(set("foo", "y")).unwrap()).unwrap());
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.pass(SECOND / 2);
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.with_server(|server, now| server.promote(now, nodes[3]));
    assert_eq!(fixture.block_on(waits).unwrap()[..], [Frame::simple("OK")]);
    assert!(fixture.now() < before + 3 * SECOND, "{:?}", fixture.now() - before);
}

/// The cluster is down for a moment: callers wait for it. RULE-371
#[test]
fn a_cluster_that_is_down_is_waited_for() {
    let (mut fixture, _, client) = cluster();
    fixture.with_server(|server, now| server.set_cluster_down(now, true));
    let mut waits: Pinned = Box::pin(client.send(Request::command(set("foo", "y")).unwrap()).unwrap());
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.pass(SECOND / 2);
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.with_server(|server, now| server.set_cluster_down(now, false));
    assert_eq!(fixture.block_on(waits).unwrap()[..], [Frame::simple("OK")]);

    fixture.with_server(|server, now| server.set_cluster_down(now, true));
    let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
    assert!(matches!(&error, Error::Server(error) if error.code() == "CLUSTERDOWN"), "{error:?}");
}

/// A MOVING of one node is a matter of that node's client: the others keep their connections. RULE-376
#[test]
fn one_node_moves_and_the_others_stay() {
    let (mut fixture, nodes, client) = cluster();
    let before = fixture.dialled().len();
    fixture.with_server(|server, now| {
        server.add_node(nodes[3]);
        server.assign_slots(now, 0..=5460, nodes[3]);
        let moving = Moving::new(MoveTo::Endpoint(nodes[3]), 10 * SECOND);
        server.moving(now, nodes[0], moving.closing(Closes::Everyone));
        server.remove_node(now, nodes[0]);
    });
    for _ in 0..30 {
        for key in KEYS {
            fixture.block_on(client.call(set(key, "x"))).unwrap();
        }
        fixture.pass(SECOND / 2);
    }
    let dialled: Vec<String> = fixture.dialled()[before..].iter().map(|it| it.address.to_string()).collect();
    assert!(dialled.iter().all(|address| address == "127.0.0.1:4"), "{dialled:?}");
}

/// Nodes that do not say where they are, are where they were asked. RULE-360
#[test]
fn nodes_without_names_are_where_they_were_asked() {
    for naming in [NodeNaming::Empty, NodeNaming::Null] {
        let (mut fixture, nodes) = nodes();
        fixture.with_server(|server, _| nodes[..3].iter().for_each(|node| server.announce_as(*node, naming)));
        let client = fixture.block_on(cluster_builder(&fixture, &[2]).connect()).unwrap();
        for key in KEYS {
            fixture.block_on(client.call(set(key, "x"))).unwrap();
        }
        fixture.with_server(|server, now| server.assign_slots(now, [key_slot(b"foo")], nodes[0]));
        fixture.block_on(client.call(get("foo"))).unwrap();
        assert_eq!(client.stats().moved, 1);
    }
}

/// Hooks see the notifications of each node, those of nodes that come later included. RULE-377
#[test]
fn hooks_see_every_node() {
    use hitless_core::driver::MetricsHook;

    let (mut fixture, nodes, client) = cluster();
    let metrics = MetricsHook::new();
    let hook = client.add_hook(metrics.clone());
    let tell = |fixture: &mut Fixture| {
        fixture.with_server(|server, now| {
            server.migrating(now, Notice::new(SECOND));
            server.migrated(now, Notice::new(SECOND));
        });
        fixture.pass(SECOND);
        let seen = metrics.snapshot().metrics;
        let kinds = [NotificationKind::Migrating, NotificationKind::Migrated];
        kinds.into_iter().map(|kind| seen.notifications(kind).received).sum::<u64>()
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

/// RULE-363
#[test]
fn what_has_no_node_is_not_sent() {
    let (mut fixture, _, client) = cluster();
    let across = Request::command(cmd("MGET").args(KEYS)).unwrap();
    let refused = client.send(across).unwrap_err();
    assert!(
        matches!(&refused, SendError::NoRoute { reason: RouteError::CrossSlot { .. }, .. }),
        "{refused:?}"
    );
    let batch = Pipeline::atomic().command(get("bar")).command(get("foo"));
    let error = fixture.block_on(client.pipeline(batch)).unwrap_err();
    assert!(matches!(error, Error::Route(RouteError::CrossSlot { .. })), "{error:?}");
    assert_eq!(error.delivery(), Some(Delivery::NotSent));
    assert!(fixture.received().iter().all(|name| name == "CLUSTER"), "{:?}", fixture.received());
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

/// A node cannot be opened, and a dial there hangs while the time of a request is over: its caller is told why. RULE-234
#[test]
fn a_timeout_says_why_the_node_cannot_be_opened() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], None));
    fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
    fixture.pass(5 * SECOND);
    fixture.with_server(|server, now| {
        server.restore(nodes[2]);
        server.black_hole(now, nodes[2], None);
    });
    for _ in 0..20 {
        let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
        assert_eq!(error.delivery(), Some(Delivery::NotSent));
        fixture.pass(SECOND / 3);
    }
}
