//! Client-side caching: whoever keeps a cache is told what is invalid, wherever the connections go.

use hitless_core::config::Tracking;
use hitless_core::error::ConnectError;
use hitless_core::handshake::{HandshakeError, Stage};
use resp3_codec::{Frame, cmd};

use crate::server::{CloseHow, ServerConfig, User};
use crate::testbed::{SECOND, Testbed, get, set};
use crate::world::Host;

/// A client with a pool of two that tracks.
fn tracking(host: &dyn Host, tracking: Tracking) -> Testbed {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(2).tracking(tracking);
    bed.connect_with(settings);
    assert_eq!(bed.invalidations(), []);
    bed
}

/// What was read is told when it changes, and what was not read is not; each change is a push as well. RULE-270, RULE-272
pub fn what_was_read_is_told_when_it_changes(host: &dyn Host) {
    let mut bed = tracking(host, Tracking::default_mode());
    assert_eq!(bed.call(get("read")), Frame::Null);
    for key in ["unread", "read"] {
        assert_eq!(bed.call(set(key, "1")), Frame::simple("OK"));
    }
    bed.run_until_soon("the change is told", |bed| bed.invalidated("read") == 1);
    assert_eq!(bed.call(get("read")), Frame::bulk("1"));
    assert_eq!((bed.invalidated("unread"), bed.emptied()), (0, 0));
    bed.run_until_soon("it is a push as well", |bed| bed.pushes().len() == 1);
    assert_eq!(bed.call(cmd("FLUSHALL")), Frame::simple("OK"));
    bed.run_until_soon("the flush is told", |bed| bed.emptied() > 0);
    bed.finish();
}

/// In the broadcasting mode every change behind a prefix is told, whoever has read it. RULE-270
pub fn changes_behind_a_prefix_are_broadcast(host: &dyn Host) {
    let mut bed = tracking(host, Tracking::broadcast(["user:"]));
    for key in ["shop:1", "user:1"] {
        assert_eq!(bed.call(set(key, "1")), Frame::simple("OK"));
    }
    // A key that is unread when it is told again counts once.
    bed.run_until_soon("each connection of the pool is told", |bed| bed.pushes().len() == 2);
    bed.run_until_soon("the cache is told", |bed| bed.invalidated("user:1") > 0);
    assert_eq!((bed.invalidated("shop:1"), bed.emptied()), (0, 0));
    bed.finish();
}

/// When the connections move everything is invalid, and what is read at the new server is told from there. RULE-92, RULE-270, RULE-274
pub fn a_move_makes_everything_invalid(host: &dyn Host) {
    let mut bed = tracking(host, Tracking::default_mode());
    assert_eq!(bed.call(get("k")), Frame::Null);
    bed.moving(bed.a, bed.b, 10);
    bed.run_until_all_at(bed.b);
    bed.run_until_soon("everything is invalid", |bed| bed.emptied() > 0);
    bed.run_until_all_gone_from_a();
    let conns = bed.connections(bed.b);
    assert_eq!(conns.len(), 2);
    for conn in conns {
        let asked = bed.requests_on(conn);
        assert!(asked.iter().any(|request| request == "CLIENT TRACKING ON"), "{asked:?}");
    }
    assert_eq!(bed.invalidated("k"), 0);
    assert_eq!(bed.call(get("k")), Frame::Null);
    assert_eq!(bed.call(set("k", "1")), Frame::simple("OK"));
    bed.run_until_soon("the new server tells", |bed| bed.invalidated("k") == 1);
    bed.finish();
}

/// When a connection is lost on which something was read everything is invalid, and the next one tracks. RULE-270, RULE-274
pub fn a_loss_makes_everything_invalid(host: &dyn Host) {
    let mut bed = tracking(host, Tracking::default_mode());
    assert_eq!(bed.call(get("k")), Frame::Null);
    let a = bed.a;
    bed.kill_all(a, CloseHow::Reset);
    bed.run_until_soon("everything is invalid", |bed| bed.emptied() == 1);
    bed.run_until_whole();
    assert_eq!(bed.call(get("k")), Frame::Null);
    assert_eq!(bed.call(set("k", "1")), Frame::simple("OK"));
    bed.run_until_soon("the new connection is told", |bed| bed.invalidated("k") == 1);
    bed.finish();
}

/// A server that may not track is no server for a cache: the client says so, and does not open. RULE-271
pub fn a_server_that_refuses_is_an_error(host: &dyn Host) {
    let user = User::open("default").without("CLIENT TRACKING");
    let mut bed = Testbed::builder(host).server(ServerConfig::default().with_user(user)).build();
    bed.invalidations();
    let settings = bed.settings().pool_size(1).tracking(Tracking::default_mode());
    let error = bed.try_connect(settings).expect_err("it refuses");
    let ConnectError::GaveUp { last, .. } = &error else { panic!("{error}") };
    let refused = |last: &ConnectError| {
        matches!(last, ConnectError::Handshake(HandshakeError::Refused { stage: Stage::Tracking, .. }))
    };
    assert!(refused(last), "{error}");
    bed.shutdown(SECOND);
}
