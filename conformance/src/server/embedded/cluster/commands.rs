//! `CLUSTER`, `ASKING`, `READONLY` and `READWRITE`.

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::super::cluster::ShardPorts;
use super::super::super::machine::EndpointId;
use super::super::dispatch::{Call, Failure, Outcome, bulk, ok, wrong_number};
use super::{Cluster, Place, SLOTS, slot_of};

const DISABLED: &str = "ERR This instance has cluster support disabled";

/// The next command may find its slot on the move to this node.
pub(in super::super) fn asking(call: &mut Call<'_>) -> Outcome {
    enabled(call)?;
    call.session.asking = true;
    ok()
}

/// From now on the connection reads what a replica has.
pub(in super::super) fn readonly(call: &mut Call<'_>) -> Outcome {
    enabled(call)?;
    call.session.reads_copies = true;
    ok()
}

pub(in super::super) fn readwrite(call: &mut Call<'_>) -> Outcome {
    enabled(call)?;
    call.session.reads_copies = false;
    ok()
}

pub(in super::super) fn cluster(call: &mut Call<'_>) -> Outcome {
    let cluster = enabled(call)?;
    let sub = call.arg(1).to_ascii_lowercase();
    let here = cluster.seat(call.session.endpoint);
    match (&sub[..], &call.request.words()[2..]) {
        (b"slots", []) => Ok(slots(call, cluster).into()),
        (b"shards", []) => Ok(shards(call, cluster).into()),
        (b"info", []) => Ok(info(cluster).into()),
        (b"myid", []) => {
            Ok(bulk(cluster.nodes.get(&here).map(|node| node.id.clone()).unwrap_or_default()).into())
        }
        (b"keyslot", [key]) => Ok(Frame::Integer(slot_of(key).into()).into()),
        (b"slots" | b"shards" | b"info" | b"myid" | b"keyslot", _) => {
            Err(wrong_number(&format!("cluster|{}", String::from_utf8_lossy(&sub))))
        }
        _ => {
            let sub = String::from_utf8_lossy(call.arg(1));
            Err(format!("ERR unknown subcommand '{sub}'. Try CLUSTER HELP.").into())
        }
    }
}

fn enabled<'a>(call: &'a Call<'_>) -> Result<&'a Cluster, Failure> {
    call.data.cluster.as_ref().ok_or_else(|| DISABLED.into())
}

/// `[[first, last, [host, port, id, metadata], ..], ..]`: the primary first, then its replicas.
fn slots(call: &Call<'_>, cluster: &Cluster) -> Frame {
    let ranges = cluster.ranges().into_iter().map(|(first, last, primary)| {
        let nodes = [primary].into_iter().chain(cluster.replicas_of(primary));
        let nodes = nodes.filter_map(|node| slots_node(call, cluster, node));
        let bounds = [first, last].map(|slot| Frame::Integer(slot.into()));
        Frame::Array(bounds.into_iter().chain(nodes).collect())
    });
    Frame::Array(ranges.collect())
}

fn slots_node(call: &Call<'_>, cluster: &Cluster, endpoint: EndpointId) -> Option<Frame> {
    let (place, node) = call.data.places.get(&endpoint).zip(cluster.nodes.get(&endpoint))?;
    let host = node.naming.host(place);
    // By what else it is known.
    let metadata = match (&host, &place.host) {
        (Some(told), None) if *told == ip(place) => Vec::new(),
        (Some(told), Some(host)) if *told == ip(place) => vec![(bulk("hostname"), bulk(host.clone()))],
        _ => vec![(bulk("ip"), bulk(ip(place)))],
    };
    Some(Frame::Array(vec![
        host.map_or(Frame::Null, bulk),
        port(place),
        bulk(node.id.clone()),
        Frame::Map(metadata),
    ]))
}

/// A map for each shard: its slots as pairs of bounds, and its nodes as maps.
fn shards(call: &Call<'_>, cluster: &Cluster) -> Frame {
    let ranges = cluster.ranges();
    let shards = cluster.primaries().into_iter().map(|primary| {
        let own = ranges.iter().filter(|(_, _, owner)| *owner == primary);
        let slots = own.flat_map(|(first, last, _)| [first, last].map(|slot| Frame::Integer((*slot).into())));
        let nodes = [primary].into_iter().chain(cluster.replicas_of(primary));
        let nodes = nodes.filter_map(|node| shards_node(call, cluster, node));
        Frame::Map(vec![
            (bulk("slots"), Frame::Array(slots.collect())),
            (bulk("nodes"), Frame::Array(nodes.collect())),
        ])
    });
    Frame::Array(shards.collect())
}

fn shards_node(call: &Call<'_>, cluster: &Cluster, endpoint: EndpointId) -> Option<Frame> {
    let (place, node) = call.data.places.get(&endpoint).zip(cluster.nodes.get(&endpoint))?;
    let mut fields = vec![(bulk("id"), bulk(node.id.clone()))];
    match cluster.ports {
        ShardPorts::Plain => fields.push((bulk("port"), port(place))),
        ShardPorts::TlsZero => {
            fields.extend([(bulk("port"), port(place)), (bulk("tls-port"), Frame::Integer(0))]);
        }
        ShardPorts::TlsOnly => fields.push((bulk("tls-port"), port(place))),
    }
    fields.push((bulk("ip"), bulk(ip(place))));
    fields.push((bulk("endpoint"), node.naming.host(place).map_or(Frame::Null, bulk)));
    if let Some(host) = &place.host {
        fields.push((bulk("hostname"), bulk(host.clone())));
    }
    let role = if node.primary.is_some() { "replica" } else { "master" };
    fields.push((bulk("role"), bulk(role)));
    fields.push((bulk("replication-offset"), Frame::Integer(0)));
    fields.push((bulk("health"), bulk("online")));
    Some(Frame::Map(fields))
}

fn info(cluster: &Cluster) -> Frame {
    let assigned = cluster.owners.iter().flatten().count();
    let text = format!(
        "cluster_enabled:1\r\ncluster_state:{}\r\ncluster_slots_assigned:{assigned}\r\ncluster_known_nodes:{}\r\n",
        if cluster.is_down || assigned < SLOTS { "fail" } else { "ok" },
        cluster.nodes.len(),
    );
    Frame::Verbatim { format: *b"txt", text: Bytes::from(text) }
}

fn ip(place: &Place) -> String {
    place.address.ip().to_string()
}

fn port(place: &Place) -> Frame {
    Frame::Integer(place.address.port().into())
}
