//! Two coordinators with the same fingerprint do the same from now on.

use std::hash::Hasher;
use std::time::Instant;

use super::moves::{Handoff, HandoffState, Move};
use super::{Conn, Coordinator, Phase, TimerKey};
use crate::event::WindowScope;
use crate::fingerprint::{Ages, Digest, Fingerprint};
use crate::ids::{ConnId, ReviewId};
use crate::mode::Support;
use crate::notification::MoveTarget;
use crate::rng::Rng;

/// What all numbers of places to dial at the loss of a source divide: up to four.
const TURNS: usize = 12;

impl Coordinator {
    /// Takes in all that decides what this coordinator will do, relative to `now`: for model checking, by way of the
    /// feature `explore`.
    ///
    /// Obey all directives first: those that are pending count by their number alone. Left out are how often ids were
    /// used, figures, and the state of the jitter, for which there is [`reseed`](Self::reseed). A name is taken to have
    /// two addresses at most.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        Digest::new(now, self, hasher).part(self);
    }

    /// Draws the same jitter from now on as every other coordinator after a call with this seed.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}

impl Ages for Coordinator {
    fn conn(&self, conn: ConnId) -> u32 {
        self.conns.age(conn)
    }

    fn review(&self, review: ReviewId) -> u32 {
        self.reviews.age(review)
    }
}

impl Fingerprint for Coordinator {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            config: _,
            rng: _,
            conns,
            by_peer,
            moves,
            finished,
            handoffs,
            breakers,
            queue,
            orphaned,
            working,
            windows,
            reviews,
            knowledge,
            advertised,
            timers,
            dials,
            directives,
        } = self;
        digest.part(conns);
        digest.each(by_peer, |digest, (peer, conns)| {
            digest.value(peer);
            digest.part(conns);
        });
        digest.each(moves.values(), |digest, of| digest.part(of));
        digest.part(finished);
        digest.part(handoffs);
        digest.part(breakers);
        digest.part(queue);
        digest.each(orphaned, |digest, conn| digest.part(conn));
        digest.part(working);
        digest.part(windows);
        digest.part(reviews);
        digest.part(knowledge);
        digest.part(advertised);
        digest.part(timers);
        digest.value(&(dials % 2, directives.len()));
    }
}

impl Fingerprint for Conn {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { phase, probe, replaces, follows, address, server_name, peer, avoid, limit, ending } = self;
        digest.value(&std::mem::discriminant(phase));
        match phase {
            Phase::Resolving(lookup) => digest.value(lookup),
            // Since when it drains is only reported.
            Phase::Draining { since: _, successor } => digest.part(successor),
            Phase::Dialing | Phase::Negotiating | Phase::Serving => {}
        }
        digest.value(&(probe, address, server_name, peer, avoid, limit, ending));
        digest.part(replaces);
        digest.part(follows);
    }
}

impl Fingerprint for Move {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            key,
            target,
            announced,
            started_at,
            deadline,
            schedule,
            scout_at,
            landed,
            behind_scout,
            scouting,
            chance_taken,
            open,
            moved: _,
            stayed: _,
            reported,
            turn_after_close,
            turn_taken_by,
        } = self;
        digest.value(&(key, target, announced, landed, scouting, chance_taken, open, reported));
        digest.value(&(turn_after_close % TURNS));
        digest.deadline(*deadline);
        digest.deadline(*scout_at);
        digest.deadline(self.patience());
        digest.part(schedule);
        digest.part(behind_scout);
        digest.part(turn_taken_by);
        if *target == Some(MoveTarget::SameName) {
            // Half of the time, and most of it, mean something.
            digest.instant(*started_at);
            digest.instant(*deadline);
            digest.instant(schedule.budget_end());
        }
    }
}

impl Fingerprint for Handoff {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { source, attempts, state } = self;
        digest.value(&(source, attempts));
        digest.value(&std::mem::discriminant(state));
        match state {
            HandoffState::Dialing { to } => digest.part(to),
            HandoffState::Queued(ticket) => digest.part(ticket),
            HandoffState::BehindScout
            | HandoffState::Waiting
            | HandoffState::BehindDrain
            | HandoffState::StayPut => {}
        }
    }
}

impl Fingerprint for Support {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&std::mem::discriminant(self));
        match self {
            Self::Unknown | Self::Active => {}
            Self::Refused { recheck_at } => digest.deadline(*recheck_at),
        }
    }
}

impl Fingerprint for TimerKey {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&std::mem::discriminant(self));
        match self {
            Self::Conn(conn) | Self::Handoff(conn) => digest.part(conn),
            Self::Move(peer) => digest.value(peer),
            Self::Review(review) => digest.part(review),
            Self::Advertised => {}
        }
    }
}

impl Fingerprint for WindowScope {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.value(&std::mem::discriminant(self));
        match self {
            Self::Database => {}
            Self::Peer(peer) => digest.value(peer),
            Self::Connection(conn) => digest.part(conn),
        }
    }
}
