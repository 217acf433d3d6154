//! Links that do not answer any more.

use super::*;

/// What a client does with a dead link: `word` is written to one of two connections, and its caller gives up.
fn silent() -> (World, [ConnId; 2]) {
    let mut world = World::started(2);
    let id = world.send("lost");
    world.client.cancel(world.now, id);
    world.drain();
    let dead = *world.pending.first_key_value().unwrap().0;
    let alive = world.conns().into_iter().find(|conn| *conn != dead).unwrap();
    (world, [dead, alive])
}

fn silences(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, Event::ConnectionSilent { .. })).count()
}

/// All callers have given up, and the link is noticed all the same: it gets no new request, and another connection takes its place.
/// RULE-140
#[test]
fn a_dead_link_is_replaced_though_nobody_waits() {
    let (mut world, [dead, alive]) = silent();
    world.pass(8 * SECOND);
    assert_eq!((silences(&world), world.client.stats().serving), (0, 2));
    world.pass(SECOND + SECOND / 10);
    assert_eq!((silences(&world), world.client.stats().serving), (1, 1));
    assert_eq!(world.dials.len(), 1, "make before break");
    assert!(world.closed.is_empty());
    for _ in 0..4 {
        let id = world.send("read");
        world.answer(alive);
        assert_eq!(world.reply_of(id), "read");
    }
    world.answer_dials();
    assert_eq!(world.closed, [dead], "nobody waits for anything");
    assert_eq!((world.client.stats().serving, world.conns().len()), (2, 2));
    let closed = |event: &&Event| matches!(event, Event::ConnectionClosed { cause: CloseCause::Silent, .. });
    assert_eq!(world.events.iter().filter(closed).count(), 1);
}

/// A caller without a limit is not cut off: the old link stays until it has answered. RULE-142
#[test]
fn a_patient_caller_keeps_the_old_link() {
    let mut world = World::with(|builder| builder.pool_size(1).command_timeout(None));
    world.answer_dials();
    let old = world.conns()[0];
    let patient = world.send("script");
    world.pass(10 * SECOND + SECOND / 10);
    assert_eq!(world.dials.len(), 1, "ten seconds are the default without a timeout");
    world.answer_dials();
    let other = world.send("other");
    let new = world.conns().into_iter().find(|conn| *conn != old).unwrap();
    world.answer(new);
    assert_eq!(world.reply_of(other), "other");
    world.pass(600 * SECOND);
    assert!(world.closed.is_empty() && !world.done.contains_key(&patient));
    world.answer(old);
    assert_eq!(world.reply_of(patient), "script");
    assert_eq!(world.closed, [old]);
}

/// The successor is silent as well, and the first link still has a caller: that one is closed, or a slot would have three
/// sockets. INV-20, RULE-142
#[test]
fn a_slot_has_two_sockets_however_many_are_silent() {
    let mut world = World::with(|builder| builder.pool_size(1).command_timeout(None));
    world.answer_dials();
    let first = world.conns()[0];
    let lost = world.send("first");
    world.pass(11 * SECOND);
    world.answer_dials();
    world.send("second");
    world.pass(11 * SECOND);
    assert_eq!(world.closed, [first]);
    assert_eq!(world.failure_of(lost).delivery(), Delivery::Unknown);
    assert_eq!((world.dials.len(), world.conns().len()), (1, 2));
    world.answer_dials();
    assert_eq!(world.client.stats().serving, 1);
}

/// While no handshake is answered all stay, requests wait, and the first byte puts the link back into service. RULE-140
#[test]
fn all_links_stay_while_no_handshake_is_answered() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    let abandoned = world.send("slow");
    world.client.cancel(world.now, abandoned);
    world.pass(10 * SECOND);
    let refused = |world: &mut World| {
        let (dial, _) = world.dials.pop().unwrap();
        world.client.handle_connect_failed(world.now, dial, io::ErrorKind::ConnectionRefused);
        world.drain();
    };
    for _ in 0..5 {
        refused(&mut world);
        world.pass(3 * SECOND);
    }
    assert!(world.closed.is_empty());
    let waits = world.send("waits");
    assert_eq!((world.client.stats().parked, silences(&world)), (1, 1));
    world.answer(conn);
    assert_eq!(world.pending[&conn], ["waits"]);
    world.answer(conn);
    assert_eq!(world.reply_of(waits), "waits");
    let dials = world.dials.len();
    world.answer_dials();
    assert_eq!(world.conns(), [conn], "a dial that comes too late is not needed");
    assert!(dials <= 1);
}

/// A MOVING that has moved the slot leaves nothing to replace: the old link drains, and not to the deadline of its move if it is
/// dead. RULE-140, RULE-142
#[test]
fn a_move_replaces_a_dead_link_as_well() {
    let mut world = World::started(1);
    let old = world.conns()[0];
    world.send("lost");
    world.push(old, &["MOVING", "1", "60", "127.0.0.1:2"]);
    world.answer_dials();
    assert_eq!(world.client.stats().serving, 1);
    world.pass(29 * SECOND);
    assert!(world.closed.is_empty(), "its timeouts are relaxed");
    world.pass(2 * SECOND);
    assert_eq!(world.closed, [old]);
    assert_eq!((silences(&world), world.dials.len()), (0, 0));
}

/// A MOVING begins a second dial for the slot of a dead link, and the link is lost: one of the two connections stays. INV-20
#[test]
fn two_dials_for_one_slot_leave_one_connection() {
    for first in 0..2 {
        let mut world = World::started(1);
        let dead = world.conns()[0];
        world.send("lost");
        world.pass(9 * SECOND + SECOND / 10);
        world.push(dead, &["MOVING", "1", "60", "127.0.0.1:2"]);
        assert_eq!(world.dials.len(), 2);
        world.close(dead);
        let (conn, address) = world.dials.remove(first);
        world.connect(conn, address);
        world.answer_dials();
        world.pass(SECOND);
        assert_eq!((world.client.stats().serving, world.conns().len()), (1, 1));
    }
}

/// The connection that was dialled for a dead link is not needed any more when it is ready, and its address is being retired, so
/// that it is to be moved itself: nothing is left of either. INV-15, INV-20
#[test]
fn a_surplus_connection_takes_its_own_successor_along() {
    let mut world = World::started(1);
    let dead = world.conns()[0];
    world.send("lost");
    world.pass(9 * SECOND + SECOND / 10);
    world.push(dead, &["MOVING", "1", "60", "127.0.0.1:2"]);
    let [(late, at), (successor, target)] = <[_; 2]>::try_from(std::mem::take(&mut world.dials)).unwrap();
    world.connect(successor, target);
    world.answer(dead);
    world.connect(late, at);
    world.answer_dials();
    assert_eq!((world.client.stats().serving, world.conns()), (1, vec![successor]));
    let known = world.client.stats().coordinator;
    assert_eq!((known.connections.values().sum::<u32>(), known.dialing), (1, 0));
}

/// The server may have refused the credentials meanwhile: a link that falls silent then is not dialled for until they are accepted,
/// and the client does not hang. RULE-128, INV-12
#[test]
fn a_link_that_falls_silent_while_the_credentials_are_refused_waits() {
    let (mut world, [dead, alive]) = silent();
    world.close(alive);
    while world.dials.is_empty() {
        assert!(world.next_timeout(world.now + SECOND), "a dial is due");
    }
    let (conn, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, conn, address);
    world.client.handle_frames(world.now, conn, [Frame::error("WRONGPASS")]);
    world.drain();
    world.pass(12 * SECOND);
    assert_eq!((silences(&world), world.dials.len()), (1, 1), "one slot knocks");
    world.answer_dials();
    world.pass(3 * SECOND);
    world.answer_dials();
    assert_eq!((world.client.stats().serving, world.closed.contains(&dead)), (2, true));
}

/// A start does not wait for a link to answer that was ready before the others.
#[test]
fn a_start_is_over_though_a_link_has_fallen_silent() {
    let mut world = World::with(|builder| builder.pool_size(2).connect_timeout(None));
    let (conn, address) = world.dials.remove(0);
    world.connect(conn, address);
    let id = world.send("lost");
    world.client.cancel(world.now, id);
    world.pass(10 * SECOND);
    assert_eq!((silences(&world), world.started.is_none()), (1, true));
    let (conn, address) = world.dials.remove(0);
    world.connect(conn, address);
    assert_eq!((world.started, world.client.stats().serving), (Some(Ok(())), 1));
}

/// A loop may be late each time: what counts as a stop is that it is late, and not all that was silent before. RULE-140, RULE-144
#[test]
fn a_loop_that_is_always_late_notices_a_dead_link() {
    let (mut world, _) = silent();
    let end = world.now + 20 * SECOND;
    while let Some(at) = world.client.poll_timeout().filter(|at| *at < end) {
        world.now = world.now.max(at + SECOND * 3 / 10);
        world.client.handle_timeout(world.now);
        world.obey();
    }
    assert_eq!(silences(&world), 1);
}

/// Bytes that come at an instant that nobody tells are counted from the next one that is known, not from the last. RULE-140
#[test]
fn bytes_of_an_unknown_instant_are_no_silence() {
    let mut world = World::with(|builder| builder.pool_size(1).command_timeout(None));
    world.answer_dials();
    let conn = world.conns()[0];
    world.send("script");
    world.now += 9 * SECOND;
    world.client.handle_received(conn);
    world.drain();
    world.pass(9 * SECOND);
    assert_eq!(silences(&world), 0);
    world.pass(11 * SECOND);
    assert_eq!(silences(&world), 1, "a dead link is still noticed");
}

/// Links are not dead because the process was stopped; the time before that counts. RULE-144
#[test]
fn the_silence_of_a_stopped_process_does_not_count() {
    let mut world = World::started(1);
    let id = world.send("lost");
    world.client.cancel(world.now, id);
    world.pass(2 * SECOND);
    world.now += 30 * SECOND;
    world.client.handle_timeout(world.now);
    world.drain();
    assert_eq!(silences(&world), 0);
    world.pass(5 * SECOND);
    assert_eq!(silences(&world), 0);
    world.pass(2 * SECOND);
    assert_eq!(silences(&world), 1);
}

/// The process stalls behind `send`: what is overdue when it goes on is not written, wherever it waited. RULE-146
#[test]
fn an_overdue_request_is_never_written() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    let request = |word: &str| Request::raw(Bytes::from(format!("{word}\n")), NonZeroU32::MIN);
    let on_time = world.client.send(world.now, request("on time")).unwrap();
    let late = world.client.send(world.now, request("late").timeout(SECOND / 4)).unwrap();
    world.now += SECOND / 2;
    world.client.handle_writable(world.now, conn);
    let mut buffer = WriteBuffer::new();
    assert!(world.client.poll_transmit(conn, &mut buffer));
    assert_eq!(buffer.chunk(), b"on time\n");
    world.client.handle_timeout(world.now);
    world.client.handle_frames(world.now, conn, [Frame::bulk("answer")]);
    world.drain();
    assert_eq!(world.failure_of(late).delivery(), Delivery::NotSent);
    assert_eq!(world.reply_of(on_time), "answer");
}
