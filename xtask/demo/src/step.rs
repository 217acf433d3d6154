//! The steps of the demo: what happens in each, and what must come of it.

use std::time::Duration;

use crate::interrupts::Interrupted;
use crate::pool::{CONNECTIONS, HANDOFF_RETRIES};
use crate::stage::Stage;
use crate::verdict::{Expectation, Gap, PoolMove};
use crate::world::Node;

/// A step of the demo.
pub(crate) struct Step {
    /// In one word, for tables and programs.
    pub(crate) name: &'static str,
    /// In one line, for people.
    pub(crate) title: &'static str,
    /// What happens while the load goes on.
    pub(crate) act: fn(&mut Stage<'_>) -> Result<(), Interrupted>,
    /// The node that the clients leave, and the one that they go to.
    pub(crate) route: Option<(Node, Node)>,
    /// What must come of it.
    pub(crate) expected: Expectation,
}

/// The load alone, before the event of a step.
const LEAD_IN: Duration = Duration::from_secs(1);
/// The load alone, when everything is over.
const LEAD_OUT: Duration = Duration::from_millis(500);

/// Longer than the others usually take: the measure must have met the noise that they meet.
const CONTROL: Duration = Duration::from_secs(7);
/// From MOVING to the close of the old node.
const MOVE: Duration = Duration::from_secs(4);
/// The same for a target that is dead at first: the retries need time.
const LONG_MOVE: Duration = Duration::from_secs(8);
const DEAD: Duration = Duration::from_secs(2);
const MIGRATION: Duration = Duration::from_secs(6);
/// Longer than the command timeout: without relaxed timeouts every request would fail.
const DELAY: Duration = Duration::from_millis(1300);
const DELAYED_FOR: Duration = Duration::from_secs(3);

/// Lets caches fill and the system get used to the load. Not judged.
pub(crate) fn warm_up() -> Step {
    Step {
        name: "warm-up",
        title: "warming up",
        act: |stage| stage.wait(Duration::from_millis(500)),
        route: None,
        expected: Expectation { moves: None, gap: Gap::Reference, slowness: None },
    }
}

/// The steps in their order. The first one is the measure of the others.
pub(crate) fn all() -> Vec<Step> {
    vec![
        Step {
            name: "control",
            title: "control: nothing happens",
            act: |stage| stage.wait(CONTROL),
            route: None,
            expected: Expectation { moves: None, gap: Gap::Reference, slowness: None },
        },
        Step {
            name: "moving-healthy",
            title: "MOVING to a healthy node",
            act: move_to_a_healthy_node,
            route: Some((Node::A, Node::B)),
            expected: Expectation { moves: Some(whole_pool(0..=0, MOVE)), gap: Gap::Limited, slowness: None },
        },
        Step {
            name: "moving-dead",
            title: "MOVING to a node that is dead for 2 s",
            act: move_to_a_dead_node,
            route: Some((Node::B, Node::A)),
            expected: Expectation {
                moves: Some(whole_pool(1..=HANDOFF_RETRIES.into(), LONG_MOVE)),
                gap: Gap::Limited,
                slowness: None,
            },
        },
        Step {
            name: "migrating-slow",
            title: "MIGRATING .. MIGRATED with slow replies",
            act: migrate_slowly,
            route: None,
            expected: Expectation { moves: None, gap: Gap::ServerIsSlow, slowness: Some(DELAY) },
        },
    ]
}

fn whole_pool(failed_dials: std::ops::RangeInclusive<u64>, within: Duration) -> PoolMove {
    PoolMove { connections: CONNECTIONS.into(), failed_dials, within }
}

fn move_to_a_healthy_node(stage: &mut Stage<'_>) -> Result<(), Interrupted> {
    stage.wait(LEAD_IN)?;
    stage.announce_move(Node::A, Node::B, MOVE);
    stage.wait_until_empty(Node::A)?;
    stage.wait_since_event(MOVE + LEAD_OUT)
}

fn move_to_a_dead_node(stage: &mut Stage<'_>) -> Result<(), Interrupted> {
    stage.refuse_dials(Node::A);
    stage.wait(LEAD_IN)?;
    stage.announce_move(Node::B, Node::A, LONG_MOVE);
    stage.wait_since_event(DEAD)?;
    stage.accept_dials(Node::A);
    stage.wait_until_empty(Node::B)?;
    stage.wait(LEAD_OUT)
}

fn migrate_slowly(stage: &mut Stage<'_>) -> Result<(), Interrupted> {
    stage.wait(LEAD_IN)?;
    stage.announce_migration(MIGRATION);
    stage.delay_replies(Node::A, DELAY, DELAYED_FOR);
    stage.wait_since_event(DELAYED_FOR + DELAY)?;
    stage.complete_migration();
    stage.wait(LEAD_IN)
}
