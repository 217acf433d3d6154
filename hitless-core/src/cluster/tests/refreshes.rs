use super::*;

/// A cluster of so many nodes, whose slots are dealt out evenly from `first` on.
fn many(nodes: u16, first: u16) -> Frame {
    let share = 16_384 / nodes;
    let names: Vec<String> =
        (0..nodes).map(|node| format!("n{node}@10.1.{}.{}:7000", node / 100, node % 100)).collect();
    let ranges: Vec<(u16, u16, Vec<&str>)> = (0..nodes)
        .map(|at| {
            let end = if at + 1 == nodes { 16_383 } else { (at + 1) * share - 1 };
            (at * share, end, vec![names[usize::from((at + first) % nodes)].as_str()])
        })
        .collect();
    let ranges: Vec<(u16, u16, &[&str])> =
        ranges.iter().map(|(start, end, nodes)| (*start, *end, nodes.as_slice())).collect();
    slots(&ranges)
}

/// A hundred nodes, whose slots have all moved to the next one: every request is redirected, and there is one question.
/// RULE-332
#[test]
fn a_storm_of_redirects_starts_one_read_and_none_is_lost() {
    const NODES: u16 = 100;
    let mut world = World::new(Settings::default(), &["10.1.0.0:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("10.1.0.0:7000");
    world.pass(MILLI);
    world.answer(&many(NODES, 0));
    world.all_ready();
    world.pass(SECOND);
    let before = world.cluster.stats().topology_reads;
    let requests: Vec<Sent> = (0..16_384).step_by(16).map(|slot| world.sent(slot)).collect();
    world.pass(MILLI);

    for sent in &requests {
        let owner = usize::from(sent.slot.unwrap() / (16_384 / NODES)).min(99);
        let there = (owner + 1) % usize::from(NODES);
        let target = format!("10.1.{}.{}:7000", there / 100, there % 100);
        let next = world.refuse(sent, &format!("MOVED {} {target}", sent.slot.unwrap()));
        // Each is sent to its new home, and none comes back.
        assert_eq!(resent(next), (world.at(&target), false));
    }
    assert!(world.cluster.stats().topology_reads <= before + 1);
    world.answer_next(&many(NODES, 1));
    assert_eq!(world.cluster.stats().topology_reads, before + 1);
    assert_eq!(world.table.shards().len(), 100);
    // They were written before the answer was asked for, so it shows all of them.
    assert!(world.until_asked() > 40 * SECOND);
}

/// RULE-332
#[test]
fn there_is_at_most_one_read_in_the_least_interval_however_long_a_storm_lasts() {
    let mut world = World::of_three_shards();
    let mut asked_at = Vec::new();
    let end = world.now + 10 * SECOND;
    while world.now < end {
        let sent = world.sent(world.now.duration_since(end - 10 * SECOND).as_millis() as u16 % 5_000);
        world.pass(MILLI);
        let _ = world.refuse(&sent, "CLUSTERDOWN The cluster is down");
        if !world.asked.is_empty() {
            asked_at.push(world.now);
            world.answer(&three_shards());
        }
    }
    assert!(asked_at.windows(2).all(|pair| pair[1] - pair[0] >= LEAST_PAUSE - MILLI));
    assert!(asked_at.len() >= 20, "{}: nor are there much fewer", asked_at.len());
}

/// Traffic to a shard that is dead for days. RULE-404
#[test]
fn reads_that_change_nothing_become_rarer_and_those_after_a_quiet_time_or_a_change_are_not() {
    let mut world = World::of_three_shards();
    world.pass(20 * SECOND);
    let begin = world.now;
    let mut asked_at = Vec::new();
    while world.now < begin + 600 * SECOND {
        let sent = world.sent(7);
        world.pass(100 * MILLI);
        let _ = world.refuse(&sent, "CLUSTERDOWN Hash slot not served");
        if !world.asked.is_empty() {
            asked_at.push(world.now - begin);
            world.answer(&three_shards());
        }
    }
    let within =
        |from: Duration, to: Duration| asked_at.iter().filter(|at| **at >= from && **at < to).count();
    assert!(within(Duration::ZERO, 4 * SECOND) >= 9, "{asked_at:?}");
    assert!(within(500 * SECOND, 600 * SECOND) <= 22, "{asked_at:?}");
    let gaps = asked_at.windows(2).map(|pair| pair[1] - pair[0]);
    // A sixteenth, a quarter for the jitter, and the step of this test.
    assert!(gaps.zip(&asked_at).all(|(gap, at)| gap <= 350 * MILLI + *at / 12), "{asked_at:?}");

    let sent = world.sent(7);
    let _ = world.refuse(&sent, "CLUSTERDOWN Hash slot not served");
    world.until_asked();
    world.pass(MILLI);
    world.answer(&slots(&[(0, 16_383, &[B])]));
    world.pass(MILLI);
    let sent = world.sent(7);
    world.pass(MILLI);
    let _ = world.refuse(&sent, "CLUSTERDOWN Hash slot not served");
    assert!(world.until_asked() < 2 * LEAST_PAUSE, "it has changed something");
    world.answer(&slots(&[(0, 16_383, &[B])]));
    world.pass(20 * SECOND);
    for _ in 0..2 {
        let sent = world.sent(7);
        world.pass(MILLI);
        let _ = world.refuse(&sent, "CLUSTERDOWN Hash slot not served");
        assert!(world.until_asked() < 2 * LEAST_PAUSE);
        world.answer(&slots(&[(0, 16_383, &[B])]));
    }
}

/// RULE-332
#[test]
fn a_reason_that_comes_while_a_node_is_asked_leads_to_another_read() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let first = world.sent(7);
    world.pass(MILLI);
    let _ = world.refuse(&first, "CLUSTERDOWN");
    world.until_asked();
    world.pass(MILLI);
    let written_later = world.sent(8);
    world.pass(MILLI);
    let _ = world.refuse(&written_later, "MOVED 8 10.0.0.2:7000");
    world.answer(&three_shards());
    assert_eq!(world.owner(8), Some(world.b()), "what was asked for earlier does not undo it");
    let pause = world.until_asked();
    assert!(pause >= 3 * LEAST_PAUSE && pause < 5 * LEAST_PAUSE, "{pause:?}");
    world.pass(MILLI);
    world.answer(&three_shards());
    assert!(world.until_asked() > 40 * SECOND);
}

/// A reshard redirects for minutes, and each redirect patches the map. RULE-332
#[test]
fn reads_that_only_confirm_patches_are_rarer_until_somebody_waits_for_an_owner() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let mut asked_at = Vec::new();
    let end = world.now + 20 * SECOND;
    for slot in 0..4_000 {
        let sent = world.sent(slot);
        world.pass(5 * MILLI);
        let _ = world.refuse(&sent, &format!("MOVED {slot} 10.0.0.2:7000"));
        if !world.asked.is_empty() {
            asked_at.push(world.now);
            let end = slot + 1;
            world.answer(&slots(&[
                (0, slot, &[B]),
                (end, 5_460, &[A]),
                (5_461, 10_922, &[B]),
                (10_923, 16_383, &[C]),
            ]));
        }
    }
    assert!(world.now >= end);
    assert!(asked_at.windows(2).all(|pair| pair[1] - pair[0] >= 4 * LEAST_PAUSE - 5 * MILLI), "{asked_at:?}");
    assert!((15..=20).contains(&asked_at.len()), "{}", asked_at.len());

    let sent = world.sent(6_000);
    world.pass(5 * MILLI);
    let _ = world.refuse(&sent, "CLUSTERDOWN The cluster is down");
    assert!(world.until_asked() < 2 * LEAST_PAUSE);
}

/// RULE-334
#[test]
fn the_topology_is_read_now_and_then_without_a_reason_and_not_in_step() {
    let mut world = World::of_three_shards();
    let mut pauses = Vec::new();
    for _ in 0..20 {
        pauses.push(world.until_asked());
        world.answer(&three_shards());
    }
    assert!(pauses.iter().all(|pause| *pause >= 44 * SECOND && *pause <= 76 * SECOND), "{pauses:?}");
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > 15);
    assert_eq!(world.swaps(), 0);
}

#[test]
fn different_nodes_are_asked_in_turn() {
    let mut world = World::of_three_shards();
    let asked: Vec<NodeId> = (0..6).map(|_| world.answer_next(&three_shards())).collect();
    assert_eq!(asked[..3], asked[3..]);
    let mut nodes = asked[..3].to_vec();
    nodes.sort_unstable();
    assert_eq!(nodes, world.open.keys().copied().collect::<Vec<_>>());
}

/// RULE-333
#[test]
fn a_node_that_does_not_answer_is_passed_over() {
    let mut world = World::of_three_shards();
    world.until_asked();
    let (silent_query, silent, _) = world.asked.pop().unwrap();
    assert_eq!(world.until_asked(), SECOND);
    let (query, lost, _) = world.asked.pop().unwrap();
    world.tell(|cluster, now| cluster.handle_topology_failed(now, query));
    assert_eq!(world.asked.len(), 1, "at once");
    // An answer that comes too late is none.
    world.tell(|cluster, now| cluster.handle_topology(now, silent_query, &slots(&[(0, 16_383, &[B])])));
    assert_eq!(world.asked.len(), 1);
    let (third, _) = world.answer(&three_shards());
    assert!(silent != lost && lost != third && silent != third);
    assert_eq!(world.failures(), [TopologyError::Unanswered; 2]);
    assert_eq!(world.swaps(), 0);
}

/// RULE-333
#[test]
fn a_question_to_a_node_that_is_lost_goes_to_the_next_one() {
    let mut world = World::of_three_shards();
    world.until_asked();
    let (_, node, _) = world.asked[0];
    world.fail(node);
    assert_eq!(world.asked.len(), 1);
    assert_ne!(world.asked[0].1, node);
}

/// RULE-333
#[test]
fn when_nobody_answers_the_seeds_and_every_known_node_are_tried() {
    let seeds = ["redis.example.com:7000"];
    let mut world = World::new(Settings::default(), &seeds);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("redis.example.com:7000");
    world.pass(MILLI);
    world.answer(&three_shards());
    world.all_ready();
    world.pass(2 * GRACE);
    assert_eq!(world.open.len(), 3, "neither the seed nor the replica");
    world.decided.clear();

    world.until_asked();
    let mut pauses = Vec::new();
    for round in 0..6 {
        for _ in 0..3 {
            let (query, ..) = world.asked.pop().expect("the next one is asked at once");
            world.tell(|cluster, now| cluster.handle_topology_failed(now, query));
        }
        if round == 0 {
            assert!(world.events().contains(&&ClusterEvent::SeedsReopened { seeds: 1 }));
            world.at("redis.example.com:7000");
            world.at("10.0.0.4:7000");
        }
        // Whoever waits does not hasten it.
        let sent = world.sent(7);
        let next = world.tell(|cluster, now| cluster.handle_unsent(now, &sent));
        assert_ne!(next, Next::ReturnToCaller);
        pauses.push(world.until_asked());
    }
    // Rounds that fail come less and less often.
    assert!(pauses[0] >= LEAST_PAUSE && pauses[0] < 2 * LEAST_PAUSE, "{pauses:?}");
    assert!(pauses[5] >= 2 * SECOND && pauses[5] < 3 * SECOND, "{pauses:?}");

    let before = Arc::clone(&world.table);
    for _ in 0..3 {
        let (query, ..) = world.asked.pop().unwrap();
        world.tell(|cluster, now| cluster.handle_topology_failed(now, query));
    }
    // But a node that is there again does.
    world.ready("10.0.0.4:7000");
    assert!(world.until_asked() < 2 * LEAST_PAUSE);
    world.pass(MILLI);
    world.answer(&three_shards());
    assert_eq!(world.table, before);
    world.pass(2 * GRACE);
    assert_eq!(world.open.len(), 3, "they are closed when they are not needed any more");
}

/// RULE-333
#[test]
fn when_all_nodes_are_lost_whoever_is_back_first_is_asked() {
    let mut world = World::new(Settings::default(), &["redis.example.com:7000"]);
    world.tell(|cluster, now| cluster.handle_start(now));
    world.ready("redis.example.com:7000");
    world.pass(MILLI);
    world.answer(&three_shards());
    world.all_ready();
    world.pass(2 * GRACE);
    for node in world.open.keys().copied().collect::<Vec<_>>() {
        world.fail(node);
    }
    world.pass(SECOND);
    assert_eq!(world.asked, []);
    world.ready("redis.example.com:7000");
    world.pass(LEAST_PAUSE);
    assert_eq!(world.asked[0].1, world.at("redis.example.com:7000"));
}

/// Each request that times out has another node asked, because the neighbour of the silent one may know no better. RULE-388
#[test]
fn requests_that_time_out_again_and_again_have_all_others_asked() {
    let mut world = World::of_three_shards();
    let silent = world.owner(0).unwrap();
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..4 {
        world.pass(10 * SECOND);
        world.tell(|cluster, now| cluster.handle_timed_out(now, silent));
        asked.insert(world.answer_next(&three_shards()));
    }
    assert!(asked.len() == 2 && !asked.contains(&silent), "{asked:?}");
}

/// A primary that says nothing may have been replaced long ago: the others are asked. RULE-388
#[test]
fn a_request_that_times_out_has_the_topology_read() {
    for slot in [0, 8_192, 16_383] {
        let mut world = World::of_three_shards();
        let silent = world.owner(slot).unwrap();
        world.pass(SECOND);
        world.tell(|cluster, now| cluster.handle_timed_out(now, silent));
        assert!(world.until_asked() < 2 * LEAST_PAUSE);
        assert_ne!(world.asked[0].1, silent);
        let before = world.cluster.stats().topology_reads;
        // All that time out meanwhile are one reason more.
        for _ in 0..100 {
            world.tell(|cluster, now| cluster.handle_timed_out(now, silent));
        }
        for _ in 0..2 {
            world.pass(MILLI);
            world.answer_next(&three_shards());
        }
        assert!(world.cluster.stats().topology_reads <= before + 2);
        assert!(world.until_asked() > 40 * SECOND);
    }
}
