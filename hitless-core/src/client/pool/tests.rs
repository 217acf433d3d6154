use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;
use crate::timer::epoch;

const SLOTS: usize = 3;

fn conn(number: u32) -> ConnId {
    ConnId::from_parts(number, 0)
}

#[test]
fn a_slot_gives_up_after_a_few_failures_that_count() {
    let mut pool = Pool::new(1, 1);
    assert!(pool.note_failure(0, Redial::Hopeless));
    let mut pool = Pool::new(1, 1);
    let gives_up: Vec<bool> =
        [Redial::AfterPause, Redial::AtOnce, Redial::AfterPause, Redial::AfterPause, Redial::AfterPause]
            .map(|redial| pool.note_failure(0, redial))
            .into();
    assert_eq!(gives_up, [false, false, false, false, true]);
    pool.promote(epoch(), 0, conn(1));
    pool.note_service(epoch(), 0, conn(1), true);
    assert!(!pool.note_failure(0, Redial::AfterPause), "a success makes up for all failures");
}

/// The others take what does not travel alone. RULE-145
#[test]
fn half_of_the_connections_are_kept_at_most() {
    for (size, kept) in [(1, 1), (2, 1), (3, 1), (6, 3), (7, 3)] {
        let mut pool = Pool::new(size, 1);
        (0..size).for_each(|slot| pool.promote(epoch(), slot, conn(slot as u32)));
        let reserved = (0..size).filter(|_| pool.reserve(|_| 0)).count();
        assert_eq!(reserved, kept, "of {size}");
    }
}

/// Of pauses, the longest that are possible: how many failures in a row the slot knows of.
fn failures_in_a_row(pool: &Pool, slot: usize) -> u32 {
    let mut reconnect = pool.slots[slot].reconnect.clone();
    let pause = reconnect.next(&mut Rng::new(1));
    (0..).find(|doublings| pause <= Reconnect::FIRST * (1 << doublings)).unwrap()
}

/// A handshake is no reason to forget failures: a server that closes behind it is dialled ever more seldom. A connection that has
/// answered a request and has lived for two seconds is one, and so is one that has lived for ten. RULE-127
#[test]
fn failures_are_forgotten_when_a_connection_has_served() {
    let now = epoch();
    let lives = [
        (false, 0, 4),
        (false, 9_999, 4),
        (false, 10_000, 1),
        (true, 0, 4),
        (true, 1_999, 4),
        (true, 2_000, 1),
    ];
    for (answered, lived, expected) in lives {
        let mut pool = Pool::new(1, 1);
        for number in 0..3 {
            pool.refill(now, 0, Redial::AfterPause);
            pool.promote(now, 0, conn(number));
            assert!(!pool.note_service(now, 0, conn(number), false));
            pool.vacate(0, conn(number));
        }
        pool.promote(now, 0, conn(9));
        let lost_at = now + Duration::from_millis(lived);
        assert_eq!(pool.note_service(lost_at, 0, conn(9), answered), answered || expected == 1);
        pool.vacate(0, conn(9));
        pool.refill(lost_at, 0, Redial::AfterPause);
        assert_eq!(failures_in_a_row(&pool, 0), expected, "answered: {answered}, lived: {lived} ms");
    }
}

/// Two addresses of a name are dialled for one slot: when one of the dials is over, the slot waits for the other. RULE-161
#[test]
fn a_slot_waits_for_the_other_of_two_dials() {
    for (over, other) in [(1, 2), (2, 1)] {
        let mut pool = Pool::new(1, 1);
        pool.assign(0, conn(1));
        pool.assign(0, conn(2));
        pool.vacate(0, conn(over));
        assert!(!pool.refill(epoch(), 0, Redial::AtOnce));
        assert_eq!(pool.attempts(), 1);
        pool.vacate(0, conn(other));
        assert!(pool.refill(epoch(), 0, Redial::AtOnce));
    }
}

/// What is said of a connection that is not the one that serves counts for nothing. RULE-127
#[test]
fn only_the_connection_that_serves_makes_up_for_failures() {
    let mut pool = Pool::new(1, 1);
    pool.refill(epoch(), 0, Redial::AfterPause);
    pool.promote(epoch(), 0, conn(1));
    assert!(pool.note_service(epoch(), 0, conn(2), true), "it is nobody's failure");
    assert_eq!(failures_in_a_row(&pool, 0), 1);
}

/// While the server refuses the credentials one slot knocks, after pauses that grow, and the others wait, whatever became of their
/// own dials. When one connection is accepted all of them dial. RULE-128
#[test]
fn one_slot_knocks_for_all_while_nothing_can_change() {
    let mut pool = Pool::new(3, 1);
    let mut now = epoch();
    pool.refill(now, 2, Redial::AfterPause);
    for slot in [1, 0, 0, 2] {
        pool.refill(now, slot, if slot == 2 { Redial::AfterPause } else { Redial::Hopeless });
    }
    for longest in [2, 4, 8, 16, 30, 30] {
        let at = pool.poll_timeout().unwrap();
        let pause = at - now;
        assert!(
            pause >= Duration::from_secs(longest) / 2 && pause <= Duration::from_secs(longest),
            "{pause:?}"
        );
        now = at;
        assert_eq!((pool.handle_timeout(now), pool.handle_timeout(now)), (Some(1), None));
        pool.refill(now, 1, Redial::Hopeless);
    }
    // A handoff succeeds, say: the settings are right after all.
    pool.promote(now, 1, conn(1));
    let due: Vec<_> = std::iter::from_fn(|| pool.handle_timeout(now + Reconnect::CAP)).collect();
    assert_eq!(due.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([0, 2]));
    // The next refusal begins anew.
    pool.refill(now, 0, Redial::Hopeless);
    assert!(pool.poll_timeout().unwrap() - now <= Duration::from_secs(2));
}

/// While one slot knocks for all, one whose connection does not answer waits as those do that have none, whichever came first.
/// RULE-128, INV-12
#[test]
fn a_silent_slot_waits_for_the_one_that_knocks() {
    for is_silent_first in [false, true] {
        let mut pool = Pool::new(2, 1);
        (0..2).for_each(|slot| pool.promote(epoch(), slot, conn(slot as u32)));
        pool.vacate(0, conn(0));
        if is_silent_first {
            pool.rest(1, conn(1));
            pool.refill(epoch(), 1, Redial::AfterPause);
        }
        pool.refill(epoch(), 0, Redial::Hopeless);
        pool.rest(1, conn(1));
        assert_eq!(pool.find_silent(), None, "it waits");
        let at = pool.poll_timeout().unwrap();
        assert_eq!((pool.handle_timeout(at), pool.handle_timeout(at)), (Some(0), None));
        pool.promote(at, 0, conn(2));
        assert_eq!(pool.handle_timeout(at + Reconnect::CAP), Some(1), "it has waited for this");
    }
}

/// The slot that knocks has its connection back: the others must not wait for it. RULE-128, INV-12
#[test]
fn nobody_waits_for_a_slot_that_answers_again() {
    let mut pool = Pool::new(2, 1);
    (0..2).for_each(|slot| pool.promote(epoch(), slot, conn(slot as u32)));
    pool.rest(0, conn(0));
    pool.refill(epoch(), 0, Redial::Hopeless);
    pool.vacate(1, conn(1));
    pool.refill(epoch(), 1, Redial::AfterPause);
    assert!(pool.resume(epoch(), 0, conn(0)));
    assert_eq!(pool.handle_timeout(epoch() + Reconnect::CAP), Some(1));
}

/// Another slot that answers again says nothing of the credentials: the slot that knocks goes on. RULE-128
#[test]
fn the_slot_that_knocks_goes_on_when_another_one_answers_again() {
    let mut pool = Pool::new(3, 1);
    (0..3).for_each(|slot| pool.promote(epoch(), slot, conn(slot as u32)));
    (0..2).for_each(|slot| pool.vacate(slot, conn(slot as u32)));
    pool.rest(2, conn(2));
    pool.refill(epoch(), 0, Redial::Hopeless);
    pool.refill(epoch(), 1, Redial::AfterPause);
    assert!(pool.resume(epoch(), 2, conn(2)));
    let due: Vec<_> = std::iter::from_fn(|| pool.handle_timeout(epoch() + Reconnect::CAP)).collect();
    assert_eq!(due, [0]);
}

/// A start is over when each slot has its connection: whether it is kept for one request, or answers at this moment, is another
/// question.
#[test]
fn a_pool_is_open_when_every_slot_has_a_connection() {
    let mut pool = pool_of_three(0);
    assert!(pool.reserve(|_| 0) && pool.rest(2, conn(2)));
    assert_eq!((pool.serving(), pool.is_open()), (1, true));
    pool.vacate(1, conn(1));
    assert!(!pool.is_open());
}

/// A connection that does not answer is none that requests could have for themselves. RULE-145
#[test]
fn a_silent_connection_is_not_kept_for_requests_that_travel_alone() {
    let mut pool = pool_of_three(0);
    assert!(pool.reserve(|_| 0));
    let kept = pool.find_reserved(|_| true).unwrap();
    assert!(pool.rest(kept.index(), kept));
    assert!(pool.reserve(|_| 0), "another one takes its place");
    let others = (0..3).filter(|slot| conn(*slot) != kept);
    others.for_each(|slot| assert!(pool.rest(slot as usize, conn(slot))));
    assert!(!pool.is_connected());
}

#[test]
fn a_stopped_pool_dials_for_no_slot() {
    let mut pool = Pool::new(2, 1);
    pool.refill(epoch(), 0, Redial::AfterPause);
    pool.refill(epoch(), 1, Redial::Hopeless);
    pool.stop_retrying();
    assert_eq!(pool.poll_timeout(), None);
    assert_eq!(pool.handle_timeout(epoch() + 2 * Reconnect::CAP), None);
}

#[derive(Clone, Debug)]
enum Step {
    Assign(usize),
    Promote(usize),
    VacateActive(usize),
    VacateNext(usize),
    Rest(usize),
    Resume(usize),
    Reserve,
    SetFree(usize),
    Refill(usize, Redial),
    Pass(u64),
    /// The slot's connections are loaded like this from now on.
    Load(usize, Load),
    Route(Size),
}

fn step() -> impl Strategy<Value = Step> {
    let loads = vec![Load::Light, Load::Heavy, Load::Full];
    let redials = vec![Redial::AtOnce, Redial::AfterPause, Redial::Hopeless];
    prop_oneof![
        2 => (0..SLOTS).prop_map(Step::Assign),
        2 => (0..SLOTS).prop_map(Step::Promote),
        2 => (0..SLOTS).prop_map(Step::VacateActive),
        1 => (0..SLOTS).prop_map(Step::VacateNext),
        1 => (0..SLOTS).prop_map(Step::Rest),
        1 => (0..SLOTS).prop_map(Step::Resume),
        1 => Just(Step::Reserve),
        1 => (0..SLOTS).prop_map(Step::SetFree),
        2 => (0..SLOTS, prop::sample::select(redials)).prop_map(|(slot, redial)| Step::Refill(slot, redial)),
        1 => (0..5_000_u64).prop_map(Step::Pass),
        2 => (0..SLOTS, prop::sample::select(loads)).prop_map(|(slot, load)| Step::Load(slot, load)),
        4 => prop::sample::select(vec![Size::Small, Size::Large]).prop_map(Step::Route),
    ]
}

/// A slot as plain options, without counts and without an order of retries.
#[derive(Clone, Debug, Default)]
struct Naive {
    active: Option<ConnId>,
    next: Vec<ConnId>,
    /// It is to be dialled for in this time.
    retry: Option<(Instant, Instant)>,
    is_silent: bool,
    is_reserved: bool,
    load: Option<Load>,
}

impl Naive {
    fn answers(&self) -> bool {
        self.active.is_some() && !self.is_silent
    }

    fn load(&self) -> Load {
        self.load.unwrap_or(Load::Light)
    }

    fn takes_requests(&self) -> bool {
        self.answers() && !self.is_reserved
    }
}

/// Where the next request goes, said in the plainest way.
fn naive_route(naive: &[Naive], current: usize) -> Option<usize> {
    let is = |slot: usize, load: Load| naive[slot].takes_requests() && naive[slot].load() == load;
    if is(current, Load::Light) {
        return Some(current);
    }
    let turns = [(current + 1) % SLOTS, (current + 2) % SLOTS, current];
    let of = |load: Load| turns.into_iter().find(|slot| is(*slot, load));
    of(Load::Light).or_else(|| of(Load::Heavy)).or_else(|| of(Load::Full))
}

/// Nobody knocks any more: the slots that have waited are dialled for.
fn rearm(naive: &mut [Naive], now: Instant) {
    for idle in naive.iter_mut().filter(|it| !it.answers() && it.next.is_empty()) {
        idle.retry.get_or_insert((now, now + Reconnect::CAP));
    }
}

fn load_of(naive: &[Naive], conn: ConnId) -> Load {
    let slot = naive.iter().find(|slot| slot.active == Some(conn)).expect("only what serves is looked at");
    slot.load()
}

proptest! {
    /// What serves, takes requests and is dialled for agrees with plain options. INV-12, RULE-156, RULE-158,
    /// RULE-170
    #[test]
    fn slots_agree_with_plain_options(steps in prop::collection::vec(step(), 0..60)) {
        let mut pool = Pool::new(SLOTS, SLOTS as u64);
        let mut naive = vec![Naive::default(); SLOTS];
        let mut now = epoch();
        let mut knocks = None;
        // By size.
        let mut current = [0; 2];
        for (number, step) in steps.into_iter().enumerate() {
            let fresh = conn(number as u32);
            match step {
                Step::Assign(slot) => {
                    pool.assign(slot, fresh);
                    naive[slot].next.push(fresh);
                }
                Step::Promote(slot) => {
                    let Naive { mut next, load, .. } = naive[slot].clone();
                    let promoted = next.pop().unwrap_or(fresh);
                    pool.promote(now, slot, promoted);
                    naive[slot] = Naive { active: Some(promoted), next, load, ..Naive::default() };
                    if knocks.take().is_some() {
                        rearm(&mut naive, now);
                    }
                }
                Step::VacateActive(slot) => {
                    pool.vacate(slot, naive[slot].active.take().unwrap_or(fresh));
                    (naive[slot].is_silent, naive[slot].is_reserved) = (false, false);
                }
                Step::VacateNext(slot) => pool.vacate(slot, naive[slot].next.pop().unwrap_or(fresh)),
                Step::Rest(slot) => {
                    let rests = naive[slot].answers();
                    prop_assert_eq!(pool.rest(slot, naive[slot].active.unwrap_or(fresh)), rests);
                    prop_assert!(!pool.rest(slot, fresh), "it is another connection");
                    if rests {
                        (naive[slot].is_silent, naive[slot].is_reserved) = (true, false);
                    }
                }
                Step::Resume(slot) => {
                    let resumes = naive[slot].is_silent;
                    prop_assert_eq!(pool.resume(now, slot, naive[slot].active.unwrap_or(fresh)), resumes);
                    if resumes {
                        (naive[slot].is_silent, naive[slot].retry) = (false, None);
                        if knocks == Some(slot) {
                            knocks = None;
                            rearm(&mut naive, now);
                        }
                    }
                }
                Step::Reserve => {
                    let answering = naive.iter().filter(|slot| slot.answers()).count();
                    let reserved = naive.iter().filter(|slot| slot.is_reserved).count();
                    let free = naive.iter_mut().rfind(|slot| slot.answers() && !slot.is_reserved);
                    let reserves = reserved < (answering / 2).max(1) && free.is_some();
                    // The youngest connection has the least to do.
                    prop_assert_eq!(pool.reserve(|conn| usize::MAX - conn.index()), reserves);
                    let youngest = naive.iter_mut().filter(|slot| slot.answers() && !slot.is_reserved);
                    if let Some(slot) = youngest.max_by_key(|slot| slot.active).filter(|_| reserves) {
                        slot.is_reserved = true;
                    }
                }
                Step::SetFree(slot) => {
                    pool.set_free(naive[slot].active.unwrap_or(fresh));
                    naive[slot].is_reserved = false;
                }
                Step::Refill(slot, redial) => {
                    let empty = !naive[slot].answers() && naive[slot].next.is_empty();
                    prop_assert_eq!(pool.refill(now, slot, redial), empty && redial == Redial::AtOnce);
                    if empty && redial == Redial::Hopeless && knocks.is_none() {
                        knocks = Some(slot);
                        naive.iter_mut().for_each(|slot| slot.retry = None);
                    }
                    let waits = knocks.is_some_and(|knocks| knocks != slot);
                    match redial {
                        Redial::AfterPause if empty && !waits => {
                            naive[slot].retry = Some((now, now + Reconnect::CAP));
                        }
                        Redial::Hopeless if empty && !waits => {
                            naive[slot].retry = Some((now + Reconnect::CAP / 2, now + Reconnect::HOPELESS_CAP));
                        }
                        _ => {}
                    }
                }
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    while let Some(slot) = pool.handle_timeout(now) {
                        let (earliest, _) = naive[slot].retry.take().expect("the slot is to be dialled for");
                        prop_assert!(earliest <= now);
                    }
                    let overdue = naive.iter().find(|slot| slot.retry.is_some_and(|(_, latest)| latest <= now));
                    prop_assert!(overdue.is_none(), "a slot is not dialled for in time");
                }
                Step::Load(slot, load) => naive[slot].load = Some(load),
                Step::Route(size) => {
                    let current = &mut current[size as usize];
                    let expected = naive_route(&naive, *current);
                    let light = |slot: usize| naive[slot].active.filter(|conn| load_of(&naive, *conn) == Load::Light);
                    if let Some(conn) = pool.current(size).filter(|conn| load_of(&naive, *conn) == Load::Light) {
                        prop_assert_eq!(expected.and_then(light), Some(conn));
                    }
                    *current = expected.unwrap_or(*current);
                    let expected = expected.and_then(|slot| naive[slot].active);
                    prop_assert_eq!(pool.next_route(size, |conn| load_of(&naive, conn)), expected);
                    prop_assert_eq!(pool.route(size, |conn| load_of(&naive, conn)), expected);
                }
            }
            let stuck = |(at, slot): &(usize, &Naive)| {
                let waits = knocks.is_some_and(|knocks| knocks != *at);
                slot.is_silent && slot.next.is_empty() && slot.retry.is_none() && !waits
            };
            prop_assert_eq!(pool.find_silent(), naive.iter().enumerate().find(stuck).map(|(at, _)| at));
            // What the client does about silent slots comes to an end, and leaves none behind.
            for _ in 0..SLOTS {
                let Some(slot) = pool.find_silent() else { break };
                prop_assert!(!pool.refill(now, slot, Redial::AfterPause));
                naive[slot].retry = Some((now, now + Reconnect::CAP));
            }
            prop_assert_eq!(pool.find_silent(), None);
            let knocker = knocks.map(|knocks| &naive[knocks]);
            let knocker_waits = knocker.is_some_and(|it| it.retry.is_none() && it.next.is_empty() && it.active.is_some());
            prop_assert!(!knocker_waits, "a slot that has a connection knocks");
            let reserved = naive.iter().find(|slot| slot.answers() && slot.is_reserved);
            prop_assert_eq!(pool.find_reserved(|_| true), reserved.and_then(|slot| slot.active));
            let taking = naive.iter().filter(|slot| slot.answers() && !slot.is_reserved);
            let active: Vec<ConnId> = taking.filter_map(|slot| slot.active).collect();
            prop_assert_eq!(pool.serving(), active.len());
            prop_assert_eq!(pool.is_open(), naive.iter().all(|slot| slot.active.is_some()));
            prop_assert_eq!(pool.poll_timeout().is_some(), naive.iter().any(|slot| slot.retry.is_some()));
        }
    }
}

/// RULE-158
#[test]
fn requests_take_turns_while_every_connection_is_busy() {
    let mut pool = pool_of_three(0);
    let turns: Vec<_> = (0..4).filter_map(|_| pool.route(Size::Small, |_| Load::Heavy)).collect();
    assert_eq!(turns, [1, 2, 0, 1].map(conn));
}

/// A connection without room comes behind those that are only busy. RULE-158
#[test]
fn a_full_connection_is_the_last_choice() {
    let mut pool = pool_of_three(0);
    let load = |it: ConnId| if it == conn(2) { Load::Heavy } else { Load::Full };
    for _ in 0..3 {
        assert_eq!(pool.route(Size::Small, load), Some(conn(2)));
    }
}

/// A request that leaves a busy connection takes the first one that is not busy.
#[test]
fn the_search_for_a_connection_ends_with_the_first_light_one() {
    let mut pool = pool_of_three(0);
    let looks = std::cell::Cell::new(0);
    let load = |it: ConnId| {
        looks.set(looks.get() + 1);
        if it == conn(0) { Load::Heavy } else { Load::Light }
    };
    assert_eq!((pool.route(Size::Small, load), looks.get()), (Some(conn(1)), 2));
}

/// Many clients of one name, whose slots lead to the same addresses in the same order, do not all use the first one.
#[test]
fn clients_begin_with_different_slots() {
    let begun = [7, 8, 9].map(|seed| pool_of_three(seed).route(Size::Small, |_| Load::Light));
    assert_eq!(begun, [1, 2, 0].map(|number| Some(conn(number))));
}

fn pool_of_three(seed: u64) -> Pool {
    let mut pool = Pool::new(SLOTS, seed);
    (0..SLOTS).for_each(|slot| pool.promote(epoch(), slot, conn(slot as u32)));
    pool
}
