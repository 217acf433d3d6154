//! The suite's cases over redis-rs's connections and the coordinator alone, on sockets.
//!
//! Whatever concerns moves and windows must hold. Declined, with its reason, is what redis-rs does in its own way, and what
//! the client of hitless does around the coordinator and this pool does not.

mod world;

use hitless_conformance::world::{Host, Setup, World};

#[derive(Default)]
struct RedisRs;

const HANDSHAKE: &str =
    "the handshake is redis-rs's: HELLO, SELECT and CLIENT SETINFO, then the opt-in by itself";
const PUSH_IN_HANDSHAKE: &str = "redis-rs takes a push among the replies of its handshake for one of them";
const NO_RESP2: &str = "redis-rs does not fall back to RESP2 by itself";
const NO_LIMITS: &str = "the pool does not limit how many requests wait";
const NO_TIMEOUTS_OF_REQUESTS: &str = "redis-rs has a timeout for all requests, none for one";

/// The cases that are not run here.
const DECLINED: &[(&str, &str)] = &[
    ("handshake::one_round_trip", HANDSHAKE),
    ("handshake::transparent_without_a_push", HANDSHAKE),
    ("handshake::only_what_matters_is_an_error", "redis-rs does not say which step of its handshake failed"),
    ("handshake::session_state_moves", "redis-rs does not set a client's name"),
    ("handshake::modes_and_resp2_servers", NO_RESP2),
    ("handshake::the_password_appears_nowhere", NO_RESP2),
    ("handshake::pushes_between_the_replies", PUSH_IN_HANDSHAKE),
    ("moving::during_the_handshake", PUSH_IN_HANDSHAKE),
    ("moving::behind_the_end", "redis-rs does not say that the end of a connection stands behind a push"),
    ("requests::only_reads_are_repeated", "a request of redis-rs does not say that it may be repeated"),
    ("requests::parked_requests", NO_LIMITS),
    ("requests::limit_of_requests_in_flight", NO_LIMITS),
    ("requests::timeouts_say_what_happened", NO_TIMEOUTS_OF_REQUESTS),
    ("windows::explicit_timeouts_are_not_relaxed", NO_TIMEOUTS_OF_REQUESTS),
    ("requests::a_silent_link_is_replaced", "the pool does not count timeouts"),
    ("requests::a_broken_stream_is_replaced", "redis-rs does not say why a connection has ended"),
    ("requests::any_split_of_the_stream", "redis-rs sends commands, and no bytes as they are"),
    ("requests::unknown_pushes_shift_nothing", "redis-rs closes a connection at a push without a name"),
    ("shutdown::nothing_is_accepted_any_more", "a call of a pool that is closed fails, and is not refused"),
];

impl Host for RedisRs {
    fn world(&self, setup: Setup) -> Result<Box<dyn World>, String> {
        Ok(Box::new(world::RedisRsWorld::new(setup)?))
    }

    fn declines(&self, id: &str) -> Option<&'static str> {
        DECLINED.iter().find(|(declined, _)| *declined == id).map(|(_, reason)| *reason)
    }

    fn run(&self, case: fn(&dyn Host)) {
        case(self);
    }
}

hitless_conformance::suite!(RedisRs);

/// A case that was renamed would be run, and one that was removed be declined for ever.
#[test]
fn what_is_declined_exists() {
    for (declined, _) in DECLINED {
        assert!(hitless_conformance::suite::CASES.iter().any(|case| case.id == *declined), "{declined}");
    }
}
