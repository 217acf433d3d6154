//! Servers that are demoted, reload or lose their master without a word, and keep their links open.

use hitless_core::event::Event;
use hitless_core::request::Pipeline;
use resp3_codec::{Frame, cmd};

use crate::server::{Condition, EndpointId, Fault, Notice, Rule};
use crate::testbed::{NAME, SECOND, Testbed, get, incr, maintenance, millis, set};
use crate::world::{Host, Layout};

/// A client that knows the endpoint `a` by name.
fn by_name(host: &dyn Host) -> Testbed {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    let settings = bed.settings_by_name();
    bed.connect_with(settings);
    bed
}

fn turn(bed: &mut Testbed, endpoint: EndpointId, condition: Condition) {
    bed.server(|server, now| server.set_condition(now, endpoint, condition));
}

fn demoted(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::Demoted { .. }))
}

fn is_refused(reply: &Frame) -> bool {
    reply.as_error().is_some_and(|text| text.starts_with(b"READONLY"))
}

/// Writes every 50 ms until a write has run. Returns how many were refused.
fn write_until_it_runs(bed: &mut Testbed) -> usize {
    for refused in 0..400 {
        if bed.call(incr("n")).as_int().is_some() {
            return refused;
        }
        bed.run_for(millis(50));
    }
    panic!("no write runs\n{}", bed.history());
}

/// A node that was demoted keeps its links open, and the name leads to another one by now: the first refusal is the reply to its
/// caller, the connections move quietly, and reads notice nothing. RULE-153, INV-03
pub fn the_name_leads_elsewhere(host: &dyn Host) {
    let mut bed = by_name(host);
    bed.start_slow_reads(4, millis(10));
    let (a, b) = (bed.a, bed.b);
    turn(&mut bed, a, Condition::ReadOnly);
    bed.set_name(NAME, &[b]);
    let reply = bed.call(incr("n"));
    assert!(is_refused(&reply), "outside of a window it is the reply: {reply:?}");
    bed.run_until_all_at(b);
    assert!(bed.call(incr("n")).as_int().is_some());
    assert_eq!((bed.accepted(a), bed.accepted(b), demoted(&bed)), (3, 3, 1), "{}", bed.history());
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// One refused command of a transaction or of a pipeline is as good, and so is one that its caller has given up. RULE-153
pub fn whatever_carries_the_refusal(host: &dyn Host) {
    let batch = |atomic: bool| {
        let batch = if atomic { Pipeline::atomic() } else { Pipeline::new() };
        batch.command(get("k")).command(incr("n"))
    };
    for how in ["pipeline", "transaction", "given up", "script"] {
        let mut bed = by_name(host);
        let (a, b) = (bed.a, bed.b);
        turn(&mut bed, a, Condition::ReadOnly);
        bed.set_name(NAME, &[b]);
        match how {
            "pipeline" => drop(bed.pipeline(batch(false))),
            "transaction" => drop(bed.pipeline(batch(true))),
            "script" => {
                let refusal = Frame::error("READONLY You can't write against a read only replica.");
                bed.rule(Rule::new(Fault::Refuse(refusal)).on("EVAL").at(a).always());
                assert!(is_refused(&bed.call(cmd("EVAL").arg("return 1").arg(0))));
            }
            _ => {
                bed.slow_down(a, millis(200));
                let ticket = bed.send(incr("n"));
                bed.run_until_soon("it is there", |bed| bed.arrivals("INCR").len() == 1);
                bed.cancel(ticket);
            }
        }
        bed.run_until_all_at(b);
        assert_eq!((bed.accepted(b), demoted(&bed)), (3, 1), "{how}\n{}", bed.history());
        bed.finish();
    }
}

/// LOADING and MASTERDOWN pass: the client stays while the name leads nowhere else, and goes when it does. RULE-153
pub fn loading_means_wait(host: &dyn Host) {
    for condition in [Condition::Loading, Condition::MasterDown] {
        let mut bed = by_name(host);
        let (a, b) = (bed.a, bed.b);
        turn(&mut bed, a, condition);
        let lookups = bed.lookups(NAME);
        for _ in 0..10 {
            assert!(bed.call(incr("n")).is_error());
            bed.run_for(millis(200));
        }
        let asked = bed.lookups(NAME) - lookups;
        assert!((1..=3).contains(&asked), "{asked} lookups");
        assert_eq!((bed.accepted(a), demoted(&bed)), (3, 0), "{}", bed.history());
        bed.set_name(NAME, &[b]);
        write_until_it_runs(&mut bed);
        bed.run_until_all_at(b);
        assert_eq!((bed.accepted(b), demoted(&bed)), (3, 1));
        bed.finish();
    }
}

/// The client knows an address and no name: a virtual one, behind which another node is the master by now. A fresh connection
/// finds it; the old ones are told READONLY for ever. RULE-153
pub fn a_virtual_address(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let a = bed.a;
    for conn in bed.connections(a) {
        let refusal = Frame::error("READONLY You can't write against a read only replica.");
        bed.rule(Rule::new(Fault::Refuse(refusal)).on("INCR").of(conn).always());
    }
    let refused = write_until_it_runs(&mut bed);
    let most = 10 + bed.slack().as_millis() as usize / 50;
    assert!(refused < most, "{refused} writes were refused\n{}", bed.history());
    bed.run_until_soon("all have moved", |bed| bed.cut_overs() == 3);
    assert_eq!((bed.accepted(a), demoted(&bed)), (6, 1));
    bed.finish();
}

/// Behind the name there is nobody who takes writes: the client looks again after 1 s, 2 s and so on, with a few dials, and what
/// it has serves reads all the time. When there is somebody, it finds him. RULE-153
pub fn nobody_takes_writes(host: &dyn Host) {
    let mut bed = by_name(host);
    let (a, b) = (bed.a, bed.b);
    bed.call(set("k", "v"));
    for endpoint in [a, b] {
        turn(&mut bed, endpoint, Condition::ReadOnly);
    }
    bed.set_name(NAME, &[b]);
    bed.start_slow_reads(4, millis(10));
    for _ in 0..80 {
        assert!(is_refused(&bed.call(incr("n"))));
        bed.run_for(millis(50));
    }
    let dials = bed.accepted(a) + bed.accepted(b);
    assert!((9..=15).contains(&dials), "{dials} dials, 3 for the start and for each try\n{}", bed.history());
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.set_name(NAME, &[bed.c]);
    write_until_it_runs(&mut bed);
    bed.run_until_all_at(bed.c);
    bed.finish();
}

/// The same for ten minutes: there are no more tries than one a minute in the long run. RULE-153
pub fn nobody_takes_writes_for_long(host: &dyn Host) {
    let mut bed = by_name(host);
    let a = bed.a;
    turn(&mut bed, a, Condition::ReadOnly);
    for _ in 0..600 {
        assert!(is_refused(&bed.call(incr("n"))));
        bed.run_for(SECOND);
    }
    let dials = bed.accepted(a);
    assert!((36..=60).contains(&dials), "{dials} dials, 3 for the start and for each try");
    bed.finish();
}

/// A failover that was announced has ended, and the node is a replica for good: what the window has hidden counts from its end
/// on. RULE-153
pub fn at_the_end_of_a_window(host: &dyn Host) {
    let mut bed = by_name(host);
    let (a, b) = (bed.a, bed.b);
    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND)));
    bed.run_until_soon("the window opens", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) == 1
    });
    turn(&mut bed, a, Condition::ReadOnly);
    let ticket = bed.send(incr("n"));
    bed.run_until_soon("it is sent again", |bed| bed.arrivals("INCR").len() >= 2);
    assert_eq!(demoted(&bed), 0, "in the window it is expected");
    bed.server(|server, now| server.failed_over(now, Notice::default()));
    bed.wait(ticket).expect("a reply, if only a refusal");
    bed.set_name(NAME, &[b]);
    write_until_it_runs(&mut bed);
    bed.run_until_all_at(b);
    bed.finish();
}

/// Whoever reads from a replica and does not want to leave it switches that off. RULE-153
pub fn switched_off(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    let settings = bed.settings_by_name().maintenance(maintenance(|it| it.leave_demoted(false)));
    bed.connect_with(settings);
    let (a, b) = (bed.a, bed.b);
    turn(&mut bed, a, Condition::ReadOnly);
    bed.set_name(NAME, &[b]);
    let lookups = bed.lookups(NAME);
    for _ in 0..5 {
        assert!(is_refused(&bed.call(incr("n"))));
        bed.run_for(millis(100));
    }
    assert_eq!((bed.lookups(NAME), bed.accepted(b), demoted(&bed)), (lookups, 0, 0));
    bed.finish();
}

/// In a window the refusal of a script is its reply, because it may have written before: it runs once. RULE-154, INV-05
pub fn scripts_prove_nothing(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND * 5)));
    bed.run_until_soon("the window opens", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) == 1
    });
    for name in ["EVAL", "EVALSHA", "FCALL"] {
        let refusal = Frame::error("READONLY You can't write against a read only replica.");
        bed.rule(Rule::new(Fault::Refuse(refusal)).on(name).always());
        assert!(is_refused(&bed.call(cmd(name).arg("script").arg(0))), "{name}");
        assert_eq!(bed.arrivals(name).len(), 1, "{name}");
    }
    assert_eq!(demoted(&bed), 0);
    bed.finish();
}
