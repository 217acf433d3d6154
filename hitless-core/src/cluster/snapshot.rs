//! Reading the answers to CLUSTER SLOTS and CLUSTER SHARDS, in both dialects.
//!
//! | of a node | CLUSTER SLOTS | CLUSTER SHARDS |
//! |---|---|---|
//! | host | the first element; null or `""`: the host that was asked; `?`: unknown | `endpoint`, the same; without it, `ip` |
//! | port | the second, which fits the connection that was asked | `tls-port` where connections are encrypted and it is neither absent nor 0, else `port` |
//! | id | the third, if it is there | `id` |
//! | other addresses | the fourth: `ip` and `hostname`, as pairs | `ip` and `hostname` |
//! | part | the first of a range is the primary | `role` and `health`: a primary that is online before one that is not |
//!
//! What is unknown of a node is `None`; a range that is none, two owners of one slot, and more nodes than a cluster can have make
//! the whole answer one that cannot be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use resp3_codec::Frame;

use crate::endpoint::{Endpoint, Host};
use crate::notification::SlotRange;

/// More nodes than clusters have: a thousand is what Redis recommends at most.
pub(super) const MAX_NODES: usize = 4_096;
/// More than the forty letters of an id.
const MAX_NAME: usize = 64;

/// A node, as an answer lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its id.
    pub(super) name: Option<Arc<str>>,
    /// Where clients are to connect; `None` if the answer does not know.
    pub(super) endpoint: Option<Endpoint>,
    /// Where else it is.
    pub(super) others: Vec<Endpoint>,
    /// Its host name, if it has one.
    pub(super) hostname: Option<Arc<str>>,
}

/// What an answer says: who owns what, by places in `nodes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) nodes: Vec<Listed>,
    /// Ascending and disjoint.
    pub(super) ranges: Vec<(SlotRange, usize)>,
    /// The replicas of each primary.
    pub(super) replicas: BTreeMap<usize, Vec<usize>>,
}

impl Snapshot {
    /// Reads the answer to CLUSTER SLOTS that the node at `asked` has given. `None` if it is none.
    pub(super) fn of_slots(reply: &Frame, asked: &Endpoint) -> Option<Self> {
        let mut reading = Reading::new(asked);
        for entry in reply.as_array()? {
            let [start, end, primary, replicas @ ..] = entry.as_array()? else { return None };
            let range = range(start, end)?;
            let primary = reading.note(reading.node_of_slots(primary)?)?;
            reading.snapshot.ranges.push((range, primary));
            for replica in replicas {
                // What is no node is something newer servers have added.
                if let Some(replica) = reading.node_of_slots(replica) {
                    let replica = reading.note(replica)?;
                    reading.add_replica(primary, replica);
                }
            }
        }
        reading.finish()
    }

    /// Reads the answer to CLUSTER SHARDS that the node at `asked` has given, over connections that are encrypted or not. `None` if
    /// it is none.
    pub(super) fn of_shards(reply: &Frame, asked: &Endpoint, is_encrypted: bool) -> Option<Self> {
        let mut reading = Reading::new(asked);
        for shard in reply.as_array()? {
            let slots = field(shard, "slots")?.as_array()?;
            let nodes = field(shard, "nodes")?.as_array()?;
            let ranges = slots.chunks(2).map(|ends| match ends {
                [start, end] => range(start, end),
                _ => None,
            });
            let ranges: Vec<SlotRange> = ranges.collect::<Option<_>>()?;
            let members: Vec<Member> =
                nodes.iter().map(|node| reading.member(node, is_encrypted)).collect::<Option<_>>()?;
            let primaries = || members.iter().filter(|member| member.is_primary);
            let Some(primary) = primaries().find(|member| member.is_online).or_else(|| primaries().next())
            else {
                continue;
            };
            if ranges.is_empty() {
                continue;
            }
            let primary = reading.note(primary.node.clone())?;
            reading.snapshot.ranges.extend(ranges.into_iter().map(|range| (range, primary)));
            for replica in members.into_iter().filter(|member| !member.is_primary && member.is_online) {
                let replica = reading.note(replica.node)?;
                reading.add_replica(primary, replica);
            }
        }
        reading.finish()
    }
}

/// A node of a shard.
struct Member {
    node: Listed,
    is_primary: bool,
    is_online: bool,
}

/// An answer that is being read.
struct Reading<'a> {
    asked: &'a Endpoint,
    snapshot: Snapshot,
    /// Where each node is listed, by its id or else by its address.
    places: BTreeMap<(Option<Arc<str>>, Option<Endpoint>), usize>,
}

impl<'a> Reading<'a> {
    fn new(asked: &'a Endpoint) -> Self {
        Self { asked, snapshot: Snapshot::default(), places: BTreeMap::new() }
    }

    /// Lists `node`, once. `None` when there are too many.
    fn note(&mut self, node: Listed) -> Option<usize> {
        let key = match &node.name {
            Some(name) => (Some(Arc::clone(name)), None),
            None => (None, node.endpoint.clone()),
        };
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        let place = self.snapshot.nodes.len();
        if place >= MAX_NODES {
            return None;
        }
        self.places.insert(key, place);
        self.snapshot.nodes.push(node);
        Some(place)
    }

    fn add_replica(&mut self, primary: usize, replica: usize) {
        let replicas = self.snapshot.replicas.entry(primary).or_default();
        if replica != primary && !replicas.contains(&replica) {
            replicas.push(replica);
        }
    }

    /// `None` if two nodes own one slot.
    fn finish(mut self) -> Option<Snapshot> {
        self.snapshot.ranges.sort_unstable();
        let are_disjoint = self.snapshot.ranges.is_sorted_by(|(one, _), (next, _)| one.end() < next.start());
        are_disjoint.then_some(self.snapshot)
    }

    /// `[host, port, id, other addresses]`, of which the last two may be missing.
    fn node_of_slots(&self, node: &Frame) -> Option<Listed> {
        let [host, port, rest @ ..] = node.as_array()? else { return None };
        let port = self::port(Some(port));
        let name = rest.first().and_then(name);
        let other = |key| rest.get(1).and_then(|others| field(others, key)).and_then(Frame::as_str);
        Some(self.listed(name, self.host(Some(host)), port, other("ip"), other("hostname")))
    }

    fn member(&self, node: &Frame, is_encrypted: bool) -> Option<Member> {
        let text = |key| field(node, key).and_then(Frame::as_str);
        let encrypted = is_encrypted.then(|| port(field(node, "tls-port"))).flatten();
        let port = encrypted.or_else(|| port(field(node, "port")));
        let host = match field(node, "endpoint") {
            endpoint @ Some(_) => self.host(endpoint),
            None => self.host(field(node, "ip")),
        };
        let name = field(node, "id").and_then(name);
        Some(Member {
            node: self.listed(name, host, port, text("ip"), text("hostname")),
            is_primary: matches!(text("role")?, "master" | "primary"),
            is_online: text("health").is_none_or(|health| health == "online"),
        })
    }

    fn listed(
        &self,
        name: Option<Arc<str>>,
        host: Option<Host>,
        port: Option<u16>,
        ip: Option<&str>,
        hostname: Option<&str>,
    ) -> Listed {
        let at = |host: Host| port.map(|port| Endpoint::Tcp { host, port });
        let known = |text: Option<&str>| text.and_then(|text| Host::parse(text).ok());
        let hostname = known(hostname);
        let endpoint = host.and_then(at);
        let others = [known(ip), hostname.clone()].into_iter().flatten().filter_map(at);
        let others = others.filter(|other| Some(other) != endpoint.as_ref()).collect();
        let hostname = match hostname {
            Some(Host::Name(name)) => Some(name),
            _ => None,
        };
        Listed { name, endpoint, others, hostname }
    }

    /// The host that `text` names: none or an empty one is the one that was asked, and a `?` is unknown.
    fn host(&self, text: Option<&Frame>) -> Option<Host> {
        match text.and_then(Frame::as_str) {
            None | Some("") => self.asked.host().cloned(),
            Some(text) => Host::parse(text).ok(),
        }
    }
}

fn range(start: &Frame, end: &Frame) -> Option<SlotRange> {
    let slot = |frame: &Frame| integer(frame).and_then(|slot| u16::try_from(slot).ok());
    SlotRange::new(slot(start)?, slot(end)?).ok()
}

fn port(frame: Option<&Frame>) -> Option<u16> {
    frame.and_then(integer).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

/// An integer, or one in decimal digits.
fn integer(frame: &Frame) -> Option<i64> {
    frame.as_int().or_else(|| frame.as_str()?.parse().ok())
}

fn name(frame: &Frame) -> Option<Arc<str>> {
    frame.as_str().filter(|name| (1..=MAX_NAME).contains(&name.len())).map(Arc::from)
}

fn field<'a>(pairs: &'a Frame, key: &str) -> Option<&'a Frame> {
    pairs.pairs()?.find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
