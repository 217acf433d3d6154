use std::hash::Hasher;

use super::stage::{Ends, Next, Stage, Step};
use super::{Command, Joined};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Command {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            payload: _,
            blocker,
            timeout,
            asks_last: _,
            accepted_at: _,
            sent_at,
            ends,
            deadline,
            reason,
            stage,
            joined,
            awaits_pong,
            was_hit,
            says_unblocked,
            may_stay,
            pause,
            vain,
        } = self;
        digest.value(&(
            blocker,
            timeout,
            reason,
            awaits_pong,
            was_hit,
            says_unblocked,
            may_stay,
            pause,
            vain,
        ));
        digest.instant(*sent_at);
        match ends {
            Ends::Open => digest.value(&0),
            Ends::Never => digest.value(&1),
            Ends::At(at) => digest.deadline(*at),
        }
        digest.deadline_if_any(*deadline);
        digest.part(stage);
        digest.each(joined, |digest, Joined { has_begun, replies }| {
            digest.value(&(has_begun, replies.is_some()));
        });
    }
}

impl Fingerprint for Stage {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&std::mem::discriminant(self));
        match self {
            Self::Paused { until } => digest.deadline(*until),
            Self::Sent(step) => {
                digest.value(&std::mem::discriminant(step));
                if let Step::Resting { until } = step {
                    digest.deadline(*until);
                }
            }
            Self::Answered { next, is_unblocking, until } => {
                digest.deadline(*until);
                digest.value(&(std::mem::discriminant(next), is_unblocking));
                if let Next::Rest { until } = next {
                    digest.deadline(*until);
                }
            }
            Self::Waiting | Self::MovingOn | Self::Over => {}
        }
    }
}
