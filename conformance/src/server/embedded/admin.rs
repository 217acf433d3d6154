//! `PING`, `INFO` and other commands about the server itself.

use std::time::Duration;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Condition, Protocol};
use super::super::machine::EndpointId;
use super::Dataset;
use super::dispatch::{Call, Outcome, bulk, integer, ok, wrong_number};
use super::store::Db;
use super::tracking;

pub(super) fn ping(call: &mut Call<'_>) -> Outcome {
    let message = match call.args() {
        [] => None,
        [message] => Some(message.clone()),
        _ => return Err(wrong_number("ping")),
    };
    if call.session.protocol == Protocol::Resp2 && call.session.subscriptions() > 0 {
        return Ok(Frame::Array(vec![bulk("pong"), bulk(message.unwrap_or_default())]).into());
    }
    Ok(message.map_or(Frame::Simple(Bytes::from_static(b"PONG")), bulk).into())
}

/// No replica has the writes, and none ever will: the answer comes at once.
pub(super) fn wait(_call: &mut Call<'_>) -> Outcome {
    Ok(integer(0).into())
}

pub(super) fn echo(call: &mut Call<'_>) -> Outcome {
    Ok(bulk(call.arg(1).clone()).into())
}

pub(super) fn info(call: &mut Call<'_>) -> Outcome {
    let condition = call.data.condition(call.session.endpoint);
    let text = format!(
        "# Server\r\nredis_version:{}\r\nredis_mode:{}\r\n\r\n# Clients\r\nconnected_clients:{}\r\n\
         blocked_clients:{}\r\n\r\n# Persistence\r\nloading:{}\r\n\r\n# Replication\r\nrole:{}\r\n",
        call.data.version,
        mode(call.data),
        call.data.sessions.len() + 1,
        call.data.sessions.values().filter(|session| session.blocked.is_some()).count(),
        u8::from(condition == Condition::Loading),
        if is_replica(call.data, call.session.endpoint) { "slave" } else { "master" },
    );
    Ok(Frame::Verbatim { format: *b"txt", text: Bytes::from(text) }.into())
}

/// What kind of server it is.
pub(super) fn mode(data: &Dataset) -> &'static str {
    if data.cluster.is_some() { "cluster" } else { "standalone" }
}

/// Whether the node says of itself that it copies another one.
pub(super) fn is_replica(data: &Dataset, endpoint: EndpointId) -> bool {
    let in_cluster = data.cluster.as_ref().is_some_and(|cluster| cluster.is_replica(endpoint));
    in_cluster || data.condition(endpoint) == Condition::ReadOnly
}

/// The table of commands is not told: clients that ask for it work without it.
pub(super) fn command(_: &mut Call<'_>) -> Outcome {
    Ok(Frame::Array(Vec::new()).into())
}

pub(super) fn config(call: &mut Call<'_>) -> Outcome {
    let sub = call.arg(1);
    if sub.eq_ignore_ascii_case(b"GET") {
        return Ok(Frame::Map(Vec::new()).into());
    }
    Err(format!("ERR unknown subcommand '{}'. Try CONFIG HELP.", String::from_utf8_lossy(sub)).into())
}

pub(super) fn dbsize(call: &mut Call<'_>) -> Outcome {
    let keys = call.data.store.keys(call.now, call.session.db);
    let here = keys.filter(|key| call.data.is_here(call.session.endpoint, key));
    Ok(integer(here.count()).into())
}

pub(super) fn flushall(call: &mut Call<'_>) -> Outcome {
    (0..call.data.store.databases()).for_each(|db| clear(call, db));
    tracking::flush(call);
    ok()
}

pub(super) fn flushdb(call: &mut Call<'_>) -> Outcome {
    clear(call, call.session.db);
    tracking::flush(call);
    ok()
}

/// A node of a cluster has its own keys only.
fn clear(call: &mut Call<'_>, db: Db) {
    let (data, endpoint) = (&mut *call.data, call.session.endpoint);
    let cluster = data.cluster.as_ref();
    data.store.clear(db, |key| cluster.is_none_or(|cluster| cluster.holds(endpoint, key)));
}

/// Virtual time: an arbitrary date and what has passed since the first connection.
pub(super) fn time(call: &mut Call<'_>) -> Outcome {
    let origin = call.data.origin.unwrap_or(call.now);
    let time = Duration::from_secs(1_700_000_000) + call.now.saturating_duration_since(origin);
    let [seconds, micros] =
        [time.as_secs(), u64::from(time.subsec_micros())].map(|part| bulk(part.to_string()));
    Ok(Frame::Array(vec![seconds, micros]).into())
}
