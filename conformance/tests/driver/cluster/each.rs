//! Commands for all shards, of which some have no room, are away, or are in no state to run anything.

use std::sync::atomic::AtomicBool;

use hitless_conformance::server::{CloseHow, Condition};
use hitless_core::cluster::SLOTS;
use hitless_core::config::WhenFull;
use hitless_core::driver::Runtime as _;

use super::*;

fn set_all(fixture: &mut Fixture, client: &ClusterClient<Executor>) {
    for key in KEYS {
        fixture.block_on(client.call(set(key, key))).unwrap();
    }
}

/// A node has no room: that is waited for, as by a command that is split. RULE-431
#[test]
fn they_wait_for_room() {
    for when_full in [WhenFull::Fail, WhenFull::Wait] {
        let (mut fixture, nodes) = nodes();
        let builder = cluster_builder(&fixture, &[6379]).requests_in_flight(1).when_full(when_full);
        let client = fixture.block_on(builder.connect()).unwrap();
        set_all(&mut fixture, &client);
        fixture.with_server(|server, _| server.set_reply_delay(nodes[2], SECOND / 2, None));
        let _busy = client.send(Request::command(get("foo")).unwrap()).unwrap();
        let full = client.send(Request::command(get("foo")).unwrap());
        assert!(matches!(full, Err(SendError::Full(_))), "{full:?}");
        let count = fixture.block_on(client.query::<u64>(cmd("DBSIZE")));
        assert_eq!(count.unwrap(), 3, "{when_full:?}");
    }
}

/// A node is away, and comes back. Whoever does not want to wait is told at once. RULE-431
#[test]
fn they_wait_for_a_node_that_is_away() {
    for when_disconnected in [WhenDisconnected::Wait, WhenDisconnected::Fail] {
        let (mut fixture, nodes) = nodes();
        let builder = cluster_builder(&fixture, &[6379]).when_disconnected(when_disconnected);
        let client = fixture.block_on(builder.connect()).unwrap();
        set_all(&mut fixture, &client);
        fixture.with_server(|server, now| {
            server.refuse_dials(now, nodes[2], None);
            server.kill_all(now, nodes[2], CloseHow::Reset);
        });
        fixture.pass(SECOND);
        let before = fixture.now();
        let mut count = pin!(client.query::<u64>(cmd("DBSIZE")));
        assert!(poll_once(count.as_mut()).is_pending());
        if when_disconnected == WhenDisconnected::Fail {
            let error = fixture.block_on(count).unwrap_err();
            assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
            assert!(fixture.now() <= before + SECOND / 10, "{:?}", fixture.now() - before);
            continue;
        }
        for _ in 0..10 {
            fixture.pass(SECOND / 10);
            assert!(poll_once(count.as_mut()).is_pending());
        }
        fixture.with_server(|server, _| server.restore(nodes[2]));
        assert_eq!(fixture.block_on(count).unwrap(), 3);
    }
}

/// A primary takes no writes any more, and its replica takes over: that runs the part of its shard, and the others run theirs once. RULE-431
#[test]
fn they_go_to_the_one_that_takes_over() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| {
        server.add_replica(nodes[3], nodes[2]);
        server.set_condition(now, nodes[2], Condition::ReadOnly);
    });
    let mut flushed = pin!(client.call(cmd("FLUSHALL")));
    for _ in 0..10 {
        assert!(poll_once(flushed.as_mut()).is_pending());
        fixture.pass(SECOND / 10);
    }
    fixture.with_server(|server, now| server.promote(now, nodes[3]));
    assert_eq!(fixture.block_on(flushed).unwrap(), Frame::simple("OK"));
    let received = |node| {
        fixture.with_server(|server, _| {
            server.ledger().received_at(node).filter(|(_, request)| request.is("FLUSHALL")).count()
        })
    };
    assert_eq!([received(nodes[0]), received(nodes[1]), received(nodes[3])], [1, 1, 1]);
}

/// The slots of a node that is loading go to one that has its own part: it would be counted twice. RULE-431
#[test]
fn no_node_has_two_parts() {
    let (mut fixture, nodes, client) = cluster();
    set_all(&mut fixture, &client);
    fixture.with_server(|server, now| {
        let of_it: Vec<u16> = (0..SLOTS).filter(|slot| server.slot_owner(*slot) == Some(nodes[2])).collect();
        server.set_condition(now, nodes[2], Condition::Loading);
        server.assign_slots(now, of_it, nodes[0]);
    });
    let outcome = fixture.block_on(client.call(cmd("DBSIZE")));
    let Err(Error::Server(error)) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(error.code(), "LOADING");
}

/// Whoever sends what is for a lease is told at once, however many nodes it would go to.
#[test]
fn what_needs_a_lease_is_given_back() {
    for when_full in [WhenFull::Fail, WhenFull::Wait] {
        let (mut fixture, _) = nodes();
        let client =
            fixture.block_on(cluster_builder(&fixture, &[6379]).when_full(when_full).connect()).unwrap();
        for command in [cmd("DBSIZE"), get("foo")] {
            let mut outcome = pin!(client.request(Request::leased(command).unwrap()));
            let Poll::Ready(outcome) = poll_once(outcome.as_mut()) else { panic!("it waits for nothing") };
            assert!(matches!(outcome, Err(Error::Send(SendError::NeedsLease(_)))), "{outcome:?}");
        }
    }
}

/// The client of a node is closed under a caller that waits for room there: its time goes on from where it began. RULE-432
#[test]
fn the_time_of_a_call_begins_once() {
    let (mut fixture, nodes) = nodes();
    let builder = cluster_builder(&fixture, &[6379]).requests_in_flight(1).when_full(WhenFull::Wait);
    let client = fixture.block_on(builder.command_timeout(3 * SECOND).connect()).unwrap();
    fixture.with_server(|server, _| server.set_reply_delay(nodes[2], 3600 * SECOND, None));
    let _busy = client.send(Request::command(get("foo")).unwrap()).unwrap();
    let began_at = fixture.now();
    let mut call = pin!(client.call(get("foo")));
    assert!(poll_once(call.as_mut()).is_pending());
    fixture.pass(2 * SECOND);
    assert!(poll_once(call.as_mut()).is_pending());
    fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], None));
    fixture.block_on(client.node_for("foo").unwrap().client().shutdown(Duration::ZERO));
    let error = fixture.block_on(call).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::NoConnection { .. })), "{error:?}");
    assert!(fixture.now() <= began_at + 3 * SECOND, "{:?}", fixture.now() - began_at);
}

/// Three nodes, two that are to be nodes, and the slots of the third.
fn five() -> (Fixture, Vec<EndpointId>, ClusterClient<Executor>, Vec<u16>) {
    let mut server = Server::new(ServerConfig::default());
    let address = |port| EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let nodes = [6379, 2, 3, 4, 5].map(|port| server.add_endpoint(address(port)));
    server.form_cluster(&nodes[..3]);
    let mut fixture = Fixture::new(server);
    let client = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap();
    fixture.pass(SECOND);
    let slots = slots_of(&fixture, nodes[2]);
    (fixture, nodes.to_vec(), client, slots)
}

fn slots_of(fixture: &Fixture, node: EndpointId) -> Vec<u16> {
    let is_its = |server: &Server, slot: &u16| server.slot_owner(*slot) == Some(node);
    fixture.with_server(|server, _| (0..SLOTS).filter(|slot| is_its(server, slot)).collect())
}

/// All links of `node` end, and nobody is taken there.
fn lose(fixture: &Fixture, node: EndpointId) {
    fixture.with_server(|server, now| {
        server.refuse_dials(now, node, None);
        server.kill_all(now, node, CloseHow::Fin);
    });
}

/// Two nodes are emptied into a new one and are gone, while both of them were asked: the new one does not answer for both. RULE-431
#[test]
fn a_new_node_does_not_run_two_parts() {
    let (mut fixture, nodes, client, _) = five();
    set_all(&mut fixture, &client);
    fixture.with_server(|server, _| {
        server.add_node(nodes[3]);
        server.set_reply_delay(nodes[1], SECOND / 10, None);
        server.set_reply_delay(nodes[2], SECOND / 10, None);
    });
    let mut count = pin!(client.query::<u64>(cmd("DBSIZE")));
    assert!(poll_once(count.as_mut()).is_pending());
    fixture.run();
    for node in [nodes[1], nodes[2]] {
        let slots = slots_of(&fixture, node);
        fixture.with_server(|server, now| server.assign_slots(now, slots, nodes[3]));
        lose(&fixture, node);
    }
    let outcome = fixture.block_on(count);
    assert!(matches!(outcome, Err(Error::Request(_))), "{outcome:?}");
}

/// The slots of a lost node are divided among two others, and either has none of its keys without the other. RULE-431
#[test]
fn no_shard_is_left_out_when_slots_are_divided() {
    for is_whole in [true, false] {
        let (mut fixture, nodes, client, slots) = five();
        let (low, high) = slots.split_at(slots.len() / 2);
        let key = (0..).map(|number| format!("key.{number}"));
        let key = key.into_iter().find(|key| high.contains(&key_slot(key.as_bytes()))).unwrap();
        fixture.block_on(client.call(set(&key, "x"))).unwrap();
        lose(&fixture, nodes[2]);
        fixture.pass(SECOND);
        let mut flushed = pin!(client.call(cmd("FLUSHALL")));
        assert!(poll_once(flushed.as_mut()).is_pending());
        fixture.pass(SECOND / 10);
        let second = if is_whole { nodes[3] } else { nodes[4] };
        fixture.with_server(|server, now| {
            server.add_node(nodes[3]);
            server.add_node(nodes[4]);
            server.assign_slots(now, low.iter().copied(), nodes[3]);
            server.assign_slots(now, high.iter().copied(), second);
        });
        assert_eq!(fixture.block_on(flushed).is_ok(), is_whole);
        let left = fixture.block_on(client.call(get(&key))).unwrap();
        assert_eq!(left.is_null(), is_whole);
    }
}

/// The slots of a lost node stay divided: its part ends after a while, although the command has no timeout. RULE-431
#[test]
fn a_part_that_no_node_can_run_ends() {
    let (mut fixture, nodes, _, slots) = five();
    let builder = cluster_builder(&fixture, &[6379]).command_timeout(None);
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.pass(SECOND);
    lose(&fixture, nodes[2]);
    let counted = Arc::new(AtomicBool::new(false));
    let (counting, result) = (client.clone(), Arc::clone(&counted));
    fixture.runtime().spawn(async move {
        let count = counting.query::<u64>(cmd("DBSIZE")).await;
        assert!(count.is_err(), "{count:?}");
        result.store(true, Ordering::Relaxed);
    });
    fixture.pass(SECOND);
    assert!(!counted.load(Ordering::Relaxed));
    let (low, high) = slots.split_at(slots.len() / 2);
    fixture.with_server(|server, now| {
        [nodes[3], nodes[4]].into_iter().for_each(|node| server.add_node(node));
        server.assign_slots(now, low.iter().copied(), nodes[3]);
        server.assign_slots(now, high.iter().copied(), nodes[4]);
    });
    fixture.pass(20 * SECOND);
    assert!(counted.load(Ordering::Relaxed), "it goes on for ever");
}

/// A failover and back again, while the command waits: the node that has this very part runs it. RULE-431
#[test]
fn a_failover_and_back_is_followed() {
    let (mut fixture, nodes, client) = cluster();
    fixture.with_server(|server, now| {
        server.add_replica(nodes[3], nodes[2]);
        server.set_condition(now, nodes[2], Condition::ReadOnly);
    });
    let mut flushed = pin!(client.call(cmd("FLUSHALL")));
    let mut wait = |fixture: &mut Fixture| {
        for _ in 0..10 {
            assert!(poll_once(flushed.as_mut()).is_pending());
            fixture.pass(SECOND / 20);
        }
    };
    wait(&mut fixture);
    fixture.with_server(|server, now| {
        server.set_condition(now, nodes[3], Condition::Loading);
        server.promote(now, nodes[3]);
    });
    wait(&mut fixture);
    fixture.with_server(|server, now| {
        server.set_condition(now, nodes[2], Condition::Serving);
        server.promote(now, nodes[2]);
    });
    fixture.block_on(flushed).unwrap();
}

/// A node is away for a moment, and half of its slots have gone to a new one, as the client knows: its part is not run without that. RULE-431
#[test]
fn a_node_that_is_back_does_not_run_half_a_part() {
    let (mut fixture, nodes, client, slots) = five();
    let (_, high) = slots.split_at(slots.len() / 2);
    let mut keys = (0..).map(|number| format!("key.{number}"));
    let key = keys.find(|key| high.contains(&key_slot(key.as_bytes()))).unwrap();
    fixture.block_on(client.call(set(&key, "x"))).unwrap();
    lose(&fixture, nodes[2]);
    fixture.pass(SECOND);
    let mut flushed = pin!(client.call(cmd("FLUSHALL")));
    assert!(poll_once(flushed.as_mut()).is_pending());
    fixture.with_server(|server, now| {
        server.add_node(nodes[3]);
        server.assign_slots(now, high.iter().copied(), nodes[3]);
    });
    for _ in 0..10 {
        fixture.pass(SECOND / 10);
        assert!(poll_once(flushed.as_mut()).is_pending());
    }
    fixture.with_server(|server, _| server.restore(nodes[2]));
    assert!(fixture.block_on(flushed).is_err());
    assert!(!fixture.block_on(client.call(get(&key))).unwrap().is_null());
}
