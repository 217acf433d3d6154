mod renewals;

use std::net::SocketAddr;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::error::ConnectError;
use crate::timer::epoch;

const GRACE: Duration = Duration::from_secs(20);

fn conn(index: u32) -> ConnId {
    ConnId::from_parts(index, 0)
}

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn target(port: u16) -> Target {
    Target::from(peer(port))
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint::parse("127.0.0.1", port).unwrap()
}

/// The instant that many milliseconds after everything has begun.
fn at(millis: u64) -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(epoch);
    *START + Duration::from_millis(millis)
}

fn key(seq: u64, from: u16, to: u16) -> MoveKey {
    MoveKey { source: peer(from), seq: Seq(seq), target: MoveTarget::Endpoint(endpoint(to)) }
}

fn moves() -> Moves {
    let config = Config::builder(Endpoint::parse("127.0.0.1", 1).unwrap()).pool_size(8);
    Moves::new(Arc::new(config.build().unwrap()), 7)
}

fn announced(millis: u64) -> Departure {
    Departure::Announced { at: at(millis), deadline: at(millis) + GRACE }
}

fn begin(moves: &mut Moves, millis: u64, key: MoveKey, residents: &[u32]) {
    let residents: Vec<ConnId> = residents.iter().copied().map(conn).collect();
    let destination = Destination::Endpoint(key.target.endpoint().unwrap().clone());
    moves.begin(at(millis), key, announced(millis), &destination, &residents, |_| true);
}

/// A move from port 1 to port 2 of connections with these numbers, of which is not told yet.
fn moving(residents: &[u32]) -> Moves {
    let mut moves = moves();
    begin(&mut moves, 0, key(1, 1, 2), residents);
    told(&mut moves);
    moves
}

/// Those who serve when a move begins take part as those do who come later, one by one.
#[test]
fn all_take_part_at_once_as_one_by_one() {
    let moves = moves();
    let a_move = |deadline, target: Option<u16>| {
        let departure = Departure::Quiet { deadline: at(deadline) };
        let target = target.map(|port| MoveTarget::Endpoint(endpoint(port)));
        Move::new(at(0), key(1, 1, 2), departure, target, moves.config.maintenance())
    };
    let sooner = a_move(5_000, None).term;
    for target in [Some(2), None] {
        for earlier in [BTreeMap::new(), BTreeMap::from([(conn(2), sooner)])] {
            let [mut at_once, mut one_by_one] = [a_move(20_000, target), a_move(20_000, target)];
            at_once.enrol_all(&[1, 2, 3].map(conn), &earlier);
            for number in [1, 2, 3].map(conn) {
                one_by_one.enrol(number, earlier.get(&number).copied());
            }
            assert_eq!(format!("{at_once:?}"), format!("{one_by_one:?}"));
            assert_eq!(at_once.handoffs.len(), if target.is_some() { 3 } else { 0 });
        }
    }
}

/// What was decided, one word or two each.
fn told(moves: &mut Moves) -> Vec<String> {
    let line = |decision| match decision {
        Decision::Cancel { from } => format!("cancel for {from}"),
        Decision::Dismiss { to } => format!("dismiss {to}"),
        Decision::Overdue { from, to } => format!("overdue {from} {to}"),
        Decision::Emit(Event::MoveStarted { seq, .. }) => format!("started {}", seq.0),
        Decision::Emit(Event::MoveSuperseded { seq, .. }) => format!("superseded {}", seq.0),
        Decision::Emit(Event::MoveFinished { moved, stayed, .. }) => format!("{moved} moved, {stayed} stay"),
        Decision::Emit(Event::HandoffFailed { from, attempt, retry_at, .. }) => {
            format!("failed {from} {attempt} {}", if retry_at.is_some() { "again" } else { "for good" })
        }
        Decision::Emit(Event::TargetVetoed { .. }) => "vetoed".to_owned(),
        Decision::Emit(Event::TargetRewritten { .. }) => "rewritten".to_owned(),
        Decision::Emit(other) => panic!("{other:?}"),
    };
    std::iter::from_fn(|| moves.poll_decision()).map(line).collect()
}

/// The next attempt while the predecessors of `behind` drain.
fn next_behind(moves: &mut Moves, millis: u64, behind: &[u32]) -> Option<Wanted> {
    let is_behind = |of: ConnId| behind.iter().any(|index| conn(*index) == of);
    moves.send_scouts(at(millis), is_behind);
    moves.poll_attempt(at(millis), is_behind)
}

/// The connection that the next attempt is made for.
fn next(moves: &mut Moves, millis: u64) -> Option<ConnId> {
    next_behind(moves, millis, &[]).map(|wanted| wanted.from)
}

fn arrive(moves: &mut Moves, millis: u64, from: u32, to: u16, awaits_switch: Option<u32>) {
    let to = (target(to), awaits_switch.map(conn));
    moves.handle_arrived(at(millis), &peer(1), conn(from), to.0, to.1, |_| true);
}

fn fail(moves: &mut Moves, millis: u64, from: u32) {
    moves.handle_failed(at(millis), &peer(1), conn(from), ConnectError::Retiring);
}

fn stages(moves: &Moves, of: &[u32]) -> Vec<&'static str> {
    of.iter().map(|index| moves.stage(&peer(1), conn(*index)).unwrap_or("none")).collect()
}

fn millis(instant: Instant) -> u128 {
    instant.duration_since(at(0)).as_millis()
}

// ---- beginning, scout and followers ----

/// The scout goes alone, to the target that was named, and its breaker has a say. The others follow to where it has arrived,
/// whatever the breaker says.
#[test]
fn the_others_follow_where_the_scout_has_arrived() {
    let mut moves = moves();
    begin(&mut moves, 0, key(1, 1, 2), &[1, 2, 3]);
    assert_eq!(told(&mut moves), ["started 1"]);
    let scout = next_behind(&mut moves, 0, &[]).unwrap();
    assert_eq!((scout.from, scout.source, scout.number), (conn(1), peer(1), 1));
    assert_eq!(scout.route, Route::Named(endpoint(2)));
    assert_eq!(scout.breaker, Some(MoveTarget::Endpoint(endpoint(2))));
    assert_eq!(scout.limit, Duration::from_millis(4500), "a quarter of the budget of 18 s");
    assert!(next(&mut moves, 0).is_none());
    assert_eq!(stages(&moves, &[1, 2, 3]), ["Dialing", "BehindScout", "BehindScout"]);
    arrive(&mut moves, 0, 1, 4, None);
    assert_eq!((stages(&moves, &[1, 2, 3]), moves.queued()), (vec!["none", "Queued", "Queued"], 2));
    for index in [2, 3] {
        let wanted = next_behind(&mut moves, 0, &[]).unwrap();
        assert_eq!((wanted.from, wanted.number, wanted.breaker), (conn(index), 1, None));
        assert_eq!(wanted.route, Route::OneOf(vec![target(4)]));
        assert_eq!(told(&mut moves), [""; 0]);
        arrive(&mut moves, 0, index, 9, None);
    }
    assert_eq!(told(&mut moves), ["3 moved, 0 stay"]);
}

/// Without a named target an announced move waits for half of its time; one that nobody has announced begins at once.
#[test]
fn a_move_without_a_target_waits_if_the_server_has_announced_it() {
    let same_name = |seq| MoveKey { target: MoveTarget::SameName, ..key(seq, 1, 2) };
    let mut moves = moves();
    moves.begin(at(0), same_name(1), announced(0), &Destination::SameName, &[conn(1)], |_| true);
    assert_eq!(next(&mut moves, 0), None);
    assert_eq!(moves.poll_timeout(), Some(at(10_000)));
    moves.handle_timeout(at(10_000));
    let wanted = next_behind(&mut moves, 10_000, &[]).unwrap();
    assert_eq!((wanted.route, wanted.breaker), (Route::Configured, None));

    let mut moves = self::moves();
    let departure = Departure::Quiet { deadline: at(20_000) };
    moves.begin(at(0), same_name(1), departure, &Destination::SameName, &[conn(1)], |_| true);
    assert_eq!(next(&mut moves, 0), Some(conn(1)));
    assert_eq!(moves.announced(&peer(1)), None);
    assert!(moves.retires(&peer(1)) && !moves.is_remembered(at(0), &same_name(1)));
}

/// Of connections that wait for the scout one goes that can go at once.
#[test]
fn the_scout_is_one_that_nothing_drains_behind() {
    let mut moves = moving(&[1, 2, 3]);
    assert_eq!(next_behind(&mut moves, 0, &[1, 3]).unwrap().from, conn(2));
    let mut moves = moving(&[1, 2]);
    assert!(next_behind(&mut moves, 0, &[1, 2]).is_none());
    assert_eq!(stages(&moves, &[1, 2]), ["BehindDrain", "BehindScout"]);
}

/// The scout's connection is lost, or its owner wants no other: another connection scouts.
#[test]
fn another_one_scouts_when_the_scout_leaves() {
    for is_refused in [false, true] {
        let mut moves = moving(&[1, 2]);
        assert_eq!(next(&mut moves, 0), Some(conn(1)));
        match is_refused {
            true => moves.handle_refused(at(0), &peer(1), conn(1)),
            false => moves.handle_gone(at(0), &peer(1), conn(1)),
        }
        let failed = is_refused.then(|| format!("failed {} 1 for good", conn(1)));
        assert_eq!(told(&mut moves), Vec::from_iter(failed));
        assert_eq!(next(&mut moves, 0), Some(conn(2)));
        arrive(&mut moves, 0, 2, 2, None);
        let stayed = u32::from(is_refused);
        assert_eq!(told(&mut moves), [format!("1 moved, {stayed} stay")]);
    }
}

/// The loss of one that follows leaves the scout alone, and that of one that waits for a worker frees its place.
#[test]
fn a_follower_that_is_gone_leaves_the_queue() {
    let mut moves = moving(&[1, 2, 3]);
    next(&mut moves, 0);
    moves.handle_gone(at(0), &peer(1), conn(3));
    assert_eq!(next(&mut moves, 0), None);
    arrive(&mut moves, 0, 1, 2, None);
    assert_eq!(moves.queued(), 1);
    moves.handle_gone(at(0), &peer(1), conn(2));
    assert_eq!((moves.queued(), told(&mut moves)), (0, vec!["1 moved, 0 stay".to_owned()]));
    moves.handle_gone(at(0), &peer(1), conn(2));
    moves.handle_gone(at(0), &peer(7), conn(2));
    assert_eq!(told(&mut moves), [""; 0]);
}

// ---- retries ----

/// An attempt is repeated after pauses that grow, three times; then all that wait behind the scout stay. The last attempt asks no
/// breaker. INV-07
#[test]
fn a_scout_that_fails_is_sent_again_until_the_retries_are_spent() {
    let mut moves = moving(&[1, 2]);
    let mut now = 0;
    // An eighth, a quarter and a half of the budget of 18 s, give or take a quarter.
    let pauses = [1687..=2813, 3375..=5625, 6750..=11_250];
    for (retry, pause) in (1..).zip(pauses) {
        let wanted = next_behind(&mut moves, now, &[]).unwrap();
        assert_eq!((wanted.from, wanted.number, wanted.breaker.is_some()), (conn(1), retry, true));
        fail(&mut moves, now, 1);
        assert_eq!(told(&mut moves), [format!("failed c1.0 {retry} again")]);
        assert_eq!(stages(&moves, &[1, 2]), ["Waiting", "BehindScout"]);
        assert_eq!(next(&mut moves, now), None);
        let due = moves.poll_timeout().unwrap();
        assert!(pause.contains(&(millis(due) - u128::from(now))), "{retry}: {:?}", due - at(now));
        moves.handle_timeout(due - Duration::from_nanos(1));
        assert_eq!(stages(&moves, &[1]), ["Waiting"]);
        moves.handle_timeout(due);
        assert_eq!(stages(&moves, &[1]), ["Queued"]);
        now = u64::try_from(millis(due)).unwrap() + 1;
    }
    let last = next_behind(&mut moves, now, &[]).unwrap();
    assert_eq!((last.number, last.breaker), (4, None));
    fail(&mut moves, now, 1);
    assert_eq!(told(&mut moves), ["failed c1.0 4 for good", "0 moved, 2 stay"]);
    assert_eq!(stages(&moves, &[1, 2]), ["StayPut", "StayPut"]);
    assert_eq!(next(&mut moves, now), None);
}

/// A follower whose retries are spent stays alone: the target is alive.
#[test]
fn a_follower_that_is_given_up_stays_alone() {
    let mut moves = moving(&[1, 2, 3]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, None);
    assert_eq!(next(&mut moves, 20_000), None, "the deadline has come");
    assert_eq!(stages(&moves, &[1, 2, 3]), ["none", "StayPut", "StayPut"]);

    let mut moves = moving(&[1, 2, 3]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, None);
    assert_eq!((next(&mut moves, 0), next(&mut moves, 0)), (Some(conn(2)), Some(conn(3))));
    fail(&mut moves, 20_000, 2);
    assert_eq!(stages(&moves, &[2, 3]), ["StayPut", "Dialing"]);
    arrive(&mut moves, 20_000, 3, 2, None);
    assert_eq!(told(&mut moves), ["failed c2.0 1 for good", "2 moved, 1 stay"]);
}

/// An attempt whose successor is a different one does not count, and the next one need not wait.
#[test]
fn a_failure_that_does_not_count_is_repeated_at_once() {
    let mut moves = moving(&[1]);
    for _ in 0..10 {
        assert_eq!(next_behind(&mut moves, 0, &[]).map(|wanted| wanted.number), Some(1));
        moves.handle_failed_at_once(at(0), &peer(1), conn(1), ConnectError::Retiring);
        assert_eq!(told(&mut moves), ["failed c1.0 1 again"]);
    }
    moves.handle_failed_at_once(at(0), &peer(1), conn(5), ConnectError::Retiring);
    assert_eq!(told(&mut moves), [""; 0]);
}

// ---- the switch ----

/// A handoff whose owner has a say is done when that has switched, and no sooner.
#[test]
fn a_held_handoff_is_done_with_the_switch() {
    let mut moves = moving(&[1, 2]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, Some(11));
    assert_eq!(stages(&moves, &[1, 2]), ["AwaitsSwitch", "Queued"], "the scout has arrived");
    assert_eq!(moves.awaited_switch(&peer(1), conn(1)), Some(conn(11)));
    assert_eq!(moves.awaited_switch(&peer(1), conn(2)), None);
    assert_eq!(moves.handle_switched(at(0), &peer(1), conn(2)), None);
    assert_eq!(moves.handle_switched(at(0), &peer(7), conn(1)), None);
    assert_eq!(moves.handle_switched(at(0), &peer(1), conn(1)), Some(conn(11)));
    assert_eq!(moves.handle_switched(at(0), &peer(1), conn(1)), None);
    next(&mut moves, 0);
    assert_eq!(told(&mut moves), [""; 0]);
    arrive(&mut moves, 0, 2, 2, None);
    assert_eq!(told(&mut moves), ["2 moved, 0 stay"]);
}

/// A successor that is lost counts as a failed attempt; only one that is awaited can be lost.
#[test]
fn a_lost_successor_is_a_failed_attempt() {
    let mut moves = moving(&[1]);
    let lose = |moves: &mut Moves| {
        moves.handle_successor_lost(at(0), &peer(1), conn(1), ConnectError::Retiring);
    };
    next(&mut moves, 0);
    lose(&mut moves);
    assert_eq!((told(&mut moves), stages(&moves, &[1])), (vec![], vec!["Dialing"]));
    arrive(&mut moves, 0, 1, 2, Some(11));
    lose(&mut moves);
    assert_eq!(told(&mut moves), ["failed c1.0 1 again"]);
    assert_eq!(stages(&moves, &[1]), ["Waiting"]);
    let due = moves.poll_timeout().unwrap();
    moves.handle_timeout(due);
    let wanted = moves.poll_attempt(due, |_| false).unwrap();
    // Not only to where it had arrived: that may be the address that does not work.
    assert_eq!((wanted.number, wanted.route), (2, Route::Named(endpoint(2))));
}

/// At the deadline all that have not switched are overdue; those that are merely late are not.
#[test]
fn unswitched_handoffs_are_overdue_at_the_deadline() {
    let mut moves = moving(&[1, 2, 3]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, Some(11));
    next(&mut moves, 0);
    arrive(&mut moves, 0, 2, 2, Some(12));
    next(&mut moves, 0);
    assert_eq!(moves.poll_timeout(), Some(at(20_000)));
    moves.handle_timeout(at(19_999));
    assert_eq!(told(&mut moves), [""; 0]);
    moves.handle_timeout(at(20_000));
    assert_eq!(told(&mut moves), ["overdue c1.0 c11.0", "overdue c2.0 c12.0"]);
    assert_eq!(stages(&moves, &[1, 2, 3]), ["none", "none", "Dialing"]);
    arrive(&mut moves, 20_000, 3, 2, None);
    assert_eq!(told(&mut moves), ["3 moved, 0 stay"]);
}

// ---- newer moves and the end ----

/// A newer move undoes what the older one has begun, and begins with all connections anew. INV-10
#[test]
fn a_newer_move_undoes_an_older_one() {
    let mut moves = moving(&[1, 2, 3, 4]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, Some(11));
    next(&mut moves, 0);
    next(&mut moves, 0);
    fail(&mut moves, 0, 3);
    assert_eq!(stages(&moves, &[1, 2, 3, 4]), ["AwaitsSwitch", "Dialing", "Waiting", "Queued"]);
    told(&mut moves);
    begin(&mut moves, 1000, key(2, 1, 3), &[1, 2, 3, 4]);
    assert_eq!(told(&mut moves), ["superseded 1", "dismiss c11.0", "cancel for c2.0", "started 2"]);
    assert_eq!((stages(&moves, &[1, 2, 3, 4]), moves.queued()), (vec!["BehindScout"; 4], 0));
    assert_eq!(next_behind(&mut moves, 1000, &[]).unwrap().route, Route::Named(endpoint(3)));
    assert_eq!(
        moves.poll_timeout(),
        Some(at(41_000)),
        "only the end of the newer one is left to be waited for"
    );
    assert_eq!((moves.seq(&peer(1)), moves.deadline(&peer(1), conn(1))), (Some(Seq(2)), Some(at(21_000))));
}

/// A move is forgotten twenty seconds after its deadline, which is twice the relaxed timeout, and nothing is left of it.
#[test]
fn a_move_ends() {
    let mut moves = moving(&[1, 2]);
    next(&mut moves, 0);
    moves.handle_timeout(at(39_999));
    assert_eq!((moves.len(), told(&mut moves)), (1, vec![]));
    moves.handle_timeout(at(40_000));
    assert_eq!((moves.len(), told(&mut moves)), (0, vec!["cancel for c1.0".to_owned()]));
    assert!(moves.is_empty());
    arrive(&mut moves, 40_000, 1, 2, None);
    fail(&mut moves, 40_000, 1);
    assert_eq!(told(&mut moves), [""; 0]);
}

/// Moves are remembered for thirty seconds after their deadline, and so is which of two is the newer one.
#[test]
fn announced_moves_are_remembered() {
    let moves = moving(&[]);
    assert!(moves.is_remembered(at(49_999), &key(1, 1, 2)));
    assert!(!moves.is_remembered(at(50_000), &key(1, 1, 2)));
    for other in [key(2, 1, 2), key(1, 3, 2), key(1, 1, 3)] {
        assert!(!moves.is_remembered(at(0), &other));
    }
    assert!(moves.remembers_newer(at(0), &key(0, 1, 9)));
    assert!(!moves.remembers_newer(at(0), &key(1, 1, 9)) && !moves.remembers_newer(at(0), &key(0, 3, 2)));
    assert!(!moves.remembers_newer(at(50_000), &key(0, 1, 9)));
}

/// The address that a newer move leads to is in service again: at once if it is named, or else when the scout has arrived there.
#[test]
fn an_address_is_reinstated() {
    let mut moves = moving(&[]);
    begin(&mut moves, 0, key(0, 2, 1), &[5]);
    assert_eq!(told(&mut moves), ["started 0"], "an older one changes nothing");
    begin(&mut moves, 0, key(2, 3, 1), &[5]);
    assert_eq!(told(&mut moves), ["superseded 1", "started 2"]);
    assert!(!moves.retires(&peer(1)) && moves.retires(&peer(3)));

    let mut moves = moving(&[]);
    moves.begin(
        at(0),
        MoveKey { target: MoveTarget::SameName, ..key(2, 3, 1) },
        announced(0),
        &Destination::SameName,
        &[conn(5)],
        |_| true,
    );
    assert_eq!(told(&mut moves), ["started 2"]);
    moves.handle_arrived(at(0), &peer(3), conn(5), target(1), None, |_| true);
    assert_eq!(told(&mut moves), ["superseded 1", "1 moved, 0 stay"]);
}

/// Moves with one id that lead round in a circle: the one whose address the last one leads to gives way.
#[test]
fn a_circle_of_moves_is_broken() {
    let mut moves = moving(&[]);
    begin(&mut moves, 0, key(1, 2, 3), &[]);
    assert_eq!(told(&mut moves), ["started 1"]);
    begin(&mut moves, 0, key(1, 3, 1), &[]);
    assert_eq!(told(&mut moves), ["superseded 1", "started 1"]);
    assert_eq!([1, 2, 3].map(|port| moves.retires(&peer(port))), [false, true, true]);
}

/// A MOVING that is repeated to a connection that has arrived is recognised by its words and by where the scout has landed.
#[test]
fn a_copy_on_arrival_is_recognised() {
    let mut moves = moving(&[1]);
    let copy = |seq, at| MoveKey { source: peer(at), ..key(seq, 1, 2) };
    assert!(!moves.has_led_to_source_of(&copy(1, 2)), "nobody is there");
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, None);
    assert!(moves.has_led_to_source_of(&copy(1, 2)));
    assert!(!moves.has_led_to_source_of(&copy(2, 2)) && !moves.has_led_to_source_of(&copy(1, 3)));
    assert!(!moves.has_led_to_source_of(&MoveKey { target: MoveTarget::SameName, ..copy(1, 2) }));
}

/// A target that the policy has vetoed moves nobody, and late joiners stay as well.
#[test]
fn a_vetoed_move_is_over_for_all() {
    let mut moves = moves();
    let vetoed = Destination::Vetoed(endpoint(2));
    moves.begin(at(0), key(1, 1, 2), announced(0), &vetoed, &[conn(1), conn(2)], |_| true);
    assert_eq!(told(&mut moves), ["vetoed", "started 1", "0 moved, 2 stay"]);
    moves.handle_joined(at(0), conn(3), &peer(1), true);
    assert_eq!(told(&mut moves), ["0 moved, 3 stay"]);
    moves.handle_joined(at(0), conn(3), &peer(1), true);
    assert_eq!(told(&mut moves), [""; 0], "it takes part already");
    assert_eq!((next(&mut moves, 0), stages(&moves, &[3])), (None, vec!["StayPut"]));
}

#[test]
fn a_rewritten_target_is_dialled() {
    let mut moves = moves();
    let rewritten = Destination::Rewritten { announced: endpoint(2), to: endpoint(3) };
    assert!(rewritten.leads_back_to(&peer(3)) && !rewritten.leads_back_to(&peer(2)));
    assert!(!Destination::Endpoint(endpoint(3)).leads_back_to(&peer(3)));
    moves.begin(at(0), key(1, 1, 2), announced(0), &rewritten, &[conn(1)], |_| true);
    assert_eq!(told(&mut moves), ["rewritten", "started 1"]);
    assert_eq!(next_behind(&mut moves, 0, &[]).unwrap().route, Route::Named(endpoint(3)));
    assert_eq!(moves.announced(&peer(1)), Some(&key(1, 1, 2)), "copies name the server's target");
}

// ---- late joiners and drains ----

#[test]
fn a_late_joiner_follows_until_the_deadline() {
    let mut moves = moving(&[1]);
    moves.handle_joined(at(0), conn(2), &peer(1), true);
    assert_eq!(stages(&moves, &[2]), ["BehindScout"]);
    next(&mut moves, 0);
    moves.handle_joined(at(0), conn(3), &peer(1), true);
    assert_eq!(next(&mut moves, 0), None, "there is a scout");
    arrive(&mut moves, 0, 1, 2, None);
    moves.handle_joined(at(1), conn(4), &peer(1), true);
    moves.handle_joined(at(1), conn(9), &peer(2), true);
    moves.handle_joined(at(20_000), conn(5), &peer(1), true);
    assert_eq!(stages(&moves, &[2, 3, 4, 5, 9]), ["Queued", "Queued", "Queued", "none", "none"]);
    moves.handle_joined(at(19_999), conn(5), &peer(1), true);
    assert_eq!(stages(&moves, &[5]), ["Queued"]);
    assert_eq!(moves.queued(), 4);
}

/// The first connection that joins a move without connections is its scout, and a report is made again when it has moved.
#[test]
fn a_joiner_of_an_empty_move_scouts() {
    let mut moves = moving(&[]);
    assert_eq!(next(&mut moves, 0), None);
    moves.handle_joined(at(0), conn(1), &peer(1), true);
    assert_eq!(next(&mut moves, 0), Some(conn(1)));
    arrive(&mut moves, 0, 1, 2, None);
    assert_eq!(told(&mut moves), ["1 moved, 0 stay"]);
    moves.handle_joined(at(0), conn(2), &peer(1), true);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 2, 2, None);
    assert_eq!(told(&mut moves), ["2 moved, 0 stay"]);
}

/// A connection that has landed at the address that is being retired (a virtual one) has arrived.
#[test]
fn whatever_joins_where_the_scout_has_landed_stays() {
    let mut moves = moving(&[1, 2]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 1, None);
    moves.handle_joined(at(0), conn(11), &peer(1), true);
    assert_eq!(stages(&moves, &[11]), ["none"]);
    let wanted = next_behind(&mut moves, 0, &[]).unwrap();
    assert_eq!((wanted.from, wanted.route), (conn(2), Route::SourceAgain(vec![target(1)])));
}

/// A connection waits until its predecessor has drained, but not beyond half of the time. INV-20
#[test]
fn a_connection_waits_for_what_drains_behind_it() {
    for drained in [true, false] {
        let mut moves = moving(&[1]);
        assert!(next_behind(&mut moves, 0, &[1]).is_none());
        assert_eq!((stages(&moves, &[1]), moves.poll_timeout()), (vec!["BehindDrain"], Some(at(10_000))));
        moves.handle_predecessor_drained(&peer(1), conn(7));
        assert_eq!(stages(&moves, &[1]), ["BehindDrain"]);
        if drained {
            moves.handle_predecessor_drained(&peer(1), conn(1));
            assert_eq!(next(&mut moves, 1), Some(conn(1)));
            assert_eq!(moves.poll_timeout(), Some(at(40_000)), "the alarm is off");
        } else {
            moves.handle_timeout(at(10_000));
            assert_eq!(next_behind(&mut moves, 10_000, &[1]).map(|wanted| wanted.from), Some(conn(1)));
        }
        moves.handle_predecessor_drained(&peer(1), conn(1));
        assert_eq!(stages(&moves, &[1]), ["Dialing"]);
    }
}

// ---- where to dial ----

/// The name is looked up again twice a second, give or take a quarter, until it leads elsewhere; late in the budget the address
/// itself is dialled, once.
#[test]
fn a_handoff_waits_until_the_name_leads_elsewhere() {
    let mut moves = moving(&[1]);
    let both = vec![target(1), target(2)];
    assert_eq!(
        moves.route_handoff(at(0), &peer(1), conn(1), both),
        Route::OneOf(vec![target(2)]),
        "what retires is left out"
    );
    let route = |moves: &mut Moves, now| moves.route_handoff(at(now), &peer(1), conn(1), vec![target(1)]);
    assert_eq!(route(&mut moves, 0), Route::Nowhere);
    assert_eq!(stages(&moves, &[1]), ["Waiting"]);
    let due = millis(moves.poll_timeout().unwrap());
    assert!((375..=625).contains(&due), "{due}");
    assert_eq!(route(&mut moves, 14_300), Route::Nowhere);
    assert_eq!(millis(moves.poll_timeout().unwrap()), 14_400, "four fifths of the budget of 18 s");
    assert_eq!(route(&mut moves, 14_400), Route::SourceAgain(vec![target(1)]));
    assert_eq!(route(&mut moves, 14_400), Route::Nowhere, "one chance");
    let due = millis(moves.poll_timeout().unwrap());
    assert!((14_775..=15_025).contains(&due), "{due}");
    assert_eq!(moves.route_handoff(at(0), &peer(9), conn(1), vec![target(1)]), Route::Nowhere);
}

/// The scout has arrived where the name leads, beside the address that retires. One that follows fails there: each retry has its pause,
/// the last one included, and the name is looked up meanwhile, which may have another address by then. INV-07
#[test]
fn a_follower_that_watches_the_name_keeps_its_pauses() {
    for another in [None, Some(target(4))] {
        let mut moves = moves();
        let key = MoveKey { target: MoveTarget::SameName, ..key(1, 1, 2) };
        moves.begin(at(0), key, announced(0), &Destination::SameName, &[conn(1), conn(2)], |_| true);
        assert_eq!(next(&mut moves, 0), None);
        moves.handle_timeout(at(10_000));
        assert_eq!(next(&mut moves, 10_000), Some(conn(1)));
        moves.handle_dialled(at(10_000), &peer(1), peer(3));
        arrive(&mut moves, 10_000, 1, 3, None);
        assert_eq!(next(&mut moves, 10_000), Some(conn(2)));
        let mut now = at(10_000);
        for number in 2..=4 {
            moves.handle_failed(now, &peer(1), conn(2), ConnectError::Retiring);
            let retry_at = moves.live[&peer(1)].handoffs[&conn(2)].retry_at.unwrap();
            let mut lookups = 0;
            while now < retry_at {
                now = moves.poll_timeout().unwrap();
                moves.handle_timeout(now);
                let wanted = moves.poll_attempt(now, |_| false).unwrap();
                assert_eq!((wanted.from, wanted.number, wanted.route), (conn(2), number, Route::Configured));
                let both = [Some(target(1)), Some(target(3))].into_iter();
                let is_early = now < retry_at;
                let answer = both.chain([another.clone().filter(|_| is_early)]).flatten().collect();
                let route = moves.route_handoff(now, &peer(1), conn(2), answer);
                if is_early && another.is_some() {
                    assert_eq!(route, Route::OneOf(vec![target(3), target(4)]));
                    return;
                }
                let expected = if is_early { Route::Nowhere } else { Route::OneOf(vec![target(3)]) };
                assert_eq!(route, expected, "attempt {number}");
                lookups += 1;
            }
            assert_eq!((now, number == 2 || lookups > 2), (retry_at, true), "the name is watched");
        }
        assert_eq!(another, None);
    }
}

#[test]
fn a_connection_that_is_opened_goes_where_nothing_retires() {
    let mut moves = moving(&[1]);
    let mut route = |targets: &[u16]| {
        let targets = targets.iter().copied().map(target).collect();
        moves.route_open(conn(5), targets, |_| true, |_| false)
    };
    assert_eq!(route(&[3, 4]), Route::OneOf(vec![target(3), target(4)]));
    assert_eq!(route(&[3, 1, 4]), Route::OneOf(vec![target(3), target(4)]));
    assert_eq!(route(&[1]), Route::Named(endpoint(2)), "the target of the move");
}

/// After the close the target, the name's other addresses and the address itself have their turns. It is the next one's turn when
/// the dial that decides has failed; what is dialled beside it decides nothing.
#[test]
fn after_the_close_each_place_has_its_turn() {
    let mut moves = moving(&[]);
    let route = |moves: &mut Moves, index, dialing: &[u32]| {
        let is_dialing = |of: ConnId| dialing.iter().any(|other| conn(*other) == of);
        moves.route_open(conn(index), vec![target(1), target(8), target(9)], |_| false, is_dialing)
    };
    assert_eq!(route(&mut moves, 1, &[]), Route::Named(endpoint(2)));
    assert_eq!(route(&mut moves, 2, &[1]), Route::Named(endpoint(2)), "at the same time");
    moves.handle_open_failed(conn(2), true);
    assert_eq!(route(&mut moves, 3, &[1]), Route::Named(endpoint(2)));
    moves.handle_open_failed(conn(1), true);
    for (index, place) in [(4, vec![target(8), target(9)]), (5, vec![target(1)])] {
        let place = Route::OneOf(place);
        assert_eq!(route(&mut moves, index, &[]), place);
        moves.handle_open_failed(conn(index), false);
        assert_eq!(route(&mut moves, index, &[]), place, "the same place again");
        moves.handle_open_failed(conn(index), true);
        moves.handle_open_failed(conn(index), true);
    }
    assert_eq!(route(&mut moves, 7, &[]), Route::Named(endpoint(2)), "and so on");
    assert_eq!(route(&mut moves, 8, &[]), Route::Named(endpoint(2)), "7 is gone, so this one decides");
    moves.handle_open_failed(conn(8), true);
    assert_eq!(route(&mut moves, 9, &[]), Route::OneOf(vec![target(8), target(9)]));
    // The dial that decides may go on to another address, under another id.
    moves.rename_open(conn(9), conn(10));
    moves.handle_open_failed(conn(9), true);
    assert_eq!(route(&mut moves, 11, &[10]), Route::OneOf(vec![target(8), target(9)]));
    moves.handle_open_failed(conn(10), true);
    assert_eq!(route(&mut moves, 12, &[]), Route::OneOf(vec![target(1)]));
}

// ---- what the states say ----

#[derive(Clone, Debug)]
enum Fact {
    Begin { seq: u64, residents: u32 },
    Join(u32),
    Attempt,
    Arrive(u32),
    ArriveHeld(u32),
    Switch(u32),
    SuccessorLost(u32),
    Fail(u32),
    FailAtOnce(u32),
    Refuse(u32),
    Gone(u32),
    Pass(u64),
}

fn fact() -> impl Strategy<Value = Fact> {
    let index = || 0..6_u32;
    prop_oneof![
        1 => (0..9_u64, 0..6_u32).prop_map(|(seq, residents)| Fact::Begin { seq, residents }),
        2 => index().prop_map(Fact::Join),
        6 => Just(Fact::Attempt),
        3 => index().prop_map(Fact::Arrive),
        3 => index().prop_map(Fact::ArriveHeld),
        3 => index().prop_map(Fact::Switch),
        2 => index().prop_map(Fact::SuccessorLost),
        2 => index().prop_map(Fact::Fail),
        1 => index().prop_map(Fact::FailAtOnce),
        1 => index().prop_map(Fact::Refuse),
        1 => index().prop_map(Fact::Gone),
        2 => (0..4000_u64).prop_map(Fact::Pass),
    ]
}

proptest! {
    /// The counts of a move are what the stages of its handoffs say: each that has begun ends moved, staying or gone, and the end is
    /// told when none is left. Handoffs that wait for a worker are in the queue. INV-12
    #[test]
    fn counts_are_what_the_stages_say(facts in prop::collection::vec(fact(), 0..80)) {
        let mut moves = moves();
        let (mut now, mut moved, mut dialing) = (0, 0, BTreeSet::new());
        for fact in facts {
            let stage = |moves: &Moves, index: u32| moves.stage(&peer(1), conn(index)).unwrap_or("none");
            match fact {
                Fact::Begin { seq, residents } => {
                    begin(&mut moves, now, key(seq, 1, 2), &(0..residents).collect::<Vec<_>>());
                    moved = 0;
                    dialing.clear();
                }
                Fact::Join(index) => moves.handle_joined(at(now), conn(index), &peer(1), true),
                Fact::Attempt => {
                    if let Some(wanted) = next_behind(&mut moves, now, &[]) {
                        prop_assert_eq!(moves.stage(&peer(1), wanted.from), Some("Dialing"));
                        prop_assert!(dialing.insert(wanted.from), "two dials for {}", wanted.from);
                    }
                }
                Fact::Arrive(index) if dialing.remove(&conn(index)) => {
                    moved += usize::from(stage(&moves, index) != "none");
                    arrive(&mut moves, now, index, 2, None);
                }
                Fact::ArriveHeld(index) if dialing.remove(&conn(index)) => {
                    arrive(&mut moves, now, index, 2, Some(index + 10));
                    prop_assert_eq!(stage(&moves, index), "AwaitsSwitch");
                }
                Fact::Switch(index) => {
                    let is_awaited = stage(&moves, index) == "AwaitsSwitch";
                    let to = moves.handle_switched(at(now), &peer(1), conn(index));
                    prop_assert_eq!(to, is_awaited.then(|| conn(index + 10)));
                    moved += usize::from(is_awaited);
                }
                Fact::SuccessorLost(index) => {
                    moves.handle_successor_lost(at(now), &peer(1), conn(index), ConnectError::Retiring);
                }
                Fact::Fail(index) if dialing.remove(&conn(index)) => fail(&mut moves, now, index),
                Fact::FailAtOnce(index) if dialing.remove(&conn(index)) => {
                    moves.handle_failed_at_once(at(now), &peer(1), conn(index), ConnectError::Retiring);
                }
                Fact::Refuse(index) if dialing.remove(&conn(index)) => {
                    moves.handle_refused(at(now), &peer(1), conn(index));
                    prop_assert_eq!(stage(&moves, index), "StayPut");
                }
                Fact::Gone(index) => {
                    dialing.remove(&conn(index));
                    moves.handle_gone(at(now), &peer(1), conn(index));
                    prop_assert_eq!(stage(&moves, index), "none");
                }
                Fact::Pass(millis) => {
                    now += millis;
                    let awaited = (0..6).filter(|index| stage(&moves, *index) == "AwaitsSwitch").count();
                    let deadline = moves.deadline(&peer(1), conn(0));
                    moves.handle_timeout(at(now));
                    if deadline.is_some_and(|deadline| deadline <= at(now)) {
                        moved += awaited;
                    }
                }
                _ => {}
            }
            if moves.is_empty() {
                dialing.clear();
            }
            let stages: Vec<&str> = (0..6).map(|index| stage(&moves, index)).collect();
            let count = |name: &str| stages.iter().filter(|stage| **stage == name).count();
            prop_assert_eq!(count("Queued"), moves.queued());
            prop_assert_eq!(count("Dialing"), dialing.len());
            for decision in std::iter::from_fn(|| moves.poll_decision()) {
                if let Decision::Emit(Event::MoveFinished { moved: told, .. }) = decision {
                    prop_assert_eq!(told as usize, moved);
                    prop_assert_eq!(count("StayPut") + count("none"), 6, "{:?}", stages);
                }
            }
        }
    }
}
