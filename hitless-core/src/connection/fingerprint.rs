use std::hash::Hasher;

use super::silence::Silence;
use super::{Connection, Phase};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Connection {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { phase, handshake_bytes, resp3, opt_in, pipeline, relaxed, silence, has_answered, events } =
            self;
        digest.value(&(std::mem::discriminant(phase), has_answered));
        match phase {
            Phase::Negotiating(handshake) => digest.part(handshake),
            Phase::Ready | Phase::Draining | Phase::Closed => {}
        }
        digest.value(&(handshake_bytes.len(), resp3.is_some(), opt_in.is_some(), relaxed, events.len()));
        digest.part(pipeline);
        let Silence { timeouts, since } = silence;
        digest.value(timeouts);
        // Requests to come are younger than any silence.
        if pipeline.len() > 0 {
            digest.each(since, |digest, since| digest.instant(*since));
        }
    }
}
