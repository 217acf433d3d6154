use std::hash::Hasher;

use super::{Found, Overlap, Stream};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Overlap {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { step, topics, round, unconfirmed, gaps, rounds, streams, kept: _, orders } = self;
        digest.value(&(step, topics, round, unconfirmed, gaps, rounds));
        digest.each(streams, |digest, (key, stream)| {
            digest.value(key);
            match stream {
                Stream::Sought(sought) => digest.part(sought),
                Stream::Found(Found { ahead, owed }) => digest.value(&(0, ahead, owed)),
            }
        });
        digest.value(&orders.len());
    }
}
