//! Slots whose move is announced: SMIGRATING at the old node, SMIGRATED at all.

use hitless_core::cluster::{ClusterEvent, SlotsMoveCause};
use hitless_core::error::RequestError;
use resp3_codec::Frame;

use crate::server::{EndpointId, Fault, Notice, Recipients, Rule, SlotsForm};
use crate::testbed::{SECOND, Testbed, get, incr, keys_in, maintenance, millis, set};
use crate::world::Host;

/// Slots that have migrated, those of `foo` among them, as they stand in a push.
const SLOTS: &str = "12000-12200";

/// The same slots.
fn slots() -> std::ops::RangeInclusive<u16> {
    12_000..=12_200
}

/// A cluster and a client, which has written `foo`.
fn connected(host: &dyn Host) -> Testbed {
    let mut bed = Testbed::cluster(host);
    bed.connect_cluster();
    bed.set_each();
    bed
}

fn notice() -> Notice {
    Notice::of_slots(SLOTS, SECOND)
}

/// Has the slots be at `to`, and tells of it.
fn migrate(bed: &mut Testbed, from: EndpointId, to: EndpointId, notice: Notice) {
    bed.server(|server, now| {
        server.assign_slots(now, slots(), to);
        server.slots_migrated(now, from, to, notice);
    });
}

/// Reads `foo`, which must be at `node`, without having been anywhere else.
fn check(bed: &mut Testbed, node: EndpointId) {
    let before = bed.arrivals("GET").len();
    assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
    assert_eq!((bed.nodes_of("GET").split_off(before), bed.moved()), (vec![node], 0));
}

/// Slots are gone to where they are before anybody is sent away, and nobody reads the topology for it. CLUSTER-24, RULE-374
pub fn without_a_redirect(host: &dyn Host) {
    let mut bed = connected(host);
    let (a, c, before) = (bed.a, bed.c, bed.reads());
    bed.server(|server, now| server.slots_migrating(now, notice().told_to(Recipients::At(c))));
    migrate(&mut bed, c, a, notice());
    bed.run_until_soon("it is heard of", |bed| bed.leads_to("foo", a));
    check(&mut bed, a);
    let events = bed.cluster_events();
    let moved = events.iter().find_map(|event| match event {
        ClusterEvent::SlotsMoved { slots, cause: SlotsMoveCause::Announced(_), .. } => Some(*slots),
        _ => None,
    });
    assert_eq!(moved, Some(201), "{events:?}");
    bed.run_for(SECOND * 2);
    assert_eq!(bed.reads(), before);
    bed.finish();
}

/// Every form of SMIGRATED that was seen moves the slots, told by all nodes or by one that has nothing to do with them, and told again.
/// CLUSTER-24, PITFALL-31, RULE-374
pub fn told_in_every_form(host: &dyn Host) {
    let mut bed = connected(host);
    let mut nodes = [bed.c, bed.a];
    let mut seq = 10;
    for to_whom in [Recipients::All, Recipients::At(bed.b)] {
        for form in SlotsForm::ALL {
            let [from, to] = nodes;
            let words = [bed.address(from).to_string(), bed.address(to).to_string(), SLOTS.to_owned()];
            let notice = notice().with_seq(seq).told_to(to_whom.clone());
            bed.server(|server, now| {
                server.assign_slots(now, slots(), to);
                server.slots_migrated_in(now, form, std::slice::from_ref(&words), notice.clone());
            });
            bed.run_until_soon(&format!("{form:?}, {to_whom:?}"), |bed| bed.leads_to("foo", to));
            check(&mut bed, to);
            // A copy that is late is another one than that of a second node.
            bed.run_for(millis(10));
            bed.server(|server, now| server.slots_migrated_in(now, form, &[words], notice));
            check(&mut bed, to);
            nodes = [to, from];
            seq += 1;
        }
    }
    bed.finish();
}

/// One node tells of a move, be it the old one, the new one or one that has nothing to do with it; or all of them tell. CLUSTER-24, RULE-374
pub fn one_node_tells(host: &dyn Host) {
    let mut bed = connected(host);
    let [a, b, c] = [bed.a, bed.b, bed.c];
    let mut nodes = [c, a];
    for to_whom in [Recipients::At(a), Recipients::At(b), Recipients::At(c), Recipients::All] {
        let [from, to] = nodes;
        migrate(&mut bed, from, to, notice().told_to(to_whom.clone()));
        bed.run_until_soon(&format!("{to_whom:?}"), |bed| bed.leads_to("foo", to));
        check(&mut bed, to);
        nodes = [to, from];
    }
    bed.finish();
}

/// A move is told again by a node that is late, and of two moves of a slot the first is told last: the slot is where it went in the end. CLUSTER-24,
/// PITFALL-28, RULE-321
pub fn told_again_and_out_of_order(host: &dyn Host) {
    let mut bed = connected(host);
    let [a, b, c] = [bed.a, bed.b, bed.c];
    let seq = 50;
    let (first, second) = (notice().with_seq(seq), notice().with_seq(seq + 1));
    // In their order, then both again by another node each.
    migrate(&mut bed, c, a, first.clone().told_to(Recipients::At(c)));
    bed.run_until_soon("the first is heard of", |bed| bed.leads_to("foo", a));
    migrate(&mut bed, a, b, second.clone().told_to(Recipients::At(a)));
    bed.run_until_soon("the second is heard of", |bed| bed.leads_to("foo", b));
    bed.server(|server, now| {
        for node in [b, a, c] {
            server.slots_migrated(now, a, b, second.clone().told_to(Recipients::At(node)));
            server.slots_migrated(now, c, a, first.clone().told_to(Recipients::At(node)));
        }
    });
    bed.run_for(SECOND * 2);
    check(&mut bed, b);
    // The second one first.
    let (third, fourth) = (notice().with_seq(seq + 2), notice().with_seq(seq + 3));
    bed.server(|server, now| {
        server.assign_slots(now, slots(), a);
        server.slots_migrated(now, c, a, fourth.clone().told_to(Recipients::At(a)));
    });
    bed.run_until_soon("it is found out", |bed| bed.leads_to("foo", a));
    bed.server(|server, now| {
        server.slots_migrated(now, b, c, third.told_to(Recipients::At(b)));
        server.slots_migrated(now, c, a, fourth.told_to(Recipients::At(c)));
    });
    bed.run_for(SECOND * 2);
    check(&mut bed, a);
    bed.finish();
}

/// The destination is a node that nobody knew: it is connected, and until it is the slots are looked for where they were, as long as they are served
/// there. Nobody reads the topology for it, unless the push does not say where the slots were. CLUSTER-24, RULE-374, RULE-336
pub fn to_a_newcomer(host: &dyn Host) {
    for form in SlotsForm::ALL {
        let mut bed = connected(host);
        let (c, spare, before) = (bed.c, bed.spare(), bed.reads());
        let words = [bed.address(c).to_string(), bed.address(spare).to_string(), SLOTS.to_owned()];
        let says_all = matches!(form, SlotsForm::Triplets | SlotsForm::FlatTriplets);
        // Long enough to look at what is so until the new node is connected.
        let late = if says_all { millis(400) } else { millis(60) };
        bed.rule(Rule::new(Fault::Delay(late)).on("HELLO").at(spare));
        bed.server(|server, now| {
            server.add_node(spare);
            server.slots_migrated_in(now, form, &[words], notice());
        });
        // The old node serves them until the new one is connected.
        check(&mut bed, c);
        bed.run_until_soon("the newcomer is connected", |bed| bed.leads_to("foo", spare));
        bed.give(slots(), spare);
        check(&mut bed, spare);
        bed.run_for(SECOND * 2);
        assert_eq!((bed.open_nodes(), bed.accepted(spare)), (4, 1));
        assert_eq!(bed.reads() - before, u64::from(!says_all), "{form:?}");
        bed.finish();
    }
}

/// What cannot be read of an announcement is left out alone, and the connection and the replies around it stay. CLUSTER-24, PITFALL-31
pub fn malformed_pairs(host: &dyn Host) {
    let mut bed = connected(host);
    let (a, c) = (bed.a, bed.c);
    bed.give(slots(), a);
    let text = |word: &str| Frame::bulk(word.to_owned());
    let [from, to] = [bed.address(c), bed.address(a)].map(|address| address.to_string());
    let triplet = |words: [&str; 3]| Frame::Array(words.iter().map(|word| text(word)).collect());
    let moves = vec![
        triplet([&from, &to, "no slots"]),
        Frame::Array(vec![Frame::Integer(1)]),
        triplet([&from, &to, SLOTS]),
        triplet([&from, "nowhere", "5"]),
        Frame::Null,
    ];
    let push = Frame::Push(vec![text("SMIGRATED"), Frame::Integer(7), Frame::Array(moves)]);
    let nonsense = [
        Frame::Push(vec![text("SMIGRATED")]),
        Frame::Push(vec![text("SMIGRATED"), Frame::Integer(8)]),
        Frame::Push(vec![text("SMIGRATED"), text("x"), Frame::Null]),
        Frame::Push(vec![text("SMIGRATING"), Frame::Integer(9), text("99999")]),
    ];
    let ticket = bed.send(incr("{foo}n"));
    let conn = bed.connections(c)[0];
    bed.server(|server, now| {
        server.push(now, conn, &nonsense);
        server.push(now, conn, &[push]);
    });
    assert_eq!(bed.reply(ticket), Frame::Integer(1));
    bed.run_until_soon("the move is heard of", |bed| bed.leads_to("foo", a));
    let before = bed.moved();
    assert_eq!(bed.call(get("foo")), Frame::bulk("x"));
    assert_eq!((bed.moved(), bed.accepted(c)), (before, 1));
    bed.finish();
}

/// Slots that are about to leave a node relax the timeouts at that node, and nowhere else. CLUSTER-24, RULE-45
pub fn its_node_alone_is_relaxed(host: &dyn Host) {
    let mut bed = Testbed::cluster(host);
    let mut settings = bed.cluster_settings(&[bed.a]);
    let relaxed = maintenance(|settings| settings.relaxed_timeout(SECOND * 10));
    settings.nodes = settings.nodes.command_timeout(Some(SECOND)).maintenance(relaxed);
    bed.connect_cluster_with(settings);
    bed.set_each();
    let (a, c) = (bed.a, bed.c);
    bed.server(|server, now| server.slots_migrating(now, notice().told_to(Recipients::At(c))));
    // An answer comes behind the announcement.
    bed.call(get("foo"));
    for node in [a, c] {
        bed.slow_down(node, SECOND * 3);
    }
    let (there, elsewhere) = (bed.send(incr("foo.n{foo}")), bed.send(incr("bar.n{bar}")));
    assert!(matches!(bed.error(elsewhere), RequestError::TimedOut { .. }));
    assert_eq!(bed.reply(there), Frame::Integer(1));
    for node in [a, c] {
        bed.restore(node);
    }
    bed.finish();
}

/// A cascade of moves among all nodes under load, told by all of them: no error, no stall, nothing runs twice. CLUSTER-24, INV-03, INV-05
pub fn under_load(host: &dyn Host) {
    let mut bed = connected(host);
    let nodes = [bed.a, bed.b, bed.c];
    bed.start_load(12);
    let mut moves = Vec::new();
    for round in 0..12_u16 {
        let (first, place) = (round % 3 * 5_461 + round / 3 * 1_000, usize::from(round % 3));
        let (from, to, last) = (nodes[place], nodes[(place + 1) % 3], first + 999);
        bed.server(|server, now| {
            let notice = Notice::of_slots(&format!("{first}-{last}"), SECOND);
            server.slots_migrating(now, notice.clone().told_to(Recipients::At(from)));
            server.assign_slots(now, first..=last, to);
            server.slots_migrated(now, from, to, notice);
        });
        moves.push((keys_in(first..=last, 1).remove(0), to));
        bed.run_for(millis(60));
    }
    bed.stop_load();
    bed.assert_hitless(millis(100));
    let is_known = |bed: &mut Testbed| moves.iter().all(|(key, to)| bed.leads_to(key, *to));
    bed.run_until_soon("all moves are heard of", is_known);
    let (before, keys) = (bed.moved(), keys_in(0..=16_383, 60));
    for key in keys {
        assert_eq!(bed.call(set(&key, "x")), Frame::simple("OK"));
    }
    assert_eq!(bed.moved(), before, "everybody knows where everything is");
    bed.finish();
}
