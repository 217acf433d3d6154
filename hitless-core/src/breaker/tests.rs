mod table;

use proptest::prelude::*;

use super::*;
use crate::timer::epoch;

const CONFIG: BreakerConfig = BreakerConfig { failures: 2, open_for: Duration::from_secs(60), half_open: 2 };
const OPEN_FOR: Duration = CONFIG.open_for;

fn attempt(breaker: &mut Breaker, now: Instant, end: AttemptEnd) {
    let permit = breaker.try_acquire(now).unwrap();
    breaker.settle(now, permit, end);
}

fn opened(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(CONFIG);
    for _ in 0..CONFIG.failures {
        attempt(&mut breaker, now, AttemptEnd::Failure);
    }
    breaker
}

/// A permit is spent when it is settled: what could be copied could be settled twice.
#[test]
fn a_permit_is_not_copied() {
    trait Held<Copies> {
        fn check() {}
    }
    impl<T> Held<()> for T {}
    impl<T: Copy> Held<u8> for T {}

    // If permits were `Copy`, both implementations would apply, and this would not compile.
    <Permit as Held<_>>::check();
}

/// RULE-98
#[test]
fn the_defaults_are_five_sixty_three() {
    let expected = BreakerConfig { failures: 5, open_for: Duration::from_secs(60), half_open: 3 };
    assert_eq!(BreakerConfig::default(), expected);
}

/// RULE-100
#[test]
fn opens_after_failures_in_a_row_only() {
    let now = epoch();
    let mut breaker = Breaker::new(CONFIG);
    for end in [AttemptEnd::Failure, AttemptEnd::Success, AttemptEnd::Failure, AttemptEnd::Cancelled] {
        attempt(&mut breaker, now, end);
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }
    attempt(&mut breaker, now, AttemptEnd::Failure);
    assert_eq!(breaker.state(now), BreakerState::Open);
    assert_eq!(breaker.try_acquire(now).unwrap_err(), Denied { retry_at: now + OPEN_FOR });
}

/// RULE-100
#[test]
fn closes_after_successful_trials() {
    let opened_at = epoch();
    let mut breaker = opened(opened_at);
    let now = opened_at + OPEN_FOR;
    assert_eq!(breaker.state(now), BreakerState::HalfOpen);
    attempt(&mut breaker, now, AttemptEnd::Success);
    assert_eq!(breaker.state(now), BreakerState::HalfOpen);
    attempt(&mut breaker, now, AttemptEnd::Success);
    assert_eq!(breaker.state(now), BreakerState::Closed);
    // The old failures are forgotten: one more does not open it.
    attempt(&mut breaker, now, AttemptEnd::Failure);
    assert_eq!(breaker.state(now), BreakerState::Closed);
}

/// RULE-100
#[test]
fn one_failed_trial_opens_it_again() {
    let opened_at = epoch();
    let mut breaker = opened(opened_at);
    let now = opened_at + OPEN_FOR;
    let other = breaker.try_acquire(now).unwrap();
    attempt(&mut breaker, now, AttemptEnd::Failure);
    assert_eq!(breaker.try_acquire(now).unwrap_err(), Denied { retry_at: now + OPEN_FOR });

    // The other trial belongs to a state that is over.
    breaker.settle(now + OPEN_FOR, other, AttemptEnd::Failure);
    assert_eq!(breaker.state(now + OPEN_FOR), BreakerState::HalfOpen);
}

/// RULE-100
#[test]
fn trials_are_limited_and_a_cancelled_one_gives_its_place_back() {
    let opened_at = epoch();
    let mut breaker = opened(opened_at);
    let now = opened_at + OPEN_FOR;
    let first = breaker.try_acquire(now).unwrap();
    let second = breaker.try_acquire(now).unwrap();
    assert!(breaker.try_acquire(now).is_err());

    breaker.settle(now, first, AttemptEnd::Cancelled);
    let third = breaker.try_acquire(now).unwrap();
    assert!(breaker.try_acquire(now).is_err());

    // A success keeps its place: no more attempts than have to succeed.
    breaker.settle(now, second, AttemptEnd::Success);
    assert!(breaker.try_acquire(now).is_err());
    breaker.settle(now, third, AttemptEnd::Success);
    assert!(breaker.try_acquire(now).is_ok());
}

/// PITFALL-18
#[test]
fn a_dropped_permit_does_not_keep_its_place_for_ever() {
    let opened_at = epoch();
    let mut breaker = opened(opened_at);
    let now = opened_at + OPEN_FOR;
    drop(breaker.try_acquire(now).unwrap());
    let slow = breaker.try_acquire(now).unwrap();
    assert_eq!(breaker.try_acquire(now).unwrap_err(), Denied { retry_at: now + OPEN_FOR });

    let later = now + OPEN_FOR;
    let trial = breaker.try_acquire(later).unwrap();
    // The end on a trial that was taken for lost comes too late to count, or to free a place twice.
    breaker.settle(later, slow, AttemptEnd::Failure);
    assert_eq!(breaker.state(later), BreakerState::HalfOpen);
    breaker.settle(later, trial, AttemptEnd::Success);
    attempt(&mut breaker, later, AttemptEnd::Success);
    assert_eq!(breaker.state(later), BreakerState::Closed);
}

#[test]
fn a_permit_of_the_closed_state_is_void_in_a_later_one() {
    let opened_at = epoch();
    let mut breaker = Breaker::new(CONFIG);
    let [early, earlier] = [(), ()].map(|()| breaker.try_acquire(opened_at).unwrap());
    attempt(&mut breaker, opened_at, AttemptEnd::Failure);
    attempt(&mut breaker, opened_at, AttemptEnd::Failure);

    let now = opened_at + OPEN_FOR;
    breaker.settle(now, early, AttemptEnd::Failure);
    assert_eq!(breaker.state(now), BreakerState::HalfOpen);

    // Closed again is not closed still.
    attempt(&mut breaker, now, AttemptEnd::Success);
    attempt(&mut breaker, now, AttemptEnd::Success);
    breaker.settle(now, earlier, AttemptEnd::Failure);
    attempt(&mut breaker, now, AttemptEnd::Failure);
    assert_eq!(breaker.state(now), BreakerState::Closed);
}

#[test]
fn zeroes_count_as_one() {
    let now = epoch();
    let mut breaker = Breaker::new(BreakerConfig { failures: 0, open_for: OPEN_FOR, half_open: 0 });
    attempt(&mut breaker, now, AttemptEnd::Failure);
    assert_eq!(breaker.state(now), BreakerState::Open);
    attempt(&mut breaker, now + OPEN_FOR, AttemptEnd::Success);
    assert_eq!(breaker.state(now + OPEN_FOR), BreakerState::Closed);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Acquire,
    Settle(usize, AttemptEnd),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(AttemptEnd::Failure),
        2 => Just(AttemptEnd::Success),
        1 => Just(AttemptEnd::Cancelled),
    ];
    prop_oneof![
        2 => (0..40u64).prop_map(Step::Wait),
        4 => Just(Step::Acquire),
        4 => (any::<usize>(), end).prop_map(|(which, end)| Step::Settle(which, end)),
        1 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// The table of the breaker over a log of everything that ever happened, searched anew at each question.
#[derive(Default)]
struct Model {
    state: ModelState,
    /// When the state began.
    since: u64,
    /// Per permit: when and in which state it was given, and its end, if any, in the order of the
    /// ends.
    given: Vec<(u64, usize)>,
    ends: Vec<(usize, AttemptEnd)>,
    /// Counts states.
    era: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum ModelState {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

impl Model {
    fn enter(&mut self, state: ModelState, now: u64) {
        (self.state, self.since) = (state, now);
        self.era += 1;
        self.ends.clear();
    }

    fn advance(&mut self, now: u64) {
        if self.state == ModelState::Open && now >= self.since + OPEN_FOR.as_secs() {
            self.enter(ModelState::HalfOpen, now);
        }
    }

    fn is_live(&self, permit: usize, now: u64) -> bool {
        let (at, era) = self.given[permit];
        let is_lost = self.state == ModelState::HalfOpen && now >= at + OPEN_FOR.as_secs();
        era == self.era && !is_lost && !self.ends.iter().any(|(settled, _)| *settled == permit)
    }

    fn successes(&self) -> usize {
        self.ends.iter().filter(|(_, end)| *end == AttemptEnd::Success).count()
    }

    fn allows(&mut self, now: u64) -> bool {
        self.advance(now);
        let out = (0..self.given.len()).filter(|permit| self.is_live(*permit, now)).count();
        match self.state {
            ModelState::Closed => true,
            ModelState::Open => false,
            ModelState::HalfOpen => out + self.successes() < CONFIG.half_open as usize,
        }
    }

    fn settle(&mut self, permit: usize, now: u64, end: AttemptEnd) {
        self.advance(now);
        if !self.is_live(permit, now) {
            return;
        }
        self.ends.push((permit, end));
        let judged = self.ends.iter().rev().filter(|(_, end)| *end != AttemptEnd::Cancelled);
        let failures = judged.take_while(|(_, end)| *end == AttemptEnd::Failure).count();
        match self.state {
            ModelState::Closed if failures >= CONFIG.failures as usize => self.enter(ModelState::Open, now),
            ModelState::HalfOpen if failures > 0 => self.enter(ModelState::Open, now),
            ModelState::HalfOpen if self.successes() >= CONFIG.half_open as usize => {
                self.enter(ModelState::Closed, now);
            }
            _ => {}
        }
    }
}

proptest! {
    /// PITFALL-18, PITFALL-19
    #[test]
    fn behaves_like_the_table_and_always_recovers(steps in proptest::collection::vec(step(), 0..80)) {
        let origin = epoch();
        let at = |seconds: u64| origin + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(CONFIG);
        let mut model = Model::default();
        let mut out: Vec<(usize, Permit)> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Acquire => match breaker.try_acquire(at(now)) {
                    Ok(permit) => {
                        prop_assert!(model.allows(now));
                        out.push((model.given.len(), permit));
                        model.given.push((now, model.era));
                    }
                    Err(denied) => {
                        prop_assert!(!model.allows(now));
                        prop_assert!(denied.retry_at > at(now) && denied.retry_at <= at(now) + OPEN_FOR);
                    }
                },
                Step::Settle(which, end) if !out.is_empty() => {
                    let (id, permit) = out.swap_remove(which % out.len());
                    breaker.settle(at(now), permit, end);
                    model.settle(id, now, end);
                }
                Step::Drop(which) if !out.is_empty() => drop(out.swap_remove(which % out.len())),
                Step::Settle(..) | Step::Drop(_) => {}
            }
            model.advance(now);
            let expected = match model.state {
                ModelState::Closed => BreakerState::Closed,
                ModelState::Open => BreakerState::Open,
                ModelState::HalfOpen => BreakerState::HalfOpen,
            };
            prop_assert_eq!(breaker.state(at(now)), expected);
        }

        // Whatever was lost on the way: left alone until the time it names, it gives a permit; and a healthy
        // endpoint closes it.
        let mut now = at(now);
        if let Err(denied) = breaker.try_acquire(now) {
            now = denied.retry_at;
            prop_assert!(breaker.try_acquire(now).is_ok());
        }
        now += OPEN_FOR;
        while breaker.state(now) != BreakerState::Closed {
            attempt(&mut breaker, now, AttemptEnd::Success);
        }
    }
}
