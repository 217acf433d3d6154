//! A failover behind an address that stays: for a while nobody there takes writes.

use std::time::Duration;

use hitless_core::event::Event;
use resp3_codec::Frame;

use crate::server::{CloseHow, Condition, Notice};
use crate::testbed::{SECOND, Testbed, incr, maintenance, millis};
use crate::world::Host;

fn connected(host: &dyn Host) -> Testbed {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().maintenance(maintenance(|it| it.relaxed_timeout(SECOND * 5)));
    bed.connect_with(settings);
    bed
}

/// Puts the data behind the endpoint `a` into this state.
fn turn(bed: &mut Testbed, condition: Condition) {
    let a = bed.a;
    bed.server(|server, now| server.set_condition(now, a, condition));
}

/// Announces a failover, and waits until the client has heard of it.
fn announce(bed: &mut Testbed, time: Duration) {
    bed.server(|server, now| server.failing_over(now, Notice::new(time)));
    bed.run_until_soon("the window opens", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) == 1
    });
}

/// The node behind the address is demoted, reloads or has lost its master, as it said it would: what it refuses did not
/// run, is asked again, and nobody sees an error. Each write runs once. INV-05, RULE-55
pub fn refusals_are_not_seen(host: &dyn Host) {
    for condition in [Condition::ReadOnly, Condition::Loading, Condition::MasterDown] {
        let mut bed = connected(host);
        bed.start_load(8);
        announce(&mut bed, SECOND);
        turn(&mut bed, condition);
        bed.run_for(millis(700));
        turn(&mut bed, Condition::Serving);
        bed.server(|server, now| server.failed_over(now, Notice::default()));
        bed.run_for(millis(500));
        bed.stop_load();
        bed.assert_hitless(SECOND * 2);
        assert_eq!(bed.accepted(bed.a), 3, "no connection was given up");
        bed.finish();
    }
}

/// The same without an announcement: the refusal is the reply, at once. RULE-56
pub fn without_a_warning_the_refusal_is_the_reply(host: &dyn Host) {
    let mut bed = connected(host);
    turn(&mut bed, Condition::ReadOnly);
    let reply = bed.call(incr("n"));
    assert!(reply.as_str().is_some_and(|text| text.starts_with("READONLY")), "{reply:?}");
    turn(&mut bed, Condition::Serving);
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}

/// A connection that is opened while the database fails over is told of it with the time that is left: that is the
/// window which is open already, and it is for the newcomer as well. PITFALL-28, INV-08, INV-09, RULE-38
pub fn a_late_joiner_is_told_the_rest(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().command_timeout(Some(millis(300)));
    bed.connect_with(settings.maintenance(maintenance(|it| it.relaxed_timeout(SECOND * 3))));
    announce(&mut bed, SECOND * 30);
    bed.run_for(millis(1500));
    bed.lose(3, |bed| bed.kill_all(bed.a, CloseHow::Fin));
    bed.run_until_whole();
    let conn = bed.connections(bed.a)[0];
    let told = bed.server(|server, _| server.ledger().notified(conn).collect::<Vec<_>>());
    assert!(matches!(told[..], [("FAILING_OVER", _)]), "{told:?}");
    bed.slow_down(bed.a, millis(900));
    assert_eq!(bed.call(incr("n")), Frame::Integer(1), "late, and in time");
    assert_eq!(bed.count(|event| matches!(event, Event::WindowOpened { .. })), 1, "{}", bed.history());
    bed.finish();
}

/// A client that connects while the database fails over knows nothing but what it is told at the opt-in: that is
/// enough. INV-08, RULE-38
pub fn connect_during_a_failover(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND * 30)));
    bed.run_for(millis(1500));
    let settings = bed.settings().command_timeout(Some(millis(300)));
    bed.connect_with(settings.maintenance(maintenance(|it| it.relaxed_timeout(SECOND * 3))));
    bed.run_until_soon("the window opens", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) == 1
    });
    bed.slow_down(bed.a, millis(900));
    assert_eq!(bed.call(incr("n")), Frame::Integer(1), "late, and in time");
    bed.finish();
}

/// Slots of a cluster migrate, and everybody is told, newcomers as well: one window, and the word of their arrival
/// closes it. INV-08, INV-09, RULE-47
pub fn slots_migrate(host: &dyn Host) {
    let mut bed = connected(host);
    bed.server(|server, now| server.slots_migrating(now, Notice::of_slots("1,7-9", SECOND * 30)));
    bed.run_until_soon("the window opens", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) == 1
    });
    bed.lose(1, |bed| bed.kill_one(bed.a));
    bed.run_until_whole();
    let (a, b) = (bed.a, bed.b);
    bed.server(|server, now| server.slots_migrated(now, a, b, Notice::of_slots("1,7-9", SECOND)));
    bed.run_until_soon("the window closes", |bed| {
        bed.count(|event| matches!(event, Event::WindowClosed { expired: false, .. })) == 1
    });
    assert_eq!(bed.count(|event| matches!(event, Event::WindowOpened { .. })), 1, "{}", bed.history());
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}
