//! The nearest states of every scope of the exploration. `cargo xtask explore` goes further.

use hitless_conformance::clock;
use hitless_conformance::explore::{self, Limits, SCOPES, Scope};

/// As many as take a few seconds without optimization.
const LIMITS: Limits = Limits { depth: 60, states: 2_000, complete_every: 20 };

/// Every interleaving at small scope: INV-01, INV-02, INV-04, INV-05, INV-06, INV-08, INV-11, INV-12, INV-15, INV-18, INV-19, INV-20,
/// INV-21, RULE-344, RULE-345, RULE-346, RULE-347, RULE-348, RULE-349, RULE-350
#[test]
fn no_interleaving_breaks_a_law() {
    for scope in SCOPES {
        let epoch = clock::now();
        match explore::explore(scope, LIMITS, epoch) {
            Ok(report) => assert!(report.states >= LIMITS.states, "{}: {report:?}", scope.name()),
            Err(failure) => {
                let story = explore::replay(scope, &failure.path, epoch);
                panic!("{}: {}\n{story}", scope.name(), failure.violation);
            }
        }
    }
}

/// The same scope has the same states, found by the same steps. INV-13
#[test]
fn a_scope_has_the_same_states_each_time() {
    let scope = SCOPES.iter().find(|scope| scope.name() == "move");
    let explored = || explore::explore(scope?, LIMITS, clock::now()).ok();
    let report = explored();
    assert!(report.is_some_and(|report| report.states >= LIMITS.states), "{report:?}");
    assert_eq!(report, explored());
}

#[test]
fn every_scope_has_a_name_of_its_own() {
    let mut names: Vec<&str> = SCOPES.iter().map(Scope::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SCOPES.len());
}
