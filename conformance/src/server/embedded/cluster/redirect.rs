//! Whom a node sends elsewhere, in the words of redis.

use std::time::Instant;

use bytes::Bytes;

use super::super::super::backend::Effects;
use super::super::super::machine::{EndpointId, ServerConn};
use super::super::super::request::{Request, decimal};
use super::super::Dataset;
use super::super::session::Session;
use super::super::table::{Class, Spec};
use super::{Cluster, Place, slot_of};

const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
const DOWN: &str = "CLUSTERDOWN The cluster is down";
const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";
const READ_ONLY: &str = "READONLY You can't write against a read only replica.";

impl Dataset {
    /// What the node says instead of running a command: none when it is a node without a cluster, or the right one.
    pub(in crate::server::embedded) fn redirection(
        &self,
        now: Instant,
        session: &Session,
        spec: &Spec,
        request: &Request,
    ) -> Option<String> {
        let cluster = self.cluster.as_ref()?;
        let keys = keys_of(spec, request);
        let Some(slot) = keys.first().map(|key| slot_of(key)) else {
            let refused = spec.class == Class::Write && cluster.is_replica(session.endpoint);
            return refused.then(|| READ_ONLY.to_owned());
        };
        if keys.iter().any(|key| slot_of(key) != slot) {
            return Some(CROSS_SLOT.to_owned());
        }
        if cluster.is_down {
            return Some(DOWN.to_owned());
        }
        let Some(owner) = cluster.owner(slot) else { return Some(NOT_SERVED.to_owned()) };
        if names_channels(spec) {
            // Channels have no data: the old node has them until the slot is gone, and replicas have them too.
            let serves = cluster.primary_of(session.endpoint) == Some(owner);
            return (!serves).then(|| format!("MOVED {slot} {}", self.name(owner)));
        }
        let here = cluster.seat(session.endpoint);
        let exists = |key: &&Bytes| self.store.is_live(now, session.db, key);
        if let Some(moving) = cluster.moving.get(&slot) {
            let carried = |key: &&&Bytes| moving.carried.contains(&key[..]) && exists(key);
            let there = keys.iter().filter(carried).count();
            let left = keys.iter().filter(|key| exists(key)).count() - there;
            if owner == here {
                return match left {
                    0 => Some(format!("ASK {slot} {}", self.name(moving.to))),
                    left if left < keys.len() => Some(TRY_AGAIN.to_owned()),
                    _ => None,
                };
            }
            if moving.to == here && session.asking {
                let incomplete = keys.len() > 1 && there < keys.len();
                return incomplete.then(|| TRY_AGAIN.to_owned());
            }
        }
        let copies = cluster.primary_of(here) == Some(owner);
        let serves = owner == here || (copies && session.reads_copies && spec.class != Class::Write);
        (!serves).then(|| format!("MOVED {slot} {}", self.name(owner)))
    }

    /// What a command that was let in by `ASKING` names is at the new node from now on.
    pub(in crate::server::embedded) fn note_arrivals(
        &mut self,
        session: &Session,
        spec: &Spec,
        request: &Request,
    ) {
        if let Some(cluster) = self.cluster.as_mut().filter(|_| session.asking) {
            for key in keys_of(spec, request) {
                let imports = |cluster: &Cluster| {
                    let here = cluster.seat(session.endpoint);
                    cluster.moving.get(&slot_of(key)).is_some_and(|moving| moving.to == here)
                };
                if imports(cluster) {
                    cluster.carry(key);
                }
            }
        }
    }

    /// Those who wait at a node for keys that it serves no longer are told where to go.
    pub(crate) fn redirect_blocked(&mut self, now: Instant, effects: &mut Effects) {
        let blocked = self.sessions.iter().filter_map(|(conn, session)| {
            let request = &session.blocked.as_ref()?.request;
            let spec = super::super::table::find(request.name())?;
            let text = self.redirection(now, session, spec, request)?;
            // While its slot is on the move it waits on.
            let stays = text.starts_with("ASK ") || text.starts_with("TRYAGAIN ");
            (!stays).then_some((*conn, text))
        });
        let blocked: Vec<(ServerConn, String)> = blocked.collect();
        for (conn, text) in blocked {
            self.refuse_blocked(conn, text, effects);
        }
    }

    /// `host:port`, as the node is announced. A host that is not told is empty.
    fn name(&self, endpoint: EndpointId) -> String {
        let node = self.cluster.as_ref().and_then(|cluster| cluster.nodes.get(&endpoint));
        let Some((place, node)) = self.places.get(&endpoint).zip(node) else { return ":0".to_owned() };
        let host = node.naming.host(place).unwrap_or_default();
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("{host}:{}", place.address.port())
    }
}

impl super::NodeNaming {
    /// What is told as the host: none stands for a null.
    pub(super) fn host(self, place: &Place) -> Option<String> {
        match self {
            Self::Address => Some(place.address.ip().to_string()),
            Self::Host => Some(place.host.clone().unwrap_or_else(|| "?".to_owned())),
            Self::Empty => Some(String::new()),
            Self::Null => None,
            Self::Unknown => Some("?".to_owned()),
        }
    }
}

/// Whether what stands in for keys are sharded channels.
fn names_channels(spec: &Spec) -> bool {
    matches!(spec.name, "spublish" | "ssubscribe" | "sunsubscribe")
}

/// The keys among the arguments of a command. Arity has been checked.
fn keys_of<'a>(spec: &Spec, request: &'a Request) -> Vec<&'a Bytes> {
    let args = request.words().get(1..).unwrap_or_default();
    match spec.name {
        "mset" => args.iter().step_by(2).collect(),
        "mget" | "del" | "unlink" | "exists" | "watch" | "ssubscribe" | "sunsubscribe" => {
            args.iter().collect()
        }
        "spublish" => args.first().into_iter().collect(),
        "blpop" | "brpop" => args.split_last().map(|(_, keys)| keys.iter().collect()).unwrap_or_default(),
        "eval" | "evalsha" => {
            let count = args.get(1).and_then(|count| usize::try_from(decimal(count)?).ok()).unwrap_or(0);
            args.iter().skip(2).take(count).collect()
        }
        "scan" | "dbsize" | "flushall" | "flushdb" => Vec::new(),
        _ if spec.class.touches_data() => args.first().into_iter().collect(),
        _ => Vec::new(),
    }
}
