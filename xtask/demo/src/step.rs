//! The steps of the demo: what happens in each, and what must come of it.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::load::{LENT, SPARES};
use crate::pool::{CONNECTIONS, HANDOFF_RETRIES};
use crate::stage::Stage;
use crate::verdict::{Expectation, Gap, Handoffs};
use crate::world::Node::{self, A, B, C, D};

/// A step of the demo.
pub(crate) struct Step {
    /// In one word, for tables and programs.
    pub(crate) name: &'static str,
    /// In one line, for people.
    pub(crate) title: &'static str,
    /// The nodes that the name leads to when the step begins with a new pool; none if it goes on with the last one's.
    pub(crate) new_pool: Option<&'static [Node]>,
    /// What happens while the load goes on.
    pub(crate) act: Act,
    /// What must come of it.
    pub(crate) expected: Expectation,
}

type Act = fn(&mut Stage<'_>);

/// The load alone, before the event of a step.
const LEAD_IN: Duration = Duration::from_millis(500);
/// The load alone, when everything is over.
const LEAD_OUT: Duration = Duration::from_millis(300);

/// Longer than the others usually take: the measure must have met the noise that they meet.
const CONTROL: Duration = Duration::from_secs(6);
/// From MOVING to the close of the old node. An attempt has a quarter of it less a second: not so little that a busy
/// machine fails it.
const MOVE: Duration = Duration::from_secs(3);
/// The same for a target that is dead at first: the retries need time.
const LONG_MOVE: Duration = Duration::from_secs(9);
const DEAD: Duration = Duration::from_secs(2);
const MIGRATION: Duration = Duration::from_secs(6);
/// Longer than the command timeout: without relaxed timeouts every request would fail.
const DELAY: Duration = Duration::from_millis(1300);
const DELAYED_FOR: Duration = Duration::from_millis(1500);
/// From a MOVING without a target to the close of the old node. The name is looked up from half of it on.
const MOVE_BY_NAME: Duration = Duration::from_secs(6);
/// When the name leads to the new node: as late as names were seen to follow.
const NAME_FOLLOWS: Duration = Duration::from_millis(3300);
const FAILOVER: Duration = Duration::from_secs(5);
/// From the demotion of a node to the promotion of another. It ends while nothing is under way: requests that are
/// refused are sent again after pauses of 20 ms, 40 ms and so on, after 620 ms and then after 1260 ms, and an INCR whose
/// connection is closed before its reply would have to end with an error. Transactions begin again after such pauses too, and
/// return their connections meanwhile.
const OUTAGE: Duration = Duration::from_secs(1);
const FAILOVER_ENDS: Duration = Duration::from_millis(200);
const MOVES_IN_A_ROW: usize = 10;
/// From one MOVING to the next: what the client remembers of the last ones is still fresh.
const APART: Duration = Duration::from_secs(1);

/// Lets caches fill and the system get used to the load. Not judged.
pub(crate) fn warm_up() -> Step {
    Step {
        name: "warm-up",
        title: "warming up",
        new_pool: Some(&[A]),
        act: |stage| stage.wait(Duration::from_millis(500)),
        expected: Expectation { gap: Gap::Reference, ..quiet() },
    }
}

/// The steps in their order. The first one is the measure of the others.
pub(crate) fn all() -> Vec<Step> {
    let control = Expectation { gap: Gap::Reference, ..quiet() };
    let slow = Expectation { gap: Gap::ServerIsSlow, slowness: Some(DELAY), ..quiet() };
    let replaced = Expectation {
        // What nobody uses is not replaced.
        accepted: &[(D, USED)],
        gap: Gap::Outage(OUTAGE),
        slowness: Some(OUTAGE),
        loses_connections: true,
        ..quiet()
    };
    let step = |name, title, act: Act, expected| Step { name, title, new_pool: None, act, expected };
    vec![
        step("control", "control: nothing happens", |stage| stage.wait(CONTROL), control),
        step(
            "moving-healthy",
            "MOVING to a healthy node",
            move_to_a_healthy_node,
            handoffs(&[(B, POOL)], 0..=0, MOVE),
        ),
        step(
            "moving-dead",
            "MOVING to a node that is dead for 2 s",
            move_to_a_dead_node,
            handoffs(&[(A, POOL)], 1..=HANDOFF_RETRIES.into(), LONG_MOVE),
        ),
        step("migrating-slow", "MIGRATING .. MIGRATED with slow replies", migrate_slowly, slow),
        step(
            "moving-by-name",
            "MOVING without a target: the name follows late",
            move_by_name,
            handoffs(&[(C, POOL)], 0..=0, MOVE_BY_NAME),
        ),
        step(
            "failover",
            "FAILING_OVER .. FAILED_OVER: writes are refused for 1 s, then connections are closed",
            fail_over,
            replaced,
        ),
        Step {
            name: "moving-ten-times",
            title: "ten MOVINGs in a row, there and back, 1 s apart",
            new_pool: Some(&[D]),
            act: move_ten_times,
            expected: handoffs(&[(A, 5 * POOL), (D, 5 * POOL)], 0..=0, APART),
        },
        Step {
            name: "moving-one-of-two",
            title: "MOVING of one proxy of two behind the name",
            new_pool: Some(&[A, B]),
            act: move_one_of_two,
            expected: handoffs(&[(C, POOL / 2)], 0..=0, MOVE),
        },
    ]
}

/// Connections that move: those of the pool, those that are lent, and the subscriber's.
const POOL: u64 = CONNECTIONS as u64 + LENT as u64 + 1;
/// Those of them that somebody uses.
const USED: u64 = POOL - SPARES as u64;

/// Nothing moves.
fn quiet() -> Expectation {
    Expectation { accepted: &[], handoffs: None, gap: Gap::Limited, slowness: None, loses_connections: false }
}

fn handoffs(
    accepted: &'static [(Node, u64)],
    failed_dials: RangeInclusive<u64>,
    within: Duration,
) -> Expectation {
    Expectation { accepted, handoffs: Some(Handoffs { failed_dials, within }), ..quiet() }
}

fn move_to_a_healthy_node(stage: &mut Stage<'_>) {
    stage.wait(LEAD_IN);
    stage.announce_move(A, Some(B), MOVE);
    stage.wait_until_empty(A);
    stage.point_name_at(&[B]);
    stage.end_event();
    stage.wait_since_announcement(MOVE + LEAD_OUT);
}

fn move_to_a_dead_node(stage: &mut Stage<'_>) {
    stage.refuse_dials(A);
    stage.wait(LEAD_IN);
    stage.announce_move(B, Some(A), LONG_MOVE);
    stage.wait_since_announcement(DEAD);
    stage.accept_dials(A);
    stage.wait_until_empty(B);
    stage.point_name_at(&[A]);
    stage.end_event();
    stage.wait(LEAD_OUT);
}

fn migrate_slowly(stage: &mut Stage<'_>) {
    stage.wait(LEAD_IN);
    stage.announce_migration(MIGRATION);
    stage.delay_replies(A, DELAY, DELAYED_FOR);
    stage.wait_since_announcement(DELAYED_FOR + DELAY);
    stage.complete_migration();
    stage.end_event();
    stage.wait(LEAD_OUT);
}

fn move_by_name(stage: &mut Stage<'_>) {
    stage.wait(LEAD_IN);
    stage.announce_move(A, None, MOVE_BY_NAME);
    stage.wait_since_announcement(NAME_FOLLOWS);
    stage.point_name_at(&[C]);
    stage.wait_until_empty(A);
    stage.end_event();
    stage.wait(LEAD_OUT);
}

fn fail_over(stage: &mut Stage<'_>) {
    stage.wait(LEAD_IN);
    stage.announce_failover(FAILOVER);
    stage.demote(C);
    stage.wait_since_announcement(OUTAGE);
    stage.point_name_at(&[D]);
    stage.kill_between_transactions(C);
    stage.wait(FAILOVER_ENDS);
    stage.complete_failover();
    stage.end_event();
    stage.wait(LEAD_IN);
}

fn move_ten_times(stage: &mut Stage<'_>) {
    let there_and_back = [(D, A), (A, D)];
    stage.wait(LEAD_IN);
    for (source, target) in there_and_back.into_iter().cycle().take(MOVES_IN_A_ROW) {
        stage.announce_move(source, Some(target), MOVE);
        stage.wait_until_empty(source);
        stage.point_name_at(&[target]);
        stage.wait_since_announcement(APART);
        // The source is to come back, so it is not closed.
        stage.settle();
    }
    stage.end_event();
    stage.wait(LEAD_OUT);
}

fn move_one_of_two(stage: &mut Stage<'_>) {
    stage.wait(LEAD_IN);
    stage.announce_move(A, Some(C), MOVE);
    stage.wait_until_empty(A);
    stage.point_name_at(&[B, C]);
    stage.end_event();
    stage.wait(LEAD_OUT);
}
