//! Callers that wait for room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use super::*;
use hitless_core::config::WhenFull;

/// Whether somebody was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A pool that has room for two requests, and a server that does not answer.
fn crowded() -> (Fixture, Client<Executor>) {
    let mut fixture = fixture();
    let builder = builder(&fixture).requests_in_flight(2).when_full(WhenFull::Wait).command_timeout(None);
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.answer_nothing();
    (fixture, client)
}

fn answer(fixture: &Fixture, text: &str) {
    fixture.say(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
}

/// More calls than there is room for wait, and are sent in order of arrival. INV-14, RULE-119
#[test]
fn calls_wait_for_room_in_order() {
    let (mut fixture, client) = crowded();
    let mut calls: Vec<_> = (0..6).map(|i| Box::pin(client.request(echo(&i.to_string())))).collect();
    for call in &mut calls {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    fixture.run();
    assert_eq!(fixture.received().len(), 2);
    assert_eq!(client.stats().requests, 2);
    for i in 0..6 {
        answer(&fixture, &i.to_string());
        assert_eq!(fixture.block_on(calls.remove(0)).unwrap()[0], Frame::bulk(i.to_string()));
        for call in &mut calls {
            assert!(poll_once(call.as_mut()).is_pending());
        }
        fixture.run();
        assert_eq!(fixture.received().len(), (i + 3).min(6), "one more has been sent");
    }
}

/// A caller that arrives after another one was notified, and before that one is polled, does not overtake it. RULE-119
#[test]
fn nobody_is_overtaken() {
    let (mut fixture, client) = crowded();
    let first = client.send(echo("first")).unwrap();
    let _second = client.send(echo("second")).unwrap();
    let mut waits = Box::pin(client.request(echo("waits")));
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.run();
    answer(&fixture, "first");
    fixture.block_on(first).unwrap();
    let mut late = Box::pin(client.request(echo("late")));
    assert!(poll_once(late.as_mut()).is_pending());
    let full = client.send(echo("hasty")).unwrap_err();
    assert!(matches!(full, SendError::Full(_)));
    assert_eq!(client.stats().requests, 1, "the room is kept for the caller that was notified");
    assert!(poll_once(waits.as_mut()).is_pending());
    assert_eq!(client.stats().requests, 2);
    fixture.run();
    assert_eq!(fixture.received().len(), 3);
}

/// A command that blocks needs no room of the pool's, and waits in the line all the same while others do: it is not refused, and has its own connection when
/// it is its turn. RULE-423
#[test]
fn a_command_that_blocks_waits_in_the_line() {
    let (mut fixture, client) = crowded();
    let _under_way = ["first", "second"].map(|text| client.send(echo(text)).unwrap());
    let mut waits = Box::pin(client.request(echo("waits")));
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.run();
    answer(&fixture, "first");
    fixture.run();
    let blocks = Request::command(cmd("BLPOP").args(["q", "0"])).unwrap();
    let mut blocks = Box::pin(client.request(blocks));
    assert!(poll_once(blocks.as_mut()).is_pending(), "the room is the other caller's");
    assert!(poll_once(waits.as_mut()).is_pending());
    answer(&fixture, "second");
    fixture.run();
    assert!(poll_once(blocks.as_mut()).is_pending());
    assert_eq!(client.stats().blocking, 1);
}

/// A caller that is notified and then dropped leaves the room to the next one. RULE-119
#[test]
fn room_is_passed_on() {
    let (mut fixture, client) = crowded();
    let first = client.send(echo("first")).unwrap();
    let second = client.send(echo("second")).unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(client.request(echo("waits")))).collect();
    for call in &mut waiting {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    // One caller leaves the queue, another one is notified and dropped before it uses its turn.
    drop(waiting.remove(0));
    fixture.run();
    answer(&fixture, "first");
    assert_eq!(fixture.block_on(first).unwrap()[0], Frame::bulk("first"));
    let mut last = waiting.remove(1);
    let bell = Arc::new(Bell::default());
    assert!(last.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&bell)))).is_pending());
    drop(waiting);
    assert!(bell.0.load(Ordering::Relaxed), "the last one is notified");
    assert!(poll_once(last.as_mut()).is_pending());
    fixture.run();
    assert_eq!(fixture.received().len(), 3, "the last one was sent");
    answer(&fixture, "second");
    answer(&fixture, "waits");
    assert_eq!(fixture.block_on(second).unwrap()[0], Frame::bulk("second"));
    assert_eq!(fixture.block_on(last).unwrap()[0], Frame::bulk("waits"));
}

/// Waiting for room counts against the timeout of a request, be it the client's or its own: it fails without being sent, or has
/// what is left. RULE-147
#[test]
fn waiting_for_room_counts_against_the_timeout() {
    let timed_out = |error: Error| match error {
        Error::Request(RequestError::TimedOut { after, delivery }) => (after, delivery),
        other => panic!("{other:?}"),
    };
    let mut fixture = fixture();
    let builder = builder(&fixture).requests_in_flight(2).when_full(WhenFull::Wait).command_timeout(SECOND);
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.answer_nothing();
    let long = || echo("long").timeout(60 * SECOND);
    let (first, _second) = (client.send(long()).unwrap(), client.send(long()).unwrap());
    let start = fixture.now();
    let error = fixture.block_on(client.request(echo("waits"))).unwrap_err();
    assert_eq!((timed_out(error), fixture.now() - start), ((SECOND, Delivery::NotSent), SECOND));
    let error = fixture.block_on(client.request(echo("waits").timeout(SECOND / 2))).unwrap_err();
    assert_eq!(timed_out(error), (SECOND / 2, Delivery::NotSent));

    let start = fixture.now();
    let mut waits = Box::pin(client.request(echo("waits")));
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.pass(SECOND / 2);
    answer(&fixture, "first");
    fixture.block_on(first).unwrap();
    let error = fixture.block_on(waits).unwrap_err();
    assert_eq!((timed_out(error), fixture.now() - start), ((SECOND, Delivery::Unknown), SECOND));
}

/// Nobody waits for a client that shuts down. INV-15, RULE-119
#[test]
fn a_shutdown_ends_the_waiting() {
    let (mut fixture, client) = crowded();
    let under_way = [client.send(echo("a")).unwrap(), client.send(echo("b")).unwrap()];
    let mut waits = Box::pin(client.request(echo("c")));
    assert!(poll_once(waits.as_mut()).is_pending());
    fixture.block_on(client.shutdown(Duration::ZERO));
    let error = fixture.block_on(waits).unwrap_err();
    assert!(matches!(error, Error::Send(SendError::ShuttingDown(_))), "{error:?}");
    for reply in under_way {
        assert!(fixture.block_on(reply).is_err());
    }
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// By default a call for which there is no room is given back. INV-14
#[test]
fn a_full_client_gives_requests_back() {
    let mut fixture = fixture();
    let client = fixture.block_on(builder(&fixture).requests_in_flight(1).connect()).unwrap();
    fixture.answer_nothing();
    let _under_way = client.send(echo("a")).unwrap();
    let error = fixture.block_on(client.request(echo("b"))).unwrap_err();
    assert!(matches!(error, Error::Send(SendError::Full(_))), "{error:?}");
}

/// Polls a future that is pending as long as it wakes its task. Returns how often.
fn polls_while_woken<F: Future>(mut future: std::pin::Pin<&mut F>, bell: &Arc<Bell>) -> u32 {
    let waker = Arc::clone(bell).into();
    for polls in 1..100 {
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        if !bell.0.swap(false, Ordering::Relaxed) {
            return polls;
        }
    }
    100
}

/// A dropped call leaves its reply to come on the connection of the lease, whose other calls sleep until it is there, though the
/// pool has room, and goes on meanwhile. RULE-119
#[test]
fn a_call_on_a_full_lease_sleeps_until_that_has_room() {
    let mut fixture = fixture();
    let builder = builder(&fixture).requests_in_flight(1).when_full(WhenFull::Wait).command_timeout(None);
    let client = fixture.block_on(builder.connect()).unwrap();
    let lease = fixture.block_on(client.lease()).unwrap();
    let mut dropped = Box::pin(lease.call(cmd("BLPOP").arg("q").arg(0)));
    assert!(poll_once(dropped.as_mut()).is_pending());
    fixture.run();
    drop(dropped);
    let bell = Arc::new(Bell::default());
    let mut call = Box::pin(lease.request(echo("1")));
    assert_eq!(polls_while_woken(call.as_mut(), &bell), 1);
    assert_eq!(fixture.block_on(client.request(echo("2"))).unwrap()[0], Frame::bulk("2"));
    assert!(!bell.0.load(Ordering::Relaxed));
    fixture.block_on(client.call(cmd("RPUSH").arg("q").arg("x"))).unwrap();
    fixture.run();
    assert!(bell.0.load(Ordering::Relaxed), "the reply has come");
    assert_eq!(fixture.block_on(call).unwrap()[0], Frame::bulk("1"));
}
