//! What a client knows of a cluster, and how it finds out.

use std::time::Duration;

use hitless_core::cluster::SLOTS;
use hitless_core::endpoint::{Endpoint, Host as HostName};
use hitless_core::error::Delivery;
use resp3_codec::Frame;

use crate::server::{CloseHow, Event, Fault, NodeNaming, Rule, ShardPorts};
use crate::testbed::{KEYS, NAME, SECOND, Testbed, get, keys_in, millis, set, slot};
use crate::world::{Host, Layout};

/// The question for the topology.
const QUESTION: &str = "CLUSTER SLOTS";

/// Refuses commands that begin with these words, as services do.
fn refuse(bed: &mut Testbed, words: &str) {
    let refusal = Frame::error("ERR This command is not available here");
    bed.rule(Rule::new(Fault::Refuse(refusal)).on(words).always());
}

/// Services refuse what a client does not need: one question tells where everything is, MOVED and ASK tell the rest, and ASKING alone is sent beside.
/// CLUSTER-02, RULE-360
pub fn slots_alone_suffice(host: &dyn Host) {
    let needless = ["CLUSTER SHARDS", "CLUSTER MYID", "CLUSTER NODES", "READONLY", "READWRITE"];
    let mut bed = Testbed::cluster(host);
    needless.into_iter().for_each(|words| refuse(&mut bed, words));
    bed.connect_cluster();
    bed.set_each();
    let (a, b) = (bed.a, bed.b);
    bed.give([slot("foo")], a);
    assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
    bed.run_until_soon("everybody knows", |bed| bed.leads_to("foo", a));
    bed.server(|server, now| {
        server.open_slots(now, [slot("foo")], b);
        server.carry_key(b"foo");
    });
    assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
    assert_eq!((bed.moved(), bed.cluster_stats().ask), (1, 1));
    assert_eq!(bed.nodes_of("ASKING"), [b]);
    for words in needless {
        assert_eq!(bed.arrivals(words), [], "{words}");
    }
    bed.finish();
}

/// Who refuses the one question is asked the other one, and from then on that alone. CLUSTER-02
pub fn shards_where_slots_is_refused(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    refuse(&mut bed, QUESTION);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.refresh_interval = millis(300);
    bed.connect_cluster_with(settings);
    bed.set_each();
    bed.run_until("it is asked again and again", SECOND * 10, |bed| {
        bed.arrivals("CLUSTER SHARDS").len() >= 8
    });
    let asked = bed.nodes_of(QUESTION);
    assert!((1..=3).contains(&asked.len()), "each node refuses once: {asked:?}");
    bed.finish();
}

/// Nodes that do not say where they are, are where they were asked: at the start, and when slots have moved. CLUSTER-02, CLUSTER-09,
/// RULE-360
pub fn nodes_without_names(host: &dyn Host) {
    for naming in [NodeNaming::Empty, NodeNaming::Null] {
        let mut bed = Testbed::cluster(host);
        let nodes = [bed.a, bed.b, bed.c];
        bed.server(|server, _| nodes.into_iter().for_each(|node| server.announce_as(node, naming)));
        let settings = bed.cluster_settings(&[bed.b]);
        bed.connect_cluster_with(settings);
        bed.set_each();
        bed.give([slot("foo")], nodes[0]);
        assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
        assert_eq!(bed.moved(), 1);
        bed.finish();
    }
}

/// A server that does not know where a node is takes nothing away: the node is where it was. CLUSTER-02
pub fn a_node_that_is_somewhere_unknown(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.refresh_interval = millis(300);
    bed.connect_cluster_with(settings);
    let c = bed.c;
    bed.server(|server, _| server.announce_as(c, NodeNaming::Unknown));
    let before = bed.reads();
    bed.run_until_soon("it is read several times", |bed| bed.reads() >= before + 4);
    bed.set_each();
    assert_eq!((bed.moved(), bed.accepted(c), bed.open_nodes()), (0, 1, 3));
    bed.finish();
}

/// Nodes that announce addresses which lead nowhere from here are dialled where the map of addresses says, and are not looked up.
/// CLUSTER-04, RULE-379
pub fn behind_a_network_of_their_own(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    for (node, name) in [(bed.a, "a.test"), (bed.b, "b.test"), (bed.c, "c.test"), (bed.spare(), "spare.test")]
    {
        bed.server(|server, _| server.announce_as(node, NodeNaming::Host));
        let (announced, there) = (HostName::Name(name.into()), bed.endpoint_of(node));
        let port = bed.address(node).port();
        settings.address_map.push((Endpoint::Tcp { host: announced, port }, there));
    }
    bed.connect_cluster_with(settings);
    bed.set_each();
    let spare = bed.spare();
    bed.server(|server, now| {
        server.add_node(spare);
        server.announce_as(spare, NodeNaming::Host);
        server.assign_slots(now, [slot("foo")], spare);
    });
    assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
    assert_eq!(bed.nodes_of("GET"), [bed.c, spare]);
    for name in ["a.test", "b.test", "c.test", "spare.test"] {
        assert_eq!(bed.lookups(name), 0, "{name}");
    }
    bed.finish();
}

/// Over TLS the port for it counts, where one is told; a node that is announced by its address has to have the name of the seed, and one that has another
/// name is not believed. CLUSTER-03, CLUSTER-04, RULE-378
pub fn encrypted_nodes(host: &dyn Host) {
    const SERVICE: &str = "redis.cluster.test";
    for ports in [ShardPorts::Plain, ShardPorts::TlsZero, ShardPorts::TlsOnly] {
        let names: [&[&str]; 3] = [&[SERVICE], &[SERVICE], &["c.elsewhere.test"]];
        let mut bed = Testbed::builder(host).certificates(names).cluster().build();
        bed.set_name(SERVICE, &[bed.a]);
        bed.server(|server, _| server.set_shard_ports(ports));
        refuse(&mut bed, QUESTION);
        let port = bed.address(bed.a).port();
        let settings = bed.cluster_settings_of(&[format!("{SERVICE}:{port}")]);
        assert_eq!(bed.try_connect_cluster(settings), Ok(()), "{ports:?}");
        for key in &KEYS[..2] {
            assert_eq!(bed.call(set(key, "x")), Frame::simple("OK"), "{ports:?}");
        }
        let ticket = bed.send(set("foo", "x"));
        assert_eq!(bed.error(ticket).delivery(), Delivery::NotSent);
        assert_eq!(bed.received_at(bed.c), [""; 0]);
        bed.finish();
    }
}

/// The only seed dies for good, and then another node: those that are left tell who has their slots. CLUSTER-05
pub fn every_node_is_a_seed(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND * 5));
    bed.connect_cluster_with(settings);
    bed.set_each();
    for (dies, takes_over) in [(bed.a, bed.b), (bed.b, bed.c)] {
        bed.refuse(dies, None);
        bed.kill_all(dies, CloseHow::Reset);
        let ticket = bed.send(get("bar"));
        bed.run_for(millis(300));
        assert!(bed.outcome(ticket).is_none(), "it waits");
        bed.server(|server, now| {
            let slots = (0..SLOTS).filter(|slot| server.slot_owner(*slot) == Some(dies));
            let slots: Vec<u16> = slots.collect();
            server.assign_slots(now, slots, takes_over);
        });
        assert_eq!(bed.reply(ticket), Frame::bulk("x"));
    }
    bed.set_each();
    bed.finish();
}

/// All nodes are gone, and the configured name leads to others: it is looked up anew. CLUSTER-05
pub fn names_are_looked_up_anew(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).cluster().build();
    let port = bed.address(bed.a).port();
    let mut settings = bed.cluster_settings_of(&[format!("{NAME}:{port}")]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND * 10));
    bed.connect_cluster_with(settings);
    bed.set_each();
    // Each node is known by its own address by then.
    bed.run_until("the seed is closed", SECOND * 8, |bed| bed.open_nodes() == 3);
    let before = bed.lookups(NAME);
    let (nodes, spare) = ([bed.a, bed.b, bed.c], bed.spare());
    for node in nodes {
        bed.refuse(node, None);
        bed.kill_all(node, CloseHow::Reset);
    }
    bed.server(|server, now| {
        server.add_node(spare);
        server.assign_slots(now, 0..SLOTS, spare);
    });
    bed.set_name(NAME, &[spare]);
    for key in KEYS {
        let ticket = bed.send(get(key));
        assert_eq!(bed.reply(ticket), Frame::bulk("x"), "{key}");
    }
    assert!(bed.lookups(NAME) > before);
    bed.finish();
}

/// One seed says nothing: the others are asked at the same time. Where none says anything, the start ends in time. CLUSTER-06, RULE-361
pub fn a_dead_seed_delays_nothing(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let (a, b) = (bed.a, bed.b);
    bed.black_hole(a, None);
    let mut settings = bed.cluster_settings(&[a, b]);
    settings.nodes = settings.nodes.connect_timeout(Some(SECOND * 4));
    let began_at = bed.now();
    assert_eq!(bed.try_connect_cluster(settings), Ok(()));
    // Its slots wait for it, and no others do.
    for key in &KEYS[1..] {
        assert_eq!(bed.call(set(key, "x")), Frame::simple("OK"));
    }
    let took = bed.now() - began_at;
    assert!(took < SECOND + bed.slack(), "{took:?}");
    bed.finish();

    let mut bed = Testbed::cluster(host);
    for node in [bed.a, bed.b] {
        bed.black_hole(node, None);
    }
    let settings = bed.cluster_settings(&[bed.a, bed.b]);
    let began_at = bed.now();
    assert!(bed.try_connect_cluster(settings).is_err());
    let took = bed.now() - began_at;
    assert!(took <= SECOND * 2 + bed.slack(), "{took:?}");
    bed.finish();
}

/// Every slot has moved, and every command is sent elsewhere: that is one reason to read, and what is heard while a node answers is another one.
/// CLUSTER-13
pub fn a_storm_of_redirects(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let nodes = [bed.a, bed.b, bed.c];
    let shift = |bed: &mut Testbed, by: usize| {
        bed.server(|server, now| {
            for slot in 0..SLOTS {
                let at = usize::from(slot) * 3 / usize::from(SLOTS);
                server.assign_slots(now, [slot], nodes[(at + by) % 3]);
            }
        });
    };
    shift(&mut bed, 1);
    bed.rule(Rule::new(Fault::Delay(millis(200))).on(QUESTION).always());
    let before = bed.reads();
    let tickets: Vec<_> = keys_in(0..=SLOTS - 1, 60).iter().map(|key| bed.send(get(key))).collect();
    for ticket in tickets {
        assert_eq!(bed.reply(ticket), Frame::Null);
    }
    assert!(bed.moved() > 40, "{:?}", bed.cluster_stats());
    bed.run_until_soon("the topology is asked for", |bed| bed.reads() > before);
    assert_eq!(bed.reads(), before + 1, "one question for all of them");
    // The answer was made before this, and comes later.
    bed.run_until_soon("a node is asked", |bed| bed.arrivals(QUESTION).len() as u64 == before + 1);
    shift(&mut bed, 2);
    let (heard, unheard) = (keys_in(0..=2_000, 1), keys_in(12_000..=16_000, 1));
    bed.call(get(&heard[0]));
    bed.run_until_soon("it is asked for again", |bed| bed.leads_to(&unheard[0], nodes[1]));
    let moved = bed.moved();
    bed.call(get(&unheard[0]));
    assert_eq!(bed.moved(), moved);
    bed.run_for(SECOND);
    assert!(bed.reads() <= before + 4, "{:?}", bed.cluster_stats());
    let at = bed.server(|server, _| {
        let entries = server.ledger().entries().iter();
        let asked =
            entries.filter(|entry| matches!(&entry.event, Event::Received(request) if request.is(QUESTION)));
        asked.map(|entry| entry.at).collect::<Vec<_>>()
    });
    // A read that follows on another begins a quarter of a second later at the earliest.
    let slack = bed.slack();
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] + slack >= millis(250)), "{at:?}");
    bed.finish();
}

/// One node says nothing and the others refuse to tell the topology: whoever is redirected goes on without it. CLUSTER-14
pub fn a_topology_that_nobody_tells(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    bed.set_each();
    refuse(&mut bed, QUESTION);
    refuse(&mut bed, "CLUSTER SHARDS");
    let (a, b, c) = (bed.a, bed.b, bed.c);
    let silent = bed.connections(a)[0];
    bed.server(|server, now| server.stall(now, silent, now + SECOND * 3));
    let mut longest = Duration::ZERO;
    for turn in 0..40 {
        let there = if turn % 2 == 0 { c } else { b };
        bed.give([slot("k")], there);
        for key in ["k", "foo"] {
            let began_at = bed.now();
            assert_eq!(bed.call(set(key, "y")), Frame::simple("OK"));
            longest = longest.max(bed.now() - began_at);
        }
        // The caller whose command was sent on may be told before others know.
        bed.run_until_soon("everybody knows", |bed| bed.leads_to("k", there));
        bed.run_for(millis(50));
    }
    assert!(longest < millis(100) + bed.slack(), "{longest:?}");
    assert_eq!(bed.moved(), 40);
    bed.run_until_soon("it could not be read", |bed| bed.cluster_stats().topology_failures > 0);
    bed.finish();
}

/// Topology reads go over the connections that there are; a node that has left is closed. CLUSTER-15, INV-20
pub fn reads_use_the_connections_there_are(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.refresh_interval = millis(250);
    bed.connect_cluster_with(settings);
    bed.set_each();
    let before = bed.reads();
    bed.run_until("it is read many times", SECOND * 10, |bed| bed.reads() >= before + 9);
    let (b, c) = (bed.b, bed.c);
    assert_eq!([bed.a, b, c].map(|node| bed.accepted(node)), [1; 3]);
    let slots: Vec<u16> = (10_922..SLOTS).collect();
    bed.give(slots, b);
    bed.server(|server, now| server.remove_node(now, c));
    bed.run_until("the node that has left is closed", SECOND * 10, |bed| {
        bed.connections(c).is_empty() && bed.open_nodes() == 2
    });
    bed.set_each();
    assert_eq!((bed.accepted(c), bed.open_nodes()), (1, 2));
    bed.finish();
}

/// A slot moves, and nobody uses it: silence proves nothing, so the topology is read now and then. CLUSTER-16
pub fn read_now_and_then(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.refresh_interval = millis(400);
    bed.connect_cluster_with(settings);
    bed.set_each();
    let a = bed.a;
    bed.give([slot("foo")], a);
    bed.run_until_soon("it is found out", |bed| bed.leads_to("foo", a));
    assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
    assert_eq!((bed.moved(), bed.nodes_of("GET")), (0, vec![a]));
    bed.finish();
}
