//! Callers that wait for room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use super::*;
use crate::config::WhenFull;

/// Whether somebody was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A pool that has room for two requests, and a server that does not answer.
fn crowded() -> (World, Server, Client<World>) {
    let (world, server) = (World::new(), Server::default());
    let builder =
        builder(&world, &server).requests_in_flight(2).when_full(WhenFull::Wait).command_timeout(None);
    let client = world.block_on(builder.connect()).unwrap();
    server.state().stalled = true;
    (world, server, client)
}

fn answer(server: &Server, text: &str) {
    server.say(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
}

/// INV-14, RULE-119: more calls than there is room for wait, and are sent in order of arrival.
#[test]
fn calls_wait_for_room_in_order() {
    let (world, server, client) = crowded();
    let mut calls: Vec<_> = (0..6).map(|i| Box::pin(client.request(echo(&i.to_string())))).collect();
    for call in &mut calls {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    world.run();
    assert_eq!(server.state().received.len(), 2);
    assert_eq!(client.stats().requests, 2);
    for i in 0..6 {
        answer(&server, &i.to_string());
        assert_eq!(world.block_on(calls.remove(0)).unwrap()[0], Frame::bulk(i.to_string()));
        for call in &mut calls {
            assert!(poll_once(call.as_mut()).is_pending());
        }
        world.run();
        assert_eq!(server.state().received.len(), (i + 3).min(6), "one more has been sent");
    }
}

/// RULE-119: who arrives between the call of another and his coming does not overtake him.
#[test]
fn nobody_is_overtaken() {
    let (world, server, client) = crowded();
    let first = client.send(echo("first")).unwrap();
    let _second = client.send(echo("second")).unwrap();
    let mut waits = Box::pin(client.request(echo("waits")));
    assert!(poll_once(waits.as_mut()).is_pending());
    world.run();
    answer(&server, "first");
    world.block_on(first).unwrap();
    let mut late = Box::pin(client.request(echo("late")));
    assert!(poll_once(late.as_mut()).is_pending());
    assert_eq!(client.stats().requests, 1, "the room is kept for the one who was called");
    assert!(poll_once(waits.as_mut()).is_pending());
    assert_eq!(client.stats().requests, 2);
    world.run();
    assert_eq!(server.state().received.len(), 3);
}

/// RULE-119: who is called and does not come leaves the room to the next one.
#[test]
fn room_is_passed_on() {
    let (world, server, client) = crowded();
    let first = client.send(echo("first")).unwrap();
    let second = client.send(echo("second")).unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(client.request(echo("waits")))).collect();
    for call in &mut waiting {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    // One leaves the queue, one is called and is given up before it comes.
    drop(waiting.remove(0));
    world.run();
    answer(&server, "first");
    assert_eq!(world.block_on(first).unwrap()[0], Frame::bulk("first"));
    let mut last = waiting.remove(1);
    let bell = Arc::new(Bell::default());
    assert!(last.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&bell)))).is_pending());
    drop(waiting);
    assert!(bell.0.load(Ordering::Relaxed), "the last one is called");
    assert!(poll_once(last.as_mut()).is_pending());
    world.run();
    assert_eq!(server.state().received.len(), 3, "the last one was sent");
    answer(&server, "second");
    answer(&server, "waits");
    assert_eq!(world.block_on(second).unwrap()[0], Frame::bulk("second"));
    assert_eq!(world.block_on(last).unwrap()[0], Frame::bulk("waits"));
}

/// INV-15, RULE-119: nobody waits for a client that shuts down.
#[test]
fn a_shutdown_ends_the_waiting() {
    let (world, server, client) = crowded();
    let under_way = [client.send(echo("a")).unwrap(), client.send(echo("b")).unwrap()];
    let mut waits = Box::pin(client.request(echo("c")));
    assert!(poll_once(waits.as_mut()).is_pending());
    world.block_on(client.shutdown(Duration::ZERO));
    let error = world.block_on(waits).unwrap_err();
    assert!(matches!(error, Error::Send(SendError::ShuttingDown(_))), "{error:?}");
    for reply in under_way {
        assert!(world.block_on(reply).is_err());
    }
    world.run();
    assert_nothing_is_left(&world, &server);
}

/// INV-14: by default a call for which there is no room is given back.
#[test]
fn a_full_client_gives_requests_back() {
    let (world, server) = (World::new(), Server::default());
    let client = world.block_on(builder(&world, &server).requests_in_flight(1).connect()).unwrap();
    server.state().stalled = true;
    let _under_way = client.send(echo("a")).unwrap();
    let error = world.block_on(client.request(echo("b"))).unwrap_err();
    assert!(matches!(error, Error::Send(SendError::Full(_))), "{error:?}");
}
