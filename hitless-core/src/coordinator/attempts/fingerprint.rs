use std::hash::Hasher;

use super::breakers::Breakers;
use super::{Attempt, Attempts, Dial, Phase, Purpose, TargetPermit};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Attempts {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // The purposes say what is replaced.
        let Self { live, replacing: _, limits, breakers, course, steps } = self;
        digest.each(live.iter(), |digest, (conn, attempt)| {
            digest.part(&conn);
            attempt.take_in(breakers, digest);
        });
        digest.part(limits);
        digest.each(breakers.iter(), |digest, (target, breaker)| {
            digest.value(target);
            digest.part(breaker);
        });
        digest.part(course);
        digest.value(&steps.len());
    }
}

impl Attempt {
    fn take_in<H: Hasher>(&self, breakers: &Breakers, digest: &mut Digest<'_, H>) {
        // The timers have `until`; the name that was looked up stands in an error alone.
        let Self { purpose, looked_up: _, limit, until: _, latest, avoid, permit, untried, refusal, phase } =
            self;
        match purpose {
            Purpose::Open(role) => digest.value(&(0, role)),
            Purpose::Replace { from, role, source, number } => {
                digest.part(from);
                digest.value(&(1, role, source, number));
            }
            Purpose::Advertised => digest.value(&2),
        }
        digest.value(&(limit, avoid, untried, std::mem::discriminant(phase)));
        digest.deadline_if_any(*latest);
        digest.value(&refusal.as_ref().map(ToString::to_string));
        match phase {
            Phase::Undecided => {}
            Phase::Resolving { host, port, of } => digest.value(&(host, port, of)),
            // How far TLS has come stands in an error alone.
            Phase::Dialing { dial: Dial { target, probe, tls: _ }, beside } => {
                digest.value(&(target, probe));
                digest.each(beside, |digest, (conn, Dial { target, probe, tls: _ })| {
                    digest.part(conn);
                    digest.value(&(target, probe));
                });
            }
            Phase::Negotiating { dial: Dial { target, probe, tls: _ }, peer, is_ending } => {
                digest.value(&(target, probe, peer, is_ending));
            }
        }
        digest.each(permit, |digest, TargetPermit { target, permit }| {
            digest.value(target);
            digest.each(breakers.get(target), |digest, breaker| breaker.tell(permit, digest));
        });
    }
}
