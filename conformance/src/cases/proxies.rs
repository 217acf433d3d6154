//! Several proxies behind one name: what DNS answers changes, and each proxy has its own ids and its own moves.

use std::time::Duration;

use hitless_core::event::Event;
use resp3_codec::{Frame, cmd};

use crate::server::{CloseHow, Condition, Moving, Notice, Target};
use crate::testbed::{NAME, SECOND, Testbed, get, maintenance, millis, set};
use crate::world::{Host, Layout};

/// A client of a name that leads to the endpoints `a` and `b`, with two connections to each.
fn connected(host: &dyn Host) -> Testbed {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    bed.set_name(NAME, &[bed.a, bed.b]);
    let settings = bed.settings_by_name().pool_size(4);
    bed.connect_with(settings);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (2, 2));
    bed
}

/// Two proxies give their clients the same ids: the client takes no connection for another one, and the move of the one
/// proxy touches nothing of the other. PITFALL-36, RULE-58
pub fn the_same_ids(host: &dyn Host) {
    let mut bed = connected(host);
    // Nobody joins a connection that does not answer, so that each request takes another one.
    [bed.a, bed.b].iter().for_each(|proxy| bed.slow_down(*proxy, SECOND / 2));
    let mut tickets = Vec::new();
    for _ in 0..4 {
        tickets.push(bed.send(cmd("CLIENT").arg("ID")));
        bed.run_for(millis(20));
    }
    let mut ids: Vec<_> = tickets.into_iter().map(|ticket| bed.reply(ticket)).collect();
    [bed.a, bed.b].iter().for_each(|proxy| bed.slow_down(*proxy, Duration::ZERO));
    ids.sort_by_key(Frame::as_int);
    assert_eq!(ids, [1, 1, 2, 2].map(Frame::Integer));
    let at_b = bed.connections(bed.b);
    bed.moving(bed.a, bed.c, 2);
    bed.run_until_soon("those of the one have moved", |bed| bed.cut_overs() == 2);
    assert_eq!(bed.connections(bed.b), at_b);
    bed.finish();
}

/// What the name leads to changes from move to move, and old addresses are still among the answers for a while: nobody
/// goes to where a proxy retires, and nobody goes round in circles. PITFALL-29, PITFALL-36, INV-03, RULE-62
pub fn answers_change(host: &dyn Host) {
    let mut bed = connected(host);
    bed.start_load(8);
    bed.announce(bed.a, Moving::new(Target::Null, SECOND * 4));
    bed.run_for(SECOND);
    // The retiring address is named beside the new one.
    bed.set_name(NAME, &[bed.c, bed.a]);
    bed.run_until("those of the one have moved", SECOND * 4, |bed| bed.cut_overs() == 2);
    assert_eq!((bed.accepted(bed.b), bed.accepted(bed.c)), (2, 2), "{}", bed.history());
    bed.announce(bed.b, Moving::new(Target::Null, SECOND * 4));
    bed.run_for(SECOND);
    bed.set_name(NAME, &[bed.a, bed.b, bed.c]);
    bed.run_until_all_at(bed.c);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b), bed.accepted(bed.c)), (2, 2, 4));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// A proxy is taken away as real servers do it: nobody is told of a move, its address leaves DNS sooner or later, and
/// half a minute after the MIGRATED its connections are closed without a word. Where DNS was in time they have left by
/// then, and nobody notices; otherwise reads notice nothing, and the new connections go where the name leads. INV-03,
/// RULE-40
pub fn taken_away_without_a_move(host: &dyn Host) {
    const CLOSED: Duration = SECOND.saturating_mul(35);
    for (dns, in_time) in [(Duration::ZERO, true), (SECOND * 10, true), (SECOND * 34, false)] {
        for how in [CloseHow::Fin, CloseHow::Reset] {
            let mut bed = connected(host);
            if in_time {
                bed.start_slow_load(4, millis(150));
            } else {
                bed.start_slow_reads(4, millis(150));
            }
            bed.server(|server, now| server.migrating(now, Notice::new(SECOND * 2)));
            bed.run_for(SECOND * 2);
            bed.server(|server, now| server.migrated(now, Notice::default()));
            bed.run_for(dns);
            bed.set_name(NAME, &[bed.b]);
            bed.run_for(CLOSED - dns);
            assert_eq!(bed.connections(bed.a).is_empty(), in_time, "{dns:?}\n{}", bed.history());
            bed.refuse(bed.a, None);
            bed.kill_all(bed.a, how);
            bed.run_until_all_at(bed.b);
            bed.run_for(SECOND * 20);
            assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (2, 4), "{dns:?}\n{}", bed.history());
            bed.stop_load();
            bed.assert_hitless(if in_time { millis(50) } else { millis(200) });
            bed.finish();
        }
    }
}

/// A proxy that answers PING itself while the node behind it is loading: that answer is no reason to believe that anything
/// else works. A read inside the window waits until the node serves.
pub fn pings_are_answered_by_the_proxy(host: &dyn Host) {
    let mut bed = Testbed::builder(host).endpoints(|spec| spec.answering_pings()).build();
    let settings = bed.settings().pool_size(1).maintenance(maintenance(|it| it.relaxed_timeout(SECOND * 5)));
    bed.connect_with(settings);
    bed.call(set("k", "v"));
    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND * 5)));
    bed.run_until_soon("the window opens", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) == 1
    });
    let a = bed.a;
    bed.server(|server, now| server.set_condition(now, a, Condition::Loading));
    let read = bed.send(get("k"));
    assert_eq!(bed.call(cmd("PING")), Frame::simple("PONG"));
    bed.run_for(millis(300));
    assert!(bed.outcome(read).is_none(), "it waits");
    bed.server(|server, now| server.set_condition(now, a, Condition::Serving));
    assert_eq!(bed.reply(read), Frame::bulk("v"));
    bed.finish();
}
