mod blocking;
mod caches;
mod credentials;
mod dead;
mod dials;
mod gathering;
mod leases;
mod model;
mod modes;
mod outage;
mod replays;
mod rest;
mod table;
mod tracking;
mod transactions;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use resp3_codec::cmd;

use self::world::World;
use super::load::Load;
use super::*;
use crate::config::{ConfigBuilder, maintenance};
use crate::endpoint::Endpoint;
use crate::error::{Delivery, RequestError};
use crate::event::Event;
use crate::ids::RequestId;
use crate::request::{Outcome, Pipeline, Replay, Request, SendError};
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// RULE-102
#[test]
fn a_pool_starts_once_every_connection_is_ready() {
    let mut world = World::new(3);
    assert_eq!(world.dials.len(), 3);
    let (conn, address) = world.dials.remove(0);
    world.connect(conn, address);
    assert_eq!(world.started, None);
    world.answer_dials();
    assert_eq!(world.started, Some(Ok(())));
}

/// RULE-134
#[test]
fn a_pool_that_cannot_be_opened_says_why_after_a_few_attempts() {
    let mut world = World::new(1);
    let mut attempts = 0;
    while world.started.is_none() {
        for (conn, _) in std::mem::take(&mut world.dials) {
            attempts += 1;
            world.client.handle_connect_failed(world.now, conn, io::ErrorKind::ConnectionRefused);
            world.drain();
        }
        world.pass(SECOND);
    }
    assert_eq!(attempts, 4);
    let error = world.started.take().unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::GaveUp { attempts: 4, .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("cannot connect to 127.0.0.1:1: connection refused")
            && text.contains("attempts for each connection: 4")
    );
    assert!(world.client.is_terminated());
}

/// The failure that ends the start comes together with the next dial of another slot. INV-15
#[test]
fn a_start_that_is_given_up_opens_nothing() {
    let named = Config::builder(Endpoint::parse("db.example", 6379).unwrap()).pool_size(2);
    let mut world = World::with(|_| named);
    let other = world.lookups.pop().unwrap();
    for _ in 0..3 {
        let conn = world.lookups.remove(0);
        world.client.handle_resolved(world.now, conn, Err(io::ErrorKind::NotFound.into()));
        world.pass(SECOND / 4);
    }
    world.client.handle_resolved(world.now, other, Err(io::ErrorKind::NotFound.into()));
    world.drain();
    world.now += 6 * SECOND;
    world.client.handle_timeout(world.now);
    world.drain();
    let error = world.started.take().unwrap().unwrap_err();
    assert_eq!(error.last(), &ConnectError::TimedOut(5 * SECOND));
    assert!(world.client.is_terminated());
    assert_eq!(world.lookups, []);
}

/// A start that is given up ends at once, even if connections that were opened still owe replies. INV-12, INV-15
#[test]
fn a_start_that_is_given_up_waits_for_nothing() {
    let mut world = World::new(2);
    let (conn, address) = world.dials.remove(0);
    world.connect(conn, address);
    let owed = world.send("owed");
    while world.started.is_none() {
        for (conn, _) in std::mem::take(&mut world.dials) {
            world.client.handle_connect_failed(world.now, conn, io::ErrorKind::ConnectionRefused);
            world.drain();
        }
        world.pass(SECOND / 4);
    }
    assert_eq!(world.failure_of(owed), &RequestError::ShutDown { delivery: Delivery::Unknown });
    assert!(world.client.is_terminated());
}

/// A refusal that no other attempt can change ends the start, and the error names the server. RULE-176
#[test]
fn refused_credentials_end_the_start_at_once() {
    let mut world = World::new(1);
    let (conn, address) = world.dials.remove(0);
    world.client.handle_connected(world.now, conn, address);
    world.drain();
    let refusal = Frame::Error(Bytes::from_static(b"WRONGPASS invalid username-password pair"));
    world.client.handle_frames(world.now, conn, [refusal]);
    world.drain();
    let error = world.started.take().unwrap().unwrap_err();
    assert!(matches!(error.last(), ConnectError::Handshake(_)) && !error.is_transient(), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("connections to 127.0.0.1:") && text.contains("attempts for each connection: 1"),
        "{text}"
    );
}

/// The switch is atomic: the old node answers the requests that were written, and the new one gets the others, in
/// order. INV-04, RULE-64, RULE-68
#[test]
fn a_cut_over_moves_what_was_not_written() {
    let mut world = World::started(1);
    let old = world.conns()[0];
    let written = world.send("written");
    let config = |client: &mut Client, now, word: &'static str| {
        client.send(now, Request::raw(Bytes::from_static(word.as_bytes()), NonZeroU32::MIN)).unwrap()
    };
    // The socket takes nothing now, so these requests wait.
    let first = config(&mut world.client, world.now, "first\n");
    let second = config(&mut world.client, world.now, "second\n");
    let flushes: Vec<_> = std::iter::from_fn(|| world.client.poll_action()).collect();
    assert!(matches!(flushes[..], [Action::Flush { .. }]), "said once for both: {flushes:?}");
    world.push(old, &["MOVING", "1", "15", "127.0.0.1:2"]);
    let (new, address) = world.dials.remove(0);
    assert_eq!(address, peer(2));
    world.connect(new, address);
    assert_eq!(world.pending[&new], ["first", "second"]);
    let after = world.send("after");
    assert_eq!(world.pending[&new], ["first", "second", "after"]);
    world.answer(old);
    assert_eq!(world.reply_of(written), "written");
    assert_eq!(world.conns(), [new], "the old one is closed as soon as it has answered");
    world.answer(new);
    assert_eq!([first, second, after].map(|id| world.reply_of(id).to_owned()), ["first", "second", "after"]);
    assert!(world.events.iter().any(|event| matches!(event, Event::CutOver { moved: 2, .. })));
}

/// The reviewer sees the push as it came, and the request behind it is under the window already. RULE-111
#[test]
fn a_review_shows_the_push_and_the_move_waits_for_the_verdict() {
    let mut world = World::started(1);
    world.client.review_notifications(Some(crate::review::REVIEW_LIMIT));
    let old = world.conns()[0];
    world.push(old, &["MOVING", "1", "15", "127.0.0.1:2"]);
    let review = world.reviews.remove(0);
    assert_eq!((review.conn, review.peer, review.elements.len()), (old, Some(peer(1)), 4));
    assert_eq!(review.elements[0], Frame::bulk("MOVING"));
    assert!(world.dials.is_empty());
    world.client.handle_verdict(world.now, review.id, crate::review::Verdict::Continue);
    world.drain();
    assert_eq!(world.dials.iter().map(|(_, to)| to.clone()).collect::<Vec<_>>(), [peer(2)]);
}

/// The reply of a command that ran on the old node is delivered, however late. PITFALL-08, RULE-85
#[test]
fn a_reply_from_a_draining_connection_is_delivered() {
    let mut world = World::started(1);
    let old = world.conns()[0];
    let request = world.send("slow");
    world.push(old, &["MOVING", "1", "5", "127.0.0.1:2"]);
    world.answer_dials();
    world.pass(4 * SECOND);
    world.answer(old);
    assert_eq!(world.reply_of(request), "slow");
}

/// At the deadline a write that was not answered fails as unknown; a read is asked again. INV-05, INV-06, RULE-85,
/// RULE-86
#[test]
fn at_the_deadline_reads_are_repeated_and_writes_are_not() {
    let mut world = World::with(|builder| builder.pool_size(1).command_timeout(None));
    world.answer_dials();
    let old = world.conns()[0];
    let write = world.send("write");
    let read = world.send_as("read", Replay::Idempotent);
    world.push(old, &["MOVING", "1", "5", "127.0.0.1:2"]);
    let (new, address) = world.dials.remove(0);
    world.connect(new, address);
    world.pass(11 * SECOND);
    assert_eq!(world.conns(), [new]);
    assert_eq!(world.pending[&new], ["read"]);
    assert_eq!(world.failure_of(write), &RequestError::MoveDeadline { delivery: Delivery::Unknown });
    assert!(!world.done.contains_key(&read));
}

/// A request that was written to a lost connection may have run, also if it is not written again. INV-05, PITFALL-25
#[test]
fn a_repeatable_request_that_waits_again_may_have_run() {
    let mut world = World::started(1);
    let parked = world.send_as("read", Replay::Idempotent);
    let conn = world.conns()[0];
    world.close(conn);
    assert_eq!(world.client.stats().parked, 1);
    world.pass(4 * SECOND);
    assert_eq!(world.failure_of(parked).delivery(), Delivery::Unknown);

    let mut world = World::started(1);
    let parked = world.send_as("read", Replay::Idempotent);
    let conn = world.conns()[0];
    world.close(conn);
    world.client.shutdown(world.now, world.now);
    world.drain();
    assert_eq!(world.failure_of(parked), &RequestError::ShutDown { delivery: Delivery::Unknown });
}

/// RULE-103
#[test]
fn requests_wait_for_a_connection_and_go_out_in_order() {
    let mut world = World::started(1);
    let old = world.conns()[0];
    world.close(old);
    let first = world.send("first");
    let second = world.send("second");
    assert_eq!(world.client.stats().parked, 2);
    world.pass(SECOND);
    world.answer_dials();
    let new = world.conns()[0];
    assert_eq!(world.pending[&new], ["first", "second"]);
    world.answer(new);
    assert_eq!((world.reply_of(first), world.reply_of(second)), ("first", "second"));
}

/// The number of waiting requests has a limit; a request beyond it comes back. INV-14, RULE-103
#[test]
fn a_full_client_gives_the_request_back() {
    let mut world = World::with(|builder| builder.pool_size(1).parked_requests(2).requests_in_flight(4));
    world.answer_dials();
    let old = world.conns()[0];
    for room in (1..=4).rev() {
        assert_eq!(world.client.room(), room);
        world.send("x");
    }
    assert_eq!(world.client.room(), 0);
    let again = |world: &mut World| {
        world.client.send(world.now, Request::raw(Bytes::from_static(b"y"), NonZeroU32::MIN))
    };
    assert!(matches!(again(&mut world), Err(SendError::Full(_))));
    world.answer(old);
    world.close(old);
    assert_eq!(world.client.room(), 2);
    world.send("x");
    world.send("x");
    assert_eq!(world.client.room(), 0);
    match again(&mut world) {
        Err(error @ SendError::Full(_)) => assert_eq!(error.into_request().replies(), NonZeroU32::MIN),
        other => panic!("{other:?}"),
    }
}

/// Answers are told at once while no action is pending, with the command to be freed; and otherwise behind the actions that came about before
/// them. RULE-438
#[test]
fn answers_keep_their_order_with_actions() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    let [first, second] = ["first", "second"].map(|word| world.send(word));
    let push = Frame::Push(vec![Frame::bulk("something"), Frame::bulk("else")]);
    let frames = [Frame::bulk("1"), push, Frame::bulk("2")];
    let mut told = Vec::new();
    world.client.handle_frames_with(world.now, conn, frames, |answer| told.push(answer));
    let [answer] = told.try_into().unwrap();
    assert_eq!((answer.request, &answer.command[..]), (first, b"first\n".as_slice()));
    assert_eq!(answer.reply, Frame::bulk("1"));
    assert!(matches!(world.client.poll_action(), Some(Action::Push { .. })));
    let completed = world.client.poll_action();
    assert!(matches!(completed, Some(Action::Complete { request, .. }) if request == second));
    assert!(world.client.poll_action().is_none());
}

/// A request that joins others while a window is open has the time that the window grants, as they have. INV-08
#[test]
fn a_request_that_is_sent_in_a_window_is_relaxed() {
    let mut world = World::with(|builder| builder.pool_size(1).command_timeout(Some(SECOND)));
    world.answer_dials();
    let conn = world.conns()[0];
    world.push(conn, &["MIGRATING", "1", "1"]);
    let sent = ["first", "second"].map(|word| world.send(word));
    world.pass(9 * SECOND);
    assert!(world.done.is_empty());
    world.answer(conn);
    assert_eq!(sent.map(|id| world.reply_of(id)), ["first", "second"]);
}

#[test]
fn a_cancelled_request_never_completes() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    let cancelled = world.send("cancelled");
    let other = world.send("other");
    world.client.cancel(world.now, cancelled);
    world.answer(conn);
    assert_eq!(world.done.keys().collect::<Vec<_>>(), [&other]);
    assert_eq!(world.reply_of(other), "other");
    world.client.cancel(world.now, other);
    assert_eq!(world.client.stats().requests, 0);
}

/// Requests that were written, and that were cancelled or have timed out since, are a figure until their replies are in; they are not
/// among those that are under way. RULE-178
#[test]
fn requests_that_nobody_waits_for_are_a_figure() {
    let mut world = World::with(|builder| builder.pool_size(1).command_timeout(Some(SECOND)));
    world.answer_dials();
    let conn = world.conns()[0];
    let cancelled = world.send("cancelled");
    let timed_out = world.send("late");
    world.client.cancel(world.now, cancelled);
    let figures = |world: &World| (world.client.stats().requests, world.client.stats().abandoned);
    assert_eq!(figures(&world), (1, 1));
    world.pass(2 * SECOND);
    assert!(matches!(world.failure_of(timed_out), RequestError::TimedOut { .. }));
    assert_eq!(figures(&world), (0, 2));
    world.answer(conn);
    assert_eq!(figures(&world), (0, 0));
}

/// A shutdown lets requests finish, then leaves nothing. INV-15, PITFALL-13
#[test]
fn a_shutdown_finishes_what_was_accepted() {
    let mut world = World::started(2);
    let request = world.send("last");
    let conn = *world.pending.iter().find(|(_, words)| !words.is_empty()).unwrap().0;
    world.client.shutdown(world.now, world.now + 5 * SECOND);
    world.drain();
    assert_eq!(world.conns(), [conn], "an idle connection is closed at once");
    assert!(matches!(
        world.client.send(world.now, Request::raw(Bytes::from_static(b"y"), NonZeroU32::MIN)),
        Err(SendError::ShuttingDown(_))
    ));
    world.answer(conn);
    assert_eq!(world.reply_of(request), "last");
    assert!(world.client.is_terminated());
    assert_eq!((world.client.poll_timeout(), world.client.stats().requests), (None, 0));
}

#[test]
fn a_shutdown_does_not_wait_longer_than_its_grace() {
    let mut world = World::started(1);
    let request = world.send("stuck");
    world.client.shutdown(world.now, world.now + SECOND);
    world.drain();
    world.pass(SECOND);
    assert_eq!(world.failure_of(request), &RequestError::ShutDown { delivery: Delivery::Unknown });
    assert!(world.client.is_terminated());
    assert_eq!(world.client.poll_timeout(), None);
}

/// A client that shuts down sends nothing again: a refusal inside a window, be it answered before the shutdown or during its
/// grace, is the reply. INV-01
#[test]
fn a_refusal_is_the_reply_when_the_client_shuts_down() {
    for is_refused_first in [true, false] {
        let mut world = World::started(1);
        let conn = world.conns()[0];
        world.push(conn, &["FAILING_OVER", "1", "5"]);
        let request = world.send("refused");
        let refuse = |world: &mut World| {
            world.client.handle_frames(world.now, conn, [Frame::error("READONLY it is a replica")]);
            world.drain();
        };
        if is_refused_first {
            refuse(&mut world);
            assert!(!world.done.contains_key(&request), "it is to be sent again");
        }
        world.client.shutdown(world.now, world.now + 5 * SECOND);
        world.drain();
        if !is_refused_first {
            refuse(&mut world);
        }
        assert!(world.done[&request].as_ref().unwrap()[0].is_error());
        assert!(world.client.is_terminated());
        assert_eq!((world.client.poll_timeout(), world.client.stats().requests), (None, 0));
    }
}

#[test]
fn a_shutdown_in_the_middle_of_a_move_ends_it() {
    let mut world = World::started(4);
    let old = world.conns()[0];
    world.push(old, &["MOVING", "1", "15", "127.0.0.1:2"]);
    assert_eq!(world.dials.len(), 1);
    world.client.shutdown(world.now, world.now);
    world.drain();
    assert!(world.client.is_terminated() && world.dials.is_empty());
}

/// Inside a window a refusal of the server proves that the request did not run: it is sent again, until its deadline.
/// RULE-55, RULE-56
#[test]
fn a_request_that_a_demoted_server_refuses_is_sent_again_inside_a_window() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    let refusal =
        || Frame::Error(Bytes::from_static(b"READONLY You can't write against a read only replica."));
    let outside = world.send("outside");
    world.client.handle_frames(world.now, conn, [refusal()]);
    world.drain();
    assert!(world.done[&outside].as_ref().unwrap()[0].is_error(), "without a window it is a reply");
    world.pending.clear();

    world.push(conn, &["FAILING_OVER", "1", "5"]);
    let inside = world.send("inside");
    for _ in 0..3 {
        assert_eq!(world.pending.remove(&conn).unwrap(), ["inside"]);
        world.client.handle_frames(world.now, conn, [refusal()]);
        world.drain();
        assert!(!world.pending.contains_key(&conn), "not at once");
        world.pass(SECOND);
    }
    world.answer(conn);
    assert_eq!(world.reply_of(inside), "inside");

    let refused = world.send("refused");
    while !world.done.contains_key(&refused) {
        if world.pending.remove(&conn).is_some() {
            world.client.handle_frames(world.now, conn, [refusal()]);
            world.drain();
        }
        world.pass(SECOND / 10);
    }
    assert!(
        world.done[&refused].as_ref().unwrap()[0].is_error(),
        "at the deadline it has the refusal for an answer"
    );
}

/// A script may answer `READONLY` after it has written: its reply proves nothing, and is its reply, in a window as well, alone and
/// in a pipeline. RULE-154, INV-05
#[test]
fn the_refusal_of_a_script_is_its_reply() {
    let script = |name: &'static str| cmd(name).arg("return redis.error_reply('READONLY')").arg(0);
    let pipeline =
        |name| Pipeline::from([script(name), cmd("INCR").arg("k")]).into_request().unwrap().unwrap();
    for name in ["EVAL", "EVALSHA", "FCALL", "eval"] {
        let mut world = World::started(1);
        let conn = world.conns()[0];
        world.push(conn, &["FAILING_OVER", "1", "5"]);
        for (request, replies) in [(Request::command(script(name)).unwrap(), 1), (pipeline(name), 2)] {
            let id = world.client.send(world.now, request).unwrap();
            world.drain();
            let refusal = || Frame::error("READONLY You can't write against a read only replica.");
            world.client.handle_frames(world.now, conn, (0..replies).map(|_| refusal()));
            world.drain();
            assert!(world.done[&id].as_ref().unwrap()[0].is_error(), "{name}");
        }
    }
}

/// The notification that closes a window comes over one connection ahead of an older refusal on another: that refusal
/// still counts as one inside the window. A request that is refused again after the window gets the refusal for its
/// reply. RULE-55, RULE-56
#[test]
fn a_refusal_may_come_behind_the_end_of_its_window() {
    let refusal = || Frame::error("LOADING Redis is loading the dataset in memory");
    for is_refused_again in [false, true] {
        let mut world = World::started(1);
        let conn = world.conns()[0];
        world.push(conn, &["FAILING_OVER", "1", "5"]);
        let inside = world.send("inside");
        world.push(conn, &["FAILED_OVER", "2"]);
        let outside = world.send("outside");
        world.pending.clear();

        world.client.handle_frames(world.now, conn, [refusal(), refusal()]);
        world.drain();
        assert!(world.done[&outside].as_ref().unwrap()[0].is_error(), "it was sent after the window");
        assert!(!world.done.contains_key(&inside), "the window was open when it was sent");

        world.pass(SECOND);
        assert_eq!(world.pending.remove(&conn).unwrap(), ["inside"]);
        let reply = if is_refused_again { refusal() } else { Frame::Integer(1) };
        world.client.handle_frames(world.now, conn, [reply.clone()]);
        world.drain();
        assert_eq!(world.done[&inside].as_ref().unwrap()[0], reply);
    }
}

/// A client that shuts down sends nothing again: the refusal is the reply at once, also of what waited to be sent again. INV-01
#[test]
fn a_client_that_shuts_down_hands_refusals_out() {
    let refusal = || Frame::error("LOADING Redis is loading the dataset in memory");
    let mut world = World::started(1);
    let conn = world.conns()[0];
    world.push(conn, &["FAILING_OVER", "1", "5"]);
    let [deferred, refused] = ["deferred", "refused"].map(|name| world.send(name));
    world.client.handle_frames(world.now, conn, [refusal()]);
    world.drain();
    assert!(!world.done.contains_key(&deferred));

    world.client.shutdown(world.now, world.now + 10 * SECOND);
    world.drain();
    assert_eq!(world.done[&deferred].as_ref().unwrap()[0], refusal());
    world.client.handle_frames(world.now, conn, [refusal()]);
    world.drain();
    assert_eq!(world.done[&refused].as_ref().unwrap()[0], refusal());
}

/// A pipeline whose commands were all refused did not run, and is sent again. A pipeline that was refused in part did
/// run, and is sent again only if it may run twice. INV-05, RULE-55
#[test]
fn a_pipeline_that_is_refused_is_sent_again() {
    let refusal = || Frame::error("LOADING Redis is loading the dataset in memory");
    for (replay, replies, again) in [
        (Replay::IfUnsent, [refusal(), refusal()], true),
        (Replay::IfUnsent, [Frame::Integer(1), refusal()], false),
        (Replay::Idempotent, [Frame::Integer(1), refusal()], true),
    ] {
        let mut world = World::started(1);
        let conn = world.conns()[0];
        world.push(conn, &["FAILING_OVER", "1", "5"]);
        let two = NonZeroU32::new(2).unwrap();
        let request = Request::raw(Bytes::from_static(b"pipeline"), two).replay(replay);
        let id = world.client.send(world.now, request).unwrap();
        world.drain();
        assert_eq!(world.pending.remove(&conn).unwrap(), ["pipeline"]);
        world.client.handle_frames(world.now, conn, replies);
        world.drain();
        assert_eq!(!world.done.contains_key(&id), again, "{replay:?}");
        world.pass(SECOND);
        assert_eq!(world.pending.contains_key(&conn), again, "{replay:?}");
    }
}

/// No link was lost where all replies came: a pipeline that is refused in part again and again is sent again until its deadline, and
/// travels with the others. RULE-55
#[test]
fn a_pipeline_that_is_refused_in_part_is_sent_again_until_its_deadline() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    world.push(conn, &["FAILING_OVER", "1", "30"]);
    let request = Request::raw("pipeline\n".into(), NonZeroU32::new(2).unwrap()).replay(Replay::Idempotent);
    let id = world.client.send(world.now, request).unwrap();
    world.drain();
    for time in 0..6 {
        assert_eq!(world.pending.remove(&conn).unwrap(), ["pipeline"], "time {time}");
        let refusal = Frame::error("LOADING Redis is loading the dataset in memory");
        world.client.handle_frames(world.now, conn, [Frame::Integer(1), refusal]);
        world.drain();
        world.pass(SECOND);
    }
    let beside = world.send("beside");
    assert_eq!(world.pending.remove(&conn).unwrap(), ["pipeline", "beside"]);
    world.client.handle_frames(world.now, conn, (1..=3).map(Frame::Integer));
    world.drain();
    assert!(world.done[&id].is_ok() && world.done[&beside].is_ok());
}

/// A batch is one unit: a refusal of it is its reply, even if it proves that nothing ran. RULE-56
#[test]
fn an_atomic_batch_that_is_refused_is_not_sent_again() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    world.push(conn, &["FAILING_OVER", "1", "5"]);
    let batch = Pipeline::atomic().command(cmd("INCR").arg("n"));
    let batch = batch.into_request().unwrap().unwrap();
    let request = world.client.send(world.now, batch).unwrap();
    world.drain();
    let refusal = || Frame::error("LOADING Redis is loading the dataset in memory");
    world.client.handle_frames(world.now, conn, [refusal(), refusal(), refusal()]);
    world.drain();
    assert!(world.done[&request].as_ref().unwrap().iter().all(Frame::is_error));
}

/// Only a refusal that proves that the request did not run lets it be written again. INV-05, PITFALL-25, RULE-55
#[test]
fn an_error_inside_a_window_is_a_reply_like_any_other() {
    let mut world = World::started(1);
    let conn = world.conns()[0];
    world.push(conn, &["FAILING_OVER", "1", "5"]);
    for error in ["ERR it ran and failed", "WRONGTYPE not a list", "READONLYISH", "OOM"] {
        let request = world.send("write");
        assert_eq!(world.pending.remove(&conn).unwrap(), ["write"]);
        world.client.handle_frames(world.now, conn, [Frame::error(error)]);
        world.drain();
        assert!(world.done[&request].as_ref().unwrap()[0].is_error(), "{error}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(bool),
    Answer(usize),
    Cancel(usize),
    Close(usize),
    Moving { conn: usize, seq: u64, port: u16, grace: u64 },
    Migrating(usize, u64),
    Dial { ok: bool },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let nth = || 0..12_usize;
    prop_oneof![
        6 => prop::bool::ANY.prop_map(Step::Send),
        4 => nth().prop_map(Step::Answer),
        1 => nth().prop_map(Step::Cancel),
        1 => nth().prop_map(Step::Close),
        2 => (nth(), 0..5_u64, 1..4_u16, 1..10_u64)
            .prop_map(|(conn, seq, port, grace)| Step::Moving { conn, seq, port, grace }),
        1 => (nth(), 0..5_u64).prop_map(|(conn, seq)| Step::Migrating(conn, seq)),
        4 => prop::bool::weighted(0.8).prop_map(|ok| Step::Dial { ok }),
        2 => (0..3000_u64).prop_map(Step::Pass),
    ]
}

/// The requests that each server has read, in order.
#[derive(Default)]
struct Story {
    sent: Vec<(RequestId, String, bool)>,
    cancelled: Vec<RequestId>,
    written: BTreeMap<String, u32>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Under any mixture of moves, losses and time each request completes at most once while the client lives and
    /// exactly once when it has ended, with its own reply; and a write is written at most once. INV-01, INV-02, INV-05,
    /// INV-11, INV-12, INV-15
    #[test]
    fn requests_are_conserved_whatever_happens(steps in prop::collection::vec(step(), 0..100)) {
        let mut world = World::started(3);
        let mut story = Story::default();
        for (number, step) in steps.into_iter().enumerate() {
            let conns = world.conns();
            let nth = |at: usize| conns.get(at % conns.len().max(1)).copied();
            match step {
                Step::Send(write) => {
                    let word = format!("{number}");
                    let id = world.send_as(&word, if write { Replay::IfUnsent } else { Replay::Idempotent });
                    story.sent.push((id, word, write));
                }
                Step::Answer(at) => nth(at).into_iter().for_each(|conn| count_and_answer(&mut world, &mut story, conn)),
                Step::Cancel(at) => {
                    if let Some((id, ..)) = story.sent.get(at) {
                        world.client.cancel(world.now, *id);
                        world.drain();
                        story.cancelled.push(*id);
                    }
                }
                Step::Close(at) => {
                    if let Some(conn) = nth(at) {
                        count(&world, &mut story, conn);
                        world.close(conn);
                    }
                }
                Step::Moving { conn, seq, port, grace } => {
                    if let Some(conn) = nth(conn) {
                        let target = format!("127.0.0.1:{port}");
                        world.push(conn, &["MOVING", &seq.to_string(), &grace.to_string(), &target]);
                    }
                }
                Step::Migrating(at, seq) => {
                    if let Some(conn) = nth(at) {
                        world.push(conn, &["MIGRATING", &seq.to_string(), "1"]);
                    }
                }
                Step::Dial { ok } => {
                    if !world.dials.is_empty() {
                        let (conn, address) = world.dials.remove(0);
                        if ok {
                            world.connect(conn, address);
                        } else {
                            world.client.handle_connect_failed(world.now, conn, io::ErrorKind::ConnectionRefused);
                            world.drain();
                        }
                    }
                }
                Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
            }
        }
        world.client.shutdown(world.now, world.now + 5 * SECOND);
        world.drain();
        world.pass(6 * SECOND);
        prop_assert!(world.client.is_terminated());
        prop_assert_eq!(world.client.poll_timeout(), None);
        for (id, word, write) in &story.sent {
            match world.done.get(id) {
                Some(Ok(replies)) => prop_assert_eq!(replies[0].as_str(), Some(&**word)),
                Some(Err(_)) => {}
                None => prop_assert!(story.cancelled.contains(id), "{} was lost", word),
            }
            prop_assert!(!write || story.written.get(word).copied().unwrap_or(0) <= 1, "{} ran twice", word);
        }
        prop_assert_eq!(world.client.stats().requests, 0);
    }
}

/// The server reads what was written to `conn`.
fn count(world: &World, story: &mut Story, conn: ConnId) {
    for word in world.pending.get(&conn).into_iter().flatten() {
        *story.written.entry(String::from_utf8_lossy(word).into_owned()).or_default() += 1;
    }
}

fn count_and_answer(world: &mut World, story: &mut Story, conn: ConnId) {
    count(world, story, conn);
    world.answer(conn);
}

/// After a failed dial the worker dials for the next connection at once, and the new id reuses the place of the failed
/// one. The slot of the failed dial is free all the same. INV-20
#[test]
fn a_failed_handoff_leaves_its_slot() {
    let maintenance = maintenance::Config::builder().max_handoff_retries(1).build().unwrap();
    let mut world = World::with(|builder| builder.pool_size(3).maintenance(maintenance));
    world.answer_dials();
    let old = world.conns();
    world.push(old[0], &["MOVING", "1", "60", "127.0.0.1:2"]);
    let (scout, address) = world.dials.remove(0);
    world.connect(scout, address);
    for _ in 0..2 {
        while world.client.stats().coordinator.handoffs_queued == 0 {
            world.pass(SECOND);
        }
        for _ in 0..2 {
            let (conn, _) = world.dials.remove(0);
            world.client.handle_connect_failed(world.now, conn, io::ErrorKind::ConnectionRefused);
            world.drain();
        }
    }
    assert_eq!(world.client.stats().serving, 3, "the others stayed");
    for conn in world.conns().into_iter().filter(|conn| *conn != scout) {
        world.close(conn);
    }
    world.pass(SECOND);
    assert_eq!(world.dials.len(), 2, "both are opened again");
    world.answer_dials();
    assert_eq!(world.client.stats().serving, 3);
}

/// A dial times out at the moment at which another slot begins its dial, whose id reuses the place. INV-20
#[test]
fn a_dial_that_times_out_leaves_its_slot() {
    let mut world = World::with(|builder| builder.pool_size(2).connect_timeout(Some(SECOND)));
    world.answer_dials();
    for conn in world.conns() {
        world.close(conn);
    }
    world.pass(SECOND / 10);
    let (refused, _) = world.dials.remove(0);
    world.client.handle_connect_failed(world.now, refused, io::ErrorKind::ConnectionRefused);
    world.drain();
    world.now += 10 * SECOND;
    world.client.handle_timeout(world.now);
    world.drain();
    for _ in 0..4 {
        world.answer_dials();
        world.pass(SECOND);
    }
    assert_eq!(world.client.stats().serving, 2);
}
