use super::*;

/// RULE-335
#[test]
fn slots_that_have_migrated_go_over_in_place_without_a_read() {
    let mut world = World::of_three_shards();
    let (a, b, c) = (world.a(), world.b(), world.at("10.0.0.3:7000"));
    let reads = world.cluster.stats().topology_reads;
    world.pass(SECOND);
    let push = ["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.2:7000", "5,7-9"];
    for node in [c, a, b, a] {
        world.notify(node, &push);
        world.pass(MILLI);
    }
    assert_eq!([4, 5, 6, 7, 9, 10].map(|slot| world.owner(slot)), [a, b, a, b, b, a].map(Some));
    assert_eq!(world.swaps(), 1, "copies change nothing");
    let moved =
        world.events().into_iter().filter(|event| matches!(event, ClusterEvent::SlotsMoved { slots: 4, .. }));
    assert_eq!(moved.count(), 1);
    world.pass(10 * SECOND);
    assert_eq!(world.cluster.stats().topology_reads, reads);
}

/// RULE-335
#[test]
fn older_forms_name_no_source_and_one_push_may_tell_of_several_moves() {
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    world.pass(SECOND);
    world.notify(a, &["SMIGRATED", "7", "10.0.0.2:7000 5,7-9"]);
    assert_eq!(world.owner(8), Some(b));
    let push = Frame::Array(
        [["10.0.0.1:7000", "10.0.0.2:7000", "20"], ["10.0.0.2:7000", "10.0.0.1:7000", "6000"]]
            .map(|entry| Frame::Array(entry.map(Frame::bulk).to_vec()))
            .to_vec(),
    );
    let push = [Frame::bulk("SMIGRATED"), Frame::Integer(8), push];
    let notification = Notification::parse(&push).unwrap().unwrap();
    world.tell(|cluster, now| cluster.handle_notification(now, b, &notification));
    assert_eq!((world.owner(20), world.owner(6_000)), (Some(b), Some(a)));
}

/// RULE-321
#[test]
fn announcements_out_of_order_lead_to_the_latest_owner() {
    let mut world = World::of_three_shards();
    let (a, b, c) = (world.a(), world.b(), world.at("10.0.0.3:7000"));
    world.pass(SECOND);
    world.notify(a, &["SMIGRATED", "8", "10.0.0.1:7000", "10.0.0.2:7000", "5-7"]);
    world.pass(MILLI);
    world.notify(a, &["SMIGRATED", "11", "10.0.0.2:7000", "10.0.0.3:7000", "5"]);
    world.pass(MILLI);
    world.notify(b, &["SMIGRATED", "10", "10.0.0.2:7000", "10.0.0.1:7000", "5-6"]);
    world.notify(b, &["SMIGRATED", "8", "10.0.0.1:7000", "10.0.0.2:7000", "5-7"]);
    assert_eq!([5, 6, 7].map(|slot| world.owner(slot)), [c, b, b].map(Some));
    assert!(world.until_asked() < LEAST_PAUSE, "what 10 has changed nobody can tell from pushes");
    world.pass(MILLI);
    world.answer(&slots(&[
        (0, 4, &[A]),
        (5, 5, &[C]),
        (6, 6, &[A]),
        (7, 10_922, &[B]),
        (10_923, 16_383, &[C]),
    ]));
    assert_eq!([5, 6, 7].map(|slot| world.owner(slot)), [c, a, b].map(Some));
    world.notify(b, &["SMIGRATED", "10", "10.0.0.2:7000", "10.0.0.1:7000", "5-6"]);
    assert_eq!(world.owner(5), Some(c));
    assert!(world.until_asked() > 40 * SECOND, "a copy of what came late");
}

/// A server may tell an event again to whoever connects, however long ago it was. RULE-396
#[test]
fn an_old_event_is_no_news_and_has_the_topology_read() {
    // Slot 5 has gone from A to B and from there to C since then.
    let moved_on = slots(&[
        (0, 4, &[A, D]),
        (5, 5, &[C]),
        (6, 5_460, &[A, D]),
        (5_461, 10_922, &[B]),
        (10_923, 16_383, &[C]),
    ]);
    let push = ["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.2:7000", "5"];
    let mut world = World::started(Settings::default(), &moved_on);
    let (a, c) = (world.a(), world.at("10.0.0.3:7000"));
    world.pass(5 * MILLI);
    world.notify(a, &push);
    assert_eq!(world.owner(5), Some(c), "the owner is neither of the two");
    assert!(world.until_asked() < 2 * LEAST_PAUSE);

    // An id that has left the memory, and comes again with a new connection.
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    world.pass(SECOND);
    world.notify(a, &push);
    world.notify(a, &["SMIGRATED", "8", "10.0.0.2:7000", "10.0.0.1:7000", "5"]);
    for seq in 9..80 {
        let parsed: Vec<Frame> = ["SMIGRATED", &seq.to_string(), "10.0.0.2:7000", "10.0.0.1:7000", "9"]
            .map(|word| Frame::bulk(word.to_owned()))
            .to_vec();
        let notification = Notification::parse(&parsed).unwrap().unwrap();
        world.tell(|cluster, now| cluster.handle_notification(now, a, &notification));
    }
    world.pass(3_600 * SECOND);
    world.asked.clear();
    world.pass(120 * SECOND);
    world.asked.clear();
    world.notify(b, &push);
    assert_eq!(world.owner(5), Some(a));
}

/// RULE-396
#[test]
fn of_one_push_the_last_pair_that_names_a_slot_counts() {
    let mut world = World::of_three_shards();
    let (a, c) = (world.a(), world.at("10.0.0.3:7000"));
    world.pass(SECOND);
    let pair = |source: &'static str, target: &'static str, slots: &'static str| {
        Frame::Array([source, target, slots].map(Frame::bulk).to_vec())
    };
    let pairs = vec![
        pair("10.0.0.1:7000", "10.0.0.2:7000", "5-6"),
        pair("10.0.0.2:7000", "10.0.0.3:7000", "5"),
        pair("10.0.0.2:7000", "10.0.0.1:7000", "6"),
    ];
    let push = [Frame::bulk("SMIGRATED"), Frame::Integer(8), Frame::Array(pairs)];
    let notification = Notification::parse(&push).unwrap().unwrap();
    world.tell(|cluster, now| cluster.handle_notification(now, a, &notification));
    assert_eq!((world.owner(5), world.owner(6)), (Some(c), Some(a)));
    assert!(world.until_asked() > 40 * SECOND);
}

/// An older server does not say where slots were: whether the event is old, the topology tells. RULE-396
#[test]
fn a_push_without_sources_is_obeyed_and_looked_into() {
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    world.pass(SECOND);
    world.notify(a, &["SMIGRATED", "7", "10.0.0.2:7000 5,7-9"]);
    assert_eq!(world.owner(8), Some(b));
    assert!(world.until_asked() < 5 * LEAST_PAUSE);
}

/// RULE-320
#[test]
fn an_announcement_outlasts_the_snapshot_that_was_asked_for_before_it() {
    let mut world = World::of_three_shards();
    world.until_asked();
    world.pass(MILLI);
    let (a, b) = (world.a(), world.b());
    world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.2:7000", "5"]);
    world.pass(MILLI);
    world.answer(&three_shards());
    assert_eq!((world.owner(5), world.owner(6)), (Some(b), Some(a)));
}

/// A copy on a slow connection is as old as the first one, and so is a push that others have overtaken. RULE-321
#[test]
fn a_late_copy_does_not_undo_what_a_snapshot_has_shown_since() {
    let mut world = World::of_three_shards();
    let (a, b, c) = (world.a(), world.b(), world.at("10.0.0.3:7000"));
    world.pass(SECOND);
    world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.2:7000", "5"]);
    assert_eq!(world.owner(5), Some(b));
    // It has gone back since.
    world.answer_next(&three_shards());
    assert_eq!(world.owner(5), Some(a));
    world.pass(SECOND);
    world.notify(b, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.2:7000", "5"]);
    world.notify(b, &["SMIGRATED", "6", "10.0.0.1:7000", "10.0.0.2:7000", "5"]);
    assert_eq!(world.owner(5), Some(a));
    world.notify(b, &["SMIGRATED", "8", "10.0.0.1:7000", "10.0.0.3:7000", "5"]);
    assert_eq!(world.owner(5), Some(c));
}

/// RULE-321
#[test]
fn a_late_copy_says_nothing_of_a_node_that_has_left() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let a = world.a();
    let push = ["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.9:7000", "5"];
    world.notify(a, &push);
    world.ready("10.0.0.9:7000");
    world.answer_next(&three_shards());
    world.pass(2 * GRACE);
    assert_eq!(world.open.len(), 3);
    world.decided.clear();
    world.notify(a, &push);
    assert_eq!(world.decided, []);
}

/// RULE-322
#[test]
fn a_redirect_of_a_request_from_before_an_announcement_is_followed_to_the_announced_owner() {
    let mut world = World::of_three_shards();
    let reads = world.cluster.stats().topology_reads;
    world.pass(SECOND);
    let sent = world.sent(5);
    world.pass(MILLI);
    let (a, b) = (world.a(), world.b());
    world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.2:7000", "5"]);
    let swaps = world.swaps();
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&sent, "MOVED 5 10.0.0.3:7000")), (b, false));
    assert_eq!(world.swaps(), swaps);
    world.pass(10 * SECOND);
    assert_eq!(world.cluster.stats().topology_reads, reads);
}

/// RULE-336
#[test]
fn an_unknown_destination_is_connected_before_its_slots_lead_there() {
    let mut world = World::of_three_shards();
    let reads = world.cluster.stats().topology_reads;
    world.pass(SECOND);
    let a = world.a();
    world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.9:7000", "5"]);
    let new = world.at("10.0.0.9:7000");
    assert_eq!(world.owner(5), Some(a));
    world.tell(|cluster, now| cluster.handle_node_ready(now, a));
    assert_eq!(world.owner(5), Some(a), "that the old one is ready is no news");
    world.pass(20 * MILLI);
    world.ready("10.0.0.9:7000");
    assert_eq!((world.owner(5), world.owner(6)), (Some(new), Some(a)));
    world.pass(10 * SECOND);
    assert!(world.open.contains_key(&new));
    assert_eq!(world.cluster.stats().topology_reads, reads);
}

/// RULE-336
#[test]
fn slots_wait_for_their_new_node_for_a_second_at_most() {
    let mut world = World::of_three_shards();
    world.pass(SECOND);
    let a = world.a();
    world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.9:7000", "5"]);
    world.pass(SECOND - MILLI);
    assert_eq!(world.owner(5), Some(a));
    world.pass(MILLI);
    assert_eq!(world.owner(5), Some(world.at("10.0.0.9:7000")));
}

/// RULE-336
#[test]
fn slots_do_not_wait_when_the_old_node_redirects_or_is_lost_or_they_move_on() {
    let announce = |world: &mut World| {
        world.pass(SECOND);
        let a = world.a();
        world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.9:7000", "5"]);
        world.pass(MILLI);
        assert_eq!(world.owner(5), Some(a));
        a
    };
    for is_young in [true, false] {
        let mut world = World::of_three_shards();
        let old = world.sent(5);
        announce(&mut world);
        let reads = world.cluster.stats().topology_reads;
        let sent = if is_young { world.sent(5) } else { old };
        let new = world.at("10.0.0.9:7000");
        assert_eq!(resent(world.refuse(&sent, "MOVED 5 10.0.0.9:7000")).0, new);
        assert_eq!(world.owner(5), Some(new));
        world.pass(10 * SECOND);
        assert_eq!(world.cluster.stats().topology_reads, reads, "the map knew");
    }

    let mut world = World::of_three_shards();
    let a = announce(&mut world);
    world.fail(a);
    assert_eq!(world.owner(5), Some(world.at("10.0.0.9:7000")));

    let mut world = World::of_three_shards();
    let a = announce(&mut world);
    world.notify(a, &["SMIGRATED", "8", "10.0.0.9:7000", "10.0.0.2:7000", "5"]);
    assert_eq!(world.owner(5), Some(world.b()));
}

/// What happens to one of the slots does not send the others to a node that is not connected. RULE-398
#[test]
fn the_other_slots_go_on_to_wait_for_their_new_node() {
    let announce = |world: &mut World| {
        world.pass(SECOND);
        let a = world.a();
        world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.9:7000", "0-999"]);
        world.pass(MILLI);
        (a, world.b(), world.at("10.0.0.9:7000"))
    };
    let waiting = |world: &World, slots: [u16; 3]| slots.map(|slot| world.owner(slot));

    let mut world = World::of_three_shards();
    let (a, b, new) = announce(&mut world);
    world.notify(b, &["SMIGRATED", "8", "10.0.0.9:7000", "10.0.0.2:7000", "5"]);
    assert_eq!(world.owner(5), Some(b));
    assert_eq!(waiting(&world, [0, 4, 999]), [Some(a); 3]);
    world.ready("10.0.0.9:7000");
    assert_eq!(waiting(&world, [0, 6, 999]), [Some(new); 3]);

    let mut world = World::of_three_shards();
    let (a, b, _) = announce(&mut world);
    let sent = world.sent(5);
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&sent, "MOVED 5 10.0.0.2:7000")).0, b);
    assert_eq!(world.owner(5), Some(b));
    assert_eq!(waiting(&world, [4, 6, 999]), [Some(a); 3]);

    let mut world = World::of_three_shards();
    let (a, _, new) = announce(&mut world);
    world.fail(new);
    assert_eq!(
        waiting(&world, [0, 5, 999]),
        [Some(a); 3],
        "its first dial is refused, and the old one serves"
    );
    world.pass(SECOND);
    assert_eq!(waiting(&world, [0, 5, 999]), [Some(new); 3]);
}

/// RULE-399
#[test]
fn the_host_that_was_asked_is_where_the_connection_is() {
    let mut world = World::of_three_shards();
    let b = world.b();
    world.pass(SECOND);
    world.notify(b, &["MOVING", "3", "15", "10.0.0.22:7000"]);
    let sent = world.sent(6_000);
    world.pass(MILLI);
    let _ = world.refuse(&sent, "ASK 6000 :7001");
    world.at("10.0.0.22:7001");
    world.decided.clear();

    let of_b = slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &["b@-:7000"]), (10_923, 16_383, &[C])]);
    while world.answer_next(&of_b) != b {}
    let readdressed = Decision::Readdress { node: b, endpoint: endpoint("10.0.0.22:7000") };
    assert!(world.decided.contains(&readdressed), "{:?}", world.decided);

    // A connection that is opened anew is where the node is said to be.
    let mut world = World::of_three_shards();
    let b = world.b();
    world.notify(b, &["MOVING", "3", "15", "10.0.0.22:7000"]);
    world.fail(b);
    world.pass(SECOND);
    world.ready("10.0.0.2:7000");
    let sent = world.sent(6_000);
    let _ = world.refuse(&sent, "ASK 6000 :7001");
    world.at("10.0.0.2:7001");
}

/// RULE-337
#[test]
fn where_a_moving_leads_is_another_address_of_its_node() {
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    world.pass(SECOND);
    world.notify(b, &["MOVING", "3", "15", "10.0.0.22:7000"]);
    let sent = world.sent(5);
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&sent, "MOVED 5 10.0.0.22:7000")).0, b, "no other node is opened");
    world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.22:7000", "6"]);
    assert_eq!(world.owner(6), Some(b));
    world.decided.clear();

    let moved = slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &["b@10.0.0.22:7000"]), (10_923, 16_383, &[C])]);
    world.answer_next(&moved);
    let readdressed = Decision::Readdress { node: b, endpoint: endpoint("10.0.0.22:7000") };
    assert!(world.decided.contains(&readdressed), "its connections are there already");
    assert!(
        !world
            .decided
            .iter()
            .any(|decision| matches!(decision, Decision::Retarget { .. } | Decision::Open { .. }))
    );
    assert_eq!(world.owner(6_000), Some(b));
    assert_eq!(world.cluster.endpoint(b), Some(&endpoint("10.0.0.22:7000")));
}

/// RULE-399
#[test]
fn a_node_is_named_by_where_its_moving_leads() {
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    world.pass(SECOND);
    world.notify(b, &["MOVING", "3", "15", "10.0.0.22:7000"]);
    assert_eq!(world.cluster.endpoint(b), Some(&endpoint("10.0.0.22:7000")), "before any topology is read");
    world.notify(b, &["MOVING", "4", "15", "10.0.0.23:7000"]);
    world.notify(a, &["SMIGRATED", "7", "10.0.0.1:7000", "10.0.0.23:7000", "6"]);
    assert_eq!(world.cluster.endpoint(b), Some(&endpoint("10.0.0.23:7000")));
    let named = |decision: &Decision| {
        matches!(decision, Decision::Emit(ClusterEvent::SlotsMoved { to, endpoint: at, .. })
            if *to == b && *at == endpoint("10.0.0.23:7000"))
    };
    assert!(world.decided.iter().any(named), "{:?}", world.decided);

    world.fail(b);
    assert_eq!(
        world.cluster.endpoint(b),
        Some(&endpoint("10.0.0.2:7000")),
        "it is dialled where it is listed"
    );
}

/// RULE-399
#[test]
fn a_later_topology_says_where_a_node_is_after_its_moving() {
    let mut world = World::of_three_shards();
    let b = world.b();
    let of_b = |at: &str| slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &[at]), (10_923, 16_383, &[C])]);
    let named = |world: &World| world.cluster.endpoint(b).map(ToString::to_string);
    world.until_asked();
    world.pass(MILLI);
    world.notify(b, &["MOVING", "3", "15", "10.0.0.22:7000"]);
    world.answer(&of_b("b@10.0.0.2:7000"));
    assert_eq!(named(&world).unwrap(), "10.0.0.22:7000", "the topology was asked for before");

    world.until_asked();
    world.pass(MILLI);
    world.notify(b, &["MOVING", "4", "15", "10.0.0.23:7000"]);
    world.answer(&of_b("b@10.0.0.22:7000"));
    assert_eq!(named(&world).unwrap(), "10.0.0.23:7000", "it was asked for before the second one");

    world.until_asked();
    world.answer(&of_b("b@10.0.0.22:7000"));
    assert_eq!(named(&world).unwrap(), "10.0.0.22:7000");
    let sent = world.sent(6_000);
    world.pass(MILLI);
    let _ = world.refuse(&sent, "ASK 6000 :7001");
    world.at("10.0.0.23:7001");
}

/// RULE-399
#[test]
fn a_node_that_is_opened_again_is_named_by_where_that_is() {
    let mut world = World::of_three_shards();
    let (a, b) = (world.a(), world.b());
    world.pass(SECOND);
    world.notify(b, &["MOVING", "3", "15", "10.0.0.22:7000"]);
    world.notify(a, &["SMIGRATED", "7", "10.0.0.2:7000", "10.0.0.1:7000", "5461-10922"]);
    world.pass(GRACE);
    assert!(world.decided.contains(&Decision::Close { node: b }), "{:?}", world.decided);
    world.decided.clear();
    world.notify(a, &["SMIGRATED", "8", "10.0.0.1:7000", "10.0.0.2:7000", "5461-10922"]);
    let opened = |decision: &Decision| matches!(decision, Decision::Open { node, .. } if *node == b);
    assert!(world.decided.iter().any(opened), "{:?}", world.decided);
    assert_eq!(world.cluster.endpoint(b), Some(&endpoint("10.0.0.2:7000")));
}

#[test]
fn what_concerns_one_node_alone_changes_nothing_here() {
    let mut world = World::of_three_shards();
    let a = world.a();
    for push in [
        &["SMIGRATING", "7", "1-5"][..],
        &["MIGRATING", "8", "10"],
        &["MIGRATED", "9"],
        &["FAILING_OVER", "10", "10"],
        &["FAILED_OVER", "11"],
        &["MOVING", "12", "10"],
    ] {
        world.notify(a, push);
    }
    assert_eq!(world.decided, []);
}
