//! Dials that lead nowhere: names of which one address is dead, servers that hang up, credentials that nobody accepts.

use hitless_core::event::Event;
use resp3_codec::Frame;

use crate::server::{CloseHow, EndpointId, Fault, Moving, Rule, Target};
use crate::testbed::{NAME, SECOND, Testbed, set};
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
        Trouble::HangsUp => Fault::CloseUnexecuted(CloseHow::Reset),
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
