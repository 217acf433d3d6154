use std::hash::Hasher;

use super::silence::Silence;
use super::{Connection, Phase};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Connection {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            phase,
            is_encrypted: _,
            is_node: _,
            handshake_bytes,
            resp3,
            opt_in,
            auth,
            subscribing,
            pipeline,
            relaxed,
            // Read with the event that says so.
            was_refused_in_window: _,
            silence,
            has_answered,
            tracks,
            events,
        } = self;
        digest.value(&(std::mem::discriminant(phase), has_answered, tracks));
        match phase {
            Phase::Negotiating(handshake) => digest.part(handshake),
            Phase::Ready | Phase::Draining | Phase::Closed => {}
        }
        digest.value(&(
            handshake_bytes.len(),
            resp3.is_some(),
            opt_in.is_some(),
            auth.is_some(),
            subscribing,
            relaxed,
            events.len(),
        ));
        digest.part(pipeline);
        let Silence { patience: _, granted, in_window: _, since, is_dead } = silence;
        digest.value(is_dead);
        // Once it was said, how long it lasts does not matter.
        if !is_dead {
            digest.value(granted);
            digest.each(since, |digest, since| digest.instant(*since));
        }
    }
}
