use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn conn(index: u32) -> ConnId {
    ConnId::from_parts(index, 0)
}

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The shared connections of these numbers, at port 1.
fn established(indexes: &[u32]) -> Conns {
    let mut conns = Conns::new();
    for index in indexes {
        conns.establish(conn(*index), Role::Shared, peer(1), peer(1), false);
    }
    conns
}

fn leave(conns: &mut Conns, index: u32) -> Option<ConnId> {
    let free = conns.vacate(conn(index));
    assert!(conns.remove(conn(index)).is_some());
    free
}

#[test]
fn a_connection_is_found_by_its_peer_and_known_by_the_address_that_was_dialled() {
    let mut conns = Conns::new();
    conns.establish(conn(7), Role::Held, peer(1), peer(9), true);
    conns.establish(conn(3), Role::Shared, peer(1), peer(1), false);
    let held = conns.get(conn(7)).unwrap();
    assert_eq!((held.role(), held.peer(), held.address()), (Role::Held, &peer(1), &peer(9)));
    assert!(held.is_ending() && held.is_serving() && !held.is_draining());
    assert!(!conns.get(conn(3)).unwrap().is_ending());
    assert_eq!(conns.serving_at(&peer(1)), [conn(3), conn(7)]);
    assert_eq!(conns.serving_at(&peer(9)), []);
    assert!(conns.is_connected_to(&peer(1)) && !conns.is_connected_to(&peer(9)));
    assert_eq!(conns.count_by_peer().collect::<Vec<_>>(), [(&peer(1), 2)]);
    conns.note_end(conn(3));
    assert!(conns.get(conn(3)).unwrap().is_ending());
}

#[test]
fn an_address_is_forgotten_with_its_last_connection() {
    let mut conns = established(&[1, 2]);
    leave(&mut conns, 1);
    assert!(conns.is_connected_to(&peer(1)) && !conns.contains(conn(1)));
    leave(&mut conns, 2);
    assert!(!conns.is_connected_to(&peer(1)));
    assert_eq!(conns.count_by_peer().count(), 0);
    assert!(conns.remove(conn(2)).is_none());
}

/// A successor does not serve while its owner has not switched, and nothing drains behind it.
#[test]
fn a_successor_serves_when_its_wait_has_ended() {
    let mut conns = established(&[1, 2]);
    conns.await_switch(conn(1), conn(2));
    assert_eq!(conns.get(conn(2)).unwrap().awaits_switch_from(), Some(conn(1)));
    assert!(!conns.is_serving(conn(2)) && conns.is_serving(conn(1)));
    assert_eq!(conns.serving_at(&peer(1)), [conn(1)]);
    assert!(!conns.is_behind_drain(conn(2)) && !conns.get(conn(2)).unwrap().is_draining());
    conns.end_wait(conn(2));
    assert!(conns.is_serving(conn(2)));
    assert_eq!(conns.get(conn(2)).unwrap().awaits_switch_from(), None);
}

/// The end of a wait that there is not changes nothing: a connection that drains goes on.
#[test]
fn only_a_wait_ends() {
    let mut conns = established(&[1, 2]);
    conns.begin_drain(epoch(), conn(1), conn(2), epoch() + SECOND);
    conns.end_wait(conn(1));
    conns.end_wait(conn(9));
    assert!(conns.get(conn(1)).unwrap().is_draining() && !conns.contains(conn(9)));
}

/// A drain fires once, at its deadline, and never when its connection has left. INV-06
#[test]
fn a_drain_ends_at_its_deadline_or_with_its_connection() {
    let start = epoch();
    let mut conns = established(&[1, 2, 3]);
    assert!(conns.begin_drain(start + SECOND, conn(1), conn(3), start + 5 * SECOND));
    assert!(conns.begin_drain(start, conn(2), conn(9), start + 4 * SECOND));
    assert!(!conns.begin_drain(start, conn(8), conn(7), start + SECOND), "it is gone");
    assert!(!conns.is_behind_drain(conn(7)));
    assert_eq!(conns.draining_for(start + 3 * SECOND, conn(1)), Some(2 * SECOND));
    assert_eq!(conns.draining_for(start, conn(3)), None);
    assert_eq!(conns.poll_timeout(), Some(start + 4 * SECOND));
    leave(&mut conns, 2);
    assert_eq!(conns.poll_timeout(), Some(start + 5 * SECOND));
    assert_eq!(conns.handle_timeout(start + 5 * SECOND - Duration::from_nanos(1)), None);
    assert_eq!(conns.handle_timeout(start + 5 * SECOND), Some(conn(1)));
    assert_eq!(conns.handle_timeout(start + 5 * SECOND), None);
    assert_eq!(conns.poll_timeout(), None);
}

/// A connection that leaves names the one that waited for that, and no other. INV-20
#[test]
fn the_end_of_a_drain_frees_its_successor() {
    let mut conns = established(&[1, 2]);
    conns.begin_drain(epoch(), conn(1), conn(2), epoch() + SECOND);
    assert!(conns.is_behind_drain(conn(2)));
    assert_eq!(conns.predecessor(conn(2)), Some(conn(1)));
    assert_eq!(leave(&mut conns, 1), Some(conn(2)));
    assert!(!conns.is_behind_drain(conn(2)));
    assert_eq!(leave(&mut conns, 2), None);
}

/// Of three in one place the one in the middle goes first: the youngest waits for the oldest. INV-20
#[test]
fn a_chain_closes_over_the_connection_that_leaves_it() {
    let until = epoch() + SECOND;
    let mut conns = established(&[1, 2, 3]);
    conns.begin_drain(epoch(), conn(1), conn(2), until);
    conns.begin_drain(epoch(), conn(2), conn(3), until);
    assert_eq!(leave(&mut conns, 2), None, "the youngest still waits");
    assert_eq!(conns.predecessor(conn(3)), Some(conn(1)));
    assert_eq!(leave(&mut conns, 1), Some(conn(3)));
}

/// A drain that has lost its successor is followed by the connection that is opened next, by one alone, and the first goes first.
/// INV-20
#[test]
fn the_next_connections_adopt_the_orphans_in_turn() {
    let until = epoch() + SECOND;
    let mut conns = established(&[1, 2, 3, 4]);
    conns.begin_drain(epoch(), conn(1), conn(3), until);
    conns.begin_drain(epoch(), conn(2), conn(4), until);
    leave(&mut conns, 4);
    leave(&mut conns, 3);
    for (opened, predecessor) in [(5, Some(conn(2))), (6, Some(conn(1))), (7, None)] {
        conns.adopt_orphan(conn(opened));
        assert_eq!(conns.predecessor(conn(opened)), predecessor);
    }
    assert_eq!(conns.vacate(conn(6)), None, "the attempt fails");
    conns.adopt_orphan(conn(8));
    assert_eq!(conns.predecessor(conn(8)), Some(conn(1)));
    assert_eq!(leave(&mut conns, 1), Some(conn(8)));
}

/// An orphan that is gone is adopted by nobody.
#[test]
fn an_orphan_that_leaves_is_forgotten() {
    let mut conns = established(&[1, 2]);
    conns.begin_drain(epoch(), conn(1), conn(2), epoch() + SECOND);
    leave(&mut conns, 2);
    assert_eq!(leave(&mut conns, 1), None);
    conns.adopt_orphan(conn(3));
    assert!(!conns.is_behind_drain(conn(3)));
}

/// What drains behind a connection that is lost drains behind its replacement, which may still be a dial. INV-20
#[test]
fn a_replacement_takes_over_what_drains() {
    let mut conns = established(&[1, 2]);
    conns.begin_drain(epoch(), conn(1), conn(2), epoch() + SECOND);
    conns.hand_over(conn(2), conn(5));
    conns.hand_over(conn(8), conn(6));
    assert_eq!(leave(&mut conns, 2), None);
    assert_eq!(conns.predecessor(conn(5)), Some(conn(1)));
    assert!(!conns.is_behind_drain(conn(6)));
    assert_eq!(leave(&mut conns, 1), Some(conn(5)));
}

// ---- against a list of places ----

#[derive(Clone, Debug)]
enum Step {
    Open { at: u16 },
    Drain { nth: usize },
    Leave { nth: usize },
    HandOver { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let nth = || 0..8_usize;
    prop_oneof![
        3 => (1..3_u16).prop_map(|at| Step::Open { at }),
        3 => nth().prop_map(|nth| Step::Drain { nth }),
        3 => nth().prop_map(|nth| Step::Leave { nth }),
        1 => nth().prop_map(|nth| Step::HandOver { nth }),
    ]
}

/// The connections of one place, the oldest first. All but the last one drain; in a place without an owner the last one does, too.
#[derive(Debug)]
struct Place {
    conns: Vec<(u32, u16)>,
    has_owner: bool,
}

#[derive(Default)]
struct Model {
    places: Vec<Place>,
    /// Places without an owner, in the order in which they lost it, by their youngest connection.
    orphans: Vec<u32>,
}

impl Model {
    fn place(&self, index: u32) -> usize {
        self.places.iter().position(|place| place.conns.iter().any(|(other, _)| *other == index)).unwrap()
    }

    fn all(&self) -> Vec<u32> {
        let mut all: Vec<u32> =
            self.places.iter().flat_map(|place| place.conns.iter().map(|(index, _)| *index)).collect();
        all.sort_unstable();
        all
    }

    /// Those that serve, with what drains right behind each.
    fn serving(&self) -> Vec<(u32, Option<u32>)> {
        let owned = self.places.iter().filter(|place| place.has_owner);
        let mut serving: Vec<(u32, Option<u32>)> = owned
            .map(|place| {
                let mut youngest = place.conns.iter().rev().map(|(index, _)| *index);
                (youngest.next().unwrap(), youngest.next())
            })
            .collect();
        serving.sort_unstable();
        serving
    }

    fn open(&mut self, index: u32, at: u16) {
        let orphan = (!self.orphans.is_empty()).then(|| self.orphans.remove(0));
        match orphan.map(|orphan| self.place(orphan)) {
            Some(place) => {
                self.places[place].conns.push((index, at));
                self.places[place].has_owner = true;
            }
            None => self.places.push(Place { conns: vec![(index, at)], has_owner: true }),
        }
    }

    /// The connection that has nothing behind it any more because of that.
    fn leave(&mut self, index: u32) -> Option<u32> {
        let at = self.place(index);
        let place = &mut self.places[at];
        let nth = place.conns.iter().position(|(other, _)| *other == index).unwrap();
        let is_last = nth + 1 == place.conns.len();
        place.conns.remove(nth);
        let younger = (!is_last && nth == 0).then(|| place.conns[0].0);
        if is_last {
            self.orphans.retain(|orphan| *orphan != index);
            place.has_owner = false;
            match place.conns.last() {
                Some((orphan, _)) => self.orphans.push(*orphan),
                None => drop(self.places.remove(at)),
            }
        }
        younger
    }
}

proptest! {
    /// Connections that drain in one place leave it in any order, and the one that serves there waits until the last of them has
    /// left. INV-20
    #[test]
    fn they_agree_with_a_list_of_places(steps in proptest::collection::vec(step(), 0..60)) {
        let now = epoch();
        let mut conns = Conns::new();
        let mut model = Model::default();
        let mut next = 0;
        for step in steps {
            let nth = |all: &[u32], nth: usize| nth.checked_rem(all.len()).map(|at| all[at]);
            let serving: Vec<u32> = model.serving().iter().map(|(index, _)| *index).collect();
            match step {
                Step::Open { at } => {
                    conns.adopt_orphan(conn(next));
                    conns.establish(conn(next), Role::Shared, peer(at), peer(at), false);
                    model.open(next, at);
                    next += 1;
                }
                Step::Drain { nth: at } => {
                    let Some(old) = nth(&serving, at) else { continue };
                    conns.establish(conn(next), Role::Shared, peer(3), peer(3), false);
                    prop_assert!(conns.begin_drain(now, conn(old), conn(next), now + SECOND));
                    let place = model.place(old);
                    model.places[place].conns.push((next, 3));
                    next += 1;
                }
                Step::Leave { nth: at } => {
                    let Some(index) = nth(&model.all(), at) else { continue };
                    prop_assert_eq!(leave(&mut conns, index), model.leave(index).map(conn));
                }
                Step::HandOver { nth: at } => {
                    let Some(index) = nth(&serving, at) else { continue };
                    conns.establish(conn(next), Role::Shared, peer(3), peer(3), false);
                    conns.hand_over(conn(index), conn(next));
                    prop_assert_eq!(leave(&mut conns, index), None);
                    let place = model.place(index);
                    *model.places[place].conns.last_mut().unwrap() = (next, 3);
                    next += 1;
                }
            }
            for (index, predecessor) in model.serving() {
                prop_assert!(conns.is_serving(conn(index)));
                prop_assert_eq!(conns.predecessor(conn(index)), predecessor.map(conn));
            }
            for at in 1..4 {
                let there = |place: &Place| place.conns.iter().filter(|(_, port)| *port == at).count();
                let count: usize = model.places.iter().map(there).sum();
                let known = conns.count_by_peer().find(|(known, _)| **known == peer(at));
                prop_assert_eq!(known.map_or(0, |(_, count)| count), count);
            }
        }
    }
}
