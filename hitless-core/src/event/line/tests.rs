use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::endpoint::{Endpoint, Peer};
use crate::error::{ConnectError, CredentialsError, ErrorCode, HandshakeError, Refusal};
use crate::ids::ConnId;
use crate::notification::{NotificationError, NotificationKind, Problem, Seq};
use crate::review::{Ignored, Unreviewed};
use crate::timer::epoch;

const SECRET: &str = "hunter2";

/// One of every variant, made from what a server that repeats a password would send.
fn samples(now: Instant) -> Vec<Event> {
    let conn = ConnId::from_parts(3, 0);
    let peer = || Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379)));
    let endpoint = || Endpoint::parse("redis.example.com", 6379).unwrap();
    let (kind, seq, took) = (NotificationKind::Moving, Seq(7), Duration::from_millis(1_250));
    let (until, cause) = (now + Duration::from_secs(15), MoveCause::Announced);
    let raw = format!("{SECRET} ERR unknown command 'HELLO', with args beginning with: '3' '{SECRET}'");
    let code = ErrorCode::of(raw.as_bytes());
    let refused = || ConnectError::Handshake(HandshakeError::MaintenanceRefused { code });
    let malformed = NotificationError { kind, problem: Problem::Seq };
    vec![
        Event::ConnectionReady { conn, peer: peer(), notified: true },
        Event::ConnectionReady { conn, peer: peer(), notified: false },
        Event::ConnectionClosed { conn, peer: peer(), cause: CloseCause::ByServer },
        Event::ConnectFailed { conn, error: refused() },
        Event::OptInRefused { peer: peer(), code: Some(code), recheck_at: until },
        Event::FellBack { peer: peer(), code: Some(code), recheck_at: until },
        Event::NotificationReceived { conn, kind, seq },
        Event::NotificationMalformed { conn, error: malformed },
        Event::NotificationIgnored { conn, kind, seq, reason: Ignored::Duplicate },
        Event::NotificationVetoed { conn, kind, seq },
        Event::NotificationReplaced { conn, kind, seq },
        Event::NotificationUnreviewed { conn, kind, seq, reason: Unreviewed::TimedOut },
        Event::TargetVetoed { source: peer(), target: endpoint(), seq },
        Event::TargetRewritten { source: peer(), announced: endpoint(), target: endpoint(), seq },
        Event::TargetRefused { source: peer(), target: endpoint(), seq },
        Event::WindowOpened { scope: WindowScope::Database, cause: kind, until },
        Event::WindowClosed { scope: WindowScope::Peer(peer()), expired: false },
        Event::WindowClosed { scope: WindowScope::Connection(conn), expired: true },
        Event::Demoted { peer: peer(), refusal: Refusal::ReadOnly },
        Event::MoveStarted { source: peer(), target: Some(endpoint()), seq, cause, deadline: until },
        Event::MoveSuperseded { source: peer(), seq, cause },
        Event::MoveFinished { source: peer(), seq, cause, moved: 9, stayed: 1, took },
        Event::HandoffDialing { from: conn, to: conn, address: peer(), attempt: 1 },
        Event::HandoffFailed { from: conn, error: refused(), attempt: 1, retry_at: Some(until) },
        Event::HandoffFailed { from: conn, error: refused(), attempt: 4, retry_at: None },
        Event::CutOver { from: conn, to: conn, moved: 2 },
        Event::Drained { conn, took },
        Event::DrainDeadline { conn },
        Event::RequestTimedOut { conn: Some(conn) },
        Event::RequestTimedOut { conn: None },
        Event::OptedIn { conn, peer: peer() },
        Event::AddressWithdrawn { peer: peer() },
        Event::ConnectionSilent { conn, peer: peer() },
        Event::Reauthenticated { conn, peer: peer() },
        Event::ReauthenticationRefused { conn, peer: peer(), code },
        Event::CredentialsFailed { error: CredentialsError::failed("no token\nyet"), retry_at: until },
        Event::SubscriptionGaps { topics: 3, cause: CloseCause::ByServer },
        Event::SubscriptionsAmbiguous { topics: 1 },
        Event::Orphaned { command: "BLPOP" },
        Event::Terminated,
    ]
}

/// A new variant needs a sample above, and a number here.
fn number(event: &Event) -> usize {
    match event {
        Event::ConnectionReady { .. } => 0,
        Event::ConnectionClosed { .. } => 1,
        Event::ConnectFailed { .. } => 2,
        Event::OptInRefused { .. } => 3,
        Event::NotificationReceived { .. } => 4,
        Event::NotificationMalformed { .. } => 5,
        Event::NotificationIgnored { .. } => 6,
        Event::NotificationVetoed { .. } => 7,
        Event::NotificationReplaced { .. } => 8,
        Event::NotificationUnreviewed { .. } => 9,
        Event::TargetVetoed { .. } => 10,
        Event::TargetRewritten { .. } => 11,
        Event::WindowOpened { .. } => 12,
        Event::WindowClosed { .. } => 13,
        Event::MoveStarted { .. } => 14,
        Event::MoveSuperseded { .. } => 15,
        Event::MoveFinished { .. } => 16,
        Event::HandoffDialing { .. } => 17,
        Event::HandoffFailed { .. } => 18,
        Event::CutOver { .. } => 19,
        Event::Drained { .. } => 20,
        Event::DrainDeadline { .. } => 21,
        Event::RequestTimedOut { .. } => 22,
        Event::Terminated => 23,
        Event::OptedIn { .. } => 24,
        Event::AddressWithdrawn { .. } => 25,
        Event::FellBack { .. } => 26,
        Event::ConnectionSilent { .. } => 27,
        Event::Demoted { .. } => 28,
        Event::Reauthenticated { .. } => 29,
        Event::ReauthenticationRefused { .. } => 30,
        Event::CredentialsFailed { .. } => 31,
        Event::TargetRefused { .. } => 32,
        Event::SubscriptionGaps { .. } => 33,
        Event::SubscriptionsAmbiguous { .. } => 34,
        Event::Orphaned { .. } => 35,
    }
}

/// RULE-06
#[test]
fn every_event_is_one_line_without_secrets() {
    let now = epoch();
    let samples = samples(now);
    let numbers: BTreeSet<usize> = samples.iter().map(number).collect();
    assert!(numbers.iter().copied().eq(0..36), "a variant has no sample: {numbers:?}");
    for event in samples {
        for text in [event.to_string(), event.line(now).to_string(), format!("{event:?}")] {
            assert!(!text.is_empty() && !text.contains('\n'), "{}: {text:?}", event.name());
            assert!(!text.contains(SECRET), "{}: {text:?}", event.name());
        }
    }
}

#[test]
fn names_are_a_subject_and_what_happened_to_it() {
    let mut kinds: BTreeSet<(&str, usize)> = BTreeSet::new();
    for event in samples(epoch()) {
        let name = event.name();
        let (subject, what) = name.split_once('.').unwrap();
        let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(is_word(subject) && is_word(what), "{name}");
        kinds.insert((name, number(&event)));
    }
    let names: BTreeSet<&str> = kinds.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), kinds.len(), "two kinds of events share a name");
}

#[test]
fn a_line_tells_instants_as_times_from_now() {
    let now = epoch();
    for event in samples(now) {
        let has_instant = format!("{event:?}").contains("Instant");
        assert_eq!(event.line(now).to_string().contains("in 15.0s"), has_instant, "{event:?}");
        assert!(!event.to_string().contains("15.0s"), "{event}");
    }
}

/// A move that nobody has announced has no number, and nobody closes anything at its end. RULE-177
#[test]
fn lines_of_quiet_moves_say_what_they_are() {
    let (now, seq, took) = (epoch(), Seq(0), Duration::from_millis(1_250));
    let source = || Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379)));
    for (cause, name, end) in [
        (MoveCause::Announced, "move 0 from 127.0.0.1:6379", "closed by the server in 20.0s"),
        (
            MoveCause::Withdrawn,
            "quiet move from 127.0.0.1:6379 (left the name's answers)",
            "given up in 20.0s",
        ),
        (MoveCause::Demoted, "quiet move from 127.0.0.1:6379 (refuses commands)", "given up in 20.0s"),
    ] {
        let deadline = now + Duration::from_secs(20);
        let started = Event::MoveStarted { source: source(), target: None, seq, cause, deadline };
        assert_eq!(started.line(now).to_string(), format!("{name} begins, {end}"));
        let superseded = Event::MoveSuperseded { source: source(), seq, cause };
        assert_eq!(superseded.to_string(), format!("{name} gave way to a newer one"));
        let finished = Event::MoveFinished { source: source(), seq, cause, moved: 2, stayed: 1, took };
        assert_eq!(finished.to_string(), format!("{name} is done in 1.250s: 2 moved, 1 stayed"));
    }
}

/// RULE-98, RULE-118
#[test]
fn levels_have_numbers_and_limit_each_other() {
    assert_eq!(Level::default(), Level::Warn);
    for (number, level) in (0u8..).zip(Level::ALL) {
        assert_eq!((level as u8, Level::from_number(number)), (number, Some(level)));
    }
    assert_eq!(Level::from_number(4), None);
    assert!(Level::Error < Level::Debug);
}

/// A server without the feature is no reason to fill a log. PITFALL-22, RULE-12
#[test]
fn a_refused_opt_in_is_a_debug_line() {
    let refused = samples(epoch()).into_iter().find(|event| event.name() == "negotiation.refused");
    assert_eq!(refused.map(|event| event.level()), Some(Level::Debug));
}
