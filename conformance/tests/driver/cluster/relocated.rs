//! Nodes that are listed at another address: where they are opened, and what their clients of before may still say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hitless_conformance::server::{CloseHow, Closes, Moving, Target as MoveTo, push_frame};
use hitless_core::pubsub::Item;

use super::*;

/// A builder whose map of addresses panics at the fourth endpoint, until it knows that.
fn with_a_map(fixture: &Fixture) -> (ClusterBuilder<Executor, Network>, Arc<AtomicBool>) {
    let knows = Arc::new(AtomicBool::new(false));
    let map_knows = Arc::clone(&knows);
    let builder = cluster_builder(fixture, &[6379]).address_map(move |announced| {
        assert!(announced.to_string() != "127.0.0.1:4" || map_knows.load(Ordering::Relaxed), "not yet");
        None
    });
    (builder, knows)
}

/// The map of addresses fails for a while at the address to which a node has gone: the node is opened there once it works. RULE-383
#[test]
fn a_node_is_opened_where_it_is_once_the_map_knows() {
    let (mut fixture, nodes) = nodes();
    let (builder, knows) = with_a_map(&fixture);
    let client = fixture.block_on(builder.refresh_interval(SECOND).connect()).unwrap();
    fixture.pass(SECOND);
    fixture.block_on(client.call(set("foo", "x"))).unwrap();
    fixture.with_server(|server, now| server.relocate(now, nodes[2], nodes[3]));
    fixture.pass(5 * SECOND);
    // The client at the old address has lost its connections, and has others there.
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], Some(now + SECOND));
        server.kill_all(now, nodes[2], CloseHow::Fin);
    });
    fixture.pass(5 * SECOND);
    knows.store(true, Ordering::Relaxed);
    fixture.pass(5 * SECOND);
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], None);
        server.kill_all(now, nodes[2], CloseHow::Fin);
    });
    let value: String = fixture.block_on(client.query(get("foo"))).unwrap();
    assert_eq!(value, "x");
}

/// Its connections end, and what it says of where they go says nothing of the node's. RULE-399
#[test]
fn a_client_that_was_replaced_does_not_say_where_its_node_is() {
    let (mut fixture, nodes) = nodes();
    let builder = cluster_builder(&fixture, &[6379]).refresh_interval(SECOND).command_timeout(20 * SECOND);
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.pass(2 * SECOND);
    // Something is under way there, so that the old connection stays.
    fixture.with_server(|server, _| server.set_reply_delay(nodes[2], 15 * SECOND, None));
    let _reply = client.send(Request::command(get("foo")).unwrap()).unwrap();
    fixture.run();
    fixture.with_server(|server, now| server.relocate(now, nodes[2], nodes[3]));
    fixture.pass(3 * SECOND);
    fixture.with_server(|server, now| {
        let old = server.connections(nodes[2]);
        assert!(!old.is_empty());
        let moving = push_frame(&["MOVING", "7", "15", "10.9.9.9:6379"]);
        old.into_iter().for_each(|conn| server.push(now, conn, std::slice::from_ref(&moving)));
    });
    fixture.pass(SECOND / 10);
    assert_eq!(client.node_for("foo").unwrap().endpoint().to_string(), "127.0.0.1:4");
}

/// The map fails at the node's new address, and its client of before hears a MOVING: that is about its own connections, and is over when the node is
/// opened where it is. RULE-399
#[test]
fn a_client_that_is_at_an_old_address_does_not_say_where_its_node_is() {
    let (mut fixture, nodes) = nodes();
    let (builder, knows) = with_a_map(&fixture);
    let client = fixture.block_on(builder.refresh_interval(20 * SECOND).connect()).unwrap();
    fixture.pass(SECOND);
    fixture.with_server(|server, now| server.relocate(now, nodes[2], nodes[3]));
    fixture.pass(60 * SECOND);
    fixture.with_server(|server, now| {
        let old = server.connections(nodes[2]);
        assert!(!old.is_empty());
        let moving = push_frame(&["MOVING", "7", "15", "10.9.9.9:6379"]);
        old.into_iter().for_each(|conn| server.push(now, conn, std::slice::from_ref(&moving)));
    });
    knows.store(true, Ordering::Relaxed);
    for _ in 0..100 {
        fixture.pass(SECOND / 10);
        let named = client.node_for("foo").unwrap().endpoint().to_string();
        assert_ne!(named, "10.9.9.9:6379");
    }
    assert_eq!(client.node_for("foo").unwrap().endpoint().to_string(), "127.0.0.1:4");
}

/// A client that was replaced keeps the leases that are out, and its subscription goes where the node is at once. RULE-443
#[test]
fn a_subscription_does_not_wait_for_a_lease_at_a_replaced_client() {
    let (mut fixture, nodes) = nodes();
    let builder = cluster_builder(&fixture, &[6379]).refresh_interval(SECOND);
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.pass(2 * SECOND);
    let mut news = fixture.block_on(client.ssubscribe(["foo"])).unwrap();
    let _lease = fixture.block_on(client.lease("foo")).unwrap();
    fixture.with_server(|server, now| server.relocate(now, nodes[2], nodes[3]));
    fixture.pass(2 * SECOND);
    assert_eq!(client.node_for("foo").unwrap().endpoint().to_string(), "127.0.0.1:4");
    let gap = {
        let mut next = pin!(news.next());
        assert!(poll_once(next.as_mut()).is_pending());
        // The lease is out for as long as that client has its grace: ten seconds.
        fixture.pass(SECOND);
        let Poll::Ready(gap) = poll_once(next) else { panic!("it is silent") };
        gap
    };
    assert!(matches!(gap, Some(Item::Gap { .. })), "{gap:?}");
    fixture.block_on(client.call(cmd("SPUBLISH").arg("foo").arg("x"))).unwrap();
    assert!(matches!(fixture.block_on(news.next()), Some(Item::Message(_))));
}

/// The connections of a node have moved, and its address of before is dead: what is opened later goes where the node is. RULE-448
#[test]
fn leases_go_where_a_node_has_moved() {
    let (mut fixture, nodes, client) = cluster();
    fixture.pass(SECOND);
    fixture.with_server(|server, now| {
        server.relocate(now, nodes[2], nodes[3]);
        let moving = Moving::new(MoveTo::Endpoint(nodes[3]), 2 * SECOND);
        server.moving(now, nodes[2], moving.closing(Closes::Everyone));
    });
    fixture.pass(3 * SECOND);
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], None));
    // At once, and when the cluster has told of the address as well.
    drop(fixture.block_on(client.lease("foo")).unwrap());
    fixture.pass(300 * SECOND);
    let lease = fixture.block_on(client.lease("foo")).unwrap();
    fixture.block_on(lease.call(set("foo", "x"))).unwrap();
    fixture.block_on(client.call(cmd("RPUSH").arg("{foo}list").arg("x"))).unwrap();
    let popped: Option<(String, String)> =
        fixture.block_on(client.query(cmd("BLPOP").arg("{foo}list").arg(1))).unwrap();
    assert!(popped.is_some());
    fixture.block_on(client.ssubscribe(["foo"])).unwrap();
}

/// The pool's link is dead and cannot be replaced, and that of the subscription is well: nothing is missing. RULE-443
#[test]
fn a_subscription_whose_link_is_well_stays() {
    let (mut fixture, nodes, client) = cluster();
    let old = fixture.with_server(|server, _| server.connections(nodes[2]));
    let mut news = fixture.block_on(client.ssubscribe(["foo"])).unwrap();
    let publisher = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap();
    fixture.pass(SECOND);
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], None);
        old.into_iter().for_each(|conn| server.kill(now, conn, CloseHow::Fin));
    });
    for number in 0..30_u32 {
        fixture.pass(SECOND);
        assert!(poll_once(pin!(news.next())).is_pending());
        fixture.block_on(publisher.call(cmd("SPUBLISH").arg("foo").arg(number))).unwrap();
        let item = fixture.block_on(news.next());
        let Some(Item::Message(message)) = item else { panic!("{item:?} before {number}") };
        assert_eq!(message.payload[..], *number.to_string().as_bytes());
    }
}
