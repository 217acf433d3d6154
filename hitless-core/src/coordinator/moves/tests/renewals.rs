//! Connections whose server has told them to leave an address that is in service again.

use super::*;

fn begin_among(moves: &mut Moves, millis: u64, key: MoveKey, residents: &[u32], serving: &[u32]) {
    let all: Vec<ConnId> = residents.iter().copied().map(conn).collect();
    let is_serving = |of: ConnId| serving.iter().any(|index| conn(*index) == of);
    let destination = Destination::Endpoint(key.target.endpoint().unwrap().clone());
    moves.begin(at(millis), key, announced(millis), &destination, &all, is_serving);
}

/// A move that is announced after 2 s, and over so many seconds after the start.
fn begin_until(moves: &mut Moves, key: MoveKey, seconds: u64, residents: &[u32]) {
    let departure = Departure::Announced { at: at(2000), deadline: at(seconds * 1000) };
    let destination = key.target.endpoint().cloned().map_or(Destination::SameName, Destination::Endpoint);
    let residents: Vec<ConnId> = residents.iter().copied().map(conn).collect();
    let is_serving = |of: ConnId| of != conn(5);
    moves.begin(at(2000), key, departure, &destination, &residents, is_serving);
}

/// A move from port 1 to port 2 of 1, which has arrived as 11, and of 2 and 3, which have not. After a second one leads back.
fn led_back() -> Moves {
    let mut moves = moving(&[1, 2, 3]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, None);
    assert_eq!(next(&mut moves, 0), Some(conn(2)));
    begin(&mut moves, 1000, key(2, 2, 1), &[11]);
    assert_eq!(told(&mut moves), ["superseded 1", "cancel for c2.0", "started 1", "started 2"]);
    moves
}

/// The number of the connection that is dialled for next, and where to.
fn next_route(moves: &mut Moves, millis: u64) -> (usize, Route) {
    let Wanted { from, route, .. } = next_behind(moves, millis, &[]).unwrap();
    (from.index(), route)
}

/// Connections that have not followed when a newer move leads back give way to new ones at the same address, within the time that
/// they were told. The address is in service: what comes there meanwhile stays. RULE-211, RULE-212
#[test]
fn whoever_was_told_to_leave_is_replaced_at_the_same_address() {
    let mut moves = led_back();
    assert_eq!(stages(&moves, &[1, 2, 3]), ["none", "BehindScout", "BehindScout"]);
    assert_eq!([2, 3].map(|index| moves.deadline(&peer(1), conn(index))), [Some(at(20_000)); 2]);
    assert!(!moves.retires(&peer(1)) && moves.takes_from(&peer(1)) && moves.announced(&peer(1)).is_none());
    assert_eq!(
        [2, 9].map(|index| moves.leaves_at(at(1000), &peer(1), conn(index))),
        [Some(at(20_000)), None]
    );
    assert!(moves.is_remembered(at(1000), &key(1, 1, 2)));
    moves.handle_joined(at(1000), conn(9), &peer(1), true);
    assert_eq!(stages(&moves, &[9]), ["none"]);
    assert_eq!(
        moves.route_open(conn(8), vec![target(1)], |_| true, |_| false),
        Route::OneOf(vec![target(1)]),
        "the address is as good as any other one"
    );

    let scout = next_behind(&mut moves, 1000, &[]).unwrap();
    assert_eq!((scout.from, scout.source, scout.number), (conn(2), peer(1), 1));
    assert_eq!(scout.route, Route::SourceAgain(vec![target(1)]));
    assert_eq!(scout.breaker, Some(MoveTarget::Endpoint(endpoint(1))));
    assert_eq!(next_route(&mut moves, 1000), (11, Route::Named(endpoint(1))), "the one that comes back");
    assert_eq!(next(&mut moves, 1000), None, "the others are behind the scouts");
    arrive(&mut moves, 1000, 2, 1, None);
    assert_eq!(next_route(&mut moves, 1000), (3, Route::SourceAgain(vec![target(1)])));
    assert_eq!(told(&mut moves), [""; 0]);
    arrive(&mut moves, 1000, 3, 1, None);
    assert_eq!(told(&mut moves), ["2 moved, 0 stay"]);
    assert!(!moves.takes_from(&peer(1)) && moves.retires(&peer(2)));
}

/// The address to which the scout of a newer move has come is in service again, be it without having been named. One scouts there as
/// in every move. RULE-211
#[test]
fn an_address_that_was_reached_by_name_is_in_service_again() {
    let mut moves = moving(&[1, 2]);
    let key = MoveKey { target: MoveTarget::SameName, ..key(2, 3, 1) };
    moves.begin(at(0), key, announced(0), &Destination::SameName, &[conn(5)], |_| true);
    told(&mut moves);
    moves.handle_arrived(at(0), &peer(3), conn(5), target(1), None, |_| true);
    assert_eq!(told(&mut moves), ["superseded 1", "started 1", "1 moved, 0 stay"]);
    assert_eq!(next_route(&mut moves, 0), (1, Route::SourceAgain(vec![target(1)])));
    assert_eq!(stages(&moves, &[1, 2]), ["Dialing", "BehindScout"]);
}

/// Whoever has given up in the older move tries once more: the server closes it like the others. It is moved within that time when the
/// address is left again. RULE-211, RULE-212
#[test]
fn whoever_had_given_up_is_replaced_as_well() {
    let mut moves = moves();
    moves.begin(at(0), key(1, 1, 2), announced(0), &Destination::Vetoed(endpoint(2)), &[conn(1)], |_| true);
    told(&mut moves);
    assert_eq!(stages(&moves, &[1]), ["StayPut"]);
    begin(&mut moves, 0, key(2, 2, 1), &[]);
    assert_eq!(told(&mut moves), ["superseded 1", "started 1", "started 2"]);
    assert_eq!(next(&mut moves, 0), Some(conn(1)));
    moves.handle_refused(at(0), &peer(1), conn(1));
    assert_eq!(told(&mut moves), ["failed c1.0 1 for good", "0 moved, 1 stay"]);
    let without = MoveKey { target: MoveTarget::SameName, ..key(3, 1, 2) };
    begin_until(&mut moves, without, 602, &[1, 9]);
    let deadlines = [1, 9].map(|index| millis(moves.deadline(&peer(1), conn(index)).unwrap()));
    assert_eq!(deadlines, [20_000, 602_000], "the first word holds although it stayed");
    assert_eq!((next(&mut moves, 2000), moves.poll_timeout()), (None, Some(at(10_000))));
}

/// Nobody is replaced where no server closes anything: in a quiet move, behind the deadline, and where a connection is gone. RULE-211
#[test]
fn nobody_else_is_replaced() {
    let quiet = Departure::Quiet { deadline: at(20_000) };
    let demoted = Departure::Demoted { deadline: at(20_000), may_return: false };
    for (departure, now, serving) in
        [(quiet, 0, &[1][..]), (demoted, 0, &[1]), (announced(0), 20_000, &[1]), (announced(0), 0, &[])]
    {
        let mut moves = moves();
        let key_away = MoveKey { target: MoveTarget::SameName, ..key(1, 1, 2) };
        moves.begin(at(0), key_away, departure, &Destination::SameName, &[conn(1)], |_| true);
        told(&mut moves);
        begin_among(&mut moves, now, key(2, 2, 1), &[], serving);
        assert_eq!(told(&mut moves), ["superseded 1", "started 2"], "{departure:?}, {now}");
        assert!(!moves.takes_from(&peer(1)));
    }
}

/// A new connection at the address fails: it is tried again until the deadline that was told. Then the old one stays. RULE-211
#[test]
fn a_renewal_is_tried_until_the_old_deadline() {
    let mut moves = led_back();
    let mut now = 1000;
    for attempt in 1..=4_u32 {
        let wanted = std::iter::from_fn(|| next_behind(&mut moves, now, &[]));
        let wanted = wanted.into_iter().find(|wanted| wanted.source == peer(1)).unwrap();
        assert_eq!((wanted.from, wanted.number), (conn(2), attempt));
        assert!(at(now) + wanted.limit <= at(20_000));
        fail(&mut moves, now, 2);
        let again = if attempt < 4 { "again" } else { "for good" };
        assert_eq!(told(&mut moves)[0], format!("failed c2.0 {attempt} {again}"));
        if attempt == 4 {
            break;
        }
        let due = moves.poll_timeout().unwrap();
        assert!(due < at(20_000));
        moves.handle_timeout(due);
        now = u64::try_from(millis(due)).unwrap() + 1;
    }
    assert_eq!(stages(&moves, &[2, 3]), ["StayPut", "StayPut"], "those behind the scout stay as well");
    assert_eq!(told(&mut moves), [""; 0]);
    for index in [2, 3] {
        assert!(moves.takes_from(&peer(1)), "their time is not forgotten");
        moves.handle_forgotten(at(now), conn(index), &peer(1));
    }
    assert!(!moves.takes_from(&peer(1)));
}

/// The server announces another move before all are replaced: whoever was told before is closed at the earlier deadline, and is moved
/// or, if its owner has not switched, cut over by then. The others have the time of the newer move. RULE-212
#[test]
fn the_earlier_deadline_holds_in_the_next_move() {
    let mut moves = led_back();
    begin(&mut moves, 2000, key(3, 1, 2), &[2, 3, 9]);
    assert_eq!(told(&mut moves), ["superseded 1", "superseded 2", "started 2", "started 3"]);
    let deadlines = [2, 3, 9].map(|index| millis(moves.deadline(&peer(1), conn(index)).unwrap()));
    assert_eq!(deadlines, [20_000, 20_000, 22_000]);
    for index in [2, 3, 9] {
        let wanted = std::iter::from_fn(|| next_behind(&mut moves, 2000, &[]));
        let wanted = wanted.into_iter().find(|wanted| wanted.source == peer(1)).unwrap();
        assert_eq!(wanted.from, conn(index));
        arrive(&mut moves, 2000, index, 2, Some(index + 20));
    }
    moves.handle_timeout(at(19_999));
    assert_eq!(told(&mut moves), [""; 0]);
    let leaves = [2, 9].map(|index| moves.leaves_at(at(20_000), &peer(1), conn(index)));
    assert_eq!(leaves, [None, Some(at(22_000))], "its own time is over");
    moves.handle_timeout(at(20_000));
    assert_eq!(told(&mut moves), ["overdue c2.0 c22.0", "overdue c3.0 c23.0"]);
    moves.handle_timeout(at(21_999));
    assert_eq!(told(&mut moves), [""; 0]);
    moves.handle_timeout(at(22_000));
    assert_eq!(told(&mut moves), ["overdue c9.0 c29.0", "3 moved, 0 stay"]);
}

/// Back and away and back and on: the first deadline holds for whoever has heard of it, however often the address was in service since.
/// A move without an endpoint, which waits for half of its time, waits for no more than half of theirs. RULE-212
#[test]
fn the_first_deadline_is_never_forgotten() {
    let mut moves = led_back();
    begin(&mut moves, 2000, key(3, 1, 2), &[2, 3]);
    begin(&mut moves, 3000, key(4, 2, 1), &[]);
    begin(&mut moves, 4000, key(5, 1, 2), &[2, 3]);
    let without = MoveKey { target: MoveTarget::SameName, ..key(6, 1, 2) };
    moves.begin(at(5000), without, announced(5000), &Destination::SameName, &[conn(2), conn(9)], |_| true);
    let deadlines = [2, 9].map(|index| millis(moves.deadline(&peer(1), conn(index)).unwrap()));
    assert_eq!(deadlines, [20_000, 25_000]);
    assert_eq!(next(&mut moves, 5000), None);
    assert_eq!(moves.poll_timeout(), Some(at(10_000)), "half of the first one's time");
}

/// The scout has less time than the others, because it was told before a renewal, and does not arrive: another one scouts for those that
/// have more. RULE-212
#[test]
fn a_scout_in_a_hurry_is_followed_by_another_one() {
    for is_dialing in [true, false] {
        let mut moves = led_back();
        begin(&mut moves, 2000, key(3, 1, 2), &[2, 3, 9]);
        told(&mut moves);
        let next_here =
            |moves: &mut Moves, now| std::iter::from_fn(|| next(moves, now)).find(|conn| conn.index() != 11);
        if is_dialing {
            assert_eq!(next_here(&mut moves, 2000), Some(conn(2)));
            fail(&mut moves, 20_000, 2);
        }
        assert_eq!(next_here(&mut moves, 20_000), Some(conn(9)));
        assert_eq!(stages(&moves, &[2, 3, 9]), ["StayPut", "StayPut", "Dialing"]);
    }
}

/// Of connections that have different times the one that has least scouts, whatever its number, and those behind it follow in that
/// order. RULE-214
#[test]
fn who_has_least_time_goes_first() {
    let mut moves = led_back();
    begin_until(&mut moves, key(3, 1, 2), 602, &[0, 2, 3]);
    let next_here =
        |moves: &mut Moves, now| std::iter::from_fn(|| next(moves, now)).find(|conn| conn.index() != 11);
    assert_eq!(next_here(&mut moves, 2000), Some(conn(2)));
    fail(&mut moves, 2000, 2);
    let retry_at = moves.poll_timeout().unwrap();
    assert!(retry_at < at(5000), "{retry_at:?}");
    moves.handle_timeout(retry_at);
    assert_eq!(next_here(&mut moves, 5000), Some(conn(2)));
    arrive(&mut moves, 5000, 2, 2, None);
    assert_eq!([next(&mut moves, 5000), next(&mut moves, 5000)], [Some(conn(3)), Some(conn(0))]);
}

/// A move of 10 minutes that 0 takes part in, and 5 when it serves, which has 20 s.
fn awaiting_in_a_hurry(target: MoveTarget) -> Moves {
    let mut moves = moves();
    begin_among(&mut moves, 0, key(1, 1, 2), &[5], &[]);
    begin_among(&mut moves, 1000, key(2, 2, 1), &[], &[]);
    begin_until(&mut moves, MoveKey { target, ..key(3, 1, 2) }, 602, &[0, 5]);
    moves
}

/// The scout waits, and a connection takes part that has less time: that one scouts. The other one is tried again when that was due.
/// RULE-214
#[test]
fn a_newcomer_in_a_hurry_scouts() {
    let mut moves = awaiting_in_a_hurry(MoveTarget::SameName);
    assert_eq!(next(&mut moves, 2000), None);
    moves.handle_joined(at(3000), conn(5), &peer(1), true);
    assert_eq!(next(&mut moves, 3000), None);
    assert_eq!(moves.poll_timeout(), Some(at(10_000)), "half of its time");
    moves.handle_timeout(at(10_000));
    assert_eq!(next(&mut moves, 10_000), Some(conn(5)));

    for is_dialing in [false, true] {
        let mut moves = awaiting_in_a_hurry(MoveTarget::Endpoint(endpoint(2)));
        assert_eq!(next(&mut moves, 2000), Some(conn(0)));
        if is_dialing {
            moves.handle_joined(at(3000), conn(5), &peer(1), true);
            assert_eq!(next(&mut moves, 3000), None, "the scout goes alone");
            fail(&mut moves, 3000, 0);
        } else {
            fail(&mut moves, 3000, 0);
            moves.handle_joined(at(3000), conn(5), &peer(1), true);
        }
        assert_eq!(next(&mut moves, 3000), Some(conn(5)));
        moves.handle_gone(at(3000), &peer(1), conn(5));
        assert_eq!(next(&mut moves, 3000), None, "the pause of the other one is not over");
        assert!(moves.poll_timeout().unwrap() > at(60_000));
    }
}

/// The scout has failed, and another one that has less time arrives before the first one's pause is over: that is not cut short, or what
/// was said of it would be wrong. The others behind the scout follow at once. INV-07, RULE-214
#[test]
fn a_scout_that_was_passed_keeps_its_pause_when_another_one_has_arrived() {
    let mut moves = awaiting_in_a_hurry(MoveTarget::Endpoint(endpoint(2)));
    moves.handle_joined(at(2000), conn(7), &peer(1), true);
    assert_eq!(next(&mut moves, 2000), Some(conn(0)));
    told(&mut moves);
    fail(&mut moves, 3000, 0);
    let retry_at = match moves.poll_decision() {
        Some(Decision::Emit(Event::HandoffFailed { retry_at, .. })) => retry_at.unwrap(),
        other => panic!("{other:?}"),
    };
    moves.handle_joined(at(3000), conn(5), &peer(1), true);
    assert_eq!(next(&mut moves, 3000), Some(conn(5)));
    assert_eq!(stages(&moves, &[0, 5, 7]), ["BehindScout", "Dialing", "BehindScout"]);
    arrive(&mut moves, 4000, 5, 2, None);
    assert_eq!([next(&mut moves, 4000), next(&mut moves, 4000)], [Some(conn(7)), None]);
    assert_eq!((stages(&moves, &[0]), moves.poll_timeout()), (vec!["Waiting"], Some(retry_at)));
    moves.handle_timeout(retry_at);
    assert_eq!(moves.poll_attempt(retry_at, |_| false).map(|wanted| wanted.from), Some(conn(0)));

    // Behind its pause nothing is left to wait for.
    let mut moves = awaiting_in_a_hurry(MoveTarget::Endpoint(endpoint(2)));
    assert_eq!(next(&mut moves, 2000), Some(conn(0)));
    fail(&mut moves, 3000, 0);
    moves.handle_joined(at(3000), conn(5), &peer(1), true);
    assert_eq!(next(&mut moves, 3000), Some(conn(5)));
    let late = u64::try_from(millis(retry_at)).unwrap() + 1;
    arrive(&mut moves, late, 5, 2, None);
    assert_eq!(next(&mut moves, late), Some(conn(0)));
}

/// A scout whose name leads to this address as well looks it up again and again, also when another connection has scouted meanwhile. RULE-214
#[test]
fn a_scout_that_was_passed_goes_on_to_watch_its_name() {
    let mut moves = awaiting_in_a_hurry(MoveTarget::Endpoint(endpoint(2)));
    assert_eq!(next(&mut moves, 2000), Some(conn(0)));
    let route = moves.route_handoff(at(2000), &peer(1), conn(0), vec![target(1), target(3)]);
    assert_eq!(route, Route::OneOf(vec![target(3)]));
    fail(&mut moves, 3000, 0);
    moves.handle_joined(at(3000), conn(5), &peer(1), true);
    assert_eq!(next(&mut moves, 3000), Some(conn(5)));
    moves.handle_gone(at(3000), &peer(1), conn(5));
    assert_eq!(next(&mut moves, 3000), None);
    assert!(moves.poll_timeout().unwrap() < at(6000), "{:?}", moves.poll_timeout());
}

/// The name never changes: the address itself is dialled late in the time of each, once for those that have the same. RULE-79
#[test]
fn who_has_more_time_has_a_last_chance_as_well() {
    let mut moves = awaiting_in_a_hurry(MoveTarget::SameName);
    moves.handle_joined(at(2000), conn(5), &peer(1), true);
    let mut route =
        |now, of| moves.route_handoff(at(now), &peer(1), conn(of), vec![target(1)]) != Route::Nowhere;
    assert!(route(19_000, 5));
    assert!(!route(19_000, 5) && !route(400_000, 0));
    assert!(route(500_000, 0));
    assert!(!route(500_000, 0));
}

/// A follower gives up while another connection scouts: nobody else is sent. INV-07
#[test]
fn a_follower_that_gives_up_sends_no_second_scout() {
    let mut moves = moving(&[1, 2]);
    next(&mut moves, 0);
    arrive(&mut moves, 0, 1, 2, None);
    assert_eq!(next(&mut moves, 0), Some(conn(2)));
    moves.handle_lost_at(at(0), &peer(2));
    for index in [8, 9] {
        moves.handle_joined(at(0), conn(index), &peer(1), true);
    }
    assert_eq!(next(&mut moves, 0), None);
    moves.handle_timeout(at(10_000));
    assert_eq!(next(&mut moves, 10_000), Some(conn(8)));
    for _ in 0..4 {
        fail(&mut moves, 10_000, 2);
    }
    assert_eq!(next(&mut moves, 10_000), None);
    assert_eq!(stages(&moves, &[2, 8, 9]), ["StayPut", "Dialing", "BehindScout"]);
}

/// A move of the same address that takes the place of another one without a renewal between them has its own deadline for all. RULE-57
#[test]
fn without_a_renewal_the_newer_deadline_counts() {
    let mut moves = moving(&[1]);
    begin(&mut moves, 1000, key(2, 1, 3), &[1]);
    assert_eq!(moves.deadline(&peer(1), conn(1)), Some(at(21_000)));
}

/// A connection that was told to leave before it served, because its owner had not switched, is replaced when it serves; one that comes
/// later is not. RULE-213
#[test]
fn a_told_successor_is_replaced_when_it_serves() {
    for ends in ["serves", "is gone", "serves late"] {
        let mut moves = moves();
        begin_among(&mut moves, 0, key(1, 1, 2), &[1, 2], &[]);
        moves.handle_joined(at(0), conn(3), &peer(1), false);
        begin_among(&mut moves, 1000, key(2, 2, 1), &[], &[]);
        assert_eq!(told(&mut moves), ["started 1", "superseded 1", "started 1", "started 2"]);
        for index in [1, 2] {
            moves.handle_forgotten(at(1000), conn(index), &peer(1));
        }
        moves.handle_joined(at(1000), conn(4), &peer(1), false);
        moves.handle_joined(at(1000), conn(4), &peer(1), true);
        assert_eq!((stages(&moves, &[3, 4]), moves.takes_from(&peer(1))), (vec!["none"; 2], true));
        match ends {
            "serves" => {
                moves.handle_joined(at(1000), conn(3), &peer(1), true);
                assert_eq!(next_route(&mut moves, 1000), (3, Route::SourceAgain(vec![target(1)])));
                assert_eq!(told(&mut moves), [""; 0]);
                arrive(&mut moves, 1000, 3, 1, None);
            }
            "is gone" => moves.handle_forgotten(at(1000), conn(3), &peer(1)),
            _ => moves.handle_joined(at(20_000), conn(3), &peer(1), true),
        }
        let moved = u32::from(ends == "serves");
        assert_eq!(told(&mut moves), [format!("{moved} moved, 0 stay")]);
        assert!(!moves.takes_from(&peer(1)), "{ends}");
    }
}

/// A renewal has taken the time since it began, and not since the MOVING that it is left of. RULE-217
#[test]
fn a_renewal_takes_its_own_time() {
    let mut moves = led_back();
    for (now, index) in [(1500, 2), (3000, 3)] {
        let mut wanted = std::iter::from_fn(|| next(&mut moves, now));
        assert!(wanted.any(|from| from == conn(index)));
        arrive(&mut moves, now, index, 1, None);
    }
    let took = |decision| match decision {
        Decision::Emit(Event::MoveFinished { took, .. }) => Some(took),
        _ => None,
    };
    let took: Vec<Duration> = std::iter::from_fn(|| moves.poll_decision()).filter_map(took).collect();
    assert_eq!(took, [Duration::from_secs(2)]);
}

/// A move is over when those that do not serve yet have moved as well, or are gone. That is said once.
#[test]
fn a_move_is_over_behind_those_that_are_awaited() {
    for is_back in [false, true] {
        let mut moves = moves();
        begin_among(&mut moves, 0, key(1, 1, 2), &[1, 5], &[1]);
        if is_back {
            begin_among(&mut moves, 0, key(2, 2, 1), &[], &[1]);
        }
        told(&mut moves);
        assert_eq!(next(&mut moves, 0), Some(conn(1)));
        arrive(&mut moves, 0, 1, 9, None);
        assert_eq!(told(&mut moves), [""; 0]);
        moves.handle_forgotten(at(0), conn(5), &peer(1));
        assert_eq!(told(&mut moves), ["1 moved, 0 stay"]);
    }
}

/// Nothing is left of a renewal that is over.
#[test]
fn a_renewal_leaves_nothing_behind() {
    let mut moves = led_back();
    next(&mut moves, 1000);
    next(&mut moves, 1000);
    for index in [2, 3] {
        moves.handle_gone(at(1000), &peer(1), conn(index));
    }
    moves.handle_gone(at(1000), &peer(2), conn(11));
    moves.handle_timeout(at(41_000));
    assert!(moves.is_at_rest());
}
