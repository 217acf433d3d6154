//! MOVING to a named target: the pool goes there, and nobody notices.

use hitless_core::error::{ConnectError, Delivery, RequestError};
use hitless_core::event::{Event, Ignored};
use hitless_core::maintenance::BreakerConfig;
use hitless_core::request::Pipeline;
use resp3_codec::{Frame, cmd};

use super::{failed_handoffs, ignored, stayed};
use crate::server::{CloseHow, Closes, Fault, Moving, Recipients, Retires, Rule, Target, push_frame};
use crate::testbed::{SECOND, Testbed, encoded, get, incr, maintenance, millis, set};
use crate::world::Host;

/// A pool moves to a healthy target under load: no error, nobody waits, one dial for each connection, and the old ones
/// are closed as soon as they have answered. INV-01, INV-02, INV-03, INV-04, INV-05, INV-06, INV-07, RULE-63, RULE-68
pub fn healthy_target(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(5);
    bed.start_load(16);
    bed.run_for(millis(300));
    bed.moving(bed.a, bed.b, 3);
    bed.run_until_all_at(bed.b);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (5, 5));
    let (a, mut finished) = (bed.peer(bed.a), 0);
    for event in bed.events() {
        if let Event::MoveFinished { source, moved, stayed, .. } = event {
            assert_eq!((source, *moved, *stayed), (&a, 5, 0));
            finished += 1;
        }
    }
    assert_eq!(finished, 1);
    assert_eq!(bed.count(|event| matches!(event, Event::Drained { .. })), 5);
    bed.run_for(millis(300));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// A large pool goes through a few workers: one scout first, then as many at a time as there are workers. INV-07,
/// INV-20, RULE-63, RULE-96
pub fn large_pool(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(30);
    bed.start_load(30);
    bed.moving(bed.a, bed.b, 3);
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.accepted(bed.b), 30);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// Every connection is told of one move three times: it is one move, with one dial for each connection. PITFALL-06,
/// INV-09, RULE-59
pub fn copies_are_one_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let (a, b) = (bed.a, bed.b);
    // At once, before anybody has moved.
    bed.server(|server, now| {
        for _ in 0..3 {
            server.moving(now, a, Moving::new(Target::Endpoint(b), SECOND * 2).with_seq(7));
        }
    });
    bed.run_until_all_at(bed.b);
    assert_eq!((bed.moves(), bed.accepted(bed.b)), (1, 3));
    // A connection that has moved may be closed before its last copies arrive.
    let received = bed.count(|event| matches!(event, Event::NotificationReceived { .. }));
    assert!((3..=9).contains(&received), "{received}");
    assert_eq!(ignored(&bed, Ignored::Duplicate), received - 1, "one began the move\n{}", bed.history());
    bed.finish();
}

/// Only one connection is told: its neighbours at the same address move as well. PITFALL-17, RULE-61
pub fn subset_is_told(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let told = bed.connections(bed.a)[1];
    let moving = Moving::new(Target::Endpoint(bed.b), SECOND * 2).told_to(Recipients::Only(vec![told]));
    bed.announce(bed.a, moving);
    bed.run_until_all_at(bed.b);
    assert_eq!((bed.moves(), bed.cut_overs(), bed.accepted(bed.b)), (1, 3, 3));
    bed.finish();
}

/// Connections on which nothing was ever asked notice the move as well. PITFALL-12
pub fn idle_connections_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.run_for(millis(500));
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    let a = bed.a;
    let asked = bed.server(|server, _| {
        server.ledger().received_at(a).filter(|(_, request)| !request.is_handshake()).count()
    });
    assert_eq!(asked, 0, "they were idle");
    bed.finish();
}

/// The target refuses at first: the old connections serve meanwhile, one scout tries again with growing pauses, and the
/// move succeeds inside its budget. PITFALL-09, PITFALL-15, INV-03, INV-07, RULE-63
pub fn target_dead_for_a_while(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(8);
    bed.refuse(bed.b, millis(1500));
    bed.moving(bed.a, bed.b, 8);
    bed.run_for(millis(1000));
    assert_eq!((bed.connections(bed.a).len(), bed.stats().serving), (3, 3), "they serve");
    assert_eq!(bed.cut_overs(), 0);
    bed.run_until("the move is over", millis(4000), |bed| bed.cut_overs() == 3);
    bed.run_until_all_at(bed.b);
    let refused = failed_handoffs(&bed);
    assert!((1..=3).contains(&refused), "only the scout tried: {refused} refused dials");
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// The target never answers: the old connections serve until the server closes them, without an error; then requests
/// wait while the client looks for a way, and find the target once it is there. PITFALL-09, PITFALL-15, PITFALL-42,
/// RULE-75, RULE-76
pub fn target_dead_for_good(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.start_load(8);
    bed.refuse(bed.b, None);
    bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND * 2).closing_late_by(bed.slack()));
    bed.run_for(millis(1900));
    assert!((2..=4).contains(&failed_handoffs(&bed)), "one attempt and its retries\n{}", bed.history());
    assert_eq!(stayed(&bed), 3, "{}", bed.history());
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.run_until("the server closes them", SECOND, |bed| bed.stats().serving == 0);
    let tickets: Vec<_> = (0..10).map(|_| bed.send(incr("n"))).collect();
    bed.run_for(millis(200));
    assert_eq!(bed.stats().parked, 10);
    bed.restore(bed.b);
    for (expected, ticket) in (1..).zip(tickets) {
        assert_eq!(bed.reply(ticket), Frame::Integer(expected), "they went out in order");
    }
    bed.run_until_whole();
    assert_eq!(bed.connections(bed.b).len(), 3);
    bed.finish();
}

/// The target drops the dials instead of refusing them: that costs no request any time. PITFALL-09, PITFALL-15, INV-03,
/// RULE-72
pub fn target_drops_dials(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().maintenance(maintenance(|it| it.handoff_timeout(millis(400))));
    bed.connect_with(settings);
    bed.start_load(8);
    bed.black_hole(bed.b, millis(1200));
    bed.moving(bed.a, bed.b, 4);
    bed.run_until("the move is over", millis(3500), |bed| bed.cut_overs() == 3);
    assert!(failed_handoffs(&bed) >= 1);
    bed.run_until_all_at(bed.b);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// The target is still loading its data: that is a failed attempt like any other, and no error of anybody. INV-03, INV-07
pub fn target_is_loading(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let loading = Frame::error("LOADING Redis is loading the dataset in memory");
    bed.rule(Rule::new(Fault::Refuse(loading)).on("HELLO").at(bed.b).times(2));
    bed.start_load(4);
    bed.moving(bed.a, bed.b, 4);
    bed.run_until("they have moved", SECOND * 3, |bed| bed.cut_overs() == 3);
    assert_eq!(failed_handoffs(&bed), 2, "the scout was refused twice, and nobody else tried");
    bed.run_until_all_at(bed.b);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    assert_eq!(bed.call(cmd("PING")), Frame::simple("PONG"));
    bed.finish();
}

/// A command that the old node is still executing at the cut-over gets its reply from there, whether the target is
/// alive or not. PITFALL-08, INV-03, INV-05, RULE-85
pub fn reply_of_an_executed_command(host: &dyn Host) {
    for target_is_alive in [true, false] {
        let mut bed = Testbed::new(host);
        bed.connect_pool(1);
        if !target_is_alive {
            bed.refuse(bed.b, None);
        }
        bed.rule(Rule::new(Fault::Delay(millis(600))).on("INCR"));
        let ticket = bed.send(incr("n"));
        bed.run_until_soon("it is executed", |bed| bed.increments("n") == 1);
        bed.moving(bed.a, bed.b, 2);
        if target_is_alive {
            bed.run_until_soon("the cut-over", |bed| bed.cut_overs() == 1);
        } else {
            bed.run_for(millis(300));
        }
        assert_eq!(bed.cut_overs(), usize::from(target_is_alive));
        assert_eq!(bed.reply(ticket), Frame::Integer(1));
        assert_eq!(bed.increments("n"), 1);
        bed.finish();
    }
}

/// The old node does not answer before the deadline: a write says that it may have run, and is never repeated; a read
/// is repeated at the new node. PITFALL-25, INV-05, INV-06, RULE-85
pub fn drain_deadline(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.call(set("k", "v"));
    bed.rule(Rule::new(Fault::Delay(SECOND * 20)).on("INCR"));
    let (write, read) = (bed.send(incr("n")), bed.send(get("k")));
    bed.run_until_soon("it is executed", |bed| bed.increments("n") == 1);
    bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND * 2).closing(Closes::Nobody));
    bed.run_until_soon("the cut-over", |bed| bed.cut_overs() == 1);
    assert_eq!(bed.call(incr("other")), Frame::Integer(1), "the new connection serves");
    assert_eq!(bed.error(write), RequestError::MoveDeadline { delivery: Delivery::Unknown });
    assert_eq!(bed.reply(read), Frame::bulk("v"));
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.increments("n"), 1);
    assert_eq!(bed.count(|event| matches!(event, Event::DrainDeadline { .. })), 1);
    bed.finish();
}

/// MOVING before, between and after the replies of the handshake: the connection becomes ready and then moves.
/// PITFALL-33, RULE-32
pub fn during_the_handshake(host: &dyn Host) {
    type Place = fn(bytes::Bytes) -> Fault;
    let places: [(&str, Place); 4] = [
        ("HELLO", Fault::Before),
        ("HELLO", Fault::After),
        ("CLIENT MAINT_NOTIFICATIONS", Fault::Before),
        ("CLIENT SETINFO", Fault::After),
    ];
    for (command, place) in places {
        let mut bed = Testbed::new(host);
        let target = bed.address(bed.b).to_string();
        let moving = encoded(&[push_frame(&["MOVING", "1", "2", &target])]);
        bed.rule(Rule::new(place(moving)).on(command).at(bed.a));
        bed.connect();
        bed.run_until_all_at(bed.b);
        assert_eq!(bed.call(incr("n")), Frame::Integer(1), "{command}");
        bed.finish();
    }
}

/// A client that connects while its endpoint is being retired and the target is dead: it is connected and works, and it
/// still works when the server has closed. PITFALL-33, PITFALL-18
pub fn connect_during_a_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.refuse(bed.b, None);
    let moving = Moving::new(Target::Endpoint(bed.b), SECOND * 2).closing_late_by(bed.slack());
    bed.announce(bed.a, moving.retiring(Retires::Never));
    bed.connect();
    bed.start_load(4);
    bed.run_for(millis(1500));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    let before = bed.lost();
    assert_eq!(bed.stats().serving, 3);
    bed.run_until_lost(before + 3);
    bed.run_until_whole();
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}

/// MOVING between the replies of a transaction: the transaction is unaffected, and the pool moves. PITFALL-33, PITFALL-32
pub fn between_the_replies_of_a_transaction(host: &dyn Host) {
    for command in ["MULTI", "SET", "GET", "EXEC"] {
        let mut bed = Testbed::new(host);
        let target = bed.address(bed.b).to_string();
        let moving = encoded(&[push_frame(&["MOVING", "1", "2", &target])]);
        bed.connect();
        bed.rule(Rule::new(Fault::Before(moving)).on(command));
        let replies = bed.pipeline(Pipeline::atomic().command(set("k", "v")).command(get("k")));
        let (queued, ok) = (Frame::simple("QUEUED"), Frame::simple("OK"));
        let executed = Frame::Array(vec![ok.clone(), Frame::bulk("v")]);
        assert_eq!(replies, [ok, queued.clone(), queued, executed], "{command}");
        bed.run_until_all_at(bed.b);
        bed.finish();
    }
}

/// A target that fails is not tried again for a while, although it is well by then; after that it is, without anybody's
/// doing, and the move succeeds. PITFALL-19, INV-03, RULE-73
pub fn a_breaker_recovers(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    // Of a budget of 10.8 s, retries wait 1.35 s, 2.7 s and 5.4 s, give or take a quarter: the first is denied.
    let breaker = BreakerConfig { failures: 1, open_for: millis(2400), half_open: 1 };
    let settings = bed.settings().maintenance(maintenance(|it| it.circuit_breaker(breaker)));
    bed.connect_with(settings);
    bed.start_load(4);
    bed.refuse(bed.b, None);
    bed.moving(bed.a, bed.b, 12);
    bed.run_until_soon("the scout is refused", |bed| failed_handoffs(bed) == 1);
    bed.restore(bed.b);
    bed.run_until("they have moved", SECOND * 8, |bed| bed.cut_overs() == 3);
    let denied =
        |event: &&Event| matches!(event, Event::HandoffFailed { error: ConnectError::CircuitOpen, .. });
    assert_eq!((bed.count(denied), failed_handoffs(&bed)), (1, 2), "{}", bed.history());
    bed.run_until_all_at(bed.b);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// An announcement that is read together with the end of its connection: nobody knows how old it is, so it opens no
/// window and begins no move, and the connection is replaced where the name leads. PITFALL-30, RULE-42
pub fn behind_the_end(host: &dyn Host) {
    for announcement in [["MOVING", "1", "30"], ["MIGRATING", "1", "30"], ["FAILING_OVER", "1", "30"]] {
        let mut bed = Testbed::new(host);
        bed.connect();
        bed.block_reads(true);
        let target = bed.address(bed.b).to_string();
        let [name, seq, time] = announcement;
        bed.push(bed.a, &push_frame(&[name, seq, time, &target]));
        bed.kill_all(bed.a, CloseHow::Fin);
        // Over sockets the end arrives a moment later.
        bed.run_for(millis(200) + bed.slack());
        bed.block_reads(false);
        bed.run_until_soon("it is noticed", |bed| ignored(bed, Ignored::ConnectionEnding) == 3);
        bed.run_until_soon("they connect again", |bed| bed.accepted(bed.a) == 6);
        bed.run_until_all_at(bed.a);
        let opened = bed.count(|event| matches!(event, Event::WindowOpened { .. }));
        assert_eq!((opened, bed.moves(), bed.accepted(bed.b)), (0, 0, 0), "{name}\n{}", bed.history());
        bed.finish();
    }
}

/// While a move lasts, new dials follow it: connections that are lost come back at the target. PITFALL-17, RULE-62
pub fn new_dials_follow_the_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND * 3).retiring(Retires::Never));
    bed.run_until_all_at(bed.b);
    bed.kill_all(bed.b, CloseHow::Reset);
    bed.run_until_soon("they are back", |bed| bed.accepted(bed.b) == 6);
    bed.run_until_all_at(bed.b);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (3, 6), "{}", bed.history());
    bed.finish();
}

/// The old connections are lost while the first successor is on its way: no slot is lost or doubled. PITFALL-18, INV-20
pub fn lost_while_it_moves(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.rule(Rule::new(Fault::Delay(millis(300))).on("HELLO").at(bed.b).always());
    bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND * 3));
    bed.run_until_soon("the scout is there", |bed| bed.accepted(bed.b) == 1);
    bed.kill_all(bed.a, CloseHow::Reset);
    let tickets: Vec<_> = (0..6).map(|_| bed.send(incr("n"))).collect();
    bed.run_until_all_at(bed.b);
    for ticket in tickets {
        // What was written to the old connection before the client heard of its end may have run.
        let known = bed.wait(ticket).map_err(|error| error.delivery());
        assert!(matches!(known, Ok(_) | Err(Delivery::Unknown)), "{known:?}");
    }
    bed.run_for(SECOND);
    assert_eq!(bed.connections(bed.b).len(), 3, "{}", bed.history());
    bed.finish();
}

/// Requests that wait to be written while the successor is dialled are written in their order, whichever connection
/// takes them. INV-02, INV-03, RULE-64
pub fn unsent_requests_stay_in_order(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    bed.moving(bed.a, bed.b, 3);
    bed.run_until_soon("the scout dials", |bed| {
        bed.count(|event| matches!(event, Event::HandoffDialing { .. })) == 1
    });
    bed.block_writes(true);
    let before: Vec<_> = (0..50).map(|_| bed.send(incr("n"))).collect();
    bed.run_for(millis(5));
    bed.block_writes(false);
    let after: Vec<_> = (0..50).map(|_| bed.send(incr("n"))).collect();
    for (expected, ticket) in (1..).zip(before.into_iter().chain(after)) {
        assert_eq!(bed.reply(ticket), Frame::Integer(expected));
    }
    bed.run_until_all_at(bed.b);
    bed.finish();
}

/// Requests that were accepted and not written before the cut-over leave by the new connection, all of them. INV-04,
/// INV-05, RULE-64
pub fn unsent_requests_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    bed.rule(Rule::new(Fault::Delay(millis(50))).on("CLIENT SETINFO").at(bed.b));
    bed.moving(bed.a, bed.b, 3);
    bed.run_until_soon("the scout is in its handshake", |bed| bed.opt_ins(bed.b) == 1);
    bed.block_writes(true);
    let tickets: Vec<_> = (0..50).map(|_| bed.send(incr("n"))).collect();
    bed.run_until_soon("the cut-over", |bed| bed.cut_overs() == 1);
    bed.block_writes(false);
    for (expected, ticket) in (1..).zip(tickets) {
        assert_eq!(bed.reply(ticket), Frame::Integer(expected));
    }
    let b = bed.b;
    assert!(bed.arrivals("INCR").iter().all(|(endpoint, _)| *endpoint == b));
    let moved = |event: &&Event| matches!(event, Event::CutOver { moved: 50, .. });
    assert_eq!(bed.count(moved), 1, "{}", bed.history());
    bed.finish();
}
