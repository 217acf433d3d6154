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
    Rest(usize),
    Resume(usize),
    Reserve,
    SetFree(usize),
    Refill(usize, Redial),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
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
    ]
}

/// A slot as plain options, without counts and without an order of retries.
#[derive(Clone, Debug, Default)]
struct Naive {
    active: Option<ConnId>,
    next: Option<ConnId>,
    /// It is to be dialled for in this time.
    retry: Option<(Instant, Instant)>,
    is_silent: bool,
    is_reserved: bool,
}

impl Naive {
    fn answers(&self) -> bool {
        self.active.is_some() && !self.is_silent
    }
}

proptest! {
    /// What serves, takes turns and is dialled for agrees with plain options.
    #[test]
    fn slots_agree_with_plain_options(steps in prop::collection::vec(step(), 0..60)) {
        let mut pool = Pool::new(SLOTS, 1);
        let mut naive = vec![Naive::default(); SLOTS];
        let mut now = epoch();
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
                    naive[slot] = Naive { active: Some(promoted), ..Naive::default() };
                }
                Step::VacateActive(slot) => {
                    pool.vacate(slot, naive[slot].active.take().unwrap_or(fresh));
                    (naive[slot].is_silent, naive[slot].is_reserved) = (false, false);
                }
                Step::VacateNext(slot) => pool.vacate(slot, naive[slot].next.take().unwrap_or(fresh)),
                Step::Rest(slot) => {
                    let rests = naive[slot].answers();
                    prop_assert_eq!(pool.rest(slot, naive[slot].active.unwrap_or(fresh)), rests);
                    prop_assert!(!pool.rest(slot, fresh), "it is another connection");
                    naive[slot].is_silent |= rests;
                }
                Step::Resume(slot) => {
                    let resumes = naive[slot].is_silent;
                    prop_assert_eq!(pool.resume(slot, naive[slot].active.unwrap_or(fresh)), resumes);
                    if resumes {
                        (naive[slot].is_silent, naive[slot].retry) = (false, None);
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
                    let empty = !naive[slot].answers() && naive[slot].next.is_none();
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
            }
            let stuck = |slot: &Naive| slot.is_silent && slot.next.is_none() && slot.retry.is_none();
            prop_assert_eq!(pool.find_silent(), naive.iter().position(stuck));
            let reserved = naive.iter().find(|slot| slot.answers() && slot.is_reserved);
            prop_assert_eq!(pool.find_reserved(|_| true), reserved.and_then(|slot| slot.active));
            let taking = naive.iter().filter(|slot| slot.answers() && !slot.is_reserved);
            let active: Vec<ConnId> = taking.filter_map(|slot| slot.active).collect();
            prop_assert_eq!(pool.serving(), active.len());
            prop_assert_eq!(pool.is_open(), active.len() == SLOTS);
            prop_assert_eq!(pool.poll_timeout().is_some(), naive.iter().any(|slot| slot.retry.is_some()));
            let mut turns: Vec<ConnId> = Vec::new();
            for _ in &active {
                let announced = pool.next_route();
                let turn = pool.route();
                prop_assert_eq!(announced, turn);
                turns.extend(turn);
            }
            turns.sort();
            let mut expected = active;
            expected.sort();
            prop_assert_eq!(turns, expected, "each connection has its turn");
        }
    }
}
