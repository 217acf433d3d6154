//! Everything at once, and then peace, in which everything must be well again.

use std::time::Duration;

use hitless_core::guide::Rng;
use resp3_codec::Frame;

use crate::server::{CloseHow, EndpointId, Fault, Moving, Notice, Retires, Rule, Target, push_frame};
use crate::testbed::{SECOND, Testbed, encoded, millis};
use crate::world::Host;

/// How long the chaos lasts.
const CHAOS: Duration = Duration::from_secs(20);

/// Moves, failures, slowness and lost connections in any order: every request ends once, writes are executed at most once,
/// no reply goes astray, no slot is lost; and when the faults are over nothing fails any more. INV-01, INV-02, INV-05,
/// INV-06, INV-07, INV-11, INV-12, INV-20, PITFALL-18
pub fn everything_at_once(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(4);
    bed.connect_with(settings);
    bed.start_load(6);
    let mut rng = Rng::new(bed.seed());
    let end = bed.now() + CHAOS;
    while bed.now() < end {
        strike(&mut bed, &mut rng);
        bed.run_for(millis(20 + rng.below(400)));
    }
    make_peace(&mut bed);
    // Timers of the chaos (pauses, moves that are remembered) run out.
    bed.run_for(SECOND * 5);
    bed.run_until_whole();
    let (errors, completed) = (bed.load().errors().len(), bed.load().completed());
    bed.run_for(SECOND * 3);
    assert_eq!(bed.load().errors().len(), errors, "it is over\n{:?}", &bed.load().errors()[errors..]);
    assert!(bed.load().completed() > completed + 100);
    let stats = bed.stats();
    assert_eq!((stats.serving, stats.parked, stats.coordinator.dialing), (4, 0, 0), "{stats:?}");
    bed.finish();
}

/// One thing happens.
fn strike(bed: &mut Testbed, rng: &mut Rng) {
    let endpoints = [bed.a, bed.b, bed.c];
    let mut pick = || endpoints[usize::try_from(rng.below(3)).unwrap_or(0)];
    let (here, there) = (pick(), pick());
    let how = if rng.below(2) == 0 { CloseHow::Fin } else { CloseHow::Reset };
    let moment = millis(rng.below(1500));
    match rng.below(18) {
        0..3 => announce(bed, rng, here, Target::Endpoint(there)),
        3 => announce(bed, rng, here, Target::Null),
        4 => bed.kill_all(here, how),
        14..18 => bed.restore(here),
        5 | 6 if !bed.connections(here).is_empty() => bed.kill_one(here),
        7 => bed.refuse(here, moment),
        8 => bed.black_hole(here, moment),
        9 => {
            bed.server(|server, now| server.migrating(now, Notice::new(SECOND)));
        }
        10 => {
            bed.server(|server, now| server.migrated(now, Notice::default()));
        }
        11 => bed.server(|server, now| server.set_reply_delay(here, moment, Some(now + moment))),
        12 => {
            let push = encoded(&[push_frame(&["MOVING", "0", "0", "?"]), push_frame(&["x", "y"])]);
            let faults = [Fault::CloseUnanswered(how), Fault::CloseUnexecuted(how), Fault::Before(push)];
            for (fault, command) in faults.into_iter().zip(["INCR", "SET", "HELLO"]) {
                bed.rule(Rule::new(fault).on(command));
            }
        }
        _ => {
            for conn in bed.connections(here) {
                bed.server(|server, now| server.stall(now, conn, now + moment));
            }
            bed.rule(Rule::new(Fault::Refuse(Frame::error("LOADING"))).on("HELLO").at(there));
        }
    }
}

fn announce(bed: &mut Testbed, rng: &mut Rng, from: EndpointId, target: Target) {
    let retires =
        [Retires::AtOnce, Retires::AtClose, Retires::Never][usize::try_from(rng.below(3)).unwrap_or(0)];
    let moving = Moving::new(target, SECOND * u32::try_from(1 + rng.below(4)).unwrap_or(1));
    bed.announce(from, moving.retiring(retires));
}

fn make_peace(bed: &mut Testbed) {
    let endpoints = [bed.a, bed.b, bed.c];
    bed.server(|server, _| {
        server.clear_rules();
        server.forget_maintenance();
        endpoints.iter().for_each(|endpoint| server.restore(*endpoint));
    });
}
