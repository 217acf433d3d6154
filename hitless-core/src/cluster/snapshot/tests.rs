use proptest::prelude::*;

use super::*;

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text, 1).unwrap()
}

fn asked() -> Endpoint {
    endpoint("redis.example.com:7000")
}

fn array(items: impl IntoIterator<Item = Frame>) -> Frame {
    Frame::Array(items.into_iter().collect())
}

fn int(number: i64) -> Frame {
    Frame::Integer(number)
}

fn text(text: &str) -> Frame {
    Frame::bulk(text.to_owned())
}

fn map<const N: usize>(pairs: [(&'static str, Frame); N]) -> Frame {
    Frame::Map(pairs.into_iter().map(|(key, value)| (Frame::bulk(key), value)).collect())
}

fn flat<const N: usize>(pairs: [(&'static str, Frame); N]) -> Frame {
    array(pairs.into_iter().flat_map(|(key, value)| [Frame::bulk(key), value]))
}

/// One range with one primary, as CLUSTER SLOTS has it.
fn slots_of(node: Frame) -> Frame {
    array([array([int(0), int(16_383), node])])
}

fn first_of_slots(node: Frame) -> Listed {
    let snapshot = Snapshot::of_slots(&slots_of(node), &asked()).unwrap();
    assert_eq!(snapshot.ranges, [(SlotRange::new(0, 16_383).unwrap(), 0)]);
    snapshot.nodes[0].clone()
}

#[test]
fn slots_lists_ranges_with_primaries_and_replicas_each_node_once() {
    let node = |port: i64, name: &str| array([text("10.0.0.1"), int(port), text(name), array([])]);
    let reply = array([
        array([int(8_192), int(16_383), node(7001, "b"), node(7003, "d")]),
        array([int(0), int(5), node(7000, "a"), node(7002, "c")]),
        array([int(7), int(8_191), node(7000, "a"), node(7002, "c")]),
    ]);

    let snapshot = Snapshot::of_slots(&reply, &asked()).unwrap();

    let names: Vec<_> = snapshot.nodes.iter().filter_map(|node| node.name.as_deref()).collect();
    assert_eq!(names, ["b", "d", "a", "c"]);
    assert_eq!(snapshot.nodes[2].endpoint, Some(endpoint("10.0.0.1:7000")));
    let range = |start, end| SlotRange::new(start, end).unwrap();
    assert_eq!(snapshot.ranges, [(range(0, 5), 2), (range(7, 8_191), 2), (range(8_192, 16_383), 0)]);
    assert_eq!(snapshot.replicas, BTreeMap::from([(0, vec![1]), (2, vec![3])]));
}

/// Old servers give two elements of a node, newer ones four, in either dialect. RULE-325
#[test]
fn ids_and_other_addresses_may_be_missing() {
    let bare = first_of_slots(array([text("10.0.0.1"), int(7000)]));
    assert_eq!(bare.endpoint, Some(endpoint("10.0.0.1:7000")));
    assert_eq!((bare.name, bare.others, bare.hostname), (None, vec![], None));

    let metadata = [("hostname", text("node-1.example.com"))];
    for metadata in [map(metadata.clone()), flat(metadata)] {
        let node = first_of_slots(array([text("10.0.0.1"), int(7000), text("abc"), metadata, int(1)]));
        assert_eq!(node.name.as_deref(), Some("abc"));
        assert_eq!(node.endpoint, Some(endpoint("10.0.0.1:7000")));
        assert_eq!(node.others, [endpoint("node-1.example.com:7000")]);
        assert_eq!(node.hostname.as_deref(), Some("node-1.example.com"));
    }
    let named = array([text("node-1.example.com"), int(7000), text("abc"), flat([("ip", text("10.0.0.1"))])]);
    assert_eq!(first_of_slots(named).others, [endpoint("10.0.0.1:7000")]);
}

/// RULE-325
#[test]
fn without_a_host_it_is_the_one_that_was_asked_and_a_question_mark_is_unknown() {
    for host in [Frame::Null, Frame::NullBulk, text("")] {
        let node = first_of_slots(array([host, int(7005), text("abc")]));
        assert_eq!(node.endpoint, Some(endpoint("redis.example.com:7005")));
    }
    let unknown =
        first_of_slots(array([text("?"), int(7005), text("abc"), flat([("ip", text("10.0.0.1"))])]));
    assert_eq!(unknown.endpoint, None);
    assert_eq!(unknown.others, [endpoint("10.0.0.1:7005")]);
    let portless = first_of_slots(array([text("10.0.0.1"), int(0), text("abc")]));
    assert_eq!(portless.endpoint, None);
    let ipv6 = first_of_slots(array([text("2001:db8::1"), int(7000)]));
    assert_eq!(ipv6.endpoint, Some(endpoint("[2001:db8::1]:7000")));
    let reply = slots_of(array([Frame::Null, int(7000), text("abc")]));
    let over_a_path = Snapshot::of_slots(&reply, &Endpoint::unix("/run/redis.sock")).unwrap();
    assert_eq!(over_a_path.nodes[0].endpoint, None);
}

#[test]
fn what_is_no_topology_is_none() {
    let node = || array([text("10.0.0.1"), int(7000)]);
    let other = || array([text("10.0.0.2"), int(7000)]);
    for reply in [
        Frame::simple("OK"),
        Frame::Null,
        array([int(1)]),
        array([array([int(0), int(1)])]),
        array([array([int(2), int(1), node()])]),
        array([array([int(-1), int(1), node()])]),
        array([array([int(0), int(16_384), node()])]),
        array([array([int(0), int(1), text("10.0.0.1")])]),
        // Two owners of slot 1.
        array([array([int(0), int(1), node()]), array([int(1), int(2), other()])]),
    ] {
        assert_eq!(Snapshot::of_slots(&reply, &asked()), None, "{reply:?}");
    }
    assert_eq!(Snapshot::of_slots(&array([]), &asked()), Some(Snapshot::default()));
}

/// INV-14
#[test]
fn more_nodes_than_a_cluster_can_have_are_no_topology() {
    let with = |nodes: usize| {
        let node = |number: usize| array([text("10.0.0.1"), int(7000), text(&number.to_string())]);
        let replicas = (1..nodes).map(node);
        let reply = array([array([int(0), int(1), node(0)].into_iter().chain(replicas))]);
        Snapshot::of_slots(&reply, &asked())
    };
    assert!(with(MAX_NODES).is_some());
    assert!(with(MAX_NODES + 1).is_none());
}

fn member<const N: usize>(is_resp3: bool, role: &str, others: [(&'static str, Frame); N]) -> Frame {
    let name = text(&format!("{role}-id"));
    let pairs = [("id", name), ("role", text(role))].into_iter().chain(others);
    if is_resp3 {
        Frame::Map(pairs.map(|(key, value)| (Frame::bulk(key), value)).collect())
    } else {
        array(pairs.flat_map(|(key, value)| [Frame::bulk(key), value]))
    }
}

fn shard(is_resp3: bool, slots: &[i64], nodes: impl IntoIterator<Item = Frame>) -> Frame {
    let pairs = [("slots", array(slots.iter().copied().map(int))), ("nodes", array(nodes))];
    if is_resp3 { map(pairs) } else { flat(pairs) }
}

#[test]
fn shards_is_read_in_both_dialects() {
    for is_resp3 in [true, false] {
        let primary = [
            ("port", int(7000)),
            ("ip", text("10.0.0.1")),
            ("endpoint", text("10.0.0.1")),
            ("health", text("online")),
        ];
        let replica = [
            ("port", int(7001)),
            ("ip", text("10.0.0.1")),
            ("endpoint", text("10.0.0.1")),
            ("health", text("online")),
        ];
        let nodes = [member(is_resp3, "replica", replica), member(is_resp3, "master", primary)];
        let empty = shard(is_resp3, &[], [member(is_resp3, "master", [("port", int(7009))])]);
        let reply = array([shard(is_resp3, &[0, 5, 7, 16_383], nodes), empty]);

        let snapshot = Snapshot::of_shards(&reply, &asked(), false).unwrap();

        let range = |start, end| SlotRange::new(start, end).unwrap();
        assert_eq!(snapshot.ranges, [(range(0, 5), 0), (range(7, 16_383), 0)]);
        assert_eq!(snapshot.nodes.len(), 2, "a shard without slots does not count");
        assert_eq!(snapshot.nodes[0].name.as_deref(), Some("master-id"));
        assert_eq!(snapshot.nodes[0].endpoint, Some(endpoint("10.0.0.1:7000")));
        assert_eq!(snapshot.replicas, BTreeMap::from([(0, vec![1])]));
    }
}

/// RULE-325, CLUSTER-03
#[test]
fn the_port_for_encrypted_connections_counts_where_there_is_one() {
    for (ports, plain, encrypted) in [
        (vec![("port", 7000), ("tls-port", 7100)], Some(7000), Some(7100)),
        (vec![("port", 7000), ("tls-port", 0)], Some(7000), Some(7000)),
        (vec![("port", 7000)], Some(7000), Some(7000)),
        (vec![("tls-port", 7100)], None, Some(7100)),
        (vec![("port", 0), ("tls-port", 7100)], None, Some(7100)),
    ] {
        for (is_encrypted, expected) in [(false, plain), (true, encrypted)] {
            let fields = ports.iter().map(|(key, port)| (Frame::bulk(*key), int(*port)));
            let fixed = [("id", "a"), ("role", "master"), ("ip", "10.0.0.1")];
            let fixed = fixed.map(|(key, value)| (Frame::bulk(key), text(value)));
            let node = Frame::Map(fixed.into_iter().chain(fields).collect());
            let reply = array([shard(true, &[0, 1], [node])]);
            let snapshot = Snapshot::of_shards(&reply, &asked(), is_encrypted).unwrap();
            let expected = expected.map(|port: u16| endpoint(&format!("10.0.0.1:{port}")));
            assert_eq!(snapshot.nodes[0].endpoint, expected, "{ports:?}, encrypted: {is_encrypted}");
        }
    }
}

/// RULE-325, CLUSTER-02, CLUSTER-03
#[test]
fn endpoints_of_shards_may_be_null_empty_or_unknown() {
    let place = |[one, another]: [(&'static str, Frame); 2]| {
        let node = member(true, "master", [("port", int(7005)), one, another]);
        let reply = array([shard(true, &[0, 1], [node])]);
        Snapshot::of_shards(&reply, &asked(), false).unwrap().nodes[0].clone()
    };
    let ip = || ("ip", text("10.0.0.1"));
    let there = Some(endpoint("redis.example.com:7005"));
    assert_eq!(place([("endpoint", Frame::Null), ip()]).endpoint, there);
    assert_eq!(place([("endpoint", text("")), ip()]).endpoint, there);
    assert_eq!(place([("endpoint", text("?")), ip()]).endpoint, None);
    assert_eq!(place([("endpoint", text("?")), ip()]).others, [endpoint("10.0.0.1:7005")]);
    assert_eq!(place([("health", text("online")), ip()]).endpoint, Some(endpoint("10.0.0.1:7005")));
}

#[test]
fn of_two_primaries_the_one_that_is_online_owns_the_slots() {
    let node = |role: &str, health: &str| {
        let fields = [("port", int(7000)), ("ip", text("10.0.0.1")), ("health", text(health))];
        let mut fields = fields.map(|(key, value)| (Frame::bulk(key), value)).to_vec();
        fields.push((Frame::bulk("id"), text(&format!("{role}-{health}"))));
        fields.push((Frame::bulk("role"), text(role)));
        Frame::Map(fields)
    };
    let nodes = [
        node("master", "fail"),
        node("replica", "loading"),
        node("replica", "online"),
        node("master", "online"),
    ];
    let snapshot = Snapshot::of_shards(&array([shard(true, &[0, 1], nodes)]), &asked(), false).unwrap();
    let names: Vec<_> = snapshot.nodes.iter().filter_map(|node| node.name.as_deref()).collect();
    assert_eq!(names, ["master-online", "replica-online"]);
    let dead = Snapshot::of_shards(&array([shard(true, &[0, 1], [node("master", "fail")])]), &asked(), false);
    assert_eq!(dead.unwrap().nodes[0].name.as_deref(), Some("master-fail"));
}

fn frame() -> impl Strategy<Value = Frame> {
    let leaf = prop_oneof![
        (-2..16_390i64).prop_map(Frame::Integer),
        "(slots|nodes|role|master|port|ip|endpoint|\\?|10.0.0.1)".prop_map(Frame::bulk),
        Just(Frame::Null),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Frame::Array),
            proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Frame::Map),
        ]
    })
}

proptest! {
    #[test]
    fn reading_is_total(reply in frame()) {
        for snapshot in [Snapshot::of_slots(&reply, &asked()), Snapshot::of_shards(&reply, &asked(), true)].into_iter().flatten() {
            prop_assert!(snapshot.ranges.iter().all(|(_, place)| *place < snapshot.nodes.len()));
            prop_assert!(snapshot.ranges.windows(2).all(|pair| pair[0].0.end() < pair[1].0.start()));
        }
    }
}
