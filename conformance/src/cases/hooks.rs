//! Whoever has a say in what a notification does, and whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hitless_core::endpoint::{Endpoint, Peer};
use hitless_core::event::{Event, Ignored, Level};
use hitless_core::maintenance::TargetVerdict;
use hitless_core::notification::{MoveTarget, Notification, NotificationKind};
use hitless_core::observe::Value;
use hitless_core::review::Verdict;
use resp3_codec::Frame;

use super::{ignored, stayed};
use crate::server::{Moving, OptIn, Target};
use crate::testbed::{SECOND, Testbed, get, maintenance, millis};
use crate::world::Host;

/// A hook stops a MOVING: its window closes again, nothing is dialled, the old connections go on serving, and the veto
/// is an event. RULE-108, RULE-109
pub fn a_veto_stops_a_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.review_by(|_| Some(Verdict::Veto));
    bed.connect();
    bed.start_load(4);
    bed.moving(bed.a, bed.b, 20);
    bed.run_until_soon("the veto", |bed| vetoes(bed) > 0);
    bed.run_for(SECOND);
    assert_eq!((bed.accepted(bed.b), bed.moves()), (0, 0), "{}", bed.history());
    assert_eq!(bed.stats().coordinator.windows, 0, "{}", bed.history());
    bed.assert_hitless(millis(500));
    bed.finish();
}

/// A hook stops a MIGRATING: timeouts are what they were. RULE-113
pub fn a_vetoed_opener_relaxes_nothing(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.review_by(|_| Some(Verdict::Veto));
    let settings = bed.settings().command_timeout(Some(millis(300)));
    bed.connect_with(settings.maintenance(maintenance(|settings| settings.relaxed_timeout(SECOND * 5))));
    let push = vec![Frame::bulk("MIGRATING"), Frame::Integer(1), Frame::Integer(5)];
    bed.push(bed.a, &Frame::Push(push));
    bed.run_until_soon("the vetoes", |bed| {
        bed.stats().coordinator.windows == 0 && vetoes(bed) + ignored(bed, Ignored::Duplicate) == 3
    });
    bed.slow_down(bed.a, SECOND * 2);
    let ticket = bed.send(get("k"));
    bed.error(ticket);
    bed.restore(bed.a);
    bed.finish();
}

/// A hook names another target: everybody goes there, and the copies of the MOVING are copies. PITFALL-06, RULE-108
pub fn another_target(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let elsewhere = endpoint(bed.peer(bed.c));
    bed.review_by(move |notification| match notification {
        Notification::Moving { seq, grace, .. } => {
            let target = MoveTarget::Endpoint(elsewhere.clone());
            Some(Verdict::Replace(Notification::Moving { seq: *seq, grace: *grace, target }))
        }
        _ => Some(Verdict::Continue),
    });
    bed.connect();
    bed.start_load(4);
    bed.moving(bed.a, bed.b, 4);
    bed.run_until_all_at(bed.c);
    assert_eq!((bed.accepted(bed.b), bed.accepted(bed.c), bed.moves()), (0, 3, 1), "{}", bed.history());
    bed.assert_hitless(millis(500));
    bed.finish();
}

/// A hook that never comes to a decision: the move goes on without it, in time. INV-03, RULE-114
pub fn no_verdict_in_time(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.review_by(|_| None);
    bed.connect();
    bed.start_load(4);
    let announced_at = bed.now();
    bed.moving(bed.a, bed.b, 3);
    bed.run_until_all_at(bed.b);
    assert!(bed.now() - announced_at < SECOND * 3 + bed.slack(), "{}", bed.history());
    let unreviewed = bed.count(|event| matches!(event, Event::NotificationUnreviewed { .. }));
    assert!(unreviewed > 0, "{}", bed.history());
    bed.assert_hitless(millis(500));
    bed.finish();
}

/// A handshake is no notification: hooks are not called for it, whatever the server answers, and a server without the
/// feature is worth one debug line. PITFALL-22, RULE-08
pub fn the_handshake_is_invisible(host: &dyn Host) {
    let mut bed = Testbed::builder(host).endpoints(|spec| spec.with_opt_in(OptIn::UnknownSubcommand)).build();
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    bed.review_by(move |_| {
        called.fetch_add(1, Ordering::Relaxed);
        Some(Verdict::Veto)
    });
    bed.connect_pool(5);
    bed.lose(1, |bed| bed.kill_one(bed.a));
    bed.run_until_whole();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    let lines: Vec<_> = bed.events().filter(|event| event.name().starts_with("negotiation.")).collect();
    assert_eq!(lines.iter().map(|event| event.level()).collect::<Vec<_>>(), [Level::Debug], "{lines:?}");
    let figures = bed.figures();
    assert_eq!((figures.hook_failures.panics, figures.metrics.connect_failures), (0, 0));
    bed.finish();
}

/// Counters are what the events say, gauges what is there at the moment: they return to zero when all is over.
/// PITFALL-24, RULE-117
pub fn figures_return_to_zero(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.review_by(|_| Some(Verdict::Continue));
    bed.connect();
    bed.black_hole(bed.b, None);
    bed.moving(bed.a, bed.b, 4);
    bed.run_until_soon("the scout", |bed| bed.figures().handoffs_in_flight == 1);
    assert_eq!(bed.figures().moves, 1);
    bed.restore(bed.b);
    bed.run_until_all_at(bed.b);
    bed.run_until("the end of the move", SECOND * 10, |bed| bed.figures().moves == 0);
    let figures = bed.figures();
    let metrics = &figures.metrics;
    assert_eq!(
        (metrics.handoffs_succeeded, figures.handoffs_in_flight, figures.handoffs_queued),
        (3, 0, 0),
        "{}",
        bed.history()
    );
    assert_eq!(metrics.handoffs_tried, metrics.handoffs_succeeded + metrics.handoffs_failed);
    assert_eq!(metrics.handoffs_succeeded as usize, bed.cut_overs());
    let received = bed
        .count(|event| matches!(event, Event::NotificationReceived { kind: NotificationKind::Moving, .. }));
    assert_eq!(metrics.notifications(NotificationKind::Moving).received as usize, received);
    assert!((1..=3).contains(&received), "over each connection that was not yet replaced: {received}");
    assert_eq!((metrics.move_duration.count(), figures.connections), (1, 3), "{}", bed.history());
    bed.shutdown(SECOND);
    let end = bed.figures();
    for sample in end.samples() {
        assert!(!matches!(sample.value, Value::Gauge(1..)), "{sample}");
    }
}

/// The policy on targets forbids where a MOVING leads: it is not dialled, and the old connections serve to the end.
/// RULE-83
pub fn a_forbidden_target_is_not_dialled(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let policy = |_: &Endpoint, _: &Peer| TargetVerdict::Veto;
    let settings = bed.settings();
    bed.connect_with(settings.maintenance(maintenance(|settings| settings.target_policy(Arc::new(policy)))));
    bed.start_load(4);
    bed.moving(bed.a, bed.b, 20);
    bed.run_until_soon("the end of the move", |bed| stayed(bed) == 3);
    bed.run_for(SECOND);
    assert_eq!(bed.accepted(bed.b), 0, "{}", bed.history());
    let vetoed = bed.count(|event| matches!(event, Event::TargetVetoed { .. }));
    assert_eq!(vetoed, 1, "{}", bed.history());
    bed.assert_hitless(millis(500));
    bed.finish();
}

/// The server names an address of its own network, and the policy on targets knows how to reach it. RULE-83
pub fn a_translated_target(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let reachable = endpoint(bed.peer(bed.b));
    let policy = move |_: &Endpoint, _: &Peer| TargetVerdict::Rewrite(reachable.clone());
    let settings = bed.settings();
    bed.connect_with(settings.maintenance(maintenance(|settings| settings.target_policy(Arc::new(policy)))));
    bed.start_load(4);
    bed.announce(bed.a, Moving::new(Target::Address("192.0.2.7:6379".to_owned()), SECOND * 4));
    bed.run_until_all_at(bed.b);
    bed.assert_hitless(millis(500));
    bed.finish();
}

fn vetoes(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::NotificationVetoed { .. }))
}

fn endpoint(peer: Peer) -> Endpoint {
    Endpoint::parse(&peer.to_string(), 6379).expect("the address of an endpoint")
}
