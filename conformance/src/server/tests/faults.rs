use bytes::Bytes;
use resp3_codec::Frame;

use super::*;

fn encoded(frames: &[Frame]) -> Bytes {
    let mut buf = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut buf));
    buf.freeze()
}

#[test]
fn a_push_comes_before_the_reply_to_a_handshake_command() {
    let mut lab = Lab::new();
    let push = encoded(&[push_frame(&["MOVING", "1", "15", "10.0.0.2:6379"])]);
    lab.server.add_rule(Rule::new(Fault::Before(push)).on("HELLO"));
    let conn = lab.dial(lab.a);
    let answer = lab.ask(conn, "HELLO 3");
    assert!(answer.starts_with(">4\r\n$6\r\nMOVING\r\n:1\r\n:15\r\n$13\r\n10.0.0.2:6379\r\n%7"), "{answer}");
    assert!(lab.ask(conn, "HELLO 3").starts_with("%7"), "once");
}

#[test]
fn a_push_comes_between_the_replies_of_a_transaction() {
    let mut lab = Lab::new();
    let conn = lab.opted_in(lab.a);
    lab.server.add_rule(Rule::new(Fault::After(encoded(&[push_frame(&["X"])]))).on("INCR").skipping(1));
    lab.send(conn, "MULTI");
    lab.send(conn, "INCR a");
    lab.send(conn, "INCR a");
    assert_eq!(lab.ask(conn, "EXEC"), "+OK\r\n+QUEUED\r\n+QUEUED\r\n>1\r\n$1\r\nX\r\n*2\r\n:1\r\n:2\r\n");
}

#[test]
fn half_a_push_can_be_sent() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    lab.server.push_bytes(lab.now, conn, b">2\r\n$6\r\nMOV");
    assert_eq!(lab.read(conn), ">2\r\n$6\r\nMOV");
    lab.server.push_bytes(lab.now, conn, b"ING\r\n:1\r\n");
    assert_eq!(lab.read(conn), "ING\r\n:1\r\n");
}

#[test]
fn a_connection_can_end_before_execution_before_the_reply_or_after_it() {
    for (fault, executed, answer) in [
        (Fault::CloseUnexecuted(CloseHow::Reset), 0, ""),
        (Fault::CloseUnanswered(CloseHow::Reset), 1, ""),
        (Fault::CloseAnswered(CloseHow::Fin), 1, ":1\r\n"),
    ] {
        let mut lab = Lab::new();
        lab.server.add_rule(Rule::new(fault.clone()).on("INCR").at(lab.a));
        let conn = lab.dial(lab.a);
        assert_eq!(lab.ask(conn, "INCR a"), answer, "{fault:?}");
        assert_eq!(lab.server.ledger().executions("INCR", b"a").count(), executed, "{fault:?}");
        assert_eq!(lab.closes().len(), 1);
        assert!(matches!(lab.server.ledger().closed(conn), Some((_, ClosedBy::Server))));
    }
}

#[test]
fn a_refused_request_keeps_its_place_in_the_order() {
    let mut lab = Lab::new();
    lab.server
        .add_rule(Rule::new(Fault::Refuse(Frame::error("LOADING later"))).on("INCR").skipping(1).times(2));
    let (conn, pusher) = (lab.dial(lab.a), lab.dial(lab.a));
    lab.send(conn, "BLPOP q 0");
    for _ in 0..4 {
        lab.send(conn, "INCR a");
    }
    assert_eq!(lab.read(conn), "");
    lab.ask(pusher, "RPUSH q x");
    assert_eq!(
        lab.read(conn),
        "*2\r\n$1\r\nq\r\n$1\r\nx\r\n:1\r\n-LOADING later\r\n-LOADING later\r\n:2\r\n"
    );
    assert_eq!(lab.server.ledger().executions("INCR", b"a").count(), 2);
}

#[test]
fn rules_can_strike_always_and_be_cleared() {
    let mut lab = Lab::new();
    let (struck, spared) = (lab.dial(lab.a), lab.dial(lab.a));
    lab.server.add_rule(Rule::new(Fault::Instead(Frame::error("ERR no"))).of(struck).always());
    assert_eq!(lab.ask(struck, "PING"), "-ERR no\r\n");
    assert_eq!(lab.ask(struck, "PING"), "-ERR no\r\n");
    assert_eq!(lab.ask(spared, "PING"), "+PONG\r\n");
    lab.server.clear_rules();
    assert_eq!(lab.ask(struck, "PING"), "+PONG\r\n");
}

#[test]
fn slow_replies_keep_their_order_and_notifications_overtake_them() {
    let mut lab = Lab::new();
    let conn = lab.opted_in(lab.a);
    lab.server.set_reply_delay(lab.a, SECOND, Some(lab.now + SECOND));
    assert_eq!(lab.ask(conn, "INCR a"), "");
    assert_eq!(
        lab.server.ledger().executions("INCR", b"a").count(),
        1,
        "late is the reply, not the execution"
    );
    lab.server.migrating(lab.now, Notice::new(SECOND));
    assert!(lab.read(conn).starts_with(">4\r\n$9\r\nMIGRATING"));
    lab.pass(SECOND / 2);
    lab.send(conn, "INCR a");
    lab.pass(SECOND / 2);
    assert_eq!(lab.server.poll_ready(), Some(conn));
    assert_eq!(lab.read(conn), ":1\r\n");
    assert_eq!(lab.ask(conn, "INCR a"), "", "the delay is over, but not for what went before");
    lab.pass(SECOND / 2);
    assert_eq!(lab.read(conn), ":2\r\n:3\r\n");
}

#[test]
fn a_kill_loses_late_replies_and_quit_does_not() {
    let mut lab = Lab::new();
    let (killed, quitting) = (lab.dial(lab.a), lab.dial(lab.a));
    lab.server.set_reply_delay(lab.a, SECOND, None);
    assert_eq!(lab.ask(killed, "PING"), "");
    assert_eq!(lab.ask(quitting, "QUIT"), "");
    lab.server.kill(lab.now, killed, CloseHow::Fin);
    assert_eq!(lab.closes(), [(killed, CloseHow::Fin)]);
    lab.pass(SECOND);
    assert_eq!(lab.closes(), [], "not before the reply is out");
    assert_eq!(lab.read(quitting), "+OK\r\n");
    assert_eq!(lab.closes(), [(quitting, CloseHow::Fin)]);
}

#[test]
fn a_stalled_connection_sends_nothing_until_then() {
    let mut lab = Lab::new();
    let conn = lab.opted_in(lab.a);
    lab.send(conn, "PING");
    lab.server.stall(lab.now, conn, lab.now + SECOND);
    lab.server.migrating(lab.now, Notice::new(SECOND));
    assert_eq!(lab.ask(conn, "INCR a"), "");
    lab.pass(SECOND);
    let answer = lab.read(conn);
    assert!(answer.starts_with("+PONG\r\n>4\r\n$9\r\nMIGRATING") && answer.ends_with(":1\r\n"), "{answer}");
}

#[test]
fn dials_are_refused_or_left_unanswered_for_a_time() {
    let mut lab = Lab::new();
    lab.server.refuse_dials(lab.now, lab.a, Some(lab.now + SECOND));
    lab.server.black_hole(lab.now, lab.b, Some(lab.now + SECOND));
    assert_eq!(lab.server.accept(lab.now, lab.a), Err(DialRefused::Refused));
    assert_eq!(lab.server.accept(lab.now, lab.b), Err(DialRefused::Unanswered));
    assert_eq!(lab.server.poll_timeout(), Some(lab.now + SECOND), "the carrier is told when to look again");
    lab.pass(SECOND);
    lab.dial(lab.a);
    lab.dial(lab.b);
    let dials: Vec<_> = lab.server.ledger().dials(lab.a).map(|(_, listening)| listening).collect();
    assert_eq!(dials, [Listening::Refusing, Listening::Accepting]);
}

#[test]
fn a_rule_strikes_what_holds_its_text_until_its_time_is_over() {
    let mut lab = Lab::new();
    let rule = Rule::new(Fault::Refuse(Frame::error("ERR no"))).on("GET").holding(".bad");
    lab.server.add_rule(rule.always().until(lab.now + SECOND));
    let conn = lab.dial(lab.a);
    assert_eq!(lab.ask(conn, "GET x.bad.1"), "-ERR no\r\n");
    assert_eq!(lab.ask(conn, "GET x.good"), "$-1\r\n");
    lab.now += SECOND;
    assert_eq!(lab.ask(conn, "GET x.bad.1"), "$-1\r\n");
}

#[test]
fn connections_end_when_their_time_is_over() {
    let mut lab = Lab::new();
    let older = lab.dial(lab.a);
    lab.server.close_after(lab.a, SECOND, None);
    let conn = lab.dial(lab.a);
    assert!(lab.ask(conn, "HELLO 3").starts_with('%'), "the handshake is answered");
    lab.now += SECOND;
    lab.server.handle_timeout(lab.now);
    assert_eq!(lab.closes(), [(conn, CloseHow::Fin)]);
    lab.server.restore(lab.a);
    lab.dial(lab.a);
    lab.now += SECOND;
    lab.server.handle_timeout(lab.now);
    assert!(lab.closes().is_empty());
    assert_eq!(lab.ask(older, "PING"), "+PONG\r\n");
}

#[test]
fn attributes_stand_before_replies_and_pushes_and_inside_of_them() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    lab.server.add_attributes(lab.a, None);
    let attribute = "|1\r\n$14\r\nkey-popularity\r\n:90\r\n";
    assert_eq!(lab.ask(conn, "PING"), "+PONG\r\n", "RESP2 has none");
    assert!(lab.ask(conn, "HELLO 3").starts_with(&format!("{attribute}%7\r\n")));
    lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON");
    lab.server.migrated(lab.now, Notice::default().with_seq(3));
    let shards = "$5\r\n[\"1\"]\r\n";
    assert_eq!(lab.read(conn), format!("{attribute}>3\r\n$8\r\nMIGRATED\r\n:3\r\n{attribute}{shards}"));
    lab.server.restore(lab.a);
    assert_eq!(lab.ask(conn, "PING"), "+PONG\r\n");
}
