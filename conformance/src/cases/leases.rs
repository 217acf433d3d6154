//! Leases: a connection that one caller has for itself.

use hitless_core::error::{CloseCause, Delivery, LeaseError, RequestError};
use hitless_core::request::{Pipeline, Request, SendError};
use resp3_codec::{Command, Frame, cmd};

use crate::server::{CloseHow, Closes, Moving, ServerConn, Target};
use crate::testbed::{SECOND, Testbed, get, incr, millis, set};
use crate::world::{Holder, Host};

/// A client that lends so many connections.
fn lender(host: &dyn Host, limit: u32) -> Testbed {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).max_dedicated(limit);
    bed.connect_with(settings);
    bed
}

/// The connection of a lease, as the server numbers it.
fn conn_of(bed: &mut Testbed, holder: Holder) -> ServerConn {
    // It has long enough, however short the timeouts of the client are.
    let request = Request::leased(cmd("ECHO").arg("who")).expect("a command for a lease").timeout(SECOND * 5);
    let ticket = bed.try_send_on(holder, request).expect("the client accepts it");
    bed.reply(ticket);
    bed.arrivals("ECHO").last().expect("it has just arrived").1
}

fn leased(pipeline: Pipeline) -> Request {
    pipeline.into_leased_request().expect("commands for a lease").expect("a pipeline that is not empty")
}

/// Sends a transaction on a lease, and returns the reply to EXEC.
fn exec(bed: &mut Testbed, holder: Holder, command: Command) -> Frame {
    let request = leased(Pipeline::atomic().command(command));
    let ticket = bed.try_send_on(holder, request).expect("the client accepts it");
    bed.wait(ticket).expect("it is answered").last().cloned().expect("the reply to EXEC")
}

/// A lease has a connection that carries nothing else, whatever the others do. RULE-200, INV-18
pub fn one_caller_alone(host: &dyn Host) {
    let mut bed = lender(host, 5);
    let [one, other] = [bed.lease(), bed.lease()];
    let [mine, theirs] = [one, other].map(|holder| conn_of(&mut bed, holder));
    assert_ne!(mine, theirs);
    for _ in 0..5 {
        bed.call(incr("n"));
    }
    bed.call_on(one, incr("mine"));
    let shared: Vec<_> = bed.arrivals("INCR").into_iter().map(|(_, conn)| conn).collect();
    assert_eq!(shared.iter().filter(|conn| **conn == mine).count(), 1);
    assert!(!shared.contains(&theirs));
    assert_eq!((bed.stats().leased, bed.stats().dedicated), (2, 2));
    [one, other].into_iter().for_each(|holder| bed.return_lease(holder));
    bed.finish();
}

/// A connection goes to the next caller as the handshake has left it: clean ones are used again, the others are closed. RULE-203
pub fn what_the_next_caller_finds(host: &dyn Host) {
    for (words, is_clean) in [
        (&["GET k"][..], true),
        (&["WATCH k", "UNWATCH"], true),
        (&["WATCH k", "MULTI", "SET k v", "EXEC"], true),
        (&["WATCH k", "MULTI", "DISCARD"], true),
        (&["WATCH k"], false),
        (&["MULTI", "SET k v"], false),
        (&["SELECT 1"], false),
        (&["CLIENT SETNAME x"], false),
        (&["RESET"], false),
    ] {
        let mut bed = lender(host, 1);
        let first = bed.lease();
        let before = conn_of(&mut bed, first);
        for words in words {
            let mut words = words.split(' ');
            bed.call_on(first, cmd(words.next().expect("a name")).args(words));
        }
        bed.return_lease(first);
        let second = bed.lease();
        let after = conn_of(&mut bed, second);
        assert_eq!(before == after, is_clean, "{words:?}");
        bed.return_lease(second);
        bed.finish();
    }
}

/// A caller that has given a request up leaves a connection on which a reply may still come: it is closed. RULE-203
pub fn given_up_requests_close_the_connection(host: &dyn Host) {
    let mut bed = lender(host, 1);
    let first = bed.lease();
    let before = conn_of(&mut bed, first);
    let blocked = bed.send_on(first, cmd("BLPOP").arg("q").arg(0));
    bed.run_until_soon("it arrives", |bed| bed.arrivals("BLPOP").len() == 1);
    bed.cancel(blocked);
    bed.return_lease(first);
    bed.run_until_soon("it is closed", |bed| !bed.connections(bed.a).contains(&before));
    let second = bed.lease();
    bed.call(cmd("RPUSH").arg("q").arg("v"));
    assert_eq!(bed.call_on(second, cmd("LPOP").arg("q")), Frame::bulk("v"), "nobody else has taken it");
    bed.return_lease(second);
    bed.finish();
}

/// Callers that find every connection lent get one in the order in which they came; those who give up are passed over. RULE-201
pub fn in_the_order_of_arrival(host: &dyn Host) {
    let mut bed = lender(host, 1);
    let first = bed.lease();
    let waiting: Vec<Holder> = (0..4).map(|_| bed.wish()).collect();
    bed.return_lease(waiting[1]);
    let mut holds = first;
    for next in [0, 2, 3].map(|at| waiting[at]) {
        bed.run_for(millis(20));
        assert!(bed.lease_state(next).outcome.is_none(), "it is not its turn");
        bed.return_lease(holds);
        bed.run_until_soon("it is its turn", |bed| bed.lease_state(next).outcome.is_some());
        holds = next;
    }
    assert_eq!(bed.accepted(bed.a), 2, "one connection of the pool, and one that was lent");
    bed.return_lease(holds);
    bed.finish();
}

/// Waiting has an end, and the error says whether all were lent or none could be opened. RULE-201
pub fn waiting_has_an_end(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).max_dedicated(1).lease_timeout(Some(millis(400)));
    bed.connect_with(settings);
    let held = bed.lease();
    let before = bed.now();
    let late = bed.wish();
    assert!(matches!(bed.lease_error(late), LeaseError::TimedOut { .. }));
    assert!(bed.now() - before >= millis(350));
    bed.return_lease(late);
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.refuse(bed.a, None);
    bed.lease_lost(held);
    bed.return_lease(held);
    let nowhere = bed.wish();
    let error = bed.lease_error(nowhere);
    assert!(matches!(error, LeaseError::NoConnection { .. }), "{error}");
    bed.return_lease(nowhere);
    bed.restore(bed.a);
    // The pause after the last failure is over by then.
    bed.run_for(SECOND);
    let again = bed.lease();
    bed.return_lease(again);
    bed.finish();
}

/// A connection that nobody has moves as those of the pool do. RULE-205
pub fn idle_connections_move(host: &dyn Host) {
    let mut bed = lender(host, 2);
    let first = bed.lease();
    bed.return_lease(first);
    bed.moving(bed.a, bed.b, 5);
    bed.run_until_all_gone_from_a();
    let second = bed.lease();
    assert_eq!(bed.lease_state(second).moving, None);
    bed.call_on(second, cmd("ECHO").arg("who"));
    assert_eq!(bed.arrivals("ECHO").last().map(|(endpoint, _)| *endpoint), Some(bed.b));
    bed.return_lease(second);
    bed.finish();
}

/// The holder of a lease is told of the move and its deadline, keeps its connection and what it watches, and leaves when it is done.
/// RULE-205, INV-18, PITFALL-01, RULE-89
pub fn a_watch_outlasts_the_announcement(host: &dyn Host) {
    let mut bed = lender(host, 1);
    let held = bed.lease();
    let before = conn_of(&mut bed, held);
    bed.call_on(held, cmd("WATCH").arg("k"));
    let announced = bed.now();
    bed.moving(bed.a, bed.b, 20);
    bed.run_until_soon("the holder is told", |bed| bed.lease_state(held).moving.is_some());
    let deadline = bed.lease_state(held).moving.expect("it was told");
    assert!((announced + SECOND * 19..=announced + SECOND * 20 + bed.slack()).contains(&deadline));
    bed.run_until_soon("the pool has moved", |bed| bed.cut_overs() == 1);
    assert_eq!(bed.call_on(held, get("k")), Frame::Null);
    assert_eq!(conn_of(&mut bed, held), before);
    assert_eq!(exec(&mut bed, held, set("k", "v")), Frame::Array(vec![Frame::simple("OK")]));
    bed.return_lease(held);
    bed.run_until_all_gone_from_a();
    assert_eq!(bed.call(get("k")), Frame::bulk("v"));
    bed.finish();
}

/// At the deadline the connection is gone, whatever its holder does: a transaction whose EXEC was not sent has not run, and what was sent
/// and not answered may have. RULE-206, PITFALL-01
pub fn the_deadline_ends_a_lease(host: &dyn Host) {
    let mut bed = lender(host, 1);
    let held = bed.lease();
    bed.call_on(held, cmd("WATCH").arg("k"));
    bed.call_on(held, cmd("MULTI"));
    assert_eq!(bed.call_on(held, set("k", "v")), Frame::simple("QUEUED"));
    // The old node would serve longer: the client itself keeps the deadline.
    let leaving = |to| Moving::new(Target::Endpoint(to), SECOND * 2).closing(Closes::Nobody);
    bed.announce(bed.a, leaving(bed.b));
    assert_eq!(bed.lease_lost(held), CloseCause::MoveDeadline);
    let request = Request::leased(cmd("EXEC")).expect("a command for a lease");
    let refused = bed.try_send_on(held, request).expect_err("the connection is gone");
    assert!(matches!(refused, SendError::LeaseLost { cause: CloseCause::MoveDeadline, .. }), "{refused}");
    assert_eq!(bed.call(get("k")), Frame::Null, "nothing was executed");
    bed.return_lease(held);

    let second = bed.lease();
    let slow = Request::leased(cmd("BLPOP").arg("q").arg(0)).expect("for a lease").timeout(SECOND * 60);
    let slow = bed.try_send_on(second, slow).expect("the client accepts it");
    bed.run_until_soon("it arrives", |bed| bed.arrivals("BLPOP").len() == 1);
    bed.announce(bed.b, leaving(bed.c));
    assert_eq!(bed.error(slow), RequestError::MoveDeadline { delivery: Delivery::Unknown });
    bed.return_lease(second);
    bed.finish();
}

/// The connection of a lease is lost: what was not answered may have run, nothing is sent again, and the next lease works. RULE-204
pub fn a_lost_connection_is_a_lost_lease(host: &dyn Host) {
    let mut bed = lender(host, 1);
    let held = bed.lease();
    let conn = conn_of(&mut bed, held);
    let blocked = bed.send_on(held, cmd("BLPOP").arg("q").arg(0));
    bed.run_until_soon("it arrives", |bed| bed.arrivals("BLPOP").len() == 1);
    bed.server(|server, now| server.kill(now, conn, CloseHow::Fin));
    let error = bed.error(blocked);
    assert!(matches!(error, RequestError::ConnectionLost { delivery: Delivery::Unknown, .. }), "{error}");
    assert_eq!(bed.lease_lost(held), CloseCause::ByServer);
    bed.return_lease(held);
    let next = bed.lease();
    assert_ne!(conn_of(&mut bed, next), conn);
    assert_eq!(bed.arrivals("BLPOP").len(), 1);
    bed.return_lease(next);
    bed.finish();
}

/// The link is lost in the middle of a transaction: what the server has queued and not answered has not run, and is told so. Behind EXEC
/// nobody knows. PITFALL-01, RULE-236
pub fn a_transaction_that_is_lost(host: &dyn Host) {
    for is_complete in [false, true] {
        let mut bed = lender(host, 1);
        let held = bed.lease();
        let conn = conn_of(&mut bed, held);
        bed.call_on(held, cmd("WATCH").arg("k"));
        bed.call_on(held, cmd("MULTI"));
        bed.slow_down(bed.a, SECOND);
        let set = bed.send_on(held, set("k", "v"));
        let exec = is_complete.then(|| bed.send_on(held, cmd("EXEC")));
        let last = if is_complete { "EXEC" } else { "SET" };
        bed.run_until_soon("it arrives", |bed| bed.arrivals(last).len() == 1);
        bed.server(|server, now| server.kill(now, conn, CloseHow::Reset));
        let expected = if is_complete { Delivery::Unknown } else { Delivery::NotSent };
        for ticket in [Some(set), exec].into_iter().flatten() {
            assert_eq!(bed.error(ticket).delivery(), expected);
        }
        bed.return_lease(held);
        bed.slow_down(bed.a, millis(0));
        assert_eq!(bed.call(get("k")).is_null(), !is_complete);
        bed.finish();
    }
}

/// A key that somebody else changes behind WATCH: EXEC runs nothing, and the next try does. RULE-203
pub fn a_watched_key_is_changed(host: &dyn Host) {
    let mut bed = lender(host, 1);
    let held = bed.lease();
    bed.call_on(held, cmd("WATCH").arg("n"));
    assert_eq!(bed.call_on(held, get("n")), Frame::Null);
    bed.call(set("n", "other"));
    let conflict = exec(&mut bed, held, set("n", "mine"));
    assert!(conflict.is_null(), "{conflict:?}");
    assert_eq!(bed.call(get("n")), Frame::bulk("other"));
    bed.call_on(held, cmd("WATCH").arg("n"));
    assert_eq!(exec(&mut bed, held, set("n", "mine")), Frame::Array(vec![Frame::simple("OK")]));
    bed.return_lease(held);
    assert_eq!(bed.stats().dedicated, 1, "it is clean");
    bed.finish();
}

/// WAIT asks about the writes of its own connection: at the end of a pipeline, or on a lease. RULE-208
pub fn wait_stands_behind_its_writes(host: &dyn Host) {
    let mut bed = lender(host, 1);
    let wait = || cmd("WAIT").arg(0).arg(100);
    let replies = bed.pipeline(Pipeline::from([set("a", "1"), wait()]));
    assert_eq!(replies, [Frame::simple("OK"), Frame::Integer(0)]);
    let held = bed.lease();
    bed.call_on(held, set("b", "1"));
    assert_eq!(bed.call_on(held, wait()), Frame::Integer(0));
    let (writes, waits) = (bed.arrivals("SET"), bed.arrivals("WAIT"));
    assert_eq!(writes, waits);
    bed.return_lease(held);
    let refused = Request::command(wait()).expect_err("it is refused");
    assert!(refused.to_string().contains("client.lease()"), "{refused}");
    for pipeline in [
        Pipeline::from([wait()]),
        Pipeline::from([set("a", "1"), wait(), set("b", "1")]),
        Pipeline::atomic().command(set("a", "1")).command(wait()),
    ] {
        assert!(pipeline.into_request().is_err());
    }
    bed.finish();
}

/// A link that a lease owes its reply falls silent: the lease is lost, and the next one has another link. RULE-204
pub fn a_silent_link_is_a_lost_lease(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).command_timeout(Some(millis(150)));
    bed.connect_with(settings);
    let held = bed.lease();
    let conn = conn_of(&mut bed, held);
    bed.server(|server, now| server.stall(now, conn, now + SECOND * 60));
    let late = bed.send_on(held, get("k"));
    assert!(matches!(bed.error(late), RequestError::TimedOut { .. }));
    assert_eq!(bed.lease_lost(held), CloseCause::Silent);
    bed.return_lease(held);
    let next = bed.lease();
    assert_ne!(conn_of(&mut bed, next), conn);
    bed.return_lease(next);
    bed.finish();
}

/// A command that blocks has the time that it asks of its server, however short the timeouts of the client are. RULE-210
pub fn commands_that_block(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).command_timeout(Some(millis(50)));
    bed.connect_with(settings);
    let held = bed.lease();
    let endless = bed.send_on(held, cmd("BLPOP").arg("q").arg(0));
    bed.run_for(millis(400));
    let pushed = bed.send_within(SECOND * 5, cmd("RPUSH").arg("q").arg("v"));
    bed.reply(pushed);
    assert_eq!(
        bed.wait(endless).expect("it is answered")[0],
        Frame::Array(vec![Frame::bulk("q"), Frame::bulk("v")])
    );
    assert_eq!(bed.call_on(held, cmd("BLPOP").arg("q").arg("0.4")), Frame::Null);
    assert_eq!(bed.lease_state(held).lost, None);
    bed.return_lease(held);
    bed.finish();
}

/// Leases that are out have the time of the grace, and can be used meanwhile; then their connections are closed. RULE-207
pub fn shutdown_with_leases_out(host: &dyn Host) {
    let mut bed = lender(host, 2);
    let held = bed.lease();
    bed.call_on(held, cmd("WATCH").arg("k"));
    let before = bed.now();
    bed.shutdown(millis(300));
    let took = bed.now() - before;
    assert!(took >= millis(300) && took <= millis(400) + bed.slack(), "it took {took:?}");
    assert_eq!(bed.lease_lost(held), CloseCause::ShutDown);
    let request = Request::leased(get("k")).expect("a command for a lease");
    assert!(bed.try_send_on(held, request).is_err());
    bed.return_lease(held);
    let none = bed.wish();
    assert_eq!(bed.lease_error(none), LeaseError::ShutDown);
    bed.finish();
}
