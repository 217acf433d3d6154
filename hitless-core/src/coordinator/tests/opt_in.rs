//! Owners that do their own handshakes report what became of the opt-in; the mode judges it here.

use super::*;
use crate::mode::Mode;

/// INV-17
#[test]
fn in_the_mode_enabled_an_opt_in_that_is_not_accepted_is_a_failed_dial() {
    for (answer, redial) in [
        (OptIn::of_error(b"ERR unknown subcommand 'MAINT_NOTIFICATIONS'."), Redial::Hopeless),
        (OptIn::NoResp3(ErrorCode::of(b"NOPROTO")), Redial::Hopeless),
        (OptIn::of_error(b"LOADING"), Redial::AfterPause),
    ] {
        for mode in [Mode::Auto, Mode::Enabled] {
            let mut world = World::with("127.0.0.1:1", 1, maintenance::Config::builder().mode(mode));
            let conn = world.coordinator.open(world.now);
            world.drain();
            world.coordinator.handle_connected(world.now, conn, peer(1));
            world.coordinator.handle_ready(world.now, conn, answer);
            world.drain();
            let serves = world.coordinator.stats().connections.contains_key(&peer(1));
            assert_eq!(serves, mode == Mode::Auto, "{mode}: {answer:?}");
            let closed = world.closed.iter().any(|(closed, _)| *closed == conn);
            assert_eq!(closed, mode == Mode::Enabled, "{mode}: {answer:?}");
            let failed: &[Redial] = if mode == Mode::Enabled { &[redial] } else { &[] };
            assert_eq!(world.failed, failed, "{mode}: {answer:?}");
        }
    }
}
