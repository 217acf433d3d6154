//! Links that die, and requests that break the link which carries them.

use hitless_core::error::{CloseCause, Delivery, ProtocolError, RequestError};
use hitless_core::event::Event;
use hitless_core::request::{Pipeline, Request};
use resp3_codec::{Frame, Limit, Limits, cmd};

use crate::server::{CloseHow, Fault, Rule};
use crate::testbed::{SECOND, Testbed, get, incr, millis, set};
use crate::world::Host;

/// A link on which nothing is heard any more is replaced after three timeouts, whoever waits: callers that are told of their
/// timeout, or have one of their own, or have given up. RULE-105, RULE-140
pub fn a_silent_link_is_replaced(host: &dyn Host) {
    let asks: [fn(&mut Testbed); 3] = [
        |bed| {
            let ticket = bed.send(incr("n"));
            assert!(matches!(bed.error(ticket), RequestError::TimedOut { .. }));
        },
        |bed| {
            let request = Request::command(incr("n")).expect("a shared command").timeout(millis(120));
            let ticket = bed.send_request(request);
            assert_eq!(bed.error(ticket).delivery(), Delivery::Unknown);
        },
        |bed| {
            let ticket = bed.send(incr("n"));
            bed.run_until_soon("it arrives", |bed| bed.arrivals("INCR").len() == 1);
            bed.cancel(ticket);
        },
    ];
    for ask in asks {
        let mut bed = Testbed::new(host);
        let settings = bed.settings().pool_size(1).command_timeout(Some(millis(150)));
        bed.connect_with(settings);
        let conn = bed.connections(bed.a)[0];
        bed.server(|server, now| server.stall(now, conn, now + SECOND * 60));
        ask(&mut bed);
        let silent =
            |event: &&Event| matches!(event, Event::ConnectionClosed { cause: CloseCause::Silent, .. });
        bed.run_until_soon("it is given up", |bed| bed.count(silent) == 1);
        bed.run_until_whole();
        let other = bed.send_within(SECOND * 5, incr("other"));
        assert_eq!(bed.reply(other), Frame::Integer(1));
        assert_eq!(bed.increments("n"), 1);
        bed.finish();
    }
}

/// Who has set no limit is not cut off by the rule on dead links, though others have another link by then. RULE-142
pub fn a_patient_caller_is_not_cut_off(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).command_timeout(None).dead_link_timeout(Some(millis(300)));
    bed.connect_with(settings);
    bed.rule(Rule::new(Fault::Delay(millis(1500) + bed.slack())).on("INCR"));
    let patient = bed.send(incr("slow"));
    bed.run_until_soon("another link serves", |bed| bed.cut_overs() == 1);
    assert_eq!(bed.call(get("k")), Frame::Null);
    assert_eq!(bed.reply(patient), Frame::Integer(1));
    assert_eq!(bed.increments("slow"), 1);
    bed.run_until_soon("the old link has ended", |bed| bed.connections(bed.a).len() == 1);
    bed.finish();
}

/// The server answers nothing for a while, not even a handshake: the links stay, requests wait, and all goes on when it does.
/// RULE-140
pub fn a_server_that_pauses_keeps_its_links(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(2).command_timeout(Some(millis(150)));
    bed.connect_with(settings);
    let before = bed.connections(bed.a);
    bed.black_hole(bed.a, None);
    for conn in &before {
        bed.server(|server, now| server.stall(now, *conn, now + SECOND * 2));
    }
    for _ in 0..2 {
        let ticket = bed.send(incr("n"));
        assert!(matches!(bed.error(ticket), RequestError::TimedOut { .. }));
    }
    bed.run_until_soon("no link takes requests", |bed| bed.stats().serving == 0);
    let parked = Request::command(incr("n")).expect("a shared command").timeout(SECOND * 8);
    let ticket = bed.send_request(parked);
    assert_eq!(bed.reply(ticket), Frame::Integer(3));
    assert_eq!(bed.connections(bed.a), before);
    bed.restore(bed.a);
    bed.run_until_whole();
    bed.finish();
}

/// A read that breaks every link which carries it is sent again twice, alone each time, and fails with the cause. The others lose
/// what was on the first link and nothing else. RULE-143, RULE-145
pub fn a_read_that_breaks_its_link(host: &dyn Host) {
    let reads = [
        Request::command(cmd("SCAN").arg(0)).expect("a shared command"),
        Pipeline::new()
            .command(cmd("SCAN").arg(0))
            .command(get("k"))
            .into_request()
            .expect("shared")
            .expect("two"),
    ];
    for read in reads {
        let mut bed = Testbed::new(host);
        let settings = bed.settings().command_timeout(Some(SECOND * 10));
        bed.connect_with(settings);
        bed.rule(Rule::new(Fault::CloseUnexecuted(CloseHow::Fin)).on("SCAN").always());
        bed.start_load(6);
        let ticket = bed.send_request(read);
        match bed.error(ticket) {
            RequestError::ConnectionLost {
                delivery: Delivery::Unknown,
                cause: CloseCause::ByServer | CloseCause::Io(_),
            } => {}
            error => panic!("{error:?}"),
        }
        let arrivals = bed.arrivals("SCAN");
        assert_eq!(arrivals.len(), 3, "once, and twice again");
        for (_, conn) in &arrivals[1..] {
            let words = bed.requests_on(*conn);
            let last = words.iter().rposition(|words| words.contains("SCAN")).expect("it arrived there");
            assert!(words[last + 1..].iter().all(|words| words.contains("GET \"k\"")), "alone: {words:?}");
        }
        bed.run_until_whole();
        bed.stop_load();
        let errors = bed.load().errors().to_vec();
        assert!(errors.len() <= 6, "no task lost more than what it had on the first link: {errors:?}");
        bed.finish();
    }
}

/// A reply that is beyond the limits breaks its link whenever it comes: the request fails at once, with that cause, and runs once.
/// What was behind it is read again elsewhere. RULE-143
pub fn a_reply_beyond_the_limits(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let limits = Limits::default().bulk_bytes(1024);
    let settings = bed.settings().pool_size(1).reply_limits(limits).command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.call(set("small", "v"));
    bed.call(set("large", &"x".repeat(2048)));
    let (large, small) = (bed.send(get("large")), bed.send(get("small")));
    let cause = CloseCause::Protocol(ProtocolError::Limit { limit: Limit::BulkBytes, allowed: 1024 });
    assert_eq!(bed.error(large), RequestError::ConnectionLost { cause, delivery: Delivery::Unknown });
    assert_eq!(bed.reply(small), Frame::bulk("v"));
    assert_eq!(bed.arrivals("GET large").len(), 1);
    bed.run_until_whole();
    assert_eq!(bed.count(|event| matches!(event, Event::ConnectionClosed { .. })), 1);
    bed.finish();
}

/// With one connection everybody waits behind the request that is sent again, and is served when it is answered. RULE-145
pub fn everybody_waits_behind_a_replay(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.rule(Rule::new(Fault::CloseUnanswered(CloseHow::Reset)).on("GET"));
    bed.rule(Rule::new(Fault::Delay(SECOND * 3)).on("GET").skipping(1));
    let read = bed.send(get("k"));
    bed.run_until_soon("it is sent again", |bed| bed.arrivals("GET").len() == 2);
    let others: Vec<_> = (0..5).map(|_| bed.send(incr("n"))).collect();
    bed.run_for(millis(50));
    assert_eq!(bed.increments("n"), 0, "they wait");
    assert_eq!(bed.reply(read), Frame::Null);
    for (expected, other) in (1..).zip(others) {
        assert_eq!(bed.reply(other), Frame::Integer(expected));
    }
    assert_eq!(bed.arrivals("GET").len(), 2);
    bed.finish();
}
