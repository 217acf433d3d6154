use resp3_codec::Frame;

use super::*;

/// Three primaries: slots 0 to 5460, to 10921 and to 16383. The slot of `foo` is 12182, that of `bar` 5061.
fn lab() -> (Lab, EndpointId) {
    let mut lab = Lab::new();
    let c = lab.server.add_endpoint(EndpointSpec::new("10.0.0.3:6379".parse().unwrap()));
    lab.server.form_cluster(&[lab.a, lab.b, c]);
    (lab, c)
}

fn moved(slot: u16, node: u8) -> String {
    format!("-MOVED {slot} 10.0.0.{node}:6379\r\n")
}

const CROSS_SLOT: &str = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
const TRY_AGAIN: &str = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";

#[test]
fn a_node_serves_its_slots_and_leads_to_the_others() {
    let (mut lab, c) = lab();
    let (a, c_conn) = (lab.dial(lab.a), lab.dial(c));
    assert_eq!(lab.ask(c_conn, "SET foo x"), "+OK\r\n");
    assert_eq!(lab.ask(a, "GET foo"), moved(12182, 3));
    assert_eq!(lab.ask(a, "MGET bar foo"), CROSS_SLOT);
    assert_eq!(lab.ask(a, "MSET bar foo {bar}2 x"), "+OK\r\n", "values are no keys");
    assert_eq!(lab.ask(a, "MSET bar x foo x"), CROSS_SLOT);
    assert_eq!(lab.ask(a, "CLUSTER KEYSLOT foo"), ":12182\r\n");
    assert_eq!([lab.ask(a, "DBSIZE"), lab.ask(c_conn, "DBSIZE")], [":2\r\n", ":1\r\n"]);
    lab.ask(a, "FLUSHALL");
    assert_eq!([lab.ask(a, "DBSIZE"), lab.ask(c_conn, "DBSIZE")], [":0\r\n", ":1\r\n"]);
}

#[test]
fn a_server_that_is_no_cluster_says_so() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    for command in ["CLUSTER SLOTS", "ASKING", "READONLY", "READWRITE"] {
        assert_eq!(lab.ask(conn, command), "-ERR This instance has cluster support disabled\r\n");
    }
    assert_eq!(lab.ask(conn, "MGET bar foo"), "*2\r\n$-1\r\n$-1\r\n");
}

/// While a slot is on the move, its old node has the keys that are left, its new one those that were carried over or are new.
#[test]
fn a_slot_on_the_move_is_served_by_two_nodes() {
    let (mut lab, c) = lab();
    let (old, new) = (lab.dial(c), lab.dial(lab.a));
    let ask = "-ASK 12182 10.0.0.1:6379\r\n";
    lab.ask(old, "MSET {foo}1 x {foo}2 x");
    // To its own node, or without a node, no slot moves.
    lab.server.open_slots(lab.now, [12182], c);
    lab.server.carry_key(b"{foo}1");
    assert_eq!(lab.ask(old, "GET {foo}1"), "$1\r\nx\r\n");
    lab.server.open_slots(lab.now, [12182], lab.a);
    lab.server.carry_key(b"{foo}2");
    assert_eq!(lab.ask(old, "GET {foo}1"), "$1\r\nx\r\n");
    assert_eq!([lab.ask(old, "GET {foo}2"), lab.ask(old, "GET {foo}3")], [ask, ask]);
    assert_eq!(lab.ask(old, "MGET {foo}1 {foo}2"), TRY_AGAIN);
    assert_eq!(lab.ask(old, "MGET {foo}2 {foo}3"), ask);

    assert_eq!(lab.ask(new, "GET {foo}2"), moved(12182, 3));
    assert_eq!([lab.ask(new, "ASKING"), lab.ask(new, "GET {foo}2")], ["+OK\r\n", "$1\r\nx\r\n"]);
    assert_eq!(lab.ask(new, "GET {foo}2"), moved(12182, 3), "ASKING is for one command");
    assert_eq!([lab.ask(new, "ASKING"), lab.ask(new, "MGET {foo}1 {foo}2")], ["+OK\r\n", TRY_AGAIN]);
    assert_eq!([lab.ask(new, "ASKING"), lab.ask(new, "SET {foo}3 y")], ["+OK\r\n", "+OK\r\n"]);
    assert_eq!(lab.ask(old, "GET {foo}3"), ask);

    lab.server.close_slots(lab.now, [12182]);
    assert_eq!(lab.server.slot_owner(12182), Some(lab.a));
    assert_eq!(lab.ask(old, "GET {foo}1"), moved(12182, 1));
    assert_eq!(lab.ask(new, "MGET {foo}1 {foo}3"), "*2\r\n$1\r\nx\r\n$1\r\ny\r\n");
}

#[test]
fn a_transaction_is_refused_by_the_wrong_node() {
    let (mut lab, c) = lab();
    let conn = lab.dial(c);
    assert_eq!([lab.ask(conn, "MULTI"), lab.ask(conn, "SET bar x")], ["+OK\r\n".to_owned(), moved(5061, 1)]);
    assert!(lab.ask(conn, "EXEC").starts_with("-EXECABORT "));
    // The slot goes while commands are queued: EXEC itself is led elsewhere, and nothing ran.
    assert_eq!([lab.ask(conn, "MULTI"), lab.ask(conn, "SET foo x")], ["+OK\r\n", "+QUEUED\r\n"]);
    lab.server.assign_slots(lab.now, [12182], lab.a);
    assert_eq!(lab.ask(conn, "EXEC"), moved(12182, 1));
    assert_eq!(lab.ask(conn, "EXEC"), "-ERR EXEC without MULTI\r\n");
    let there = lab.dial(lab.a);
    assert_eq!(lab.ask(there, "GET foo"), "$-1\r\n");
}

/// ASKING holds from MULTI to EXEC.
#[test]
fn a_transaction_may_follow_an_asking() {
    let (mut lab, c) = lab();
    lab.server.open_slots(lab.now, [12182], lab.a);
    let conn = lab.dial(lab.a);
    let answers = ["ASKING", "MULTI", "SET foo x", "EXEC"].map(|command| lab.ask(conn, command));
    assert_eq!(answers, ["+OK\r\n", "+OK\r\n", "+QUEUED\r\n", "*1\r\n+OK\r\n"]);
    assert_eq!(lab.ask(conn, "GET foo"), moved(12182, 3));
    let old = lab.dial(c);
    assert_eq!(lab.ask(old, "GET foo"), "-ASK 12182 10.0.0.1:6379\r\n");
}

#[test]
fn who_waits_for_a_key_whose_slot_goes_is_sent_after_it() {
    let (mut lab, c) = lab();
    let (old, new) = (lab.dial(c), lab.dial(lab.a));
    assert_eq!(lab.ask(old, "BLPOP foo 0"), "");
    lab.server.open_slots(lab.now, [12182], lab.a);
    assert_eq!(lab.read(old), "");
    lab.server.close_slots(lab.now, [12182]);
    assert_eq!(lab.read(old), moved(12182, 1));
    lab.ask(new, "RPUSH foo x");
    assert_eq!(lab.ask(new, "LLEN foo"), ":1\r\n");
}

/// A node tells those who are subscribed to a sharded channel when the channel goes to another one.
#[test]
fn a_sharded_channel_goes_with_its_slot() {
    let (mut lab, c) = lab();
    let [old, new, publisher] = [c, lab.a, lab.a].map(|node| lab.dial(node));
    assert_eq!(lab.ask(new, "SSUBSCRIBE foo"), moved(12182, 3));
    assert_eq!(lab.ask(old, "SSUBSCRIBE foo bar"), CROSS_SLOT);
    assert_eq!(lab.ask(old, "SSUBSCRIBE foo"), "*3\r\n$10\r\nssubscribe\r\n$3\r\nfoo\r\n:1\r\n");
    assert_eq!(lab.ask(publisher, "SPUBLISH foo x"), moved(12182, 3));
    lab.server.open_slots(lab.now, [12182], lab.a);
    assert_eq!(lab.read(old), "");
    lab.server.close_slots(lab.now, [12182]);
    assert_eq!(lab.read(old), "*3\r\n$12\r\nsunsubscribe\r\n$3\r\nfoo\r\n:0\r\n");
    lab.ask(new, "SSUBSCRIBE foo");
    assert_eq!(lab.ask(publisher, "SPUBLISH foo x"), ":1\r\n");
    assert_eq!(lab.read(new), "*3\r\n$8\r\nsmessage\r\n$3\r\nfoo\r\n$1\r\nx\r\n");
    assert_eq!(lab.read(old), "");
}

#[test]
fn a_replica_reads_for_those_who_ask_for_it_and_takes_over() {
    let (mut lab, c) = lab();
    let replica = lab.server.add_endpoint(EndpointSpec::new("10.0.0.4:6379".parse().unwrap()));
    lab.server.add_replica(replica, c);
    let (primary, conn) = (lab.dial(c), lab.dial(replica));
    lab.ask(primary, "SET foo x");
    assert_eq!(lab.ask(conn, "GET foo"), moved(12182, 3));
    assert_eq!([lab.ask(conn, "READONLY"), lab.ask(conn, "GET foo")], ["+OK\r\n", "$1\r\nx\r\n"]);
    assert_eq!([lab.ask(conn, "SET foo y"), lab.ask(conn, "GET bar")], [moved(12182, 3), moved(5061, 1)]);
    assert!(lab.ask(conn, "FLUSHALL").starts_with("-READONLY "));
    assert_eq!(
        [lab.ask(conn, "READWRITE"), lab.ask(conn, "GET foo")],
        ["+OK\r\n".to_owned(), moved(12182, 3)]
    );

    lab.server.promote(lab.now, replica);
    assert_eq!(
        [lab.ask(conn, "SET foo y"), lab.ask(primary, "GET foo")],
        ["+OK\r\n".to_owned(), moved(12182, 4)]
    );
    assert!(lab.ask(primary, "INFO").contains("role:slave\r\n"));
}

#[test]
fn slots_without_a_node_and_clusters_that_are_down_are_refused() {
    let (mut lab, c) = lab();
    let conn = lab.dial(c);
    lab.server.assign_slots(lab.now, [12182], None);
    assert_eq!(lab.ask(conn, "GET foo"), "-CLUSTERDOWN Hash slot not served\r\n");
    lab.server.set_cluster_down(lab.now, true);
    assert_eq!(lab.ask(conn, "GET {a}3"), "-CLUSTERDOWN The cluster is down\r\n");
    assert!(lab.ask(conn, "CLUSTER INFO").contains("cluster_state:fail"));
    assert_eq!(lab.ask(conn, "PING"), "+PONG\r\n");
}

#[test]
fn the_map_is_told_as_slots_and_as_shards() {
    let (mut lab, c) = lab();
    let replica = lab.server.add_endpoint(EndpointSpec::new("10.0.0.4:7000".parse().unwrap()));
    lab.server.add_replica(replica, lab.a);
    lab.server.assign_slots(lab.now, 10..=20, c);
    let conn = lab.dial(lab.b);
    lab.ask(conn, "HELLO 3");

    let slots = frame(&lab.ask(conn, "CLUSTER SLOTS"));
    let ranges = slots.as_array().unwrap();
    let bounds: Vec<_> = ranges.iter().map(|range| numbers(&range.as_array().unwrap()[..2])).collect();
    assert_eq!(bounds, [[0, 9], [10, 20], [21, 5460], [5461, 10921], [10922, 16383]]);
    let node = |host: &str, port: i64, id: &str, metadata: &[[&str; 2]]| {
        let words = [Frame::bulk(host.to_owned()), Frame::Integer(port), Frame::bulk(id.to_owned())];
        let metadata = metadata.iter().map(|pair| pair.map(|word| Frame::bulk(word.to_owned())).into());
        Frame::Array(words.into_iter().chain([Frame::Map(metadata.collect())]).collect())
    };
    let id = |conn, lab: &mut Lab| frame(&lab.ask(conn, "CLUSTER MYID")).as_str().unwrap().to_owned();
    let (a, copy) = (lab.dial(lab.a), lab.dial(replica));
    let ids = [id(a, &mut lab), id(copy, &mut lab)];
    let expected =
        [node("10.0.0.1", 6379, &ids[0], &[["hostname", "a.example"]]), node("10.0.0.4", 7000, &ids[1], &[])];
    assert_eq!(ranges[0].as_array().unwrap()[2..], expected);

    let shards = frame(&lab.ask(conn, "CLUSTER SHARDS"));
    let shards = shards.as_array().unwrap();
    assert_eq!(shards.len(), 3);
    let numbers = |shard: &Frame| numbers(field(shard, "slots").as_array().unwrap());
    assert_eq!(numbers(&shards[0]), [0, 9, 21, 5460]);
    let nodes = field(&shards[0], "nodes").as_array().unwrap();
    assert_eq!(
        nodes.iter().map(|node| field(node, "role").as_str().unwrap()).collect::<Vec<_>>(),
        ["master", "replica"]
    );
    assert_eq!(field(&nodes[1], "endpoint").as_str(), Some("10.0.0.4"));
    assert_eq!(field(&nodes[1], "port").as_int(), Some(7000));
    assert_eq!(field(&nodes[0], "hostname").as_str(), Some("a.example"));
}

#[test]
fn nodes_are_named_in_every_way() {
    let (mut lab, _) = lab();
    let conn = lab.dial(lab.b);
    for (naming, host, error) in [
        (NodeNaming::Address, Frame::bulk("10.0.0.1"), "10.0.0.1"),
        (NodeNaming::Host, Frame::bulk("a.example"), "a.example"),
        (NodeNaming::Empty, Frame::bulk(""), ""),
        (NodeNaming::Null, Frame::NullBulk, ""),
        (NodeNaming::Unknown, Frame::bulk("?"), "?"),
    ] {
        lab.server.announce_as(lab.a, naming);
        let slots = frame(&lab.ask(conn, "CLUSTER SLOTS"));
        let node = &slots.as_array().unwrap()[0].as_array().unwrap()[2];
        assert_eq!(node.as_array().unwrap()[0], host, "{naming:?}");
        assert_eq!(lab.ask(conn, "GET bar"), format!("-MOVED 5061 {error}:6379\r\n"));
    }
    for (ports, told) in [
        (ShardPorts::Plain, [Some(6379), None]),
        (ShardPorts::TlsZero, [Some(6379), Some(0)]),
        (ShardPorts::TlsOnly, [None, Some(6379)]),
    ] {
        lab.server.set_shard_ports(ports);
        let conn = lab.dial(lab.b);
        lab.ask(conn, "HELLO 3");
        let shards = frame(&lab.ask(conn, "CLUSTER SHARDS"));
        let node = &field(&shards.as_array().unwrap()[0], "nodes").as_array().unwrap()[0];
        assert!(field(node, "endpoint").as_str() == Some("?"));
        let ports = ["port", "tls-port"].map(|name| find(node, name).and_then(Frame::as_int));
        assert_eq!(ports, told);
    }
}

#[test]
fn a_node_announces_its_slots_to_its_own_clients() {
    let (mut lab, _) = lab();
    let (there, elsewhere) = (lab.opted_in(lab.a), lab.opted_in(lab.b));
    let notice = Notice::of_slots("1-5", SECOND).with_seq(9).told_to(Recipients::At(lab.a));
    lab.server.slots_migrating(lab.now, notice);
    assert_eq!(lab.read(there), ">3\r\n$10\r\nSMIGRATING\r\n:9\r\n$3\r\n1-5\r\n");
    assert_eq!(lab.read(elsewhere), "");
    let late = [lab.a, lab.b].map(|endpoint| {
        let conn = lab.dial(endpoint);
        lab.ask(conn, "HELLO 3");
        lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON")
    });
    assert!(late[0].contains("SMIGRATING") && !late[1].contains("SMIGRATING"), "{late:?}");
}

#[test]
fn moves_of_slots_are_told_in_every_form() {
    let (mut lab, _) = lab();
    let conn = lab.opted_in(lab.a);
    let moves = [["a:1", "b:2", "1,3-4"], ["a:1", "c:3", "9"]].map(|words| words.map(str::to_owned));
    let told = SlotsForm::ALL.map(|form| {
        lab.server.slots_migrated_in(lab.now, form, &moves, Notice::default().with_seq(7));
        let Frame::Push(words) = frame(&lab.read(conn)) else { panic!("no push") };
        written(&words[2..])
    });
    let expected = [
        "[[a:1 b:2 1,3-4] [a:1 c:3 9]]",
        "[[b:2 1,3-4] [c:3 9]]",
        "[b:2 1,3-4 c:3 9]",
        "a:1 b:2 1,3-4 a:1 c:3 9",
        "b:2 1,3-4 c:3 9",
    ];
    assert_eq!(told, expected);
}

fn frame(bytes: &str) -> Frame {
    let mut decoder = resp3_codec::Decoder::new(resp3_codec::Limits::default());
    decoder.buffer().extend_from_slice(bytes.as_bytes());
    decoder.poll_frame().unwrap().unwrap()
}

/// Strings as they are, arrays in brackets.
fn written(frames: &[Frame]) -> String {
    let words = frames.iter().map(|frame| match frame.as_array() {
        Some(elements) => format!("[{}]", written(elements)),
        None => frame.as_str().unwrap().to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn numbers(frames: &[Frame]) -> Vec<i64> {
    frames.iter().map(|frame| frame.as_int().unwrap()).collect()
}

fn find<'a>(map: &'a Frame, name: &str) -> Option<&'a Frame> {
    map.pairs().unwrap().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn field<'a>(map: &'a Frame, name: &str) -> &'a Frame {
    find(map, name).unwrap()
}
