use std::hash::Hasher;

use super::{AfterClose, Alarm, Departure, Handoff, Move, Moves, Scout, Stage};
use crate::fingerprint::{Digest, Fingerprint};
use crate::notification::MoveTarget;
use crate::rng::Rng;

/// What all numbers of places to dial at the loss of a source divide: up to four.
const TURNS: usize = 12;

impl Moves {
    pub(in super::super) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Fingerprint for Moves {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { config: _, rng: _, live, remembered, queue, scoutless, alarms, decisions } = self;
        digest.each(live.values(), |digest, it| digest.part(it));
        digest.part(remembered);
        // The places in the queue are in the handoffs; here counts which comes first.
        digest.each(queue.iter(), |digest, conn| digest.part(&conn));
        digest.value(scoutless);
        digest.part(alarms);
        digest.value(&decisions.len());
    }
}

impl Fingerprint for Move {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            key,
            target,
            departure,
            started_at,
            deadline,
            schedule,
            scout_at,
            scout,
            handoffs,
            staying,
            moved: _,
            stayed: _,
            is_reported,
            chance_taken,
            dialled,
            relapses,
            is_given_up,
            after_close: AfterClose { turn, decided_by },
        } = self;
        let may_return = matches!(departure, Departure::Demoted { may_return: true, .. });
        digest.value(&(key, target, self.is_announced(), self.ends_early(), may_return));
        digest.value(&(is_reported, chance_taken, turn % TURNS));
        digest.value(&(relapses, is_given_up));
        digest.deadline(*deadline);
        digest.deadline(*scout_at);
        digest.deadline(self.patience());
        digest.part(schedule);
        match scout {
            Scout::Missing => digest.value(&0),
            Scout::Sent(conn) => {
                digest.value(&1);
                digest.part(conn);
            }
            Scout::Landed(target) => digest.value(&(2, target)),
        }
        digest.part(handoffs);
        digest.part(staying);
        digest.part(decided_by);
        if *target == Some(MoveTarget::SameName) {
            // Half of the time, and most of it, mean something.
            digest.instant(*started_at);
            digest.instant(*deadline);
            digest.instant(schedule.budget_end());
            digest.part(dialled);
        }
    }
}

impl Fingerprint for Handoff {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { failed, retry_at, watches_name, stage } = self;
        digest.value(&(failed, watches_name, std::mem::discriminant(stage)));
        digest.deadline_if_any(retry_at.filter(|_| *watches_name));
        match stage {
            Stage::AwaitsSwitch { to } => digest.part(to),
            Stage::BehindScout | Stage::Queued(_) | Stage::Dialing | Stage::Waiting | Stage::BehindDrain => {}
        }
    }
}

impl Fingerprint for Alarm {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&std::mem::discriminant(self));
        match self {
            Self::Handoff(source, from) => {
                digest.value(source);
                digest.part(from);
            }
            Self::Deadline(source) | Self::End(source) => digest.value(source),
        }
    }
}
