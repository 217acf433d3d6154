use std::hash::Hasher;

use super::{AfterClose, Alarm, Departure, Handoff, Move, Moves, Scout, Stage, Term};
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
            renews,
            began_at: _,
            term,
            scout_at,
            scout,
            handoffs,
            staying,
            awaiting,
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
        digest.value(&(key, target, self.is_announced(), self.is_demotion(), may_return, renews));
        digest.value(&(is_reported, turn % TURNS));
        digest.deadline_if_any(*chance_taken);
        digest.value(&(relapses, is_given_up));
        digest.part(term);
        digest.deadline(*scout_at);
        match scout {
            Scout::Missing => digest.value(&0),
            Scout::Sent(conn) => {
                digest.value(&1);
                digest.part(conn);
            }
            Scout::Landed(target) => digest.value(&(2, target)),
        }
        digest.part(handoffs);
        for told in [staying, awaiting] {
            digest.each(told, |digest, (conn, term)| {
                digest.part(conn);
                digest.part(term);
            });
        }
        digest.part(decided_by);
        if *target == Some(MoveTarget::SameName) {
            // Half of the time, and most of it, mean something.
            for term in std::iter::once(term).chain(handoffs.values().map(|handoff| &handoff.term)) {
                digest.instant(term.started_at);
                digest.instant(term.deadline);
                digest.instant(term.schedule.budget_end());
            }
            digest.part(dialled);
        }
    }
}

impl Fingerprint for Term {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // When it began means something by the half of the time alone, but for what a name is watched for.
        let Self { started_at: _, deadline, schedule } = self;
        digest.deadline(*deadline);
        digest.deadline(self.half_time());
        digest.part(schedule);
    }
}

impl Fingerprint for Handoff {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { term, failed, retry_at, watches_name, stage } = self;
        digest.part(term);
        digest.value(&(failed, watches_name, std::mem::discriminant(stage)));
        // Who waits for that has an alarm.
        let is_kept = *watches_name || matches!(stage, Stage::BehindScout);
        digest.deadline_if_any(retry_at.filter(|_| is_kept));
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
            Self::End(source) => digest.value(source),
        }
    }
}
