//! Encrypted connections: moves between nodes with certificates of their own, and nodes that are not believed.

use hitless_core::error::ConnectError;
use hitless_core::event::Event;
use resp3_codec::Frame;

use crate::server::{CloseHow, Moving, Target};
use crate::testbed::{SECOND, Testbed, get, incr, millis};
use crate::world::{Host, Layout};

const SERVICE: &str = "redis.cluster.test";

/// A testbed whose service is known by [`SERVICE`], and whose other nodes have names in the same domain.
fn bed(host: &dyn Host, b: &'static [&'static str]) -> Testbed {
    let names: [&[&str]; 3] = [&[SERVICE], b, &["c.cluster.test"]];
    let mut bed = Testbed::builder(host).layout(Layout::Hosts).certificates(names).build();
    bed.set_name(SERVICE, &[bed.a]);
    bed.set_name("b.cluster.test", &[bed.b]);
    let settings = bed.settings_by(SERVICE);
    bed.connect_with(settings);
    bed
}

/// Where the endpoint `b` is, by its own name.
fn by_name(bed: &mut Testbed) -> Target {
    Target::Address(format!("b.cluster.test:{}", bed.address(bed.b).port()))
}

/// Each node has a certificate for its own name alone: a move to one that is named is as hitless as without TLS. INV-03,
/// RULE-84, RULE-188
pub fn nodes_with_certificates_of_their_own(host: &dyn Host) {
    let mut bed = bed(host, &["b.cluster.test"]);
    bed.start_load(4);
    let target = by_name(&mut bed);
    bed.announce(bed.a, Moving::new(target, SECOND * 3));
    bed.run_until_all_at(bed.b);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    assert_eq!((bed.accepted(bed.a), bed.accepted(bed.b)), (3, 3), "{}", bed.history());
    bed.finish();
}

/// A target without a name is another node of the service, and proves that by the configured name. RULE-84, RULE-188
pub fn a_target_that_is_an_address(host: &dyn Host) {
    let mut bed = bed(host, &[SERVICE]);
    bed.start_load(4);
    let target = Target::Address(bed.address(bed.b).to_string());
    bed.announce(bed.a, Moving::new(target, SECOND * 3));
    bed.run_until_all_at(bed.b);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// The target's certificate is that of somebody else: no connection is cut over, no password goes there, and the old
/// connections serve until the server closes them. PITFALL-09, RULE-188
pub fn a_target_that_is_not_believed(host: &dyn Host) {
    let mut bed = bed(host, &["b.elsewhere.test"]);
    bed.start_load(4);
    let target = by_name(&mut bed);
    bed.announce(bed.a, Moving::new(target, SECOND * 3).closing_late_by(bed.slack()));
    bed.run_for(millis(2800));
    let is_about_it = |event: &&Event| {
        matches!(event, Event::HandoffFailed { error: ConnectError::Connect(error), .. }
            if error.to_string().contains("b.elsewhere.test"))
    };
    assert!(bed.count(is_about_it) >= 1, "{}", bed.history());
    assert_eq!(bed.cut_overs(), 0);
    assert_eq!(bed.stats().serving, 3, "the old ones serve");
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();
}

/// Links end with TLS's closing message and without: the pool is whole again, and requests that had not run are answered.
/// RULE-182
pub fn links_that_end(host: &dyn Host) {
    let mut bed = bed(host, &[SERVICE]);
    for (expected, how) in (1..).zip([CloseHow::Fin, CloseHow::Reset]) {
        assert_eq!(bed.call(incr("n")), Frame::Integer(expected));
        bed.kill_all(bed.a, how);
        let lost = 3 * usize::try_from(expected).expect("it is small");
        let is_lost = |event: &&Event| matches!(event, Event::ConnectionClosed { .. });
        bed.run_until("they are lost", SECOND * 3, |bed| bed.count(is_lost) == lost);
        bed.run_until_whole();
    }
    assert_eq!(bed.call(get("n")), Frame::bulk("2"));
    bed.finish();
}
