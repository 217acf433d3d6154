//! Where a MOVING leads: every form of an endpoint, and none.

use hitless_core::config::ConfigBuilder;
use hitless_core::error::ConnectError;
use hitless_core::event::{Event, Ignored};
use resp3_codec::Frame;

use super::ignored;
use crate::server::{CloseHow, Closes, Moving, Recipients, Retires, Target, push_frame};
use crate::testbed::{NAME, SECOND, Testbed, get, incr, millis};
use crate::world::{Host, Layout};

/// The target's port is dialled, not that of the configured endpoint. PITFALL-10
pub fn another_port(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let (a, b) = (bed.address(bed.a), bed.address(bed.b));
    assert!(a.ip() == b.ip() && a.port() != b.port(), "{a} {b}");
    bed.connect();
    bed.moving(bed.a, bed.b, 2);
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.accepted(bed.a), 3);
    bed.finish();
}

/// A target may be an IPv6 address in brackets. PITFALL-05, RULE-24
pub fn ipv6(host: &dyn Host) {
    let mut bed = Testbed::builder(host).b_at("[::1]:0").build();
    let address = bed.address(bed.b).to_string();
    assert!(address.starts_with('['), "{address}");
    bed.connect();
    bed.announce(bed.a, Moving::new(Target::Address(address), SECOND * 2));
    bed.run_until_all_at(bed.b);
    bed.finish();
}

/// A target may be a host name, which is looked up. PITFALL-05
pub fn host_name(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.set_name("b.test", &[bed.b]);
    let target = format!("b.test:{}", bed.address(bed.b).port());
    bed.connect();
    bed.announce(bed.a, Moving::new(Target::Address(target), SECOND * 2));
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.lookups("b.test"), 1, "the scout looked it up for all");
    bed.finish();
}

/// A target without a port is at 6379. PITFALL-05, PITFALL-10, RULE-24
pub fn no_port(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::DefaultPort).build();
    let target = bed.address(bed.b).ip().to_string();
    bed.connect();
    bed.announce(bed.a, Moving::new(Target::Address(target), SECOND * 2));
    bed.run_until_all_at(bed.b);
    bed.finish();
}

/// A MOVING without an endpoint: the name is looked up from half of the time on, and its new address is dialled as soon
/// as there is one. PITFALL-05, PITFALL-29, RULE-78
pub fn null(host: &dyn Host) {
    move_by_name(host, Target::Null);
}

/// Every way of saying "no endpoint" means the same. PITFALL-05, RULE-25
pub fn every_way_of_naming_none(host: &dyn Host) {
    let texts = ["", "null", "NULL", "none", "?", ":6379", "?:6379", "null:0", "10.0.0.9:0"];
    let texts = texts.into_iter().map(|text| Target::Address(text.to_owned()));
    let frames = [Frame::NullBulk, Frame::NullArray, Frame::simple("")];
    let frames = frames.into_iter().map(Target::Frame);
    for target in texts.chain(frames).chain([Target::Absent]) {
        move_by_name(host, target);
    }
}

/// Over TLS a MOVING that names a host of another domain counts as one without an endpoint: credentials go where the configured
/// name leads alone. RULE-84, RULE-187
pub fn outside_of_the_domain(host: &dyn Host) {
    let target = Target::Address("node.example.net:6379".to_owned());
    move_by_name_with(host, target, |settings| settings.encrypted_by_connector());
}

fn move_by_name(host: &dyn Host, target: Target) {
    move_by_name_with(host, target, |settings| settings);
}

/// A MOVING to `target`, which says nothing, while DNS follows a little later than half of the time.
fn move_by_name_with(host: &dyn Host, target: Target, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    let settings = change(bed.settings_by_name());
    bed.connect_with(settings);
    let (what, before) = (format!("{target:?}"), bed.lookups(NAME));
    bed.start_load(4);
    bed.announce(bed.a, Moving::new(target, SECOND * 8));
    let slack = bed.slack();
    bed.run_for(millis(3900) - slack);
    assert_eq!(bed.lookups(NAME), before, "{what}: too early");
    assert_eq!(bed.moves(), 1, "{what}");
    let is_looked_up = format!("{what}: it is looked up now");
    bed.run_until(&is_looked_up, millis(300) + slack, |bed| bed.lookups(NAME) > before);
    assert_eq!(bed.cut_overs(), 0);
    bed.set_name(NAME, &[bed.b]);
    bed.run_until_all_at(bed.b);
    assert_eq!(bed.accepted(bed.a), 3, "{what}: the retiring address was not dialled again");
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// No endpoint, and DNS follows only after the server has closed: meanwhile requests wait, and nothing is lost or
/// loops. PITFALL-42, PITFALL-29, RULE-76, RULE-77
pub fn dns_follows_after_the_close(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    let settings = bed.settings_by_name().command_timeout(Some(SECOND * 10));
    bed.connect_with(settings);
    bed.announce(bed.a, Moving::new(Target::Null, SECOND * 2));
    bed.run_until("the server closes them", SECOND * 3, |bed| bed.stats().serving == 0);
    let tickets: Vec<_> = (0..10).map(|_| bed.send(incr("n"))).collect();
    bed.run_for(SECOND);
    assert_eq!(bed.stats().parked, 10);
    bed.set_name(NAME, &[bed.b]);
    for (expected, ticket) in (1..).zip(tickets) {
        assert_eq!(bed.reply(ticket), Frame::Integer(expected));
    }
    bed.run_until_all_at(bed.b);
    // Once more, late in the window.
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (4, 3));
    let attempts = bed.count(|event| matches!(event, Event::ConnectFailed { .. }));
    assert!(attempts <= 3 * 8, "with growing pauses: {attempts}");
    bed.finish();
}

/// A proxy is taken out of service without a MOVING: after the MIGRATED its address has left the name's answers, and
/// its connections leave before the server closes them. INV-03, RULE-40
pub fn withdrawn_address(host: &dyn Host) {
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).build();
    bed.set_name(NAME, &[bed.a, bed.b]);
    let settings = bed.settings_by_name().pool_size(4);
    bed.connect_with(settings);
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (2, 2));
    bed.start_load(4);
    bed.push(bed.a, &push_frame(&["MIGRATING", "1", "1"]));
    bed.run_until_soon("it is announced", |bed| bed.stats().coordinator.windows == 1);
    bed.set_name(NAME, &[bed.b]);
    bed.push(bed.a, &push_frame(&["MIGRATED", "1"]));
    bed.run_until_all_at(bed.b);
    bed.kill_all(bed.a, CloseHow::Reset);
    bed.run_for(millis(100));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (2, 4), "{}", bed.history());
    assert_eq!(bed.count(|event| matches!(event, Event::AddressWithdrawn { .. })), 1);
    bed.finish();
}

/// No endpoint, and an address that stays the same because a load balancer stands there: it is dialled once more, late,
/// and leads to the new node. PITFALL-29, RULE-79
pub fn virtual_address(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(4);
    let old = bed.connections(bed.a);
    let moving = Moving::new(Target::Null, SECOND * 8).told_to(Recipients::Only(old.clone()));
    bed.announce(bed.a, moving.closing(Closes::Recipients).retiring(Retires::Never));
    bed.run_until("they have moved", SECOND * 8, |bed| bed.cut_overs() == 3);
    bed.run_until_soon("the old ones are closed", |bed| bed.connections(bed.a).len() == 3);
    let new = bed.connections(bed.a);
    assert!(old.iter().all(|conn| !new.contains(conn)));
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// No endpoint, and the same address leads to the retiring node still, which says so at the opt-in: nothing is cut over
/// to it, and nothing loops. PITFALL-27, PITFALL-29, RULE-80
pub fn the_retiring_node_again(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(4);
    let moving = Moving::new(Target::Null, SECOND * 8).closing_late_by(bed.slack());
    bed.announce(bed.a, moving.retiring(Retires::Never));
    bed.run_for(millis(7950) - bed.slack());
    assert_eq!(bed.cut_overs(), 0, "{}", bed.history());
    let landed = |event: &&Event| matches!(event, Event::HandoffFailed { error: ConnectError::Retiring, .. });
    assert!(bed.count(landed) >= 1, "it was noticed\n{}", bed.history());
    assert_eq!(bed.accepted(bed.a), 3 + 1, "once");
    let before = bed.lost();
    assert_eq!(bed.stats().serving, 3, "the old ones serve");
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.run_until_lost(before + 3);
    bed.run_until_whole();
    assert!(bed.call(get("load.counter.0")).as_int().is_some());
    bed.finish();
}

/// Times that no server should send: the shortest still moves, the longest moves at once as well, and a sequence of 0
/// is as good as any. PITFALL-33, RULE-33, RULE-34
pub fn odd_times(host: &dyn Host) {
    for time in ["0", "-1", "-9223372036854775808", "9223372036854775807", "99999999999999999999999"] {
        let mut bed = Testbed::new(host);
        bed.connect();
        bed.start_load(4);
        let target = bed.address(bed.b).to_string();
        bed.push(bed.a, &push_frame(&["MOVING", "0", time, &target]));
        bed.run_until("they have moved", millis(900), |bed| bed.cut_overs() == 3);
        bed.run_until_all_at(bed.b);
        assert_eq!(bed.moves(), 1, "{time}");
        bed.stop_load();
        bed.assert_hitless(millis(50));
        bed.finish();
    }
}

/// A MOVING that announces one second: there is a target, and time enough. INV-03, PITFALL-33
pub fn one_second(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(4);
    bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND).closing_late_by(bed.slack()));
    bed.run_until_all_at(bed.b);
    bed.run_for(SECOND);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// MOVING to the address in use: nothing happens. PITFALL-33, RULE-81
pub fn the_address_in_use(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    let here = bed.address(bed.a).to_string();
    bed.push(bed.a, &push_frame(&["MOVING", "7", "2", &here]));
    bed.run_until_soon("it is noticed", |bed| ignored(bed, Ignored::AlreadyThere) == 3);
    bed.run_for(millis(300));
    assert_eq!((bed.moves(), bed.accepted(bed.a)), (0, 3));
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}
