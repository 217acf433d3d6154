//! The same seed gives the same run, event by event and request by request.

use hitless_conformance::direct::Direct;
use hitless_conformance::suite::CASES;
use hitless_conformance::world::Host;

/// Groups whose cases move pools under load, again and again: most of the time is theirs.
const MOVES: &[&str] = &["measured::", "moving::", "overlaps::", "proxies::", "targets::"];

/// Random scenarios, what takes many times as long as the others and does the same things, and what this way of running declines.
const LEFT_OUT: &[&str] = &[
    "chaos::",
    "cluster_",
    "tls::",
    "targets::every_way_of_naming_none",
    "proxies::taken_away_without_a_move",
];

/// INV-13
#[test]
fn the_same_seed_gives_the_same_run() {
    run_twice(|id| !is_of(MOVES, id));
}

/// INV-13
#[test]
fn the_same_seed_gives_the_same_moves() {
    run_twice(|id| is_of(MOVES, id));
}

fn is_of(groups: &[&str], id: &str) -> bool {
    groups.iter().any(|group| id.starts_with(group))
}

fn run_twice(is_meant: fn(&str) -> bool) {
    let run = |case: fn(&dyn Host), seed| {
        let direct = Direct::tracing(seed);
        direct.run(case);
        direct.take_trace()
    };
    let cases: Vec<_> = CASES.iter().filter(|case| !is_of(LEFT_OUT, case.id) && is_meant(case.id)).collect();
    assert!(cases.len() > 20, "{} cases", cases.len());
    for case in cases {
        let (first, second) = (run(case.run, 7), run(case.run, 7));
        let differs = first.iter().zip(&second).find(|(one, other)| one != other);
        assert!(differs.is_none(), "{}: {differs:#?}", case.id);
        assert_eq!(first.len(), second.len(), "{}", case.id);
        assert!(first.len() > 1 || case.id == "handshake::nobody_answers", "{}: {first:?}", case.id);
    }
}
