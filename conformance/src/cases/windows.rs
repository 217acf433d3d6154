//! Windows: timeouts are relaxed while the server is busy with itself, and only then.

use std::time::Duration;

use hitless_core::config::ConfigBuilder;
use hitless_core::error::RequestError;
use hitless_core::event::{Event, Ignored, WindowScope};
use hitless_core::notification::NotificationKind;
use hitless_core::request::Request;
use resp3_codec::Frame;

use super::ignored;
use crate::server::{CloseHow, Moving, Notice, Retires, Server, Target, push_frame};
use crate::testbed::{SECOND, Testbed, get, incr, maintenance, millis};
use crate::world::{Host, Ticket};

/// The command timeout of these cases.
const TIGHT: Duration = millis(600);
/// How late replies are: beyond the command timeout, within the relaxed one.
const LATE: Duration = millis(900);

/// A testbed whose client gives a command 600 ms, and 2 s inside a window.
fn connected(host: &dyn Host) -> Testbed {
    connected_with(host, |settings| settings)
}

fn connected_with(host: &dyn Host, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Testbed {
    let mut bed = Testbed::new(host);
    let relaxed =
        maintenance(|it| it.relaxed_timeout(SECOND * 2).post_handoff_relaxed_duration(Duration::ZERO));
    let settings = bed.settings().pool_size(2).command_timeout(Some(TIGHT)).maintenance(relaxed);
    bed.connect_with(change(settings));
    bed
}

/// Waits until the client has said something like this.
fn heard(bed: &mut Testbed, is_meant: impl Fn(&&Event) -> bool) {
    bed.run_until_soon("the client has noticed it", |bed| bed.count(&is_meant) > 0);
}

fn is_opened(event: &&Event) -> bool {
    matches!(event, Event::WindowOpened { .. })
}

fn is_closed(event: &&Event) -> bool {
    matches!(event, Event::WindowClosed { .. })
}

/// The request times out at the tight timeout: not before, and not much later.
fn assert_tight(bed: &mut Testbed, ticket: Ticket) {
    let error = bed.error(ticket);
    assert!(matches!(error, RequestError::TimedOut { after: TIGHT, .. }), "{error:?}\n{}", bed.history());
}

/// MIGRATING and FAILING_OVER extend the deadlines of commands in flight, that of the command during which they come
/// included, and those of later ones. PITFALL-23, INV-08, RULE-53
pub fn in_flight_commands_are_extended(host: &dyn Host) {
    let openers: [fn(&mut Server, std::time::Instant, Notice) -> u64; 2] =
        [Server::migrating, Server::failing_over];
    for open in openers {
        let mut bed = connected(host);
        bed.slow_down(bed.a, LATE);
        let before: Vec<_> = (0..4).map(|_| bed.send(get("k"))).collect();
        bed.run_for(millis(10));
        bed.server(|server, now| open(server, now, Notice::new(SECOND * 5)));
        heard(&mut bed, is_opened);
        let after = bed.send(incr("n"));
        for ticket in before {
            assert_eq!(bed.reply(ticket), Frame::Null);
        }
        assert_eq!(bed.reply(after), Frame::Integer(1));
        bed.finish();
    }
}

/// A window that closes shortens no command in flight; later ones have their tight timeout again. PITFALL-41, INV-08,
/// RULE-54
pub fn closing_shortens_nothing(host: &dyn Host) {
    let mut bed = connected(host);
    bed.server(|server, now| server.migrating(now, Notice::new(SECOND * 5)));
    heard(&mut bed, is_opened);
    bed.slow_down(bed.a, LATE);
    let inside = bed.send(incr("n"));
    bed.run_for(millis(100));
    bed.server(|server, now| server.migrated(now, Notice::default()));
    heard(&mut bed, is_closed);
    let outside = bed.send(get("k"));
    assert_tight(&mut bed, outside);
    assert_eq!(bed.reply(inside), Frame::Integer(1));
    bed.finish();
}

/// The timeout that a caller gave to one call is the caller's. INV-08, RULE-52
pub fn explicit_timeouts_are_not_relaxed(host: &dyn Host) {
    let mut bed = connected(host);
    bed.server(|server, now| server.migrating(now, Notice::new(SECOND * 5)));
    heard(&mut bed, is_opened);
    bed.slow_down(bed.a, LATE);
    let explicit = Request::command(get("k")).expect("a shared command").timeout(TIGHT);
    let ticket = bed.send_request(explicit);
    assert_tight(&mut bed, ticket);
    bed.finish();
}

/// What is longer than the relaxed timeout, or infinite, stays as it is. PITFALL-11, INV-08, RULE-50, RULE-51
pub fn long_timeouts_are_not_shortened(host: &dyn Host) {
    for configured in [None, Some(SECOND * 10)] {
        let mut bed = connected_with(host, |settings| {
            let relaxed = maintenance(|it| it.relaxed_timeout(millis(200)));
            settings.command_timeout(configured).maintenance(relaxed)
        });
        bed.slow_down(bed.a, LATE);
        let before = bed.send(incr("n"));
        bed.server(|server, now| server.migrating(now, Notice::new(SECOND * 5)));
        heard(&mut bed, is_opened);
        let inside = bed.send(incr("m"));
        assert_eq!((bed.reply(before), bed.reply(inside)), (Frame::Integer(1), Frame::Integer(1)));
        bed.finish();
    }
}

/// A MIGRATED that never comes: the window ends by itself, three relaxed timeouts after the announced time at the
/// latest, and timeouts are tight again. PITFALL-07, INV-08, RULE-49
pub fn a_window_ends_by_itself(host: &dyn Host) {
    let mut bed = connected_with(host, |settings| {
        settings.maintenance(maintenance(|it| it.relaxed_timeout(millis(700))))
    });
    bed.server(|server, now| server.migrating(now, Notice::new(SECOND)));
    bed.run_until("it ends", SECOND + millis(2100), |bed| {
        bed.count(|event| matches!(event, Event::WindowClosed { expired: true, .. })) == 1
    });
    assert_eq!((bed.count(is_opened), bed.count(is_closed)), (1, 1));
    bed.slow_down(bed.a, LATE);
    let ticket = bed.send(get("k"));
    assert_tight(&mut bed, ticket);
    bed.finish();
}

/// A completion that finds no window is a silent no-op. PITFALL-28, INV-09, RULE-37
pub fn a_lone_completion_is_a_no_op(host: &dyn Host) {
    let mut bed = connected(host);
    bed.server(|server, now| server.migrated(now, Notice::default()));
    bed.server(|server, now| server.failed_over(now, Notice::default()));
    bed.run_until_soon("they are noticed", |bed| ignored(bed, Ignored::NothingOpen) == 4);
    assert_eq!((bed.count(is_opened), bed.count(is_closed)), (0, 0));
    bed.slow_down(bed.a, LATE);
    let ticket = bed.send(get("k"));
    assert_tight(&mut bed, ticket);
    bed.finish();
}

/// Every connection is told of the same MIGRATING, one of them twice: it is one window, and one MIGRATED closes it.
/// INV-09, RULE-36, RULE-43
pub fn repeated_openers_are_one_window(host: &dyn Host) {
    let mut bed = connected(host);
    for _ in 0..2 {
        bed.server(|server, now| server.migrating(now, Notice::new(SECOND * 5).with_seq(3)));
    }
    heard(&mut bed, is_opened);
    bed.run_until_soon("all are noticed", |bed| ignored(bed, Ignored::Duplicate) == 3);
    let conn = bed.connections(bed.a)[0];
    let completion = push_frame(&["MIGRATED", "4", "[\"1\"]"]);
    bed.server(|server, now| server.push(now, conn, &[completion]));
    heard(&mut bed, is_closed);
    assert_eq!(bed.count(is_opened), 1);
    bed.finish();
}

/// The window of a failover is not closed by the end of a migration, nor by the end of an older failover. INV-08,
/// INV-10, RULE-47
pub fn a_completion_closes_its_own_kind(host: &dyn Host) {
    let mut bed = connected(host);
    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND * 5).with_seq(7)));
    heard(&mut bed, is_opened);
    bed.push(bed.a, &push_frame(&["MIGRATED", "8"]));
    bed.push(bed.a, &push_frame(&["FAILED_OVER", "6"]));
    bed.run_until_soon("they are ignored", |bed| ignored(bed, Ignored::NothingOpen) == 4);
    bed.push(bed.a, &push_frame(&["FAILED_OVER", "7"]));
    heard(&mut bed, is_closed);
    bed.finish();
}

/// Every form of every push is understood. PITFALL-31, RULE-26, RULE-27, RULE-28, RULE-29
pub fn every_arity(host: &dyn Host) {
    use NotificationKind as Kind;
    let shards = Frame::Array(vec![Frame::bulk("1"), Frame::bulk("2")]);
    let head = |name: &'static str, seq| vec![Frame::Simple(name.into()), Frame::Integer(seq)];
    let with = |mut words: Vec<Frame>, more: &[Frame]| {
        words.extend_from_slice(more);
        Frame::Push(words)
    };
    let triplet =
        |words: &[&str]| Frame::Array(words.iter().map(|word| Frame::bulk((*word).to_owned())).collect());
    let forms = [
        (Kind::Migrating, push_frame(&["MIGRATING", "1", "10", "[\"1\",\"2\"]"])),
        (Kind::Migrating, push_frame(&["MIGRATING", "2"])),
        (Kind::Migrating, push_frame(&["MIGRATING", "3", "10"])),
        (Kind::Migrating, push_frame(&["MIGRATING", "4", "10", "1"])),
        (Kind::Migrating, with(head("MIGRATING", 5), &[Frame::Integer(10), shards.clone()])),
        (Kind::Migrating, with(head("MIGRATING", 6), &[Frame::Integer(10), shards.clone(), Frame::Null])),
        (Kind::Migrated, push_frame(&["MIGRATED", "7"])),
        (Kind::Migrated, push_frame(&["MIGRATED", "8", "[\"1\"]"])),
        (Kind::Migrated, with(head("MIGRATED", 9), std::slice::from_ref(&shards))),
        (Kind::FailingOver, push_frame(&["FAILING_OVER", "10", "10", "[\"1\"]"])),
        (Kind::FailingOver, push_frame(&["FAILING_OVER", "11"])),
        (Kind::FailedOver, push_frame(&["FAILED_OVER", "12", "[\"1\"]"])),
        (Kind::FailedOver, push_frame(&["FAILED_OVER", "13"])),
        (Kind::SlotsMigrating, push_frame(&["SMIGRATING", "14", "1,2-5"])),
        (Kind::SlotsMigrating, push_frame(&["SMIGRATING", "15", "1-2", "3"])),
        (Kind::SlotsMigrating, with(head("SMIGRATING", 16), &[triplet(&["1", "2-3"])])),
        (
            Kind::SlotsMigrated,
            with(head("SMIGRATED", 17), &[Frame::Array(vec![triplet(&["a:1", "b:2", "1,2-5"])])]),
        ),
        (Kind::SlotsMigrated, with(head("SMIGRATED", 18), &[Frame::Array(vec![triplet(&["b:2", "1-5"])])])),
        (Kind::SlotsMigrated, push_frame(&["SMIGRATED", "19", "b:2", "1-5"])),
    ];
    let mut bed = connected(host);
    let conn = bed.connections(bed.a)[0];
    for (kind, frame) in forms {
        let understood = |event: &&Event| matches!(event, Event::NotificationReceived { kind: found, .. } if *found == kind);
        let before = bed.count(understood);
        bed.server(|server, now| server.push(now, conn, std::slice::from_ref(&frame)));
        bed.run_until_soon(&format!("{kind:?}"), |bed| bed.count(understood) == before + 1);
    }
    let malformed = |event: &&Event| matches!(event, Event::NotificationMalformed { .. });
    assert_eq!((bed.count(malformed), bed.pushes().len()), (0, 0));
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}

/// A push with a known name that makes no sense is dropped and reported; everything around it is as it was. RULE-30
pub fn malformed_pushes_are_dropped(host: &dyn Host) {
    let mut bed = connected(host);
    let conn = bed.connections(bed.a)[0];
    let forms = [
        push_frame(&["MOVING"]),
        push_frame(&["MOVING", "x", "2", "a:1"]),
        push_frame(&["MOVING", "1", "soon", "a:1"]),
        push_frame(&["MOVING", "1", "2", "a:b:c:d!"]),
        push_frame(&["MIGRATING"]),
        push_frame(&["SMIGRATED", "1"]),
        push_frame(&["MIGRATED", "-1"]),
    ];
    let tickets: Vec<_> = (0..10).map(|_| bed.send(incr("n"))).collect();
    bed.server(|server, now| server.push(now, conn, &forms));
    let mut numbers: Vec<_> = tickets.into_iter().map(|ticket| bed.reply(ticket)).collect();
    numbers.sort_by_key(Frame::as_int);
    assert_eq!(numbers, (1..=10).map(Frame::Integer).collect::<Vec<_>>());
    bed.run_until_soon("they are reported", |bed| {
        bed.count(|event| matches!(event, Event::NotificationMalformed { .. })) == forms.len()
    });
    assert_eq!((bed.moves(), bed.count(is_opened), bed.stats().serving), (0, 0, 2));
    bed.finish();
}

/// After a handoff the new connection is relaxed for a while: its node is warming up. A connection that is lost leaves
/// none of that to its successor. PITFALL-07, INV-08, RULE-48
pub fn after_a_handoff(host: &dyn Host) {
    let mut bed = connected_with(host, |settings| {
        let relaxed =
            maintenance(|it| it.relaxed_timeout(millis(1200)).post_handoff_relaxed_duration(SECOND * 60));
        settings.pool_size(1).maintenance(relaxed)
    });
    bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND * 3).retiring(Retires::Never));
    bed.run_until_all_at(bed.b);
    bed.slow_down(bed.b, millis(700));
    assert_eq!(bed.call(incr("n")), Frame::Integer(1), "late, and in time");
    bed.run_until("the window of the move ends", SECOND * 4, |bed| {
        let of_move = |event: &&Event| {
            matches!(event, Event::WindowClosed { scope: WindowScope::Peer(_), expired: true })
        };
        bed.count(of_move) == 1
    });
    assert_eq!(bed.call(incr("n")), Frame::Integer(2), "late, and in time");
    bed.lose(1, |bed| bed.kill_all(bed.b, CloseHow::Reset));
    bed.run_until_whole();
    bed.slow_down(bed.a, LATE);
    let ticket = bed.send(get("k"));
    assert_tight(&mut bed, ticket);
    bed.finish();
}
