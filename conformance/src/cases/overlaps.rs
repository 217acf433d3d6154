//! Several MOVINGs: repeated, overlapping, out of order, one after the other, and of several proxies.

use hitless_core::error::CloseCause;
use hitless_core::event::{Event, Ignored};
use resp3_codec::Frame;

use super::{ignored, stayed};
use crate::server::{Closes, EndpointId, Fault, Moving, Recipients, Retires, Rule, Target, push_frame};
use crate::testbed::{NAME, SECOND, Testbed, incr, millis};
use crate::world::{Host, Layout};

/// The newest MOVING wins, also over a move that is under way; one that is older is ignored. PITFALL-16, INV-10,
/// RULE-57
pub fn newest_wins(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(4);
    bed.black_hole(bed.b, None);
    bed.refuse(bed.c, None);
    let to =
        |target, seq| Moving::new(Target::Endpoint(target), SECOND * 4).with_seq(seq).closing(Closes::Nobody);
    bed.announce(bed.a, to(bed.b, 7));
    bed.run_for(millis(200));
    bed.announce(bed.a, to(bed.c, 8));
    bed.run_for(millis(200));
    bed.announce(bed.a, to(bed.b, 7));
    bed.announce(bed.a, to(bed.b, 6));
    bed.run_until_soon("they are noticed", |bed| ignored(bed, Ignored::Stale) == 6);
    bed.restore(bed.c);
    bed.run_until_all_at(bed.c);
    assert_eq!(bed.count(|event| matches!(event, Event::MoveSuperseded { .. })), 1);
    assert_eq!((bed.moves(), ignored(&bed, Ignored::Stale)), (2, 6), "{}", bed.history());
    assert_eq!(bed.accepted(bed.b), 0);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// Two overlapping moves may share their id: the target makes the difference, and the later one wins. PITFALL-16,
/// INV-10, RULE-35
pub fn same_id_another_target(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.refuse(bed.b, None);
    for target in [bed.b, bed.c] {
        bed.announce(bed.a, Moving::new(Target::Endpoint(target), SECOND * 3).with_seq(7));
        bed.run_for(millis(100));
    }
    bed.run_until_all_at(bed.c);
    assert_eq!(bed.moves(), 2);
    bed.finish();
}

/// The same MOVING again, later: neither the deadline nor the number of attempts grows. INV-09, PITFALL-06, RULE-59
pub fn duplicates_extend_nothing(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.refuse(bed.b, None);
    let again = Moving::new(Target::Endpoint(bed.b), SECOND * 2).with_seq(3).closing(Closes::Nobody);
    for _ in 0..5 {
        bed.announce(bed.a, again.clone());
        bed.run_for(millis(400));
    }
    bed.run_for(SECOND);
    assert_eq!((bed.moves(), ignored(&bed, Ignored::Duplicate)), (1, 14), "{}", bed.history());
    assert_eq!(stayed(&bed), 3);
    let dials = bed.count(|event| matches!(event, Event::HandoffDialing { .. }));
    assert!((2..=4).contains(&dials), "{dials} attempts\n{}", bed.history());
    bed.finish();
}

/// Away and on, before the first move is over: each connection follows. INV-03, INV-04, INV-10, RULE-82
pub fn chain(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(8);
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    bed.moving(bed.b, bed.c, 2);
    bed.run_until_all_at(bed.c);
    bed.run_for(millis(2200));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    assert_eq!((bed.accepted(bed.b), bed.accepted(bed.c)), (3, 3));
    bed.finish();
}

/// Away and on while the nodes that are left behind still work on their last replies: all of them arrive, and no slot has
/// more than two connections. INV-03, INV-20
pub fn chain_of_slow_nodes(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    let mut tickets = Vec::new();
    for (from, to) in [(bed.a, bed.b), (bed.b, bed.c)] {
        bed.rule(Rule::new(Fault::Delay(millis(1200))).on("INCR").at(from));
        tickets.push(bed.send(incr("n")));
        bed.run_until_soon("it is there", |bed| bed.arrivals("INCR").len() == tickets.len());
        bed.announce(from, Moving::new(Target::Endpoint(to), SECOND * 3).closing(Closes::Nobody));
        let before = bed.cut_overs();
        bed.run_until_soon("the cut-over", |bed| bed.cut_overs() == before + 1);
    }
    for (expected, ticket) in (1..).zip(tickets) {
        assert_eq!(bed.reply(ticket), Frame::Integer(expected));
    }
    bed.run_until_all_at(bed.c);
    bed.finish();
}

/// A node announces, with a lower id, a move to a node that is itself being left for a third one: each word counts for the
/// connections that have heard it. They go where they were told, arrive at a retiring node, and go on from there, in two hops
/// and without a loss. Where the second node does not take them any more, they stay until it is over. RULE-155, INV-03, INV-10
pub fn to_a_node_that_is_being_left(host: &dyn Host) {
    for still_takes_dials in [true, false] {
        let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
        bed.set_name(NAME, &[bed.a, bed.b]);
        let settings = bed.settings_by_name().pool_size(4);
        bed.connect_with(settings);
        assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (2, 2));
        bed.start_slow_reads(4, millis(10));
        let retires = if still_takes_dials { Retires::Never } else { Retires::AtOnce };
        let away = Moving::new(Target::Endpoint(bed.c), SECOND * 3).with_seq(9).retiring(retires);
        bed.announce(bed.a, away.closing(Closes::Nobody));
        bed.run_until_soon("those of the first have moved", |bed| bed.cut_overs() == 2);
        bed.announce(bed.b, Moving::new(Target::Endpoint(bed.a), SECOND * 3).with_seq(5));
        bed.run_until_all_at(bed.c);
        let hops = bed.cut_overs();
        assert_eq!(hops, if still_takes_dials { 6 } else { 2 }, "{}", bed.history());
        assert_eq!(bed.accepted(bed.a), if still_takes_dials { 4 } else { 2 });
        assert_eq!(bed.accepted(bed.c), 4);
        bed.stop_load();
        bed.assert_hitless(if still_takes_dials { millis(50) } else { SECOND });
        bed.finish();
    }
}

/// Away and back again, while the first move is still remembered: that is a new move, not a loop. INV-03, INV-10,
/// PITFALL-27, RULE-82
pub fn there_and_back(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(8);
    let to = |target| {
        let moving = Moving::new(Target::Endpoint(target), SECOND * 3);
        moving.retiring(Retires::Never).closing(Closes::Nobody)
    };
    bed.announce(bed.a, to(bed.b));
    bed.run_until_all_at(bed.b);
    bed.server(|server, _| server.forget_maintenance());
    bed.announce(bed.b, to(bed.a));
    bed.run_until_all_at(bed.a);
    bed.run_for(SECOND);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (6, 3), "{}", bed.history());
    bed.run_for(millis(2500));
    bed.server(|server, _| server.forget_maintenance());
    bed.announce(bed.a, to(bed.b));
    bed.run_until_all_at(bed.b);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (6, 6), "{}", bed.history());
    bed.finish();
}

/// A move that closes those whom it tells, and nobody else: those who come back meanwhile are served.
fn announce_to_those_there(bed: &mut Testbed, from: EndpointId, to: EndpointId) {
    let told = Recipients::Only(bed.connections(from));
    let moving = Moving::new(Target::Endpoint(to), SECOND * 3).told_to(told);
    bed.announce(from, moving.closing(Closes::Recipients).retiring(Retires::Never));
}

fn closed_by_the_server(bed: &Testbed) -> usize {
    let by_server = |event: &&Event| matches!(event, Event::ConnectionClosed { cause, .. } if *cause != CloseCause::ByClient);
    bed.count(by_server)
}

/// Away and back again, before all have followed: the node closes, at its deadline, whom it has told to leave, though it is in service
/// again. By then each of them has given way to a new connection there. INV-03, RULE-211, RULE-212
pub fn back_before_all_have_followed(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(4);
    bed.start_load(4);
    // One follows, and the others are in their handshakes when it is told to go back.
    bed.rule(Rule::new(Fault::Delay(millis(700))).on("HELLO").at(bed.b).skipping(1).always());
    let (a, b) = (bed.a, bed.b);
    announce_to_those_there(&mut bed, a, b);
    bed.run_until_soon("one has followed", |bed| bed.cut_overs() == 1);
    announce_to_those_there(&mut bed, b, a);
    bed.run_until_soon("all are new", |bed| bed.cut_overs() == 5);
    assert_eq!((bed.moves(), bed.accepted(bed.a)), (3, 8), "{}", bed.history());
    bed.run_for(millis(3500));
    assert_eq!((closed_by_the_server(&bed), stayed(&bed)), (0, 0), "{}", bed.history());
    assert_eq!((bed.connections(bed.a).len(), bed.accepted(bed.a)), (4, 8));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// Away and back and away again while a lease is held: it ends where it began, and its connection is given up for another one before the
/// first deadline, which is the one that the node keeps. INV-03, RULE-211
pub fn back_while_a_lease_is_held(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(2).max_dedicated(1);
    bed.connect_with(settings);
    let lease = bed.lease();
    let times = [(bed.a, bed.b), (bed.b, bed.a), (bed.a, bed.b)];
    for (number, (from, to)) in times.into_iter().enumerate() {
        announce_to_those_there(&mut bed, from, to);
        bed.run_until_soon("the others have followed", |bed| bed.cut_overs() == 2 * (number + 1));
        bed.run_for(millis(500));
        assert_eq!(bed.call_on(lease, incr("n")), Frame::Integer(number as i64 + 1));
        if (from, to) == (bed.b, bed.a) {
            bed.run_until_soon("one for the lent one", |bed| bed.accepted(bed.a) == 6);
            assert_eq!(
                bed.accepted(bed.a),
                6,
                "three, two that are back, and one for the lent one: {}",
                bed.history()
            );
        }
    }
    bed.return_lease(lease);
    bed.run_until_all_gone_from_a();
    bed.run_for(millis(3500));
    let lease = bed.lease();
    assert_eq!(bed.call_on(lease, incr("n")), Frame::Integer(4));
    bed.return_lease(lease);
    assert_eq!((closed_by_the_server(&bed), stayed(&bed)), (0, 0), "{}", bed.history());
    bed.finish();
}

/// A late joiner is told of the move that has brought it where it is: nothing happens. PITFALL-27, RULE-38, RULE-81
pub fn told_again_at_the_target(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let seq = bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND * 3));
    bed.run_until_all_at(bed.b);
    let target = bed.address(bed.b).to_string();
    bed.push(bed.b, &push_frame(&["MOVING", &seq.to_string(), "2", &target]));
    bed.run_until_soon("it is noticed", |bed| ignored(bed, Ignored::AlreadyThere) == 3);
    bed.run_for(millis(300));
    assert_eq!((bed.moves(), bed.accepted(bed.b)), (1, 3));
    bed.finish();
}

/// Proxies behind one name move on their own: a source is a peer. PITFALL-36, RULE-58
pub fn proxies_move_independently(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    bed.set_name(NAME, &[bed.a, bed.b]);
    let settings = bed.settings_by_name().pool_size(4);
    bed.connect_with(settings);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (2, 2));
    bed.moving(bed.a, bed.c, 3);
    bed.run_until_soon("those of the one have moved", |bed| {
        bed.cut_overs() == 2 && bed.connections(bed.a).is_empty()
    });
    // Long enough for the others to follow.
    bed.run_for(millis(300));
    assert_eq!((bed.connections(bed.b).len(), bed.connections(bed.c).len()), (2, 2));
    assert_eq!((bed.cut_overs(), bed.accepted(bed.c)), (2, 2));
    bed.moving(bed.b, bed.c, 3);
    bed.run_until_all_at(bed.c);
    assert_eq!((bed.moves(), bed.accepted(bed.c)), (2, 4));
    bed.finish();
}
