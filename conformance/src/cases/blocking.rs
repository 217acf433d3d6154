//! Commands that block: consumers of lists, which move without losing or repeating an element.

use std::collections::BTreeSet;

use hitless_core::error::{Delivery, RequestError};
use resp3_codec::{Command, Frame, cmd};

use crate::server::{Condition, Fault, Rule};
use crate::testbed::{SECOND, Testbed, millis};
use crate::world::{Host, Ticket};

fn blpop(queue: &str, seconds: &str) -> Command {
    cmd("BLPOP").arg(queue).arg(seconds)
}

/// A producer that waits long enough, however short the timeouts of the client are.
fn rpush(bed: &mut Testbed, queue: &str, element: &str) {
    let ticket = bed.send_within(SECOND * 5, cmd("RPUSH").arg(queue).arg(element));
    bed.reply(ticket);
}

fn popped(queue: &str, element: &str) -> Frame {
    Frame::Array(vec![Frame::bulk(queue.to_owned()), Frame::bulk(element.to_owned())])
}

/// Sends a command and waits until so many of them have arrived.
fn consume(bed: &mut Testbed, command: Command, arrived: usize) -> Ticket {
    let ticket = bed.send(command);
    await_arrivals(bed, arrived);
    ticket
}

fn await_arrivals(bed: &mut Testbed, arrived: usize) {
    bed.run_until_soon("the consumers wait", |bed| bed.arrivals("BLPOP").len() >= arrived);
}

/// A command that blocks has a connection of its own, which holds up nobody and is used again; the timeouts of the client do not cut it
/// short. RULE-210, RULE-247, PITFALL-11, PITFALL-26
pub fn connections_of_their_own(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).max_dedicated(2).command_timeout(Some(millis(50)));
    bed.connect_with(settings);
    let endless = consume(&mut bed, blpop("q", "0"), 1);
    let ping = bed.send_within(SECOND * 5, cmd("PING"));
    assert_eq!(bed.reply(ping), Frame::simple("PONG"));
    bed.run_for(millis(400));
    rpush(&mut bed, "q", "v");
    assert_eq!(bed.reply(endless), popped("q", "v"));
    let nothing = bed.send(blpop("q", "0.3"));
    assert_eq!(bed.reply(nothing), Frame::Null);
    let conns: BTreeSet<_> = bed.arrivals("BLPOP").into_iter().collect();
    assert_eq!(conns.len(), 1);
    let [one, other, third] = ["q", "r", "s"].map(|queue| bed.send(blpop(queue, "0")));
    await_arrivals(&mut bed, 4);
    for (ticket, queue) in [(one, "q"), (other, "r"), (third, "s")] {
        rpush(&mut bed, queue, queue);
        assert_eq!(bed.reply(ticket), popped(queue, queue), "in the order of arrival");
    }
    bed.finish();
}

/// A consumer that waits is taken along by a move, long before its deadline, and gets what is pushed afterwards. INV-21, INV-03,
/// RULE-248, RULE-249
pub fn a_consumer_moves(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(2);
    bed.connect_with(settings);
    let (a, b) = (bed.a, bed.b);
    let consumer = consume(&mut bed, blpop("q", "20"), 1);
    bed.moving(a, b, 10);
    await_arrivals(&mut bed, 2);
    assert_eq!(bed.arrivals("BLPOP")[1].0, b);
    bed.run_until_all_gone_from_a();
    rpush(&mut bed, "q", "v");
    assert_eq!(bed.reply(consumer), popped("q", "v"));
    assert_eq!(bed.server(|server, _| server.ledger().executions("BLPOP", b"q").count()), 1);
    bed.finish();
}

/// Consumers and producers at work while the server moves twice: each element is consumed once, and nobody sees an error.
/// INV-21, INV-03
pub fn consumers_and_producers_through_moves(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let nodes = [bed.a, bed.b, bed.c];
    let mut consumers: Vec<Ticket> = (0..4).map(|_| bed.send(blpop("q", "0"))).collect();
    await_arrivals(&mut bed, 4);
    let mut consumed: Vec<String> = Vec::new();
    let mut pushed = 0;
    for (from, to) in [(nodes[0], nodes[1]), (nodes[1], nodes[2])] {
        bed.moving(from, to, 5);
        for _ in 0..25 {
            rpush(&mut bed, "q", &pushed.to_string());
            pushed += 1;
            collect(&mut bed, &mut consumers, &mut consumed);
            bed.run_for(millis(2));
        }
        bed.run_until("everything has moved", 4 * SECOND, |bed| bed.connections(from).is_empty());
    }
    while consumed.len() < pushed {
        let before = consumed.len();
        bed.run_until_soon("a consumer is served", |bed| {
            collect(bed, &mut consumers, &mut consumed);
            consumed.len() > before
        });
    }
    let different: BTreeSet<&String> = consumed.iter().collect();
    assert_eq!((consumed.len(), different.len()), (pushed, pushed), "each once");
    for consumer in consumers {
        bed.cancel(consumer);
    }
    bed.finish();
}

/// Takes what consumers have got, and lets them go on.
fn collect(bed: &mut Testbed, consumers: &mut [Ticket], consumed: &mut Vec<String>) {
    for consumer in consumers {
        if bed.finished_at(*consumer).is_some() {
            consumed.push(element(&bed.reply(*consumer)));
            *consumer = bed.send(blpop("q", "0"));
        }
    }
}

fn element(reply: &Frame) -> String {
    let words = reply.as_array().expect("a key and an element");
    words[1].as_str().expect("text").to_owned()
}

/// Where the server does not let clients be sent away, a consumer waits on the retiring node until its deadline: what is popped by then
/// is delivered, and after that nobody knows. RULE-250, INV-06
pub fn a_server_that_refuses_to_unblock(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let (a, b) = (bed.a, bed.b);
    let no_rights = Frame::error("NOPERM no permissions to run the 'client|unblock' command");
    bed.rule(Rule::new(Fault::Refuse(no_rights)).on("CLIENT UNBLOCK").always());
    let lucky = consume(&mut bed, blpop("q", "0"), 1);
    let other = consume(&mut bed, blpop("r", "0"), 2);
    bed.moving(a, b, 3);
    // The first refusal may keep the client from asking again.
    bed.run_until_soon("one is called back", |bed| !bed.arrivals("CLIENT UNBLOCK").is_empty());
    rpush(&mut bed, "q", "v");
    assert_eq!(bed.reply(lucky), popped("q", "v"));
    let error = bed.error(other);
    assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    assert_eq!(bed.arrivals("BLPOP").len(), 2, "nothing is sent again");
    bed.finish();
}

/// A caller that gives up is taken out of the line: the next element is somebody else's, and the connection is used again. RULE-252
pub fn a_consumer_that_gives_up(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1);
    bed.connect_with(settings);
    let consumer = consume(&mut bed, blpop("q", "0"), 1);
    bed.cancel(consumer);
    bed.run_until_soon("it is called back", |bed| bed.stats().leased == 0);
    rpush(&mut bed, "q", "v");
    assert_eq!(bed.call(cmd("LLEN").arg("q")), Frame::Integer(1));
    assert_eq!(bed.call(blpop("q", "0")), popped("q", "v"));
    let conns: BTreeSet<_> = bed.arrivals("BLPOP").into_iter().collect();
    assert_eq!(conns.len(), 1);
    bed.finish();
}

/// A shutdown calls consumers back, and they are told that nothing was taken. RULE-253, PITFALL-13
pub fn a_shutdown_takes_nothing(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let consumer = consume(&mut bed, blpop("q", "0"), 1);
    let before = bed.now();
    bed.shutdown(10 * SECOND);
    assert!(bed.now() - before < 5 * SECOND);
    let error = RequestError::ShutDown { delivery: Delivery::NotSent };
    assert_eq!(bed.error(consumer), error);
    assert_eq!(bed.server(|server, _| server.ledger().executions("BLPOP", b"q").count()), 0);
    bed.finish();
}

/// A server that is demoted sends consumers away by itself, which proves that they got nothing: they wait at the new master. INV-21,
/// RULE-249
pub fn a_demotion_takes_nothing(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let (a, b) = (bed.a, bed.b);
    let consumer = consume(&mut bed, blpop("q", "0"), 1);
    bed.moving(a, b, 10);
    bed.server(|server, now| server.set_condition(now, a, Condition::ReadOnly));
    bed.run_until_all_gone_from_a();
    await_arrivals(&mut bed, 2);
    rpush(&mut bed, "q", "v");
    assert_eq!(bed.reply(consumer), popped("q", "v"));
    bed.finish();
}

/// A pause of the server holds up two consumers while their node moves, and the server says of both that it has sent them away. One takes an
/// element there when the pause is over, the other one finds none and moves: each element is consumed once. INV-21, RULE-249, RULE-293
pub fn a_pause_holds_consumers_up(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let (a, b) = (bed.a, bed.b);
    bed.server(|server, now| server.set_condition(now, a, Condition::Paused));
    let lucky = consume(&mut bed, blpop("q", "20"), 1);
    let other = consume(&mut bed, blpop("r", "20"), 2);
    bed.moving(a, b, 10);
    bed.run_until_soon("they are called back", |bed| bed.arrivals("CLIENT UNBLOCK").len() >= 2);
    bed.run_until_soon("the pool has moved", |bed| bed.cut_overs() >= 3);
    rpush(&mut bed, "q", "v");
    bed.run_for(millis(100));
    assert_eq!(bed.arrivals("BLPOP").len(), 2, "none is sent again while it may still run");
    bed.server(|server, now| server.set_condition(now, a, Condition::Serving));
    assert_eq!(bed.reply(lucky), popped("q", "v"));
    await_arrivals(&mut bed, 3);
    assert_eq!(bed.arrivals("BLPOP")[2].0, b);
    bed.run_until_all_gone_from_a();
    for element in ["w", "x"] {
        rpush(&mut bed, "r", element);
    }
    assert_eq!(bed.reply(other), popped("r", "w"));
    assert_eq!(bed.call(cmd("LLEN").arg("r")), Frame::Integer(1));
    let consumed = ["q", "r"]
        .map(|queue| bed.server(|server, _| server.ledger().executions("BLPOP", queue.as_bytes()).count()));
    assert_eq!(consumed, [1, 1]);
    bed.finish();
}
