//! Streams that keep what they are given until they are flushed, as encrypted ones may.

use super::*;

/// A client, and a server that receives only what is flushed.
fn connected_to_what_keeps_writes() -> (World, Server, Client<World>) {
    let (world, server) = (World::new(), Server::default());
    server.state().keeps_writes = true;
    let client = world.block_on(builder(&world, &server).connect()).unwrap();
    (world, server, client)
}

/// Writes and flushes.
fn calls(server: &Server) -> (usize, usize) {
    let state = server.state();
    (state.writes, state.flushes)
}

#[test]
fn a_stream_that_sends_only_when_it_is_flushed_is_served() {
    let (world, server, client) = connected_to_what_keeps_writes();
    let value = Bytes::from(vec![b'v'; 300_000]);
    world.block_on(client.call(cmd("SET").arg("k").arg(value.clone()))).unwrap();
    assert_eq!(world.block_on(client.call(cmd("GET").arg("k"))).unwrap(), Frame::Bulk(value));
    world.block_on(client.shutdown(SECOND));
    world.run();
    assert_nothing_is_left(&world, &server);
}

/// However many writes a batch takes, and however often the task is polled, the stream is flushed once for it.
#[test]
fn what_is_written_is_flushed_once() {
    let (world, server, client) = connected_to_what_keeps_writes();
    let before = calls(&server);
    let value = Bytes::from(vec![b'v'; 300_000]);
    world.block_on(client.call(cmd("SET").arg("k").arg(value))).unwrap();
    let after = calls(&server);
    assert!(after.0 - before.0 > 6, "{} writes", after.0 - before.0);
    assert_eq!(after.1 - before.1, 1);
    // Reading flushes nothing.
    for _ in 0..10 {
        server.say(b">1\r\n+x\r\n");
        world.run();
    }
    assert_eq!(server.state().flushes, after.1);
}

/// A flush that is pending goes on when the stream can, and keeps neither replies nor later requests waiting. That `run`
/// ends shows that the task does not poll itself meanwhile.
#[test]
fn a_pending_flush_is_taken_up_again_and_delays_no_reading() {
    let (world, server, client) = connected_to_what_keeps_writes();
    let mut pushes = client.pushes();
    server.state().blocked_flushes = true;
    let first = client.send(echo("first")).unwrap();
    world.run();
    assert!(server.state().received.is_empty());
    let (writes, polls) = (server.state().writes, world.polls());

    server.say(b">1\r\n+hello\r\n");
    world.run();
    assert_eq!(pushes.try_next().unwrap().unwrap().elements, [Frame::simple("hello")]);
    let second = client.send(echo("second")).unwrap();
    world.run();
    assert_eq!(server.state().writes, writes + 1, "what comes meanwhile is written");
    assert!(world.polls() - polls < 20, "{} polls", world.polls() - polls);
    assert!(server.state().received.is_empty());

    server.let_flush();
    world.run();
    assert_eq!(server.state().received, ["ECHO", "ECHO"]);
    for (reply, expected) in [(first, "first"), (second, "second")] {
        assert_eq!(world.block_on(reply).unwrap()[0], Frame::bulk(expected));
    }
}

#[test]
fn replies_that_have_arrived_are_delivered_although_a_flush_has_failed() {
    let (world, server, client) = connected();
    server.state().stalled = true;
    let first = client.send(echo("first").replay(Replay::Never)).unwrap();
    world.run();
    server.state().broken_flushes = true;
    let second = client.send(echo("second").replay(Replay::Never)).unwrap();
    world.run();
    let flushes = server.state().flushes;
    server.say(b"$5\r\nfirst\r\n");
    server.end();
    assert_eq!(world.block_on(first).unwrap()[0], Frame::bulk("first"));
    let outcome = world.block_on(second);
    let Err(RequestError::ConnectionLost { cause: CloseCause::Io(io::ErrorKind::BrokenPipe), .. }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(server.state().flushes, flushes, "what is broken is not flushed again");
}
