//! What of a machine's state decides its future: two states with the same fingerprint do the same from now on.
//!
//! Time is relative to now, and ids are those of places, not of how often a place was used. What is only counted or
//! reported is left out, and so is the generator behind the jitter: whoever compares states draws the same jitter after
//! each fact (`reseed`). Each structure is taken apart field by field, so that a new field does not compile before it was
//! thought of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Instant;

use crate::ids::{Arena, ConnId, Id, IdMap, NodeId, ReviewId};

/// Takes a state in, part by part.
pub(crate) struct Digest<'a, H> {
    now: Instant,
    ages: &'a dyn Ages,
    hasher: &'a mut H,
}

/// How many times the place of an id was given away since it had this id: 0 for one that is in use.
pub(crate) trait Ages {
    fn conn(&self, conn: ConnId) -> u32;
    fn review(&self, review: ReviewId) -> u32;

    /// Machines that know no nodes have no ids of them.
    fn node(&self, _: NodeId) -> u32 {
        0
    }
}

/// A part of a state.
pub(crate) trait Fingerprint {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>);
}

impl<'a, H: Hasher> Digest<'a, H> {
    pub(crate) fn new(now: Instant, ages: &'a dyn Ages, hasher: &'a mut H) -> Self {
        Self { now, ages, hasher }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// What means the same in every state.
    pub(crate) fn value(&mut self, value: &(impl Hash + ?Sized)) {
        value.hash(self.hasher);
    }

    /// An instant whose distance matters, be it past or to come.
    pub(crate) fn instant(&mut self, at: Instant) {
        self.value(&at.saturating_duration_since(self.now));
        self.value(&self.now.saturating_duration_since(at));
    }

    /// An instant of which only matters whether it has come, and if not, when it will.
    pub(crate) fn deadline(&mut self, at: Instant) {
        self.value(&at.saturating_duration_since(self.now));
    }

    pub(crate) fn deadline_if_any(&mut self, at: Option<Instant>) {
        self.value(&at.map(|at| at.saturating_duration_since(self.now)));
    }

    pub(crate) fn part(&mut self, part: &(impl Fingerprint + ?Sized)) {
        part.fingerprint(self);
    }

    /// Parts in their order.
    pub(crate) fn each<T>(
        &mut self,
        parts: impl IntoIterator<Item = T>,
        mut take_in: impl FnMut(&mut Self, T),
    ) {
        for part in parts {
            self.hasher.write_u8(1);
            take_in(self, part);
        }
        self.hasher.write_u8(0);
    }
}

impl Fingerprint for ConnId {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let age = digest.ages.conn(*self);
        digest.value(&(self.index(), age));
    }
}

impl Fingerprint for ReviewId {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let age = digest.ages.review(*self);
        digest.value(&(self.index(), age));
    }
}

impl Fingerprint for NodeId {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let age = digest.ages.node(*self);
        digest.value(&(self.index(), age));
    }
}

impl<T: Fingerprint> Fingerprint for Option<T> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.each(self, |digest, part| digest.part(part));
    }
}

impl<T: Fingerprint> Fingerprint for Vec<T> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.each(self, |digest, part| digest.part(part));
    }
}

impl<T: Fingerprint> Fingerprint for VecDeque<T> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.each(self, |digest, part| digest.part(part));
    }
}

impl<T: Fingerprint> Fingerprint for BTreeSet<T> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.each(self, |digest, part| digest.part(part));
    }
}

impl<T: Fingerprint> Fingerprint for BTreeMap<ConnId, T> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.each(self, |digest, (conn, part)| {
            digest.part(conn);
            digest.part(part);
        });
    }
}

impl<K: Id, T: Fingerprint> Fingerprint for Arena<K, T> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let (free, places) = self.places();
        digest.value(free);
        digest.each(places, |digest, value| digest.part(value));
    }
}

impl<K: Id + Fingerprint, T: Fingerprint> Fingerprint for IdMap<K, T> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        digest.each(self.iter(), |digest, (key, value)| {
            digest.part(&key);
            digest.part(value);
        });
    }
}
