//! While there is no connection: what callers are told, and how long a start may take.

use super::*;
use crate::config::WhenDisconnected;
use crate::error::SystemError;

/// What a socket says when nobody listens.
fn refused() -> SystemError {
    io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused (os error 111)").into()
}

/// A client that has lost its connections, all in one moment.
fn lost(pool: u32, when_disconnected: WhenDisconnected) -> World {
    let mut world = World::with(|builder| {
        builder.pool_size(pool).parked_requests(2).when_disconnected(when_disconnected)
    });
    world.answer_dials();
    for conn in world.conns() {
        world.close(conn);
    }
    world
}

/// The dial that comes next is refused.
fn refuse_next(world: &mut World) {
    while world.dials.is_empty() {
        assert!(world.next_timeout(world.now + SECOND), "a dial is due");
    }
    let (conn, _) = world.dials.remove(0);
    world.client.handle_connect_failed(world.now, conn, refused());
    world.drain();
}

fn refuse_credentials(world: &mut World) {
    while world.dials.is_empty() {
        assert!(world.next_timeout(world.now + 10 * SECOND), "a dial is due");
    }
    let (conn, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, conn, address);
    world.drain();
    world.client.handle_frames(world.now, conn, [Frame::error("WRONGPASS hunter2 is wrong")]);
    world.drain();
}

fn fail_of(world: &World, request: RequestId) -> String {
    world.failure_of(request).to_string()
}

/// A server that is down is not a slow one: the error has the address and the system's words. RULE-132
#[test]
fn a_request_that_waited_for_a_connection_in_vain_says_why_there_is_none() {
    let mut world = lost(1, WhenDisconnected::Wait);
    let request = world.send("x");
    refuse_next(&mut world);
    world.pass(3 * SECOND);
    assert_eq!(
        fail_of(&world, request),
        "no connection within 3s: cannot connect to 127.0.0.1:1: Connection refused (os error 111) (delivery: not sent)"
    );
}

/// The code and our hint, and nothing else of what the server said. RULE-132
#[test]
fn refused_credentials_show_in_the_errors_of_requests() {
    let mut world = lost(1, WhenDisconnected::Wait);
    let request = world.send("x");
    refuse_credentials(&mut world);
    world.pass(3 * SECOND);
    let error = world.failure_of(request);
    let RequestError::NoConnection { cause, delivery: Delivery::NotSent, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(cause.code().unwrap().as_str(), "WRONGPASS");
    let text = error.to_string();
    assert!(
        text.starts_with("no connection to 127.0.0.1:1 within 3s: ")
            && text.contains("user or password is wrong"),
        "{text}"
    );
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

/// What has nothing to do with the connection is not blamed on it. RULE-132
#[test]
fn a_request_that_is_not_answered_in_time_says_nothing_of_past_failures() {
    let mut world = lost(1, WhenDisconnected::Wait);
    refuse_next(&mut world);
    world.pass(SECOND);
    world.answer_dials();
    // The connection has lived for so long that failures before it are forgotten.
    world.pass(10 * SECOND);
    let request = world.send("x");
    world.pass(3 * SECOND);
    assert!(matches!(world.failure_of(request), RequestError::TimedOut { .. }));

    let conn = world.conns()[0];
    world.close(conn);
    let request = world.send("x");
    // The dial is not answered, and that it failed is not known yet.
    world.pass(3 * SECOND);
    assert!(matches!(world.failure_of(request), RequestError::TimedOut { .. }));
}

/// A failure of one connection while others serve is none of an outage that comes later. RULE-133
#[test]
fn an_outage_begins_when_nothing_serves() {
    let mut world = World::with(|builder| builder.pool_size(2).when_disconnected(WhenDisconnected::Fail));
    world.answer_dials();
    let [one, other] = world.conns()[..] else { panic!("two connections") };
    world.close(one);
    refuse_next(&mut world);
    world.close(other);
    let request = world.send("x");
    assert_eq!(world.client.stats().parked, 1, "the first attempt after the loss is awaited");
    refuse_next(&mut world);
    assert!(fail_of(&world, request).starts_with("no connection"));
}

/// RULE-103, RULE-132
#[test]
fn a_request_for_which_there_is_no_room_says_why_there_is_no_connection() {
    let mut world = lost(1, WhenDisconnected::Wait);
    refuse_next(&mut world);
    world.send("x");
    world.send("x");
    let error =
        world.client.send(world.now, Request::raw(Bytes::from_static(b"y"), NonZeroU32::MIN)).unwrap_err();
    assert!(
        error.to_string().contains("Connection refused") && error.to_string().contains("parked_requests")
    );
    assert_eq!(error.into_request().replies(), NonZeroU32::MIN);
}

/// The callers of a client that does not wait are told at once, from the first failure to the next connection. RULE-133
#[test]
fn requests_fail_at_once_where_that_is_wanted() {
    let mut world = lost(1, WhenDisconnected::Fail);
    let waiting = world.send("waiting");
    assert_eq!(world.client.stats().parked, 1, "a server that is there again in a moment costs nothing");
    refuse_next(&mut world);
    let late = world.send("late");
    for request in [waiting, late] {
        let error = world.failure_of(request);
        assert!(matches!(error, RequestError::NoConnection { delivery: Delivery::NotSent, .. }), "{error:?}");
    }
    assert_eq!(
        fail_of(&world, late),
        "no connection: cannot connect to 127.0.0.1:1: Connection refused (os error 111) (delivery: not sent)"
    );
    world.pass(SECOND);
    world.answer_dials();
    let served = world.send("served");
    let conn = world.conns()[0];
    world.answer(conn);
    assert_eq!(world.reply_of(served), "served");
}

/// A link that was silent and answers again ends an outage as a new one does: the first attempt after the next loss is awaited.
/// RULE-133
#[test]
fn an_outage_ends_when_a_silent_link_answers_again() {
    let mut world = World::with(|builder| builder.pool_size(1).when_disconnected(WhenDisconnected::Fail));
    world.answer_dials();
    let conn = world.conns()[0];
    let slow = world.send("slow");
    world.client.cancel(world.now, slow);
    world.pass(9 * SECOND + SECOND / 10);
    refuse_next(&mut world);
    world.answer(conn);
    world.send("served");
    world.answer(conn);
    world.close(conn);
    let request = world.send("x");
    assert_eq!((world.client.stats().parked, world.done.contains_key(&request)), (1, false));
}

/// A connection that nobody needs any more shows that the credentials are accepted again as any other one does: all slots dial that
/// have waited. RULE-128
#[test]
fn a_surplus_connection_shows_that_the_credentials_are_accepted() {
    let mut world = World::with(|builder| builder.pool_size(3));
    world.answer_dials();
    let slow = world.send("slow");
    world.client.cancel(world.now, slow);
    world.pass(9 * SECOND + SECOND / 10);
    let silent = *world.pending.first_key_value().unwrap().0;
    let (late, address) = world.dials.remove(0);
    for conn in world.conns().into_iter().filter(|conn| ![silent, late].contains(conn)) {
        world.close(conn);
    }
    refuse_credentials(&mut world);
    world.answer(silent);
    world.dials.clear();
    world.connect(late, address);
    assert!(world.closed.contains(&late), "nobody needs it");
    world.pass(3 * SECOND);
    assert_eq!(world.dials.len(), 2, "one that has knocked, and one that has waited");
}

/// What may have run says so. RULE-133
#[test]
fn a_replayed_request_that_fails_at_once_may_have_run() {
    let mut world = World::with(|builder| builder.pool_size(1).when_disconnected(WhenDisconnected::Fail));
    world.answer_dials();
    let read = world.send_as("read", Replay::Idempotent);
    let conn = world.conns()[0];
    world.close(conn);
    refuse_next(&mut world);
    let error = world.failure_of(read);
    assert!(matches!(error, RequestError::NoConnection { delivery: Delivery::Unknown, .. }), "{error:?}");
}

/// The server has said that it will be away for a moment. RULE-133
#[test]
fn during_maintenance_requests_wait_all_the_same() {
    let mut world = World::with(|builder| builder.pool_size(1).when_disconnected(WhenDisconnected::Fail));
    world.answer_dials();
    let conn = world.conns()[0];
    world.push(conn, &["FAILING_OVER", "1", "30"]);
    world.close(conn);
    refuse_next(&mut world);
    world.send("x");
    assert_eq!(world.client.stats().parked, 1);
}

/// A start takes twice the connect timeout at most, whatever the attempts do. RULE-134
#[test]
fn a_start_is_bounded_as_a_whole() {
    let mut world = World::with(|builder| builder.pool_size(2).connect_timeout(Some(SECOND)));
    let begun = world.now;
    while world.started.is_none() {
        assert!(world.next_timeout(begun + 10 * SECOND), "something is due");
        world.drain();
    }
    assert_eq!(world.now - begun, 2 * SECOND);
    let error = world.started.take().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open the connections to 127.0.0.1:1: connecting took longer than 1s (given up after 2.0s, attempts for each connection: 2)"
    );
    assert!(world.client.is_terminated());
}

/// RULE-134
#[test]
fn a_start_without_a_connect_timeout_has_no_limit() {
    let mut world = World::with(|builder| builder.pool_size(1).connect_timeout(None));
    world.pass(1000 * SECOND);
    assert_eq!(world.started, None);
    world.answer_dials();
    assert_eq!(world.started, Some(Ok(())));
}

/// Once the pool was open, its time is no matter any more. RULE-134
#[test]
fn a_start_that_is_finished_has_no_limit() {
    let mut world = World::started(1);
    world.pass(11 * SECOND);
    assert!(!world.client.is_terminated());
    assert_eq!(world.client.stats().serving, 1);
}
