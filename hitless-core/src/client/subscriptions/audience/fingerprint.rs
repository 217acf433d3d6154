use std::hash::Hasher;

use super::{Audience, Change, Wanted};
use crate::fingerprint::{Digest, Fingerprint};

impl Fingerprint for Audience {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { subscriptions, topics, count: _, changes, quiet_until, said } = self;
        digest.each(subscriptions.iter(), |digest, (id, topics)| digest.value(&(id.index(), topics)));
        digest.each(topics, |digest, (topic, wanted)| {
            let Wanted { subscriptions, is_confirmed, gap, changes } = wanted;
            digest.value(&(topic, is_confirmed, gap.as_ref().map(|(cause, _)| cause)));
            let concerned = gap.iter().flat_map(|(_, concerned)| concerned);
            digest.each(concerned, |digest, id| digest.value(&id.index()));
            digest.each(subscriptions, |digest, id| digest.value(&id.index()));
            digest.each(changes, |digest, id| digest.value(&id.index()));
        });
        digest.each(changes.iter(), |digest, (id, change)| {
            // How long it has waited is only reported.
            let Change { subscription, added, left, answers, since: _, until } = change;
            digest.value(&(id.index(), subscription.index(), added, left, answers));
            digest.deadline_if_any(*until);
        });
        digest.deadline_if_any(*quiet_until);
        digest.value(&said.len());
    }
}
