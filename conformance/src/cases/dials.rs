//! Dials that lead nowhere: names of which one address is dead, servers that hang up, credentials that nobody accepts.

use hitless_core::event::Event;
use resp3_codec::Frame;

use crate::server::{CloseHow, EndpointId, Fault, Moving, Notice, Rule, Target};
use crate::testbed::{NAME, SECOND, Testbed, maintenance, millis, set};
use crate::world::{Host, Layout};

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Refuses,
    Swallows,
    HangsUp,
    Loads,
    SaysNothing,
}

const TROUBLES: [Trouble; 5] =
    [Trouble::Refuses, Trouble::Swallows, Trouble::HangsUp, Trouble::Loads, Trouble::SaysNothing];

fn afflict(bed: &mut Testbed, endpoint: EndpointId, trouble: Trouble) {
    let fault = match trouble {
        Trouble::Refuses => return bed.refuse(endpoint, None),
        Trouble::Swallows => return bed.black_hole(endpoint, None),
        Trouble::HangsUp => {
            // At whatever it is told: one that takes RESP2 would be of use.
            return bed.rule(Rule::new(Fault::CloseUnexecuted(CloseHow::Reset)).at(endpoint).always());
        }
        Trouble::Loads => Fault::Refuse(Frame::error("LOADING the dataset is loaded into memory")),
        Trouble::SaysNothing => Fault::Unanswered,
    };
    bed.rule(Rule::new(fault).on("HELLO").at(endpoint).always());
}

/// A name leads to two addresses, as `localhost` does, and one of them is of no use: it refuses, swallows dials, hangs up, is
/// loading, or accepts and says nothing. The client connects, whichever it is, and its pool is at the other one. RULE-124, RULE-126
pub fn one_address_of_two_answers(host: &dyn Host) {
    for trouble in TROUBLES {
        for is_first in [true, false] {
            let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
            bed.set_name(NAME, &[bed.a, bed.b]);
            let (dead, well) = if is_first { (bed.a, bed.b) } else { (bed.b, bed.a) };
            afflict(&mut bed, dead, trouble);
            let settings = bed.settings_by_name().pool_size(10);
            bed.connect_with(settings);
            assert_eq!(bed.connections(well).len(), 10, "{trouble:?}\n{}", bed.history());
            bed.call(set("k", "v"));
            bed.finish();
        }
    }
}

/// Of three addresses two accept and say nothing: each costs its share of the time, and one attempt gets to the third. RULE-175
pub fn two_addresses_of_three_say_nothing(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    bed.set_name(NAME, &[bed.a, bed.b, bed.c]);
    let (silent, well) = ([bed.a, bed.b], bed.c);
    for endpoint in silent {
        afflict(&mut bed, endpoint, Trouble::SaysNothing);
    }
    let settings = bed.settings_by_name().pool_size(1).connect_timeout(Some(SECOND * 4));
    bed.connect_with(settings);
    assert_eq!(bed.connections(well).len(), 1, "{}", bed.history());
    assert_eq!(bed.count(|event| matches!(event, Event::ConnectFailed { .. })), 0, "{}", bed.history());
    bed.call(set("k", "v"));
    bed.finish();
}

/// A MOVING to a name of which one address is of no use: each handoff is one attempt, and all arrive at the other address.
/// INV-03, RULE-124
pub fn a_move_to_a_name_with_a_dead_address(host: &dyn Host) {
    for trouble in [Trouble::Refuses, Trouble::Swallows] {
        let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
        bed.set_name("node.test", &[bed.b, bed.c]);
        let target = format!("node.test:{}", bed.address(bed.b).port());
        let dead = bed.b;
        afflict(&mut bed, dead, trouble);
        bed.connect();
        bed.start_load(4);
        bed.announce(bed.a, Moving::new(Target::Address(target), SECOND * 4));
        bed.run_until_all_at(bed.c);
        bed.stop_load();
        // Real systems take a dial though its server does not accept: then the handshake has no answer.
        let failed = bed.count(|event| matches!(event, Event::HandoffFailed { .. }));
        assert!(failed <= usize::from(trouble != Trouble::Refuses), "{trouble:?}\n{}", bed.history());
        bed.finish();
    }
}

/// The name leads to three addresses, and the server names no target: nobody goes to the dead one of the two that are left for
/// long, neither while the old connections serve nor after they have been closed. RULE-77, RULE-78, RULE-124
pub fn a_move_by_name_past_a_dead_address(host: &dyn Host) {
    for is_lost in [false, true] {
        let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
        let settings = bed.settings_by_name().command_timeout(Some(SECOND * 10));
        bed.connect_with(settings);
        let dead = bed.b;
        afflict(&mut bed, dead, Trouble::Swallows);
        bed.announce(bed.a, Moving::new(Target::Null, SECOND * 4));
        bed.run_for(SECOND);
        bed.set_name(NAME, &[bed.a, bed.b, bed.c]);
        if is_lost {
            bed.refuse(bed.a, None);
            bed.kill_all(bed.a, CloseHow::Reset);
        }
        bed.run_until_all_at(bed.c);
        bed.call(set("k", "v"));
        bed.finish();
    }
}

/// Ends every connection to `endpoint` right behind its handshake from now on.
fn close_behind_the_handshake(bed: &mut Testbed, endpoint: EndpointId) {
    // The last command of the handshake.
    let fault = Fault::CloseAnswered(CloseHow::Fin);
    bed.rule(Rule::new(fault).on("CLIENT SETINFO LIB-VER").at(endpoint).always());
}

/// A server shakes hands and closes, again and again: it is dialled ever more seldom, as one that refuses is. When it works again
/// the pool is whole soon, and the next loss is made good at once, because requests have been answered meanwhile. RULE-127
pub fn a_server_that_closes_behind_the_handshake(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(1);
    let a = bed.a;
    close_behind_the_handshake(&mut bed, a);
    bed.kill_all(a, CloseHow::Fin);
    let before = bed.accepted(a);
    bed.run_for(SECOND * 4);
    let dials = bed.accepted(a) - before;
    // Pauses of at least 25, 50, 100, 200, 400, 800 ms and then a second.
    assert!((3..=10).contains(&dials), "{dials} in 4 s\n{}", bed.history());
    bed.server(|server, _| server.clear_rules());
    bed.run_until("there is a connection", SECOND * 3, |bed| bed.stats().serving == 1);
    bed.call(set("k", "v"));
    // An answer and a life of two seconds make up for the failures.
    bed.run_for(millis(2200));
    bed.kill_all(a, CloseHow::Fin);
    bed.run_until("the loss is made good", millis(200), |bed| bed.stats().serving == 1);
    bed.finish();
}

/// A MOVING leads to a target that shakes hands and closes, while the source still takes connections: the dials are bounded by
/// the retries of the move and the pauses of the slots. RULE-127, RULE-130
pub fn a_target_that_closes_behind_the_handshake(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(10);
    bed.connect_with(settings);
    let (a, b) = (bed.a, bed.b);
    close_behind_the_handshake(&mut bed, b);
    let (at_a, at_b) = (bed.accepted(a), bed.accepted(b));
    bed.moving(a, b, 8);
    bed.run_for(SECOND * 6);
    let dials = (bed.accepted(a) - at_a) + (bed.accepted(b) - at_b);
    assert!((10..=10 * 12).contains(&dials), "{dials} in 6 s");
    bed.server(|server, _| server.clear_rules());
    bed.run_until("the pool is whole", SECOND * 8, |bed| bed.stats().serving == 10);
    bed.call(set("k", "v"));
    bed.finish();
}

/// The server accepts the credentials no more, and every connection is lost: a slot finds that out at most once, and then one knocks
/// for all, ever more seldom. When they are accepted again all slots connect. RULE-128, RULE-129
pub fn credentials_that_are_refused(host: &dyn Host) {
    for refusal in ["WRONGPASS invalid username-password pair or user is disabled.", "NOPERM no permission"] {
        let mut bed = Testbed::new(host);
        let settings = bed.settings().pool_size(10);
        bed.connect_with(settings);
        let a = bed.a;
        bed.rule(Rule::new(Fault::Refuse(Frame::error(refusal))).on("HELLO").at(a).always());
        bed.kill_all(a, CloseHow::Fin);
        let before = bed.accepted(a);
        bed.run_for(millis(500));
        let found_out = bed.accepted(a) - before;
        assert!((1..=10).contains(&found_out), "{refusal}: {found_out}\n{}", bed.history());
        bed.run_for(millis(3500));
        let knocks = bed.accepted(a) - before - found_out;
        assert!((1..=2).contains(&knocks), "{refusal}: {knocks} in 3.5 s");
        bed.server(|server, _| server.clear_rules());
        bed.run_until("they connect again", SECOND * 9, |bed| bed.stats().serving == 10);
        bed.finish();
    }
}

/// A server that is slow during its maintenance is slow to greet as well: inside a window a dial is given the relaxed timeout, and
/// a request that waits for it has its reply. RULE-131
pub fn a_slow_handshake_inside_a_window(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().maintenance(maintenance(|it| it.relaxed_timeout(SECOND * 5)));
    bed.connect_with(settings);
    let a = bed.a;
    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND * 10)));
    bed.run_until_soon("the window opens", |bed| bed.stats().coordinator.windows == 1);
    bed.rule(Rule::new(Fault::Delay(millis(1500))).on("HELLO").at(a).always());
    bed.kill_all(a, CloseHow::Reset);
    bed.run_until_soon("they are lost", |bed| bed.stats().serving == 0);
    bed.call(set("k", "v"));
    assert_eq!(bed.count(|event| matches!(event, Event::ConnectFailed { .. })), 0, "{}", bed.history());
    bed.finish();
}
