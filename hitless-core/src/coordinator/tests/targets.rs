//! The policy on targets.

use super::*;
use crate::target_policy::TargetVerdict;

fn with_policy(policy: impl Fn(&Endpoint) -> TargetVerdict + Send + Sync + 'static) -> (World, Vec<ConnId>) {
    let policy = Arc::new(move |target: &Endpoint, _: &Peer| policy(target));
    let mut world = World::with("127.0.0.1:1", 3, maintenance::Config::builder().target_policy(policy));
    let conns = world.connected(3);
    (world, conns)
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint::parse("127.0.0.1", port).unwrap()
}

/// RULE-83
#[test]
fn a_vetoed_target_is_never_dialled_and_the_old_connections_serve() {
    let (mut world, conns) = with_policy(|_| TargetVerdict::Veto);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.notify(conns[1], &moving(1, 15 * SECOND, 2));
    assert_eq!(world.dials.len(), 0);
    assert_eq!(world.ignored(), [Ignored::Duplicate]);
    let finished = world.events.iter().filter_map(|event| match event {
        Event::MoveFinished { moved, stayed, .. } => Some((*moved, *stayed)),
        _ => None,
    });
    assert_eq!(finished.collect::<Vec<_>>(), [(0, 3)]);
    let vetoed = Event::TargetVetoed { source: peer(1), target: endpoint(2), seq: Seq(1) };
    assert_eq!(world.events.iter().filter(|event| **event == vetoed).count(), 1);
    assert!(world.coordinator.relaxed(world.now, Some(conns[2])).is_some());

    // The server closes them: what is dialled is never the target.
    for _ in 0..3 {
        world.now += 15 * SECOND;
        for conn in &conns {
            world.coordinator.handle_closed(world.now, *conn, CloseCause::ByServer);
        }
        world.coordinator.open(world.now, Role::Shared);
        world.drain();
        assert!(world.dials.iter().all(|(_, address, _)| *address == peer(1)), "{:?}", world.dials);
        world.refuse_dials();
    }
}

/// RULE-83
#[test]
fn who_joins_a_vetoed_move_stays() {
    let (mut world, conns) = with_policy(|_| TargetVerdict::Veto);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.connected(1);
    assert_eq!(world.dials.len(), 0);
    let last = world.events.iter().rev().find_map(|event| match event {
        Event::MoveFinished { stayed, .. } => Some(*stayed),
        _ => None,
    });
    assert_eq!(last, Some(4));
}

/// RULE-83
#[test]
fn a_rewritten_target_is_dialled_and_copies_do_not_loop() {
    let (mut world, conns) = with_policy(|_| TargetVerdict::Rewrite(endpoint(7)));
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    assert_eq!(world.dials[0].1, peer(7));
    while world.answer_dials() > 0 {}
    assert_eq!(world.cut_over.len(), 3);
    assert!(world.events.contains(&Event::TargetRewritten {
        source: peer(1),
        announced: endpoint(2),
        target: endpoint(7),
        seq: Seq(1)
    }));
    // Said again at the target, even when the move is long forgotten: it leads to where the connection is.
    let arrived = world.cut_over[0].1;
    for wait in [SECOND, 300 * SECOND] {
        while world.next_timeout(world.now + wait) {}
        world.notify(arrived, &moving(1, 10 * SECOND, 2));
        assert_eq!(world.ignored().last(), Some(&Ignored::AlreadyThere));
    }
    assert!(world.dials.is_empty());
}

#[test]
fn an_allowed_target_is_dialled_as_named_and_no_target_is_not_judged() {
    let (mut world, conns) = with_policy(|target| match target {
        Endpoint::Tcp { port: 2, .. } => TargetVerdict::Allow,
        _ => panic!("the policy is asked for named targets only"),
    });
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    assert_eq!(world.dials[0].1, peer(2));
    let nameless = Notification::Moving { seq: Seq(2), grace: 15 * SECOND, target: MoveTarget::SameName };
    world.notify(conns[0], &nameless);
    assert!(!world.events.iter().any(|event| matches!(event, Event::TargetVetoed { .. })));
}
