//! Reads from replicas: which of them are read from, and what becomes of a read that one does not serve.

use super::*;

/// Another replica of `A`.
const E: &str = "e@10.0.0.5:7000";

/// Three shards, of which the first has these nodes.
fn with_first(first: &[&str]) -> Frame {
    slots(&[(0, 5_460, first), (5_461, 10_922, &[B]), (10_923, 16_383, &[C])])
}

fn settings() -> Settings {
    Settings::builder().open_replicas(true).build().unwrap()
}

/// One that knows [`three_shards`], all nodes connected.
fn world() -> World {
    let mut world = World::started(settings(), &three_shards());
    world.pass(SECOND);
    world.decided.clear();
    world
}

impl World {
    fn d(&self) -> NodeId {
        self.at("10.0.0.4:7000")
    }

    /// A read of `slot` that is sent now to the replica that the table names.
    fn read(&self, slot: u16) -> Sent {
        let replica = self.table.replica_for(slot);
        assert!(replica.is_some(), "no replica of {slot} may be read from");
        Sent { node: replica, kind: SentKind::Read, ..self.sent(slot) }
    }
}

/// RULE-405
#[test]
fn a_replica_is_read_from_while_it_is_connected() {
    let mut world = World::started(settings(), &three_shards());
    let d = world.d();
    assert_eq!(
        [0, 5_460, 5_461, 16_383].map(|slot| world.table.replica_for(slot)),
        [Some(d), Some(d), None, None]
    );
    world.fail(d);
    assert_eq!((world.table.replica_for(0), world.table.replicas_of(0)), (None, &[d][..]));
    world.ready("10.0.0.4:7000");
    assert_eq!(world.table.replica_for(0), Some(d));

    let mut world = World::of_three_shards();
    assert_eq!(world.table.replica_for(0), None, "nobody wants to read from it");
    world.pass(SECOND);
    assert_eq!(world.open.len(), 3);
}

/// Each has its part of the slots, and that of one that is away is the others'. RULE-406
#[test]
fn replicas_share_the_reads_of_their_shard() {
    let mut world = World::started(settings(), &with_first(&[A, D, E]));
    let (d, e) = (world.d(), world.at("10.0.0.5:7000"));
    let of_each =
        |world: &World, node| (0..=5_460).filter(|slot| world.table.replica_for(*slot) == Some(node)).count();
    let shares = [of_each(&world, d), of_each(&world, e)];
    assert!(shares.iter().sum::<usize>() == 5_461 && shares.iter().all(|share| *share > 2_400), "{shares:?}");
    world.fail(d);
    assert_eq!((of_each(&world, d), of_each(&world, e)), (0, 5_461));
}

/// One that goes or comes takes its own slots along, and in which order a node lists them does not matter. RULE-406
#[test]
fn a_slot_keeps_its_replica_while_others_come_and_go() {
    const F: &str = "f@10.0.0.6:7000";
    let mut world = World::started(settings(), &with_first(&[A, D, E, F]));
    let d = world.d();
    let all =
        |world: &World| (0..=5_460).map(|slot| world.table.replica_for(slot).unwrap()).collect::<Vec<_>>();
    let before = all(&world);
    world.fail(d);
    let without = all(&world);
    assert!(before.iter().zip(&without).all(|(before, now)| before == now || *before == d));
    assert!(!without.contains(&d) && before.contains(&d));
    world.ready("10.0.0.4:7000");
    assert_eq!(all(&world), before);
    world.cluster.handle_timed_out(world.now, world.owner(9_000).unwrap());
    world.answer_next(&with_first(&[A, F, E, D]));
    assert_eq!(all(&world), before);
}

/// A replica that has not answered one read is not sent the next ones. RULE-408
#[test]
fn a_replica_that_says_nothing_is_left_alone() {
    let mut world = world();
    let (a, d) = (world.a(), world.d());
    world.tell(|cluster, now| cluster.handle_timed_out(now, d));
    assert_eq!(world.table.replica_for(7), None);
    world.pass(9 * SECOND);
    assert_eq!(world.table.replica_for(7), None);
    world.pass(2 * SECOND);
    assert_eq!(world.table.replica_for(7), Some(d));
    // A primary has nobody in its place.
    world.tell(|cluster, now| cluster.handle_timed_out(now, a));
    assert_eq!((world.owner(7), world.table.replica_for(7)), (Some(a), Some(d)));
}

/// The way from a replica to its primary is none to another shard. RULE-408
#[test]
fn a_refusal_of_a_replica_is_no_redirect() {
    let settings = Settings::builder().open_replicas(true).max_redirects(1).build().unwrap();
    let mut world = World::started(settings, &three_shards());
    let read = world.read(7);
    let Next::Resend { node, trail, .. } = world.refuse(&read, "LOADING Redis") else { panic!("it goes on") };
    let again = Sent { node: Some(node), kind: SentKind::Command, trail, ..read };
    let b = world.at("10.0.0.2:7000");
    assert_eq!(resent(world.refuse(&again, "MOVED 7 10.0.0.2:7000")), (b, false));
}

/// A service that knows no READONLY has no replicas to read from, and is no worse off for it. RULE-407
#[test]
fn a_node_that_refuses_readonly_is_not_read_from() {
    let mut world = world();
    let d = world.d();
    world.tell(|cluster, now| cluster.handle_readonly_refused(now, d));
    assert_eq!((world.table.replica_for(0), world.open.len()), (None, 4));
    world.tell(|cluster, now| cluster.handle_readonly_refused(now, d));
    assert_eq!(world.swaps(), 1);
    let told = ClusterEvent::ReadonlyRefused { node: d, endpoint: endpoint("10.0.0.4:7000") };
    assert_eq!(world.events(), [&told]);
    world.pass(10 * SECOND);
    assert_eq!(world.table.replica_for(0), None);
    // Its next connections say what the server that is there then knows.
    world.fail(d);
    world.tell(|cluster, now| cluster.handle_readonly_refused(now, d));
    world.ready("10.0.0.4:7000");
    assert_eq!(world.table.replica_for(0), None);
    world.fail(d);
    world.ready("10.0.0.4:7000");
    assert_eq!(world.table.replica_for(0), Some(d));
}

/// RULE-408
#[test]
fn what_a_replica_does_not_serve_its_primary_runs_at_once() {
    for refusal in
        ["LOADING Redis", "MASTERDOWN Link", "CLUSTERDOWN The cluster is down", "MOVED 7 10.0.0.1:7000"]
    {
        let mut world = world();
        let (a, d, read) = (world.a(), world.d(), world.read(7));
        world.pass(MILLI);
        assert_eq!(resent(world.refuse(&read, refusal)), (a, false), "{refusal}");
        assert_eq!((world.table.replica_for(0), world.swaps()), (None, 1), "{refusal}");
        assert!(world.until_asked() < LEAST_PAUSE * 5, "{refusal}");
        // What was on its way meanwhile says nothing new.
        assert_eq!(resent(world.refuse(&read, refusal)).0, a, "{refusal}");
        world.pass(crate::backoff::Reconnect::FIRST);
        assert_eq!(world.table.replica_for(0), Some(d), "{refusal}");
        assert_eq!(world.owner(7), Some(a));
    }
}

/// RULE-408
#[test]
fn a_read_that_a_replica_has_lost_goes_to_its_primary_at_once() {
    let mut world = world();
    let read = world.read(7);
    let next = world.tell(|cluster, now| cluster.handle_unsent(now, &read));
    assert_eq!(resent(next), (world.a(), false));
    assert_eq!((world.table.replica_for(7), world.asked.len()), (None, 0), "nothing is wrong with the map");
    // What the primary does not run waits as everything else.
    let at_primary = Sent { kind: SentKind::Command, trail: waits(next).1, ..world.sent(7) };
    let next = world.tell(|cluster, now| cluster.handle_unsent(now, &at_primary));
    assert!(!waits(next).0.is_zero());
}

/// A replica hears of a move after its primary: it may know less than the map, and sends nobody back. RULE-409
#[test]
fn a_replica_does_not_say_where_a_slot_is() {
    let mut world = world();
    let (a, b, d) = (world.a(), world.b(), world.d());
    let (read, sent) = (world.read(7), world.sent(7));
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&read, "MOVED 7 10.0.0.2:7000")), (a, false));
    assert_eq!((world.owner(7), world.table.replica_for(7)), (Some(a), Some(d)), "it is in order");
    assert_eq!(resent(world.refuse(&sent, "MOVED 7 10.0.0.2:7000")).0, b);
    assert_eq!(world.owner(7), Some(b));
    // It was on its way to the replica of before.
    assert_eq!(resent(world.refuse(&read, "MOVED 7 10.0.0.2:7000")).0, b);
    assert_eq!(world.table.replica_for(8), Some(d));

    let back = with_first(&[A, D]);
    world.answer_next(&back);
    world.pass(SECOND);
    let read = world.read(7);
    world.pass(MILLI);
    assert_eq!(resent(world.refuse(&read, "MOVED 7 10.0.0.2:7000")).0, a, "it knows less than the map");
    assert_eq!(world.owner(7), Some(a));
}

/// It has a primary's place in the table with the next thing that is heard of it; what it has refused is judged as that of a primary then. RULE-405
#[test]
fn a_replica_that_is_promoted_takes_the_writes() {
    let mut world = world();
    let (a, d, read, write) = (world.a(), world.d(), world.read(7), world.sent(7));
    world.fail(a);
    world.answer_next(&with_first(&[D]));
    assert_eq!((world.owner(7), world.table.replica_for(7)), (Some(d), None));
    let next = world.refuse(&read, "CLUSTERDOWN The cluster is down");
    assert!(matches!(next, Next::Route { .. }) && !waits(next).0.is_zero());
    let next = world.tell(|cluster, now| cluster.handle_unsent(now, &write));
    assert!(matches!(next, Next::Route { after: Duration::ZERO, .. }), "{next:?}");

    // The other one comes back as its replica.
    world.pass(2 * GRACE);
    world.answer_next(&with_first(&[D, A]));
    assert_eq!(world.table.replica_for(7), None);
    world.ready("10.0.0.1:7000");
    assert_eq!(world.table.replica_for(7), Some(world.a()));
}

/// What is said of a key on its way is not about the replica. RULE-409
#[test]
fn a_replica_that_knows_of_a_move_is_believed() {
    let mut world = world();
    let read = world.read(7);
    world.pass(MILLI);
    let b = world.b();
    assert_eq!(resent(world.refuse(&read, "ASK 7 10.0.0.2:7000")), (b, true));
    assert_eq!(resent(world.refuse(&read, "TRYAGAIN later")), (world.a(), false));
    // At the node that imports the slot it is no read of a replica.
    let asked = Sent { node: Some(b), asking: true, ..read };
    assert!(
        matches!(world.refuse(&asked, "TRYAGAIN later"), Next::Resend { node, asking: true, .. } if node == b)
    );
    assert_eq!(world.swaps(), 0);
}
