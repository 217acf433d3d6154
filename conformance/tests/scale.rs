//! A very large pool that is told to move in one second: nobody dials beside the workers, everybody is moved inside the
//! window, and nothing fails. What an event costs is for `cargo xtask bench handoff`: no test compares times.
//!
//! # What a handoff may cost
//! A worker makes one handoff at a time, from its dial to the end of its handshake, and what it takes is all but the time of
//! the network. So all of `connections` are moved inside a window if a handoff takes no longer than
//!
//! ```text
//! budget x workers / connections
//! ```
//!
//! where the budget is the window less the margin that is kept free of it (a tenth, at least a second). Of 15 s that is
//! 13.5 s: with 10 000 connections and the 10 workers of the default a handoff may take 13.5 ms, with 100 workers 135 ms.

use std::time::{Duration, Instant};

use hitless_conformance::direct::Direct;
use hitless_conformance::server::{Moving, Target};
use hitless_conformance::testbed::{Testbed, maintenance};
use hitless_core::event::Event;

/// What MOVING declares.
const WINDOW: Duration = Duration::from_secs(15);
/// From one end of the network to the other.
const HOP: Duration = Duration::from_millis(3);
/// A handoff: there and back for the dial, and for the handshake.
const HANDOFF: Duration = HOP.saturating_mul(4);

/// The dials of a move, from what the client says of them.
#[derive(Debug, Default)]
struct Dials {
    under_way: usize,
    most: usize,
    moved: u32,
    moved_at: Option<Instant>,
    failed: Vec<String>,
}

impl Dials {
    fn note(&mut self, at: Instant, event: &Event) {
        match event {
            Event::HandoffDialing { .. } => {
                self.under_way += 1;
                self.most = self.most.max(self.under_way);
            }
            Event::CutOver { .. } => {
                self.under_way -= 1;
                self.moved += 1;
                self.moved_at = Some(at);
            }
            Event::HandoffFailed { error, .. } => {
                self.under_way -= 1;
                self.failed.push(error.to_string());
            }
            Event::ConnectFailed { error, .. } => self.failed.push(error.to_string()),
            _ => {}
        }
    }
}

/// Tells so many connections to move at once.
fn all_move(connections: u32, workers: u32) {
    let mut bed = Testbed::new(&Direct::with_hop(HOP));
    let settings = bed.settings().pool_size(connections).connect_timeout(None);
    bed.connect_with(settings.maintenance(maintenance(|settings| settings.max_workers(workers))));
    bed.start_load(12);
    let (a, b, announced_at) = (bed.a, bed.b, bed.now());
    bed.server(|server, now| server.moving(now, a, Moving::new(Target::Endpoint(b), WINDOW)));
    bed.run_for(WINDOW + Duration::from_secs(1));
    let mut dials = Dials::default();
    let events = bed.timed_events().iter().filter(|(at, _)| *at >= announced_at);
    events.for_each(|(at, event)| dials.note(*at, event));
    assert_eq!(dials.failed, [] as [String; 0], "INV-03: nothing fails");
    assert_eq!(bed.load().errors(), [] as [String; 0], "INV-03: nothing fails");
    assert!(bed.load().longest() <= 3 * HOP, "INV-03: nobody waits: {:?}", bed.load().longest());
    assert!(bed.load().completed() > 10_000);
    assert!(dials.most <= workers as usize, "INV-07: {} dials at a time", dials.most);
    assert_eq!(dials.moved, connections, "INV-03: all have moved");
    let took = dials.moved_at.expect("a cut-over") - announced_at;
    assert!(took <= time_needed(connections, workers), "INV-07: the workers are all at work: {took:?}");
    assert!(took < WINDOW, "INV-03: all have moved inside the window: {took:?}");
    assert_eq!(bed.connections(a).len(), 0);
    assert_eq!(bed.connections(b).len(), connections as usize);
}

/// The announcement, the scout alone, and then as many at a time as there are workers.
fn time_needed(connections: u32, workers: u32) -> Duration {
    HOP + HANDOFF * (1 + connections.div_ceil(workers))
}

/// Two thousand connections and the workers that they need: the arithmetic at the head of this file holds. INV-03, INV-07
#[test]
fn a_large_pool_moves_inside_its_window() {
    let (connections, workers) = (2000, 10);
    let budget = WINDOW - WINDOW / 10;
    assert!(HANDOFF * connections <= budget * workers, "a handoff may take so long");
    all_move(connections, workers);
}

/// Ten thousand connections and the workers of the default. INV-03, INV-07
#[test]
fn ten_thousand_connections_move_inside_their_window() {
    all_move(10_000, 10);
}
