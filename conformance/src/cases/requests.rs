//! Requests and replies: order, units, timeouts, limits, and what is done again.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use hitless_core::FromFrame as _;
use hitless_core::config::Protocol;
use hitless_core::driver::{CheckReplies as _, Error};
use hitless_core::error::{CloseCause, Delivery, RequestError, ServerError};
use hitless_core::event::Event;
use hitless_core::request::{Pipeline, Replay, Request, SendError};
use resp3_codec::{Frame, cmd};

use crate::server::{CloseHow, Fault, Rule, push_frame};
use crate::testbed::{SECOND, Testbed, encoded, get, incr, millis, set};
use crate::world::Host;

/// Replies come back to those who asked, whatever they are: errors and nulls are replies as well. INV-02
pub fn every_kind_of_reply(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    let large = "x".repeat(1 << 20);
    let asked = [
        (set("large", &large), Frame::simple("OK")),
        (get("large"), Frame::bulk(large)),
        (get("none"), Frame::Null),
        (cmd("PING"), Frame::simple("PONG")),
        (cmd("RPUSH").arg("list").arg("a").arg("b"), Frame::Integer(2)),
        (cmd("LRANGE").arg("list").arg(0).arg(-1), Frame::Array(vec![Frame::bulk("a"), Frame::bulk("b")])),
    ];
    let tickets: Vec<_> = asked.into_iter().map(|(command, reply)| (bed.send(command), reply)).collect();
    let wrong = bed.send(incr("list"));
    let unknown = bed.send(cmd("NOSUCH"));
    for (ticket, expected) in tickets {
        assert!(bed.reply(ticket) == expected);
    }
    for (ticket, code) in [(wrong, "WRONGTYPE"), (unknown, "ERR")] {
        let reply = bed.reply(ticket);
        assert!(reply.is_error() && reply.as_str().is_some_and(|text| text.starts_with(code)), "{reply:?}");
    }
    bed.finish();
}

/// Replies are values of Rust, the same whether the server speaks RESP3 or RESP2: of single commands, of a pipeline, and of a
/// transaction, one of whose commands may have failed. RULE-190, RULE-191
pub fn replies_are_values(host: &dyn Host) {
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let mut bed = Testbed::new(host);
        let settings = bed.settings().pool_size(1).protocol(protocol);
        bed.connect_with(settings);
        assert_eq!(bool::from_frame(bed.call(set("k", "17"))), Ok(true));
        assert_eq!(u8::from_frame(bed.call(get("k"))), Ok(17));
        assert_eq!(Option::<String>::from_frame(bed.call(get("none"))), Ok(None));
        bed.call(cmd("RPUSH").arg("list").arg("1").arg("x").arg("2").arg("y"));
        let list = bed.call(cmd("LRANGE").arg("list").arg(0).arg(-1));
        assert_eq!(Vec::from_frame(list.clone()), Ok(vec![(1, "x".to_owned()), (2, "y".to_owned())]));
        assert_eq!(
            BTreeMap::from_frame(list.clone()),
            Ok(BTreeMap::from([(1, 'x'.to_string()), (2, 'y'.to_string())]))
        );
        let error = Vec::<u64>::from_frame(list).expect_err("two of them are no numbers");
        assert!(error.to_string().ends_with(r#"got Bulk("x")"#), "{error}");
        // What CLIENT INFO answers is a verbatim string in RESP3, and what HELLO answers a map.
        let info = String::from_frame(bed.call(cmd("CLIENT").arg("INFO")));
        assert!(info.is_ok_and(|info| info.starts_with("id=")));

        let commands = || [incr("n"), get("k"), cmd("MGET").arg("k").arg("none")];
        let (count, text, both): (u64, String, (u8, Option<u8>)) =
            bed.pipeline(Pipeline::from(commands())).read().expect("three values");
        assert_eq!((count, text.as_str(), both), (1, "17", (17, None)));
        let error = bed.pipeline(Pipeline::from([incr("n"), incr("list")])).read::<(u64, u64)>();
        assert!(matches!(&error, Err(Error::Reply(reply)) if reply.index == 1), "{error:?}");

        let replies =
            bed.pipeline([incr("n"), incr("list")].into_iter().fold(Pipeline::atomic(), Pipeline::command));
        type Executed = (String, String, String, (u64, Result<u64, ServerError>));
        let (.., (count, wrong)) = replies.clone().read::<Executed>().expect("EXEC has two elements");
        assert_eq!((count, wrong.expect_err("it is a list").code()), (3, "WRONGTYPE"));
        let error = replies.read::<(String, String, String, (u64, u64))>();
        assert!(matches!(&error, Err(Error::Server(error)) if error.code() == "WRONGTYPE"), "{error:?}");
        bed.finish();
    }
}

/// What would break the shared connection for everybody else is refused before it is sent, and says what to do instead.
/// PITFALL-38, RULE-93
pub fn refused_commands(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let names = "WATCH MULTI EXEC DISCARD SELECT AUTH HELLO RESET MONITOR SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE \
         READONLY ASKING QUIT WAIT WAITAOF";
    for name in names.split_whitespace() {
        let refused = Request::command(cmd(name).arg("x")).expect_err(name);
        assert!(!refused.instead.is_empty(), "{name}");
        // In the middle: WAIT may stand at the end.
        let pipeline = Pipeline::new().command(get("k")).command(cmd(name).arg("x")).command(get("k"));
        assert!(pipeline.into_request().is_err(), "{name}");
    }
    for (command, argument) in
        [("CLIENT", "REPLY"), ("CLIENT", "TRACKING"), ("CLIENT", "SETNAME"), ("CLIENT", "NO-EVICT")]
    {
        let refused = Request::command(cmd(command).arg(argument).arg("ON"));
        assert!(refused.is_err(), "{command} {argument}");
    }
    let blocking_read = cmd("XREAD").arg("BLOCK").arg(0).arg("STREAMS").arg("s").arg("$");
    for blocks in [blocking_read, cmd("BLPOP").arg("q").arg(0), cmd("brpop").arg("q").arg(0)] {
        let pipeline = Pipeline::new().command(get("k")).command(blocks);
        let refused = pipeline.into_request().expect_err("it holds up what follows");
        assert!(refused.instead.contains("send it alone"), "{refused}");
    }
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}

/// A pipeline goes to one connection, in one piece, under the load of others. PITFALL-02, INV-02, RULE-66
pub fn pipelines_are_one_unit(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(6);
    for turn in 0..20 {
        let (key, words) = (format!("k{turn}"), format!("value of {turn}"));
        let pipeline = Pipeline::new().command(set(&key, &words)).command(get(&key)).command(incr("n"));
        let replies = bed.pipeline(pipeline);
        assert_eq!(replies, [Frame::simple("OK"), Frame::bulk(words), Frame::Integer(turn + 1)]);
        let places: Vec<_> = [format!("SET {key}"), format!("GET {key}")]
            .iter()
            .flat_map(|words| bed.arrivals(words))
            .collect();
        assert!(places.len() == 2 && places[0] == places[1], "{places:?}");
    }
    bed.finish();
}

/// Transactions go on under load while the pool moves: each is wholly on one connection, and none is cut. PITFALL-02,
/// RULE-66
pub fn transactions_during_a_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(4);
    for turn in 1..=40 {
        if turn == 10 {
            bed.moving(bed.a, bed.b, 3);
        }
        if turn == 40 {
            // The others may all have been faster than the move.
            bed.run_until_all_at(bed.b);
        }
        let batch = Pipeline::atomic().command(incr("x")).command(incr("y"));
        let request = batch.into_request().expect("shared commands").expect("not empty");
        let ticket = bed.send_request(request);
        let replies = bed.wait(ticket).expect("it is executed");
        assert_eq!(replies[3], Frame::Array(vec![Frame::Integer(turn), Frame::Integer(turn)]));
    }
    let (begun, ended) = (bed.arrivals("MULTI"), bed.arrivals("EXEC"));
    assert_eq!(begun, ended, "each ends where it began");
    assert!(begun.last().is_some_and(|(at, _)| *at == bed.b), "the last one ran at the new node");
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// Who gives up gets nothing, and nobody else gets his reply. INV-02, PITFALL-03
pub fn cancelling_keeps_the_order(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    bed.slow_down(bed.a, millis(100));
    let tickets: Vec<_> = (0..30).map(|turn| bed.send(cmd("ECHO").arg(turn))).collect();
    let mut kept = Vec::new();
    for (turn, ticket) in tickets.into_iter().enumerate() {
        if turn % 3 == 0 {
            bed.cancel(ticket);
        } else {
            kept.push((turn, ticket));
        }
    }
    for (turn, ticket) in kept {
        assert_eq!(bed.reply(ticket), Frame::bulk(turn.to_string()));
    }
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}

/// A request that times out says whether it may have run; its reply comes later and is nobody else's. INV-02, PITFALL-03
pub fn timeouts_say_what_happened(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).command_timeout(Some(SECOND));
    bed.connect_with(settings);
    bed.rule(Rule::new(Fault::Delay(millis(600))).on("INCR"));
    let short = Request::command(incr("n")).expect("a shared command").timeout(millis(200));
    // The one before has woken whatever writes.
    let before = bed.send(cmd("ECHO").arg("first"));
    let (late, behind) = (bed.send_request(short), bed.send(cmd("ECHO").arg("mine")));
    let error = bed.error(late);
    assert_eq!(bed.reply(before), Frame::bulk("first"));
    assert_eq!(error, RequestError::TimedOut { after: millis(200), delivery: Delivery::Unknown });
    assert_eq!(bed.reply(behind), Frame::bulk("mine"));
    assert_eq!(bed.increments("n"), 1);
    assert_eq!(bed.count(|event| matches!(event, Event::RequestTimedOut { .. })), 1);

    bed.refuse(bed.a, None);
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.run_until_soon("it is lost", |bed| bed.stats().serving == 0);
    let parked = bed.send(incr("n"));
    let error = bed.error(parked);
    let RequestError::NoConnection { after: SECOND, delivery: Delivery::NotSent, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(bed.increments("n"), 1);
    bed.finish();
}

/// While nothing is connected requests wait, up to a limit, and go out in their order. INV-14, RULE-103
pub fn parked_requests(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().parked_requests(5).command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.refuse(bed.a, None);
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.run_until_soon("they are lost", |bed| bed.stats().serving == 0);
    let tickets: Vec<_> = (0..5).map(|_| bed.send(incr("n"))).collect();
    let request = Request::command(incr("n")).expect("a shared command");
    let error = bed.try_send(request).expect_err("there is room for five");
    assert!(matches!(error, SendError::Full(_) | SendError::NoConnection { .. }), "{error}");
    assert_eq!(bed.stats().parked, 5);
    bed.restore(bed.a);
    let again = error.into_request();
    for (expected, ticket) in (1..).zip(tickets) {
        assert_eq!(bed.reply(ticket), Frame::Integer(expected));
    }
    let ticket = bed.send_request(again);
    assert_eq!(bed.reply(ticket), Frame::Integer(6), "what was not accepted was given back");
    bed.run_until_whole();
    bed.finish();
}

/// More requests than may be under way are not accepted, and there is room again as soon as one is answered. INV-14
pub fn limit_of_requests_in_flight(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(2).requests_in_flight(8).command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.slow_down(bed.a, SECOND);
    let tickets: Vec<_> = (0..8).map(|_| bed.send(incr("n"))).collect();
    let request = Request::command(incr("n")).expect("a shared command");
    let error = bed.try_send(request).expect_err("there is room for eight");
    assert!(matches!(error, SendError::Full(_)), "{error}");
    for ticket in tickets {
        assert!(bed.reply(ticket).as_int().is_some());
    }
    assert_eq!(bed.call(incr("n")), Frame::Integer(9));
    bed.finish();
}

/// Requests do not take turns: they stay on the connection of those before, so that they travel together. RULE-156
pub fn requests_gather(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(3);
    for turn in 1..=20 {
        assert_eq!(bed.call(incr("n")), Frame::Integer(turn));
    }
    let arrivals = bed.arrivals("INCR");
    assert!(arrivals.iter().all(|place| *place == arrivals[0]), "{arrivals:?}");
    bed.finish();
}

/// A link on which nothing comes holds up those who have joined it, and nobody who comes later. When it goes on, they
/// have their replies. RULE-157
pub fn nobody_joins_a_silent_link(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(3).command_timeout(Some(SECOND * 30));
    bed.connect_with(settings);
    bed.call(set("k", "v"));
    let (_, silent) = bed.arrivals("SET")[0];
    bed.server(|server, now| server.stall(now, silent, now + SECOND * 2));
    let held_up = bed.send(get("k"));
    let since = bed.now();
    bed.run_for(millis(50));
    for turn in 1..=30 {
        assert_eq!(bed.call(incr("n")), Frame::Integer(turn));
    }
    assert!(bed.outcome(held_up).is_none() && bed.now() < since + SECOND * 2, "it is silent all the time");
    assert!(bed.arrivals("INCR").iter().all(|(_, conn)| *conn != silent));
    assert_eq!(bed.reply(held_up), Frame::bulk("v"));
    bed.finish();
}

/// A large value that is on its way holds up no small request, also after it was written: its server may take it slowly. RULE-170
pub fn small_requests_do_not_join_a_large_one(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(3).command_timeout(Some(SECOND * 30));
    bed.connect_with(settings);
    bed.call(set("k", "v"));
    let (_, slow) = bed.arrivals("SET")[0];
    bed.server(|server, now| server.stall(now, slow, now + SECOND * 2));
    let since = bed.now();
    let large = bed.send(set("large", &"x".repeat(100 * 1024)));
    bed.run_for(millis(5));
    for turn in 1..=5 {
        assert_eq!(bed.call(incr("n")), Frame::Integer(turn));
    }
    assert!(
        bed.outcome(large).is_none() && bed.now() < since + SECOND * 2,
        "it is not answered all the time"
    );
    assert!(bed.arrivals("INCR").iter().all(|(_, conn)| *conn != slow));
    assert_eq!(bed.reply(large), Frame::simple("OK"));
    bed.finish();
}

/// The connection is lost after the command ran and before its reply: a write fails and says that it may have run, a
/// read is done again, and what the caller calls idempotent as well. PITFALL-25, INV-05, RULE-86, RULE-87
pub fn only_reads_are_repeated(host: &dyn Host) {
    let lost = |command: &str| Rule::new(Fault::CloseUnanswered(CloseHow::Reset)).on(command);
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    bed.call(set("k", "v"));

    bed.rule(lost("INCR"));
    let write = bed.send(incr("n"));
    match bed.error(write) {
        RequestError::ConnectionLost {
            delivery: Delivery::Unknown,
            cause: CloseCause::Io(_) | CloseCause::ByServer,
        } => {}
        error => panic!("{error:?}"),
    }
    bed.run_until_whole();
    assert_eq!(bed.increments("n"), 1);

    bed.rule(lost("GET"));
    assert_eq!(bed.call(get("k")), Frame::bulk("v"));
    assert_eq!(bed.arrivals("GET").len(), 2);

    bed.rule(lost("SET"));
    let again = Request::command(set("k", "w")).expect("a shared command").replay(Replay::Idempotent);
    let ticket = bed.send_request(again);
    assert_eq!(bed.reply(ticket), Frame::simple("OK"));

    bed.rule(lost("EXEC"));
    let batch = Pipeline::atomic().command(get("k")).into_request().expect("shared").expect("not empty");
    let ticket = bed.send_request(batch.replay(Replay::Idempotent));
    let error = bed.error(ticket);
    assert_eq!(error.delivery(), Delivery::Unknown, "a transaction is never repeated");
    assert_eq!(bed.arrivals("EXEC").len(), 1);
    bed.finish();
}

/// SORT .. STORE, GETDEL and the like write: they are not repeated. PITFALL-40, PITFALL-25, RULE-86
pub fn arguments_decide_what_is_a_read(host: &dyn Host) {
    for command in [
        cmd("GETDEL").arg("k"),
        cmd("SORT").arg("k").arg("STORE").arg("d"),
        cmd("GETEX").arg("k").arg("PERSIST"),
    ] {
        let mut bed = Testbed::new(host);
        bed.connect_pool(1);
        bed.call(set("k", "v"));
        let name = String::from_utf8_lossy(command.name()).into_owned();
        bed.rule(Rule::new(Fault::CloseUnexecuted(CloseHow::Reset)).on(&name));
        let ticket = bed.send(command);
        assert_eq!(bed.error(ticket).delivery(), Delivery::Unknown, "{name}");
        bed.run_until_whole();
        assert_eq!(bed.arrivals(&name).len(), 1);
        bed.finish();
    }
}

/// Bytes that are no RESP, and a reply that nobody asked for, end the connection and nothing else.
pub fn a_broken_stream_is_replaced(host: &dyn Host) {
    for bytes in [&b"?what\r\n"[..], b"+OK\r\n", b"$-7\r\n"] {
        let mut bed = Testbed::new(host);
        bed.connect_pool(1);
        let conn = bed.connections(bed.a)[0];
        bed.server(|server, now| server.push_bytes(now, conn, bytes));
        let broken =
            |event: &&Event| matches!(event, Event::ConnectionClosed { cause: CloseCause::Protocol(_), .. });
        bed.run_until_soon("it is given up", |bed| bed.count(broken) == 1);
        bed.run_until_whole();
        assert_eq!(bed.call(incr("n")), Frame::Integer(1));
        bed.finish();
    }
}

/// Pushes that nobody knows go to those who asked for pushes, and shift no reply. PITFALL-43, PITFALL-44, PITFALL-32,
/// RULE-31
pub fn unknown_pushes_shift_nothing(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    let pushes = [
        push_frame(&["server-event", "1"]),
        push_frame(&["invalidate", "2"]),
        push_frame(&["moving", "3", "2", "a:1"]),
        Frame::Push(vec![Frame::Integer(7)]),
        Frame::Push(vec![]),
    ];
    bed.rule(Rule::new(Fault::Before(encoded(&pushes))).on("GET").always());
    bed.rule(Rule::new(Fault::After(encoded(&pushes))).on("ECHO").always());
    let tickets: Vec<_> = (0..20)
        .map(|turn: usize| {
            let word = turn.to_string();
            bed.send(set(&word, &word));
            (bed.send(get(&word)), bed.send(cmd("ECHO").arg(&word)), Frame::bulk(word))
        })
        .collect();
    for (got, echoed, word) in tickets {
        assert_eq!((bed.reply(got), bed.reply(echoed)), (word.clone(), word));
    }
    bed.run_until_soon("every push is handed on", |bed| bed.pushes().len() == 40 * pushes.len());
    for (expected, got) in pushes.iter().cycle().zip(bed.pushes()) {
        assert_eq!(expected, &Frame::Push(got.clone()));
    }
    assert_eq!(
        (bed.moves(), bed.count(|event| matches!(event, Event::NotificationMalformed { .. }))),
        (0, 0)
    );
    bed.finish();
}

/// Replies and pushes, cut at every byte: the same frames. PITFALL-32
pub fn any_split_of_the_stream(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    let stream = encoded(&[
        Frame::bulk("one"),
        push_frame(&["MIGRATED", "1", "[\"1\"]"]),
        Frame::Map(vec![(Frame::bulk("k"), Frame::Double(1.5))]),
        push_frame(&["news", "x"]),
        Frame::Integer(-42),
    ]);
    let conn = bed.connections(bed.a)[0];
    let four = NonZeroU32::MIN.saturating_add(3);
    for split in 0..=stream.len() {
        // The server answers one request; the replies behind that one are the case's, piece by piece.
        let ticket = bed.send_request(Request::raw(cmd("PING").into_bytes(), four));
        bed.run_until_soon("the request arrives", |bed| bed.arrivals("PING").len() == split + 1);
        for part in [stream.slice(..split), stream.slice(split..)] {
            bed.server(|server, now| server.push_bytes(now, conn, &part));
            bed.run_for(millis(2));
        }
        let replies = bed.wait(ticket).expect("four replies");
        let (pong, one) = (Frame::simple("PONG"), Frame::bulk("one"));
        assert_eq!((&replies[0], &replies[1]), (&pong, &one), "split at {split}");
        assert_eq!(replies[3], Frame::Integer(-42), "split at {split}");
    }
    assert_eq!(bed.pushes().len(), stream.len() + 1);
    bed.finish();
}
