//! MOVING: the pool goes to another endpoint, and nobody notices.

use hitless_core::event::{Event, Ignored};

use crate::server::{Moving, Target};
use crate::testbed::{SECOND, Testbed, millis};
use crate::world::Host;

/// A pool moves to a healthy target under load: no error, nobody waits, one dial for each connection, and the old ones
/// are closed as soon as they have answered. INV-01, INV-02, INV-03, INV-04, INV-05, INV-06, INV-07
pub fn healthy_target(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect_pool(5);
    bed.start_load(16);
    bed.run_for(millis(300));
    bed.moving(bed.a, bed.b, 3);
    bed.run_until_all_at(bed.b);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (5, 5));
    let (a, mut finished) = (bed.peer(bed.a), 0);
    for event in bed.events() {
        if let Event::MoveFinished { source, moved, stayed, .. } = event {
            assert_eq!((source, *moved, *stayed), (&a, 5, 0));
            finished += 1;
        }
    }
    assert_eq!(finished, 1);
    assert_eq!(bed.count(|event| matches!(event, Event::Drained { .. })), 5);
    bed.run_for(millis(300));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// The target's port is dialled, not that of the configured endpoint. PITFALL-10
pub fn honours_the_port(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let (a, b) = (bed.address(bed.a), bed.address(bed.b));
    assert_eq!(a.ip(), b.ip());
    assert_ne!(a.port(), b.port());
    bed.connect();
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.accepted(bed.a), 3);
    bed.finish();
}

/// Every connection is told of one move, some of them three times: it is one move, with one dial for each connection.
/// PITFALL-06, INV-09
pub fn copies_are_one_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let target = Target::Endpoint(bed.b);
    for _ in 0..3 {
        let again = Moving::new(target.clone(), SECOND * 2).with_seq(7);
        bed.announce(bed.a, again);
    }
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.moves(), 1);
    assert_eq!(bed.accepted(bed.b), 3);
    let duplicate =
        |event: &&Event| matches!(event, Event::NotificationIgnored { reason: Ignored::Duplicate, .. });
    assert_eq!(bed.count(duplicate), 8, "nine copies, one of which began the move\n{}", bed.history());
    bed.finish();
}

/// Connections on which nothing was ever asked notice the move as well. PITFALL-12
pub fn idle_connections_move(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.run_for(millis(500));
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    let a = bed.a;
    let asked = bed.server(|server, _| {
        server.ledger().received_at(a).filter(|(_, request)| !request.is_handshake()).count()
    });
    assert_eq!(asked, 0, "they were idle");
    bed.finish();
}

/// The target refuses at first: the old connections serve meanwhile, one scout tries again with growing pauses, and the
/// move succeeds inside its budget. PITFALL-09, PITFALL-15, INV-03, INV-07
pub fn target_dead_for_a_while(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(8);
    bed.refuse(bed.b, millis(1500));
    bed.moving(bed.a, bed.b, 4);
    bed.run_for(millis(1000));
    assert_eq!(bed.connections(bed.a).len(), 3, "they serve");
    assert_eq!(bed.cut_overs(), 0);
    bed.run_until("the move is over", millis(2000), |bed| bed.cut_overs() == 3);
    bed.run_until_all_at(bed.b);
    let refused = bed.count(|event| matches!(event, Event::HandoffFailed { .. }));
    assert!((1..=3).contains(&refused), "only the scout tried: {refused} refused dials");
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}
