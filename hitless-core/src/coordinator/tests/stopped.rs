//! A process that is stopped while connections are to move: what is left to be done when it wakes.

use super::*;
use crate::coordinator::withdrawn::TIME_TO_LEAVE;

const MILLI: Duration = Duration::from_millis(1);

fn nameless(seq: u64, grace: Duration) -> Notification {
    Notification::Moving { seq: Seq(seq), grace, target: MoveTarget::SameName }
}

/// A move whose handoffs wait for something, and its deadline.
struct Waiting {
    world: World,
    deadline: Instant,
    /// The connections that are to leave.
    count: u32,
}

impl Waiting {
    fn new(world: World, grace: Duration, count: u32) -> Self {
        let deadline = world.now + grace;
        assert!(world.dials.is_empty() && world.lookups.is_empty());
        Self { world, deadline, count }
    }

    /// The target is not there yet, and the scout waits until it is dialled again.
    fn for_a_target(grace: Duration) -> Self {
        let (mut world, conns) = World::by_name(3, maintenance::Config::builder());
        world.notify(conns[0], &moving(1, grace, 2));
        world.refuse_dials();
        Self::new(world, grace, 3)
    }

    /// No target was named, and the scout waits until half of the time is over.
    fn for_a_name(grace: Duration) -> Self {
        let (mut world, conns) = World::by_name(3, maintenance::Config::builder());
        world.notify(conns[0], &nameless(1, grace));
        Self::new(world, grace, 3)
    }

    /// The address has left the name's answers, and the other one is not there yet. Nobody says how long that takes.
    fn for_a_quiet_move(_: Duration) -> Self {
        let (mut world, conns) = World::by_name(3, maintenance::Config::builder());
        world.notify(conns[0], &opener(1));
        world.notify(conns[0], &completion(2));
        while world.answer_lookups(&[2]) > 0 {}
        world.refuse_dials();
        Self::new(world, TIME_TO_LEAVE, 3)
    }

    /// The scout has arrived, and those behind it were refused.
    fn for_a_scout_to_be_followed(grace: Duration) -> Self {
        let (mut world, conns) = World::by_name(3, maintenance::Config::builder());
        world.notify(conns[0], &moving(1, grace, 2));
        assert_eq!(world.answer_dials(), 1);
        while !world.dials.is_empty() {
            world.refuse_dials();
        }
        Self::new(world, grace, 3)
    }

    /// Connections have moved, and are to move on while the old ones drain.
    fn for_a_drain(grace: Duration) -> Self {
        let (mut world, conns) = World::by_name(3, maintenance::Config::builder());
        world.notify(conns[0], &moving(1, 120 * SECOND, 2));
        world.arrive(&[1]);
        let (_, conn) = world.cut_over[0];
        world.notify(conn, &moving(2, grace, 3));
        Self::new(world, grace, 3)
    }

    /// How many have moved, and how many stay, if that is known.
    fn ended(&self) -> Option<(u32, u32)> {
        self.world.events.iter().rev().find_map(|event| match event {
            Event::MoveFinished { moved, stayed, .. } => Some((*moved, *stayed)),
            Event::MoveStarted { .. } => Some((0, 0)),
            _ => None,
        })
    }
}

/// A world in which a handoff waits for something, in a move that has so much time.
type Begin = fn(Duration) -> Waiting;

const WAITING: [(&str, Begin); 5] = [
    ("a target", Waiting::for_a_target),
    ("a name", Waiting::for_a_name),
    ("a quiet move", Waiting::for_a_quiet_move),
    ("a scout", Waiting::for_a_scout_to_be_followed),
    ("a drain", Waiting::for_a_drain),
];

impl World {
    /// The process was stopped, and runs again.
    fn wake(&mut self, at: Instant) {
        self.now = at;
        self.coordinator.handle_timeout(at);
        self.drain();
        assert!(self.coordinator.poll_timeout().is_none_or(|next| next > at), "it spins");
    }
}

/// Whoever's turn came while the process was stopped moves as soon as it wakes, if that is before the deadline: whatever the
/// connections have waited for, and however short the move is. INV-03, RULE-225
#[test]
fn whoever_has_slept_through_its_turn_moves_before_the_deadline() {
    for (what, begin) in WAITING {
        for grace in [1, 2, 4, 15, 60].map(|seconds| seconds * SECOND) {
            for left in [1, 20, 300, 900].map(|millis| millis * MILLI) {
                let mut waiting = begin(grace);
                // Later than half time, since nobody looks for a name before.
                let left = left.min(grace / 4);
                waiting.world.wake(waiting.deadline - left);
                waiting.world.arrive(&[2]);
                assert_eq!(waiting.ended(), Some((waiting.count, 0)), "{what}, {left:?} of {grace:?} left");
            }
        }
    }
}

/// When the deadline has come the old connections stay, and that is said. RULE-75
#[test]
fn whoever_sleeps_until_the_deadline_stays() {
    for (what, begin) in WAITING {
        let mut waiting = begin(4 * SECOND);
        waiting.world.wake(waiting.deadline);
        assert!(waiting.world.dials.is_empty(), "{what}");
        let (moved, stayed) = waiting.ended().unwrap();
        assert!(stayed > 0 && moved + stayed == waiting.count, "{what}: {moved} moved, {stayed} stay");
    }
}

/// The process wakes with hardly any budget left, and the target is far away: those that remain have the time for its answer one
/// behind the other, where an even share of the budget would suffice for none of them. INV-03, RULE-225
#[test]
fn a_small_rest_of_the_budget_is_not_divided() {
    for (what, begin) in WAITING {
        for (grace, budget) in [(1, 500), (2, 1_000), (4, 3_000), (15, 13_500)] {
            let grace = grace * SECOND;
            let mut waiting = begin(grace);
            // A quiet move has a time of its own: 18 s of 20 s are its budget.
            let margin = if waiting.deadline - waiting.world.now == grace {
                grace - budget * MILLI
            } else {
                2 * SECOND
            };
            let world = &mut waiting.world;
            world.wake(waiting.deadline - margin - 60 * MILLI);
            for _ in 0..waiting.count {
                world.answer_lookups(&[2]);
                world.pass(90 * MILLI);
                world.answer_dials();
            }
            assert_eq!(waiting.ended(), Some((waiting.count, 0)), "{what}, {grace:?}");
        }
    }
}

/// The process is stopped while the last attempt is under way, until its limit is over: what has been answered is not read yet. The
/// attempt goes on for as long as it is late, but not beyond the deadline, and only once. INV-03, RULE-226
#[test]
fn an_attempt_whose_limit_is_slept_through_goes_on() {
    // The budget of ten seconds ends a second before the deadline, and with it the last attempt.
    for (late, lasts) in [(50, 0), (99, 0), (100, 100), (300, 300), (900, 100), (1_000, 0)] {
        for arrives in [true, false] {
            let settings = maintenance::Config::builder().max_handoff_retries(1);
            let mut world = World::with("127.0.0.1:1", 1, settings);
            let conn = world.connected(1)[0];
            let deadline = world.now + 10 * SECOND;
            world.notify(conn, &moving(1, 10 * SECOND, 2));
            world.refuse_dials();
            while world.dials.is_empty() && world.next_timeout(deadline) {}
            let (dial, ..) = world.dials[0].clone();
            assert_eq!(world.coordinator.attempts.until(dial), Some(deadline - SECOND));
            world.wake(deadline - SECOND + late * MILLI);
            let until = (lasts > 0).then(|| world.now + lasts * MILLI);
            assert_eq!(world.coordinator.attempts.until(dial), until, "{late} ms late");
            if arrives {
                world.now = until.map_or(world.now, |until| until - MILLI);
                world.answer_dials();
            }
            world.wake(deadline);
            let cut_over = Vec::from_iter(until.filter(|_| arrives).map(|_| (conn, dial)));
            assert_eq!(world.cut_over, cut_over, "{late} ms late");
            let is_given_up = world.closed == [(dial, CloseCause::ByClient)];
            assert_eq!(is_given_up, cut_over.is_empty(), "{late} ms late: it goes on once");
        }
    }
}
