//! Reads from replicas: the third node has one, or two.

use hitless_conformance::server::{
    CloseHow, Closes, Condition, Event as Entry, Fault, Moving, Rule, Target as MoveTo,
};
use hitless_core::cluster::ReadFrom;
use hitless_core::config::WhenFull;

use super::*;

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
        words.filter(|name| !matches!(&name[..], "CLUSTER" | "READONLY")).collect()
    })
}

/// Three nodes, of which the last has so many replicas.
fn with_replicas(count: usize) -> (Fixture, Vec<EndpointId>) {
    let mut server = Server::new(ServerConfig::default());
    let address = |port| EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let nodes: Vec<EndpointId> = [6379, 2, 3, 4, 5].map(|port| server.add_endpoint(address(port))).into();
    server.form_cluster(&nodes[..3]);
    nodes[3..3 + count].iter().for_each(|replica| server.add_replica(*replica, nodes[2]));
    (Fixture::new(server), nodes)
}

fn reading(fixture: &Fixture) -> ClusterBuilder<Executor, Network> {
    cluster_builder(fixture, &[6379]).read_from(ReadFrom::PreferReplica)
}

/// A client that reads from a replica of the third node, whose key has a value. Nothing was received but that.
fn reader() -> (Fixture, Vec<EndpointId>, ClusterClient<Executor>) {
    let (mut fixture, nodes) = with_replicas(1);
    let client = fixture.block_on(reading(&fixture).connect()).unwrap();
    fixture.pass(Duration::from_millis(1));
    fixture.block_on(client.call(set("foo", "x"))).unwrap();
    (fixture, nodes, client)
}

fn value(fixture: &mut Fixture, client: &ClusterClient<Executor>) -> String {
    fixture.block_on(client.query(get("foo"))).unwrap()
}

/// Writes, and what has to do with them, are the primary's; so is the read of a shard without a replica. RULE-405, CLUSTER-22
#[test]
fn reads_go_to_a_replica_and_nothing_else_does() {
    let (mut fixture, nodes, client) = reader();
    assert_eq!(value(&mut fixture, &client), "x");
    let reads = Pipeline::from([get("foo"), get("bar"), cmd("MGET").args(["foo", "{foo}2"])]);
    let replies = fixture.block_on(client.pipeline(reads)).unwrap();
    assert_eq!(replies[2], Frame::Array(vec![Frame::bulk("x"), Frame::Null]));
    fixture.block_on(client.call_split(cmd("EXISTS").args(["foo", "bar"]))).unwrap();
    assert_eq!(received_at(&fixture, nodes[3]), ["GET", "GET", "MGET", "EXISTS"]);
    assert_eq!(received_at(&fixture, nodes[2]), ["SET"]);
    assert_eq!(received_at(&fixture, nodes[0]), ["GET", "EXISTS"]);

    let mixed = Pipeline::from([get("foo"), set("foo", "y"), get("foo")]);
    let replies: (String, (), String) = fixture.block_on(client.query_pipeline(mixed)).unwrap();
    assert_eq!(replies, ("x".into(), (), "y".into()));
    fixture.block_on(client.pipeline(Pipeline::atomic().command(get("foo")))).unwrap();
    fixture
        .block_on(client.request(Request::command(set("foo", "z")).unwrap().replay(Replay::Idempotent)))
        .unwrap();
    let lease = fixture.block_on(client.lease("foo")).unwrap();
    fixture.block_on(lease.call(get("foo"))).unwrap();
    drop(lease);
    assert_eq!(received_at(&fixture, nodes[3]).len(), 4);
    let expected = ["SET", "GET", "SET", "GET", "MULTI", "GET", "EXEC", "SET", "GET"];
    assert_eq!(received_at(&fixture, nodes[2]), expected);
    assert_eq!(client.stats().moved, 0);
    drop(client);
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// RULE-405
#[test]
fn without_being_told_to_nobody_reads_from_a_replica() {
    let (mut fixture, nodes) = with_replicas(1);
    let client = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap();
    assert_eq!(fixture.block_on(client.call(get("foo"))).unwrap(), Frame::Null);
    fixture.pass(10 * SECOND);
    assert_eq!((received_at(&fixture, nodes[2]), client.nodes().len()), (vec!["GET".to_owned()], 3));
    assert!(fixture.dialled().iter().all(|dialled| dialled.address.to_string() != "127.0.0.1:4"));
    assert!(fixture.received().iter().all(|name| name != "READONLY"), "{:?}", fixture.received());
}

/// RULE-406
#[test]
fn replicas_share_the_reads_and_a_key_stays_with_its_own() {
    let (mut fixture, nodes) = with_replicas(2);
    let client = fixture.block_on(reading(&fixture).connect()).unwrap();
    fixture.pass(Duration::from_millis(1));
    let is_there = |key: &String| key_slot(key.as_bytes()) > 10_922;
    let keys: Vec<String> = (0..).map(|number| format!("key:{number}")).filter(is_there).take(20).collect();
    let reads = || keys.iter().map(|key| get(key)).collect::<Pipeline>();
    fixture.block_on(client.pipeline(reads())).unwrap();
    let of_each = [3, 4].map(|replica| received_at(&fixture, nodes[replica]).len());
    assert!(of_each[0] > 3 && of_each[1] > 3 && of_each[0] + of_each[1] == 20, "{of_each:?}");
    for key in &keys {
        fixture.block_on(client.call(get(key))).unwrap();
    }
    assert_eq!(
        [3, 4].map(|replica| received_at(&fixture, nodes[replica]).len()),
        of_each.map(|reads| 2 * reads)
    );
    // One of them is away.
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[3], None);
        server.kill_all(now, nodes[3], CloseHow::Reset);
    });
    fixture.pass(SECOND);
    let before = received_at(&fixture, nodes[4]).len();
    fixture.block_on(client.pipeline(reads())).unwrap();
    assert_eq!(received_at(&fixture, nodes[4]).len(), before + 20);
    assert_eq!(received_at(&fixture, nodes[2]), [""; 0]);
}

/// Some services know no READONLY: all reads are their primaries', and nothing fails. RULE-407
#[test]
fn a_server_that_refuses_readonly_is_read_from_at_its_primary() {
    for refusal in ["ERR unknown command 'READONLY'", "NOPERM no"] {
        let (mut fixture, nodes) = with_replicas(1);
        let rule = Rule::new(Fault::Refuse(Frame::error(refusal))).on("READONLY").always();
        fixture.with_server(|server, _| server.add_rule(rule));
        let client = fixture.block_on(reading(&fixture).connect()).unwrap();
        fixture.pass(SECOND);
        fixture.block_on(client.call(set("foo", "x"))).unwrap();
        assert_eq!(value(&mut fixture, &client), "x");
        assert_eq!(
            (received_at(&fixture, nodes[2]), client.stats().moved),
            (vec!["SET".into(), "GET".into()], 0)
        );
        assert_eq!(received_at(&fixture, nodes[3]), [""; 0]);
        // It knows the command after an upgrade.
        fixture.with_server(|server, now| {
            server.clear_rules();
            server.kill_all(now, nodes[3], CloseHow::Reset);
            server.refuse_dials(now, nodes[3], Some(now + SECOND));
        });
        fixture.pass(5 * SECOND);
        assert_eq!(value(&mut fixture, &client), "x");
        assert_eq!(received_at(&fixture, nodes[3]), ["GET"]);
    }
}

/// RULE-408
#[test]
fn a_read_that_a_replica_refuses_is_run_by_its_primary_at_once() {
    for condition in [Condition::Loading, Condition::MasterDown] {
        let (mut fixture, nodes, client) = reader();
        fixture.with_server(|server, now| server.set_condition(now, nodes[3], condition));
        let before = fixture.now();
        for _ in 0..10 {
            assert_eq!(value(&mut fixture, &client), "x");
        }
        assert_eq!(fixture.now(), before);
        let [at_replica, at_primary] = [3, 2].map(|node| received_at(&fixture, nodes[node]).len());
        assert!(at_replica == 1 && at_primary == 11, "{at_replica} {at_primary}: it is left alone meanwhile");
        fixture.with_server(|server, now| server.set_condition(now, nodes[3], Condition::Serving));
        fixture.pass(3 * SECOND);
        assert_eq!(value(&mut fixture, &client), "x");
        assert_eq!(received_at(&fixture, nodes[3]).len(), 2);
    }
}

/// A pipeline of reads comes back whole, though the replica was in order for its end: nothing is undone by reading late. RULE-408
#[test]
fn a_pipeline_of_reads_is_mended_by_the_primary() {
    let (mut fixture, nodes, client) = reader();
    let loading = Rule::new(Fault::Refuse(Frame::error("LOADING Redis is loading"))).on("GET").at(nodes[3]);
    fixture.with_server(|server, _| server.add_rule(loading));
    let reads = Pipeline::from([get("foo"), get("foo")]);
    let values: (String, String) = fixture.block_on(client.query_pipeline(reads)).unwrap();
    assert_eq!(values, ("x".into(), "x".into()));
    assert_eq!(received_at(&fixture, nodes[2]), ["SET", "GET"]);
}

/// Whatever becomes of its connections: no read waits for a replica, or is an error because of it. RULE-408
#[test]
fn a_read_that_a_replica_loses_is_run_by_its_primary_at_once() {
    for when_disconnected in [WhenDisconnected::Wait, WhenDisconnected::Fail] {
        for how in [Fault::CloseUnexecuted(CloseHow::Reset), Fault::CloseUnanswered(CloseHow::Fin)] {
            let (mut fixture, nodes) = with_replicas(1);
            let builder = reading(&fixture).when_disconnected(when_disconnected);
            let client = fixture.block_on(builder.connect()).unwrap();
            fixture.block_on(client.call(set("foo", "x"))).unwrap();
            fixture.with_server(|server, now| {
                server.add_rule(Rule::new(how.clone()).on("GET").at(nodes[3]));
                // It takes no other connection, and does not say so.
                server.black_hole(now, nodes[3], None);
            });
            let before = fixture.now();
            for _ in 0..3 {
                assert_eq!(value(&mut fixture, &client), "x");
            }
            assert_eq!(fixture.now(), before);
            for _ in 0..40 {
                fixture.pass(SECOND / 4);
                let before = fixture.now();
                assert_eq!(value(&mut fixture, &client), "x");
                assert_eq!(fixture.now(), before);
            }
            fixture.with_server(|server, _| server.restore(nodes[3]));
            fixture.pass(30 * SECOND);
            let before = received_at(&fixture, nodes[3]).len();
            assert_eq!(value(&mut fixture, &client), "x");
            assert_eq!(received_at(&fixture, nodes[3]).len(), before + 1, "it is back");
        }
    }
}

/// A replica that is closed under a read, and one that nobody knows to be closed. RULE-408
#[test]
fn a_read_at_a_replica_that_somebody_has_closed_goes_on() {
    let (mut fixture, nodes, client) = reader();
    let replica =
        client.nodes().into_iter().find(|node| node.endpoint().to_string() == "127.0.0.1:4").unwrap();
    let primary = client.node_for("foo").unwrap().id();
    let is_primary = |id| client.nodes().iter().any(|node| node.id() == id && node.is_primary());
    assert!(is_primary(primary) && !is_primary(replica.id()));
    assert_eq!(client.nodes().iter().filter(|node| node.is_primary()).count(), 3);
    fixture.block_on(replica.client().shutdown(Duration::ZERO));
    let before = fixture.now();
    assert_eq!(value(&mut fixture, &client), "x");
    assert_eq!(fixture.now(), before);
    assert_eq!(received_at(&fixture, nodes[2]), ["SET", "GET"]);
}

/// The slot has gone to another shard: the primary says where, and the map is not its replica's to change. RULE-409
#[test]
fn a_slot_that_has_moved_is_read_where_it_is() {
    let (mut fixture, nodes, client) = reader();
    fixture.with_server(|server, now| server.assign_slots(now, [key_slot(b"foo")], nodes[0]));
    assert_eq!(value(&mut fixture, &client), "x");
    let received = [3, 2, 0].map(|node| received_at(&fixture, nodes[node]));
    assert_eq!(received, [vec!["GET"], vec!["SET", "GET"], vec!["GET"]]);
    assert_eq!(value(&mut fixture, &client), "x");
    assert_eq!(received_at(&fixture, nodes[3]).len(), 1);
    // The replica is in order, and has the other slots.
    fixture.block_on(client.call(get("foo1"))).unwrap();
    assert_eq!(received_at(&fixture, nodes[3]).len(), 2);
}

/// As documented at the setting: a replica does not know that a key is on its way. RULE-409
#[test]
fn a_key_that_has_gone_ahead_of_its_slot_is_missing_at_replicas() {
    let (mut fixture, nodes, client) = reader();
    fixture.with_server(|server, now| {
        server.open_slots(now, [key_slot(b"foo")], nodes[0]);
        server.carry_key(b"foo");
    });
    assert_eq!(fixture.block_on(client.call(get("foo"))).unwrap(), Frame::Null);
    let careful = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap();
    assert_eq!(value(&mut fixture, &careful), "x");
    fixture.with_server(|server, now| server.close_slots(now, [key_slot(b"foo")]));
    assert_eq!(value(&mut fixture, &client), "x");
}

/// Its connections are what they were: READONLY changes nothing at a primary, and was sent to what is a replica now. RULE-410
#[test]
fn a_failover_needs_no_other_connections() {
    let (mut fixture, nodes, client) = reader();
    let dialled = fixture.dialled().len();
    fixture.with_server(|server, now| server.promote(now, nodes[3]));
    fixture.block_on(client.call(set("foo", "y"))).unwrap();
    fixture.pass(2 * SECOND);
    assert_eq!(value(&mut fixture, &client), "y");
    assert_eq!(received_at(&fixture, nodes[2]), ["SET", "SET", "GET"], "it is the replica now");
    assert_eq!(received_at(&fixture, nodes[3]), ["SET"]);
    assert_eq!((fixture.dialled().len(), client.stats().moved), (dialled, 1));
}

/// A primary that was demoted reads from its copy what stands behind a write that it refuses: that is read again behind the write. RULE-240
#[test]
fn a_pipeline_reads_what_it_has_written() {
    let (mut fixture, nodes, client) = reader();
    fixture.with_server(|server, now| server.promote(now, nodes[3]));
    let pipeline = Pipeline::from([get("foo"), set("foo", "y"), get("foo"), cmd("STRLEN").arg("foo")]);
    let values: (String, (), String, u64) = fixture.block_on(client.query_pipeline(pipeline)).unwrap();
    assert_eq!(values, ("x".into(), (), "y".into(), 1));
}

/// A replica takes a read and says nothing: the next ones do not follow it. RULE-408
#[test]
fn a_replica_that_says_nothing_is_not_read_from_again() {
    let (mut fixture, nodes, client) = reader();
    fixture.with_server(|server, _| server.set_reply_delay(nodes[3], 3600 * SECOND, None));
    let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::TimedOut { .. })), "{error:?}");
    fixture.run();
    let before = fixture.now();
    for _ in 0..10 {
        assert_eq!(value(&mut fixture, &client), "x");
    }
    assert_eq!(fixture.now(), before);
}

/// A primary that is gone is no matter of the reads of its shard, whether its replica has been promoted or not. RULE-405
#[test]
fn reads_go_on_while_a_primary_is_away() {
    let (mut fixture, nodes, client) = reader();
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], None);
        server.kill_all(now, nodes[2], CloseHow::Reset);
    });
    for _ in 0..20 {
        fixture.pass(SECOND / 10);
        let before = fixture.now();
        assert_eq!(value(&mut fixture, &client), "x");
        assert_eq!(fixture.now(), before);
    }
    fixture.with_server(|server, now| server.promote(now, nodes[3]));
    fixture.block_on(client.call(set("foo", "y"))).unwrap();
    assert_eq!(value(&mut fixture, &client), "y");
}

/// A MOVING of a replica is one of any node. RULE-376
#[test]
fn a_replica_that_moves_is_read_from_all_the_same() {
    let (mut fixture, nodes, client) = reader();
    let before = fixture.dialled().len();
    fixture.with_server(|server, now| {
        server.add_replica(nodes[4], nodes[2]);
        let moving = Moving::new(MoveTo::Endpoint(nodes[4]), 10 * SECOND);
        server.moving(now, nodes[3], moving.closing(Closes::Everyone));
        server.remove_node(now, nodes[3]);
    });
    for _ in 0..30 {
        assert_eq!(value(&mut fixture, &client), "x");
        fixture.pass(SECOND / 2);
    }
    let dialled: Vec<String> = fixture.dialled()[before..].iter().map(|it| it.address.to_string()).collect();
    assert!(dialled.iter().all(|address| address == "127.0.0.1:5"), "{dialled:?}");
    // At the instant of the move it is where it was.
    let read_there = received_at(&fixture, nodes[4]).len();
    assert!(read_there >= 29, "{read_there}");
}

/// Whoever waits for room reads from replicas as well. RULE-405
#[test]
fn reads_that_wait_for_room_go_to_a_replica() {
    let (mut fixture, nodes) = with_replicas(1);
    let client = fixture.block_on(reading(&fixture).when_full(WhenFull::Wait).connect()).unwrap();
    fixture.pass(Duration::from_millis(1));
    fixture.block_on(client.call(get("foo"))).unwrap();
    fixture.block_on(client.pipeline(Pipeline::from([get("foo"), get("bar")]))).unwrap();
    fixture.block_on(client.request(Request::command(get("foo")).unwrap())).unwrap();
    assert_eq!(received_at(&fixture, nodes[3]), ["GET", "GET", "GET"]);
}
