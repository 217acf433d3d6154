//! Leases and transactions, as an application has them.

use hitless_core::config::WhenFull;
use hitless_core::driver::{Lease, LeaseNotice};
use hitless_core::error::LeaseError;

use hitless_conformance::server::{CloseHow, Condition, Fault, Notice, Rule};

use super::*;

/// A client that lends one connection.
fn lender() -> (Fixture, Client<Executor>) {
    let mut fixture = fixture();
    let client = fixture.block_on(builder(&fixture).max_dedicated(1).connect()).unwrap();
    (fixture, client)
}

/// The same, which is told of maintenance.
fn told_lender() -> (Fixture, Client<Executor>) {
    let mut fixture = fixture();
    let builder = builder(&fixture).maintenance(maintenance::Config::default()).max_dedicated(1);
    let client = fixture.block_on(builder.connect()).unwrap();
    (fixture, client)
}

fn take(fixture: &mut Fixture, client: &Client<Executor>) -> Lease<Executor> {
    fixture.block_on(client.lease()).unwrap()
}

fn words(words: &str) -> resp3_codec::Command {
    let mut words = words.split(' ');
    cmd(words.next().unwrap()).args(words)
}

fn call(fixture: &mut Fixture, lease: &Lease<Executor>, command: &str) -> Frame {
    fixture.block_on(lease.call(words(command))).unwrap()
}

/// Clones are handles to one connection, and so is a reply that is awaited: it goes to the next caller with the last of them. RULE-200
#[test]
fn a_lease_ends_with_its_last_clone() {
    let (mut fixture, client) = lender();
    let lease = take(&mut fixture, &client);
    let clone = lease.clone();
    drop(lease);
    let reply = clone.send(echo("x")).unwrap();
    drop(clone);
    let mut next = Box::pin(client.lease());
    assert!(poll_once(next.as_mut()).is_pending());
    assert_eq!(fixture.block_on(reply).unwrap()[0], Frame::bulk("x"));
    fixture.block_on(next).unwrap();
    assert_eq!(fixture.dialled().len(), 2, "one for the pool, one that is lent");
}

/// Dropping the future of a lease gives up its place in the queue, or its connection if that was there already. RULE-201
#[test]
fn a_wish_that_is_dropped_blocks_nobody() {
    let (mut fixture, client) = lender();
    let held = take(&mut fixture, &client);
    let mut dropped = Box::pin(client.lease());
    let mut granted = Box::pin(client.lease());
    let mut last = Box::pin(client.lease());
    for wish in [dropped.as_mut(), granted.as_mut(), last.as_mut()] {
        assert!(poll_once(wish).is_pending());
    }
    drop(dropped);
    drop(held);
    assert_eq!(client.stats().leased, 1, "the second has it, and has not looked yet");
    drop(granted);
    fixture.block_on(last).unwrap();
    assert_eq!((client.stats().leased, client.stats().waiting_for_lease), (0, 0));
}

/// A call that is dropped before its reply has come closes the connection, so that the next caller does not wait for that. RULE-203
#[test]
fn a_call_that_is_dropped_closes_the_connection() {
    let (mut fixture, client) = lender();
    let lease = take(&mut fixture, &client);
    let mut blocked = Box::pin(lease.call(words("BLPOP q 0")));
    assert!(poll_once(blocked.as_mut()).is_pending());
    fixture.run();
    drop(blocked);
    drop(lease);
    fixture.run();
    assert_eq!(client.stats().dedicated, 0);
    let next = take(&mut fixture, &client);
    assert_eq!(call(&mut fixture, &next, "PING"), Frame::simple("PONG"));
    assert_eq!(fixture.dialled().len(), 3);
}

/// A lease is refused what has no reply of its own, and the shared client names the lease for the rest. RULE-203
#[test]
fn what_no_lease_carries() {
    let (mut fixture, client) = lender();
    let lease = take(&mut fixture, &client);
    let error = fixture.block_on(lease.call(words("SUBSCRIBE c"))).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    for (command, help) in [("WATCH k", "client.transaction"), ("SELECT 1", "client.lease()")] {
        let error = fixture.block_on(client.call(words(command))).unwrap_err();
        assert!(error.to_string().contains(help), "{error}");
        assert_eq!(error.delivery(), Some(Delivery::NotSent));
    }
    let watch = Request::leased(words("WATCH k")).unwrap();
    assert!(matches!(client.send(watch), Err(SendError::NeedsLease(_))));
}

/// Calls on a lease wait for room as those of the pool do. RULE-119
#[test]
fn calls_on_a_lease_wait_for_room() {
    let mut fixture = fixture();
    let builder = builder(&fixture).requests_in_flight(1).when_full(WhenFull::Wait).command_timeout(None);
    let client = fixture.block_on(builder.connect()).unwrap();
    let lease = take(&mut fixture, &client);
    fixture.answer_nothing();
    let first = lease.send(echo("1")).unwrap();
    assert!(matches!(lease.send(echo("2")), Err(SendError::Full(_))));
    let mut second = Box::pin(lease.request(echo("2")));
    assert!(poll_once(second.as_mut()).is_pending());
    fixture.run();
    fixture.say(b"$1\r\n1\r\n");
    fixture.block_on(first).unwrap();
    assert!(poll_once(second.as_mut()).is_pending());
    fixture.run();
    fixture.say(b"$1\r\n2\r\n");
    assert_eq!(fixture.block_on(second).unwrap()[0], Frame::bulk("2"));
}

/// The holder hears of the end of its connection, whether it asks or waits. RULE-204
#[test]
fn the_holder_is_told() {
    let (mut fixture, client) = lender();
    let lease = take(&mut fixture, &client);
    assert_eq!(lease.notice(), None);
    let mut notice = Box::pin(lease.moving());
    assert!(poll_once(notice.as_mut()).is_pending());
    fixture.end();
    let lost = LeaseNotice::Lost { cause: CloseCause::ByServer };
    assert_eq!(fixture.block_on(notice), lost);
    assert_eq!(lease.notice(), Some(lost));
    let error = fixture.block_on(lease.call(words("PING"))).unwrap_err();
    assert!(matches!(error, Error::Send(SendError::LeaseLost { .. })), "{error:?}");
    assert_eq!(error.delivery(), Some(Delivery::NotSent));
}

/// The runtime goes away: the callers that wait for a lease are told, the holders as well, and nothing is left. INV-15, RULE-207
#[test]
fn leases_end_with_the_runtime() {
    let (mut fixture, client) = lender();
    let lease = take(&mut fixture, &client);
    let mut wish = Box::pin(client.lease());
    assert!(poll_once(wish.as_mut()).is_pending());
    let reply = lease.send(echo("x")).unwrap();
    fixture.die();
    assert!(matches!(poll_once(wish.as_mut()), Poll::Ready(Err(Error::Lease(LeaseError::ShutDown)))));
    let mut reply = pin!(reply);
    assert!(matches!(poll_once(reply.as_mut()), Poll::Ready(Err(RequestError::ShutDown { .. }))));
    assert!(matches!(lease.notice(), Some(LeaseNotice::Lost { .. })));
    drop(lease);
    assert_nothing_is_left(&fixture);
}

/// A lease keeps the client; when it is the last handle, the client goes with it. INV-15
#[test]
fn a_lease_keeps_the_client() {
    let (mut fixture, client) = lender();
    let lease = take(&mut fixture, &client);
    drop(client);
    assert_eq!(call(&mut fixture, &lease, "PING"), Frame::simple("PONG"));
    drop(lease);
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// Adds one to a counter by optimistic locking.
async fn increment(client: &Client<Executor>) -> Result<i64, Error> {
    let replies = client
        .transaction(["n"], |lease| async move {
            let n = lease.call(cmd("GET").arg("n")).await?;
            let n: i64 = n.as_str().map_or(0, |n| n.parse().unwrap());
            Ok(Some(Pipeline::from([cmd("SET").arg("n").arg(n + 1), cmd("GET").arg("n")])))
        })
        .await?;
    Ok(replies.unwrap()[1].as_str().unwrap().parse().unwrap())
}

/// Nobody's update is lost, however many try at the same time. RULE-209
#[test]
fn a_transaction_is_tried_until_nobody_interferes() {
    let mut fixture = fixture();
    let client = fixture.block_on(builder(&fixture).connect()).unwrap();
    let mut all: Vec<_> = (0..20).map(|_| Box::pin(increment(&client))).collect();
    let mut results = Vec::new();
    fixture.block_on(std::future::poll_fn(|cx| {
        all.retain_mut(|one| match one.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                results.push(result.unwrap());
                false
            }
        });
        if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
    results.sort_unstable();
    assert_eq!(results, (1..=20).collect::<Vec<_>>());
    assert_eq!(fixture.block_on(client.call(words("GET n"))).unwrap(), Frame::bulk("20"));
}

/// Puts the server into this state, announced or not.
fn turn(fixture: &mut Fixture, condition: Condition, is_announced: bool) {
    fixture.with_endpoints(|server, now, endpoint| {
        if is_announced {
            server.failing_over(now, Notice::new(5 * SECOND));
        }
        server.set_condition(now, endpoint, condition);
    });
    fixture.run();
}

/// A server that is in no state to run a transaction is asked again while its failover is announced, wherever it says so: to the reads, to
/// the commands of the batch, or to EXEC. It runs once, and who gives up meanwhile leaves nothing. RULE-235
#[test]
fn a_transaction_outlasts_a_failover() {
    for condition in [Condition::ReadOnly, Condition::Loading, Condition::MasterDown] {
        let (mut fixture, client) = told_lender();
        turn(&mut fixture, condition, true);
        let mut raising = Box::pin(increment(&client));
        let mut dropped = Box::pin(increment(&client));
        for _ in 0..50 {
            for one in [raising.as_mut(), dropped.as_mut()] {
                let polled = poll_once(one);
                assert!(polled.is_pending(), "{condition:?}: {polled:?}");
            }
            fixture.run();
            fixture.pass(SECOND / 100);
        }
        let tries = fixture.received().iter().filter(|name| *name == "WATCH").count();
        assert!((4..30).contains(&tries), "{tries} tries in half a second");
        drop(dropped);
        turn(&mut fixture, Condition::Serving, false);
        assert_eq!(fixture.block_on(raising).unwrap(), 1, "{condition:?}");
        let stats = client.stats();
        assert_eq!((stats.leased, stats.waiting_for_lease, stats.dedicated), (0, 0, 1));
    }
}

/// Without an announcement the refusal is the answer, as it is for single commands, and so it is in the end if the failover
/// does not end. RULE-235
#[test]
fn a_transaction_does_not_wait_for_ever() {
    for is_announced in [false, true] {
        let (mut fixture, client) = told_lender();
        turn(&mut fixture, Condition::ReadOnly, is_announced);
        let before = fixture.now();
        let error = fixture.block_on(increment(&client)).unwrap_err();
        let Error::Discarded(refusal) = error else { panic!("{error:?}") };
        assert_eq!(refusal.code(), "READONLY");
        let took = fixture.now() - before;
        assert_eq!(took > 5 * SECOND, is_announced, "{took:?}");
        assert!(took <= 12 * SECOND, "{took:?}");
    }
}

/// A transaction whose read ends its connection each time is tried a few times, after pauses, and then says so; it does not take its hundred
/// tries. RULE-290
#[test]
fn a_transaction_whose_reads_break_their_links_slows_down() {
    let (mut fixture, client) = lender();
    fixture.with_endpoints(|server, _, endpoint| {
        server.add_rule(Rule::new(Fault::CloseUnexecuted(CloseHow::Fin)).on("GET").at(endpoint).always());
    });
    let before = fixture.now();
    let error = fixture.block_on(increment(&client)).unwrap_err();
    let lost =
        matches!(error, Error::Request(RequestError::ConnectionLost { cause: CloseCause::ByServer, .. }));
    assert!(lost, "{error:?}");
    let tries = fixture.received().iter().filter(|name| *name == "WATCH").count();
    assert!((5..=9).contains(&tries), "{tries} tries");
    let took = fixture.now() - before;
    assert!(took >= 3 * SECOND && took <= 5 * SECOND, "{took:?}");
    assert_eq!((client.stats().leased, client.stats().waiting_for_lease), (0, 0));
}

/// A try that comes as far as EXEC shows that the reads break no links: only losses in a row count. RULE-290
#[test]
fn losses_with_a_conflict_between_them_are_single() {
    let (mut fixture, client) = lender();
    fixture.with_endpoints(|server, _, endpoint| {
        server.add_rule(Rule::new(Fault::CloseUnexecuted(CloseHow::Fin)).on("GET").at(endpoint).always());
    });
    let (other, mut tries) = (client.clone(), 0);
    let transaction = client.transaction(["k"], |lease| {
        tries += 1;
        let (other, step) = (other.clone(), tries);
        async move {
            match step {
                1 | 3 => drop(lease.call(words("GET k")).await?),
                2 => {
                    // It takes longer than a command may.
                    lease.call(words("BLPOP q 5")).await?;
                    other.call(words("INCR k")).await?;
                }
                _ => {}
            }
            Ok(Some(Pipeline::atomic().command(words("SET k v"))))
        }
    });
    assert_eq!(fixture.block_on(transaction).unwrap(), Some(vec![Frame::simple("OK")]));
    assert_eq!(tries, 4);
}

/// A transaction that is given up changes nothing, and leaves a connection that is used again. RULE-209
#[test]
fn a_transaction_that_is_given_up_runs_nothing() {
    let (mut fixture, client) = lender();
    let nothing = fixture.block_on(client.transaction(["k"], |_| async { Ok(None) })).unwrap();
    assert_eq!(nothing, None);
    let empty = client.transaction(["k"], |_| async { Ok(Some(Pipeline::new())) });
    assert_eq!(fixture.block_on(empty).unwrap(), Some(vec![]));
    let failing = client.transaction(["k"], |lease| async move {
        lease.call(words("NOSUCH")).await?;
        Ok(None)
    });
    let error = fixture.block_on(failing).unwrap_err();
    assert!(matches!(error, Error::Server(_)), "{error:?}");
    assert_eq!(fixture.dialled().len(), 2, "the connection is clean each time");
    let without_keys =
        client.transaction([""; 0], |_| async { Ok(Some(Pipeline::atomic().command(words("SET k v")))) });
    assert_eq!(fixture.block_on(without_keys).unwrap(), Some(vec![Frame::simple("OK")]));
}

/// A key that is changed each time: the transaction ends, and says how often it was tried. RULE-209
#[test]
fn a_transaction_is_not_tried_for_ever() {
    let (mut fixture, client) = lender();
    let other = client.clone();
    let vain = client.transaction(["k"], |_| {
        let other = other.clone();
        async move {
            other.call(words("INCR k")).await?;
            Ok(Some(Pipeline::from([words("SET k mine")])))
        }
    });
    let error = fixture.block_on(vain).unwrap_err();
    assert!(matches!(error, Error::Conflict { tries: 100 }), "{error:?}");
    assert_eq!(error.delivery(), None, "the server has answered");
    assert_eq!(fixture.block_on(client.call(words("GET k"))).unwrap(), Frame::bulk("100"));
}

/// The connection is lost before EXEC: nothing has run, and the next try has another connection. Lost behind EXEC, nothing is done again.
/// RULE-209, INV-05
#[test]
fn a_transaction_begins_again_only_if_nothing_has_run() {
    let (mut fixture, client) = lender();
    let mut tries = 0;
    let mut is_first = Some(());
    let mut running = Box::pin(client.transaction(["k"], |lease| {
        tries += 1;
        let waits = is_first.take().is_some();
        async move {
            if waits {
                // The test ends the connection meanwhile.
                assert!(matches!(lease.moving().await, LeaseNotice::Lost { .. }));
                lease.call(words("GET k")).await?;
            }
            Ok(Some(Pipeline::from([words("SET k v")])))
        }
    }));
    // The lease, the reply to WATCH, and then it waits for the end of the connection.
    for _ in 0..3 {
        assert!(poll_once(running.as_mut()).is_pending());
        fixture.run();
    }
    fixture.end();
    assert_eq!(fixture.block_on(running).unwrap(), Some(vec![Frame::simple("OK")]));
    assert_eq!(tries, 2);

    let lease = take(&mut fixture, &client);
    drop(lease);
    let mut running =
        Box::pin(client.transaction(["k"], |_| async { Ok(Some(Pipeline::from([words("SET k twice")]))) }));
    assert!(poll_once(running.as_mut()).is_pending());
    fixture.run();
    fixture.answer_nothing();
    assert!(poll_once(running.as_mut()).is_pending());
    fixture.run();
    fixture.end();
    let error = fixture.block_on(running).unwrap_err();
    assert_eq!(error.delivery(), Some(Delivery::Unknown), "{error}");
}

/// Replies become values on a lease as they do on the client, alone and in a pipeline, and the commands go over its connection. RULE-200
#[test]
fn replies_on_a_lease_become_values() {
    let (mut fixture, client) = lender();
    let lease = take(&mut fixture, &client);
    // No shared connection carries this.
    let () = fixture.block_on(lease.query(words("WATCH k"))).unwrap();
    assert_eq!(fixture.block_on(lease.query::<i64>(words("INCR n"))).unwrap(), 1);
    let batch = [words("INCR n"), words("GET n")];
    let both: (i64, String) = fixture.block_on(lease.query_pipeline(batch)).unwrap();
    assert_eq!(both, (2, "2".to_owned()));
    let atomic = Pipeline::atomic().command(words("INCR n")).command(words("GET n"));
    let both: (i64, String) = fixture.block_on(lease.query_pipeline(atomic)).unwrap();
    assert_eq!(both, (3, "3".to_owned()));
    let error = fixture.block_on(lease.query::<bool>(words("GET n"))).unwrap_err();
    assert!(matches!(error, Error::Value(_)), "{error:?}");
    let () = fixture.block_on(lease.query(words("WATCH k"))).unwrap();
    fixture.block_on(client.call(words("SET k other"))).unwrap();
    let sale = Pipeline::atomic().command(words("INCR n"));
    let error = fixture.block_on(lease.query_pipeline::<(i64,)>(sale)).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    let error = fixture.block_on(lease.query::<i64>(words("NOSUCH"))).unwrap_err();
    assert!(matches!(error, Error::Server(_)), "{error:?}");
}
