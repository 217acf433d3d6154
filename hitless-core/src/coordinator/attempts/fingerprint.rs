use std::hash::Hasher;

use super::breakers::Breakers;
use super::{Attempt, Attempts, Phase, Purpose, TargetPermit};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Attempts {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // The purposes say what is replaced. A name is taken to have two addresses at most.
        let Self { live, replacing: _, limits, breakers, turn, steps } = self;
        digest.each(live, |digest, (conn, attempt)| {
            digest.part(conn);
            attempt.take_in(breakers, digest);
        });
        digest.part(limits);
        digest.each(breakers.iter(), |digest, (target, breaker)| {
            digest.value(target);
            digest.part(breaker);
        });
        digest.value(&(turn % 2, steps.len()));
    }
}

impl Attempt {
    fn take_in<H: Hasher>(&self, breakers: &Breakers, digest: &mut Digest<'_, H>) {
        // The timers have `until`; the name that was looked up stands in an error alone.
        let Self { purpose, looked_up: _, limit, until: _, avoid, permit, phase } = self;
        match purpose {
            Purpose::Open(role) => digest.value(&(0, role)),
            Purpose::Replace { from, role, source, number } => {
                digest.part(from);
                digest.value(&(1, role, source, number));
            }
            Purpose::Advertised => digest.value(&2),
        }
        digest.value(&(limit, avoid, std::mem::discriminant(phase)));
        match phase {
            Phase::Undecided => {}
            Phase::Resolving { host, port, of } => digest.value(&(host, port, of)),
            Phase::Dialing { target, probe } => digest.value(&(target, probe)),
            Phase::Negotiating { target, probe, peer, is_ending } => {
                digest.value(&(target, probe, peer, is_ending));
            }
        }
        digest.each(permit, |digest, TargetPermit { target, permit }| {
            digest.value(target);
            digest.each(breakers.get(target), |digest, breaker| breaker.tell(permit, digest));
        });
    }
}
