//! A move with the times that were measured on a real cluster, where nothing comes when it was announced.
//!
//! After a MOVING that declared 15 s the address moved to the new node at +8.6 s, DNS followed between +4.4 s and +18.7 s,
//! and the connections were closed between +15.7 s and +19.1 s: DNS may come three seconds after the close, or eleven
//! before it.

use std::time::Duration;

use hitless_core::config::{Config, ConfigBuilder, maintenance};
use hitless_core::endpoint::{Endpoint, Host as HostName};
use hitless_core::event::Event;
use hitless_core::guide::Rng;

use crate::server::{Moving, Retires, Target};
use crate::testbed::{NAME, SECOND, Testbed, millis};
use crate::world::{Host, Layout};

/// What MOVING declares.
const DECLARED: Duration = SECOND.saturating_mul(15);
/// When the address moves to the new node.
const ADDRESS_MOVES: Duration = millis(8600);
/// When DNS follows: the earliest and the latest.
const DNS_FOLLOWS: [Duration; 2] = [millis(4400), millis(18_700)];
/// When the connections are closed.
const CLOSED: [Duration; 2] = [millis(15_700), millis(19_100)];
/// Courses that are drawn beside the extreme ones.
const DRAWN: usize = 2;
/// Between two operations of a caller: there are many courses, and they take long.
const THINK_TIME: Duration = millis(150);

/// When everything happens, since the announcement.
#[derive(Clone, Debug)]
struct Course {
    dns: Duration,
    closed: Duration,
    retires: Retires,
    /// The new node refuses until then.
    ready: Duration,
}

/// The extreme courses, and some between them. What becomes of the addresses takes turns, so that a few seeds have all of it
/// for each.
fn courses(seed: u64) -> Vec<Course> {
    let mut rng = Rng::new(seed);
    let mut between = |[first, last]: [Duration; 2]| rng.jitter((first + last) / 2, 100).clamp(first, last);
    let drawn: Vec<[Duration; 2]> = (0..DRAWN).map(|_| [between(DNS_FOLLOWS), between(CLOSED)]).collect();
    let extreme = DNS_FOLLOWS.iter().flat_map(|dns| CLOSED.map(|closed| [*dns, closed]));
    let addresses = [
        (Retires::After(ADDRESS_MOVES), Duration::ZERO),
        (Retires::After(ADDRESS_MOVES), ADDRESS_MOVES),
        (Retires::AtClose, Duration::ZERO),
    ];
    let turns = addresses.into_iter().cycle().skip(usize::try_from(seed % 3).unwrap_or(0));
    let courses = extreme.chain(drawn).zip(turns);
    courses.map(|([dns, closed], (retires, ready))| Course { dns, closed, retires, ready }).collect()
}

/// A client with settings as they are by default.
fn connected(host: &dyn Host) -> Testbed {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    let settings = settings(&mut bed);
    bed.connect_with(settings);
    bed
}

fn settings(bed: &mut Testbed) -> ConfigBuilder {
    let port = bed.address(bed.a).port();
    let usual = maintenance::Config::builder().build().expect("the usual settings");
    Config::builder(Endpoint::Tcp { host: HostName::Name(NAME.into()), port }).pool_size(6).maintenance(usual)
}

/// Lets a course take its time, until long after the close.
fn take(bed: &mut Testbed, course: &Course, target: Target) {
    if !course.ready.is_zero() {
        bed.refuse(bed.b, course.ready);
    }
    let moving = Moving::new(target, DECLARED).retiring(course.retires);
    bed.announce(bed.a, moving.closing_late_by(course.closed - DECLARED));
    bed.run_for(course.dns);
    bed.set_name(NAME, &[bed.b]);
    bed.run_for(course.closed.max(course.dns) - course.dns + SECOND * 10);
}

/// Every connection is at the new node, dialled once, and the old one was not asked again and again.
fn assert_arrived(bed: &mut Testbed, course: &Course) {
    let (b, size) = (bed.peer(bed.b), bed.config().pool_size());
    let there = bed.stats().coordinator.connections;
    assert_eq!(there.get(&b), Some(&size), "{course:?}\n{}", bed.history());
    assert_eq!(there.len(), 1, "{course:?}");
    assert_eq!(bed.accepted(bed.b), size as usize, "{course:?}: no loop\n{}", bed.history());
    let again = bed.accepted(bed.a) - size as usize;
    assert!(again <= 4, "{course:?}: the old node was dialled {again} times\n{}", bed.history());
    let failed = bed.count(|event| matches!(event, Event::ConnectFailed { .. }));
    assert!(failed <= 8 * size as usize, "{course:?}: {failed} failed dials\n{}", bed.history());
}

/// The server names the new node: whatever DNS does, and whenever the connections are closed, all have moved long
/// before, without an error. INV-03, PITFALL-29, PITFALL-42, RULE-39
pub fn a_named_endpoint(host: &dyn Host) {
    let seed = connected(host).seed();
    for course in courses(seed) {
        let mut bed = connected(host);
        bed.start_slow_load(4, THINK_TIME);
        let (b, announced_at) = (bed.b, bed.now());
        take(&mut bed, &course, Target::Endpoint(b));
        assert_arrived(&mut bed, &course);
        let last = bed
            .timed_events()
            .iter()
            .rev()
            .find_map(|(at, event)| matches!(event, Event::CutOver { .. }).then_some(*at));
        let took = last.expect("a cut-over") - announced_at;
        // The waits between attempts double, so that a node is found soon after it is ready.
        let longest = SECOND + course.ready * 3 / 2;
        assert!(took <= longest, "{course:?}: it took {took:?}\n{}", bed.history());
        bed.stop_load();
        bed.assert_hitless(millis(50));
        bed.finish();
    }
}

/// The server names no node, and DNS follows in time or too late. Reads never fail, and wait no longer than it takes
/// until the name leads to the new node; where it does so in time, nobody waits at all, and no write fails either.
/// INV-03, PITFALL-29, PITFALL-42, RULE-39
pub fn no_endpoint(host: &dyn Host) {
    let seed = connected(host).seed();
    for course in courses(seed) {
        let mut bed = connected(host);
        // What is kept free of the declared time, and the longest pause between two lookups.
        let in_time = course.dns + millis(2300) < DECLARED && course.ready + millis(2300) < DECLARED;
        if in_time {
            bed.start_slow_load(4, THINK_TIME);
        } else {
            // A write that is on its way when the server closes may have run: only reads are asked again.
            bed.start_slow_reads(4, THINK_TIME);
        }
        take(&mut bed, &course, Target::Null);
        assert_arrived(&mut bed, &course);
        bed.stop_load();
        let gap =
            if in_time { Duration::ZERO } else { course.dns.saturating_sub(course.closed) + SECOND * 2 };
        bed.assert_hitless(gap + millis(50));
        bed.finish();
    }
}
