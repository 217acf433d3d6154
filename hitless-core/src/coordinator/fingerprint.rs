//! Two coordinators with the same fingerprint do the same from now on.

use std::hash::Hasher;
use std::time::Instant;

use super::Coordinator;
use crate::event::WindowScope;
use crate::fingerprint::{Ages, Digest, Fingerprint};
use crate::ids::{ConnId, ReviewId};

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
        self.moves.reseed(seed);
        self.advertised.reseed(seed);
        self.demotions.reseed(seed);
    }
}

impl Ages for Coordinator {
    fn conn(&self, conn: ConnId) -> u32 {
        self.ids.age(conn)
    }

    fn review(&self, review: ReviewId) -> u32 {
        self.reviews.age(review)
    }
}

impl Fingerprint for Coordinator {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // The ids in use are those of attempts and connections.
        let Self {
            config: _,
            ids: _,
            conns,
            attempts,
            moves,
            windows,
            reviews,
            knowledge,
            advertised,
            demotions,
            lookup,
            // Only a cluster's client has one, and what that explores owns no connections.
            home: _,
            directives,
        } = self;
        digest.part(conns);
        digest.part(attempts);
        digest.part(moves);
        digest.part(windows);
        digest.part(reviews);
        digest.part(knowledge);
        digest.part(advertised);
        digest.part(demotions);
        digest.part(lookup);
        digest.value(&directives.len());
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
