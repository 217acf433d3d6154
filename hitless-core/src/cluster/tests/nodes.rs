use super::*;

/// RULE-337
#[test]
fn a_node_that_is_somewhere_else_keeps_its_id_and_its_slots() {
    let mut world = World::of_three_shards();
    let b = world.b();
    world.decided.clear();
    let moved = slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &["b@10.0.0.22:7000"]), (10_923, 16_383, &[C])]);
    world.answer_next(&moved);
    let retarget = Decision::Retarget { node: b, endpoint: endpoint("10.0.0.22:7000"), hostname: None };
    assert!(world.decided.contains(&retarget));
    assert_eq!(world.owner(6_000), Some(b));
    assert_eq!(world.swaps(), 0);
    assert_eq!(world.open.len(), 3);
}

/// RULE-337
#[test]
fn two_nodes_may_swap_their_addresses() {
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    let swapped = slots(&[
        (0, 5_460, &["a@10.0.0.2:7000"]),
        (5_461, 10_922, &["b@10.0.0.1:7000"]),
        (10_923, 16_383, &[C]),
    ]);
    world.answer_next(&swapped);
    assert_eq!((world.owner(0), world.owner(6_000)), (Some(a), Some(b)));
    assert_eq!((world.a(), world.b()), (b, a));
    let sent = world.sent(16_000);
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&sent, "MOVED 16000 10.0.0.1:7000")).0, b);
}

/// RULE-337
#[test]
fn a_new_server_at_a_known_address_takes_the_place_of_the_old_one() {
    let mut world = World::of_three_shards();
    let b = world.b();
    let replaced =
        slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &["x@10.0.0.2:7000"]), (10_923, 16_383, &[C])]);
    world.answer_next(&replaced);
    assert_eq!(world.owner(6_000), Some(b), "its clients lead there anyway");
    // The old id may come back somewhere else, and is another node then.
    let both = slots(&[
        (0, 5_460, &["b@10.0.0.7:7000"]),
        (5_461, 10_922, &["x@10.0.0.2:7000"]),
        (10_923, 16_383, &[C]),
    ]);
    world.answer_next(&both);
    assert_eq!(world.owner(6_000), Some(b));
    assert_eq!(world.owner(0), Some(world.at("10.0.0.7:7000")));
}

/// RULE-337
#[test]
fn a_node_that_is_listed_by_another_of_its_names_has_not_moved() {
    let named = |host: &'static str, ip: &'static str| {
        let metadata = Frame::Map(vec![(Frame::bulk("ip"), Frame::bulk(ip))]);
        let node = Frame::Array(vec![Frame::bulk(host), Frame::Integer(7000), Frame::bulk("x"), metadata]);
        Frame::Array(vec![Frame::Array(vec![Frame::Integer(0), Frame::Integer(16_383), node])])
    };
    // A seed without an id, whose host name is not known yet.
    let mut world = World::started(Settings::default(), &named("?", "10.0.0.1"));
    let a = world.a();
    assert_eq!(world.owner(0), Some(a), "the configured address is its own");
    world.answer_next(&named("node-1.example.com", "10.0.0.1"));
    let readdressed = Decision::Readdress { node: a, endpoint: endpoint("node-1.example.com:7000") };
    assert!(world.decided.contains(&readdressed));
    let sent = Sent { node: None, ..world.sent(7) };
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&sent, "MOVED 7 10.0.0.1:7000")).0, a);
    assert_eq!(world.open.len(), 1);
}

/// As behind the proxies of a service: each has several shards, with ids of their own. RULE-337
#[test]
fn shards_at_one_address_are_one_node_until_they_part() {
    let one = "x@10.0.0.1:7000";
    let together =
        slots(&[(0, 99, &[one]), (100, 199, &["y@10.0.0.1:7000"]), (200, 16_383, &["z@10.0.0.3:7000"])]);
    let mut world = World::started(Settings::default(), &together);
    let a = world.a();
    assert_eq!([world.owner(0), world.owner(100)], [Some(a); 2]);
    assert_eq!(world.open.len(), 2);
    world.answer_next(&together);
    assert_eq!(world.swaps(), 0);
    world.answer_next(&slots(&[
        (0, 99, &[one]),
        (100, 199, &["y@10.0.0.4:7000"]),
        (200, 16_383, &["z@10.0.0.3:7000"]),
    ]));
    assert_eq!([world.owner(0), world.owner(100)], [Some(a), Some(world.at("10.0.0.4:7000"))]);
    // The one that the node was known by leaves, and the other comes back.
    world.answer_next(&slots(&[
        (0, 99, &["x@10.0.0.5:7000"]),
        (100, 199, &["y@10.0.0.1:7000"]),
        (200, 16_383, &["z@10.0.0.3:7000"]),
    ]));
    assert_eq!(
        [world.owner(0), world.owner(100)],
        ["10.0.0.5:7000", "10.0.0.1:7000"].map(|at| Some(world.at(at)))
    );
}

/// RULE-337
#[test]
fn servers_without_ids_are_known_by_their_addresses() {
    let topology = slots(&[(0, 99, &["10.0.0.1:7000"]), (100, 199, &["10.0.0.2:7000"])]);
    let mut world = World::started(Settings::default(), &topology);
    let (a, b) = (world.a(), world.b());
    world.answer_next(&topology);
    assert_eq!((world.owner(0), world.owner(100)), (Some(a), Some(b)));
    assert_eq!(world.open.len(), 2);
}

/// RULE-338
#[test]
fn a_node_that_nothing_leads_to_is_closed_after_a_grace() {
    let mut world = World::of_three_shards();
    let c = world.at("10.0.0.3:7000");
    let without = slots(&[(0, 5_460, &[A, D]), (5_461, 16_383, &[B])]);
    world.answer_next(&without);
    assert_eq!(world.owner(16_383), Some(world.b()));
    world.pass(GRACE - MILLI);
    assert!(world.open.contains_key(&c), "requests that are under way are answered");
    world.pass(MILLI);
    assert!(!world.open.contains_key(&c));
    assert_eq!(world.cluster.endpoint(c), None);
    assert!(
        world
            .events()
            .iter()
            .any(|event| matches!(event, ClusterEvent::NodeRemoved { node, .. } if *node == c))
    );
    // What is said of it afterwards does nothing.
    let decided = world.decided.len();
    world.tell(|cluster, now| cluster.handle_node_ready(now, c));
    world.tell(|cluster, now| cluster.handle_node_failed(now, c));
    assert_eq!(world.decided.len(), decided);
}

/// The third node has lost its slots, and is asked half a second before its grace is over, because the others have failed.
fn asked_before_it_is_closed() -> (World, NodeId) {
    let mut world = World::of_three_shards();
    let c = world.at("10.0.0.3:7000");
    world.answer_next(&slots(&[(0, 5_460, &[A, D]), (5_461, 16_383, &[B])]));
    let (a, b) = (world.a(), world.b());
    world.pass(GRACE - 500 * MILLI);
    world.fail(a);
    world.fail(b);
    world.until_asked();
    (world, c)
}

/// When a node is closed that is asked, the next one is asked at once, and an answer that comes later does nothing. RULE-424
#[test]
fn a_node_that_is_closed_is_asked_no_more() {
    for is_refused in [false, true] {
        let (mut world, c) = asked_before_it_is_closed();
        let a = world.a();
        let (query, asked, _) = world.asked[0];
        assert_eq!(asked, c, "it is the only one");
        world.ready("10.0.0.1:7000");
        world.pass(500 * MILLI);
        assert!(!world.open.contains_key(&c));
        assert_eq!(world.asked[0].1, a, "the round goes on");
        let failed =
            |event: &&ClusterEvent| matches!(event, ClusterEvent::RefreshFailed { node, .. } if *node == c);
        assert_eq!(world.events().into_iter().filter(|event| failed(event)).count(), 1);
        assert_eq!(world.cluster.stats().topology_failures, 1);
        let answer = if is_refused { Frame::error("ERR unknown command") } else { three_shards() };
        let decided = world.decided.len();
        world.tell(|cluster, now| cluster.handle_topology(now, query, &answer));
        assert_eq!(world.decided.len(), decided);
    }
}

/// If no other node is connected, the round has failed, and goes on when one is. RULE-424
#[test]
fn the_last_node_that_could_be_asked_may_be_closed() {
    let (mut world, c) = asked_before_it_is_closed();
    world.pass(500 * MILLI);
    assert!(!world.open.contains_key(&c) && world.asked.is_empty());
    world.all_ready();
    assert!(world.until_asked() < 100 * MILLI, "the pause of the failed round is over");
    world.answer(&three_shards());
    world.all_ready();
    assert_eq!(world.owner(16_383), Some(world.at("10.0.0.3:7000")));
}

/// RULE-338
#[test]
fn a_node_that_comes_back_in_its_grace_stays() {
    let mut world = World::of_three_shards();
    let c = world.at("10.0.0.3:7000");
    world.answer_next(&slots(&[(0, 5_460, &[A, D]), (5_461, 16_383, &[B])]));
    world.pass(GRACE - SECOND);
    let sent = world.sent(7);
    world.pass(MILLI);
    let _ = world.refuse(&sent, "MOVED 7 10.0.0.3:7000");
    world.pass(4 * GRACE);
    assert!(world.open.contains_key(&c));
}

/// Keys that an ASK has led to may be on their way for longer than the grace. RULE-338
#[test]
fn a_node_where_a_request_tries_again_stays_open() {
    let mut world = World::of_three_shards();
    let target = resent(world.refuse(&world.sent(7), "ASK 7 10.0.0.9:7000")).0;
    world.all_ready();
    let mut sent = Sent { node: Some(target), asking: true, ..world.sent(7) };
    let end = world.now + 2 * GRACE;
    while world.now < end {
        let next = world.refuse(&sent, "TRYAGAIN Multiple keys request during rehashing of slot");
        let Next::Resend { after, trail, .. } = next else { panic!("{next:?}") };
        sent.trail = trail;
        world.pass(after);
        assert!(world.open.contains_key(&target), "it is closed in the middle");
    }
    world.pass(GRACE);
    assert!(!world.open.contains_key(&target));
}

/// A primary that has become a replica is closed, and known: it may be promoted again. RULE-338
#[test]
fn a_demoted_primary_is_closed_and_keeps_its_id() {
    let mut world = World::of_three_shards();
    let a = world.a();
    let failed_over = slots(&[(0, 5_460, &[D, A]), (5_461, 10_922, &[B]), (10_923, 16_383, &[C])]);
    world.answer_next(&failed_over);
    let d = world.at("10.0.0.4:7000");
    assert_eq!((world.owner(0), world.table.replicas_of(0)), (Some(d), &[a][..]));
    world.pass(2 * GRACE);
    assert!(!world.open.contains_key(&a));
    world.ready("10.0.0.4:7000");
    world.tell(|cluster, now| cluster.handle_node_ready(now, a));
    assert!(!world.cluster.nodes.is_ready(a), "a late word of a closed client");
    let sent = world.sent(7);
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&sent, "MOVED 7 10.0.0.1:7000")).0, a);
    assert_eq!([world.owner(0), world.owner(7)], [Some(a); 2]);
    assert!(world.open.contains_key(&a));
}

/// An owner that tells several facts before it asks for decisions gets them in an order that makes sense. RULE-342
#[test]
fn a_node_that_is_closed_and_wanted_again_is_open_in_the_end() {
    let mut world = World::of_three_shards();
    let a = world.a();
    let failed_over = slots(&[(0, 5_460, &[D, A]), (5_461, 10_922, &[B]), (10_923, 16_383, &[C])]);
    world.answer_next(&failed_over);
    world.now = world.cluster.poll_timeout().unwrap();
    let sent = world.sent(7);
    world.now += GRACE;
    world.cluster.handle_timeout(world.now);
    let error = ServerError::from_frame(&Frame::error("ASK 7 10.0.0.1:7000")).unwrap();
    let next = world.cluster.handle_refusal(world.now, &sent, &error);
    world.decided.clear();
    world.obey();
    assert_eq!(resent(next), (a, true));
    let of_a = |decision: &&Decision| match decision {
        Decision::Open { node, .. } | Decision::Close { node } => *node == a,
        _ => false,
    };
    let decided: Vec<_> = world.decided.iter().filter(of_a).collect();
    assert!(matches!(decided[..], [Decision::Close { .. }, Decision::Open { .. }]), "{decided:?}");
}

/// RULE-339
#[test]
fn a_node_that_fails_is_opened_again_after_pauses_that_grow() {
    let mut world = World::of_three_shards();
    let b = world.b();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        world.fail(b);
        world.decided.clear();
        let begin = world.now;
        while !world
            .decided
            .iter()
            .any(|decision| matches!(decision, Decision::Open { node, .. } if *node == b))
        {
            world.now = world.cluster.poll_timeout().unwrap();
            world.tell(Cluster::handle_timeout);
            if !world.asked.is_empty() {
                world.answer(&three_shards());
            }
        }
        pauses.push(world.now - begin);
    }
    assert!(pauses[0] <= 50 * MILLI, "{pauses:?}");
    assert!(pauses[7] >= SECOND && pauses[7] <= 2 * SECOND, "{pauses:?}");
    assert_eq!(world.owner(6_000), Some(b), "its slots stay until another owner is known");
}

/// A name that several nodes share leads to any of them. RULE-400
#[test]
fn a_seed_that_is_known_by_a_shared_name_alone_is_opened_at_the_address_of_its_node() {
    let named = |id: &'static str, ip: &'static str| {
        let metadata = Frame::Map(vec![(Frame::bulk("hostname"), Frame::bulk("redis.example.com"))]);
        Frame::Array(vec![Frame::bulk(ip), Frame::Integer(7000), Frame::bulk(id), metadata])
    };
    let range = |start, end, node| Frame::Array(vec![Frame::Integer(start), Frame::Integer(end), node]);
    let topology = Frame::Array(vec![
        range(0, 8_191, named("a", "10.0.0.1")),
        range(8_192, 16_383, named("b", "10.0.0.2")),
    ]);
    let mut world = World::new(Settings::default(), &["redis.example.com:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("redis.example.com:7000");
    world.pass(MILLI);
    world.decided.clear();
    world.answer(&topology);
    let retargeted = |decision: &Decision| matches!(decision, Decision::Retarget { endpoint: at, .. } if *at == endpoint("10.0.0.1:7000"));
    assert!(world.decided.iter().any(retargeted), "{:?}", world.decided);
    assert_eq!((world.owner(0), world.owner(9_000)), (Some(world.a()), Some(world.b())));
    world.all_ready();
    world.decided.clear();
    world.answer_next(&topology);
    assert!(!world.decided.iter().any(|decision| matches!(decision, Decision::Retarget { .. })));
}

/// A shard may be dead for days. RULE-404
#[test]
fn a_node_that_stays_away_does_not_keep_the_others_busy() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let b = world.b();
    world.fail(b);
    let before = world.cluster.stats().topology_reads;
    let end = world.now + 1_200 * SECOND;
    let mut reads_at_first = 0;
    while world.now < end {
        world.now = world.cluster.poll_timeout().unwrap();
        world.tell(Cluster::handle_timeout);
        if !world.asked.is_empty() {
            world.answer(&three_shards());
        }
        // Each attempt to open it fails at once.
        world.fail(b);
        if end - world.now > 1_080 * SECOND {
            reads_at_first = world.cluster.stats().topology_reads - before;
        }
    }
    let reads = world.cluster.stats().topology_reads - before;
    assert!((2..=12).contains(&reads_at_first), "{reads_at_first}");
    assert!(reads - reads_at_first <= 26, "{reads} in twenty minutes, {reads_at_first} of them at first");
}

/// The more often it has failed, the less one more failure says. RULE-404
#[test]
fn failures_of_a_node_become_news_more_rarely() {
    let mut world = World::of_three_shards();
    let (cluster, b) = (&mut world.cluster, world.open.keys().nth(1).copied().unwrap());
    let mut news = Vec::new();
    for failures in 1..200 {
        let failure = cluster.nodes.handle_failed(world.now, b, &mut cluster.rng);
        news.extend(matches!(failure, Failure::Lost | Failure::News).then_some(failures));
        world.now += 100 * SECOND;
        assert!(cluster.nodes.poll_reopen(world.now).is_some());
    }
    assert_eq!(news, [1, 2, 4, 8, 16, 32, 64]);
}

/// It was closed meanwhile, and what it did before that says nothing any more. RULE-404
#[test]
fn the_first_failure_of_a_node_that_is_opened_anew_leads_to_a_read() {
    let mut world = World::of_three_shards();
    let redirected_to_d = |world: &mut World| {
        let sent = world.sent(7);
        world.pass(MILLI);
        let _ = world.refuse(&sent, "MOVED 7 10.0.0.4:7000");
        world.answer_next(&three_shards());
        world.at("10.0.0.4:7000")
    };
    let d = redirected_to_d(&mut world);
    for _ in 0..4 {
        world.fail(d);
        world.pass(SECOND);
        world.asked.pop().into_iter().for_each(|(query, ..)| {
            world.tell(|cluster, now| cluster.handle_topology(now, query, &three_shards()));
        });
    }
    world.pass(GRACE);
    assert!(!world.open.contains_key(&d) && world.cluster.endpoint(d).is_some(), "it is listed");
    assert_eq!(redirected_to_d(&mut world), d);
    world.fail(d);
    assert!(world.until_asked() <= SECOND);
}

/// It has been well since its last failures, and is somewhere else now. RULE-404
#[test]
fn the_first_failure_of_a_node_that_was_well_leads_to_a_read() {
    let mut world = World::of_three_shards();
    let b = world.b();
    for _ in 0..4 {
        world.fail(b);
        world.pass(4 * SECOND);
        world.answer_next(&three_shards());
    }
    world.pass_in_peace(10 * SECOND, &three_shards());
    let moved = slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &["b@10.0.0.22:7000"]), (10_923, 16_383, &[C])]);
    world.answer_next(&moved);
    world.fail(b);
    assert!(world.until_asked() <= SECOND);
}

/// RULE-339
#[test]
fn the_loss_of_a_node_leads_to_a_read_over_another_one() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let b = world.b();
    world.fail(b);
    assert!(world.until_asked() < LEAST_PAUSE);
    assert_ne!(world.asked[0].1, b);
}

/// INV-14
#[test]
fn there_are_no_more_nodes_than_a_cluster_can_have() {
    let mut world = World::of_three_shards();
    let most = snapshot::MAX_NODES;
    let at = |number: usize| format!("10.9.{}.{}:7000", number / 250, number % 250);
    for number in 4..most - 1 {
        let node = world.cluster.nodes.add(world.now, endpoint(&at(number))).unwrap();
        world.open.insert(node, world.cluster.nodes.open(node).unwrap().endpoint);
    }
    let sent = world.sent(7);
    assert!(resent(world.refuse(&sent, &format!("ASK 7 {}", at(most)))).1, "the last one");
    let next = world.refuse(&sent, &format!("ASK 7 {}", at(most + 1)));
    assert!(matches!(next, Next::Route { .. }), "{next:?}");
    let next = world.refuse(&sent, &format!("MOVED 7 {}", at(most + 1)));
    assert!(matches!(next, Next::Route { .. }), "{next:?}");
    assert_eq!(world.cluster.stats().nodes, most);
    world.pass(2 * GRACE);
    assert_eq!(world.cluster.stats().nodes, 4);
}

/// INV-14
#[test]
fn a_node_has_a_bounded_number_of_addresses() {
    let mut world = World::of_three_shards();
    let a = world.a();
    for number in 0..1_000 {
        let target = endpoint(&format!("10.9.{}.{}:7000", number / 250, number % 250));
        world.cluster.nodes.add_alias(a, &target);
    }
    assert_eq!(world.cluster.nodes.at(&endpoint("10.9.3.249:7000")), Some(a));
    assert_eq!(world.cluster.nodes.at(&endpoint("10.9.0.1:7000")), None);
    assert_eq!(world.cluster.nodes.at(&endpoint("10.0.0.1:7000")), Some(a));
}
