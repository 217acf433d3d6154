//! When to try again: inside the time that a move grants, and for ever after a lost connection.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::{Duration, Instant};

use crate::rng::Rng;

/// Retries beyond this number would be closer together than a timer can tell.
const MAX_RETRIES: u32 = 30;
/// How far a retry strays from its time, so that a pool does not arrive at a new node in step.
const JITTER_PERCENT: u32 = 25;
/// What is kept free between the last attempt and the deadline: a second, or a tenth of the time if that is
/// more.
const MARGIN: Duration = Duration::from_secs(1);
/// The least that an attempt is given: a lookup, a dial and a handshake take so long where links are long. Two attempts of
/// half the length are worth less than one.
const LEAST: Duration = Duration::from_millis(500);

/// The attempts of one move: attempt 0 is the first, attempt `k` follows retry `k`.
///
/// The budget is the time until the deadline less a margin for the cut-over: a second, or a tenth of the time
/// if that is more, but never more than half of it, so that a move announced at the last moment is still
/// tried. Of `n` retries, retry `k` waits 2^(k-1) / 2^n of the budget: short waits while a target is just
/// coming up, long ones when it evidently is not, and all of them together inside the budget. Where slow
/// attempts have used it up, a wait is cut short so that what follows keeps an eighth of what is left: the
/// last attempt is made unless the deadline comes first.
///
/// Handoffs are planned to end before the margin; one that starts late may use it. A process that was stopped may wake with
/// no budget left and a second until the deadline: it tries at once, for half a second at least if the deadline is not
/// sooner, and again after an eighth of the time that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandoffSchedule {
    budget: Duration,
    end: Instant,
    deadline: Instant,
    retries: u32,
    handoff_timeout: Duration,
}

impl HandoffSchedule {
    /// The schedule of a move that is learnt of `now` and over at `deadline`.
    #[must_use]
    pub(crate) fn new(now: Instant, deadline: Instant, retries: u32, handoff_timeout: Duration) -> Self {
        let total = deadline.saturating_duration_since(now);
        let margin = MARGIN.max(total / 10).min(total / 2);
        let budget = total - margin;
        let retries = retries.min(MAX_RETRIES);
        Self { budget, end: now + budget, deadline, retries, handoff_timeout }
    }

    /// How long the attempt that begins now may last: the handoff timeout, or its even share of the budget
    /// that is left if that is less, but half a second at least. `None`: the retries are spent, or the deadline has
    /// come.
    #[must_use]
    pub(crate) fn attempt_limit(&self, now: Instant, attempt: u32) -> Option<Duration> {
        let attempts_left = (self.retries + 1).checked_sub(attempt).filter(|left| *left > 0)?;
        let share = self.end.saturating_duration_since(now) / attempts_left;
        let limit = share.max(LEAST).min(self.handoff_timeout).min(self.time_left(now));
        (!limit.is_zero()).then_some(limit)
    }

    /// When retry `retry`, counted from 1, of an attempt that fails now begins. `None`: the retries are spent, or
    /// the deadline has come.
    pub(crate) fn retry_at(&self, now: Instant, retry: u32, rng: &mut Rng) -> Option<Instant> {
        if !(1..=self.retries).contains(&retry) {
            return None;
        }
        let wait = self.budget / (1 << (self.retries + 1 - retry));
        let budget_left = self.end.saturating_duration_since(now);
        let latest = (budget_left - budget_left / 8).max(self.time_left(now) / 8);
        (!latest.is_zero()).then(|| now + rng.jitter(wait, JITTER_PERCENT).min(latest))
    }

    /// When the budget is spent: from then on only what comes late is tried.
    #[must_use]
    pub(crate) const fn budget_end(&self) -> Instant {
        self.end
    }

    fn time_left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}

/// The pause before connecting again after a lost connection: 50 ms, doubled by each failure up to 2 s, and
/// shortened by up to half at random. Where only a change of settings can help, it is 2 s, doubled up to 30 s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconnect {
    attempt: u32,
    hopeless: u32,
}

impl Reconnect {
    /// The pause after a first failure, at most.
    pub const FIRST: Duration = Duration::from_millis(50);
    /// The pause after many, at most.
    pub const CAP: Duration = Duration::from_secs(2);
    /// The pause after many refusals that only a change of settings can mend, at most.
    pub const HOPELESS_CAP: Duration = Duration::from_secs(30);
    /// A connection that has lived so long works, though nobody has used it: its failures may be
    /// [forgotten](Self::reset).
    pub const TRUSTED_AFTER: Duration = Duration::from_secs(10);
    /// A connection that has answered a request and has lived so long works: its failures may be [forgotten](Self::reset). As
    /// long as the longest pause, so that a server which answers once and closes is not dialled more often than one which is
    /// down.
    pub const PROVEN_AFTER: Duration = Self::CAP;

    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { attempt: 0, hopeless: 0 }
    }

    /// How long to wait after one more failure.
    pub fn next(&mut self, rng: &mut Rng) -> Duration {
        let pause = Self::after(self.attempt, rng);
        self.attempt = self.attempt.saturating_add(1);
        pause
    }

    /// How long to wait after a failure that has `before` others before it, which somebody else counts.
    pub(crate) fn after(before: u32, rng: &mut Rng) -> Duration {
        growing(Self::FIRST, Self::CAP, before, rng)
    }

    /// How long to wait after one more refusal that only a change of settings can mend ([`Redial::Hopeless`]). Let one slot
    /// of the pool knock, and the others wait for it.
    ///
    /// [`Redial::Hopeless`]: crate::coordinator::Redial::Hopeless
    pub fn next_hopeless(&mut self, rng: &mut Rng) -> Duration {
        let longest = doubled(Self::CAP, self.hopeless).min(Self::HOPELESS_CAP);
        self.hopeless = self.hopeless.saturating_add(1);
        shortened(longest, rng)
    }

    /// Forgets the failures: when a connection is lost that has answered a request and has lived for
    /// [`PROVEN_AFTER`](Self::PROVEN_AFTER), or one that has lived for [`TRUSTED_AFTER`](Self::TRUSTED_AFTER). A handshake or a
    /// reply alone is no reason: there are servers that close behind it.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

/// A pause of at most `first`, doubled `before` times up to `cap`, and shortened by up to half at random.
pub(crate) fn growing(first: Duration, cap: Duration, before: u32, rng: &mut Rng) -> Duration {
    shortened(doubled(first, before).min(cap), rng)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX))
}

/// `longest`, shortened by up to half at random.
fn shortened(longest: Duration, rng: &mut Rng) -> Duration {
    // A quarter either way of three quarters: from half to the whole.
    rng.jitter(longest * 3 / 4, 33).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Rng, *};
    use crate::timer::epoch;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMEOUT: Duration = Duration::from_secs(15);

    /// The longest pauses after the first failures, in milliseconds.
    const PAUSES: [u64; 8] = [50, 100, 200, 400, 800, 1_600, 2_000, 2_000];

    /// What a move of so many seconds leaves for its attempts: nine tenths of them or all but one, whichever is less, but no less
    /// than half.
    fn budget_of(seconds: u64) -> Duration {
        let most = (900 * seconds).min((1_000 * seconds).saturating_sub(1_000));
        Duration::from_millis(most.max(500 * seconds))
    }

    /// RULE-70
    #[test]
    fn the_budget_keeps_a_margin_before_the_deadline() {
        let now = epoch();
        for (total, budget) in
            [(15_000, 13_500), (5_000, 4_000), (60_000, 54_000), (2_000, 1_000), (1_000, 500), (0, 0)]
        {
            let deadline = now + Duration::from_millis(total);
            let schedule = HandoffSchedule::new(now, deadline, 3, TIMEOUT);
            assert_eq!(schedule.budget_end(), now + Duration::from_millis(budget), "{total} ms");
        }
        let late = HandoffSchedule::new(now + SECOND, now, 3, TIMEOUT);
        assert_eq!(late.attempt_limit(now + SECOND, 0), None);
    }

    /// RULE-72
    #[test]
    fn attempts_share_what_is_left_of_the_budget() {
        let now = epoch();
        let schedule = HandoffSchedule::new(now, now + 10 * SECOND, 2, TIMEOUT);
        assert_eq!(schedule.attempt_limit(now, 0), Some(3 * SECOND));
        assert_eq!(schedule.attempt_limit(now + 3 * SECOND, 1), Some(3 * SECOND));
        assert_eq!(schedule.attempt_limit(now + 3 * SECOND, 2), Some(6 * SECOND));
        assert_eq!(schedule.attempt_limit(now + 3 * SECOND, 3), None);
        assert_eq!(schedule.attempt_limit(now + 10 * SECOND, 2), None);

        let hasty = HandoffSchedule::new(now, now + 10 * SECOND, 2, SECOND);
        assert_eq!(hasty.attempt_limit(now, 0), Some(SECOND));
    }

    /// What is left of the budget when a process wakes is not divided into attempts that are too short for any server, and
    /// where none is left there is the margin. RULE-225
    #[test]
    fn no_attempt_is_shorter_than_half_a_second_but_for_the_deadline() {
        let now = epoch();
        let millis = Duration::from_millis;
        let schedule = HandoffSchedule::new(now, now + 10 * SECOND, 3, TIMEOUT);
        for (at, attempt, limit) in [
            (8_000, 2, 500),
            (8_200, 0, 500),
            (8_999, 3, 500),
            (9_000, 0, 500),
            (9_400, 3, 500),
            (9_800, 1, 200),
            (9_999, 3, 1),
        ] {
            let at = now + millis(at);
            assert_eq!(schedule.attempt_limit(at, attempt), Some(millis(limit)), "{:?}", at - now);
        }
        let hasty = HandoffSchedule::new(now, now + 10 * SECOND, 3, millis(300));
        assert_eq!(hasty.attempt_limit(now + millis(8_999), 0), Some(millis(300)));
    }

    /// Who fails behind the budget has another attempt before the deadline, spaced by the time that is left. RULE-225
    #[test]
    fn retries_behind_the_budget_wait_for_an_eighth_of_the_time_that_is_left() {
        let now = epoch();
        let schedule = HandoffSchedule::new(now, now + 10 * SECOND, 3, TIMEOUT);
        let at = |millis| now + Duration::from_millis(millis);
        let retry = |millis, retry| schedule.retry_at(at(millis), retry, &mut Rng::new(1));
        assert_eq!(retry(9_200, 1), Some(at(9_300)));
        assert_eq!(retry(8_990, 3), Some(at(8_990) + Duration::from_micros(126_250)), "10 ms are too short");
        assert_eq!(retry(9_200, 4), None, "the retries are spent");
        assert_eq!(retry(10_000, 1), None, "the deadline has come");
    }

    /// RULE-71
    #[test]
    fn waits_double() {
        let now = epoch();
        let schedule = HandoffSchedule::new(now, now + 10 * SECOND, 3, TIMEOUT);
        let mean = |retry| {
            let mut rng = Rng::new(1);
            let waits = (0..1_000).map(|_| schedule.retry_at(now, retry, &mut rng).unwrap() - now);
            waits.sum::<Duration>() / 1_000
        };
        for (retry, nominal) in [(1, 1_125), (2, 2_250), (3, 4_500)] {
            let nominal = Duration::from_millis(nominal);
            assert!(mean(retry).abs_diff(nominal) < nominal / 50, "retry {retry}: {:?}", mean(retry));
        }
        assert_eq!(schedule.retry_at(now, 0, &mut Rng::new(1)), None);
        assert_eq!(schedule.retry_at(now, 4, &mut Rng::new(1)), None);
        assert_eq!(schedule.retry_at(now + 10 * SECOND, 1, &mut Rng::new(1)), None);
    }

    /// RULE-77
    #[test]
    fn reconnecting_slows_down_to_the_cap_and_starts_anew() {
        let mut rng = Rng::new(5);
        let mut reconnect = Reconnect::new();
        for longest in PAUSES.map(Duration::from_millis) {
            let pause = reconnect.next(&mut rng);
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
        }
        for _ in 0..100 {
            assert!(reconnect.next(&mut rng) >= SECOND);
        }
        reconnect.reset();
        assert!(reconnect.next(&mut rng) <= Duration::from_millis(50));
    }

    /// Where only the operator can help, the pauses grow further, and no two clients are in step. RULE-129
    #[test]
    fn hopeless_pauses_grow_further() {
        let mut rng = Rng::new(5);
        let mut reconnect = Reconnect::new();
        for longest in [2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            let pause = reconnect.next_hopeless(&mut rng);
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
        }
        assert!(
            reconnect.next(&mut rng) <= Duration::from_millis(50),
            "failures of another kind are counted apart"
        );
        let of_another = Reconnect::new().next_hopeless(&mut Rng::new(6));
        assert_ne!(of_another, Reconnect::new().next_hopeless(&mut Rng::new(7)));
        reconnect.reset();
        assert!(reconnect.next_hopeless(&mut rng) <= Duration::from_secs(2));
    }

    proptest! {
        /// INV-07, PITFALL-15, RULE-72, RULE-225. Whatever the attempts do, refused at once or hanging until their limit, and
        /// however long the process is stopped in between: each of them is made in order until the deadline has come, within the
        /// budget if it has half a second there, and it has half a second if there is so much time. Where nothing was stopped,
        /// a move has one more than its seconds at least, or all.
        #[test]
        fn attempts_are_made_in_order_until_the_deadline(
            seed: u64,
            grace in 1..3_600u64,
            retries in 1..=10u32,
            timeout in 1..30_000u64,
            hangs in proptest::collection::vec(any::<bool>(), 11),
            stop in proptest::option::of((0..11u32, 0.0..1.0f64)),
        ) {
            let origin = epoch();
            let mut rng = Rng::new(seed);
            let timeout = Duration::from_millis(timeout);
            let deadline = origin + Duration::from_secs(grace);
            let schedule = HandoffSchedule::new(origin, deadline, retries, timeout);
            let end = origin + budget_of(grace);
            let mut now = origin;
            let mut made = 0_u64;
            for attempt in 0..=retries {
                if let Some((_, part)) = stop.filter(|(before, _)| *before == attempt) {
                    now += (deadline - now).mul_f64(part);
                }
                let limit = schedule.attempt_limit(now, attempt);
                let limit = limit.expect("an attempt is due");
                made += 1;
                let share = end.saturating_duration_since(now) / (retries + 1 - attempt);
                prop_assert!(limit <= timeout && now + limit <= deadline);
                prop_assert!(share < LEAST || now + limit <= end);
                prop_assert!(limit >= timeout.min(LEAST).min(deadline - now));
                if hangs[attempt as usize] {
                    now += limit;
                }
                match schedule.retry_at(now, attempt + 1, &mut rng) {
                    Some(at) => {
                        let latest = end.max(now + deadline.saturating_duration_since(now) / 8);
                        prop_assert!(attempt < retries && now < at && at <= latest && at < deadline);
                        now = at;
                    }
                    None => {
                        prop_assert!(attempt == retries || now == deadline);
                        break;
                    }
                }
            }
            if stop.is_none() {
                prop_assert!(made > u64::from(retries).min(grace), "{made} in {grace} s, of {retries} and one");
            }
        }

        /// RULE-71
        #[test]
        fn waits_stray_by_a_quarter_at_most(
            seed: u64,
            grace in 2..3_600u64,
            (retries, retry) in (1..=10u32).prop_flat_map(|retries| (Just(retries), 1..=retries)),
        ) {
            let now = epoch();
            let schedule = HandoffSchedule::new(now, now + Duration::from_secs(grace), retries, TIMEOUT);
            let budget = budget_of(grace).as_secs_f64();
            let nominal = budget * f64::from(1 << (retry - 1)) / f64::from(1 << retries);
            let wait = (schedule.retry_at(now, retry, &mut Rng::new(seed)).unwrap() - now).as_secs_f64();
            prop_assert!((wait - nominal).abs() <= nominal * 0.25 + 1e-6, "{} of {}", wait, nominal);
        }

        /// Where every dial is refused at once, each wait is longer than the one before, and all of them together leave
        /// little of the budget unused. INV-07
        #[test]
        fn waits_grow_and_fill_the_budget(seed: u64, grace in 2..3_600u64, retries in 1..=10u32) {
            let origin = epoch();
            let mut rng = Rng::new(seed);
            let schedule = HandoffSchedule::new(origin, origin + Duration::from_secs(grace), retries, TIMEOUT);
            let mut attempts = vec![origin];
            while let Some(at) =
                schedule.retry_at(*attempts.last().unwrap(), attempts.len() as u32, &mut rng)
            {
                attempts.push(at);
            }
            prop_assert_eq!(attempts.len() as u32, retries + 1);
            let waits: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
            prop_assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", waits);
            let budget = budget_of(grace);
            let used: Duration = waits.iter().sum();
            // A budget less its 2^-n, a quarter either way.
            let nominal = budget - budget / (1 << retries);
            prop_assert!(used >= nominal * 3 / 4 && used < budget, "{:?} of {:?}", used, budget);
        }

        /// Whatever fails and succeeds, a pause is that of the failures since the last success.
        #[test]
        fn the_pause_before_connecting_again_follows_the_failures_in_a_row(
            seed: u64, outcomes in proptest::collection::vec(proptest::bool::weighted(0.8), 0..40),
        ) {
            let mut rng = Rng::new(seed);
            let mut reconnect = Reconnect::new();
            let mut longest = PAUSES.into_iter();
            for fails in outcomes {
                if !fails {
                    reconnect.reset();
                    longest = PAUSES.into_iter();
                    continue;
                }
                let longest = Duration::from_millis(longest.next().unwrap_or(2_000));
                let pause = reconnect.next(&mut rng);
                prop_assert!(longest / 2 <= pause && pause <= longest, "{:?} of {:?}", pause, longest);
            }
        }

        /// INV-11
        #[test]
        fn the_schedule_is_total(
            seed: u64, grace: u32, spent: u32, retries: u32, attempt: u32, timeout: u64,
        ) {
            let origin = epoch();
            let deadline = origin + Duration::from_secs(grace.into());
            let now = origin + Duration::from_secs(spent.into());
            let schedule = HandoffSchedule::new(origin, deadline, retries, Duration::from_secs(timeout));
            if let Some(at) = schedule.retry_at(now, attempt, &mut Rng::new(seed)) {
                prop_assert!(now <= at && at < deadline);
            }
            if let Some(limit) = schedule.attempt_limit(now, attempt) {
                prop_assert!(now + limit < deadline);
            }
        }
    }
}
