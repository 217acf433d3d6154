//! What windows and moves concern, and how long they last.

use super::*;
use crate::mode::Mode;
use crate::slots::SlotSet;

const NANO: Duration = Duration::from_nanos(1);

/// A connection to each of two addresses.
fn two_addresses() -> (World, [ConnId; 2]) {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = [1, 2].map(|port| {
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.drain();
        world.dials.clear();
        world.coordinator.handle_connected(world.now, conn, peer(port));
        world.coordinator.handle_ready(world.now, conn, OptIn::Accepted);
        conn
    });
    world.drain();
    (world, conns)
}

/// A database is behind all of its addresses; slots and moves are at one. Requests without a connection wait for the end of a
/// move. RULE-44, RULE-45, RULE-46
#[test]
fn a_window_concerns_those_that_it_was_announced_for() {
    let failing_over = Notification::FailingOver { seq: Seq(1), starts_in: None, shards: Default::default() };
    let slots_migrating = Notification::SlotsMigrating { seq: Seq(1), slots: SlotSet::parse("1-5").unwrap() };
    let nameless = Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target: MoveTarget::SameName };
    for (announced, there, elsewhere, without) in [
        (opener(1), true, true, true),
        (failing_over, true, true, true),
        (slots_migrating, true, false, false),
        (nameless, true, false, true),
    ] {
        let (mut world, [one, other]) = two_addresses();
        world.notify(one, &announced);
        let relaxed =
            [Some(one), Some(other), None].map(|conn| world.coordinator.relaxed(world.now, conn).is_some());
        assert_eq!(relaxed, [there, elsewhere, without], "{announced:?}");
    }
}

/// Timeouts are relaxed at the source of a move until its deadline, and no longer. RULE-46
#[test]
fn the_window_of_a_move_ends_at_its_deadline() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    let deadline = world.now + 15 * SECOND;
    world.notify(conn, &moving(1, 15 * SECOND, 2));
    while world.next_timeout(deadline - NANO) {}
    assert!(world.coordinator.relaxed(deadline - NANO, Some(conn)).is_some());
    while world.next_timeout(deadline) {}
    assert_eq!(world.coordinator.relaxed(deadline, Some(conn)), None);
}

/// The new node is warming up. RULE-48
#[test]
fn a_connection_is_relaxed_for_a_while_after_its_handoff() {
    for (configured, lasts) in [(None, 20), (Some(3), 3), (Some(0), 0)] {
        let settings = maintenance::Config::builder();
        let settings = match configured {
            Some(seconds) => settings.post_handoff_relaxed_duration(seconds * SECOND),
            None => settings,
        };
        let mut world = World::with("127.0.0.1:1", 1, settings);
        let conn = world.connected(1)[0];
        world.notify(conn, &moving(1, 15 * SECOND, 2));
        world.answer_dials();
        let (_, to) = world.cut_over[0];
        let end = world.now + lasts * SECOND;
        assert_eq!(world.coordinator.relaxed(end - NANO, Some(to)).is_some(), lasts > 0, "{configured:?}");
        assert_eq!(world.coordinator.relaxed(end, Some(to)), None, "{configured:?}");
    }
}

/// A completion closes the windows of openers with an id that is not above its own, also of those that came over another
/// connection. RULE-36
#[test]
fn a_completion_shares_neither_id_nor_connection_with_its_opener() {
    let (mut world, [one, other]) = two_addresses();
    world.notify(one, &opener(3));
    world.notify(other, &completion(2));
    assert!(world.coordinator.relaxed(world.now, Some(one)).is_some(), "that of an older one");
    world.notify(other, &completion(8));
    assert_eq!(world.coordinator.relaxed(world.now, Some(one)), None);
}

/// The announced time may be shorter than what replies take; a server that lives longer gives them after all. RULE-69
#[test]
fn a_drain_lasts_for_a_relaxed_timeout_at_least() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.notify(conn, &moving(1, SECOND, 2));
    world.answer_dials();
    let end = world.now + 10 * SECOND;
    while world.next_timeout(end - NANO) {}
    assert!(world.closed.is_empty());
    while world.next_timeout(end) {}
    assert_eq!(world.closed, [(conn, CloseCause::MoveDeadline)]);
}

/// Names may lead to the old address for some time after the close. RULE-76
#[test]
fn requests_without_a_connection_wait_beyond_the_deadline() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    let end = world.now + 5 * SECOND + 20 * SECOND;
    world.notify(conn, &moving(1, 5 * SECOND, 2));
    world.refuse_dials();
    world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
    while world.next_timeout(end - NANO) {}
    assert_eq!(world.coordinator.relaxed(end - NANO, None), Some(10 * SECOND));
    while world.next_timeout(end) {}
    assert_eq!(world.coordinator.relaxed(end, None), None);
}

/// The memory is as long as windows can be: three relaxed timeouts beyond the deadline. RULE-60
#[test]
fn a_move_is_forgotten_in_the_end() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    let forgotten_at = world.now + 15 * SECOND + 30 * SECOND;
    world.notify(conn, &moving(5, 15 * SECOND, 2));
    for (at, dials) in [(forgotten_at - NANO, 0), (forgotten_at, 1)] {
        world.refuse_dials();
        while world.next_timeout(at) {
            world.refuse_dials();
        }
        world.now = at;
        world.notify(conn, &moving(5, 15 * SECOND, 2));
        assert_eq!(world.dials.len(), dials);
    }
}

fn with_breaker(settings: maintenance::ConfigBuilder) -> (World, ConnId) {
    let breaker = crate::breaker::BreakerConfig { failures: 1, open_for: 600 * SECOND, half_open: 1 };
    let mut world = World::with("127.0.0.1:1", 1, settings.circuit_breaker(breaker));
    let conn = world.connected(1)[0];
    world.notify(conn, &moving(1, 10 * SECOND, 2));
    (world, conn)
}

/// A breaker spares a dead target attempts that nobody needs; an owner that has no connection left needs each. RULE-74
#[test]
fn an_open_breaker_stops_nobody_without_a_connection() {
    let (mut world, conn) = with_breaker(maintenance::Config::builder());
    world.refuse_dials();
    assert!(world.next_timeout(world.now + 10 * SECOND));
    assert!(world.dials.is_empty(), "the scout is denied");
    world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
    world.coordinator.open(world.now, Role::Shared);
    world.drain();
    assert_eq!(world.dials.iter().map(|(_, address, _)| address.clone()).collect::<Vec<_>>(), [peer(2)]);
}

/// A target that refuses the opt-in is alive. RULE-101
#[test]
fn a_refused_opt_in_does_not_open_the_breaker() {
    let (mut world, _) = with_breaker(maintenance::Config::builder().mode(Mode::Enabled));
    let end = world.now + 10 * SECOND;
    let mut dials = 0;
    loop {
        for (to, address, _) in std::mem::take(&mut world.dials) {
            dials += 1;
            let refused = OptIn::of_error(b"ERR unknown subcommand 'MAINT_NOTIFICATIONS'.");
            world.coordinator.handle_connected(world.now, to, address);
            world.coordinator.handle_ready(world.now, to, refused);
        }
        world.drain();
        if !world.next_timeout(end) {
            break;
        }
    }
    assert_eq!(dials, 4, "no attempt was denied");
}

/// The window of a connection ends with it, so that connections which come and go do not use up the room for windows. INV-14
#[test]
fn a_window_ends_with_its_connection() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.notify(conn, &moving(1, 15 * SECOND, 2));
    world.answer_dials();
    let (_, successor) = world.cut_over[0];
    assert_eq!(world.coordinator.stats().windows, 2);
    world.coordinator.handle_closed(world.now, successor, CloseCause::ByServer);
    assert_eq!(world.coordinator.stats().windows, 1, "that of the address is left");
}

/// Connections that drain behind each other are followed by the one that serves in their place, whichever of them is lost first.
/// A lookup serves nowhere. INV-20
#[test]
fn a_connection_waits_for_all_that_drain_in_its_place() {
    let mut world = World::new("localhost:1", 1);
    let oldest = {
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.coordinator.handle_resolved(world.now, conn, Ok(vec![[127, 0, 0, 1].into()]));
        world.drain();
        world.answer_dials();
        conn
    };
    world.notify(oldest, &moving(1, 30 * SECOND, 2));
    world.answer_dials();
    let (_, second) = world.cut_over[0];
    // The one in its place is lost, and a lookup begins before the owner opens another one.
    world.notify(second, &opener(2));
    world.coordinator.handle_closed(world.now, second, CloseCause::ByServer);
    world.notify(oldest, &completion(2));
    world.lookups.clear();
    let third = world.coordinator.open(world.now, Role::Shared);
    world.coordinator.handle_resolved(world.now, third, Ok(vec![[127, 0, 0, 3].into()]));
    world.drain();
    world.answer_dials();
    world.notify(third, &moving(3, 10 * SECOND, 4));
    assert!(world.dials.is_empty(), "the oldest one still drains in this slot");
    world.coordinator.handle_drained(world.now, oldest);
    world.drain();
    assert_eq!(world.dials.len(), 1);
}

/// The process stood still for an hour while a handoff was dialling: the move has an end all the same, and says how.
#[test]
fn a_move_that_is_over_when_the_process_wakes_says_how_it_ended() {
    for is_lost in [false, true] {
        let mut world = World::new("127.0.0.1:1", 1);
        let conn = world.connected(1)[0];
        world.notify(conn, &moving(1, SECOND, 2));
        assert_eq!(world.dials.len(), 1);
        if is_lost {
            world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
        }
        world.now += 3600 * SECOND;
        world.coordinator.handle_timeout(world.now);
        world.drain();
        let failed = world.events.iter().filter(|event| matches!(event, Event::HandoffFailed { .. })).count();
        let finished =
            world.events.iter().filter(|event| matches!(event, Event::MoveFinished { .. })).count();
        assert_eq!((failed, finished), (usize::from(!is_lost), 1), "{:?}", world.events);
        assert_eq!(world.failed, if is_lost { vec![Redial::AfterPause] } else { vec![] });
    }
}

/// While a window covers the address, or what the configured name leads to, a dial may take the relaxed timeout, whether the window
/// opens before it or during it; afterwards it may not. RULE-131
#[test]
fn a_dial_inside_a_window_may_take_longer() {
    for (is_open, when) in [(true, "before"), (true, "during"), (false, "after")] {
        let mut world = World::new("127.0.0.1:1", 2);
        let conn = world.connected(1)[0];
        if when != "during" {
            world.notify(conn, &opener(1));
        }
        if when == "after" {
            world.notify(conn, &completion(1));
        }
        let opened_at = world.now;
        world.coordinator.open(world.now, Role::Shared);
        world.drain();
        if when == "during" {
            world.notify(conn, &opener(1));
        }
        let limit = if is_open { 10 * SECOND } else { 5 * SECOND };
        while world.next_timeout(opened_at + limit - NANO) {}
        assert_eq!((world.failed.len(), world.dials.len()), (0, 1), "{when}");
        while world.next_timeout(opened_at + limit) {}
        assert_eq!((world.failed.len(), world.dials.len()), (1, 0), "{when}");
    }
}

/// A window of one address gives time to dials that lead there, and to no others; a dial of a handoff has its share of the move's
/// time. RULE-131
#[test]
fn a_window_gives_time_to_the_dials_that_it_covers() {
    let slots_migrating = Notification::SlotsMigrating { seq: Seq(1), slots: SlotSet::parse("1-5").unwrap() };
    for (at, seconds) in [(1, 10), (2, 5)] {
        let mut world = World::new("127.0.0.1:1", 2);
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.drain();
        world.dials.clear();
        world.coordinator.handle_connected(world.now, conn, peer(at));
        world.coordinator.handle_ready(world.now, conn, OptIn::Accepted);
        world.notify(conn, &slots_migrating);
        let until = world.now + seconds * SECOND;
        world.coordinator.open(world.now, Role::Shared);
        let told = std::iter::from_fn(|| world.coordinator.poll_directive()).find_map(|it| match it {
            Directive::Dial { until, .. } => Some(until),
            _ => None,
        });
        assert_eq!(told, Some(Some(until)), "a window at {at}");
    }
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.notify(conn, &moving(1, 5 * SECOND, 2));
    // A quarter of what is left of five seconds.
    assert_eq!(world.coordinator.attempts.until(world.dials[0].0), Some(world.now + SECOND));
}

/// A target that shakes hands and then loses its connections is treated as one that refuses: who comes to the source again is not
/// sent there at once, and when the retries are spent it stays. RULE-130
#[test]
fn a_target_that_loses_connections_is_left_after_the_retries() {
    let mut world = World::new("127.0.0.1:1", 2);
    let first = world.connected(2)[0];
    let deadline = world.now + 15 * SECOND;
    world.notify(first, &moving(1, 15 * SECOND, 2));
    let mut arrived_at = Vec::new();
    while world.now < deadline {
        while world.answer_dials() > 0 {
            arrived_at.push(deadline - world.now);
        }
        // The target closes what has arrived, and the owner comes back to the source, which is still there.
        for (_, to) in std::mem::take(&mut world.cut_over) {
            world.coordinator.handle_closed(world.now, to, CloseCause::ByServer);
            world.drain();
            let again = world.coordinator.open(world.now, Role::Shared);
            world.drain();
            world.dials.retain(|(conn, ..)| *conn != again);
            world.coordinator.handle_connected(world.now, again, peer(1));
            world.coordinator.handle_ready(world.now, again, OptIn::Accepted);
            world.drain();
        }
        if !world.next_timeout(deadline - NANO) {
            break;
        }
    }
    // The scout and its follower, and then as many times as there are retries, each with a pause before it.
    assert_eq!(arrived_at.len(), 2 * (1 + 3), "{arrived_at:?}");
    arrived_at.dedup();
    assert_eq!(arrived_at.len(), 1 + 3, "{arrived_at:?}");
    let serving = world.coordinator.stats().connections.get(&peer(1)).copied();
    assert!(serving >= Some(2), "they stay at the source: {serving:?}");
}

/// After the close of the source a place that takes connections and loses them is no better than one that refuses: the next place
/// has its turn. RULE-77, RULE-130
#[test]
fn after_the_close_a_place_that_loses_connections_gives_way() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.notify(conn, &moving(1, 15 * SECOND, 2));
    world.refuse_dials();
    world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
    world.drain();
    let mut places = Vec::new();
    for _ in 0..4 {
        let opened = world.coordinator.open(world.now, Role::Shared);
        world.drain();
        places.push(world.dials[0].1.clone());
        // Some are accepted, and closed.
        world.dials.retain(|(dial, ..)| *dial == opened);
        world.answer_dials();
        world.dials.clear();
        world.coordinator.handle_closed(world.now, opened, CloseCause::ByServer);
        world.drain();
    }
    assert_eq!(places, [2, 1, 2, 1].map(peer));
}
