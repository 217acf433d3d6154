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
    assert_eq!(**last, ConnectError::LostBehindHandshake(CloseCause::ByServer));
    assert!(world.client.is_terminated());
}

/// However large the pool is, a server that closes behind the handshake is dialled a few times a second in the long run: those
/// beyond four slots wait longer. When a connection has lasted for two seconds they dial soon. RULE-167
#[test]
fn a_large_pool_dials_a_few_times_a_second() {
    for size in [10, 100] {
        let mut world = World::started(size);
        for conn in world.conns() {
            world.close(conn);
        }
        let first = flap(&mut world, 8 * SECOND);
        assert!(first <= 60 + 4 * size as usize, "{first} dials of {size} in 8 s");
        let then = flap(&mut world, 60 * SECOND);
        assert!((120..=480).contains(&then), "{then} dials of {size} in 60 s");
        // Until a slot dials, until that connection has lasted, and until the others have dialled.
        let end = world.now + 6 * SECOND;
        while world.client.stats().serving < size as usize {
            assert!(world.next_timeout(end), "the pool of {size} is whole in time");
            world.drain();
            world.answer_dials();
        }
    }
}

/// In a running client the pauses grow, so that a pool of ten dials a few times a second in the long run. A connection that
/// has lived for two seconds makes up for all of that if it has answered without an error. RULE-127
#[test]
fn a_server_that_closes_behind_the_handshake_is_dialled_ever_more_seldom() {
    let mut world = World::started(10);
    for conn in world.conns() {
        world.close(conn);
    }
    let first = flap(&mut world, 8 * SECOND);
    assert!((40..=150).contains(&first), "{first} dials in 8 s");
    let then = flap(&mut world, 60 * SECOND);
    assert!((120..=320).contains(&then), "{then} dials in 60 s");

    for (reply, pause_is_short) in [(Frame::error("LOADING"), false), (Frame::simple("OK"), true)] {
        // Every slot has a connection again, which answers one request.
        while world.client.stats().serving < 10 {
            world.answer_dials();
            world.next_timeout(world.now + SECOND * 2);
            world.drain();
        }
        for _ in 0..10 {
            world.send_apart("request", Replay::Never);
        }
        for conn in world.conns() {
            world.pending.remove(&conn);
            world.client.handle_frames(world.now, conn, [reply.clone()]);
            world.drain();
        }
        world.pass(2 * SECOND);
        for conn in world.conns() {
            world.close(conn);
        }
        world.pass(SECOND / 20);
        assert_eq!(world.dials.len() == 10, pause_is_short, "{reply:?}");
    }
}

/// A client with one connection, to a name that leads to two addresses which swallow what is dialled.
fn behind_two_addresses() -> World {
    let endpoint = Endpoint::parse("name", 6379).unwrap();
    let mut world = World::of(Config::builder(endpoint).pool_size(1).build().unwrap());
    look_up(&mut world);
    world.pass(SECOND / 4);
    assert_eq!(world.dials.len(), 2);
    world
}

fn look_up(world: &mut World) {
    for conn in std::mem::take(&mut world.lookups) {
        let addresses = vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        world.client.handle_resolved(world.now, conn, Ok(addresses));
    }
    world.drain();
}

/// Two dials of one attempt are closed when its time is over, and the slot dials again: neither of them is still on its way.
/// INV-20, RULE-125
#[test]
fn a_slot_dials_again_after_two_dials_that_nobody_answered() {
    let mut world = behind_two_addresses();
    world.pass(5 * SECOND);
    assert_eq!(world.closed.len(), 2);
    world.pass(SECOND);
    look_up(&mut world);
    world.answer_dials();
    assert_eq!((world.client.stats().serving, &world.started), (1, &Some(Ok(()))));
}

/// One of two dials of an attempt is refused, the other one is still under way: nothing else is dialled for the slot meanwhile,
/// though its connection does not answer. INV-20, RULE-125
#[test]
fn a_slot_has_one_attempt_at_a_time_though_one_of_its_dials_fails() {
    let mut world = behind_two_addresses();
    let (conn, address) = world.dials.remove(0);
    world.connect(conn, address);
    let request = world.send("lost");
    world.client.cancel(world.now, request);
    while world.lookups.is_empty() {
        world.pass(SECOND / 10);
    }
    look_up(&mut world);
    world.pass(SECOND / 4);
    let (beside, _) = world.dials.pop().unwrap();
    world.client.handle_connect_failed(world.now, beside, io::ErrorKind::ConnectionRefused);
    world.drain();
    world.pass(4 * SECOND);
    assert_eq!((world.dials.len(), world.lookups.len()), (1, 0));
    world.answer_dials();
    assert_eq!(world.client.stats().serving, 1);
}

/// The client of a node says once that its pool cannot be opened, and goes on trying after pauses that grow: no more often than any other client dials, and
/// the node is found when it is back. RULE-198, RULE-161
#[cfg(feature = "driver")]
#[test]
fn the_client_of_a_node_goes_on_trying() {
    let endpoint = || Endpoint::parse("127.0.0.1:1", 6379).unwrap();
    for is_in_handshake in [true, false] {
        let mut world = World::with(|builder| builder.pool_size(1).for_node(endpoint(), None));
        let (mut dials, end) = (Vec::new(), world.now + 60 * SECOND);
        loop {
            for (conn, address) in std::mem::take(&mut world.dials) {
                dials.push(world.now);
                match is_in_handshake {
                    true => world.client.handle_connected(world.now, conn, address),
                    false => world.connect(conn, address),
                }
                world.close(conn);
            }
            if !world.next_timeout(end) {
                break;
            }
            world.drain();
        }
        assert!(dials.len() > 30, "it is looked for: {}", dials.len());
        let crowded =
            dials.iter().zip(dials.iter().skip(20)).find(|(first, last)| **last < **first + 10 * SECOND);
        assert!(crowded.is_none(), "{crowded:?}");
        let gave_up = matches!(world.started, Some(Err(ConnectError::GaveUp { attempts: 4, .. })));
        assert_eq!(gave_up, is_in_handshake, "{:?}", world.started);
        assert!(world.client.is_open() && world.client.is_cut_off());
        assert!(world.next_timeout(end + 3 * SECOND));
        world.drain();
        world.answer_dials();
        assert!(!world.client.is_cut_off());
        let request = world.send("GET");
        let conn = world.conns()[0];
        world.answer(conn);
        assert_eq!(world.reply_of(request), "GET");
    }
}

/// A node that has some of its connections when the others cannot be opened takes requests by way of those. RULE-198
#[cfg(feature = "driver")]
#[test]
fn half_a_node_takes_requests() {
    let endpoint = Endpoint::parse("127.0.0.1:1", 6379).unwrap();
    let mut world = World::with(|builder| builder.pool_size(2).for_node(endpoint, None));
    while world.started.is_none() {
        for (conn, address) in std::mem::take(&mut world.dials) {
            if conn.index() == 0 {
                world.connect(conn, address);
            } else {
                world.client.handle_connect_failed(world.now, conn, io::ErrorKind::ConnectionRefused);
                world.drain();
            }
        }
        world.pass(SECOND / 4);
    }
    assert!(matches!(world.started, Some(Err(ConnectError::GaveUp { .. }))));
    assert!(world.client.is_open() && !world.client.is_cut_off());
    let request = world.send("GET");
    let conn = world.conns().into_iter().find(|conn| conn.index() == 0).unwrap();
    world.answer(conn);
    assert_eq!(world.reply_of(request), "GET");
}

/// A cluster is told of the notifications that count: of one move once, and not of what an ending connection brings. PITFALL-30, RULE-42
#[cfg(feature = "driver")]
#[test]
fn a_cluster_is_told_what_counts() {
    let endpoint = Endpoint::parse("127.0.0.1:1", 6379).unwrap();
    let mut world = World::with(|builder| builder.pool_size(2).for_node(endpoint, None));
    world.answer_dials();
    let told = |world: &World| world.others.iter().filter(|it| matches!(it, Action::Notified(_))).count();
    let conns = world.conns();
    let moving = ["MOVING", "1", "30", "127.0.0.1:2"];
    world.client.handle_ending(conns[0]);
    world.push(conns[0], &moving);
    assert_eq!(told(&world), 0);
    world.push(conns[1], &moving);
    assert_eq!(told(&world), 1);
    world.push(conns[1], &moving);
    assert_eq!(told(&world), 1, "it is a copy");
}
