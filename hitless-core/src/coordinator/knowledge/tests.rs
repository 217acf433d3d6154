use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::{Tracking, maintenance};
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

/// With client-side caching.
fn tracking() -> Knowledge {
    let builder = Config::builder(Endpoint::parse("127.0.0.1", 1).unwrap());
    Knowledge::new(Arc::new(builder.tracking(Tracking::default_mode()).build().unwrap()))
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
    match known.learn(now, conn(1), &peer(1), Probe::OptIn, OptIn::Refused(code())) {
        Some(Event::OptInRefused { peer: at, code: Some(told), recheck_at }) => {
            assert_eq!((at, told, recheck_at), (peer(1), code(), now + 10 * MINUTE));
        }
        other => panic!("{other:?}"),
    }
    assert!(
        known.learn(now + MINUTE, conn(2), &peer(1), Probe::OptIn, OptIn::Refused(code())).is_none(),
        "no news"
    );
    assert_eq!(known.support(&peer(1)), Support::Refused { recheck_at: now + 10 * MINUTE });
    assert_eq!(known.probe(now + 10 * MINUTE - Duration::from_nanos(1), &peer(1)), Probe::Skip);
    assert_eq!(known.probe(now, &peer(2)), Probe::OptIn, "another address");
    assert_eq!(known.probe(now + 10 * MINUTE, &peer(1)), Probe::OptIn);
    assert_eq!(known.probe(now + 10 * MINUTE, &peer(1)), Probe::Skip, "one asks");
    known.learn(now + 10 * MINUTE, conn(3), &peer(1), Probe::OptIn, OptIn::Accepted);
    assert_eq!((known.support(&peer(1)), known.probe(now, &peer(1))), (Support::Active, Probe::OptIn));
}

/// A link that has died at the opt-in is dialled without it; if that succeeds, the opt-in was why. RULE-14
#[test]
fn a_suspicion_is_confirmed_by_a_handshake_without_the_opt_in() {
    let now = epoch();
    let mut known = auto();
    assert!(known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded));
    assert!(known.is_suspect(&peer(1)) && !known.is_suspect(&peer(2)));
    assert_eq!((known.support(&peer(1)), known.probe(now, &peer(1))), (Support::Unknown, Probe::Skip));
    match known.learn(now, conn(1), &peer(1), Probe::Skip, OptIn::NotAsked) {
        Some(Event::OptInRefused { code: None, recheck_at, .. }) => assert_eq!(recheck_at, now + 10 * MINUTE),
        other => panic!("{other:?}"),
    }
    assert!(!known.is_suspect(&peer(1)));
    assert!(
        known.learn(now, conn(2), &peer(2), Probe::Skip, OptIn::NotAsked).is_none(),
        "nobody suspects it"
    );
    assert_eq!(known.support(&peer(2)), Support::Unknown);
}

/// RULE-166
#[test]
fn a_suspicion_ends_without_effect_when_it_is_unfounded() {
    let now = epoch();
    let mut known = auto();
    known.handle_failed(&peer(1), Probe::Skip);
    assert_eq!(known.len(), 0, "nothing is known");
    known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded);
    known.handle_failed(&peer(1), Probe::OptIn);
    assert!(known.is_suspect(&peer(1)), "that was the dial which led to it");
    known.handle_failed(&peer(1), Probe::Skip);
    assert_eq!((known.is_suspect(&peer(1)), known.probe(now, &peer(1))), (false, Probe::OptIn));
    assert!(!known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded), "not at once any more");
    assert_eq!(known.probe(now, &peer(1)), Probe::Skip, "but in its turn");
    known.learn(now, conn(1), &peer(1), Probe::OptIn, OptIn::Accepted);
    assert_eq!((known.is_suspect(&peer(1)), known.support(&peer(1))), (false, Support::Active));
    assert!(known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded), "a success ends that");
}

/// Whatever kind of handshake succeeds, less is asked for at once again. RULE-166
#[test]
fn a_handshake_makes_up_for_trials_in_vain() {
    let now = epoch();
    for (probe, opt_in) in [
        (Probe::OptIn, OptIn::Refused(code())),
        (Probe::OptIn, OptIn::Unclear(code())),
        (Probe::Skip, OptIn::NotAsked),
    ] {
        let mut known = auto();
        assert!(known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded));
        known.handle_failed(&peer(1), Probe::Skip);
        known.learn(now, conn(1), &peer(1), probe, opt_in);
        assert!(known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded), "{opt_in:?}");
    }
}

/// Connections that were not heard ask again when others are accepted, except those that do not speak RESP3 at all. RULE-13, RULE-19
#[test]
fn connections_that_were_not_heard_are_remembered_until_they_are_asked() {
    let now = epoch();
    let mut known = auto();
    known.learn(now, conn(1), &peer(1), Probe::OptIn, OptIn::Unclear(code()));
    assert_eq!(known.support(&peer(1)), Support::Unknown, "it says nothing of the server");
    known.learn(now, conn(2), &peer(1), Probe::Skip, OptIn::NotAsked);
    known.learn(now, conn(3), &peer(1), Probe::OptIn, OptIn::Refused(code()));
    known.learn(now, conn(4), &peer(1), Probe::OptIn, OptIn::NoResp3(code()));
    known.learn(now, conn(5), &peer(1), Probe::OptIn, OptIn::Accepted);
    known.learn(now, conn(6), &peer(2), Probe::OptIn, OptIn::Unclear(code()));
    known.learn(now, conn(7), &peer(1), Probe::OptIn, OptIn::Unclear(code()));
    known.forget(&peer(1), conn(2));
    known.forget(&peer(9), conn(3));
    assert_eq!(unnotified(&mut known), [conn(1), conn(3), conn(7)]);
    assert_eq!(unnotified(&mut known), []);
    known.learn(now, conn(8), &peer(1), Probe::OptIn, OptIn::Unclear(code()));
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
        (Mode::Auto, Protocol::Resp2, Probe::Resp2, 0),
    ];
    for (mode, protocol, probe, remembered) in cases {
        let mut known = knowledge(mode, protocol);
        assert_eq!(known.probe(now, &peer(1)), probe, "{mode}");
        known.learn(now, conn(1), &peer(1), Probe::OptIn, OptIn::Refused(code()));
        assert_eq!(known.probe(now, &peer(1)), probe, "{mode}");
        assert_eq!(unnotified(&mut known).len(), remembered, "{mode}");
    }
}

/// Each refusal leads to less, as far as something answers; what was found out is told once, believed for ten minutes, and
/// then everything is asked for again. RULE-149, RULE-150
#[test]
fn less_is_asked_for_step_by_step() {
    let now = epoch();
    let lost = TooMuch::LinkEnded;
    let (refused, code) = (TooMuch::Hello(Some(code())), Some(code()));
    for (steps, less, told) in [
        (&[(Probe::OptIn, refused)][..], Probe::Resp2, code),
        (&[(Probe::Skip, refused)], Probe::Resp2, code),
        (&[(Probe::OptIn, TooMuch::Hello(None))], Probe::Resp2, None),
        (&[(Probe::OptIn, refused), (Probe::Resp2, lost)], Probe::Bare, code),
        (&[(Probe::OptIn, lost), (Probe::Skip, lost)], Probe::Bare, None),
        // Another dial was behind.
        (&[(Probe::OptIn, lost), (Probe::Skip, lost), (Probe::OptIn, lost)], Probe::Bare, None),
        (&[(Probe::OptIn, lost), (Probe::Skip, refused)], Probe::Resp2, code),
    ] {
        let mut known = auto();
        for (probe, why) in steps {
            assert!(known.ask_for_less(&peer(1), *probe, *why));
        }
        assert_eq!(known.probe(now, &peer(1)), less, "{steps:?}");
        assert_eq!(known.probe(now, &peer(2)), Probe::OptIn, "another address");
        match known.learn(now, conn(1), &peer(1), less, OptIn::NotAsked) {
            Some(Event::FellBack { peer: at, code, recheck_at }) => {
                assert_eq!((at, code, recheck_at), (peer(1), told, now + 10 * MINUTE), "{steps:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(known.learn(now, conn(2), &peer(1), less, OptIn::NotAsked).is_none(), "no news");
        assert_eq!(unnotified(&mut known), [], "in RESP2 there is nothing to ask for");
        assert_eq!(known.probe(now + 9 * MINUTE, &peer(1)), less);
        let then = now + 10 * MINUTE;
        assert_eq!(known.probe(then, &peer(1)), Probe::OptIn);
        assert_eq!(known.probe(then, &peer(1)), less, "one asks");
        known.learn(then, conn(3), &peer(1), Probe::OptIn, OptIn::Accepted);
        assert_eq!(known.probe(then, &peer(1)), Probe::OptIn);
    }
}

/// RESP2 could not tell a cache anything. RULE-271
#[test]
fn nothing_less_than_resp3_is_asked_for_where_a_cache_relies_on_it() {
    let mut known = tracking();
    for (probe, why) in [
        (Probe::OptIn, TooMuch::Hello(Some(code()))),
        (Probe::Skip, TooMuch::Hello(None)),
        (Probe::Skip, TooMuch::LinkEnded),
    ] {
        assert!(!known.ask_for_less(&peer(1), probe, why));
        assert_eq!(known.probe(epoch(), &peer(1)), Probe::OptIn, "{probe:?}, {why:?}");
    }
    assert!(known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded), "RESP3 without the opt-in");
    assert_eq!(known.probe(epoch(), &peer(1)), Probe::Skip);
}

/// Where RESP3 has worked, a refusal in other words and a link that ends say nothing of the server: less would be a silent
/// loss. Nor is less asked for in the other modes. RULE-149
#[test]
fn nothing_less_is_asked_for_where_resp3_has_worked() {
    let now = epoch();
    for (probe, opt_in) in [
        (Probe::OptIn, OptIn::Accepted),
        (Probe::OptIn, OptIn::Refused(code())),
        (Probe::OptIn, OptIn::Unclear(code())),
        (Probe::Skip, OptIn::NotAsked),
    ] {
        let mut known = auto();
        known.learn(now, conn(1), &peer(1), probe, opt_in);
        assert!(!known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::Hello(Some(code()))), "{opt_in:?}");
        assert!(!known.ask_for_less(&peer(1), Probe::Skip, TooMuch::LinkEnded), "{opt_in:?}");
        assert!(
            known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::LinkEnded),
            "the opt-in alone: {opt_in:?}"
        );
    }
    let mut known = auto();
    known.learn(now, conn(1), &peer(1), Probe::OptIn, OptIn::NoResp3(code()));
    assert!(known.ask_for_less(&peer(1), Probe::OptIn, TooMuch::Hello(Some(code()))), "it was RESP2");
    for mode in [Mode::Disabled, Mode::Enabled] {
        let mut known = knowledge(mode, Protocol::Resp3);
        for probe in [Probe::OptIn, Probe::Skip] {
            for why in [TooMuch::LinkEnded, TooMuch::Hello(Some(code()))] {
                assert!(!known.ask_for_less(&peer(1), probe, why), "{mode}");
            }
        }
    }
}

/// With RESP2 configured CLIENT is left out where the link dies at it, in every mode, unless it has worked. RULE-150
#[test]
fn configured_resp2_does_without_client() {
    let now = epoch();
    for mode in [Mode::Auto, Mode::Disabled] {
        let mut known = knowledge(mode, Protocol::Resp2);
        assert!(known.ask_for_less(&peer(1), Probe::Resp2, TooMuch::LinkEnded));
        assert_eq!(known.probe(now, &peer(1)), Probe::Bare);
        let told = known.learn(now, conn(1), &peer(1), Probe::Bare, OptIn::NotAsked);
        assert!(matches!(told, Some(Event::FellBack { code: None, .. })), "{told:?}");
        assert_eq!(known.probe(now + 9 * MINUTE, &peer(1)), Probe::Bare);
        assert_eq!(known.probe(now + 10 * MINUTE, &peer(1)), Probe::Resp2);
        assert!(known.learn(now, conn(2), &peer(1), Probe::Resp2, OptIn::NotAsked).is_none());
        assert_eq!(known.probe(now, &peer(1)), Probe::Resp2);
        assert!(!known.ask_for_less(&peer(1), Probe::Resp2, TooMuch::LinkEnded), "it has worked");
    }
}

/// Beyond 256 addresses one is forgotten, which means that it is asked again. INV-14
#[test]
fn the_number_of_known_addresses_is_bounded() {
    let mut known = auto();
    for port in 1..=300 {
        known.learn(epoch(), conn(1), &peer(port), Probe::OptIn, OptIn::Accepted);
        known.learn(epoch(), conn(1), &peer(port), Probe::OptIn, OptIn::Accepted);
        assert_eq!(known.len(), usize::from(port).min(256));
        assert_eq!(known.support(&peer(port)), Support::Active);
    }
}
