//! What a breaker does in each state.

use super::*;
use crate::tests::{Table, cell};

const LEGEND: &str = "\
Found out by a test, with two failures that open it and two trials. `·`: nothing changes. A *void* permit is one of an earlier \
state, or one that was taken for lost.";

const STATES: [&str; 6] = [
    "closed",
    "closed, one failure",
    "open",
    "half-open",
    "half-open, one success",
    "half-open, all trials out",
];

/// A breaker in the state of that name, and the permits that are out.
fn in_state(name: &str, now: Instant) -> (Breaker, Vec<Permit>) {
    let mut breaker = if name.starts_with("closed") { Breaker::new(CONFIG) } else { opened(now - OPEN_FOR) };
    let mut permits = Vec::new();
    match name {
        "closed" | "half-open" => {}
        "closed, one failure" => attempt(&mut breaker, now, AttemptEnd::Failure),
        "open" => breaker = opened(now),
        "half-open, one success" => attempt(&mut breaker, now, AttemptEnd::Success),
        "half-open, all trials out" => permits.extend([(); 2].map(|()| breaker.try_acquire(now).unwrap())),
        other => panic!("{other}"),
    }
    assert_eq!(state(&mut breaker, now), name);
    (breaker, permits)
}

fn state(breaker: &mut Breaker, now: Instant) -> &'static str {
    breaker.advance(now);
    STATES[match &breaker.state {
        State::Closed { failures: 0 } => 0,
        State::Closed { .. } => 1,
        State::Open { .. } => 2,
        State::HalfOpen { successes: 1.., .. } => 4,
        State::HalfOpen { trials, .. } => 3 + 2 * usize::from(trials.len() >= CONFIG.half_open as usize),
    }]
}

#[test]
fn table_of_states_and_events() {
    let head = ["state", "is asked", "success", "failure", "cancelled", "void permit", "`open_for` later"];
    let mut table = Table::new("breaker.md", LEGEND, &head);
    let now = epoch() + OPEN_FOR;
    for name in STATES {
        let asked = in_state(name, now).0.try_acquire(now);
        let mut row = vec![name.to_owned(), if asked.is_ok() { "permit" } else { "denied" }.to_owned()];
        for end in [AttemptEnd::Success, AttemptEnd::Failure, AttemptEnd::Cancelled] {
            let (mut breaker, mut permits) = in_state(name, now);
            let Some(permit) = breaker.try_acquire(now).ok().or_else(|| permits.pop()) else {
                row.push("no permit is out".to_owned());
                continue;
            };
            breaker.settle(now, permit, end);
            row.push(cell(&[], name, state(&mut breaker, now)));
        }
        let (mut breaker, permits) = in_state(name, now);
        breaker.settle(now, Permit { epoch: u64::MAX, trial: None }, AttemptEnd::Failure);
        row.push(cell(&[], name, state(&mut breaker, now)));
        row.push(cell(&[], name, state(&mut breaker, now + OPEN_FOR)));
        drop(permits);
        table.row(row);
    }
    table.check();
}
