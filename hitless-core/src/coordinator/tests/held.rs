//! Connections whose owners decide when to switch to a successor.

use super::*;

/// What the owner is told, observers' events and windows left out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Dial { conn: ConnId, replaces: Option<ConnId> },
    Serve(ConnId),
    Successor { from: ConnId, to: ConnId, until: Instant },
    CutOver { from: ConnId, to: ConnId },
    Drain { conn: ConnId, until: Instant },
    Close(ConnId, CloseCause),
    Lost(ConnId, Replacement),
    Failed(ConnId, Redial),
    OptIn(ConnId),
}

/// What the owner was told since it asked last. Dials stay to be answered.
fn told(world: &mut World) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some(directive) = world.coordinator.poll_directive() {
        told.push(match directive {
            Directive::Dial { conn, target, probe, replaces, .. } => {
                world.dials.push((conn, target.address, probe));
                Told::Dial { conn, replaces }
            }
            Directive::Close { conn, cause } => {
                world.dials.retain(|(dialled, ..)| *dialled != conn);
                Told::Close(conn, cause)
            }
            Directive::Serve { conn } => Told::Serve(conn),
            Directive::Successor { from, to, until } => Told::Successor { from, to, until },
            Directive::CutOver { from, to } => Told::CutOver { from, to },
            Directive::Drain { conn, until } => Told::Drain { conn, until },
            Directive::Lost { conn, replacement } => Told::Lost(conn, replacement),
            Directive::Failed { conn, redial, .. } => Told::Failed(conn, redial),
            Directive::OptIn { conn } => Told::OptIn(conn),
            Directive::Resolve { conn, .. } => {
                world.lookups.push(conn);
                continue;
            }
            Directive::Emit(event) => {
                world.events.push(event);
                continue;
            }
            Directive::Windows { .. } => continue,
            other => panic!("{other:?}"),
        });
    }
    told
}

/// Opens a connection of each of `roles` to the configured address.
fn opened(world: &mut World, roles: &[Role]) -> Vec<ConnId> {
    let conns = roles.iter().map(|role| world.coordinator.open(world.now, *role)).collect();
    world.drain();
    world.answer_dials();
    conns
}

/// A held connection, and a pool of that size.
fn one_held(pool: u32) -> (World, ConnId) {
    let mut world = World::new("127.0.0.1:1", pool);
    let conn = opened(&mut world, &[Role::Held])[0];
    (world, conn)
}

fn announce(world: &mut World, conn: ConnId, seq: u64, grace: Duration, port: u16) -> Vec<Told> {
    world.coordinator.handle_notification(world.now, conn, &moving(seq, grace, port));
    told(world)
}

/// The dial that was asked for first succeeds.
fn land(world: &mut World) -> (ConnId, Vec<Told>) {
    let (conn, address, _) = world.dials.remove(0);
    world.coordinator.handle_connected(world.now, conn, address);
    world.coordinator.handle_ready(world.now, conn, OptIn::Accepted);
    (conn, told(world))
}

fn switch(world: &mut World, from: ConnId) -> Vec<Told> {
    world.coordinator.handle_switched(world.now, from);
    told(world)
}

fn lose(world: &mut World, conn: ConnId) -> Vec<Told> {
    world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
    told(world)
}

fn release(world: &mut World, conn: ConnId) -> Vec<Told> {
    world.coordinator.release(world.now, conn);
    told(world)
}

fn drained(world: &mut World, conn: ConnId) -> Vec<Told> {
    world.coordinator.handle_drained(world.now, conn);
    told(world)
}

/// Lets time pass up to `until`, that included.
fn pass(world: &mut World, until: Instant) -> Vec<Told> {
    let mut all = Vec::new();
    while let Some(at) = world.coordinator.poll_timeout().filter(|at| *at <= until) {
        world.now = world.now.max(at);
        world.coordinator.handle_timeout(world.now);
        all.extend(told(world));
        assert!(world.coordinator.poll_timeout().is_none_or(|next| next > world.now), "it spins");
    }
    world.now = until;
    all
}

/// A held connection whose successor is ready, in a move to port 2 that is over after `grace`.
fn awaiting(grace: Duration) -> (World, ConnId, ConnId) {
    let (mut world, from) = one_held(1);
    announce(&mut world, from, 1, grace, 2);
    let until = world.now + grace;
    let (to, said) = land(&mut world);
    assert_eq!(said, [Told::Successor { from, to, until }]);
    (world, from, to)
}

/// How many have moved and how many stay, as was said of each move that is over.
fn finished(world: &World) -> Vec<(u32, u32)> {
    let counts = |event: &Event| match event {
        Event::MoveFinished { moved, stayed, .. } => Some((*moved, *stayed)),
        _ => None,
    };
    world.events.iter().filter_map(counts).collect()
}

fn sockets(world: &World) -> u32 {
    world.coordinator.stats().connections.values().sum()
}

// ---- the switch ----

/// A held connection is not cut over when its successor is ready, but when its owner has switched.
#[test]
fn the_owner_is_asked_and_the_cut_over_follows_its_switch() {
    let (mut world, from, to) = awaiting(30 * SECOND);
    let until = world.now + 30 * SECOND;
    let switched_at = world.now + 7 * SECOND;
    assert_eq!(pass(&mut world, switched_at), []);
    assert_eq!(finished(&world), []);
    assert_eq!(switch(&mut world, from), [Told::CutOver { from, to }, Told::Drain { conn: from, until }]);
    assert_eq!(finished(&world), [(1, 0)]);
    assert_eq!(drained(&mut world, from), [Told::Close(from, CloseCause::ByClient)]);
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(peer(2), 1)]));
}

/// Ready held connections of which nobody has switched do not occupy the only worker.
#[test]
fn a_worker_is_free_while_an_owner_is_awaited() {
    let mut world = World::new("127.0.0.1:1", 3);
    let conns = opened(&mut world, &[Role::Held; 3]);
    announce(&mut world, conns[0], 1, 15 * SECOND, 2);
    let until = world.now + 15 * SECOND;
    for (at, from) in conns.iter().enumerate() {
        assert_eq!(world.dials.len(), 1, "one worker");
        let (to, said) = land(&mut world);
        assert_eq!(said[0], Told::Successor { from: *from, to, until });
        let next = conns.get(at + 1).copied();
        assert_eq!(said.len(), if next.is_some() { 2 } else { 1 });
        assert!(matches!(said[1..], [] | [Told::Dial { .. }]), "{said:?}");
    }
    assert_eq!(world.coordinator.stats().handoffs_working, 0);
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(peer(1), 3), (peer(2), 3)]));
    for from in conns {
        assert_eq!(switch(&mut world, from).len(), 2);
    }
    assert_eq!(finished(&world), [(3, 0)]);
}

/// Shared connections that follow a held scout do not wait until the owner of that one has switched.
#[test]
fn the_others_follow_a_held_scout_at_once() {
    let mut world = World::new("127.0.0.1:1", 3);
    let conns = opened(&mut world, &[Role::Held, Role::Shared, Role::Shared]);
    announce(&mut world, conns[0], 1, 15 * SECOND, 2);
    assert_eq!(world.dials.len(), 1, "the scout goes alone");
    land(&mut world);
    for from in [conns[1], conns[2]] {
        let (to, said) = land(&mut world);
        assert_eq!(said[0], Told::CutOver { from, to });
    }
    assert_eq!(finished(&world), [], "one owner has not switched");
}

/// In a pool of both roles shared connections are cut over and owners of held ones are asked.
#[test]
fn each_connection_of_a_mixed_pool_moves_according_to_its_role() {
    let mut world = World::new("127.0.0.1:1", 4);
    let conns = opened(&mut world, &[Role::Shared, Role::Held, Role::Shared, Role::Held]);
    announce(&mut world, conns[1], 1, 15 * SECOND, 2);
    let (mut cut_over, mut asked) = (Vec::new(), Vec::new());
    while !world.dials.is_empty() {
        for said in land(&mut world).1 {
            match said {
                Told::CutOver { from, .. } => cut_over.push(from),
                Told::Successor { from, .. } => asked.push(from),
                Told::Drain { .. } | Told::Dial { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((cut_over, asked), (vec![conns[0], conns[2]], vec![conns[1], conns[3]]));
}

/// What is dialled in the place of a held connection is held as well, also when its predecessor was lost meanwhile.
#[test]
fn successors_inherit_the_role() {
    for is_lost in [false, true] {
        let (mut world, from) = one_held(1);
        announce(&mut world, from, 1, 15 * SECOND, 2);
        if is_lost {
            lose(&mut world, from);
        }
        let (to, _) = land(&mut world);
        if !is_lost {
            switch(&mut world, from);
            drained(&mut world, from);
        }
        announce(&mut world, to, 2, 15 * SECOND, 3);
        let until = world.now + 15 * SECOND;
        let (next, said) = land(&mut world);
        assert_eq!(said, [Told::Successor { from: to, to: next, until }], "lost: {is_lost}");
    }
}

/// A drain that begins late in a move lasts for a relaxed timeout from the switch on. INV-06
#[test]
fn the_drain_of_a_held_connection_counts_from_the_switch() {
    let (mut world, from, to) = awaiting(15 * SECOND);
    let start = world.now;
    assert_eq!(pass(&mut world, start + 14 * SECOND), []);
    let until = start + 24 * SECOND;
    assert_eq!(switch(&mut world, from), [Told::CutOver { from, to }, Told::Drain { conn: from, until }]);
    assert_eq!(pass(&mut world, until - Duration::from_nanos(1)), []);
    assert_eq!(pass(&mut world, until), [Told::Close(from, CloseCause::MoveDeadline)]);
}

/// Only the first switch from a connection that awaits one does anything. INV-11
#[test]
fn a_switch_that_nobody_waits_for_does_nothing() {
    let (mut world, from, to) = awaiting(15 * SECOND);
    assert_eq!(switch(&mut world, to), [], "the successor itself");
    assert_eq!(switch(&mut world, ConnId::from_parts(77, 3)), [], "an unknown connection");
    assert_eq!(switch(&mut world, from).len(), 2);
    assert_eq!(switch(&mut world, from), [], "a second time");
    drained(&mut world, from);
    assert_eq!(switch(&mut world, from), [], "a connection that is gone");
    assert_eq!(switch(&mut world, to), [], "a connection that no move concerns");
    announce(&mut world, to, 2, 15 * SECOND, 3);
    assert_eq!(switch(&mut world, to), [], "before the successor is ready");
    let (next, said) = land(&mut world);
    assert!(matches!(said[..], [Told::Successor { .. }]), "{said:?}");
    assert_eq!(switch(&mut world, to)[0], Told::CutOver { from: to, to: next });
}

// ---- the deadline ----

/// At the deadline an unswitched connection is closed, its successor serves, and a later switch does nothing. INV-06
#[test]
fn an_unswitched_connection_is_closed_at_the_deadline() {
    let (mut world, from, to) = awaiting(5 * SECOND);
    let deadline = world.now + 5 * SECOND;
    assert_eq!(pass(&mut world, deadline - Duration::from_nanos(1)), []);
    assert_eq!(finished(&world), []);
    let closed = [Told::Lost(from, Replacement::Ready(to)), Told::Close(from, CloseCause::MoveDeadline)];
    assert_eq!(pass(&mut world, deadline), closed);
    assert_eq!(finished(&world), [(1, 0)]);
    assert_eq!(switch(&mut world, from), []);
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(peer(2), 1)]));
    let said = announce(&mut world, to, 2, 15 * SECOND, 3);
    assert!(matches!(said[..], [Told::Dial { replaces: Some(moves), .. }] if moves == to), "{said:?}");
}

/// A successor that becomes ready after the deadline, because a timer was late, leads to the close of the old connection.
#[test]
fn a_successor_that_is_ready_too_late_replaces_the_old_connection_at_the_next_timeout() {
    let (mut world, from) = one_held(1);
    let until = world.now + 5 * SECOND;
    announce(&mut world, from, 1, 5 * SECOND, 2);
    world.now = until + SECOND;
    let (to, said) = land(&mut world);
    assert_eq!(said, [Told::Successor { from, to, until }]);
    let now = world.now;
    let closed = [Told::Lost(from, Replacement::Ready(to)), Told::Close(from, CloseCause::MoveDeadline)];
    assert_eq!(pass(&mut world, now), closed);
}

// ---- losses ----

/// A successor that is lost before the switch is dialled again, as often as the budget allows; then the old connection stays.
/// INV-07
#[test]
fn a_successor_that_is_lost_before_the_switch_is_dialled_again_within_the_budget() {
    let (mut world, from, mut to) = awaiting(60 * SECOND);
    let deadline = world.now + 60 * SECOND;
    for _ in 0..3 {
        assert_eq!(lose(&mut world, to), [], "it has never served");
        assert_eq!(switch(&mut world, from), [], "there is nothing to switch to");
        let lost_at = world.now;
        while world.dials.is_empty() {
            let at = world.coordinator.poll_timeout().unwrap();
            assert!(at > lost_at && at < deadline - SECOND);
            let said = pass(&mut world, at);
            assert!(matches!(said[..], [] | [Told::Dial { .. }]), "{said:?}");
        }
        let before = to;
        let (again, said) = land(&mut world);
        to = again;
        assert_eq!(said, [Told::Successor { from, to, until: deadline }]);
        assert!(to != before);
    }
    assert_eq!(finished(&world), []);
    assert_eq!(lose(&mut world, to), []);
    assert_eq!(finished(&world), [(0, 1)]);
    assert_eq!(pass(&mut world, deadline + 60 * SECOND), [], "the old connection serves to the end");
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(peer(1), 1)]));
}

/// A held connection that is lost before the switch leaves its successor in its place.
#[test]
fn a_connection_that_is_lost_before_the_switch_leaves_its_successor() {
    let (mut world, from, to) = awaiting(5 * SECOND);
    let deadline = world.now + 5 * SECOND;
    assert_eq!(lose(&mut world, from), [Told::Lost(from, Replacement::Ready(to))]);
    assert_eq!(finished(&world), [(1, 0)]);
    assert_eq!(switch(&mut world, from), []);
    assert_eq!(pass(&mut world, deadline), []);
    assert_eq!(lose(&mut world, to), [Told::Lost(to, Replacement::Missing)], "it serves");
}

/// A held connection that is lost during the dial of its successor is cut over when that is ready: nobody is left to be asked.
#[test]
fn a_connection_that_is_lost_during_the_dial_is_cut_over() {
    let (mut world, from) = one_held(1);
    announce(&mut world, from, 1, 15 * SECOND, 2);
    let (to, ..) = world.dials[0];
    assert_eq!(lose(&mut world, from), [Told::Lost(from, Replacement::Dialing(to))]);
    assert_eq!(switch(&mut world, from), []);
    assert_eq!(land(&mut world), (to, vec![Told::CutOver { from, to }]));
    assert_eq!(finished(&world), [(1, 0)]);
}

/// The dial that was to replace a lost connection fails: the owner is told, as of one that it has opened itself.
#[test]
fn the_failed_dial_for_a_lost_connection_is_reported() {
    let (mut world, from) = one_held(1);
    announce(&mut world, from, 1, 15 * SECOND, 2);
    let (to, ..) = world.dials.remove(0);
    lose(&mut world, from);
    let refused = ConnectError::Connect(std::io::ErrorKind::ConnectionRefused.into());
    world.coordinator.handle_dial_failed(world.now, to, refused);
    assert_eq!(told(&mut world), [Told::Failed(to, Redial::AfterPause)]);
    assert_eq!(finished(&world), [(0, 0)]);
}

/// A newer move gives the dial up that was to replace a lost connection: the owner is to open another one at once.
#[test]
fn a_newer_move_reports_the_dial_that_it_gives_up_for_a_lost_connection() {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = opened(&mut world, &[Role::Held, Role::Held]);
    announce(&mut world, conns[0], 1, 15 * SECOND, 2);
    let (to, ..) = world.dials[0];
    lose(&mut world, conns[0]);
    let said = announce(&mut world, conns[1], 2, 15 * SECOND, 3);
    assert_eq!(said[..2], [Told::Failed(to, Redial::AtOnce), Told::Close(to, CloseCause::ByClient)]);
    assert!(matches!(said[2..], [Told::Dial { replaces: Some(from), .. }] if from == conns[1]), "{said:?}");
}

/// Nothing is in the place of a connection that is lost while its handoff waits, or while the address of its target is not known.
#[test]
fn a_connection_that_is_lost_before_the_dial_leaves_nothing() {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = opened(&mut world, &[Role::Held, Role::Held]);
    announce(&mut world, conns[0], 1, 15 * SECOND, 2);
    assert_eq!(lose(&mut world, conns[1]), [Told::Lost(conns[1], Replacement::Missing)], "behind the scout");

    let (mut world, from) = one_held(1);
    let target = MoveTarget::Endpoint(Endpoint::parse("localhost", 2).unwrap());
    let moving = Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target };
    world.coordinator.handle_notification(world.now, from, &moving);
    assert_eq!(told(&mut world), []);
    let lookup = world.lookups[0];
    let said = lose(&mut world, from);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.contains(&Told::Lost(from, Replacement::Missing)), "{said:?}");
    assert!(said.contains(&Told::Close(lookup, CloseCause::ByClient)), "{said:?}");
}

// ---- releases ----

/// An owner that gives an unswitched connection up wants no successor, and nobody has moved.
#[test]
fn the_release_of_an_unswitched_connection_closes_its_successor() {
    let (mut world, from, to) = awaiting(15 * SECOND);
    assert_eq!(release(&mut world, from), [Told::Close(to, CloseCause::ByClient)]);
    assert_eq!(world.coordinator.stats().connections, BTreeMap::new());
    assert_eq!(finished(&world), [(0, 0)]);
}

/// An owner that gives the successor up keeps the connection that it has, beyond the deadline.
#[test]
fn the_release_of_a_successor_lets_the_old_connection_stay() {
    let (mut world, from, to) = awaiting(15 * SECOND);
    assert_eq!(release(&mut world, to), []);
    assert_eq!(finished(&world), [(0, 1)]);
    assert_eq!(switch(&mut world, from), []);
    let end = world.now + 60 * SECOND;
    assert_eq!(pass(&mut world, end), []);
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(peer(1), 1)]));
}

/// An owner that gives the scout's dial up keeps one connection where it is; the others are led by another scout.
#[test]
fn the_release_of_a_dial_concerns_its_own_connection_alone() {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = opened(&mut world, &[Role::Held, Role::Held]);
    announce(&mut world, conns[0], 1, 15 * SECOND, 2);
    let (scout, ..) = world.dials.remove(0);
    let said = release(&mut world, scout);
    assert!(matches!(said[..], [Told::Dial { replaces: Some(from), .. }] if from == conns[1]), "{said:?}");
    land(&mut world);
    switch(&mut world, conns[1]);
    assert_eq!(finished(&world), [(1, 1)]);
}

// ---- newer moves ----

/// A newer move closes an unswitched successor before it dials another one, and the deadline is the newer one's. INV-10, INV-20
#[test]
fn a_newer_move_replaces_an_unswitched_successor() {
    let (mut world, from, to) = awaiting(5 * SECOND);
    let (first, second) = (world.now + 5 * SECOND, world.now + 30 * SECOND);
    let said = announce(&mut world, from, 2, 30 * SECOND, 3);
    let (next, ..) = world.dials[0];
    let replaced = [Told::Close(to, CloseCause::ByClient), Told::Dial { conn: next, replaces: Some(from) }];
    assert_eq!(said, replaced);
    assert_eq!(sockets(&world), 1);
    assert_eq!(switch(&mut world, from), [], "what the owner was asked to switch to is gone");
    assert_eq!(land(&mut world), (next, vec![Told::Successor { from, to: next, until: second }]));
    assert_eq!(pass(&mut world, first), [], "the first move is over");
    assert_eq!(switch(&mut world, from)[0], Told::CutOver { from, to: next });
}

/// A move back to where an unswitched connection still is closes the successor, and dials another one where the connection is: its
/// server has told it to leave, and closes it at the deadline. INV-03, INV-10, RULE-211
#[test]
fn a_move_back_replaces_an_unswitched_successor() {
    let (mut world, from, to) = awaiting(5 * SECOND);
    let (until, end) = (world.now + 5 * SECOND, world.now + 60 * SECOND);
    let said = announce(&mut world, to, 2, 15 * SECOND, 1);
    let (next, address, _) = world.dials[0].clone();
    let replaced = [Told::Close(to, CloseCause::ByClient), Told::Dial { conn: next, replaces: Some(from) }];
    assert_eq!((said, address), (replaced.to_vec(), peer(1)));
    assert_eq!(switch(&mut world, from), [], "what the owner was asked to switch to is gone");
    assert_eq!(land(&mut world), (next, vec![Told::Successor { from, to: next, until }]));
    assert_eq!(switch(&mut world, from)[0], Told::CutOver { from, to: next });
    drained(&mut world, from);
    assert_eq!(pass(&mut world, end), [], "the new one was told nothing");
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(peer(1), 1)]));
}

/// A successor hears of the retirement of its address before its owner has switched, and the address is in service again: after the
/// switch another one takes its place, before the deadline that it has heard. INV-03, RULE-213
#[test]
fn a_told_successor_of_a_node_in_service_is_replaced_after_the_switch() {
    let (mut world, from, to) = awaiting(15 * SECOND);
    let other = opened(&mut world, &[Role::Shared])[0];
    let until = world.now + 10 * SECOND;
    announce(&mut world, to, 2, 10 * SECOND, 3);
    // The one that has moved brings the word that leads back.
    let (elsewhere, _) = land(&mut world);
    drained(&mut world, other);
    announce(&mut world, elsewhere, 3, 20 * SECOND, 2);
    land(&mut world);
    switch(&mut world, from);
    drained(&mut world, from);
    let (next, address, _) = world.dials[0].clone();
    assert_eq!(address, peer(2));
    assert_eq!(land(&mut world), (next, vec![Told::Successor { from: to, to: next, until }]));
}

/// The address of a successor is retired before its owner has switched: it moves on once it serves, whatever made it serve, and
/// not before. INV-03, INV-20
#[test]
fn a_successor_whose_address_is_retired_moves_on_when_it_serves() {
    for serves_by in ["a switch", "a loss", "the deadline"] {
        let (mut world, from, to) = awaiting(15 * SECOND);
        let (announced_at, deadline) = (world.now, world.now + 15 * SECOND);
        assert_eq!(announce(&mut world, to, 2, 30 * SECOND, 3), [], "nobody uses it yet");
        let said = match serves_by {
            "a switch" => {
                assert_eq!(switch(&mut world, from).len(), 2);
                assert!(world.dials.is_empty(), "two sockets are enough for now");
                drained(&mut world, from)
            }
            "a loss" => lose(&mut world, from),
            _ => pass(&mut world, deadline),
        };
        let last = said.last().copied();
        assert!(
            matches!(last, Some(Told::Dial { replaces: Some(moves), .. }) if moves == to),
            "{serves_by}: {said:?}"
        );
        let until = announced_at + 30 * SECOND;
        let (next, said) = land(&mut world);
        assert_eq!(said, [Told::Successor { from: to, to: next, until }], "{serves_by}");
    }
}

/// A server may retire the address of a successor in the successor's handshake: the owner is asked all the same, and the successor
/// moves on after the switch.
#[test]
fn a_successor_that_is_told_to_move_in_its_handshake_is_offered() {
    let (mut world, from) = one_held(1);
    announce(&mut world, from, 1, 15 * SECOND, 2);
    let until = world.now + 15 * SECOND;
    let (to, address, _) = world.dials.remove(0);
    world.coordinator.handle_connected(world.now, to, address);
    assert_eq!(announce(&mut world, to, 2, 30 * SECOND, 3), []);
    world.coordinator.handle_ready(world.now, to, OptIn::Accepted);
    assert_eq!(told(&mut world), [Told::Successor { from, to, until }]);
    switch(&mut world, from);
    let said = drained(&mut world, from);
    assert!(matches!(said[..], [Told::Close(..), Told::Dial { replaces: Some(moves), .. }] if moves == to));
}

// ---- what drains behind ----

/// A held connection that takes the place of `from` while the predecessor of `from` still drains is, after the loss of `from`, the
/// one that waits for that drain: its slot has no third socket. INV-20
#[test]
fn what_drains_behind_a_lost_connection_is_behind_its_replacement() {
    for is_ready in [true, false] {
        let (mut world, oldest, from) = awaiting(15 * SECOND);
        switch(&mut world, oldest);
        announce(&mut world, from, 2, 2 * SECOND, 3);
        let said = pass_to_dial(&mut world);
        assert!(matches!(said[..], [Told::Dial { replaces: Some(moves), .. }] if moves == from), "{said:?}");
        let to = if is_ready {
            let (to, _) = land(&mut world);
            assert_eq!(lose(&mut world, from), [Told::Lost(from, Replacement::Ready(to))]);
            to
        } else {
            let (to, ..) = world.dials[0];
            assert_eq!(lose(&mut world, from), [Told::Lost(from, Replacement::Dialing(to))]);
            land(&mut world);
            to
        };
        assert_eq!(announce(&mut world, to, 3, 15 * SECOND, 4), [], "the oldest one drains: {is_ready}");
        let said = drained(&mut world, oldest);
        assert!(
            matches!(said[..], [Told::Close(..), Told::Dial { replaces: Some(moves), .. }] if moves == to)
        );
    }
}

/// A held connection that is closed at the deadline leaves what drains behind it to its successor. INV-20
#[test]
fn what_drains_behind_an_overdue_connection_is_behind_its_successor() {
    let (mut world, oldest, from) = awaiting(15 * SECOND);
    switch(&mut world, oldest);
    announce(&mut world, from, 2, 2 * SECOND, 3);
    let deadline = world.now + 2 * SECOND;
    pass_to_dial(&mut world);
    let (to, _) = land(&mut world);
    let said = pass(&mut world, deadline);
    let closed = [Told::Lost(from, Replacement::Ready(to)), Told::Close(from, CloseCause::MoveDeadline)];
    assert!(said.ends_with(&closed), "{said:?}");
    assert_eq!(announce(&mut world, to, 3, 15 * SECOND, 4), [], "the oldest one drains");
    let said = drained(&mut world, oldest);
    assert!(matches!(said[..], [Told::Close(..), Told::Dial { replaces: Some(moves), .. }] if moves == to));
}

fn pass_to_dial(world: &mut World) -> Vec<Told> {
    let mut said = Vec::new();
    while world.dials.is_empty() {
        let at = world.coordinator.poll_timeout().unwrap();
        said.extend(pass(world, at));
    }
    said
}

// ---- the opt-in ----

/// A successor that is not told of maintenance opts in as soon as the support of its server is known, switched or not. INV-17
#[test]
fn a_successor_that_awaits_the_switch_asks_again() {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = opened(&mut world, &[Role::Held, Role::Held]);
    announce(&mut world, conns[0], 1, 15 * SECOND, 2);
    let (to, address, _) = world.dials.remove(0);
    world.coordinator.handle_connected(world.now, to, address);
    world.coordinator.handle_ready(world.now, to, OptIn::Unclear(ErrorCode::of(b"LOADING")));
    told(&mut world);
    let (_, said) = land(&mut world);
    assert!(said.contains(&Told::OptIn(to)), "{said:?}");
    world.coordinator.handle_opt_in(world.now, to, OptIn::Accepted);
    told(&mut world);
    assert!(world.events.iter().any(|event| matches!(event, Event::OptedIn { conn, .. } if *conn == to)));
}

/// The node of a held connection's successor is warming up when it takes over, however long the switch took: the window after
/// the handoff opens when the successor serves, by the switch, at the deadline or because the old one is lost. INV-08
#[test]
fn a_held_connection_is_relaxed_from_the_moment_it_takes_over() {
    type Take = fn(&mut World, ConnId, Instant);
    let ways: [Take; 3] = [
        |world, from, _| drop(switch(world, from)),
        |world, _, deadline| drop(pass(world, deadline)),
        |world, from, _| drop(lose(world, from)),
    ];
    for take_over in ways {
        let (mut world, from, to) = awaiting(60 * SECOND);
        let deadline = world.now + 60 * SECOND;
        pass(&mut world, deadline - 5 * SECOND);
        assert_eq!(world.coordinator.relaxed(world.now, Some(to)), None, "it serves nobody yet");
        take_over(&mut world, from, deadline);
        assert!(world.coordinator.relaxed(world.now, Some(to)).is_some());
        let end = world.now + 20 * SECOND;
        pass(&mut world, end);
        assert_eq!(world.coordinator.relaxed(world.now, Some(to)), None);
    }
}

/// Each connection may be relaxed after its handoff, however many are held. INV-08
#[test]
fn any_number_of_held_connections_is_relaxed() {
    let mut world = World::new("127.0.0.1:1", 1);
    for _ in 0..300 {
        world.coordinator.open(world.now, Role::Held);
    }
    world.drain();
    let conns: Vec<ConnId> = world.dials.iter().map(|(conn, ..)| *conn).collect();
    world.answer_dials();
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    while world.answer_dials() > 0 {}
    let successors = std::mem::take(&mut world.successors);
    assert_eq!(successors.len(), 300);
    for (from, ..) in &successors {
        world.coordinator.handle_switched(world.now, *from);
    }
    for (_, to, _) in successors {
        assert!(world.coordinator.relaxed(world.now, Some(to)).is_some(), "{to}");
    }
}
