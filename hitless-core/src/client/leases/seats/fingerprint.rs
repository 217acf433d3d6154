use std::hash::Hasher;

use super::{IDLE, Seat, Seats, User};
use crate::backoff::Reconnect;
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Seats {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { limit: _, is_reserved, seats, taken: _, opening: _, idle } = self;
        digest.value(is_reserved);
        digest.part(seats);
        digest.value(idle);
    }
}

impl Fingerprint for Seat {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { active, since, next, is_asked, used_by } = self;
        digest.part(active);
        digest.deadline_if_any(since.map(|since| since + Reconnect::PROVEN_AFTER));
        digest.deadline_if_any(since.map(|since| since + Reconnect::TRUSTED_AFTER));
        digest.part(next);
        digest.value(is_asked);
        match used_by {
            User::Nobody => digest.value(&0),
            User::Idle { since } => {
                digest.value(&1);
                digest.deadline(*since + IDLE);
            }
            User::Holder(lease) => {
                digest.value(&2);
                digest.part(lease);
            }
            User::Retired => digest.value(&3),
        }
    }
}
