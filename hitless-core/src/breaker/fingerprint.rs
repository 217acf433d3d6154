use std::hash::Hasher;

use super::{Breaker, Permit, State, Trial};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Breaker {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // Permits are compared with the rest: see `tell`.
        let Self { config: _, state, epoch: _, next_trial: _ } = self;
        match state {
            State::Closed { failures } => digest.value(&(0, failures)),
            State::Open { until } => {
                digest.value(&1);
                digest.deadline(*until);
            }
            State::HalfOpen { trials, successes } => {
                digest.value(&(2, successes));
                digest.each(trials, |digest, trial| digest.deadline(trial.lost_at));
            }
        }
    }
}

impl Breaker {
    /// What `permit` is worth.
    pub(crate) fn tell<H: Hasher>(&self, permit: &Permit, digest: &mut Digest<'_, H>) {
        let Permit { epoch, trial } = permit;
        let trials: &[Trial] = match &self.state {
            State::HalfOpen { trials, .. } => trials,
            State::Closed { .. } | State::Open { .. } => &[],
        };
        let place = trials.iter().position(|out| Some(out.id) == *trial);
        digest.value(&(*epoch == self.epoch, place));
    }
}
