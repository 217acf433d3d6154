//! Slots that move without a word: a node says that it did not run a command, and where it belongs.

use hitless_core::cluster::{ClusterEvent, SlotsMoveCause};
use hitless_core::request::Pipeline;
use resp3_codec::{Frame, cmd};

use crate::server::{EndpointId, NodeNaming};
use crate::testbed::{SECOND, Testbed, get, incr, keys_in, millis, set, slot};
use crate::world::Host;

/// Writes two keys of the slot of `foo`, and has one of them at `to`, where the slot is going.
fn move_half(bed: &mut Testbed, to: EndpointId) {
    bed.call(cmd("MSET").args(["{foo}1", "a", "{foo}2", "b"]));
    bed.server(|server, now| {
        server.open_slots(now, [slot("foo")], to);
        server.carry_key(b"{foo}2");
    });
}

/// The first command learns it by MOVED and goes there at once, the others go there themselves, and the topology is read once. Each
/// command runs once. CLUSTER-07, RULE-364, INV-05
pub fn moved_commands_are_sent_again(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (a, c, before) = (bed.a, bed.c, bed.reads());
    bed.give([slot("foo")], a);
    for expected in 1..5 {
        assert_eq!(bed.call(incr("foo")), Frame::Integer(expected));
        // The caller whose command was sent on may be told before others know.
        bed.run_until_soon("everybody knows", |bed| bed.leads_to("foo", a));
    }
    assert_eq!((bed.moved(), bed.nodes_of("INCR")), (1, vec![c, a, a, a, a]));
    bed.run_until_soon("it is read", |bed| bed.reads() == before + 1);
    bed.run_for(SECOND * 2);
    assert_eq!((bed.increments("foo"), bed.reads()), (4, before + 1));
    bed.finish();
}

/// MOVED to a replica of the slot's shard tells of a failover: one redirect, and all slots of the shard are looked for there. CLUSTER-07
pub fn a_promoted_replica_takes_all_slots(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let (c, spare) = (bed.c, bed.spare());
    bed.server(|server, _| server.add_replica(spare, c));
    bed.connect_cluster();
    bed.server(|server, now| server.promote(now, spare));
    assert_eq!(bed.call(incr("foo")), Frame::Integer(1));
    bed.run_until_soon("everybody knows", |bed| bed.leads_to("foo", spare));
    for key in keys_in(12_183..=16_383, 10) {
        assert_eq!(bed.call(incr(&key)), Frame::Integer(1), "{key}");
    }
    assert_eq!(bed.moved(), 1);
    let events = bed.cluster_events();
    let promoted = events.iter().find_map(|event| match event {
        ClusterEvent::SlotsMoved { slots, cause: SlotsMoveCause::Promotion, .. } => Some(*slots),
        _ => None,
    });
    assert_eq!(promoted, Some(16_384 - 10_922), "{events:?}");
    bed.finish();
}

/// A node that nobody has heard of is opened, and the command goes there and nowhere else. CLUSTER-08
pub fn moved_to_a_newcomer(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (c, spare) = (bed.c, bed.spare());
    bed.server(|server, now| {
        server.add_node(spare);
        server.assign_slots(now, [slot("foo")], spare);
    });
    assert_eq!(bed.call(incr("foo")), Frame::Integer(1));
    assert_eq!((bed.moved(), bed.nodes_of("INCR")), (1, vec![c, spare]));
    assert_eq!((bed.accepted(spare), bed.open_nodes()), (1, 4));
    bed.finish();
}

/// MOVED and ASK name a port alone: the host is the one that was asked. CLUSTER-09
pub fn redirects_without_a_host(host: &dyn Host) {
    for naming in [NodeNaming::Empty, NodeNaming::Null] {
        let mut bed = Testbed::cluster(host);
        bed.connect_cluster();
        let (a, b, c, spare) = (bed.a, bed.b, bed.c, bed.spare());
        bed.server(|server, now| {
            server.add_node(spare);
            [a, b, c, spare].into_iter().for_each(|node| server.announce_as(node, naming));
            server.assign_slots(now, [slot("foo")], spare);
            server.open_slots(now, [slot("k")], c);
        });
        assert_eq!(bed.call(incr("foo")), Frame::Integer(1));
        assert_eq!(bed.call(set("k", "x")), Frame::simple("OK"));
        assert_eq!((bed.nodes_of("INCR"), bed.nodes_of("SET")), (vec![c, spare], vec![b, c]));
        bed.finish();
    }
}

/// While a slot is between two nodes: ASKING right ahead of each command, on one connection, the map stays as it is, and nobody reads the
/// topology. CLUSTER-10, RULE-364
pub fn asked_for_on_the_move(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (a, c, before) = (bed.a, bed.c, bed.reads());
    move_half(&mut bed, a);
    let pipeline = Pipeline::from([get("{foo}1"), get("{foo}2"), set("{foo}3", "c"), get("{foo}3")]);
    let expected = [Frame::bulk("a"), Frame::bulk("b"), Frame::simple("OK"), Frame::bulk("c")];
    assert_eq!(bed.pipeline(pipeline), expected);
    assert_eq!(bed.received_at(a), ["ASKING", "GET", "ASKING", "SET", "ASKING", "GET"]);
    assert!(bed.leads_to("foo", c));
    // The old node is asked first as long as it has the slot.
    assert_eq!(bed.call(get("{foo}2")), Frame::bulk("b"));
    assert_eq!(bed.nodes_of("GET").split_off(5), [c, a]);
    bed.run_for(SECOND * 2);
    let stats = bed.cluster_stats();
    assert_eq!((stats.moved, stats.ask, bed.reads()), (0, 2, before), "{stats:?}");
    bed.finish();
}

/// Keys that are at two nodes for a moment: the same node is asked again after milliseconds, and nobody reads the topology. CLUSTER-11
pub fn tried_again_at_the_same_node(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (a, c, before) = (bed.a, bed.c, bed.reads());
    move_half(&mut bed, a);
    let began_at = bed.now();
    let both = bed.send_within(SECOND * 5, cmd("MGET").args(["{foo}1", "{foo}2"]));
    bed.run_until_soon("it is tried several times", |bed| bed.arrivals("MGET").len() >= 5);
    let took = bed.now() - began_at;
    // 2, 4, 8 and 16 ms, none of which is longer.
    assert!(took <= millis(40) + bed.slack(), "{took:?}");
    assert!(bed.nodes_of("MGET").iter().all(|node| *node == c), "{:?}", bed.nodes_of("MGET"));
    bed.run_for(millis(200));
    let tries = bed.arrivals("MGET").len();
    let most = 14 + bed.slack().as_millis() as usize / 16;
    assert!(tries <= most, "its pauses grow: {tries}");
    assert_eq!(bed.reads(), before);
    bed.server(|server, now| server.close_slots(now, [slot("foo")]));
    let closed_at = bed.now();
    assert_eq!(bed.reply(both), Frame::Array(vec![Frame::bulk("a"), Frame::bulk("b")]));
    let took = bed.now() - closed_at;
    assert!(took <= millis(150) + bed.slack(), "{took:?}");
    bed.finish();
}

/// A command that waits at a node is sent away when its slot leaves, has taken nothing, and waits at the next one. CLUSTER-07, RULE-380
pub fn a_command_that_waits(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (a, c) = (bed.a, bed.c);
    let popped = bed.send(cmd("BLPOP").arg("foo").arg(0));
    bed.run_until_soon("it waits", |bed| bed.nodes_of("BLPOP") == [c]);
    bed.give([slot("foo")], a);
    bed.run_until_soon("it waits there", |bed| bed.nodes_of("BLPOP") == [c, a]);
    assert!(bed.outcome(popped).is_none());
    bed.call(cmd("RPUSH").arg("foo").arg("x"));
    assert_eq!(bed.reply(popped), Frame::Array(vec![Frame::bulk("foo"), Frame::bulk("x")]));
    bed.finish();
}
