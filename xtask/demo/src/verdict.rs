//! What hitless means, as a function of what was measured.

use std::ops::RangeInclusive;
use std::time::Duration;

use hitless_conformance::tally::Counted;

use crate::load::{HELD_AT_MOST, LENT, TOPICS};
use crate::world::{NODES, Node};

/// Below this nobody tells a gap from the noise of a busy machine.
pub(crate) const GAP_FLOOR: Duration = Duration::from_millis(100);
/// A step may have a gap of so many times that of the control phase.
pub(crate) const GAP_FACTOR: u32 = 3;

/// What a step must show to be hitless.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    /// The connections that nodes accept; the others accept none.
    pub(crate) accepted: &'static [(Node, u64)],
    /// How these come about; none if no connection is handed off.
    pub(crate) handoffs: Option<Handoffs>,
    /// What is expected of the longest gap.
    pub(crate) gap: Gap,
    /// The server was that slow, or the step has shown nothing.
    pub(crate) slowness: Option<Duration>,
    /// A node closes its connections without a warning: the subscriber is told of a gap in each topic, and consumers that nobody can say
    /// whether an item was on its way to them.
    pub(crate) loses_connections: bool,
}

/// Connections that leave a node for another one.
#[derive(Clone, Debug)]
pub(crate) struct Handoffs {
    /// How often scouts meet a node that is not there.
    pub(crate) failed_dials: RangeInclusive<u64>,
    /// By then the old node must be empty: later it closes what is left.
    pub(crate) within: Duration,
}

/// How the longest gap of a step is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// It is the measure of the others.
    Reference,
    /// It may not be longer than [`gap_limit`].
    Limited,
    /// It is not: the server itself was slow.
    ServerIsSlow,
    /// The server refused to serve for so long, and the client tried again after pauses that it doubled each time.
    Outage(Duration),
}

impl Gap {
    /// The longest that is hitless, where there is a limit; `usual` is that of a server that serves.
    pub(crate) fn limit(self, usual: Duration) -> Option<Duration> {
        match self {
            Self::Reference | Self::ServerIsSlow => None,
            Self::Limited => Some(usual),
            // Pauses that double meet the end of an outage late by its own length at most.
            Self::Outage(outage) => Some(outage * 2 + usual),
        }
    }
}

/// What was measured in a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Operations completed.
    pub(crate) operations: u64,
    /// Operations that failed, or were answered wrongly, or never ended.
    pub(crate) errors: u64,
    /// INCRs, by the server's own count.
    pub(crate) counted: Counted,
    /// What became of transactions.
    pub(crate) transactions: Transactions,
    /// What became of items.
    pub(crate) items: Items,
    /// What became of messages.
    pub(crate) messages: Messages,
    /// The longest time without a completed operation.
    pub(crate) gap: Duration,
    /// The slowest operation.
    pub(crate) slowest: Option<Duration>,
    /// p99.9 until the event, or of the whole step if there is none.
    pub(crate) p999_before: Option<Duration>,
    /// p99.9 from the event until it is over, at least one second.
    pub(crate) p999_during: Option<Duration>,
    /// From an announcement until the old node had no connection.
    pub(crate) emptied: Option<Duration>,
    /// Connections opened.
    pub(crate) dials: Dials,
}

/// What was measured of transactions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    /// Those that have run.
    pub(crate) completed: u64,
    /// Their updates, by the server's own count.
    pub(crate) counted: Counted,
    /// The longest time without a completed one.
    pub(crate) gap: Duration,
}

/// What became of the items that consumers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Items {
    /// Those that were pushed.
    pub(crate) pushed: u64,
    /// By the consumers' count; those that may have been on their way to a lost connection are not lost.
    pub(crate) counted: Counted,
    /// How often a consumer was told that an item may have been on its way.
    pub(crate) uncertain: u64,
}

impl Items {
    pub(crate) fn new(pushed: u64, missing: u64, twice: u64, uncertain: u64) -> Self {
        Self { pushed, counted: Counted { lost: missing.saturating_sub(uncertain), twice }, uncertain }
    }
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Those that were received, each once for each topic that it fits.
    pub(crate) received: u64,
    /// Behind a gap no message is lost.
    pub(crate) counted: Counted,
    /// Gaps that the subscriber was told of.
    pub(crate) gaps: u64,
}

/// Connections opened in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dials {
    /// That each node accepted, by its own count.
    pub(crate) accepted: [u64; NODES],
    /// That the client made for handoffs, by its own word: what a dead node refuses, it does not see.
    pub(crate) made: u64,
    /// Those of them that failed.
    pub(crate) failed: u64,
}

impl Dials {
    fn accepted_by(self, node: Node) -> u64 {
        self.accepted[node as usize]
    }

    /// Those that the nodes of `expected` accepted.
    pub(crate) fn to_targets(self, expected: &[(Node, u64)]) -> u64 {
        expected.iter().map(|(node, _)| self.accepted_by(*node)).sum()
    }

    /// Those that the other nodes accepted.
    pub(crate) fn elsewhere(self, expected: &[(Node, u64)]) -> u64 {
        self.accepted.iter().sum::<u64>() - self.to_targets(expected)
    }
}

/// One criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// What was looked at.
    pub(crate) what: &'static str,
    /// What was found.
    pub(crate) found: String,
    /// What would be hitless.
    pub(crate) allowed: String,
    /// Whether it was.
    pub(crate) holds: bool,
}

impl Check {
    pub(crate) fn new(what: &'static str, found: impl ToString, allowed: impl ToString, holds: bool) -> Self {
        Self { what, found: found.to_string(), allowed: allowed.to_string(), holds }
    }

    pub(crate) fn none(what: &'static str, found: u64) -> Self {
        Self::new(what, found, 0, found == 0)
    }
}

/// The longest gap that is hitless, given that of the control phase.
pub(crate) fn gap_limit(control: Duration) -> Duration {
    GAP_FLOOR.max(control * GAP_FACTOR)
}

/// Every criterion of a step.
pub(crate) fn judge(expected: &Expectation, found: &Figures, gap_limit: Duration) -> Vec<Check> {
    let mut checks = vec![
        Check::new("operations", found.operations, "some", found.operations > 0),
        Check::none("errors", found.errors),
        Check::none("INCRs lost", found.counted.lost),
        Check::none("INCRs executed twice", found.counted.twice),
    ];
    if let Some(limit) = expected.gap.limit(gap_limit) {
        let allowed = format!("at most {}", millis(limit));
        checks.push(Check::new("longest gap", millis(found.gap), allowed, found.gap <= limit));
    }
    judge_transactions(expected.gap, &found.transactions, gap_limit, &mut checks);
    judge_fed(expected.loses_connections, &found.items, &found.messages, &mut checks);
    judge_dials(expected, &found.dials, &mut checks);
    if let Some(Handoffs { within, .. }) = &expected.handoffs {
        let emptied = found.emptied.map_or_else(|| "never".to_owned(), millis);
        let in_time = found.emptied.is_some_and(|emptied| emptied < *within);
        checks.push(Check::new("old node empty", emptied, format!("within {}", millis(*within)), in_time));
    }
    if let Some(slowness) = expected.slowness {
        let slowest = found.slowest.unwrap_or_default();
        let allowed = format!("at least {}", millis(slowness));
        checks.push(Check::new("slowest reply", millis(slowest), allowed, slowest >= slowness));
    }
    checks
}

fn judge_transactions(gap: Gap, found: &Transactions, gap_limit: Duration, checks: &mut Vec<Check>) {
    checks.extend([
        Check::new("transactions", found.completed, "some", found.completed > 0),
        Check::none("updates lost", found.counted.lost),
        Check::none("updates executed twice", found.counted.twice),
    ]);
    // One may hold its connection for a while, and nobody else may get through meanwhile.
    if let Some(limit) = gap.limit(gap_limit + HELD_AT_MOST) {
        let allowed = format!("at most {}", millis(limit));
        checks.push(Check::new("transactions' gap", millis(found.gap), allowed, found.gap <= limit));
    }
}

fn judge_fed(loses_connections: bool, items: &Items, messages: &Messages, checks: &mut Vec<Check>) {
    // Each connection that is lost takes one command along at most.
    let (uncertain, gaps) = if loses_connections { (LENT as u64, TOPICS as u64) } else { (0, 0) };
    let allowed = format!("at most {uncertain}");
    checks.extend([
        Check::new("items", items.pushed, "some", items.pushed > 0),
        Check::none("items lost", items.counted.lost),
        Check::none("items taken twice", items.counted.twice),
        Check::new("uncertain BLPOPs", items.uncertain, allowed, items.uncertain <= uncertain),
        Check::new("messages", messages.received, "some", messages.received > 0),
        Check::none("messages lost", messages.counted.lost),
        Check::none("messages received twice", messages.counted.twice),
        Check::new("gaps in messages", messages.gaps, gaps, messages.gaps == gaps),
    ]);
}

fn judge_dials(expected: &Expectation, found: &Dials, checks: &mut Vec<Check>) {
    for (node, connections) in expected.accepted {
        let accepted = found.accepted_by(*node);
        checks.push(Check::new(accepted_by(*node), accepted, connections, accepted == *connections));
    }
    checks.push(Check::none("dials accepted elsewhere", found.elsewhere(expected.accepted)));
    let Some(Handoffs { failed_dials, .. }) = &expected.handoffs else {
        return checks.push(Check::none("dials made for handoffs", found.made));
    };
    let (least, most) = (failed_dials.start(), failed_dials.end());
    let failures = if least == most { least.to_string() } else { format!("{least} to {most}") };
    let connections: u64 = expected.accepted.iter().map(|(_, connections)| connections).sum();
    let needed = connections + found.failed;
    checks.extend([
        Check::new("dials that failed", found.failed, failures, failed_dials.contains(&found.failed)),
        Check::new(
            "dials made for handoffs",
            found.made,
            format!("{needed} (connections and failures)"),
            found.made == needed,
        ),
    ]);
}

fn accepted_by(node: Node) -> &'static str {
    match node {
        Node::A => "dials accepted by A",
        Node::B => "dials accepted by B",
        Node::C => "dials accepted by C",
        Node::D => "dials accepted by D",
    }
}

/// A duration as people read it.
pub(crate) fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

#[cfg(test)]
mod tests;
