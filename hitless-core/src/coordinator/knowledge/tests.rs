use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::maintenance;
use crate::endpoint::Endpoint;
use crate::timer::epoch;

const MINUTE: Duration = Duration::from_secs(60);

fn conn(index: u32) -> ConnId {
    ConnId::from_parts(index, 0)
}

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn code() -> ErrorCode {
    ErrorCode::of(b"ERR")
}

fn knowledge(mode: Mode, protocol: Protocol) -> Knowledge {
    let maintenance = maintenance::Config::builder().mode(mode).build().unwrap();
    let builder = Config::builder(Endpoint::parse("127.0.0.1", 1).unwrap()).maintenance(maintenance);
    Knowledge::new(Arc::new(builder.protocol(protocol).build().unwrap()))
}

fn auto() -> Knowledge {
    knowledge(Mode::Auto, Protocol::Resp3)
}

/// The connections that do without notifications, each asked once.
fn unnotified(known: &mut Knowledge) -> Vec<ConnId> {
    known.take_unnotified(&peer(1)).into_iter().collect()
}

/// A refusal is told once and believed for ten minutes; then one handshake asks again. RULE-15, RULE-18
#[test]
fn a_refusal_is_believed_for_ten_minutes() {
    let now = epoch();
    let mut known = auto();
    assert_eq!(known.probe(now, &peer(1)), Probe::OptIn);
    match known.learn(now, conn(1), &peer(1), OptIn::Refused(code())) {
        Some(Event::OptInRefused { peer: at, code: Some(told), recheck_at }) => {
            assert_eq!((at, told, recheck_at), (peer(1), code(), now + 10 * MINUTE));
        }
        other => panic!("{other:?}"),
    }
    assert!(known.learn(now + MINUTE, conn(2), &peer(1), OptIn::Refused(code())).is_none(), "no news");
    assert_eq!(known.support(&peer(1)), Support::Refused { recheck_at: now + 10 * MINUTE });
    assert_eq!(known.probe(now + 10 * MINUTE - Duration::from_nanos(1), &peer(1)), Probe::Skip);
    assert_eq!(known.probe(now, &peer(2)), Probe::OptIn, "another address");
    assert_eq!(known.probe(now + 10 * MINUTE, &peer(1)), Probe::OptIn);
    assert_eq!(known.probe(now + 10 * MINUTE, &peer(1)), Probe::Skip, "one asks");
    known.learn(now + 10 * MINUTE, conn(3), &peer(1), OptIn::Accepted);
    assert_eq!((known.support(&peer(1)), known.probe(now, &peer(1))), (Support::Active, Probe::OptIn));
}

/// A link that has died at the opt-in is dialled without it; if that succeeds, the opt-in was why. RULE-14
#[test]
fn a_suspicion_is_confirmed_by_a_handshake_without_the_opt_in() {
    let now = epoch();
    let mut known = auto();
    known.set_suspect(&peer(1), true);
    assert!(known.is_suspect(&peer(1)) && !known.is_suspect(&peer(2)));
    assert_eq!((known.support(&peer(1)), known.probe(now, &peer(1))), (Support::Unknown, Probe::Skip));
    match known.learn(now, conn(1), &peer(1), OptIn::NotAsked) {
        Some(Event::OptInRefused { code: None, recheck_at, .. }) => assert_eq!(recheck_at, now + 10 * MINUTE),
        other => panic!("{other:?}"),
    }
    assert!(!known.is_suspect(&peer(1)));
    assert!(known.learn(now, conn(2), &peer(2), OptIn::NotAsked).is_none(), "nobody suspects it");
    assert_eq!(known.support(&peer(2)), Support::Unknown);
}

#[test]
fn a_suspicion_ends_without_effect_when_it_is_unfounded() {
    let now = epoch();
    let mut known = auto();
    known.set_suspect(&peer(1), false);
    assert_eq!(known.len(), 0, "nothing is known");
    known.set_suspect(&peer(1), true);
    known.set_suspect(&peer(1), false);
    assert_eq!((known.is_suspect(&peer(1)), known.probe(now, &peer(1))), (false, Probe::OptIn));
    known.set_suspect(&peer(1), true);
    known.learn(now, conn(1), &peer(1), OptIn::Accepted);
    assert_eq!((known.is_suspect(&peer(1)), known.support(&peer(1))), (false, Support::Active));
}

/// Connections that were not heard ask again when others are accepted, except those that do not speak RESP3 at all. RULE-13, RULE-19
#[test]
fn connections_that_were_not_heard_are_remembered_until_they_are_asked() {
    let now = epoch();
    let mut known = auto();
    known.learn(now, conn(1), &peer(1), OptIn::Unclear(code()));
    assert_eq!(known.support(&peer(1)), Support::Unknown, "it says nothing of the server");
    known.learn(now, conn(2), &peer(1), OptIn::NotAsked);
    known.learn(now, conn(3), &peer(1), OptIn::Refused(code()));
    known.learn(now, conn(4), &peer(1), OptIn::NoResp3(code()));
    known.learn(now, conn(5), &peer(1), OptIn::Accepted);
    known.learn(now, conn(6), &peer(2), OptIn::Unclear(code()));
    known.learn(now, conn(7), &peer(1), OptIn::Unclear(code()));
    known.forget(&peer(1), conn(2));
    known.forget(&peer(9), conn(3));
    assert_eq!(unnotified(&mut known), [conn(1), conn(3), conn(7)]);
    assert_eq!(unnotified(&mut known), []);
    known.learn(now, conn(8), &peer(1), OptIn::Unclear(code()));
    known.forget(&peer(1), conn(8));
    assert!(!known.unnotified.contains_key(&peer(1)) && known.unnotified.contains_key(&peer(2)));
}

/// The mode is policy: `enabled` asks whatever was learnt, `disabled` and RESP2 never do, and nobody is asked later.
#[test]
fn only_the_mode_auto_follows_what_is_known() {
    let now = epoch();
    let cases = [
        (Mode::Enabled, Protocol::Resp3, Probe::OptIn, 1),
        (Mode::Disabled, Protocol::Resp3, Probe::Skip, 0),
        (Mode::Auto, Protocol::Resp2, Probe::Skip, 0),
    ];
    for (mode, protocol, probe, remembered) in cases {
        let mut known = knowledge(mode, protocol);
        assert_eq!(known.probe(now, &peer(1)), probe, "{mode}");
        known.learn(now, conn(1), &peer(1), OptIn::Refused(code()));
        assert_eq!(known.probe(now, &peer(1)), probe, "{mode}");
        assert_eq!(unnotified(&mut known).len(), remembered, "{mode}");
    }
}

/// Beyond 256 addresses one is forgotten, which means that it is asked again. INV-14
#[test]
fn the_number_of_known_addresses_is_bounded() {
    let mut known = auto();
    for port in 1..=300 {
        known.learn(epoch(), conn(1), &peer(port), OptIn::Accepted);
        known.learn(epoch(), conn(1), &peer(port), OptIn::Accepted);
        assert_eq!(known.len(), usize::from(port).min(256));
        assert_eq!(known.support(&peer(port)), Support::Active);
    }
}
