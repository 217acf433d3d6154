//! Servers that shake hands and are of no use.

use super::*;

/// The server accepts whatever is dialled, and closes it at once; how many dials that makes.
fn flap(world: &mut World, time: Duration) -> usize {
    let end = world.now + time;
    let mut dials = 0;
    loop {
        for (conn, address) in std::mem::take(&mut world.dials) {
            dials += 1;
            world.connect(conn, address);
            world.close(conn);
        }
        if !world.next_timeout(end) {
            world.now = end;
            return dials;
        }
        world.drain();
    }
}

/// A start does not go on for ever where one slot is connected and closed again and again: each time counts as a failed dial.
/// RULE-127
#[test]
fn a_start_gives_up_where_connections_are_closed_behind_the_handshake() {
    let mut world = World::new(2);
    let mut closed = 0;
    while world.started.is_none() {
        // The other slot's dial has no answer.
        while let Some(nth) = world.dials.iter().position(|(conn, _)| conn.index() == 0) {
            let (conn, address) = world.dials.remove(nth);
            world.connect(conn, address);
            world.close(conn);
            closed += 1;
        }
        world.pass(SECOND / 4);
        assert!(world.now < epoch() + 5 * SECOND, "the other one's limit is not waited for");
    }
    assert_eq!(closed, 4);
    let Some(Err(ConnectError::GaveUp { attempts: 4, last, .. })) = &world.started else {
        panic!("{:?}", world.started)
    };
    assert_eq!(**last, ConnectError::LostInHandshake(CloseCause::ByServer));
    assert!(world.client.is_terminated());
}

/// In a running client the pauses grow, so that a pool of ten dials a few times a second in the long run. One reply without an error
/// makes up for all of that; an error does not. RULE-127
#[test]
fn a_server_that_closes_behind_the_handshake_is_dialled_ever_more_seldom() {
    let mut world = World::started(10);
    for conn in world.conns() {
        world.close(conn);
    }
    let first = flap(&mut world, 8 * SECOND);
    assert!((50..=150).contains(&first), "{first} dials in 8 s");
    let then = flap(&mut world, 60 * SECOND);
    assert!((300..=600).contains(&then), "{then} dials in 60 s");

    for (reply, pause_is_short) in [(Frame::error("LOADING"), false), (Frame::simple("OK"), true)] {
        // Every slot has a connection again, which answers one request.
        while world.client.stats().serving < 10 {
            world.answer_dials();
            world.next_timeout(world.now + SECOND * 2);
            world.drain();
        }
        for _ in 0..10 {
            world.send("request");
        }
        for conn in world.conns() {
            world.pending.remove(&conn);
            world.client.handle_frames(world.now, conn, [reply.clone()]);
            world.drain();
            world.close(conn);
        }
        world.pass(SECOND / 20);
        assert_eq!(world.dials.len() == 10, pause_is_short, "{reply:?}");
    }
}
