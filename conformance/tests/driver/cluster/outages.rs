//! Nodes that are away: what callers are told, and when the topology is read.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use hitless_conformance::server::{CloseHow, Fault, Rule};
use hitless_core::cluster::SLOTS;
use hitless_core::driver::{LogLine, LoggingHook, Runtime as _};
use hitless_core::error::{LeaseError, RequestError};
use hitless_core::event::Level;

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

/// A dial that hangs uses up all the time that a wait for a connection has. The slot has another node meanwhile, and that one has the element. RULE-439
#[test]
fn a_command_that_waits_does_not_end_with_a_node_that_has_lost_its_slot() {
    for time in [1, 60, 0] {
        let (mut fixture, nodes) = nodes();
        let builder = cluster_builder(&fixture, &[6379]).refresh_interval(SECOND);
        let client = fixture.block_on(builder.connect()).unwrap();
        fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
        fixture.with_server(|server, now| {
            server.black_hole(now, nodes[2], None);
            server.kill_all(now, nodes[2], CloseHow::Fin);
        });
        let popped = Arc::new(Mutex::new(None));
        let (waiting, result) = (client.clone(), Arc::clone(&popped));
        fixture.runtime().spawn(async move {
            let popped = waiting.query::<(String, String)>(cmd("BLPOP").arg("foo").arg(time)).await;
            *result.lock().unwrap() = Some(popped.unwrap());
        });
        fixture.pass(SECOND);
        fixture.with_server(|server, now| server.assign_slots(now, [key_slot(b"foo")], nodes[0]));
        fixture.pass(9 * SECOND);
        assert_eq!(*popped.lock().unwrap(), Some(("foo".to_owned(), "x".to_owned())), "{time}");
    }
}

/// The node of before says where the slot is when the time of the command is over: the other one is asked all the same. RULE-439
#[test]
fn a_redirect_is_no_answer_to_a_command_that_waits() {
    let (mut fixture, nodes, client) = cluster();
    fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
    fixture.with_server(|server, now| {
        server.set_reply_delay(nodes[2], SECOND, None);
        server.assign_slots(now, [key_slot(b"foo")], nodes[0]);
    });
    let popped: Option<(String, String)> =
        fixture.block_on(client.query(cmd("BLPOP").arg("foo").arg("0.5"))).unwrap();
    assert_eq!(popped, Some(("foo".to_owned(), "x".to_owned())));
}

/// A server that refuses is there: the command goes on for as long as its caller has said. RULE-439
#[test]
fn a_command_that_waits_outlasts_a_failover_of_its_cluster() {
    for (time, is_explicit) in [(60, false), (0, true)] {
        let (mut fixture, _, client) = cluster();
        fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
        fixture.with_server(|server, now| server.set_cluster_down(now, true));
        let popped = Arc::new(Mutex::new(None));
        let (waiting, result) = (client.clone(), Arc::clone(&popped));
        fixture.runtime().spawn(async move {
            let mut request = Request::command(cmd("BLPOP").arg("foo").arg(time)).unwrap();
            if is_explicit {
                request = request.timeout(60 * SECOND);
            }
            *result.lock().unwrap() = Some(waiting.request(request).await.unwrap().len());
        });
        fixture.pass(20 * SECOND);
        assert_eq!(*popped.lock().unwrap(), None);
        fixture.with_server(|server, now| server.set_cluster_down(now, false));
        fixture.pass(2 * SECOND);
        assert_eq!(*popped.lock().unwrap(), Some(1));
    }
}

/// A window says that this may take longer: whoever waits does so as long as it relaxes timeouts, also a client that would not wait otherwise. RULE-447
#[test]
fn a_window_gives_those_time_who_wait_for_a_node() {
    for when_disconnected in [WhenDisconnected::Wait, WhenDisconnected::Fail] {
        let (mut fixture, nodes) = nodes();
        let builder = cluster_builder(&fixture, &[6379]).when_disconnected(when_disconnected);
        let client = fixture.block_on(builder.connect()).unwrap();
        fixture.pass(SECOND);
        fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
        fixture.with_server(|server, now| {
            server.failing_over(now, Notice::new(20 * SECOND));
        });
        fixture.pass(SECOND / 10);
        fixture.with_server(|server, now| {
            server.refuse_dials(now, nodes[2], Some(now + 7 * SECOND));
            server.kill_all(now, nodes[2], CloseHow::Fin);
        });
        let popped = Arc::new(Mutex::new(None));
        let (waiting, result) = (client.clone(), Arc::clone(&popped));
        fixture.runtime().spawn(async move {
            let popped = waiting.query::<(String, String)>(cmd("BLPOP").arg("foo").arg(0)).await;
            *result.lock().unwrap() = Some(popped.map_err(|error| error.to_string()));
        });
        fixture.block_on(client.lease("foo")).unwrap();
        fixture.pass(SECOND);
        let element = ("foo".to_owned(), "x".to_owned());
        assert_eq!(*popped.lock().unwrap(), Some(Ok(element)), "{when_disconnected:?}");
    }
}

/// Leases and commands that wait go to the node that has taken over, be a window open. RULE-404
#[test]
fn a_window_holds_nobody_at_a_node_that_is_gone() {
    let (mut fixture, nodes) = nodes();
    fixture.with_server(|server, _| server.add_replica(nodes[3], nodes[2]));
    let client = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap();
    fixture.pass(SECOND);
    fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
    fixture.with_server(|server, now| {
        server.failing_over(now, Notice::new(10 * SECOND));
    });
    fixture.pass(SECOND / 10);
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], None);
        server.kill_all(now, nodes[2], CloseHow::Fin);
    });
    let popped = Arc::new(Mutex::new(None));
    let (waiting, result) = (client.clone(), Arc::clone(&popped));
    fixture.runtime().spawn(async move {
        let popped = waiting.query::<(String, String)>(cmd("BLPOP").arg("foo").arg(0)).await;
        *result.lock().unwrap() = Some(popped.unwrap());
    });
    fixture.pass(SECOND);
    fixture.with_server(|server, now| server.promote(now, nodes[3]));
    fixture.pass(2 * SECOND);
    assert_eq!(*popped.lock().unwrap(), Some(("foo".to_owned(), "x".to_owned())));
    fixture.block_on(client.lease("foo")).unwrap();
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

/// A node that is lost and comes back is told of where people look: by the events, and in the log. RULE-441
#[test]
fn the_log_tells_which_node_is_away() {
    let (mut fixture, nodes) = nodes();
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    let hook = LoggingHook::new(move |line| sink.lock().unwrap().push(line)).level(Level::Info);
    let builder = cluster_builder(&fixture, &[6379]).hook(hook);
    let mut events = builder.events();
    let _client = fixture.block_on(builder.connect()).unwrap();
    fixture.pass(SECOND);
    fixture.with_server(|server, now| {
        server.refuse_dials(now, nodes[2], Some(now + 5 * SECOND));
        server.kill_all(now, nodes[2], CloseHow::Fin);
    });
    fixture.pass(20 * SECOND);
    let told: Vec<ClusterEvent> = std::iter::from_fn(|| events.try_next()?.ok()).collect();
    let lines: Vec<String> = log.lock().unwrap().iter().map(LogLine::to_string).collect();
    for event in &told {
        let line = format!("{} {}: {event}", event.level(), event.name());
        assert_eq!(lines.contains(&line), event.level() <= Level::Info, "{line}");
    }
    let outage = told.iter().map(|event| (event.name(), event.to_string()));
    let outage: Vec<_> = outage.filter(|(name, _)| ["node.lost", "node.recovered"].contains(name)).collect();
    let [(lost, place), (recovered, _)] = &outage[..] else { panic!("{told:?}") };
    assert_eq!((*lost, *recovered), ("node.lost", "node.recovered"));
    assert!(place.contains(" at 127.0.0.1:3 "), "{place}");
}

/// Links that say nothing count as gone where no other one can be had, and as there when they answer again: the node is asked for the topology, and read
/// from. RULE-442
#[test]
fn a_node_whose_silent_link_answers_again_is_back() {
    let (mut fixture, nodes) = nodes();
    let builder = cluster_builder(&fixture, &[6379]).dead_link_timeout(Some(SECOND));
    let client = fixture.block_on(builder.refresh_interval(10 * SECOND).connect()).unwrap();
    fixture.pass(20 * SECOND);
    fixture.with_server(|server, now| {
        for node in &nodes[..3] {
            server.connections(*node).into_iter().for_each(|conn| server.stall(now, conn, now + 6 * SECOND));
            server.refuse_dials(now, *node, None);
        }
    });
    let owed = KEYS.map(|key| client.send(Request::command(get(key)).unwrap()).unwrap());
    fixture.pass(5 * SECOND);
    assert_eq!(client.stats().nodes_ready, 0);
    fixture.pass(5 * SECOND);
    drop(owed);
    assert_eq!(client.stats().nodes_ready, 3);
    let before = client.stats().topology_reads;
    fixture.pass(60 * SECOND);
    assert!(client.stats().topology_reads >= before + 4);
}

/// A worker waits for days, and its slot goes from node to node meanwhile. RULE-444
#[test]
fn a_command_that_waits_follows_its_slot_for_ever() {
    let (mut fixture, nodes, client) = cluster();
    let popped = Arc::new(Mutex::new(None));
    let (waiting, result) = (client.clone(), Arc::clone(&popped));
    fixture.runtime().spawn(async move {
        let popped = waiting.query::<(String, String)>(cmd("BLPOP").arg("foo").arg(0)).await;
        *result.lock().unwrap() = Some(popped.unwrap());
    });
    fixture.pass(SECOND);
    for number in 0..40 {
        fixture.with_server(|server, now| {
            server.assign_slots(now, [key_slot(b"foo")], nodes[number % 2]);
        });
        fixture.pass(3600 * SECOND);
        assert_eq!(*popped.lock().unwrap(), None);
    }
    fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
    fixture.pass(SECOND);
    assert!(popped.lock().unwrap().is_some());
}

/// A redirect to a node that is away comes late: its time is that of the whole. RULE-445
#[test]
fn a_subscription_that_is_redirected_has_one_time() {
    let (mut fixture, nodes) = nodes();
    let builder = cluster_builder(&fixture, &[6379]).lease_timeout(Some(2 * SECOND));
    let client = fixture.block_on(builder.connect_timeout(10 * SECOND).connect()).unwrap();
    fixture.pass(SECOND);
    fixture.with_server(|server, now| {
        server.add_node(nodes[3]);
        server.black_hole(now, nodes[3], None);
        server.assign_slots(now, [key_slot(b"foo")], nodes[3]);
        server.add_rule(Rule::new(Fault::Delay(SECOND * 18 / 10)).on("SSUBSCRIBE"));
    });
    let began_at = fixture.now();
    let error = fixture.block_on(client.ssubscribe(["foo"])).err().unwrap();
    assert!(matches!(error, Error::Subscribe(_)), "{error:?}");
    assert!(fixture.now() - began_at <= SECOND * 21 / 10, "{:?}", fixture.now() - began_at);
}

/// Servers that take connections and say nothing: the start says which, and what it was doing there. RULE-361
#[test]
fn a_start_that_is_late_says_why() {
    let (mut fixture, nodes) = nodes();
    fixture.with_server(|server, now| server.black_hole(now, nodes[0], None));
    let error = fixture.block_on(cluster_builder(&fixture, &[6379]).connect()).unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:6379"), "{error}");
    // As long as it takes is no instant.
    let patient = cluster_builder(&fixture, &[2]).connect_timeout(Duration::MAX);
    fixture.block_on(patient.connect()).unwrap();
}

/// Reads without a reason find nothing for hours, which says nothing of trouble: the first one with a reason is made at once. RULE-404
#[test]
fn a_failover_is_found_soon_however_often_the_topology_is_read() {
    // The last read was longer or shorter ago.
    for (interval, at) in [(60, 0), (10, 0), (10, 3), (10, 6), (1, 0), (1, 1), (1, 2), (1, 3)] {
        let (interval, at) = (interval * SECOND, (300 + at) * SECOND);
        let (mut fixture, nodes) = nodes();
        fixture.with_server(|server, _| server.add_replica(nodes[3], nodes[2]));
        let builder = cluster_builder(&fixture, &[6379]).refresh_interval(interval);
        let client = fixture.block_on(builder.connect()).unwrap();
        fixture.pass(at);
        fixture.with_server(|server, now| {
            server.refuse_dials(now, nodes[2], None);
            server.kill_all(now, nodes[2], CloseHow::Fin);
            server.promote(now, nodes[3]);
        });
        let began_at = fixture.now();
        fixture.block_on(client.call(set("foo", "x"))).unwrap();
        assert!(fixture.now() - began_at < SECOND, "{interval:?}: {:?}", fixture.now() - began_at);
    }
}

/// Whatever is told to have recovered was told to be lost, once for each time. RULE-441
#[test]
fn a_node_recovers_once_if_it_was_lost() {
    for is_lost in [true, false] {
        let (mut fixture, nodes) = nodes();
        if !is_lost {
            fixture.with_server(|server, now| server.refuse_dials(now, nodes[2], Some(now + SECOND / 20)));
        }
        let builder = cluster_builder(&fixture, &[6379]).refresh_interval(SECOND / 5);
        let builder = builder.min_refresh_interval(SECOND / 20);
        let mut heard = builder.events();
        let client = fixture.block_on(builder.connect()).unwrap();
        fixture.pass(4 * SECOND);
        if is_lost {
            fixture.with_server(|server, now| {
                server.refuse_dials(now, nodes[2], Some(now + SECOND / 2));
                server.kill_all(now, nodes[2], CloseHow::Fin);
            });
            while client.stats().nodes_ready == 3 {
                fixture.pass(SECOND / 50);
            }
            while client.stats().nodes_ready < 3 {
                fixture.pass(SECOND / 50);
            }
        }
        fixture.with_server(|server, now| server.relocate(now, nodes[2], nodes[3]));
        fixture.pass(20 * SECOND);
        let told: Vec<ClusterEvent> = std::iter::from_fn(|| heard.try_next()?.ok()).collect();
        let count = |name| told.iter().filter(|event| event.name() == name).count();
        let expected = usize::from(is_lost);
        assert_eq!((count("node.lost"), count("node.recovered")), (expected, expected), "{told:?}");
    }
}
