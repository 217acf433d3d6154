use std::time::Duration;

use proptest::prelude::*;

use super::*;
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
    pool.promote(0, conn(1));
    assert!(!pool.note_failure(0, Redial::AfterPause), "a success makes up for all failures");
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
    Refill(usize, Redial),
    Pass(u64),
    /// The slot's connections are loaded like this from now on.
    Load(usize, Load),
    Route,
}

fn step() -> impl Strategy<Value = Step> {
    let loads = vec![Load::Light, Load::Heavy];
    let redials = vec![Redial::AtOnce, Redial::AfterPause, Redial::Hopeless];
    prop_oneof![
        2 => (0..SLOTS).prop_map(Step::Assign),
        2 => (0..SLOTS).prop_map(Step::Promote),
        2 => (0..SLOTS).prop_map(Step::VacateActive),
        1 => (0..SLOTS).prop_map(Step::VacateNext),
        2 => (0..SLOTS, prop::sample::select(redials)).prop_map(|(slot, redial)| Step::Refill(slot, redial)),
        1 => (0..5_000_u64).prop_map(Step::Pass),
        2 => (0..SLOTS, prop::sample::select(loads)).prop_map(|(slot, load)| Step::Load(slot, load)),
        4 => Just(Step::Route),
    ]
}

/// A slot as plain options, without counts and without an order of retries.
#[derive(Clone, Debug, Default)]
struct Naive {
    active: Option<ConnId>,
    next: Option<ConnId>,
    /// It is to be dialled for in this time.
    retry: Option<(Instant, Instant)>,
    is_heavy: bool,
}

/// Where the next request goes, said in the plainest way.
fn naive_route(naive: &[Naive], current: usize) -> Option<usize> {
    let is_light = |slot: usize| naive[slot].active.is_some() && !naive[slot].is_heavy;
    if is_light(current) {
        return Some(current);
    }
    let turns = [(current + 1) % SLOTS, (current + 2) % SLOTS, current];
    let light = turns.into_iter().find(|slot| is_light(*slot));
    light.or_else(|| turns.into_iter().find(|slot| naive[*slot].active.is_some()))
}

fn load_of(naive: &[Naive], conn: ConnId) -> Load {
    let slot = naive.iter().find(|slot| slot.active == Some(conn)).expect("only what serves is looked at");
    if slot.is_heavy { Load::Heavy } else { Load::Light }
}

proptest! {
    /// What serves, takes requests and is dialled for agrees with plain options. RULE-156, RULE-158
    #[test]
    fn slots_agree_with_plain_options(steps in prop::collection::vec(step(), 0..60)) {
        let mut pool = Pool::new(SLOTS, SLOTS as u64);
        let mut naive = vec![Naive::default(); SLOTS];
        let mut now = epoch();
        let mut current = 0;
        for (number, step) in steps.into_iter().enumerate() {
            let fresh = conn(number as u32);
            match step {
                Step::Assign(slot) => {
                    pool.assign(slot, fresh);
                    naive[slot].next = Some(fresh);
                }
                Step::Promote(slot) => {
                    let promoted = naive[slot].next.unwrap_or(fresh);
                    pool.promote(slot, promoted);
                    let is_heavy = naive[slot].is_heavy;
                    naive[slot] = Naive { active: Some(promoted), next: None, retry: None, is_heavy };
                }
                Step::VacateActive(slot) => {
                    pool.vacate(slot, naive[slot].active.take().unwrap_or(fresh));
                }
                Step::VacateNext(slot) => pool.vacate(slot, naive[slot].next.take().unwrap_or(fresh)),
                Step::Refill(slot, redial) => {
                    let empty = naive[slot].active.is_none() && naive[slot].next.is_none();
                    prop_assert_eq!(pool.refill(now, slot, redial), empty && redial == Redial::AtOnce);
                    let latest = now + Reconnect::CAP;
                    match redial {
                        Redial::AfterPause if empty => naive[slot].retry = Some((now, latest)),
                        Redial::Hopeless if empty => naive[slot].retry = Some((latest, latest)),
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
                Step::Load(slot, load) => naive[slot].is_heavy = load == Load::Heavy,
                Step::Route => {
                    let expected = naive_route(&naive, current);
                    current = expected.unwrap_or(current);
                    let expected = expected.and_then(|slot| naive[slot].active);
                    prop_assert_eq!(pool.next_route(|conn| load_of(&naive, conn)), expected);
                    prop_assert_eq!(pool.route(|conn| load_of(&naive, conn)), expected);
                }
            }
            let active: Vec<ConnId> = naive.iter().filter_map(|slot| slot.active).collect();
            prop_assert_eq!(pool.serving(), active.len());
            prop_assert_eq!(pool.is_open(), active.len() == SLOTS);
            prop_assert_eq!(pool.poll_timeout().is_some(), naive.iter().any(|slot| slot.retry.is_some()));
        }
    }
}

/// RULE-158
#[test]
fn requests_take_turns_while_every_connection_is_busy() {
    let mut pool = pool_of_three(0);
    let turns: Vec<_> = (0..4).filter_map(|_| pool.route(|_| Load::Heavy)).collect();
    assert_eq!(turns, [1, 2, 0, 1].map(conn));
}

/// Many clients of one name, whose slots lead to the same addresses in the same order, do not all use the first one.
#[test]
fn clients_begin_with_different_slots() {
    let begun = [7, 8, 9].map(|seed| pool_of_three(seed).route(|_| Load::Light));
    assert_eq!(begun, [1, 2, 0].map(|number| Some(conn(number))));
}

fn pool_of_three(seed: u64) -> Pool {
    let mut pool = Pool::new(SLOTS, seed);
    (0..SLOTS).for_each(|slot| pool.promote(slot, conn(slot as u32)));
    pool
}
