//! Nodes of a cluster that go, come back, take over and move.

use hitless_core::cluster::ClusterEvent;
use hitless_core::endpoint::{Endpoint, Host as HostName};
use hitless_core::error::{Delivery, RequestError};
use resp3_codec::Frame;

use crate::server::{CloseHow, Condition, Moving, NodeNaming, Notice, Target, push_frame};
use crate::testbed::{KEYS, SECOND, Testbed, get, incr, millis, set};
use crate::world::{Host, Layout};

/// What is for the other nodes does not wait; what is for it waits until it is back, or until its time is over. CLUSTER-12, CLUSTER-14, RULE-371
pub fn a_node_that_is_away(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND * 3));
    bed.connect_cluster_with(settings);
    let c = bed.c;
    bed.refuse(c, None);
    bed.kill_all(c, CloseHow::Reset);
    bed.run_until_soon("it is noticed", |bed| bed.cluster_stats().nodes_ready == 2);
    let began_at = bed.now();
    for key in &KEYS[..2] {
        assert_eq!(bed.call(set(key, "x")), Frame::simple("OK"));
    }
    let took = bed.now() - began_at;
    assert!(took < millis(50) + bed.slack(), "{took:?}");
    let ticket = bed.send(get("foo"));
    let error = bed.error(ticket);
    assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
    assert!(matches!(error, RequestError::NoConnection { .. }), "{error:?}");
    let took = bed.now() - began_at;
    assert!(took <= millis(3_100) + bed.slack(), "{took:?}");

    let ticket = bed.send(set("foo", "y"));
    bed.run_for(millis(300));
    assert!(bed.outcome(ticket).is_none());
    bed.restore(c);
    assert_eq!(bed.reply(ticket), Frame::simple("OK"));
    bed.finish();
}

/// A failover is announced, and the primary is gone before its replica has taken over: callers go to that as soon as it has, and do not wait for the
/// window to end. CLUSTER-12, RULE-371
pub fn a_primary_that_does_not_come_back(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let (c, spare) = (bed.c, bed.spare());
    bed.server(|server, _| server.add_replica(spare, c));
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND * 3));
    bed.connect_cluster_with(settings);
    bed.server(|server, now| {
        server.failing_over(now, Notice::new(SECOND * 10));
        server.refuse_dials(now, c, None);
        server.kill_all(now, c, CloseHow::Reset);
    });
    bed.run_until_soon("it is noticed", |bed| bed.cluster_stats().nodes_ready == 2);
    let ticket = bed.send(incr("foo"));
    bed.run_for(millis(500));
    assert!(bed.outcome(ticket).is_none());
    bed.server(|server, now| server.promote(now, spare));
    let promoted_at = bed.now();
    assert_eq!(bed.reply(ticket), Frame::Integer(1));
    let took = bed.now() - promoted_at;
    assert!(took < SECOND + bed.slack(), "{took:?}");
    assert_eq!(bed.increments("foo"), 1);
    bed.finish();
}

/// A primary refuses writes before anybody has taken over: they wait for the one that does, and run once. Others do not wait. CLUSTER-12, INV-05
pub fn a_primary_that_has_become_read_only(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let (c, spare) = (bed.c, bed.spare());
    bed.server(|server, _| server.add_replica(spare, c));
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND * 3));
    bed.connect_cluster_with(settings);
    bed.server(|server, now| server.set_condition(now, c, Condition::ReadOnly));
    let (ticket, sent_at) = (bed.send(incr("foo")), bed.now());
    bed.run_until_soon("it is refused several times", |bed| bed.arrivals("INCR").len() >= 4);
    assert!(bed.outcome(ticket).is_none());
    for key in &KEYS[..2] {
        assert_eq!(bed.call(set(key, "x")), Frame::simple("OK"));
    }
    let before = bed.reads();
    bed.server(|server, now| server.promote(now, spare));
    assert_eq!(bed.reply(ticket), Frame::Integer(1));
    let (reads, tries) = (bed.reads() - before, bed.arrivals("INCR").len());
    // Both go on for as long as it takes.
    let took = (bed.now() - sent_at).as_millis();
    let (most_reads, most_tries) = (3 + took / 250, 30 + took / 50);
    let is_calm = u128::from(reads) <= most_reads && (tries as u128) < most_tries;
    assert!(is_calm, "no storm: {reads} reads, {tries} tries in {took} ms");
    assert_eq!((bed.increments("foo"), bed.nodes_of("INCR").last().copied()), (1, Some(spare)));
    bed.finish();
}

/// The cluster is down for a moment: callers wait for it, and hear of it when their time is over. CLUSTER-12, RULE-371
pub fn a_cluster_that_is_down(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND));
    bed.connect_cluster_with(settings);
    let set_down =
        |bed: &mut Testbed, is_down| bed.server(|server, now| server.set_cluster_down(now, is_down));
    set_down(&mut bed, true);
    let ticket = bed.send_within(SECOND * 5, set("foo", "y"));
    bed.run_for(millis(300));
    assert!(bed.outcome(ticket).is_none());
    set_down(&mut bed, false);
    assert_eq!(bed.reply(ticket), Frame::simple("OK"));

    set_down(&mut bed, true);
    let began_at = bed.now();
    let ticket = bed.send(get("foo"));
    match bed.wait(ticket) {
        Ok(replies) => {
            let text = replies[0].as_str().unwrap_or_default();
            assert!(replies[0].is_error() && text.starts_with("CLUSTERDOWN"), "{replies:?}");
        }
        // Over sockets the last try may be under way when the time is over.
        Err(error) => {
            let may_be_late = bed.slack() > millis(100);
            assert!(may_be_late && matches!(error, RequestError::TimedOut { .. }), "{error}");
        }
    }
    let took = bed.now() - began_at;
    assert!(took >= millis(500) && took <= millis(1_100) + bed.slack(), "{took:?}");
    bed.finish();
}

/// All connections are lost at the same time, and no node takes a dial for a while: commands are tried again as long as their time lasts, and not a
/// number of times. CLUSTER-17
pub fn all_connections_are_lost(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND * 10));
    bed.connect_cluster_with(settings);
    bed.set_each();
    for node in [bed.a, bed.b, bed.c] {
        bed.refuse(node, SECOND * 2);
        bed.kill_all(node, CloseHow::Reset);
    }
    bed.run_until_soon("it is noticed", |bed| bed.cluster_stats().nodes_ready == 0);
    let tickets: Vec<_> =
        KEYS.iter().flat_map(|key| [bed.send(incr("{foo}n")), bed.send(get(key))]).collect();
    for (at, ticket) in tickets.into_iter().enumerate() {
        let reply = bed.reply(ticket);
        assert!(!reply.is_error(), "{at}: {reply:?}");
    }
    assert_eq!(bed.increments("{foo}n"), 3);
    bed.finish();
}

/// A MOVING of one node moves the connections to that node and no others, without an error or a stall. Its slots follow its id, and it is the same node
/// at the new address. CLUSTER-25, RULE-376, INV-03
pub fn one_node_moves(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.refresh_interval = SECOND;
    bed.connect_cluster_with(settings);
    bed.start_load(9);
    bed.run_for(millis(100));
    let (a, spare) = (bed.a, bed.spare());
    // At once, lest the topology is read in between.
    bed.server(|server, now| {
        server.relocate(now, a, spare);
        server.moving(now, a, Moving::new(Target::Endpoint(spare), SECOND * 2));
    });
    bed.run_until_soon("it has moved", |bed| bed.connections(a).is_empty() && bed.leads_to("bar", spare));
    bed.run_for(SECOND * 2);
    bed.stop_load();
    bed.assert_hitless(millis(100));
    assert_eq!([a, bed.b, bed.c, spare].map(|node| bed.accepted(node)), [1; 4], "{:?}", bed.cluster_events());
    let there = bed.endpoint_of(spare);
    let events = bed.cluster_events();
    let is_new = |event: &ClusterEvent| matches!(event, ClusterEvent::NodeAdded { endpoint, .. } if *endpoint == there);
    assert!(!events.iter().any(is_new), "it is no new node: {events:?}");
    assert_eq!((bed.moved(), bed.open_nodes()), (0, 3));
    bed.finish();
}

/// A node that has moved tells whoever comes of the same move: nobody moves again, and nobody dials for it. PITFALL-27, CLUSTER-25
pub fn a_moving_is_told_again(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (a, spare) = (bed.a, bed.spare());
    let seq = bed.server(|server, now| {
        server.relocate(now, a, spare);
        server.moving(now, a, Moving::new(Target::Endpoint(spare), SECOND * 3))
    });
    bed.run_until_soon("it has moved", |bed| bed.connections(a).is_empty());
    let again = push_frame(&["MOVING", &seq.to_string(), "2", &bed.address(spare).to_string()]);
    for _ in 0..3 {
        bed.push(spare, &again);
        bed.run_for(millis(100));
    }
    bed.set_each();
    assert_eq!([a, bed.b, bed.c, spare].map(|node| bed.accepted(node)), [1; 4]);
    // A newcomer is told, too.
    bed.kill_all(spare, CloseHow::Fin);
    bed.run_until_soon("it is there again", |bed| bed.connections(spare).len() == 1);
    bed.push(spare, &again);
    bed.run_for(millis(500));
    bed.set_each();
    assert_eq!([a, bed.b, bed.c, spare].map(|node| bed.accepted(node)), [1, 1, 1, 2]);
    bed.finish();
}

/// Each node tells whoever comes of the last end of an operation, however long ago that was: nothing happens. PITFALL-28, RULE-37
pub fn an_end_is_told_to_newcomers(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.server(|server, now| {
        server.migrating(now, Notice::new(SECOND));
        server.migrated(now, Notice::new(SECOND));
    });
    bed.connect_cluster();
    let nodes = [bed.a, bed.b, bed.c];
    for node in nodes {
        let conn = bed.connections(node)[0];
        bed.run_until_soon("it is told", |bed| {
            bed.server(|server, _| server.ledger().notified(conn).any(|(name, _)| name == "MIGRATED"))
        });
    }
    let before = bed.reads();
    bed.set_each();
    bed.run_for(millis(600));
    assert_eq!(nodes.map(|node| bed.accepted(node)), [1; 3]);
    assert_eq!(bed.reads(), before);
    bed.finish();
}

/// A node that is known by its name moves, and the announcement does not say where to: the name is looked up, and followed when it leads elsewhere.
/// The connection serves where it is until then. PITFALL-29
pub fn a_node_known_by_name_alone(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).cluster().build();
    let (nodes, spare) = ([bed.a, bed.b, bed.c], bed.spare());
    for (node, name) in nodes.into_iter().zip(["a.test", "b.test", "c.test"]) {
        bed.server(|server, _| server.announce_as(node, NodeNaming::Host));
        bed.set_name(name, &[node]);
    }
    let port = bed.address(bed.a).port();
    let settings = bed.cluster_settings_of(&[format!("a.test:{port}")]);
    bed.connect_cluster_with(settings);
    assert_eq!(bed.lookups("a.test"), 1);
    bed.start_load(9);
    let moving = Moving::new(Target::Null, SECOND * 3).closing_late_by(bed.slack());
    bed.server(|server, now| {
        server.relocate(now, nodes[0], spare);
        server.moving(now, nodes[0], moving);
    });
    bed.run_for(SECOND * 2);
    assert_eq!((bed.connections(nodes[0]).len(), bed.connections(spare).len()), (1, 0));
    assert!(bed.lookups("a.test") > 1, "it is watched from half of the time on");
    bed.set_name("a.test", &[spare]);
    bed.run_until_soon("it has moved", |bed| {
        bed.connections(nodes[0]).is_empty() && bed.connections(spare).len() == 1
    });
    bed.stop_load();
    bed.assert_hitless(millis(100));
    let known = Endpoint::Tcp { host: HostName::Name("a.test".into()), port };
    assert!(bed.endpoints().contains(&known), "{:?}", bed.endpoints());
    assert_eq!((bed.accepted(spare), bed.accepted(nodes[1]), bed.accepted(nodes[2])), (1, 1, 1));
    bed.finish();
}

/// What a node announces right ahead of the end of its connection opens nothing, and its connection comes back to where it was. PITFALL-30,
/// RULE-42
pub fn behind_the_end(host: &dyn Host) {
    for name in ["MOVING", "MIGRATING", "FAILING_OVER"] {
        let mut bed = Testbed::cluster(host);
        let mut settings = bed.cluster_settings(&[bed.a]);
        settings.nodes = settings.nodes.command_timeout(Some(SECOND));
        bed.connect_cluster_with(settings);
        let (a, spare) = (bed.a, bed.spare());
        bed.block_reads(true);
        let target = bed.address(spare).to_string();
        bed.push(a, &push_frame(&[name, "1", "30", &target]));
        bed.kill_all(a, CloseHow::Fin);
        // Over sockets the end arrives a moment later.
        bed.run_for(millis(200) + bed.slack());
        bed.block_reads(false);
        bed.run_until_soon("it connects again", |bed| bed.connections(a).len() == 1);
        bed.set_each();
        bed.run_for(millis(300));
        assert_eq!((bed.accepted(a), bed.accepted(spare)), (2, 0), "{name}");
        assert!(bed.leads_to("bar", a));
        // No window relaxes anything.
        bed.slow_down(a, SECOND + millis(900));
        let ticket = bed.send(incr("bar"));
        assert!(matches!(bed.error(ticket), RequestError::TimedOut { .. }), "{name}");
        bed.server(|server, _| server.restore(a));
        bed.finish();
    }
}
