//! Commands that block, and futures of them that are dropped.

use std::sync::{Arc, Mutex};

use super::*;

/// What `on_orphan` was given, with the names of the commands.
type Orphans = Arc<Mutex<Vec<(&'static str, Frame)>>>;

fn taker() -> (Fixture, Client<Executor>, Orphans) {
    let mut fixture = fixture();
    let orphans = Orphans::default();
    let kept = Arc::clone(&orphans);
    let builder = builder(&fixture)
        .max_dedicated(1)
        .on_orphan(move |orphan| kept.lock().unwrap().push((orphan.command, orphan.reply)));
    let client = fixture.block_on(builder.connect()).unwrap();
    (fixture, client, orphans)
}

/// Sends `command`, and has its reply come.
fn answered(fixture: &mut Fixture, client: &Client<Executor>, command: &[&str]) -> Reply<Executor> {
    let request = Request::command(cmd(command[0]).args(&command[1..])).unwrap();
    let reply = client.send(request).unwrap();
    fixture.run();
    assert_eq!(client.stats().blocking, 0, "it is answered");
    reply
}

/// What BLPOP answers.
fn pair(element: &'static str) -> Frame {
    Frame::Array(vec![Frame::bulk("q"), Frame::bulk(element)])
}

/// A future may be dropped after its reply has come and before it is polled: its element goes to `on_orphan`. RULE-252
#[test]
fn an_element_that_nobody_polls_is_handed_out() {
    let (mut fixture, client, orphans) = taker();
    fixture.block_on(client.call(cmd("RPUSH").args(["q", "1", "2"]))).unwrap();

    let dropped = answered(&mut fixture, &client, &["BLPOP", "q", "0"]);
    drop(dropped);
    assert_eq!(std::mem::take(&mut *orphans.lock().unwrap()), [("BLPOP", pair("1"))]);

    let polled = answered(&mut fixture, &client, &["BLPOP", "q", "0"]);
    assert_eq!(fixture.block_on(polled).unwrap()[0], pair("2"));
    assert!(orphans.lock().unwrap().is_empty());

    let empty = client.send(Request::command(cmd("BLPOP").args(["q", "1"])).unwrap()).unwrap();
    fixture.pass(Duration::from_secs(2));
    assert_eq!(client.stats().blocking, 0, "it is answered");
    drop(empty);
    assert!(orphans.lock().unwrap().is_empty(), "nothing was taken");
}

/// A command whose reply nobody wants runs, and what it takes is handed out. RULE-252
#[test]
fn an_element_that_nobody_wants_is_handed_out() {
    let (mut fixture, mut client, orphans) = taker();
    let mut command = redis::cmd("BLPOP");
    command.arg("q").arg(0).set_no_response(true);
    let done = poll_once(command.query_async::<redis::Value>(&mut client));
    assert_eq!(done, Poll::Ready(Ok(redis::Value::Nil)));
    fixture.run();
    assert_eq!(client.stats().blocking, 1, "it is not cancelled");
    fixture.block_on(client.call(cmd("RPUSH").args(["q", "1"]))).unwrap();
    fixture.run();
    assert_eq!(std::mem::take(&mut *orphans.lock().unwrap()), [("BLPOP", pair("1"))]);

    let empty = redis::cmd("BLPOP").arg("q").arg(1).set_no_response(true).clone();
    fixture.block_on(empty.query_async::<redis::Value>(&mut client)).unwrap();
    fixture.pass(Duration::from_secs(2));
    assert_eq!(client.stats().blocking, 0, "it is answered");
    assert!(orphans.lock().unwrap().is_empty(), "nothing was taken");
}

/// On a lease nothing is called back, and what is dropped there is no orphan: it may only have been queued. RULE-252
#[test]
fn what_is_queued_on_a_lease_is_no_orphan() {
    let (mut fixture, client, orphans) = taker();
    let lease = fixture.block_on(client.lease()).unwrap();
    fixture.block_on(lease.call(cmd("MULTI"))).unwrap();
    let queued = lease.send(Request::command(cmd("BLPOP").args(["q", "0"])).unwrap()).unwrap();
    fixture.run();
    drop(queued);
    let replies = fixture.block_on(lease.call(cmd("EXEC"))).unwrap();
    assert_eq!(replies, Frame::Array(vec![Frame::Null]), "it was queued, and does not block");
    assert!(orphans.lock().unwrap().is_empty());
}
