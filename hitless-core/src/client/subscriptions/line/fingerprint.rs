use std::hash::Hasher;

use super::Line;
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Line {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { conn, awaited, topics, leaving, has_answered } = self;
        digest.part(conn);
        digest.value(&(awaited, topics, leaving, has_answered));
    }
}
