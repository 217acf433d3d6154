use std::hash::Hasher;

use super::Handshake;
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Handshake {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { config: _, credentials: _, expected, resp3, client_id: _, opt_in, tracks, lacks_readonly } =
            self;
        digest.value(expected);
        digest.value(&(resp3.is_some(), opt_in, tracks, lacks_readonly));
    }
}
