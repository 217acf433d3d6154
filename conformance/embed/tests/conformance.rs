//! The suite's cases of moves and windows over redis-rs's connections and the coordinator alone, on sockets.
//!
//! Declined, with its reason, is what redis-rs does in its own way, and what the client of hitless does around the
//! coordinator and this pool does not.

mod world;

use hitless_conformance::suite::CASES;
use hitless_conformance::world::{Host, Setup, World};

#[derive(Default)]
struct RedisRs;

/// The groups that concern the coordinator.
const GROUPS: &[&str] = &["failover", "handshake", "moving", "overlaps", "proxies", "targets", "windows"];

/// Cases of other groups that are run as well, because they show that moves and requests do not get in each other's way.
const BESIDES: &[&str] = &[
    "requests::pipelines_are_one_unit",
    "requests::transactions_during_a_move",
    "requests::cancelling_keeps_the_order",
    "shutdown::in_the_middle_of_a_move",
];

const HANDSHAKE: &str =
    "the handshake is redis-rs's: HELLO, SELECT and CLIENT SETINFO, then the opt-in by itself";
const PUSH_IN_HANDSHAKE: &str = "redis-rs takes a push among the replies of its handshake for one of them";
const NO_RESP2: &str = "redis-rs does not fall back to RESP2 by itself";
const NO_SECOND_TRY: &str = "a request that is refused inside a window is not sent again by this pool";

/// The cases of these groups that are not run.
const DECLINED: &[(&str, &str)] = &[
    ("failover::refusals_are_not_seen", NO_SECOND_TRY),
    ("handshake::one_round_trip", HANDSHAKE),
    ("handshake::transparent_without_a_push", HANDSHAKE),
    ("handshake::only_what_matters_is_an_error", "redis-rs does not say which step of its handshake failed"),
    ("handshake::session_state_moves", "redis-rs does not set a client's name"),
    ("handshake::modes_and_resp2_servers", NO_RESP2),
    ("handshake::the_password_appears_nowhere", NO_RESP2),
    ("handshake::pushes_between_the_replies", PUSH_IN_HANDSHAKE),
    ("moving::during_the_handshake", PUSH_IN_HANDSHAKE),
    ("moving::behind_the_end", "redis-rs does not say that the end of a connection stands behind a push"),
    ("proxies::pings_are_answered_by_the_proxy", NO_SECOND_TRY),
    ("windows::explicit_timeouts_are_not_relaxed", "redis-rs has a timeout for all requests, none for one"),
];

impl Host for RedisRs {
    fn world(&self, setup: Setup) -> Result<Box<dyn World>, String> {
        Ok(Box::new(world::RedisRsWorld::new(setup)?))
    }

    fn declines(&self, id: &str) -> Option<&'static str> {
        let group = id.split("::").next().unwrap_or(id);
        if !GROUPS.contains(&group) && !BESIDES.contains(&id) {
            return Some("it is about more than the coordinator");
        }
        DECLINED.iter().find(|(declined, _)| *declined == id).map(|(_, reason)| *reason)
    }

    fn run(&self, case: fn(&dyn Host)) {
        case(self);
    }
}

hitless_conformance::suite!(RedisRs);

/// A case that was renamed would be run or left out without a word.
#[test]
fn the_cases_that_are_named_exist() {
    let declined = DECLINED.iter().map(|(declined, _)| declined);
    for named in declined.chain(BESIDES) {
        assert!(CASES.iter().any(|case| case.id == *named), "{named}");
    }
    for group in GROUPS {
        assert!(CASES.iter().any(|case| case.id.starts_with(&format!("{group}::"))), "{group}");
    }
}
