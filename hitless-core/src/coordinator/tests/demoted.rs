//! Servers that refuse commands although nobody has announced anything.

use std::net::IpAddr;

use super::*;
use crate::error::Refusal;

fn addresses(last: &[u8]) -> Vec<IpAddr> {
    last.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect()
}

fn at(last: u8) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, last], 1)))
}

impl World {
    pub(super) fn by_name(count: usize, maintenance: maintenance::ConfigBuilder) -> (Self, Vec<ConnId>) {
        let mut world = Self::with("localhost:1", 4, maintenance);
        let conns = (0..count).map(|_| world.coordinator.open(world.now, Role::Shared)).collect();
        world.drain();
        world.answer_lookups(&[1]);
        world.answer_dials();
        (world, conns)
    }

    fn refuse(&mut self, conn: ConnId, refusal: Refusal) {
        self.coordinator.handle_refusal(self.now, conn, refusal);
        self.drain();
    }

    /// Answers every lookup that is under way; returns how many.
    pub(super) fn answer_lookups(&mut self, last: &[u8]) -> usize {
        let lookups = std::mem::take(&mut self.lookups);
        for lookup in &lookups {
            self.coordinator.handle_resolved(self.now, *lookup, Ok(addresses(last)));
        }
        self.drain();
        lookups.len()
    }

    /// Answers lookups and dials until there is none. Returns how many dials there were.
    pub(super) fn arrive(&mut self, last: &[u8]) -> usize {
        let mut dials = 0;
        loop {
            let answered = self.answer_dials();
            dials += answered;
            if self.answer_lookups(last) + answered == 0 {
                return dials;
            }
        }
    }

    fn demoted(&self) -> Vec<(Peer, Refusal)> {
        let told = |event: &Event| match event {
            Event::Demoted { peer, refusal } => Some((peer.clone(), *refusal)),
            _ => None,
        };
        self.events.iter().filter_map(told).collect()
    }
}

/// The connections to a server that refuses writes, loads or has lost its master leave it for the address that the name leads
/// to by now: a scout first, while the old ones serve. The move ends with the last of them, and relaxes nothing. RULE-153, RULE-177
#[test]
fn a_demoted_server_is_left_for_the_address_of_the_name() {
    for refusal in [Refusal::ReadOnly, Refusal::Loading, Refusal::MasterDown] {
        let (mut world, conns) = World::by_name(3, maintenance::Config::builder());
        world.refuse(conns[0], refusal);
        assert_eq!((world.lookups.len(), world.dials.len()), (1, 0), "the name is asked first");
        world.refuse(conns[1], refusal);
        assert_eq!(world.lookups.len(), 1, "once");
        world.answer_lookups(&[2]);
        assert_eq!(world.demoted(), [(at(1), refusal)]);
        world.answer_lookups(&[2]);
        assert_eq!(world.dials.len(), 1, "a scout");
        assert!(conns.iter().all(|conn| world.coordinator.conns.is_serving(*conn)));
        assert_eq!(world.arrive(&[2]), 3);
        assert_eq!(world.cut_over.len(), 3);
        assert_eq!(world.causes(), [MoveCause::Demoted; 2], "its begin and its end");
        for (_, to) in world.cut_over.clone() {
            assert_eq!(world.coordinator.peer(to), Some(&at(2)));
            assert_eq!(world.coordinator.relaxed(world.now, Some(to)), None, "nobody has announced anything");
        }
        assert!(world.coordinator.moves.is_at_rest());
    }
}

/// Where the name leads to the refusing address alone, READONLY has it dialled once more, because it may be a virtual one; after
/// LOADING and MASTERDOWN the client waits. An address that is no name is the same. RULE-153
#[test]
fn the_same_address_is_dialled_again_after_readonly_alone() {
    for refusal in [Refusal::ReadOnly, Refusal::Loading, Refusal::MasterDown] {
        let expected = if refusal == Refusal::ReadOnly { 2 } else { 0 };
        let (mut world, conns) = World::by_name(2, maintenance::Config::builder());
        world.refuse(conns[0], refusal);
        assert_eq!(world.arrive(&[1]), expected, "{refusal}");
        assert!(world.cut_over.len() == expected && world.coordinator.moves.is_at_rest());

        let mut world = World::new("127.0.0.1:1", 2);
        let conns = world.connected(2);
        world.refuse(conns[0], refusal);
        assert_eq!(world.arrive(&[]), expected, "{refusal}");
        assert!(world.cut_over.len() == expected && world.coordinator.moves.is_at_rest());
    }
}

/// The fresh connection to the same address fails: the old ones serve, and it is not tried again in this move. RULE-153
#[test]
fn an_address_that_refuses_dials_is_kept() {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = world.connected(2);
    world.refuse(conns[0], Refusal::ReadOnly);
    let (dial, ..) = world.dials.remove(0);
    world.coordinator.handle_dial_failed(
        world.now,
        dial,
        ConnectError::Connect(std::io::ErrorKind::ConnectionRefused.into()),
    );
    world.drain();
    let mut dials = 0;
    while let Some(at) = world.coordinator.poll_timeout() {
        world.now = at;
        world.coordinator.handle_timeout(at);
        world.drain();
        dials += world.dials.len();
        assert!(world.dials.is_empty());
    }
    assert_eq!(dials, 0);
    assert!(conns.iter().all(|conn| world.coordinator.conns.is_serving(*conn)));
    assert!(world.coordinator.moves.is_at_rest());
}

/// A server that is read-only wherever the name leads is looked for at a pace: 1 s, doubling to a minute. RULE-153
#[test]
fn while_the_new_server_refuses_as_well_the_tries_become_rarer() {
    let (mut world, _) = World::by_name(2, maintenance::Config::builder());
    let until = world.now + 600 * SECOND;
    let mut dials = 0;
    while world.now < until {
        for conn in world.coordinator.conns.serving_at(&at(1)) {
            world.refuse(conn, Refusal::ReadOnly);
        }
        dials += world.arrive(&[1]);
        // The old ones have nothing to answer.
        for conn in std::mem::take(&mut world.draining) {
            world.coordinator.handle_drained(world.now, conn);
        }
        world.now += SECOND / 10;
        world.coordinator.handle_timeout(world.now);
        world.drain();
    }
    assert!((2 * 12..=2 * 18).contains(&dials), "{dials}");
}

/// Inside a window a refusal is expected, a move that the server has announced is its word, and the setting switches it all off.
/// Connections that drain have left already. RULE-153, RULE-55
#[test]
fn refusals_that_lead_nowhere() {
    let (mut world, conns) = World::by_name(2, maintenance::Config::builder());
    world.notify(
        conns[0],
        &Notification::FailingOver { seq: Seq(1), starts_in: None, shards: Default::default() },
    );
    world.refuse(conns[1], Refusal::ReadOnly);
    assert!(world.lookups.is_empty(), "a window is open");
    world.notify(conns[0], &Notification::FailedOver { seq: Seq(2), shards: Default::default() });
    world.arrive(&[1]);
    world.refuse(conns[1], Refusal::ReadOnly);
    assert_eq!(world.lookups.len(), 1, "at its end they count again");
    world.arrive(&[2]);
    assert_eq!(world.cut_over.len(), 2);
    world.now += 2 * SECOND;
    world.refuse(conns[0], Refusal::ReadOnly);
    assert!(world.lookups.is_empty(), "it drains");

    let (mut world, conns) = World::by_name(2, maintenance::Config::builder().leave_demoted(false));
    world.refuse(conns[0], Refusal::ReadOnly);
    assert!(world.lookups.is_empty() && world.demoted().is_empty());
}

/// The server's own word comes while its connections look for another place: it wins. RULE-153, INV-10
#[test]
fn a_moving_takes_the_place_of_a_quiet_move() {
    let (mut world, conns) = World::by_name(2, maintenance::Config::builder());
    world.refuse(conns[0], Refusal::ReadOnly);
    world.answer_lookups(&[2]);
    world.answer_lookups(&[2]);
    assert_eq!(world.dials.len(), 1);
    world.notify(conns[0], &moving(0, 30 * SECOND, 7));
    assert!(world.events.iter().any(|event| matches!(event, Event::MoveSuperseded { .. })));
    world.arrive(&[2]);
    assert!(world.cut_over.iter().all(|(_, to)| world.coordinator.peer(*to) == Some(&peer(7))));
    assert_eq!(world.cut_over.len(), 2);
}

/// There and back again: the address that was left is no worse than others once its connections have gone. RULE-153
#[test]
fn a_server_that_was_demoted_and_promoted_is_taken_again() {
    let (mut world, conns) = World::by_name(1, maintenance::Config::builder());
    world.refuse(conns[0], Refusal::ReadOnly);
    world.arrive(&[2]);
    let (_, there) = world.cut_over[0];
    world.coordinator.handle_drained(world.now, conns[0]);
    world.now += 2 * SECOND;
    world.refuse(there, Refusal::Loading);
    world.arrive(&[1]);
    let (_, back) = world.cut_over[1];
    assert_eq!(world.coordinator.peer(back), Some(&at(1)));
}

/// The name is looked up for a completion and because of a refusal at the same time: one lookup is for both. RULE-40, RULE-153
#[test]
fn one_lookup_answers_all_that_ask() {
    let (mut world, conns) = World::by_name(2, maintenance::Config::builder());
    world.refuse(conns[0], Refusal::ReadOnly);
    assert_eq!(world.lookups.len(), 1);
    world.notify(conns[0], &opener(1));
    world.notify(conns[0], &completion(2));
    assert_eq!(world.lookups.len(), 1, "the answer is on its way");
    world.answer_lookups(&[1, 2]);
    assert_eq!(world.demoted(), [(at(1), Refusal::ReadOnly)]);
}

/// A lookup that was begun before a server refused may have the answer from before its demotion, or none: the name is asked once
/// more, at once, and that answer counts. RULE-153
#[test]
fn a_refusal_does_not_believe_an_older_lookup() {
    for refusal in [Refusal::ReadOnly, Refusal::Loading] {
        for fails in [false, true] {
            let (mut world, conns) = World::by_name(2, maintenance::Config::builder());
            world.notify(conns[0], &opener(1));
            world.notify(conns[0], &completion(2));
            world.refuse(conns[0], refusal);
            assert_eq!(world.lookups.len(), 1, "the older one is under way");
            if fails {
                let lookup = world.lookups.remove(0);
                world.coordinator.handle_resolved(
                    world.now,
                    lookup,
                    Err(std::io::ErrorKind::NotFound.into()),
                );
                world.drain();
            } else {
                assert_eq!(world.answer_lookups(&[1]), 1);
            }
            assert_eq!((world.lookups.len(), world.demoted()), (1, Vec::new()), "{refusal}");
            world.answer_lookups(&[1, 2]);
            assert_eq!(world.demoted(), [(at(1), refusal)]);
            assert_eq!(world.arrive(&[2]), 2);
            assert!(world.lookups.is_empty() && world.coordinator.moves.is_at_rest());
        }
    }
}

/// When the last connection is gone, what its lookup was for is gone as well. INV-15
#[test]
fn no_lookup_outlives_the_last_connection() {
    for refuses in [true, false] {
        let (mut world, conns) = World::by_name(1, maintenance::Config::builder());
        if refuses {
            world.refuse(conns[0], Refusal::ReadOnly);
        } else {
            world.notify(conns[0], &opener(1));
            world.notify(conns[0], &completion(2));
        }
        let lookup = world.lookups[0];
        world.coordinator.release(world.now, conns[0]);
        world.drain();
        assert!(world.closed.iter().any(|(closed, _)| *closed == lookup), "{:?}", world.closed);
        while let Some(at) = world.coordinator.poll_timeout() {
            world.now = at;
            world.coordinator.handle_timeout(at);
            world.drain();
        }
        assert_eq!(world.lookups, [lookup], "and none begins");
    }
}

/// A lookup that fails decides nothing; the next refusal that is followed up begins another one. RULE-153
#[test]
fn a_lookup_that_fails_is_repeated_later() {
    let (mut world, conns) = World::by_name(1, maintenance::Config::builder());
    world.refuse(conns[0], Refusal::ReadOnly);
    let lookup = world.lookups.remove(0);
    world.coordinator.handle_resolved(world.now, lookup, Err(std::io::ErrorKind::NotFound.into()));
    world.drain();
    world.refuse(conns[0], Refusal::ReadOnly);
    assert!(world.lookups.is_empty());
    world.now += 2 * SECOND;
    world.refuse(conns[0], Refusal::ReadOnly);
    assert_eq!(world.arrive(&[2]), 1);
}

/// The name is looked up because a server has refused something. Meanwhile that has told its connections to leave, and is in service
/// again: those that are to be replaced there are, and no quiet move takes their place. INV-03, RULE-216
#[test]
fn a_renewal_goes_on_when_its_node_was_suspected_before() {
    let (mut world, conns) = World::by_name(2, maintenance::Config::builder());
    world.refuse(conns[0], Refusal::ReadOnly);
    let moving = |seq, last| {
        let target = MoveTarget::Endpoint(Endpoint::parse(&format!("127.0.0.{last}"), 1).unwrap());
        Notification::Moving { seq: Seq(seq), grace: 20 * SECOND, target }
    };
    world.notify(conns[0], &moving(1, 2));
    let (scout, address, _) = world.dials.remove(0);
    world.coordinator.handle_connected(world.now, scout, address);
    world.coordinator.handle_ready(world.now, scout, OptIn::Accepted);
    world.notify(scout, &moving(2, 1));
    world.answer_lookups(&[1, 2]);
    assert_eq!(world.demoted(), []);
    world.arrive(&[1, 2]);
    world.finish_drains();
    world.arrive(&[1, 2]);
    let replaced: Vec<ConnId> = world.cut_over.iter().map(|(from, _)| *from).collect();
    assert_eq!(replaced, [conns[0], conns[1], scout]);
    assert!(world.cut_over[1..].iter().all(|(_, to)| world.coordinator.peer(*to) == Some(&at(1))));
}
