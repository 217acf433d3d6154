//! Nodes that are away: what callers are told, and when the topology is read.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use hitless_conformance::server::{CloseHow, Fault, Rule};
use hitless_core::cluster::SLOTS;
use hitless_core::driver::Runtime as _;
use hitless_core::error::{LeaseError, RequestError};

use super::*;

/// A node cannot be opened, and a dial there hangs while the time of a request is over: its caller is told why. RULE-234
#[test]
fn a_timeout_says_why_the_node_cannot_be_opened() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], None));
    fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
    fixture.pass(5 * SECOND);
    fixture.with_server(|server, now| {
        server.restore(nodes[2]);
        server.black_hole(now, nodes[2], None);
    });
    for is_opened_anew in [false, true].repeat(10) {
        if is_opened_anew {
            // What the client before it knew is all that there is to say: its own first dial hangs.
            fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
        }
        let error = fixture.block_on(client.call(get("foo"))).unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
        assert_eq!(error.delivery(), Some(Delivery::NotSent));
        fixture.pass(SECOND / 3);
    }
}

/// The node of `foo` is gone behind `last`, and refuses whoever comes.
fn without_foo(last: resp3_codec::Command) -> (Fixture, Vec<EndpointId>, ClusterClient<Executor>) {
    let (mut fixture, nodes, client) = cluster();
    fixture.block_on(client.call(last)).unwrap();
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], None));
    fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
    fixture.pass(SECOND);
    (fixture, nodes, client)
}

/// Nothing is lent there. RULE-234
#[test]
fn a_lease_says_why_its_node_cannot_be_opened() {
    let (mut fixture, _, client) = without_foo(get("foo"));
    for _ in 0..10 {
        let error = fixture.block_on(client.lease("foo")).unwrap_err();
        assert!(matches!(error, Error::Lease(LeaseError::NoConnection { .. })), "{error:?}");
        fixture.pass(SECOND / 3);
    }
}

/// A worker that is told nil goes on as if its queue were empty. RULE-439
#[test]
fn a_command_that_waits_does_not_take_an_outage_for_an_empty_list() {
    for time in [1, 8, 0] {
        let (mut fixture, _, client) = without_foo(get("foo"));
        let began_at = fixture.now();
        let error = fixture.block_on(client.call(cmd("BLPOP").arg("foo").arg(time))).unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
        assert_eq!(error.delivery(), Some(Delivery::NotSent));
        let took = fixture.now() - began_at;
        assert!(took >= 4 * SECOND && took <= 5 * SECOND + SECOND / 5, "{time}: {took:?}");
        let Error::Request(RequestError::NoConnection { after, .. }) = error else { continue };
        assert!(took - after <= SECOND / 5, "{after:?}");
    }
}

/// It is the server that says that there is nothing, be it a little later than the caller has asked. RULE-439
#[test]
fn a_command_that_waits_asks_the_server_that_has_come_back() {
    let element = ("foo".to_owned(), "x".to_owned());
    for (last, expected) in [(get("foo"), None), (cmd("RPUSH").arg("foo").arg("x"), Some(element))] {
        let (mut fixture, nodes, client) = without_foo(last);
        let popped = Arc::new(Mutex::new(None));
        let (waiting, result) = (client.clone(), Arc::clone(&popped));
        fixture.runtime().spawn(async move {
            let popped = waiting.query::<Option<(String, String)>>(cmd("BLPOP").arg("foo").arg(1)).await;
            *result.lock().unwrap() = Some(popped.unwrap());
        });
        fixture.pass(2 * SECOND);
        assert_eq!(*popped.lock().unwrap(), None, "its time is over, and nobody knows");
        fixture.with_server(|server, _| server.restore(nodes[2]));
        fixture.pass(3 * SECOND);
        assert_eq!(*popped.lock().unwrap(), Some(expected));
    }
}

/// A server ends commands that wait when its cluster goes down, however long they have waited; the cluster is back soon. RULE-439
#[test]
fn a_command_that_has_waited_outlasts_an_outage() {
    let (mut fixture, _, client) = cluster();
    let popped = Arc::new(Mutex::new(None));
    let (waiting, result) = (client.clone(), Arc::clone(&popped));
    fixture.runtime().spawn(async move {
        let popped = waiting.query::<(String, String)>(cmd("BLPOP").arg("foo").arg(0)).await;
        *result.lock().unwrap() = Some(popped.unwrap());
    });
    for _ in 0..2 {
        fixture.pass(60 * SECOND);
        let before = client.stats().waited;
        fixture.with_server(|server, now| server.set_cluster_down(now, true));
        fixture.pass(3 * SECOND);
        assert_eq!(*popped.lock().unwrap(), None);
        assert!(client.stats().waited > before, "the server has ended it");
        fixture.with_server(|server, now| server.set_cluster_down(now, false));
    }
    fixture.pass(SECOND * 3);
    fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
    fixture.pass(SECOND);
    assert_eq!(*popped.lock().unwrap(), Some(("foo".to_owned(), "x".to_owned())));
}

/// Its own time is over when a node that has come back says who has the slot: that one is asked. RULE-439
#[test]
fn a_command_that_waits_asks_the_successor() {
    let element = ("foo".to_owned(), "x".to_owned());
    let (mut fixture, nodes, client) = without_foo(cmd("RPUSH").arg("foo").arg("x"));
    let popped = Arc::new(Mutex::new(None));
    let (waiting, result) = (client.clone(), Arc::clone(&popped));
    fixture.runtime().spawn(async move {
        let popped = waiting.query::<Option<(String, String)>>(cmd("BLPOP").arg("foo").arg(1)).await;
        *result.lock().unwrap() = Some(popped.unwrap());
    });
    fixture.pass(2 * SECOND);
    fixture.with_server(|server, now| {
        server.restore(nodes[2]);
        server.assign_slots(now, [key_slot(b"foo")], nodes[0]);
    });
    fixture.pass(3 * SECOND);
    assert_eq!(*popped.lock().unwrap(), Some(Some(element)));
}

/// It does not begin again at the node that the slot has gone to. RULE-385
#[test]
fn a_timeout_of_the_callers_bounds_a_command_that_waits_at_two_nodes() {
    let (mut fixture, nodes, client) = cluster();
    let timed_out = Arc::new(Mutex::new(None));
    let (waiting, result, runtime) = (client.clone(), Arc::clone(&timed_out), fixture.runtime());
    let began_at = fixture.now();
    fixture.runtime().spawn(async move {
        let request = Request::command(cmd("BLPOP").arg("foo").arg(0)).unwrap().timeout(3 * SECOND);
        let error = waiting.request(request).await.unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::TimedOut { .. })), "{error:?}");
        *result.lock().unwrap() = Some(runtime.now() - began_at);
    });
    fixture.pass(2 * SECOND);
    let moved = client.stats().moved;
    fixture.with_server(|server, now| server.assign_slots(now, [key_slot(b"foo")], nodes[0]));
    fixture.pass(5 * SECOND);
    assert_eq!(client.stats().moved, moved + 1);
    assert_eq!(*timed_out.lock().unwrap(), Some(3 * SECOND));
}

/// One that refuses once may serve the next time; of one that goes on refusing, the start says why. RULE-361
#[test]
fn a_lone_seed_is_tried_more_than_once() {
    for is_back in [true, false] {
        let (mut fixture, nodes) = nodes();
        let until = is_back.then(|| fixture.now() + SECOND / 50);
        fixture.with_server(|server, now| server.refuse_dials(now, nodes[0], until));
        let opened = fixture.block_on(cluster_builder(&fixture, &[6379]).connect());
        assert_eq!(opened.is_ok(), is_back);
        if let Err(error) = opened {
            assert!(error.to_string().contains("refused"), "{error}");
        }
    }
}

/// Nobody sends anything that would be refused: the node's successor is found all the same. RULE-404
#[test]
fn an_idle_client_finds_the_successor_of_a_node() {
    let (mut fixture, nodes) = nodes();
    fixture.with_server(|server, _| server.add_replica(nodes[3], nodes[2]));
    let client = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap();
    fixture.pass(SECOND);
    let before = client.stats().topology_reads;
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], None);
        server.kill_all(now, nodes[2], CloseHow::Fin);
    });
    fixture.pass(5 * SECOND);
    // For the first failure, the second and the fourth.
    assert_eq!(client.stats().topology_reads - before, 3);
    fixture.with_server(|server, now| server.promote(now, nodes[3]));
    fixture.pass(20 * SECOND);
    assert_eq!(client.node_for("foo").unwrap().endpoint().to_string(), "127.0.0.1:4");
}

/// Nobody is left who could answer. RULE-361
#[test]
fn the_start_does_not_wait_for_a_seed_that_has_gone_while_it_was_asked() {
    let (mut fixture, nodes) = nodes();
    let rule = Rule::new(Fault::CloseUnanswered(CloseHow::Fin)).on("CLUSTER").always();
    fixture.with_server(|server, _| server.add_rule(rule));
    let began_at = fixture.now();
    let mut opening = pin!(cluster_builder(&fixture, &[6379]).connect());
    let is_asked =
        |fixture: &Fixture| fixture.received().iter().any(|command| command.starts_with("CLUSTER"));
    while !is_asked(&fixture) {
        assert!(poll_once(opening.as_mut()).is_pending());
        assert!(fixture.step());
    }
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[0], None));
    let error = fixture.block_on(opening).unwrap_err();
    assert!(matches!(error, Error::Topology { error: TopologyError::Unanswered, .. }), "{error:?}");
    assert!(fixture.now() - began_at < SECOND);
}

/// All slots of a node are announced to go to one that is not connected yet, and lead to the old one meanwhile. The new one has no part of a
/// command for all shards, and so may take over that of the old one when this is lost. RULE-431
#[test]
fn a_node_whose_slots_are_held_has_no_part() {
    let (mut fixture, nodes, client) = cluster();
    for key in KEYS {
        fixture.block_on(client.call(set(key, key))).unwrap();
    }
    fixture.with_server(|server, now| {
        server.add_node(nodes[3]);
        server.black_hole(now, nodes[3], Some(now + SECOND / 2));
        let slots: Vec<u16> = (0..SLOTS).filter(|slot| server.slot_owner(*slot) == Some(nodes[2])).collect();
        let text = format!("{}-{}", slots[0], slots[slots.len() - 1]);
        server.set_reply_delay(nodes[2], SECOND / 10, None);
        server.assign_slots(now, slots, nodes[3]);
        server.slots_migrated(now, nodes[2], nodes[3], Notice::of_slots(&text, Duration::ZERO));
    });
    fixture.run();
    assert_eq!(client.nodes().iter().filter(|node| node.is_primary()).count(), 3);
    let mut count = pin!(client.query::<u64>(cmd("DBSIZE")));
    assert!(poll_once(count.as_mut()).is_pending());
    fixture.run();
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], None);
        server.kill_all(now, nodes[2], CloseHow::Fin);
    });
    assert_eq!(fixture.block_on(count).unwrap(), 3);
}
