use std::hash::Hasher;

use super::{Effect, Origin, Pending};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Pending {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { origin: Origin { conn, peer, at }, notification, arrival } = self;
        digest.part(conn);
        digest.value(peer);
        digest.instant(*at);
        digest.value(&format!("{notification:?}"));
        match arrival {
            Ok(Effect { window, destination }) => {
                digest.each(window, |digest, (scope, cause)| {
                    digest.part(scope);
                    digest.value(cause);
                });
                digest.value(destination);
            }
            Err(reason) => digest.value(reason),
        }
    }
}
