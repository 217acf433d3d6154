use std::hash::Hasher;

use super::{Holder, Keyring, PACE, Renewal, Waiting};
use crate::fingerprint::{Digest, Fingerprint};
use crate::timer::after;

impl Fingerprint for Keyring {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        // Which dials are due follows from the holders; what is known says what is left out of a text.
        let Self {
            asks: _,
            limit: _,
            holders,
            due: _,
            newest,
            known: _,
            changes,
            renewal,
            asked_at,
            pauses,
            rng: _,
        } = self;
        digest.value(&newest.is_some());
        digest.each(holders.iter(), |digest, (conn, holder)| {
            digest.part(&conn);
            match holder {
                Holder::Waits(Waiting { target: _, until, due, limit: _, changes: before }) => {
                    digest.value(&(0, before < changes));
                    digest.deadline_if_any(*until);
                    digest.deadline(*due);
                }
                Holder::Has(credentials) => {
                    digest.value(&(1, credentials.is_some(), credentials == newest));
                }
            }
        });
        match renewal {
            Renewal::Idle => digest.value(&0),
            Renewal::Due { at } => {
                digest.value(&1);
                digest.deadline(*at);
            }
            Renewal::Failed { retry_at } => {
                digest.value(&3);
                digest.deadline(*retry_at);
            }
            Renewal::Asked { until } => {
                digest.value(&2);
                digest.deadline(*until);
            }
        }
        digest.deadline_if_any(asked_at.map(|at| after(at, PACE)));
        digest.part(pauses);
    }
}
