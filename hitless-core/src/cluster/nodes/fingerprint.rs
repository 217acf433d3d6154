use std::hash::Hasher;

use super::{Moved, Node, Nodes, Rest, State};
use crate::fingerprint::{Digest, Fingerprint};
use crate::ids::NodeId;

impl Nodes {
    /// How many times the place of `node` was used anew since.
    pub(in crate::cluster) fn age(&self, node: NodeId) -> u32 {
        self.nodes.age(node)
    }
}

impl Fingerprint for Nodes {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { nodes, by_name, by_endpoint } = self;
        digest.part(nodes);
        digest.each(by_name, |digest, (name, node)| {
            digest.value(name);
            digest.part(node);
        });
        digest.each(by_endpoint, |digest, (endpoint, node)| {
            digest.value(endpoint);
            digest.part(node);
        });
    }
}

impl Fingerprint for Node {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self {
            name,
            endpoint,
            hostname,
            aliases,
            moved,
            state,
            failures,
            failed,
            // It makes an event, and decides nothing.
            is_lost: _,
            is_listed,
            is_seed,
            idle_since,
            refuses_reads,
            rest: Rest { is_on, until, pauses },
        } = self;
        digest.value(&(name, endpoint, hostname, aliases, is_listed, is_seed));
        digest.each(moved, |digest, Moved { to, heard_at, is_contradicted }| {
            digest.value(&(to, is_contradicted));
            digest.instant(*heard_at);
        });
        digest.value(&(refuses_reads, is_on));
        digest.each(until, |digest, until| digest.instant(*until));
        digest.part(pauses);
        digest.value(&std::mem::discriminant(state));
        match state {
            State::Known | State::Opening => {}
            State::Ready { since } => digest.instant(*since),
            State::Failed { retry_at } => digest.deadline(*retry_at),
        }
        digest.part(failures);
        digest.value(failed);
        digest.each(idle_since, |digest, since| digest.instant(*since));
    }
}
