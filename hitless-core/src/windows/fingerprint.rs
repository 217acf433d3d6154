use std::hash::Hasher;

use super::{Window, Windows};
use crate::fingerprint::{Digest, Fingerprint};

impl<S: Fingerprint> Fingerprint for Windows<S> {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { scopes, ends: _, announced: _, len: _, limit: _, completed } = self;
        digest.each(scopes, |digest, (scope, windows)| {
            digest.part(scope);
            digest.part(windows);
        });
        digest.part(completed);
    }
}

impl Fingerprint for Window {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { cause, until } = self;
        digest.value(cause);
        digest.deadline(*until);
    }
}
