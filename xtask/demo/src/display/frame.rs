//! The live display as lines of text.

use std::fmt;
use std::time::Duration;

use crate::log::Line;
use crate::meter::Interval;
use crate::verdict::millis;
use crate::world::{NODES, Node};

/// Lines of the event log that are shown.
const LOG_LINES: usize = 10;

/// The last second of the load.
#[derive(Clone, Debug)]
pub(super) struct Second {
    operations: f64,
    /// Since the demo began.
    errors: u64,
    p50: Option<Duration>,
    p99: Option<Duration>,
    max: Option<Duration>,
}

impl Second {
    pub(super) fn new(interval: &Interval, length: Duration, errors: u64) -> Self {
        Self {
            operations: interval.operations() as f64 / length.as_secs_f64(),
            errors,
            p50: interval.quantile(0.5),
            p99: interval.quantile(0.99),
            max: interval.slowest(),
        }
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = |latency: Option<Duration>| latency.map_or_else(|| "-".to_owned(), millis);
        let (p50, p99, max) = (latency(self.p50), latency(self.p99), latency(self.max));
        let (operations, errors) = (self.operations, self.errors);
        write!(f, "{operations:7.0} op/s  {errors} errors  p50 {p50:>8}  p99 {p99:>8}  max {max:>8}")
    }
}

/// All that is shown.
pub(super) struct View<'a> {
    pub(super) head: &'a str,
    pub(super) title: &'a str,
    pub(super) elapsed: Duration,
    pub(super) second: Option<&'a Second>,
    pub(super) connections: [(Node, usize); NODES],
    pub(super) log: Vec<Line>,
}

/// The display, line by line; always as many.
pub(super) fn lines(view: &View<'_>) -> Vec<String> {
    let rule = "-".repeat(78);
    let mut lines = vec![
        view.head.to_owned(),
        String::new(),
        format!("{:7.1} s  {}", view.elapsed.as_secs_f64(), view.title),
        String::new(),
        view.second.map_or_else(String::new, Second::to_string),
        format!("connections:  {}", bars(&view.connections)),
        rule,
    ];
    let recent = view.log.len().saturating_sub(LOG_LINES);
    lines.extend(view.log[recent..].iter().map(Line::to_string));
    lines.resize(7 + LOG_LINES, String::new());
    lines
}

/// Connections by node, in numbers.
pub(super) fn nodes(connections: &[(Node, usize)]) -> String {
    let nodes: Vec<String> = connections.iter().map(|(node, count)| format!("{node} {count}")).collect();
    nodes.join("  ")
}

/// Connections by node, as bars.
fn bars(connections: &[(Node, usize)]) -> String {
    let bar =
        |(node, count): &(Node, usize)| format!("{node} {count:2} {:<10}", "#".repeat((*count).min(10)));
    connections.iter().map(bar).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Log, Who};

    #[test]
    fn the_display_is_always_as_high_and_shows_the_last_lines() {
        let log = Log::new(hitless_conformance::clock::now());
        let view = |log: &Log| View {
            head: "head",
            title: "title",
            elapsed: Duration::from_secs(3),
            second: None,
            connections: [(Node::A, 3), (Node::B, 7), (Node::C, 0), (Node::D, 0)],
            log: log.after(0),
        };
        let empty = lines(&view(&log));
        (0..25).for_each(|number| log.add(Who::Demo, format!("line {number}")));
        let full = lines(&view(&log));
        assert_eq!(empty.len(), full.len());
        assert!(full.last().unwrap().ends_with("line 24"), "{full:?}");
        assert!(
            full.iter().any(|line| line.contains("A  3 ###") && line.contains("B  7 #######")),
            "{full:?}"
        );
    }
}
