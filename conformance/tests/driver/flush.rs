//! Streams that keep what they are given until they are flushed, as encrypted ones may.

use std::io;

use super::*;

/// A client whose stream sends only what is flushed, or what it has no room for.
fn connected_by_what_keeps_writes() -> (Fixture, Client<Executor>) {
    let mut fixture = fixture();
    fixture.keep_writes();
    let client = fixture.block_on(builder(&fixture).connect()).unwrap();
    (fixture, client)
}

#[test]
fn a_stream_that_sends_only_when_it_is_flushed_is_served() {
    let (mut fixture, client) = connected_by_what_keeps_writes();
    let value = Bytes::from(vec![b'v'; 300_000]);
    fixture.block_on(client.call(cmd("SET").arg("k").arg(value.clone()))).unwrap();
    assert_eq!(fixture.block_on(client.call(cmd("GET").arg("k"))).unwrap(), Frame::Bulk(value));
    fixture.block_on(client.shutdown(SECOND));
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// However many writes a batch takes, and however often the task is polled, the stream is flushed once for it.
#[test]
fn what_is_written_is_flushed_once() {
    let (mut fixture, client) = connected_by_what_keeps_writes();
    let before = (fixture.writes(), fixture.flushes());
    let value = Bytes::from(vec![b'v'; 300_000]);
    fixture.block_on(client.call(cmd("SET").arg("k").arg(value))).unwrap();
    let after = (fixture.writes(), fixture.flushes());
    assert!(after.0 - before.0 > 6, "{} writes", after.0 - before.0);
    assert_eq!(after.1 - before.1, 1);
    // Reading flushes nothing.
    for _ in 0..10 {
        fixture.say(b">1\r\n+x\r\n");
        fixture.run();
    }
    assert_eq!(fixture.flushes(), after.1);
}

/// A flush that is pending goes on when the stream can, and keeps neither replies nor later requests waiting. That `run`
/// ends shows that the task does not poll itself meanwhile.
#[test]
fn a_pending_flush_is_taken_up_again_and_delays_no_reading() {
    let (mut fixture, client) = connected_by_what_keeps_writes();
    let mut pushes = client.pushes();
    fixture.block_flushes(true);
    let first = client.send(echo("first")).unwrap();
    fixture.run();
    assert!(fixture.received().is_empty());
    let (writes, polls) = (fixture.writes(), fixture.polls());

    fixture.say(b">1\r\n+hello\r\n");
    fixture.run();
    assert_eq!(pushes.try_next().unwrap().unwrap().elements, [Frame::simple("hello")]);
    let second = client.send(echo("second")).unwrap();
    fixture.run();
    assert_eq!(fixture.writes(), writes + 1, "what comes meanwhile is written");
    assert!(fixture.polls() - polls < 20, "{} polls", fixture.polls() - polls);
    assert!(fixture.received().is_empty());

    fixture.block_flushes(false);
    fixture.run();
    assert_eq!(fixture.received(), ["ECHO", "ECHO"]);
    for (reply, expected) in [(first, "first"), (second, "second")] {
        assert_eq!(fixture.block_on(reply).unwrap()[0], Frame::bulk(expected));
    }
}

#[test]
fn replies_that_have_arrived_are_delivered_although_a_flush_has_failed() {
    let (mut fixture, client) = connected();
    fixture.answer_nothing();
    let first = client.send(echo("first").replay(Replay::Never)).unwrap();
    fixture.run();
    fixture.break_flushes();
    let second = client.send(echo("second").replay(Replay::Never)).unwrap();
    fixture.run();
    let flushes = fixture.flushes();
    fixture.say(b"$5\r\nfirst\r\n");
    fixture.end();
    assert_eq!(fixture.block_on(first).unwrap()[0], Frame::bulk("first"));
    let outcome = fixture.block_on(second);
    let Err(RequestError::ConnectionLost { cause: CloseCause::Io(io::ErrorKind::BrokenPipe), .. }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(fixture.flushes(), flushes, "what is broken is not flushed again");
}
