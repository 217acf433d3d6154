use super::*;

/// RULE-341
#[test]
fn a_start_opens_all_seeds_at_once_and_asks_the_first_that_is_ready() {
    let seeds = ["10.0.0.9:7000", "redis.example.com:7000", "10.0.0.1:7000", "10.0.0.9:7000"];
    let mut world = World::new(Settings::default(), &seeds);
    world.tell(|cluster, now| cluster.handle_start(now));
    assert_eq!(world.open.len(), 3, "each once");
    assert_eq!(world.asked, []);

    let dead = world.at("10.0.0.9:7000");
    world.fail(dead);
    world.ready("10.0.0.1:7000");
    assert_eq!(world.asked.len(), 1, "nobody waits for the others");
    world.pass(MILLI);
    let (asked, request) = world.answer(&three_shards());

    assert_eq!(asked, world.a());
    assert_eq!(request, TopologyRequest::Slots);
    assert_eq!(
        [0, 5_461, 16_383].map(|slot| world.owner(slot)),
        [Some(world.a()), Some(world.b()), Some(world.at("10.0.0.3:7000")),]
    );
    assert_eq!(world.swaps(), 1);
    world.pass(2 * GRACE);
    // The seeds that are no nodes of the cluster are closed; the replica is not opened.
    assert_eq!(world.open.len(), 3);
    assert_eq!(world.table.replicas_of(0).len(), 1);
    assert_eq!(world.cluster.stats().nodes, 4);
}

#[test]
fn replicas_are_opened_where_that_is_set() {
    let settings = Settings::builder().open_replicas(true).build().unwrap();
    let world = World::started(settings, &three_shards());
    assert_eq!(world.table.replicas_of(0), [world.at("10.0.0.4:7000")]);
    assert_eq!(world.open.len(), 4);
}

/// RULE-325
#[test]
fn nodes_without_a_host_are_where_the_one_that_was_asked_is() {
    let mut world = World::new(Settings::default(), &["redis.example.com:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("redis.example.com:7000");
    world.pass(MILLI);
    world.answer(&slots(&[(0, 99, &["a@-:7000"]), (100, 199, &["b@-:7001"])]));
    assert_eq!(world.owner(0), Some(world.at("redis.example.com:7000")), "the seed is one of them");
    assert_eq!(world.owner(100), Some(world.at("redis.example.com:7001")));
}

/// RULE-325
#[test]
fn a_node_whose_host_is_unknown_is_where_it_was_and_a_new_one_is_not_used() {
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    world.answer_next(&slots(&[(0, 99, &["b@?:7000"]), (100, 16_383, &["e@?:7000"])]));
    assert_eq!(world.owner(0), Some(b));
    assert_eq!(world.owner(100), Some(a), "its owner stays, and says MOVED at worst");
    assert_eq!(world.open.len(), 3);
}

#[test]
fn an_answer_without_any_address_is_none() {
    let mut world = World::new(Settings::default(), &["10.0.0.1:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("10.0.0.1:7000");
    world.answer(&slots(&[(0, 16_383, &["a@?:7000"])]));
    assert_eq!(world.failures(), [TopologyError::NoAddress]);
    assert_eq!(world.table.uncovered(), 16_384);
}

/// RULE-326
#[test]
fn who_refuses_slots_is_asked_for_shards_which_is_remembered() {
    let mut world = World::new(Settings::default(), &["10.0.0.1:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("10.0.0.1:7000");
    world.answer(&Frame::error("NOPERM this user has no permissions to run the 'cluster|slots' command"));
    world.pass(MILLI);

    let text = |text: &'static str| Frame::bulk(text);
    let pairs = |pairs: Vec<(&'static str, Frame)>| {
        Frame::Map(pairs.into_iter().map(|(key, value)| (Frame::bulk(key), value)).collect())
    };
    let node = pairs(vec![
        ("id", text("a")),
        ("port", Frame::Integer(7000)),
        ("endpoint", text("10.0.0.1")),
        ("role", text("master")),
    ]);
    let range = Frame::Array(vec![Frame::Integer(0), Frame::Integer(16_383)]);
    let shards = Frame::Array(vec![pairs(vec![("slots", range), ("nodes", Frame::Array(vec![node]))])]);
    let (asked, request) = world.answer(&shards);

    assert_eq!((asked, request), (world.a(), TopologyRequest::Shards));
    assert_eq!(world.owner(7), Some(world.a()));
    assert_eq!(world.failures(), []);
    world.until_asked();
    assert_eq!(world.answer(&shards).1, TopologyRequest::Shards);
}

/// RULE-326
#[test]
fn who_refuses_both_tells_nothing() {
    let mut world = World::new(Settings::default(), &["10.0.0.1:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("10.0.0.1:7000");
    for _ in 0..2 {
        world.answer(&Frame::error("ERR unknown subcommand"));
    }
    assert_eq!(world.failures(), [TopologyError::Refused]);
    assert!(world.until_asked() >= LEAST_PAUSE);
    let (_, request) = world.answer(&Frame::error("LOADING Redis is loading the dataset in memory"));
    assert_eq!(request, TopologyRequest::Slots);
    assert_eq!(world.asked, [], "LOADING says nothing about the command");
}

#[test]
fn a_server_without_clusters_is_told_as_such() {
    let mut world = World::new(Settings::default(), &["10.0.0.1:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("10.0.0.1:7000");
    world.answer(&Frame::error("ERR This instance has cluster support disabled"));
    assert_eq!(world.failures(), [TopologyError::NotACluster]);
    assert!(TopologyError::NotACluster.to_string().contains("client for single servers"));
}

/// RULE-327
#[test]
fn an_answer_that_is_no_topology_is_not_believed_and_the_next_node_is_asked() {
    for (reply, error) in [
        (slots(&[]), TopologyError::Empty),
        (Frame::simple("OK"), TopologyError::Malformed),
        (slots(&[(0, 16_383, &["x@10.9.0.1:7000"])]), TopologyError::Foreign),
        // The address is known, but another server is there now.
        (slots(&[(0, 16_383, &["x@10.0.0.1:7000"])]), TopologyError::Foreign),
    ] {
        let mut world = World::of_three_shards();
        let before = Arc::clone(&world.table);
        let first = world.answer_next(&reply);
        assert_eq!(world.failures(), [error]);
        assert_eq!(world.asked.len(), 1, "the next one, at once");
        let (second, _) = world.answer(&three_shards());
        assert_ne!(first, second);
        assert_eq!(world.table, before);
        assert_eq!(world.swaps(), 0);
    }
}

/// RULE-327
#[test]
fn strangers_are_believed_when_nobody_says_anything_else() {
    let mut world = World::of_three_shards();
    let anew = slots(&[(0, 16_383, &["x@10.0.0.1:7000"])]);
    world.until_asked();
    let begin = world.now;
    while world.table.shards().len() == 3 {
        world.answer_next(&anew);
    }
    assert!(world.failures().iter().all(|error| *error == TopologyError::Foreign));
    let after = world.now - begin;
    assert!(after >= 10 * SECOND && after < 16 * SECOND, "{after:?}");
    assert_eq!(world.owner(16_000), Some(world.a()));
}

/// The addresses of a cluster that is down go to another one. RULE-403
#[test]
fn who_is_back_first_is_not_believed_if_it_is_a_stranger() {
    let mut world = World::of_three_shards();
    let before = Arc::clone(&world.table);
    world.pass(SECOND);
    let (a, b, c) = (world.a(), world.b(), world.at("10.0.0.3:7000"));
    for node in [a, b, c] {
        world.fail(node);
    }
    world.pass(SECOND);
    world.ready("10.0.0.3:7000");
    let strangers = slots(&[(0, 16_383, &["x@10.0.0.3:7000"])]);
    for _ in 0..4 {
        world.answer_next(&strangers);
    }
    assert_eq!(world.table, before);
    // The others are back, be it that they say nothing for a round.
    world.ready("10.0.0.1:7000");
    world.until_asked();
    while !world.asked.is_empty() {
        match world.asked[0].1 == c {
            true => drop(world.answer(&strangers)),
            false => {
                let (query, ..) = world.asked.pop().unwrap();
                world.tell(|cluster, now| cluster.handle_topology_failed(now, query));
            }
        }
    }
    while world.answer_next(&strangers) != c {}
    assert_eq!(world.table, before);
    world.until_asked();
    while !world.asked.is_empty() {
        let reply = if world.asked[0].1 == c { strangers.clone() } else { three_shards() };
        world.answer(&reply);
    }
    assert_eq!(world.table, before);
    world.pass(2 * GRACE);
    assert_eq!(world.open.len(), 3);
}

/// RULE-403
#[test]
fn the_name_of_a_seed_leads_to_the_right_cluster_once_nobody_serves() {
    let mut world = World::new(Settings::default(), &["redis.example.com:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("redis.example.com:7000");
    world.pass(MILLI);
    world.answer(&three_shards());
    world.all_ready();
    world.pass(2 * GRACE);
    for node in [world.a(), world.b(), world.at("10.0.0.3:7000")] {
        world.fail(node);
    }
    world.pass(SECOND);
    world.ready("redis.example.com:7000");
    world.answer_next(&slots(&[(0, 16_383, &["x@10.9.0.1:7000"])]));
    assert_eq!(world.table.shards().len(), 1);
    assert_eq!(world.owner(7), Some(world.at("10.9.0.1:7000")));
}

/// RULE-403
#[test]
fn a_seed_that_is_another_name_of_a_node_is_looked_up_anew() {
    let named = |id: &'static str, ip: &'static str| {
        let metadata = Frame::Map(vec![(Frame::bulk("hostname"), Frame::bulk("redis.example.com"))]);
        Frame::Array(vec![Frame::bulk(ip), Frame::Integer(7000), Frame::bulk(id), metadata])
    };
    let topology = |id, ip| {
        Frame::Array(vec![Frame::Array(vec![Frame::Integer(0), Frame::Integer(16_383), named(id, ip)])])
    };
    let mut world = World::new(Settings::default(), &["redis.example.com:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("redis.example.com:7000");
    world.pass(MILLI);
    world.answer(&topology("a", "10.0.0.1"));
    let a = world.a();
    world.ready("10.0.0.1:7000");
    let sent = world.sent(7);
    assert_eq!(resent(world.refuse(&Sent { node: None, ..sent }, "ASK 7 redis.example.com:7000")).0, a);
    world.fail(a);
    world.pass(SECOND);
    world.ready("redis.example.com:7000");
    world.answer_next(&topology("a", "10.0.0.2"));
    assert_eq!(world.owner(7), Some(a), "its slots follow it");
    assert_eq!(world.b(), a);
}

/// RULE-327
#[test]
fn slots_that_an_answer_leaves_out_keep_their_owner() {
    let mut world = World::of_three_shards();
    let before = Arc::clone(&world.table);
    world.answer_next(&slots(&[(0, 5, &[A])]));
    assert_eq!(world.owner(16_383), before.node_of(16_383));
    assert_eq!(world.table.uncovered(), 0);
    world.pass(2 * GRACE);
    assert_eq!(world.open.len(), 3, "whoever slots lead to stays");
}
