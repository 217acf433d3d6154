//! Requests of a cluster's client: one key, several, pipelines, batches and leases.

use hitless_core::cluster::ReadFrom;
use hitless_core::error::RouteError;
use hitless_core::request::{Pipeline, Request, SendError};
use resp3_codec::{Frame, cmd};

use crate::server::{CloseHow, Fault, Moving, Rule, Target};
use crate::testbed::{KEYS, SECOND, Testbed, get, incr, keys_in, millis, set, slot};
use crate::world::Host;

/// Of a key the first tag decides, if it is not empty: the servers agree about every key, and send nothing elsewhere. CLUSTER-01
pub fn hash_tags(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let keys = [
        "{user1000}.following",
        "{user1000}.followers",
        "foo{}{bar}",
        "foo{{bar}}zap",
        "foo{bar}{zap}",
        "{}",
        "{",
        "}{",
        "{x",
        "x}",
        "{}x{y}",
        "",
    ];
    for key in keys {
        assert_eq!(bed.call(set(key, key)), Frame::simple("OK"), "{key}");
        assert_eq!(bed.call(get(key)), Frame::bulk(key), "{key}");
    }
    bed.call(cmd("MSET").args(["a{tag}", "1", "{tag}{other}", "2"]));
    assert_eq!(bed.moved(), 0, "{:?}", bed.cluster_events());
    bed.finish();
}

/// Keys of several slots, in one command or in one batch: the caller is told, and nothing is sent. CLUSTER-18, RULE-363
pub fn refused_across_slots(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let command = Request::command(cmd("MGET").args(KEYS)).expect("a command for the shared client");
    let batch = Pipeline::atomic().command(get("bar")).command(get("foo"));
    let batch = batch.into_request().expect("commands for the shared client").expect("there are some");
    for request in [command, batch] {
        let refused = bed.try_send(request).expect_err("no node serves all of them");
        let is_told = matches!(&refused, SendError::NoRoute { reason: RouteError::CrossSlot { .. }, .. });
        assert!(is_told, "{refused:?}");
    }
    for node in [bed.a, bed.b, bed.c] {
        assert_eq!(bed.received_at(node), [""; 0]);
    }
    bed.finish();
}

/// A command is split where the caller says so: each slot gets its part, and the replies become one. CLUSTER-18, RULE-367
pub fn split_on_demand(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let a = bed.a;
    let ticket = bed.send_split(cmd("MSET").args(["foo", "3", "bar", "1", "k", "2", "{foo}2", "4"]));
    assert_eq!(bed.reply(ticket), Frame::simple("OK"));
    assert_eq!(bed.arrivals("MSET").len(), 3);
    // A part whose slot has moved follows it.
    bed.give([slot("foo")], a);
    let ticket = bed.send_split(cmd("MGET").args(["k", "foo", "none", "{foo}2", "bar"]));
    let values =
        ["2", "3", "", "4", "1"].map(|text| if text.is_empty() { Frame::Null } else { Frame::bulk(text) });
    assert_eq!(bed.reply(ticket), Frame::Array(values.to_vec()));
    let ticket = bed.send_split(cmd("DEL").args(["k", "foo", "none", "{foo}2", "bar"]));
    assert_eq!(bed.reply(ticket), Frame::Integer(4));
    bed.finish();
}

/// A pipeline over all nodes: the replies come in the order of the commands, and what a node has not run goes on alone, in its order. Nothing
/// runs twice. CLUSTER-19, RULE-364, INV-05
pub fn pipelines_across_nodes(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let b = bed.b;
    bed.give([slot("foo")], b);
    // Of the same node as `foo`, and it stays there.
    let stays = keys_in(12_183..=16_383, 1).remove(0);
    let pipeline = || {
        Pipeline::from([
            set("bar", "1"),
            incr("n{foo}"),
            set(&stays, "3"),
            set("k", "2"),
            incr("n{foo}"),
            get("bar"),
            get("k"),
            incr("n{foo}"),
            incr("n{bar}"),
        ])
    };
    let ok = || Frame::simple("OK");
    let expected = |n: i64, turn: i64| {
        let (number, [bar, k]) = (Frame::Integer, ["1", "2"].map(Frame::bulk));
        [ok(), number(n), ok(), ok(), number(n + 1), bar, k, number(n + 2), number(turn)]
    };
    assert_eq!(bed.pipeline(pipeline()), expected(1, 1));
    bed.run_until_soon("everybody knows", |bed| bed.leads_to("foo", b));
    let moved = bed.moved();
    assert!((1..=3).contains(&moved), "{moved}");
    assert_eq!(bed.pipeline(pipeline()), expected(4, 2));
    assert_eq!((bed.increments("n{foo}"), bed.increments("n{bar}"), bed.moved()), (6, 2, moved));
    bed.finish();
}

/// A batch is run by one node as a whole: refused while it is queued, all of it goes to the next one, and while its slot is between two nodes it
/// waits, never with ASKING. CLUSTER-20, RULE-365, PITFALL-02
pub fn batches_are_one_unit(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (a, b, c) = (bed.a, bed.b, bed.c);
    let batch = || {
        let batch = Pipeline::atomic().command(incr("foo")).command(incr("foo"));
        batch.into_request().expect("commands for the shared client").expect("there are some")
    };
    let results = |bed: &mut Testbed, ticket| match bed.wait(ticket) {
        Ok(replies) => replies.last().cloned().expect("EXEC has a reply"),
        Err(error) => panic!("replies, not: {error}"),
    };
    let numbers = |first: i64| Frame::Array(vec![Frame::Integer(first), Frame::Integer(first + 1)]);
    bed.give([slot("foo")], a);
    let ticket = bed.send_request(batch());
    assert_eq!(results(&mut bed, ticket), numbers(1));
    assert_eq!((bed.nodes_of("EXEC"), bed.increments("foo")), (vec![c, a], 2));

    bed.server(|server, now| {
        server.open_slots(now, [slot("foo")], b);
        server.carry_key(b"foo");
    });
    let ticket = bed.send_request(batch().timeout(SECOND * 5));
    bed.run_for(millis(200));
    assert!(bed.outcome(ticket).is_none());
    bed.server(|server, now| server.close_slots(now, [slot("foo")]));
    assert_eq!(results(&mut bed, ticket), numbers(3));
    assert_eq!((bed.arrivals("ASKING"), bed.increments("foo")), (Vec::new(), 4));
    assert_eq!(bed.nodes_of("EXEC").last(), Some(&b));
    bed.finish();
}

/// A lease stays at the node of its key: when the slot leaves, its holder is told MOVED, and asks for another one; when the node itself is to be left,
/// its holder is told by when. CLUSTER-21, RULE-368
pub fn a_lease_and_its_slot(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    let (a, c, spare) = (bed.a, bed.c, bed.spare());
    let holder = bed.lease_for("foo");
    assert_eq!(bed.call_on(holder, cmd("WATCH").arg("foo")), Frame::simple("OK"));
    assert_eq!(bed.call_on(holder, incr("foo")), Frame::Integer(1));
    bed.give([slot("foo")], a);
    let there = bed.address(a);
    let told = format!("MOVED {} {there}", slot("foo"));
    assert_eq!(bed.call_on(holder, incr("foo")), Frame::error(told));
    let state = bed.lease_state(holder);
    assert!(state.lost.is_none() && state.moving.is_none(), "{state:?}");
    bed.return_lease(holder);
    assert_eq!(bed.nodes_of("INCR"), [c, c]);
    // Somebody is sent away, and so everybody knows, be it a moment later.
    assert_eq!(bed.call(get("foo")), Frame::bulk("1"));
    bed.run_until_soon("everybody knows", |bed| bed.leads_to("foo", a));
    let holder = bed.lease_for("foo");
    assert_eq!(bed.call_on(holder, incr("foo")), Frame::Integer(2));
    bed.server(|server, now| server.relocate(now, a, spare));
    bed.announce(a, Moving::new(Target::Endpoint(spare), SECOND * 2));
    bed.run_until_soon("the holder is told", |bed| bed.lease_state(holder).moving.is_some());
    bed.return_lease(holder);
    bed.run_until_soon("nobody is there any more", |bed| bed.connections(a).is_empty());
    let holder = bed.lease_for("foo");
    assert_eq!(bed.call_on(holder, incr("foo")), Frame::Integer(3));
    assert_eq!(bed.nodes_of("INCR").last(), Some(&spare));
    bed.return_lease(holder);
    bed.finish();
}

/// Whatever moves, is lost or is given up: each command has its own reply. PITFALL-03, INV-02
pub fn replies_stay_with_their_commands(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    settings.nodes = settings.nodes.command_timeout(Some(SECOND * 4));
    bed.connect_cluster_with(settings);
    let nodes = [bed.a, bed.b, bed.c];
    let keys = keys_in(0..=16_383, 90);
    for key in &keys {
        bed.call(set(key, key));
    }
    for round in 0..8_usize {
        let mut awaited = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let other = &keys[(at + 1) % keys.len()];
            let pipeline = Pipeline::from([get(key), get(other)]);
            let request = pipeline.into_request().expect("commands for the shared client");
            let ticket = bed.send_request(request.expect("there are some"));
            if (at + round) % 7 == 0 {
                bed.cancel(ticket);
            } else {
                awaited.push((ticket, [Frame::bulk(key.clone()), Frame::bulk(other.clone())]));
            }
            if at == 45 {
                // Some are written by then, and some are not.
                let moving: Vec<u16> = keys.iter().skip(round).step_by(3).map(|key| slot(key)).collect();
                bed.give(moving, nodes[round % 3]);
                bed.run_for(millis(1));
            }
        }
        if round % 2 == 1 {
            bed.kill_all(nodes[round % 3], CloseHow::Reset);
        }
        for (ticket, values) in awaited {
            match bed.wait(ticket) {
                Ok(replies) => assert_eq!(replies[..], values),
                Err(error) => panic!("reads are asked again: {error}"),
            }
        }
    }
    bed.finish();
}

/// Reads go to a replica where that is chosen, and writes do not; without the replica, and where it refuses READONLY, they go to the primary, and
/// nothing fails. CLUSTER-22, RULE-405, RULE-407, RULE-408
pub fn reads_from_replicas(host: &dyn Host) {
    for takes_readonly in [true, false] {
        let mut bed = Testbed::cluster(host);
        let (c, spare) = (bed.c, bed.spare());
        bed.server(|server, _| {
            server.add_replica(spare, c);
            if !takes_readonly {
                let refusal = Frame::error("ERR unknown command 'READONLY'");
                server.add_rule(Rule::new(Fault::Refuse(refusal)).on("READONLY").always());
            }
        });
        let mut settings = bed.cluster_settings(&[bed.a]);
        settings.read_from = ReadFrom::PreferReplica;
        bed.connect_cluster_with(settings);
        bed.run_until_soon("the replica is connected", |bed| bed.cluster_stats().nodes_ready == 4);
        bed.set_each();
        let reader = if takes_readonly { spare } else { c };
        bed.run_until_soon("reads go there", |bed| {
            bed.call(get("foo"));
            bed.nodes_of("GET").last() == Some(&reader)
        });
        assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
        assert_eq!(bed.nodes_of("SET"), [bed.a, bed.b, c]);
        let readers = bed.nodes_of("GET");
        assert_eq!(readers.last(), Some(&reader));
        assert!(takes_readonly || !readers.contains(&spare));
        bed.refuse(spare, None);
        bed.kill_all(spare, CloseHow::Reset);
        for _ in 0..10 {
            assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
        }
        assert_eq!(bed.nodes_of("GET").last(), Some(&c));
        bed.finish();
    }
}
