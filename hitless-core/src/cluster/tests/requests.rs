use super::*;

/// RULE-323
#[test]
fn moved_is_followed_at_once_patches_the_slot_and_leads_to_one_read() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let sent = world.sent(7);
    world.pass(MILLI);
    let next = world.refuse(&sent, "MOVED 7 10.0.0.2:7000");
    assert_eq!(resent(next), (world.b(), false));
    assert_eq!([6, 7, 8].map(|slot| world.owner(slot)), [world.a(), world.b(), world.a()].map(Some));
    assert!(world.until_asked() < LEAST_PAUSE);
    world.answer(&three_shards());
    assert_eq!(world.owner(7), Some(world.a()), "what was asked for later shows more");
    assert!(world.until_asked() > 40 * SECOND, "and nobody asks again");
}

/// RULE-323
#[test]
fn moved_to_an_unknown_node_opens_it() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let sent = world.sent(7);
    world.pass(MILLI);
    let next = world.refuse(&sent, "MOVED 7 :7009");
    let there = world.at("10.0.0.1:7009");
    assert_eq!(
        resent(next),
        (there, false),
        "the same host, and its client keeps the request until it is connected"
    );
    assert_eq!(world.owner(7), Some(there));
}

/// RULE-324
#[test]
fn moved_to_a_replica_of_the_shard_takes_all_of_its_slots_along() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let sent = world.sent(7);
    world.pass(MILLI);
    let next = world.refuse(&sent, "MOVED 7 10.0.0.4:7000");
    let promoted = world.at("10.0.0.4:7000");
    assert_eq!(resent(next).0, promoted);
    assert_eq!([0, 7, 5_460].map(|slot| world.owner(slot)), [Some(promoted); 3]);
    assert_eq!(world.owner(5_461), Some(world.b()));
    let told = ClusterEvent::SlotsMoved {
        to: promoted,
        endpoint: endpoint("10.0.0.4:7000"),
        slots: 5_461,
        cause: SlotsMoveCause::Promotion,
    };
    assert!(world.events().contains(&&told));
    assert_eq!(world.swaps(), 1);
}

/// RULE-322
#[test]
fn a_redirect_of_a_request_from_before_a_snapshot_patches_nothing() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let sent = world.sent(7);
    world.pass(MILLI);
    // Meanwhile the slot has gone to C.
    let first = world.sent(8);
    world.pass(MILLI);
    let _ = world.refuse(&first, "MOVED 8 10.0.0.3:7000");
    let moved_on = slots(&[(0, 5, &[A, D]), (6, 10_922, &[B]), (10_923, 16_383, &[C])]);
    world.answer_next(&moved_on);
    world.decided.clear();

    let next = world.refuse(&sent, "MOVED 7 10.0.0.3:7000");

    assert_eq!(resent(next), (world.b(), false), "where what is newer leads");
    assert_eq!(world.swaps(), 0);
    assert!(world.until_asked() > 40 * SECOND);
}

/// RULE-322
#[test]
fn an_older_redirect_is_followed_where_what_is_newer_leads_back() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let sent = world.sent(7);
    world.pass(MILLI);
    // Somebody who lags behind is asked, and says that nothing has changed.
    let other = Sent { slot: None, node: Some(world.b()), ..world.sent(7) };
    let _ = world.refuse(&other, "CLUSTERDOWN The cluster is down");
    world.answer_next(&three_shards());
    world.decided.clear();

    let next = world.refuse(&sent, "MOVED 7 10.0.0.2:7000");
    assert_eq!(resent(next), (world.b(), false));
    assert_eq!(world.swaps(), 0);
    // The next one is younger than the snapshot.
    let sent = world.sent(7);
    world.pass(MILLI);
    let _ = world.refuse(&sent, "MOVED 7 10.0.0.2:7000");
    assert_eq!(world.owner(7), Some(world.b()));
}

/// RULE-328
#[test]
fn ask_is_followed_with_asking_and_changes_nothing() {
    let mut world = World::of_three_shards();
    let before = world.cluster.stats().topology_reads;
    let sent = world.sent(7);
    let next = world.refuse(&sent, "ASK 7 10.0.0.2:7000");
    assert_eq!(resent(next), (world.b(), true));
    let next = world.refuse(&sent, "ASK 7 10.0.0.9:7000");
    assert_eq!(resent(next), (world.at("10.0.0.9:7000"), true), "a node that is not known yet is opened");
    assert_eq!(world.swaps(), 0);
    world.pass(2 * GRACE);
    assert_eq!(world.cluster.stats().topology_reads, before);
    assert_eq!(world.open.len(), 3, "and closed when nobody is sent there any more");
}

/// RULE-328
#[test]
fn a_transaction_waits_until_its_slot_has_moved_and_is_never_sent_with_asking() {
    let mut world = World::of_three_shards();
    let mut sent = Sent { kind: SentKind::Atomic, ..world.sent(7) };
    for _ in 0..9 {
        let next = world.refuse(&sent, "ASK 7 10.0.0.2:7000");
        assert!(matches!(next, Next::Route { .. }), "{next:?}");
        sent.trail = waits(next).1;
    }
    assert_eq!(resent(world.refuse(&sent, "MOVED 7 10.0.0.2:7000")), (world.b(), false));
}

/// RULE-329
#[test]
fn try_again_waits_milliseconds_at_the_same_node_and_keeps_asking() {
    let mut world = World::of_three_shards();
    let before = world.cluster.stats().topology_reads;
    let mut sent = Sent { node: Some(world.b()), asking: true, ..world.sent(7) };
    let mut longest = 2 * MILLI;
    for _ in 0..40 {
        let next = world.refuse(&sent, "TRYAGAIN Multiple keys request during rehashing of slot");
        let Next::Resend { node, asking: true, after, trail } = next else { panic!("{next:?}") };
        assert_eq!(node, world.b());
        assert!(after <= longest && after >= longest / 2, "{after:?} of {longest:?}");
        longest = (2 * longest).min(100 * MILLI);
        sent.trail = trail;
        world.pass(after);
    }
    assert_eq!(world.cluster.stats().topology_reads, before);
}

/// RULE-330
#[test]
fn who_cannot_serve_now_is_waited_for_and_the_topology_is_read() {
    for refusal in [
        "CLUSTERDOWN Hash slot not served",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
    ] {
        let mut world = World::of_three_shards();
        world.pass(SECOND);
        let mut sent = world.sent(7);
        let mut paused = Duration::ZERO;
        for _ in 0..40 {
            let next = world.refuse(&sent, refusal);
            assert!(matches!(next, Next::Route { .. }), "{next:?}");
            let (after, trail) = waits(next);
            assert!(after >= 4 * MILLI && after <= 100 * MILLI, "{after:?}");
            paused += after;
            sent.trail = trail;
        }
        assert!(paused > 2 * SECOND, "by time, not by count");
        assert!(world.until_asked() < LEAST_PAUSE);
    }
}

/// A script may answer so after it has written. RULE-330
#[test]
fn what_a_script_says_proves_nothing_unless_only_a_cluster_says_so() {
    let mut world = World::of_three_shards();
    let sent = Sent { kind: SentKind::Script, ..world.sent(7) };
    for answer in ["READONLY You can't", "LOADING Redis", "MASTERDOWN Link"] {
        assert_eq!(world.refuse(&sent, answer), Next::ReturnToCaller);
    }
    assert_eq!(resent(world.refuse(&sent, "MOVED 7 10.0.0.2:7000")).0, world.b());
    assert_eq!(resent(world.refuse(&sent, "ASK 7 10.0.0.2:7000")).0, world.b());
    let text = "TRYAGAIN Multiple keys request during rehashing of slot";
    assert_ne!(world.refuse(&sent, text), Next::ReturnToCaller);
    assert_ne!(world.refuse(&sent, "CLUSTERDOWN Hash slot not served"), Next::ReturnToCaller);
}

/// `redis.call('INCR', KEYS[1]) return redis.error_reply('TRYAGAIN busy')`. RULE-395
#[test]
fn what_a_script_says_in_words_of_its_own_is_its_callers() {
    let mut world = World::of_three_shards();
    let sent = Sent { kind: SentKind::Script, ..world.sent(7) };
    let before = world.cluster.stats();
    for answer in [
        "TRYAGAIN busy",
        "TRYAGAIN",
        "CLUSTERDOWN it is",
        "MOVED 8 10.0.0.2:7000",
        "ASK 8 10.0.0.2:7000",
        "MOVED 7 10.0.0.2:7000 or so",
    ] {
        assert_eq!(world.refuse(&sent, answer), Next::ReturnToCaller, "{answer}");
    }
    let keyless = Sent { slot: None, ..sent };
    assert_eq!(world.refuse(&keyless, "MOVED 7 10.0.0.2:7000"), Next::ReturnToCaller);
    assert_eq!((world.swaps(), world.cluster.stats()), (0, before));
}

/// X has followed a MOVING from a1 to a2, and a new server has taken a1. RULE-400
#[test]
fn a_redirect_to_an_address_that_its_node_has_left_leads_to_the_server_that_is_there_now() {
    for refusal in ["MOVED 6000 10.0.0.2:7000", "ASK 6000 10.0.0.2:7000"] {
        let mut world = World::of_three_shards();
        let b = world.b();
        world.notify(b, &["MOVING", "3", "15", "10.0.0.22:7000"]);
        let moved =
            slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &["b@10.0.0.22:7000"]), (10_923, 16_383, &[C])]);
        world.answer_next(&moved);
        world.open.insert(b, endpoint("10.0.0.22:7000"));
        world.pass(SECOND);

        let mut sent = world.sent(6_000);
        world.pass(MILLI);
        let next = world.refuse(&sent, refusal);
        let (after, trail) = waits(next);
        assert!(matches!(next, Next::Route { .. }) && after <= 8 * MILLI, "{next:?}");
        assert!(world.until_asked() < LEAST_PAUSE);
        world.pass(after);
        (sent.sent_at, sent.trail) = (world.now, trail);
        world.pass(MILLI);
        let new = resent(world.refuse(&sent, refusal)).0;
        assert_eq!(new, world.at("10.0.0.2:7000"));
        assert_ne!(new, b);
    }
}

/// RULE-400
#[test]
fn a_node_that_redirects_to_itself_is_not_asked_for_ever() {
    let mut world = World::of_three_shards();
    let mut sent = world.sent(7);
    let mut paused = 0;
    loop {
        world.pass(MILLI);
        sent.sent_at = world.now;
        match world.refuse(&sent, "MOVED 7 10.0.0.1:7000") {
            Next::Route { trail, after } => {
                assert!(!after.is_zero());
                paused += 1;
                sent.trail = trail;
            }
            other => {
                assert_eq!(other, Next::ReturnToCaller);
                break;
            }
        }
    }
    assert_eq!(paused, 16);
    assert_eq!(world.swaps(), 0);
    assert!(world.until_asked() < 2 * LEAST_PAUSE);
}

/// RULE-331
#[test]
fn a_loop_of_redirects_slows_down_and_ends() {
    let mut world = World::of_three_shards();
    let mut sent = world.sent(7);
    let mut pauses = Vec::new();
    for round in 0.. {
        world.pass(MILLI);
        sent.sent_at = world.now;
        let target = if round % 2 == 0 { "10.0.0.2:7000" } else { "10.0.0.1:7000" };
        match world.refuse(&sent, &format!("MOVED 7 {target}")) {
            Next::Resend { node, after, trail, .. } => {
                pauses.push(after);
                (sent.node, sent.trail) = (Some(node), trail);
            }
            other => {
                assert_eq!(other, Next::ReturnToCaller);
                break;
            }
        }
    }
    assert_eq!(pauses.len(), 16);
    assert!(pauses[..4].iter().all(Duration::is_zero));
    assert!(pauses[4..].iter().all(|pause| !pause.is_zero()));
}

/// RULE-331
#[test]
fn nothing_is_sent_again_after_its_deadline() {
    let mut world = World::of_three_shards();
    let sent = Sent { deadline: Some(world.now + 3 * MILLI), ..world.sent(7) };
    assert_ne!(world.refuse(&sent, "MOVED 7 10.0.0.2:7000"), Next::ReturnToCaller);
    assert_eq!(world.refuse(&sent, "CLUSTERDOWN"), Next::ReturnToCaller, "it would wait for longer");
    world.pass(3 * MILLI);
    for refusal in ["MOVED 7 10.0.0.2:7000", "ASK 7 10.0.0.2:7000", "TRYAGAIN"] {
        assert_eq!(world.refuse(&sent, refusal), Next::ReturnToCaller, "{refusal}");
    }
    assert_eq!(world.tell(|cluster, now| cluster.handle_unsent(now, &sent)), Next::ReturnToCaller);
}

/// RULE-401
#[test]
fn a_pause_that_does_not_fit_is_half_of_what_is_left() {
    let mut world = World::of_three_shards();
    let mut sent = world.sent(7);
    for _ in 0..10 {
        sent.trail = waits(world.refuse(&sent, "CLUSTERDOWN The cluster is down")).1;
    }
    sent.deadline = Some(world.now + 40 * MILLI);
    let mut pauses = Vec::new();
    loop {
        let next = world.refuse(&sent, "CLUSTERDOWN The cluster is down");
        let Next::Route { after, trail } = next else { break };
        pauses.push(after);
        sent.trail = trail;
        world.pass(after);
    }
    assert_eq!(
        pauses,
        [20, 10, 5, 2_500].map(|length| if length > 1_000 { length * MILLI / 1_000 } else { length * MILLI })
    );
    assert!(world.now < sent.deadline.unwrap());
}

/// RULE-402
#[test]
fn what_has_no_key_goes_to_another_node_at_once_the_first_time() {
    let mut world = World::of_three_shards();
    let reads = world.cluster.stats().topology_reads;
    world.pass(SECOND);
    let keyless = Sent { slot: None, ..world.sent(7) };
    let unsent = |world: &mut World, sent: Sent| world.tell(|cluster, now| cluster.handle_unsent(now, &sent));
    let next = unsent(&mut world, keyless);
    assert!(matches!(next, Next::Route { after: Duration::ZERO, .. }), "{next:?}");
    world.pass(10 * SECOND);
    assert_eq!(world.cluster.stats().topology_reads, reads);
    let again = unsent(&mut world, Sent { trail: waits(next).1, ..keyless });
    assert!(matches!(again, Next::Route { after, .. } if !after.is_zero()), "{again:?}");

    let mut world = World::of_three_shards();
    for node in [world.b(), world.at("10.0.0.3:7000")] {
        world.fail(node);
    }
    let next = unsent(&mut world, keyless);
    assert!(matches!(next, Next::Route { after, .. } if !after.is_zero()), "nobody else: {next:?}");
}

/// RULE-340
#[test]
fn what_was_not_sent_goes_where_the_table_leads_now_or_waits() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let sent = world.sent(7);
    let next = world.tell(|cluster, now| cluster.handle_unsent(now, &sent));
    assert!(matches!(next, Next::Route { after, .. } if !after.is_zero()), "{next:?}");
    assert!(world.until_asked() < LEAST_PAUSE, "its node does not answer: the topology is read");

    let later = world.sent(7);
    world.pass(MILLI);
    let _ = world.refuse(&later, "MOVED 7 10.0.0.2:7000");
    let next = world.tell(|cluster, now| cluster.handle_unsent(now, &sent));
    assert!(matches!(next, Next::Route { after: Duration::ZERO, .. }), "{next:?}");

    let nobody = Sent { node: None, slot: None, ..sent };
    let next = world.tell(|cluster, now| cluster.handle_unsent(now, &nobody));
    assert!(matches!(next, Next::Route { after, .. } if !after.is_zero()), "{next:?}");
}

#[test]
fn other_errors_and_redirects_that_cannot_be_read_are_the_callers() {
    let mut world = World::of_three_shards();
    let sent = world.sent(7);
    for error in ["ERR unknown command", "MOVED", "ASK 7", "CROSSSLOT Keys in request", "MOVED 7 x"] {
        assert_eq!(world.refuse(&sent, error), Next::ReturnToCaller);
    }
    let next = world.refuse(&sent, "MOVED 7 ?:7000");
    assert!(matches!(next, Next::Route { .. }), "an unknown host may be known a little later");
}
