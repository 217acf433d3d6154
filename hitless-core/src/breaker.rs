//! A circuit breaker: stop dialling an endpoint that keeps failing, and find out by itself when it is well
//! again.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::timer::after;

/// When the circuit breaker of a target opens and how it recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// How many failures in a row open it. Default 5; 0 counts as 1. Fewer give up on an endpoint sooner.
    pub failures: u32,
    /// How long it stays open before trials are allowed. Default 60 s. Longer spares a dead endpoint, and
    /// notices its recovery later.
    pub open_for: Duration,
    /// How many trials are allowed then, and how many must succeed to close it. Default 3; 0 counts as 1.
    pub half_open: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(60), half_open: 3 }
    }
}

/// A circuit breaker without a clock.
///
/// | state | an attempt | next state |
/// |---|---|---|
/// | closed | allowed | open, after [`failures`](BreakerConfig::failures) in a row |
/// | open | denied | half-open, after [`open_for`](BreakerConfig::open_for) |
/// | half-open | allowed while fewer than [`half_open`](BreakerConfig::half_open) are out or succeeded | closed, when so many succeeded; open, when one fails |
///
/// An attempt that is allowed holds a [`Permit`] and gives it back through [`settle`](Self::settle). Capacity
/// cannot be freed twice, because a permit is consumed. Nor can it be lost: a permit belongs to the state
/// that it was given in and means nothing once that is over, and the place of a trial that is never settled
/// (its permit was dropped) is free again after `open_for`. An attempt that must be made in any case is made
/// without a permit; its outcome does not count.
///
/// # State by state
///
#[doc = include_str!("../docs/breaker.md")]
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// Counts changes of state: permits of an earlier one are void.
    epoch: u64,
    next_trial: u64,
}

#[derive(Clone, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { trials: SmallVec<[Trial; 3]>, successes: u32 },
}

/// A permit that is out in the half-open state.
#[derive(Clone, Debug)]
struct Trial {
    id: u64,
    /// When it is taken for lost.
    lost_at: Instant,
}

/// The right to make one attempt, to be given back through [`Breaker::settle`] of the breaker that issued it.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
#[must_use = "a permit that is not settled occupies its place until it is taken for lost"]
pub(crate) struct Permit {
    epoch: u64,
    trial: Option<u64>,
}

/// How the attempt of a [`Permit`] ended. The set is closed: there is no fourth way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// The endpoint works.
    Success,
    /// The endpoint does not work.
    Failure,
    /// The attempt ended without saying anything about the endpoint.
    Cancelled,
}

/// Why there is no [`Permit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open")]
pub(crate) struct Denied {
    /// When to ask again, at the latest: then a permit is certain, unless another one has been given by then.
    pub(crate) retry_at: Instant,
}

/// What a [`Breaker`] does at a given time. The set is closed by the table at [`Breaker`].
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// Attempts are allowed.
    Closed,
    /// Attempts are denied.
    Open,
    /// Trials are allowed.
    HalfOpen,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub(crate) const fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed { failures: 0 }, epoch: 0, next_trial: 0 }
    }

    /// Asks to make an attempt.
    ///
    /// # Errors
    /// [`Denied`] while the breaker is open, or half-open with all trials out.
    pub(crate) fn try_acquire(&mut self, now: Instant) -> Result<Permit, Denied> {
        self.advance(now);
        let limit = self.config.half_open.max(1);
        let trial = match &mut self.state {
            State::Closed { .. } => None,
            State::Open { until } => return Err(Denied { retry_at: *until }),
            State::HalfOpen { trials, successes } => {
                let taken = u32::try_from(trials.len()).unwrap_or(u32::MAX).saturating_add(*successes);
                let first_lost = trials.iter().map(|trial| trial.lost_at).min();
                if let Some(retry_at) = first_lost.filter(|_| taken >= limit) {
                    return Err(Denied { retry_at });
                }
                let id = self.next_trial;
                self.next_trial += 1;
                trials.push(Trial { id, lost_at: after(now, self.config.open_for) });
                Some(id)
            }
        };
        Ok(Permit { epoch: self.epoch, trial })
    }

    /// Gives `permit` back and learns from the outcome. A permit whose state is over, or that was taken for
    /// lost, changes nothing.
    pub(crate) fn settle(&mut self, now: Instant, permit: Permit, end: AttemptEnd) {
        self.advance(now);
        if permit.epoch != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => match end {
                AttemptEnd::Success => *failures = 0,
                AttemptEnd::Cancelled => {}
                AttemptEnd::Failure => {
                    *failures += 1;
                    if *failures >= self.config.failures {
                        self.open(now);
                    }
                }
            },
            // Permits are not given in this state, and those of others are void.
            State::Open { .. } => {}
            State::HalfOpen { trials, successes } => {
                let Some(place) = trials.iter().position(|trial| Some(trial.id) == permit.trial) else {
                    return;
                };
                trials.swap_remove(place);
                match end {
                    AttemptEnd::Cancelled => {}
                    AttemptEnd::Failure => self.open(now),
                    AttemptEnd::Success => {
                        *successes += 1;
                        if *successes >= self.config.half_open {
                            self.enter(State::Closed { failures: 0 });
                        }
                    }
                }
            }
        }
    }

    /// What the breaker does at `now`.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Lets time do its part: an open breaker becomes half-open, and trials are taken for lost.
    fn advance(&mut self, now: Instant) {
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { until } if now < *until => {}
            State::Open { .. } => self.enter(State::HalfOpen { trials: SmallVec::new(), successes: 0 }),
            State::HalfOpen { trials, .. } => trials.retain(|trial| now < trial.lost_at),
        }
    }

    fn open(&mut self, now: Instant) {
        self.enter(State::Open { until: after(now, self.config.open_for) });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests;
