use std::io;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::endpoint::Endpoint;
use crate::error::CloseCause;
use crate::handshake::ErrorCode;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

/// When everything begins: the same instant in the whole process.
fn start() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(epoch);
    *START
}

fn conn(index: u32) -> ConnId {
    ConnId::from_parts(index, 0)
}

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn target(port: u16) -> Target {
    Target::new(peer(port), None)
}

fn to(port: u16, probe: Probe) -> Dial {
    Dial::new(target(port), probe)
}

fn named(port: u16) -> MoveTarget {
    MoveTarget::Endpoint(Endpoint::parse("127.0.0.1", port).unwrap())
}

/// An attempt in the place of the connection with that number.
fn replacing(from: u32) -> Purpose {
    Purpose::Replace { from: conn(from), role: Role::Held, source: peer(1), number: 1 }
}

fn refused() -> ConnectError {
    ConnectError::Connect(io::ErrorKind::ConnectionRefused.into())
}

/// Attempts whose breakers open at the first failure, for a minute, and then allow one trial.
fn attempts() -> Attempts {
    Attempts::new(BreakerConfig { failures: 1, open_for: 60 * SECOND, half_open: 1 })
}

/// What the attempts have to say, one line each.
fn said(attempts: &mut Attempts) -> Vec<String> {
    let line = |step: Step| match step {
        Step::Resolve { conn, host } => format!("{conn} resolve {host}"),
        Step::Resolved { conn, targets, .. } => format!("{conn} resolved {}", targets.len()),
        Step::Dial { conn, dial, after: None, .. } => format!("{conn} dial {}", dial.target.address),
        Step::Dial { conn, dial, after: Some(after), .. } => {
            format!("{conn} dial {} after {after}", dial.target.address)
        }
        Step::Next { conn, target, how } => format!("{conn} next {} {how:?}", target.address),
        Step::Left { conn, to, must_close, .. } => {
            let to = to.map(|to| to.to_string());
            format!("{conn} left, to {to:?}, close {must_close}")
        }
        Step::Ended { conn, end, dialled, must_close, .. } => {
            let end = match end {
                End::Ready(ready) => format!("ready at {}", ready.peer),
                End::Failed { error, retry } => format!("failed, {retry:?}: {error}"),
                End::Cancelled => "cancelled".to_owned(),
            };
            let dialled = dialled.map(|dial| dial.target.address.to_string());
            format!("{conn} {end}, dialled {dialled:?}, close {must_close}")
        }
    };
    std::iter::from_fn(|| attempts.poll_step()).map(line).collect()
}

/// An attempt in the place of another connection, under the id c2.0, with a permit for port 2 and a limit of five seconds, whose
/// socket is connected to port 2 and whose steps are polled.
fn negotiating() -> Attempts {
    let mut attempts = attempts();
    let permit = attempts.acquire(start(), named(2)).unwrap();
    attempts.begin(start(), conn(2), replacing(1), Some(5 * SECOND));
    attempts.hold(conn(2), permit);
    attempts.dial(start(), conn(2), to(2, Probe::OptIn), VecDeque::new());
    attempts.handle_connected(start(), conn(2), peer(2));
    said(&mut attempts);
    attempts
}

// ---- one attempt ----

/// A process that was stopped hears of a lookup when the time of its handoff is over: nothing is dialled any more. One that opens a
/// connection is dialled all the same, until its limit is told. INV-07
#[test]
fn a_handoff_whose_lookup_comes_late_is_not_dialled() {
    let late = start() + SECOND;
    for (purpose, said_then) in
        [(replacing(2), vec![]), (Purpose::Open(Role::Shared), vec!["c1.0 resolved 1"])]
    {
        let mut attempts = attempts();
        attempts.begin(start(), conn(1), purpose, Some(SECOND));
        attempts.resolve(conn(1), Arc::from("name"), 7, Named::Configured);
        said(&mut attempts);
        attempts.handle_resolved(late, conn(1), Ok(vec![[10, 0, 0, 1].into()]));
        assert_eq!(said(&mut attempts), said_then);
        attempts.handle_timeout(late);
        assert!(!attempts.contains(conn(1)), "its limit is over");
    }
}

/// If it may go on, because the process was stopped for longer than a moment, the answer is obeyed, once. RULE-226
#[test]
fn a_lookup_that_comes_late_is_obeyed_while_there_is_time() {
    let latest = start() + 3 * SECOND;
    for (late, is_obeyed) in
        [(STOPPED - Duration::from_nanos(1), false), (STOPPED, true), (2 * SECOND, false)]
    {
        let mut attempts = attempts();
        attempts.begin(start(), conn(1), replacing(2), Some(SECOND));
        attempts.allow_for_a_stop(conn(1), Some(latest));
        attempts.resolve(conn(1), Arc::from("name"), 7, Named::Configured);
        said(&mut attempts);
        let now = start() + SECOND + late;
        attempts.handle_resolved(now, conn(1), Ok(vec![[10, 0, 0, 1].into()]));
        assert_eq!(said(&mut attempts).is_empty(), !is_obeyed, "{late:?}");
        attempts.handle_timeout(now);
        assert_eq!(attempts.until(conn(1)), is_obeyed.then(|| now + late));
        attempts.handle_timeout(latest - Duration::from_nanos(1));
        assert!(!attempts.contains(conn(1)), "it is put off once");
    }
}

#[test]
fn an_attempt_is_looked_up_dialled_and_negotiated() {
    let now = start() + SECOND;
    let mut attempts = attempts();
    attempts.begin(start(), conn(1), Purpose::Open(Role::Shared), Some(5 * SECOND));
    assert!(attempts.contains(conn(1)) && attempts.peer(conn(1)).is_none());
    attempts.resolve(conn(1), Arc::from("name"), 7, Named::Configured);
    assert_eq!(said(&mut attempts), ["c1.0 resolve name"]);
    attempts.handle_resolved(now, conn(1), Ok(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]));
    match attempts.poll_step() {
        Some(Step::Resolved { conn: of, purpose, of: Named::Configured, targets }) => {
            assert_eq!((of, purpose), (conn(1), Purpose::Open(Role::Shared)));
            let expected = [[10, 0, 0, 1], [10, 0, 0, 2]];
            let expected =
                expected.map(|ip| Target::new(SocketAddr::from((ip, 7)).into(), Some("name".into())));
            assert_eq!(targets, expected);
        }
        other => panic!("{other:?}"),
    }
    assert!(!attempts.is_dialled(conn(1)));
    attempts.dial(start(), conn(1), to(7, Probe::Skip), VecDeque::new());
    // The time counts from the beginning, not from the dial.
    assert_eq!(said(&mut attempts), ["c1.0 dial 127.0.0.1:7"]);
    assert_eq!(attempts.until(conn(1)), Some(start() + 5 * SECOND));
    assert!(attempts.is_dialled(conn(1)) && attempts.negotiation(conn(1)).is_none());
    assert_eq!(attempts.peer(conn(1)), Some(&peer(7)));
    attempts.handle_connected(now, conn(1), peer(8));
    assert!(attempts.is_dialled(conn(1)));
    assert_eq!(attempts.negotiation(conn(1)), Some((&target(7), Probe::Skip)));
    assert_eq!(attempts.peer(conn(1)), Some(&peer(8)), "behind a tunnel it is another one");
    assert!(!attempts.is_ending(conn(1)));
    attempts.note_end(conn(1));
    assert!(attempts.is_ending(conn(1)));
    attempts.handle_ready(now, conn(1), OptIn::Accepted, None);
    match attempts.poll_step() {
        Some(Step::Ended { end: End::Ready(ready), dialled, must_close: false, .. }) => {
            assert_eq!((ready.target, ready.peer, ready.is_ending), (target(7), peer(8), true));
            assert_eq!(ready.outcome, (Probe::Skip, OptIn::Accepted));
            let dialled = dialled.map(Dial::into_parts);
            assert_eq!(dialled, Some((target(7), Probe::Skip)));
        }
        other => panic!("{other:?}"),
    }
    assert!(!attempts.contains(conn(1)) && attempts.poll_timeout().is_none());
}

#[test]
fn a_lookup_that_fails_ends_the_attempt() {
    let mut attempts = attempts();
    attempts.begin(start(), conn(1), Purpose::Advertised, None);
    attempts.resolve(conn(1), Arc::from("name"), 7, Named::Configured);
    attempts.poll_step();
    attempts.handle_resolved(start(), conn(1), Err(io::ErrorKind::NotFound.into()));
    let error = "cannot resolve name: entity not found";
    assert_eq!(said(&mut attempts), [format!("c1.0 failed, Later: {error}, dialled None, close false")]);
}

/// Facts that do not belong to the state of an attempt do nothing, and neither do facts about unknown ones. INV-11
#[test]
fn facts_out_of_order_do_nothing() {
    let now = start();
    let mut attempts = attempts();
    attempts.begin(now, conn(1), Purpose::Open(Role::Shared), None);
    for of in [conn(1), conn(9)] {
        attempts.handle_resolved(now, of, Ok(vec![]));
        attempts.handle_connected(now, of, peer(1));
        attempts.handle_ready(now, of, OptIn::Accepted, None);
        attempts.note_end(of);
        assert_eq!(said(&mut attempts), [""; 0]);
    }
    attempts.dial(start(), conn(1), to(1, Probe::OptIn), VecDeque::new());
    said(&mut attempts);
    attempts.handle_resolved(now, conn(1), Ok(vec![]));
    attempts.handle_ready(now, conn(1), OptIn::Accepted, None);
    attempts.note_end(conn(1));
    assert!(!attempts.is_ending(conn(1)));
    attempts.fail(now, conn(9), refused(), Retry::Later);
    attempts.cancel(now, conn(9));
    attempts.resolve(conn(9), Arc::from("name"), 1, Named::Target);
    attempts.dial(start(), conn(9), to(1, Probe::OptIn), VecDeque::new());
    assert_eq!(said(&mut attempts), [""; 0]);
}

/// Landing on the address that is to be avoided is a failure, at the connect or, if it is found out later, at the end of the
/// handshake.
#[test]
fn an_attempt_may_not_land_on_the_address_that_it_avoids() {
    let now = start();
    let error = ConnectError::Retiring;
    let expected = [format!("c1.0 failed, Later: {error}, dialled Some(\"127.0.0.1:5\"), close true")];
    for is_late in [false, true] {
        let mut attempts = attempts();
        attempts.begin(now, conn(1), Purpose::Open(Role::Shared), None);
        attempts.avoid(conn(1), Some(peer(if is_late { 9 } else { 1 })));
        attempts.dial(start(), conn(1), to(5, Probe::OptIn), VecDeque::new());
        said(&mut attempts);
        attempts.handle_connected(now, conn(1), peer(1));
        if is_late {
            assert_eq!(said(&mut attempts), [""; 0]);
            attempts.avoid(conn(1), Some(peer(1)));
            attempts.handle_ready(now, conn(1), OptIn::Accepted, None);
        }
        assert_eq!(said(&mut attempts), expected, "late: {is_late}");
    }
    let mut attempts = attempts();
    attempts.begin(now, conn(1), Purpose::Open(Role::Shared), None);
    attempts.avoid(conn(1), Some(peer(1)));
    attempts.avoid(conn(1), None);
    attempts.dial(start(), conn(1), to(1, Probe::OptIn), VecDeque::new());
    attempts.handle_connected(now, conn(1), peer(1));
    attempts.handle_ready(now, conn(1), OptIn::Accepted, None);
    assert!(said(&mut attempts)[1].starts_with("c1.0 ready"), "the ban was lifted");
}

#[test]
fn addresses_are_dialled_in_turn() {
    let mut attempts = attempts();
    let targets = [target(1), target(2), target(3)];
    let orders: Vec<_> = (0..4).map(|_| Vec::from(attempts.in_turn(&targets))).collect();
    let order = |ports: [u16; 3]| Vec::from(ports.map(target));
    assert_eq!(orders, [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]].map(order));
    assert_eq!(attempts.in_turn(&[]), VecDeque::new());
}

/// Attempts in the place of connections occupy a worker; lookups are no attempts to get a connection.
#[test]
fn workers_and_attempts_are_counted() {
    let mut attempts = attempts();
    attempts.begin(start(), conn(1), Purpose::Open(Role::Held), None);
    attempts.begin(start(), conn(2), Purpose::Advertised, None);
    assert_eq!((attempts.count(), attempts.working()), (1, 0));
    attempts.begin(start(), conn(3), replacing(7), None);
    assert_eq!((attempts.count(), attempts.working()), (2, 1));
    assert_eq!((attempts.replacing(conn(7)), attempts.replacing(conn(3))), (Some(conn(3)), None));
    assert_eq!(attempts.purpose(conn(2)), Some(&Purpose::Advertised));
}

// ---- ends ----

/// Every way in which an attempt may end: what is said, whether the owner has to close something, and what the breaker learns.
/// INV-05
#[test]
fn each_end_gives_everything_back() {
    type Happen = fn(&mut Attempts, Instant);
    let lost = || ConnectError::LostInHandshake(CloseCause::ByServer);
    let refusal = || {
        let code = ErrorCode::of(b"ERR");
        ConnectError::from(OptIn::Refused(code).under(crate::mode::Mode::Enabled).unwrap_err())
    };
    let dialled = "dialled Some(\"127.0.0.1:2\")";
    let ends: [(&str, Happen, String, AttemptEnd); 9] = [
        (
            "ready",
            |it, now| it.handle_ready(now, conn(2), OptIn::Accepted, None),
            format!("ready at 127.0.0.1:2, {dialled}, close false"),
            AttemptEnd::Success,
        ),
        (
            "refused",
            |it, now| it.fail(now, conn(2), refused(), Retry::Later),
            format!(
                "failed, Later: cannot connect to 127.0.0.1:2: connection refused, {dialled}, close false"
            ),
            AttemptEnd::Failure,
        ),
        (
            "too slow",
            |it, now| it.handle_timeout(now + 5 * SECOND),
            format!("failed, Later: {}, {dialled}, close true", ConnectError::HandshakeTimedOut(5 * SECOND)),
            AttemptEnd::Failure,
        ),
        (
            "on the wrong node",
            |it, now| {
                it.avoid(conn(2), Some(peer(2)));
                it.handle_ready(now, conn(2), OptIn::Accepted, None);
            },
            format!("failed, Later: {}, {dialled}, close true", ConnectError::Retiring),
            AttemptEnd::Failure,
        ),
        (
            "opt-in refused",
            |it, now| {
                let code = ErrorCode::of(b"ERR");
                let refusal = OptIn::Refused(code).under(crate::mode::Mode::Enabled).unwrap_err();
                it.handle_ready(now, conn(2), OptIn::Refused(code), Some(refusal.into()));
            },
            format!("failed, Later: {}, {dialled}, close true", refusal()),
            AttemptEnd::Cancelled,
        ),
        (
            "lost, and less is to be asked for",
            |it, now| {
                let lost = ConnectError::LostInHandshake(CloseCause::ByServer);
                it.fail(now, conn(2), lost, Retry::AtOnce);
            },
            format!("failed, AtOnce: {}, {dialled}, close false", lost()),
            AttemptEnd::Cancelled,
        ),
        (
            "lost",
            |it, now| {
                let lost = ConnectError::LostInHandshake(CloseCause::ByServer);
                it.fail(now, conn(2), lost, Retry::Later);
            },
            format!("failed, Later: {}, {dialled}, close false", lost()),
            AttemptEnd::Failure,
        ),
        (
            "cancelled",
            |it, now| it.cancel(now, conn(2)),
            format!("cancelled, {dialled}, close true"),
            AttemptEnd::Cancelled,
        ),
        (
            "forgotten",
            |it, now| it.forget(now, conn(2)),
            format!("cancelled, {dialled}, close false"),
            AttemptEnd::Cancelled,
        ),
    ];
    for (name, happen, expected, learnt) in ends {
        let mut attempts = negotiating();
        assert_eq!((attempts.working(), attempts.poll_timeout()), (1, Some(start() + 5 * SECOND)));
        happen(&mut attempts, start());
        assert_eq!(said(&mut attempts), [format!("c2.0 {expected}")], "{name}");
        assert_eq!((attempts.working(), attempts.count(), attempts.poll_timeout()), (0, 0, None), "{name}");
        assert_eq!(attempts.replacing(conn(1)), None, "{name}");
        happen(&mut attempts, start());
        assert_eq!(said(&mut attempts), [""; 0], "{name}, a second time");
        // A breaker that is closed has learnt nothing from successes and cancellations.
        let is_open = attempts.acquire(start() + 6 * SECOND, named(2)).is_err();
        assert_eq!(is_open, learnt == AttemptEnd::Failure, "{name}");
    }
}

/// The only trial of a half-open breaker: a cancelled one gives its place back, a success closes the breaker. INV-05
#[test]
fn a_trial_gives_its_place_back() {
    let mut attempts = negotiating();
    attempts.fail(start(), conn(2), refused(), Retry::Later);
    assert!(attempts.acquire(start() + 59 * SECOND, named(2)).is_err());
    let now = start() + 60 * SECOND;
    for (index, end) in [(3, AttemptEnd::Cancelled), (4, AttemptEnd::Success)] {
        let permit = attempts.acquire(now, named(2)).unwrap();
        assert!(attempts.acquire(now, named(2)).is_err(), "the only trial is out");
        attempts.begin(now, conn(index), replacing(1), None);
        attempts.hold(conn(index), permit);
        attempts.dial(start(), conn(index), to(2, Probe::OptIn), VecDeque::new());
        attempts.handle_connected(now, conn(index), peer(2));
        match end {
            AttemptEnd::Success => attempts.handle_ready(now, conn(index), OptIn::Accepted, None),
            _ => attempts.cancel(now, conn(index)),
        }
    }
    assert!(
        attempts.acquire(now, named(2)).is_ok() && attempts.acquire(now, named(2)).is_ok(),
        "it is closed"
    );
}

/// A limit counts from the beginning of the attempt and is not reached a moment before.
#[test]
fn an_attempt_times_out_at_its_limit() {
    let mut attempts = attempts();
    attempts.begin(start(), conn(1), Purpose::Open(Role::Shared), Some(3 * SECOND));
    attempts.begin(start() + SECOND, conn(2), Purpose::Open(Role::Shared), Some(SECOND));
    attempts.begin(start(), conn(3), Purpose::Open(Role::Shared), None);
    assert_eq!(attempts.poll_timeout(), Some(start() + 2 * SECOND));
    attempts.handle_timeout(start() + 2 * SECOND - Duration::from_nanos(1));
    assert_eq!(said(&mut attempts), [""; 0]);
    attempts.handle_timeout(start() + 3 * SECOND);
    let timed_out = |limit| ConnectError::TimedOut(limit);
    let expected = [
        format!("c2.0 failed, Later: {}, dialled None, close true", timed_out(SECOND)),
        format!("c1.0 failed, Later: {}, dialled None, close true", timed_out(3 * SECOND)),
    ];
    assert_eq!(said(&mut attempts), expected);
    assert_eq!((attempts.poll_timeout(), attempts.count()), (None, 1));
}

/// An attempt whose time ends in the handshake of TLS says so, and whether the server has said anything; of two dials the one that has come
/// further. What is told of a dial that is over does nothing. RULE-238
#[test]
fn a_limit_that_ends_the_handshake_of_tls_says_so() {
    let (begun, answered) = (TlsProgress::Begun, TlsProgress::Answered);
    for (told, beside, expected) in [
        (None, None, None),
        (Some(begun), None, Some(begun)),
        (Some(answered), None, Some(answered)),
        (None, Some(begun), Some(begun)),
        (Some(begun), Some(answered), Some(answered)),
    ] {
        let mut attempts = attempts();
        attempts.begin(start(), conn(1), Purpose::Open(Role::Shared), Some(3 * SECOND));
        attempts.note_tls(conn(1), answered);
        attempts.dial(start(), conn(1), to(1, Probe::OptIn), [target(2)].into());
        attempts.handle_timeout(start() + SECOND);
        attempts.dial_next(start() + SECOND, conn(1), conn(2), to(2, Probe::OptIn), Next::Beside);
        told.into_iter().for_each(|progress| attempts.note_tls(conn(1), progress));
        beside.into_iter().for_each(|progress| attempts.note_tls(conn(2), progress));
        said(&mut attempts);
        attempts.handle_timeout(start() + 3 * SECOND);
        let after = 3 * SECOND;
        let error = match expected {
            Some(progress) => ConnectError::TlsTimedOut { progress, after },
            None => ConnectError::TimedOut(after),
        };
        let all = said(&mut attempts).join("; ");
        assert!(all.contains(&error.to_string()), "{all}");
        attempts.note_tls(conn(1), begun);
        attempts.note_tls(conn(2), begun);
    }
}

/// Once the stream is connected, and encrypted, a handshake that takes too long is that of Redis, and said to be. RULE-238
#[test]
fn a_limit_that_ends_the_handshake_of_redis_says_so() {
    let mut attempts = attempts();
    attempts.begin(start(), conn(1), Purpose::Open(Role::Shared), Some(3 * SECOND));
    attempts.dial(start(), conn(1), to(1, Probe::OptIn), VecDeque::new());
    attempts.note_tls(conn(1), TlsProgress::Answered);
    attempts.handle_connected(start(), conn(1), peer(1));
    said(&mut attempts);
    attempts.handle_timeout(start() + 3 * SECOND);
    let all = said(&mut attempts).join("; ");
    assert!(all.contains(&ConnectError::HandshakeTimedOut(3 * SECOND).to_string()), "{all}");
}

/// More time is counted from the beginning as well; nothing takes time away, and who has no limit gets none.
#[test]
fn a_limit_can_be_raised() {
    let mut attempts = attempts();
    attempts.begin(start(), conn(1), Purpose::Open(Role::Shared), Some(3 * SECOND));
    attempts.begin(start(), conn(2), Purpose::Open(Role::Shared), None);
    for least in [8, 2, 5] {
        attempts.allow(conn(1), least * SECOND);
        attempts.allow(conn(2), least * SECOND);
    }
    assert_eq!(attempts.poll_timeout(), Some(start() + 8 * SECOND));
    attempts.handle_timeout(start() + 8 * SECOND);
    let error = ConnectError::TimedOut(8 * SECOND);
    assert_eq!(said(&mut attempts), [format!("c1.0 failed, Later: {error}, dialled None, close true")]);
    assert_eq!((attempts.count(), attempts.poll_timeout()), (1, None));
}

// ---- against a list ----

#[derive(Clone, Debug)]
enum Fact {
    Begin { replaces: Option<u32>, limit: Option<u64>, has_permit: bool },
    Resolve(usize),
    Resolved(usize, bool),
    Dial(usize),
    Connected(usize),
    Ready(usize),
    Fail(usize),
    Cancel(usize),
    Forget(usize),
    Pass(u64),
}

fn fact() -> impl Strategy<Value = Fact> {
    let nth = || 0..6_usize;
    prop_oneof![
        4 => (prop::option::of(0..4_u32), prop::option::of(0..6_u64), any::<bool>())
            .prop_map(|(replaces, limit, has_permit)| Fact::Begin { replaces, limit, has_permit }),
        2 => nth().prop_map(Fact::Resolve),
        2 => (nth(), any::<bool>()).prop_map(|(nth, is_known)| Fact::Resolved(nth, is_known)),
        3 => nth().prop_map(Fact::Dial),
        3 => nth().prop_map(Fact::Connected),
        2 => nth().prop_map(Fact::Ready),
        1 => nth().prop_map(Fact::Fail),
        1 => nth().prop_map(Fact::Cancel),
        1 => nth().prop_map(Fact::Forget),
        1 => (0..4_u64).prop_map(Fact::Pass),
    ]
}

fn at(seconds: u64) -> Instant {
    start() + Duration::from_secs(seconds)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Undecided,
    Resolving,
    Dialing,
    Negotiating,
}

#[derive(Clone, Debug)]
struct Known {
    conn: ConnId,
    replaces: Option<u32>,
    until: Option<u64>,
    has_permit: bool,
    state: State,
}

/// The attempts under way, in the order in which they began, and those that have ended since they were asked for.
#[derive(Default)]
struct Model {
    live: Vec<Known>,
    ended: Vec<(ConnId, bool)>,
    now: u64,
}

impl Model {
    /// The ends of those that `is_over` picks.
    fn end(&mut self, must_close: bool, is_over: impl Fn(&Known) -> bool) {
        let mut over: Vec<Known> = self.live.extract_if(.., |known| is_over(known)).collect();
        over.sort_by_key(|known| (known.until, known.conn));
        self.ended.extend(over.iter().map(|known| (known.conn, must_close)));
    }

    fn tell(&mut self, attempts: &mut Attempts, fact: Fact, fresh: ConnId) {
        let now = at(self.now);
        let nth = |nth: usize| self.live.get(nth).map_or_else(|| conn(999), |known| known.conn);
        match fact {
            Fact::Begin { replaces, limit, has_permit } => {
                if replaces.is_some_and(|from| self.live.iter().any(|known| known.replaces == Some(from))) {
                    return;
                }
                let permit = attempts.acquire(now, named(2)).ok().filter(|_| has_permit);
                let purpose = replaces.map_or(Purpose::Open(Role::Shared), replacing);
                attempts.begin(now, fresh, purpose, limit.map(Duration::from_secs));
                let has_permit = permit.is_some();
                permit.into_iter().for_each(|permit| attempts.hold(fresh, permit));
                let until = limit.map(|limit| self.now + limit);
                let state = State::Undecided;
                self.live.push(Known { conn: fresh, replaces, until, has_permit, state });
            }
            Fact::Resolve(at) => {
                attempts.resolve(nth(at), Arc::from("name"), 1, Named::Target);
                self.enter(at, None, State::Resolving);
            }
            Fact::Resolved(at, is_known) => {
                let answer = if is_known { Ok(vec![]) } else { Err(io::ErrorKind::NotFound.into()) };
                let of = nth(at);
                attempts.handle_resolved(now, of, answer);
                let is_late =
                    |it: &Known| it.replaces.is_some() && it.until.is_some_and(|until| until <= self.now);
                match is_known {
                    _ if self.live.get(at).is_some_and(is_late) => {}
                    true => self.enter(at, Some(State::Resolving), State::Undecided),
                    false => self.end(false, |it| it.conn == of && it.state == State::Resolving),
                }
            }
            Fact::Dial(at) => {
                attempts.dial(start(), nth(at), to(2, Probe::OptIn), VecDeque::new());
                self.enter(at, None, State::Dialing);
            }
            Fact::Connected(at) => {
                attempts.handle_connected(now, nth(at), peer(2));
                self.enter(at, Some(State::Dialing), State::Negotiating);
            }
            Fact::Ready(at) => {
                let of = nth(at);
                attempts.handle_ready(now, of, OptIn::Accepted, None);
                self.end(false, |it| it.conn == of && it.state == State::Negotiating);
            }
            Fact::Fail(at) => {
                let of = nth(at);
                attempts.fail(now, of, ConnectError::Retiring, Retry::Later);
                self.end(false, |it| it.conn == of);
            }
            Fact::Cancel(at) => {
                let of = nth(at);
                attempts.cancel(now, of);
                self.end(true, |it| it.conn == of);
            }
            Fact::Forget(at) => {
                let of = nth(at);
                attempts.forget(now, of);
                self.end(false, |it| it.conn == of);
            }
            Fact::Pass(seconds) => {
                self.now += seconds;
                attempts.handle_timeout(at(self.now));
                let now = self.now;
                self.end(true, |it| it.until.is_some_and(|until| until <= now));
            }
        }
    }

    fn enter(&mut self, at: usize, only_from: Option<State>, state: State) {
        if let Some(known) = self.live.get_mut(at)
            && only_from.is_none_or(|from| known.state == from)
        {
            known.state = state;
        }
    }
}

proptest! {
    /// Whatever happens to attempts, each that was begun ends once, with its worker, its limit and its permit given back. INV-05,
    /// INV-11, INV-12
    #[test]
    fn they_agree_with_a_list(facts in prop::collection::vec(fact(), 0..60)) {
        let mut attempts = Attempts::new(BreakerConfig { failures: 0, open_for: SECOND, half_open: 2 });
        let mut model = Model::default();
        for (index, fact) in facts.into_iter().enumerate() {
            model.tell(&mut attempts, fact, conn(index as u32));
            let ended: Vec<(ConnId, bool)> = std::iter::from_fn(|| attempts.poll_step())
                .filter_map(|step| match step {
                    Step::Ended { conn, must_close, .. } => Some((conn, must_close)),
                    _ => None,
                })
                .collect();
            prop_assert_eq!(ended, std::mem::take(&mut model.ended));
            let working = model.live.iter().filter(|known| known.replaces.is_some()).count();
            prop_assert_eq!((attempts.count(), attempts.working()), (model.live.len(), working));
            let next = model.live.iter().filter_map(|known| known.until).min();
            prop_assert_eq!(attempts.poll_timeout(), next.map(at));
            for Known { conn: of, replaces, has_permit, state, .. } in &model.live {
                let is_dialled = matches!(state, State::Dialing | State::Negotiating);
                prop_assert_eq!(attempts.is_dialled(*of), is_dialled);
                prop_assert_eq!(attempts.negotiation(*of).is_some(), *state == State::Negotiating);
                prop_assert_eq!(attempts.peer(*of).cloned(), is_dialled.then(|| peer(2)));
                prop_assert_eq!(attempts.live.get(*of).unwrap().permit.is_some(), *has_permit);
                if let Some(from) = replaces {
                    prop_assert_eq!(attempts.replacing(conn(*from)), Some(*of));
                }
            }
        }
    }
}
