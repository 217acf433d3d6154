//! Addresses that leave the name's answers without a MOVING.

use std::net::IpAddr;

use super::*;

fn addresses(last: &[u8]) -> Vec<IpAddr> {
    last.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect()
}

fn at(last: u8) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, last], 1)))
}

impl World {
    /// Connections by the name, which leads to `last`.
    fn connected_by_name(&mut self, count: usize, last: &[u8]) -> Vec<ConnId> {
        let open = |_| {
            let conn = self.coordinator.open(self.now, Role::Shared);
            self.coordinator.handle_resolved(self.now, conn, Ok(addresses(last)));
            conn
        };
        let conns = (0..count).map(open).collect();
        self.drain();
        self.answer_dials();
        self.lookups.clear();
        conns
    }

    /// Answers the lookup that is under way.
    fn resolve(&mut self, last: &[u8]) {
        assert_eq!(self.lookups.len(), 1);
        let lookup = self.lookups.remove(0);
        self.coordinator.handle_resolved(self.now, lookup, Ok(addresses(last)));
        self.drain();
    }

    fn withdrawn(&self) -> Vec<Peer> {
        let peer = |event: &Event| match event {
            Event::AddressWithdrawn { peer } => Some(peer.clone()),
            _ => None,
        };
        self.events.iter().filter_map(peer).collect()
    }
}

/// One of two proxies is taken out of service with a MIGRATING and a MIGRATED alone. Its connections leave for the other, one
/// behind the other; those of the other stay. INV-03, RULE-40, RULE-177
#[test]
fn connections_leave_an_address_that_is_no_longer_advertised() {
    for kind in [completion(2), Notification::FailedOver { seq: Seq(2), shards: Default::default() }] {
        let mut world = World::new("localhost:1", 4);
        let conns = world.connected_by_name(4, &[1, 2]);
        let opener = match &kind {
            Notification::FailedOver { .. } => {
                Notification::FailingOver { seq: Seq(1), starts_in: None, shards: Default::default() }
            }
            _ => opener(1),
        };
        world.notify(conns[0], &opener);
        assert!(world.lookups.is_empty());
        world.notify(conns[0], &kind);
        world.resolve(&[2]);
        assert_eq!(world.withdrawn(), [at(1)]);
        while world.answer_dials() > 0 || !world.lookups.is_empty() {
            if !world.lookups.is_empty() {
                world.resolve(&[2]);
            }
        }
        assert_eq!(world.cut_over.len(), 2);
        assert_eq!(world.causes(), [MoveCause::Withdrawn; 2], "its begin and its end");
        assert!(world.cut_over.iter().all(|(_, to)| world.coordinator.peer(*to) == Some(&at(2))));
        assert_eq!(
            world.coordinator.relaxed(world.now, Some(conns[1])),
            None,
            "nobody has announced anything"
        );
    }
}

/// Names follow late: the lookup is repeated for a while, and then it is good. RULE-40
#[test]
fn the_name_is_looked_up_for_a_while() {
    let mut world = World::new("localhost:1", 2);
    let conns = world.connected_by_name(2, &[1, 2]);
    world.notify(conns[0], &opener(1));
    world.notify(conns[0], &completion(1));
    let completed_at = world.now;
    let mut lookups = 0;
    loop {
        world.resolve(&[2, 1]);
        lookups += 1;
        while world.lookups.is_empty() && world.next_timeout(completed_at + 60 * SECOND) {}
        if world.lookups.is_empty() {
            break;
        }
    }
    let last = world.now - completed_at;
    assert_eq!(lookups, 4);
    assert!(world.withdrawn().is_empty() && world.cut_over.is_empty());
    assert!(last >= 13 * SECOND, "{last:?}");
}

/// A completion that closes nothing asks no name, and one behind a literal address has none to ask. PITFALL-28, RULE-41
#[test]
fn only_a_completion_of_ours_asks() {
    let mut world = World::new("localhost:1", 2);
    let conns = world.connected_by_name(2, &[1, 2]);
    world.notify(conns[0], &completion(1));
    assert!(world.lookups.is_empty());

    let mut world = World::new("127.0.0.1:1", 2);
    let conns = world.connected(2);
    world.notify(conns[0], &opener(1));
    world.notify(conns[0], &completion(1));
    assert!(world.lookups.is_empty());
}

/// An address to which a MOVING has led is not in the answers yet, because names follow late: nobody leaves it for that, and
/// nobody leaves where there is nowhere to go. RULE-40
#[test]
fn absence_alone_says_nothing() {
    let mut world = World::new("localhost:1", 1);
    let conns = world.connected_by_name(1, &[1]);
    let target = MoveTarget::Endpoint(Endpoint::parse("127.0.0.3", 1).unwrap());
    world.notify(conns[0], &Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target });
    world.answer_dials();
    let (_, conn) = world.cut_over[0];
    world.notify(conn, &opener(2));
    world.notify(conn, &completion(2));
    world.resolve(&[1]);
    assert!(world.withdrawn().is_empty() && world.dials.is_empty());

    let mut world = World::new("localhost:1", 1);
    let conns = world.connected_by_name(1, &[1]);
    world.notify(conns[0], &opener(1));
    world.notify(conns[0], &completion(1));
    world.resolve(&[]);
    assert!(world.withdrawn().is_empty());
}

/// Moves lead away from an address and back to it, and the name still leads to the node in between: as long as the MOVING is in
/// force, the address is not left again. RULE-40, RULE-169
#[test]
fn an_address_that_a_move_leads_back_to_is_not_left() {
    let mut world = World::new("localhost:1", 1);
    let mut conn = world.connected_by_name(1, &[1])[0];
    for (seq, to) in [(1, 2), (2, 1)] {
        let target = MoveTarget::Endpoint(Endpoint::parse(&format!("127.0.0.{to}"), 1).unwrap());
        world.notify(conn, &Notification::Moving { seq: Seq(seq), grace: 15 * SECOND, target });
        world.answer_dials();
        world.finish_drains();
        conn = world.cut_over.last().unwrap().1;
        assert_eq!(world.coordinator.peer(conn), Some(&at(to)));
    }
    for (seq, is_left) in [(3, false), (5, true)] {
        world.notify(conn, &opener(seq));
        world.notify(conn, &completion(seq));
        world.resolve(&[2, 3]);
        assert_eq!(world.withdrawn().contains(&at(1)), is_left, "{seq}");
        // Behind the end of the move that has led here, and of the lookups.
        let end = world.now + 60 * SECOND;
        while !is_left && world.next_timeout(end) {
            world.lookups.clear();
        }
    }
}

/// What the server announces comes before what was found out, whatever their ids. INV-10
#[test]
fn a_moving_takes_the_place_of_a_quiet_move() {
    let mut world = World::new("localhost:1", 2);
    let conns = world.connected_by_name(2, &[1, 2]);
    world.notify(conns[0], &opener(5));
    world.notify(conns[0], &completion(5));
    world.resolve(&[2]);
    let leaving = conns.iter().copied().find(|conn| world.coordinator.peer(*conn) == Some(&at(1))).unwrap();
    let target = MoveTarget::Endpoint(Endpoint::parse("127.0.0.3", 1).unwrap());
    world.notify(leaving, &Notification::Moving { seq: Seq(4), grace: 15 * SECOND, target });
    world.answer_dials();
    assert_eq!(world.cut_over.len(), 1);
    assert_eq!(world.coordinator.peer(world.cut_over[0].1), Some(&at(3)));
}

/// A lookup that is never answered is given up, and is no dial that failed.
#[test]
fn a_lookup_without_an_answer_is_given_up() {
    let mut world = World::new("localhost:1", 1);
    let conns = world.connected_by_name(1, &[1]);
    world.notify(conns[0], &opener(1));
    world.notify(conns[0], &completion(1));
    let lookup = world.lookups.remove(0);
    assert_eq!(world.coordinator.stats().dialing, 0);
    while world.closed.is_empty() {
        assert!(world.next_timeout(world.now + 6 * SECOND));
    }
    assert_eq!(world.closed, [(lookup, CloseCause::ByClient)]);
    assert!(world.failed.is_empty());
}

/// A timer that rings late ends a lookup that nobody has answered and begins the next one at the same time: none of the four
/// is lost. RULE-40
#[test]
fn a_late_timer_loses_no_lookup() {
    let mut world = World::new("localhost:1", 2);
    let conns = world.connected_by_name(2, &[1, 2]);
    world.notify(conns[0], &opener(1));
    world.notify(conns[0], &completion(1));
    let mut lookups = world.lookups.len();
    for _ in 0..6 {
        // Behind the limit of the lookup, and behind the longest pause.
        world.now += 8 * SECOND;
        world.lookups.clear();
        world.coordinator.handle_timeout(world.now);
        world.drain();
        lookups += world.lookups.len();
    }
    assert_eq!(lookups, 4);
}
