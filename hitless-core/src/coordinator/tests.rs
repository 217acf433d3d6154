mod addresses;
mod advertised;
mod demoted;
mod held;
mod model;
mod opt_in;
mod reviews;
mod stopped;
mod table;
mod targets;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::config::maintenance;
use crate::endpoint::Endpoint;
use crate::event::{Ignored, MoveCause};
use crate::handshake::{ErrorCode, Probe};
use crate::ids::ReviewId;
use crate::mode::Support;
use crate::notification::{MoveTarget, Notification, NotificationKind, Seq};
use crate::review::Handled;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn moving(seq: u64, grace: Duration, port: u16) -> Notification {
    let target = MoveTarget::Endpoint(Endpoint::parse("127.0.0.1", port).unwrap());
    Notification::Moving { seq: Seq(seq), grace, target }
}

fn opener(seq: u64) -> Notification {
    Notification::Migrating { seq: Seq(seq), starts_in: None, shards: Default::default() }
}

fn completion(seq: u64) -> Notification {
    Notification::Migrated { seq: Seq(seq), shards: Default::default() }
}

/// A coordinator, its clock, and the dials that nobody has answered yet.
struct World {
    coordinator: Coordinator,
    now: Instant,
    dials: Vec<(ConnId, Peer, Probe)>,
    events: Vec<Event>,
    cut_over: Vec<(ConnId, ConnId)>,
    draining: Vec<ConnId>,
    asked_again: Vec<ConnId>,
    closed: Vec<(ConnId, CloseCause)>,
    failed: Vec<Redial>,
    successors: Vec<(ConnId, ConnId, Instant)>,
    lost: Vec<(ConnId, Replacement)>,
    lookups: Vec<ConnId>,
    reviews: Vec<(ReviewId, ConnId)>,
    handled: Vec<Handled>,
}

impl World {
    /// What the moves followed from that have begun or ended.
    fn causes(&self) -> Vec<MoveCause> {
        let cause = |event: &Event| match event {
            Event::MoveStarted { cause, .. } | Event::MoveFinished { cause, .. } => Some(*cause),
            _ => None,
        };
        self.events.iter().filter_map(cause).collect()
    }

    fn new(endpoint: &str, pool: u32) -> Self {
        Self::with(endpoint, pool, maintenance::Config::builder())
    }

    fn with(endpoint: &str, pool: u32, maintenance: maintenance::ConfigBuilder) -> Self {
        let endpoint = Endpoint::parse(endpoint, 6379).unwrap();
        let builder = Config::builder(endpoint).pool_size(pool).maintenance(maintenance.build().unwrap());
        let coordinator = Coordinator::new(Arc::new(builder.build().unwrap()), 7);
        Self {
            coordinator,
            now: epoch(),
            dials: Vec::new(),
            events: Vec::new(),
            cut_over: Vec::new(),
            draining: Vec::new(),
            asked_again: Vec::new(),
            closed: Vec::new(),
            failed: Vec::new(),
            successors: Vec::new(),
            lost: Vec::new(),
            lookups: Vec::new(),
            reviews: Vec::new(),
            handled: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(directive) = self.coordinator.poll_directive() {
            match directive {
                Directive::Dial { conn, target, probe, .. } => self.dials.push((conn, target.address, probe)),
                Directive::CutOver { from, to } => self.cut_over.push((from, to)),
                Directive::Close { conn, cause } => {
                    self.dials.retain(|(dialled, ..)| *dialled != conn);
                    self.closed.push((conn, cause));
                }
                Directive::Failed { redial, .. } => self.failed.push(redial),
                Directive::Resolve { conn, .. } => self.lookups.push(conn),
                Directive::Emit(event) => self.events.push(event),
                Directive::Review { review, conn, .. } => self.reviews.push((review, conn)),
                Directive::Reviewed { handled, .. } => self.handled.push(handled),
                Directive::OptIn { conn } => self.asked_again.push(conn),
                Directive::Drain { conn, .. } => self.draining.push(conn),
                Directive::Successor { from, to, until } => self.successors.push((from, to, until)),
                Directive::Lost { conn, replacement } => self.lost.push((conn, replacement)),
                Directive::Serve { .. } | Directive::Windows { .. } => {}
            }
        }
    }

    /// Opens `count` connections to the configured address.
    fn connected(&mut self, count: usize) -> Vec<ConnId> {
        let conns: Vec<ConnId> = (0..count).map(|_| self.coordinator.open(self.now, Role::Shared)).collect();
        self.drain();
        self.answer_dials();
        conns
    }

    /// Every dial under way succeeds; returns how many.
    fn answer_dials(&mut self) -> usize {
        let dials = std::mem::take(&mut self.dials);
        for (conn, address, _) in &dials {
            self.coordinator.handle_connected(self.now, *conn, address.clone());
            self.coordinator.handle_ready(self.now, *conn, OptIn::Accepted);
        }
        self.drain();
        dials.len()
    }

    /// Every draining connection has its last reply.
    fn finish_drains(&mut self) {
        for conn in std::mem::take(&mut self.draining) {
            self.coordinator.handle_drained(self.now, conn);
        }
        self.drain();
    }

    fn refuse_dials(&mut self) {
        for (conn, ..) in std::mem::take(&mut self.dials) {
            let refused = ConnectError::Connect(std::io::ErrorKind::ConnectionRefused.into());
            self.coordinator.handle_dial_failed(self.now, conn, refused);
        }
        self.drain();
    }

    fn notify(&mut self, conn: ConnId, notification: &Notification) {
        self.coordinator.handle_notification(self.now, conn, notification);
        self.drain();
    }

    /// Lets time pass to the next timeout, if it is not after `limit`. A timeout leads to a later one. INV-12
    fn next_timeout(&mut self, limit: Instant) -> bool {
        let Some(at) = self.coordinator.poll_timeout().filter(|at| *at <= limit) else { return false };
        self.now = self.now.max(at);
        self.coordinator.handle_timeout(self.now);
        self.drain();
        assert!(self.coordinator.poll_timeout().is_none_or(|next| next > self.now), "it spins");
        true
    }

    fn ignored(&self) -> Vec<Ignored> {
        let reason = |event: &Event| match event {
            Event::NotificationIgnored { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }
}

/// One scout, then the others through the workers, one dial each, told of it or not. PITFALL-06, PITFALL-17, RULE-61, RULE-63,
/// RULE-96
#[test]
fn a_move_takes_every_connection_of_its_source_with_one_dial_each() {
    let mut world = World::new("127.0.0.1:1", 10);
    let conns = world.connected(10);
    for conn in &conns[..3] {
        world.notify(*conn, &moving(1, 15 * SECOND, 2));
    }
    assert_eq!(world.dials.len(), 1, "the scout goes alone");
    assert_eq!(world.answer_dials(), 1);
    let mut dialled = 1;
    while !world.dials.is_empty() {
        assert!(world.dials.len() <= 3, "a third of the pool at a time");
        assert!(world.dials.iter().all(|(_, address, _)| *address == peer(2)));
        dialled += world.answer_dials();
    }
    assert_eq!((dialled, world.cut_over.len()), (10, 10));
    assert!(
        world.events.iter().any(|event| matches!(event, Event::MoveFinished { moved: 10, stayed: 0, .. }))
    );
    for conn in conns {
        world.coordinator.handle_drained(world.now, conn);
    }
    world.drain();
    assert_eq!(world.closed.len(), 10);
    assert_eq!(world.coordinator.stats().connections, BTreeMap::from([(peer(2), 10)]));
}

/// A dead target is tried again inside the budget, and the old connection stays. INV-07, PITFALL-09, PITFALL-15, RULE-75
#[test]
fn a_dead_target_is_retried_with_growing_pauses_and_then_left() {
    let mut world = World::new("127.0.0.1:1", 4);
    let conns = world.connected(4);
    let start = world.now;
    world.notify(conns[0], &moving(1, 10 * SECOND, 2));
    let mut dialled_at = vec![];
    loop {
        if !world.dials.is_empty() {
            dialled_at.push(world.now - start);
            world.refuse_dials();
        }
        if !world.next_timeout(start + 10 * SECOND) {
            break;
        }
    }
    assert_eq!(dialled_at.len(), 4, "the first attempt and three retries: {dialled_at:?}");
    let pauses: Vec<Duration> = dialled_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses[0] < 2 * SECOND, "soon, and then later: {pauses:?}");
    assert!(*dialled_at.last().unwrap() < 9 * SECOND, "inside the budget: {dialled_at:?}");
    assert!(
        world.events.iter().any(|event| matches!(event, Event::MoveFinished { moved: 0, stayed: 4, .. }))
    );
    assert!(world.closed.is_empty() && world.cut_over.is_empty());
}

#[test]
fn a_target_that_comes_up_late_takes_all() {
    let mut world = World::new("127.0.0.1:1", 4);
    let conns = world.connected(4);
    let end = world.now + 10 * SECOND;
    world.notify(conns[0], &moving(1, 10 * SECOND, 2));
    world.refuse_dials();
    assert!(world.next_timeout(end));
    world.refuse_dials();
    assert!(world.next_timeout(end));
    while world.answer_dials() > 0 {}
    assert_eq!(world.cut_over.len(), 4);
}

/// A connection that does not get empty is closed at the deadline, not before and not after. INV-06, RULE-69
#[test]
fn a_drain_ends_at_the_deadline() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conns = world.connected(1);
    let deadline = world.now + 30 * SECOND;
    world.notify(conns[0], &moving(1, 30 * SECOND, 2));
    world.answer_dials();
    while world.next_timeout(deadline - Duration::from_nanos(1)) {}
    assert!(world.closed.is_empty());
    while world.next_timeout(deadline) {}
    assert_eq!(world.closed, [(conns[0], CloseCause::MoveDeadline)]);
}

/// Repeated and older ones change nothing, a newer one takes over. INV-09, INV-10, PITFALL-16, RULE-57, RULE-59
#[test]
fn the_newest_move_wins() {
    let mut world = World::new("127.0.0.1:1", 2);
    let conns = world.connected(2);
    world.notify(conns[0], &moving(5, 15 * SECOND, 2));
    world.notify(conns[1], &moving(5, 15 * SECOND, 2));
    world.notify(conns[1], &moving(4, 15 * SECOND, 3));
    assert_eq!(world.ignored(), [Ignored::Duplicate, Ignored::Stale]);
    assert_eq!(world.dials.len(), 1);
    let (aborted, ..) = world.dials[0].clone();
    world.notify(conns[1], &moving(6, 15 * SECOND, 4));
    assert_eq!(world.closed, [(aborted, CloseCause::ByClient)]);
    assert_eq!(world.dials.iter().map(|(_, address, _)| address.clone()).collect::<Vec<_>>(), [peer(4)]);
    while world.answer_dials() > 0 {}
    assert_eq!(world.cut_over.len(), 2);
    world.notify(conns[0], &moving(5, 15 * SECOND, 2));
    assert!(world.dials.is_empty(), "an old one is not obeyed again");
}

/// Neither a move that is over nor an older one begins again. INV-09, INV-10, PITFALL-16, RULE-60
#[test]
fn a_move_that_is_over_is_remembered() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    let end = world.now + 22 * SECOND;
    world.notify(conn, &moving(5, SECOND, 2));
    world.refuse_dials();
    while world.next_timeout(end) {
        world.refuse_dials();
    }
    assert_eq!(world.coordinator.stats().moves, 0);
    world.notify(conn, &moving(5, 15 * SECOND, 2));
    world.notify(conn, &moving(4, 15 * SECOND, 3));
    assert_eq!(world.ignored(), [Ignored::Duplicate, Ignored::Stale]);
    assert!(world.dials.is_empty());
}

/// Overlapping MOVINGs were seen to share their id: the target tells them apart, the later one counts. RULE-35
#[test]
fn the_same_id_with_another_target_is_another_move() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conns = world.connected(1);
    world.notify(conns[0], &moving(5, 15 * SECOND, 2));
    world.notify(conns[0], &moving(5, 15 * SECOND, 3));
    assert_eq!(world.dials.iter().map(|(_, address, _)| address.clone()).collect::<Vec<_>>(), [peer(3)]);
}

/// Being told again on arrival, or to move to where one is, moves nobody. PITFALL-27, PITFALL-33, RULE-81
#[test]
fn no_loop_is_possible() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conns = world.connected(1);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    let (to, ..) = world.dials[0].clone();
    world.answer_dials();
    world.notify(to, &moving(1, 15 * SECOND, 2));
    assert_eq!(world.ignored(), [Ignored::AlreadyThere]);
    assert!(world.dials.is_empty());
}

/// Being told again on arrival moves nobody, also where the target is a name. PITFALL-27, RULE-81
#[test]
fn no_loop_is_possible_by_way_of_a_name() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conns = world.connected(1);
    let target = MoveTarget::Endpoint(Endpoint::parse("b.example.com", 2).unwrap());
    let moving = Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target };
    world.notify(conns[0], &moving);
    let to = world.lookups[0];
    world.coordinator.handle_resolved(world.now, to, Ok(vec!["127.0.0.1".parse().unwrap()]));
    world.drain();
    world.answer_dials();
    world.notify(to, &moving);
    assert_eq!(world.ignored(), [Ignored::AlreadyThere]);
    assert!(world.dials.is_empty() && world.lookups.len() == 1);
}

/// Moves with one id lead round in a circle: the last one counts, and all connections arrive. PITFALL-27, RULE-81
#[test]
fn no_loop_is_possible_by_way_of_moves_that_share_an_id() {
    let mut world = World::new("127.0.0.1:1", 3);
    let mut at: BTreeMap<u16, ConnId> = BTreeMap::new();
    for port in 1..4 {
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.drain();
        world.dials.clear();
        world.coordinator.handle_connected(world.now, conn, peer(port));
        world.coordinator.handle_ready(world.now, conn, OptIn::Accepted);
        at.insert(port, conn);
    }
    for (port, target) in [(1, 2), (2, 3), (3, 1)] {
        world.notify(at[&port], &moving(5, 15 * SECOND, target));
    }
    let mut dials = 0;
    while !world.dials.is_empty() {
        dials += world.answer_dials();
        assert!(dials < 10, "they go round and round");
    }
    assert!(world.coordinator.stats().moves < 3, "one of the addresses stays in service");
    let serving = |to: ConnId| world.coordinator.peer(to) == Some(&peer(1));
    assert!(serving(world.cut_over.last().unwrap().1));
}

/// A connection does not wait for its predecessor to drain until no time is left to move it.
#[test]
fn the_shortest_move_takes_a_connection_whose_predecessor_still_drains() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.notify(conn, &moving(1, 15 * SECOND, 2));
    world.answer_dials();
    let (_, conn) = world.cut_over[0];
    let end = world.now + SECOND;
    world.notify(conn, &moving(2, SECOND, 3));
    assert!(world.dials.is_empty(), "two sockets are enough for now");
    while world.dials.is_empty() && world.next_timeout(end) {}
    assert_eq!(world.answer_dials(), 1);
    assert_eq!(world.cut_over[1].0, conn);
}

/// Connections that are led back and forth by newer moves arrive each time. RULE-82
#[test]
fn there_and_back_again() {
    let mut world = World::new("127.0.0.1:1", 2);
    let mut conn = world.connected(2)[0];
    for (seq, port) in [(1, 2), (2, 1), (3, 2), (4, 1)] {
        world.notify(conn, &moving(seq, 15 * SECOND, port));
        while world.answer_dials() > 0 {}
        world.finish_drains();
        assert!(world.dials.is_empty(), "a connection that has come back stays");
        let (_, to) = *world.cut_over.last().unwrap();
        assert_eq!(world.coordinator.peer(to), Some(&peer(port)));
        conn = to;
    }
    assert_eq!(world.cut_over.len(), 8);
}

/// A connection moves on when the one whose place it has taken is gone, or half of its time is over: a slot does not fill up with
/// connections that wait for their last replies. INV-20
#[test]
fn a_connection_moves_on_when_its_predecessor_has_drained() {
    for drained in [true, false] {
        let mut world = World::new("127.0.0.1:1", 2);
        let conns = world.connected(2);
        world.notify(conns[0], &moving(1, 15 * SECOND, 2));
        while world.answer_dials() > 0 {}
        let second = world.draining.pop().unwrap();
        world.finish_drains();
        let (_, conn) = world.cut_over[0];
        let told_at = world.now;
        world.notify(conn, &moving(2, 10 * SECOND, 3));
        // The one that can go is the scout.
        assert_eq!(world.answer_dials(), 1);
        assert!(world.dials.is_empty());
        if drained {
            world.coordinator.handle_drained(world.now, second);
            world.drain();
        } else {
            while world.dials.is_empty() && world.next_timeout(told_at + 5 * SECOND) {}
            assert_eq!(world.now, told_at + 5 * SECOND, "the deadline presses");
        }
        assert_eq!(world.answer_dials(), 1);
        assert_eq!(world.cut_over.len(), 4);
    }
}

/// A connection that is opened for one that was lost waits for the one that still drains in the same place. INV-20
#[test]
fn a_replacement_of_a_lost_connection_waits_for_what_drains_in_its_place() {
    let mut world = World::new("127.0.0.1:1", 1);
    let first = world.connected(1)[0];
    world.notify(first, &moving(1, 15 * SECOND, 2));
    world.answer_dials();
    let (_, lost) = world.cut_over[0];
    world.coordinator.handle_closed(world.now, lost, CloseCause::ByServer);
    world.drain();
    let again = world.connected(1)[0];
    world.notify(again, &moving(2, 10 * SECOND, 3));
    assert!(world.dials.is_empty(), "the first one drains still");
    world.finish_drains();
    assert_eq!(world.answer_dials(), 1);
    assert_eq!(world.cut_over[1].0, again);
}

/// The target of a move retires before all have arrived, and says so in their handshakes: they arrive, and leave it again with
/// those that are there. INV-03
#[test]
fn a_connection_led_to_a_node_that_retires_in_turn_moves_on() {
    let mut world = World::new("127.0.0.1:1", 3);
    let conns = world.connected(3);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    // The scout is there when the second move begins; the others are on their way.
    let (scout, address, _) = world.dials.remove(0);
    world.coordinator.handle_connected(world.now, scout, address);
    world.coordinator.handle_ready(world.now, scout, OptIn::Accepted);
    world.drain();
    let onward = moving(2, 15 * SECOND, 3);
    world.notify(scout, &onward);
    world.finish_drains();
    while let Some((conn, address, _)) = world.dials.pop() {
        world.coordinator.handle_connected(world.now, conn, address.clone());
        if address == peer(2) {
            world.notify(conn, &onward);
        }
        world.coordinator.handle_ready(world.now, conn, OptIn::Accepted);
        world.drain();
        world.finish_drains();
    }
    let there = world.coordinator.stats().connections;
    assert_eq!(there, BTreeMap::from([(peer(3), 3)]));
    assert!(!world.events.iter().any(|event| matches!(event, Event::HandoffFailed { .. })));
}

/// A newer move leads back by name, to a node that still says to its late joiners that it is moving. INV-10
#[test]
fn an_old_move_does_not_turn_away_what_a_newer_one_leads_there() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.notify(conn, &moving(1, 15 * SECOND, 2));
    world.answer_dials();
    world.finish_drains();
    let (_, conn) = world.cut_over[0];
    let target = MoveTarget::Endpoint(Endpoint::parse("localhost", 1).unwrap());
    world.notify(conn, &Notification::Moving { seq: Seq(2), grace: 15 * SECOND, target });
    let to = world.lookups[0];
    world.coordinator.handle_resolved(world.now, to, Ok(vec![[127, 0, 0, 1].into()]));
    world.drain();
    world.coordinator.handle_connected(world.now, to, peer(1));
    world.notify(to, &moving(1, 10 * SECOND, 2));
    world.coordinator.handle_ready(world.now, to, OptIn::Accepted);
    world.drain();
    assert_eq!(world.cut_over.last(), Some(&(conn, to)));
}

/// A connection ends while the target of its move is being looked up: nothing is dialled for it, and the worker is free.
#[test]
fn nothing_is_dialled_for_a_connection_that_is_gone() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    let target = MoveTarget::Endpoint(Endpoint::parse("localhost", 2).unwrap());
    world.notify(conn, &Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target });
    let to = world.lookups[0];
    world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
    world.drain();
    assert_eq!(world.coordinator.stats().handoffs_working, 0);
    world.coordinator.handle_resolved(world.now, to, Ok(vec![[127, 0, 0, 1].into()]));
    world.drain();
    assert!(world.dials.is_empty());
    assert!(!world.events.iter().any(|event| matches!(event, Event::HandoffDialing { .. })));
}

/// New dials follow the move, and afterwards the name alone counts. PITFALL-17, RULE-62
#[test]
fn a_connection_that_is_opened_during_a_move_goes_to_the_target() {
    let mut world = World::new("127.0.0.1:1", 3);
    let conns = world.connected(1);
    world.notify(conns[0], &moving(1, 2 * SECOND, 2));
    world.answer_dials();
    world.coordinator.open(world.now, Role::Shared);
    world.drain();
    assert_eq!(world.dials[0].1, peer(2));
    world.answer_dials();
    while world.next_timeout(world.now + 120 * SECOND) {}
    world.coordinator.open(world.now, Role::Shared);
    world.drain();
    assert_eq!(world.dials[0].1, peer(1));
}

/// Without a target the name is looked up from half time on, until it leads elsewhere. PITFALL-05, PITFALL-29, RULE-78
#[test]
fn without_a_target_the_name_is_watched() {
    let mut world = World::new("redis.example.com:1", 2);
    let conns: Vec<ConnId> = (0..2).map(|_| world.coordinator.open(world.now, Role::Shared)).collect();
    world.drain();
    for conn in &conns {
        world.coordinator.handle_resolved(world.now, *conn, Ok(vec!["10.0.0.1".parse().unwrap()]));
    }
    world.drain();
    world.answer_dials();
    world.lookups.clear();
    let start = world.now;
    world.notify(
        conns[0],
        &Notification::Moving { seq: Seq(1), grace: 10 * SECOND, target: MoveTarget::SameName },
    );
    assert!(world.dials.is_empty() && world.lookups.is_empty());
    let mut lookups = 0;
    while world.dials.is_empty() {
        assert!(world.next_timeout(start + 10 * SECOND));
        for conn in std::mem::take(&mut world.lookups) {
            assert!(world.now >= start + 5 * SECOND);
            lookups += 1;
            let last = if lookups < 3 { 1 } else { 2 };
            let answer = vec![format!("10.0.0.{last}").parse().unwrap()];
            world.coordinator.handle_resolved(world.now, conn, Ok(answer));
            world.drain();
        }
    }
    assert_eq!(lookups, 3);
    while world.answer_dials() > 0 {}
    assert_eq!(world.cut_over.len(), 2);
    assert!(world.coordinator.stats().connections.keys().any(|peer| peer.to_string() == "10.0.0.2:1"));
}

/// An address that never changes (a virtual one) is dialled once more, late; a MOVING right after the opt-in tells that it still
/// leads to the retiring node. RULE-79, RULE-80
#[test]
fn a_virtual_address_gets_a_last_chance() {
    for leads_to_new_node in [true, false] {
        let mut world = World::new("127.0.0.1:1", 1);
        let conns = world.connected(1);
        let start = world.now;
        let null = Notification::Moving { seq: Seq(1), grace: 10 * SECOND, target: MoveTarget::SameName };
        world.notify(conns[0], &null);
        while world.dials.is_empty() {
            assert!(world.next_timeout(start + 10 * SECOND));
        }
        assert!(world.now > start + 7 * SECOND);
        let (to, address, _) = world.dials.remove(0);
        world.coordinator.handle_connected(world.now, to, address);
        if !leads_to_new_node {
            world.coordinator.handle_notification(world.now, to, &null);
        }
        world.coordinator.handle_ready(world.now, to, OptIn::Accepted);
        world.drain();
        assert_eq!(world.cut_over.len(), usize::from(leads_to_new_node));
        assert!(world.dials.is_empty(), "a connection that has arrived at the same address stays there");
        assert_eq!(world.closed.iter().any(|(closed, _)| *closed == to), !leads_to_new_node);
    }
}

/// However short the time, a move without a target is tried before the server closes, once. PITFALL-29, PITFALL-33, RULE-79
#[test]
fn a_short_move_without_a_target_is_tried() {
    for millis in [1000, 2000, 3000, 60_000] {
        let grace = Duration::from_millis(millis);
        let mut world = World::new("127.0.0.1:1", 1);
        let conns = world.connected(1);
        let start = world.now;
        let target = MoveTarget::SameName;
        world.notify(conns[0], &Notification::Moving { seq: Seq(1), grace, target });
        let mut dials = 0;
        while world.next_timeout(start + grace) {
            dials += world.dials.len();
            world.refuse_dials();
        }
        assert_eq!(dials, 1, "{grace:?}");
    }
}

/// The link dies at the opt-in; the next dial does without, at once, and its success is remembered. PITFALL-21, RULE-14
#[test]
fn a_link_that_dies_at_the_opt_in_is_dialled_again_without() {
    let mut world = World::new("127.0.0.1:1", 1);
    world.coordinator.open(world.now, Role::Shared);
    world.drain();
    let (conn, address, probe) = world.dials.remove(0);
    assert_eq!(probe, Probe::OptIn);
    world.coordinator.handle_connected(world.now, conn, address);
    world.coordinator.handle_lost_at_opt_in(world.now, conn, CloseCause::ByServer);
    world.drain();
    assert_eq!(world.failed, [Redial::AtOnce]);
    world.coordinator.open(world.now, Role::Shared);
    world.drain();
    let (conn, address, probe) = world.dials.remove(0);
    assert_eq!(probe, Probe::Skip);
    world.coordinator.handle_connected(world.now, conn, address);
    world.coordinator.handle_ready(world.now, conn, OptIn::NotAsked);
    world.drain();
    assert!(matches!(world.coordinator.support(&peer(1)), Support::Refused { .. }));
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.coordinator.open(world.now, Role::Shared);
    world.drain();
    assert!(world.next_timeout(world.now + 5 * SECOND));
    assert_eq!(world.closed, [(conn, CloseCause::ByClient)]);
    assert_eq!(world.failed, [Redial::AfterPause]);
}

/// The owner says how far TLS has come, and so does the error. RULE-238
#[test]
fn a_dial_that_ends_in_the_handshake_of_tls_says_so() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.coordinator.open(world.now, Role::Shared);
    world.drain();
    world.coordinator.handle_encrypting(conn, TlsProgress::Begun);
    assert!(world.next_timeout(world.now + 5 * SECOND));
    let says_so = |event: &Event| {
        let Event::ConnectFailed { error, .. } = event else { return false };
        matches!(error, ConnectError::TlsTimedOut { progress: TlsProgress::Begun, .. })
    };
    assert!(world.events.iter().any(says_so), "{:?}", world.events);
}

/// Windows open, close by their completion or by themselves, and a completion alone is silent. PITFALL-07, PITFALL-28, RULE-37
#[test]
fn windows_relax_and_end() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.notify(conn, &completion(9));
    assert_eq!(world.ignored(), [Ignored::NothingOpen]);
    assert_eq!(world.coordinator.relaxed(world.now, Some(conn)), None);
    world.notify(conn, &opener(10));
    assert_eq!(world.coordinator.relaxed(world.now, Some(conn)), Some(10 * SECOND));
    world.notify(conn, &completion(11));
    assert_eq!(world.coordinator.relaxed(world.now, Some(conn)), None);
    world.notify(conn, &opener(12));
    let start = world.now;
    while world.next_timeout(start + 30 * SECOND) {}
    assert_eq!(world.coordinator.relaxed(world.now, Some(conn)), None, "the completion was lost");
    assert!(world.events.iter().any(|event| matches!(event, Event::WindowClosed { expired: true, .. })));
    assert!(world.events.iter().any(|event| {
        matches!(
            event,
            Event::WindowOpened { cause: NotificationKind::Migrating, scope: WindowScope::Database, .. }
        )
    }));
}

/// A connection that is lost while its successor is being dialled: the successor takes its place.
#[test]
fn a_successor_survives_its_predecessor() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conns = world.connected(1);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.coordinator.handle_closed(world.now, conns[0], CloseCause::ByServer);
    world.drain();
    world.answer_dials();
    assert_eq!(world.cut_over.len(), 1);
    assert_eq!(world.coordinator.stats().handoffs_working, 0);
}

/// The scout's own connection is lost: another one scouts. RULE-63
#[test]
fn the_scout_is_replaced() {
    let mut world = World::new("127.0.0.1:1", 3);
    let conns = world.connected(3);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.refuse_dials();
    world.coordinator.handle_closed(world.now, conns[0], CloseCause::ByServer);
    world.drain();
    assert_eq!(world.dials.len(), 1);
    while world.answer_dials() > 0 {}
    assert_eq!(world.cut_over.len(), 2);
}

/// What is read after the server's FIN may be old: it opens nothing. PITFALL-30, RULE-42
#[test]
fn an_announcement_behind_the_end_of_the_stream_opens_nothing() {
    let mut world = World::new("127.0.0.1:1", 1);
    let conn = world.connected(1)[0];
    world.coordinator.handle_ending(conn);
    world.notify(conn, &moving(1, 15 * SECOND, 2));
    world.notify(conn, &opener(2));
    assert_eq!(world.ignored(), [Ignored::ConnectionEnding, Ignored::ConnectionEnding]);
    assert!(world.dials.is_empty());
    assert_eq!(world.coordinator.relaxed(world.now, Some(conn)), None);
}

/// After the close, the target, the name's other addresses and the same address are tried in turn. PITFALL-42, RULE-76, RULE-77
#[test]
fn after_the_close_every_place_that_may_serve_is_tried() {
    let mut world = World::new("redis.example.com:1", 1);
    let answer = || Ok(vec!["10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()]);
    let conn = world.coordinator.open(world.now, Role::Shared);
    world.coordinator.handle_resolved(world.now, conn, answer());
    world.drain();
    assert_eq!(world.dials[0].1.to_string(), "10.0.0.1:1");
    world.answer_dials();
    world.notify(conn, &moving(1, 5 * SECOND, 2));
    world.refuse_dials();
    world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
    world.drain();
    let mut tried = Vec::new();
    for _ in 0..4 {
        let conn = world.coordinator.open(world.now, Role::Shared);
        world.coordinator.handle_resolved(world.now, conn, answer());
        world.drain();
        tried.extend(world.dials.iter().map(|(_, address, _)| address.to_string()));
        world.refuse_dials();
    }
    assert_eq!(tried, ["127.0.0.1:2", "10.0.0.9:1", "10.0.0.1:1", "127.0.0.1:2"]);
    assert!(world.coordinator.relaxed(world.now, None).is_some(), "requests may wait");
    while world.next_timeout(world.now + 60 * SECOND) {}
    assert_eq!(world.coordinator.relaxed(world.now, None), None);
}

/// The target of a move is being retired as well: whoever opens a connection goes where that one's move leads, and not to an
/// address that everybody leaves. RULE-76, RULE-77
#[test]
fn a_new_connection_follows_the_moves_of_retiring_targets() {
    let mut world = World::new("127.0.0.1:1", 1);
    let mut conn = world.connected(1)[0];
    for (seq, to) in [(1, 2), (2, 3)] {
        world.notify(conn, &moving(seq, 15 * SECOND, to));
        world.answer_dials();
        conn = world.cut_over.last().unwrap().1;
        world.finish_drains();
    }
    assert_eq!(world.coordinator.peer(conn), Some(&peer(3)));
    world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
    world.drain();
    for place in [3, 1, 3] {
        world.coordinator.open(world.now, Role::Shared);
        world.drain();
        assert_eq!(world.dials[0].1, peer(place));
        world.refuse_dials();
    }
}

/// A target that keeps failing is spared for a while, but for the last attempt of each move; then it is tried again by itself.
/// PITFALL-19, RULE-73
#[test]
fn the_breaker_spares_a_dead_target_and_recovers() {
    let breaker = crate::breaker::BreakerConfig { failures: 4, open_for: 60 * SECOND, half_open: 1 };
    let mut world = World::with("127.0.0.1:1", 1, maintenance::Config::builder().circuit_breaker(breaker));
    let conn = world.connected(1)[0];
    let dials_of = |world: &mut World, seq| {
        let end = world.now + 10 * SECOND;
        let mut dials = 0;
        world.notify(conn, &moving(seq, 10 * SECOND, 2));
        loop {
            dials += world.dials.len();
            world.refuse_dials();
            if !world.next_timeout(end) {
                world.now = end;
                return dials;
            }
        }
    };
    assert_eq!(dials_of(&mut world, 1), 4, "the last of which has no permit");
    assert_eq!(dials_of(&mut world, 2), 2, "one more opens it, the last attempt is made all the same");
    assert_eq!(dials_of(&mut world, 3), 1, "the last attempt alone");
    assert!(
        world
            .events
            .iter()
            .any(|event| { matches!(event, Event::HandoffFailed { error: ConnectError::CircuitOpen, .. }) })
    );
    world.now += 60 * SECOND;
    world.notify(conn, &moving(4, 10 * SECOND, 2));
    assert_eq!(world.answer_dials(), 1, "half open");
    assert_eq!(world.cut_over.len(), 1);
}

#[derive(Clone, Debug)]
enum Fact {
    Open(Role),
    Connect(usize),
    Ready(usize),
    Fail(usize),
    Moving { conn: usize, seq: u64, port: u16, grace: u64 },
    Opener(usize, u64),
    Completion(usize, u64),
    Drained(usize),
    Closed(usize),
    Release(usize),
    Switched(usize),
    Pass(u64),
}

fn fact() -> impl Strategy<Value = Fact> {
    let any = || 0..24_usize;
    prop_oneof![
        2 => Just(Fact::Open(Role::Shared)),
        2 => Just(Fact::Open(Role::Held)),
        4 => any().prop_map(Fact::Connect),
        4 => any().prop_map(Fact::Ready),
        1 => any().prop_map(Fact::Fail),
        3 => (any(), 0..6_u64, 1..5_u16, 0..12_u64)
            .prop_map(|(conn, seq, port, grace)| Fact::Moving { conn, seq, port, grace }),
        1 => (any(), 0..6_u64).prop_map(|(conn, seq)| Fact::Opener(conn, seq)),
        1 => (any(), 0..6_u64).prop_map(|(conn, seq)| Fact::Completion(conn, seq)),
        1 => any().prop_map(Fact::Drained),
        1 => any().prop_map(Fact::Closed),
        1 => any().prop_map(Fact::Release),
        2 => any().prop_map(Fact::Switched),
        2 => (0..8000_u64).prop_map(Fact::Pass),
    ]
}

proptest! {
    /// Any facts in any order, those about unknown connections included: no panic, no spin, no more dials than workers, and
    /// nothing left when everything has ended. INV-07, INV-11, INV-12, RULE-96
    #[test]
    fn any_facts_in_any_order_keep_the_invariants(facts in prop::collection::vec(fact(), 0..120)) {
        let mut world = World::new("127.0.0.1:1", 6);
        let mut conns: Vec<ConnId> = Vec::new();
        let mut told_lost = BTreeSet::new();
        for fact in facts {
            let nth = |at: usize| conns.get(at).copied().unwrap_or_else(|| ConnId::from_parts(at as u32, 9));
            let now = world.now;
            match fact {
                Fact::Open(role) if conns.len() < 20 => conns.push(world.coordinator.open(now, role)),
                Fact::Open(_) => {}
                Fact::Connect(at) => world.coordinator.handle_connected(now, nth(at), peer(1 + at as u16 % 3)),
                Fact::Ready(at) => world.coordinator.handle_ready(now, nth(at), OptIn::Accepted),
                Fact::Fail(at) => world.coordinator.handle_dial_failed(now, nth(at), ConnectError::Retiring),
                Fact::Moving { conn, seq, port, grace } => {
                    let notification = moving(seq, Duration::from_secs(grace.max(1)), port);
                    world.coordinator.handle_notification(now, nth(conn), &notification);
                }
                Fact::Opener(at, seq) => world.coordinator.handle_notification(now, nth(at), &opener(seq)),
                Fact::Completion(at, seq) => world.coordinator.handle_notification(now, nth(at), &completion(seq)),
                Fact::Drained(at) => world.coordinator.handle_drained(now, nth(at)),
                Fact::Closed(at) => world.coordinator.handle_closed(now, nth(at), CloseCause::ByServer),
                Fact::Release(at) => world.coordinator.release(now, nth(at)),
                Fact::Switched(at) => world.coordinator.handle_switched(now, nth(at)),
                Fact::Pass(millis) => {
                    let until = now + Duration::from_millis(millis);
                    while world.next_timeout(until) {}
                    world.now = until;
                }
            }
            world.drain();
            conns.extend(world.dials.drain(..).map(|(conn, ..)| conn));
            conns.sort_unstable();
            conns.dedup();
            let stats = world.coordinator.stats();
            prop_assert!(stats.handoffs_working <= 2, "{stats:?}");
            prop_assert!(stats.handoffs_queued <= 6, "{stats:?}");
            for (lost, replacement) in world.lost.drain(..) {
                prop_assert!(told_lost.insert(lost), "{lost} is lost twice");
                if let Replacement::Ready(to) = replacement {
                    prop_assert!(world.successors.iter().any(|(from, offered, _)| (*from, *offered) == (lost, to)));
                    prop_assert!(world.coordinator.peer(to).is_some(), "{to} is gone as well");
                }
            }
        }
        for conn in conns {
            world.coordinator.release(world.now, conn);
        }
        world.drain();
        for (conn, ..) in std::mem::take(&mut world.dials) {
            world.coordinator.release(world.now, conn);
        }
        let end = world.now + 3600 * SECOND;
        while world.next_timeout(end) {
            for (conn, ..) in std::mem::take(&mut world.dials) {
                world.coordinator.release(world.now, conn);
            }
        }
        let stats = world.coordinator.stats();
        prop_assert_eq!(&stats, &CoordinatorStats::default());
        prop_assert!(world.coordinator.moves.is_at_rest());
    }
}
