//! How slots move while they are used.

use std::io;

use bytes::Bytes;
use resp3_codec::Frame;

use super::RedisCluster;
use super::forming::host_and_port;
use crate::net::redis_connection::RedisConnection;

/// Slots that are on the move at the same time: each command goes out for all of them in one write.
const AT_ONCE: usize = 16;
/// Keys that go over in one `MIGRATE`.
const KEYS: &str = "100";
/// Milliseconds for one `MIGRATE`.
const TIMEOUT: &str = "10000";

/// Slots between two nodes: the old one migrates them, the new one imports them. They stay so until it is
/// [finished](Self::finish).
#[derive(Debug)]
pub struct Reshard {
    slots: Vec<String>,
    nodes: Nodes,
}

/// Whom a reshard talks to.
#[derive(Debug)]
struct Nodes {
    source: RedisConnection,
    target: RedisConnection,
    source_id: String,
    target_id: String,
    target_address: [String; 2],
    /// The other primaries, which are told in the end.
    others: Vec<RedisConnection>,
}

pub(super) fn run(
    cluster: &RedisCluster,
    slots: impl IntoIterator<Item = u16>,
    from: usize,
    to: usize,
) -> io::Result<()> {
    let mut nodes = Nodes::connect(cluster, from, to)?;
    let slots: Vec<String> = slots.into_iter().map(|slot| slot.to_string()).collect();
    slots.chunks(AT_ONCE).try_for_each(|slots| {
        nodes.open(slots)?;
        nodes.finish(slots)
    })
}

impl Reshard {
    pub(super) fn open(
        cluster: &RedisCluster,
        slots: impl IntoIterator<Item = u16>,
        from: usize,
        to: usize,
    ) -> io::Result<Self> {
        let mut nodes = Nodes::connect(cluster, from, to)?;
        let slots: Vec<String> = slots.into_iter().map(|slot| slot.to_string()).collect();
        nodes.open(&slots)?;
        Ok(Self { slots, nodes })
    }

    /// Takes keys of these slots to the new node. Those that do not exist are passed over.
    ///
    /// # Errors
    /// The old node cannot give them away.
    pub fn carry(&mut self, keys: &[impl AsRef<[u8]>]) -> io::Result<()> {
        self.nodes.migrate(keys)
    }

    /// Takes the rest of the keys over, and tells all primaries who serves the slots now.
    ///
    /// # Errors
    /// A node refuses or does not answer: the slots stay where they are.
    pub fn finish(mut self) -> io::Result<()> {
        self.nodes.finish(&self.slots)
    }
}

impl Nodes {
    fn connect(cluster: &RedisCluster, from: usize, to: usize) -> io::Result<Self> {
        let others = cluster.primaries()?.into_iter().filter(|primary| ![from, to].contains(primary));
        Ok(Self {
            source: cluster.connect(from)?,
            target: cluster.connect(to)?,
            source_id: cluster.id(from).to_owned(),
            target_id: cluster.id(to).to_owned(),
            target_address: host_and_port(cluster.address(to)),
            others: others.map(|primary| cluster.connect(primary)).collect::<io::Result<_>>()?,
        })
    }

    fn open(&mut self, slots: &[String]) -> io::Result<()> {
        // The new one is told first, or it would send those away whom the old one sends to it.
        set(&mut self.target, slots, "IMPORTING", &self.source_id)?;
        set(&mut self.source, slots, "MIGRATING", &self.target_id)
    }

    fn finish(&mut self, slots: &[String]) -> io::Result<()> {
        self.empty(slots)?;
        // The same order: a slot that the old one has given up must have somebody who serves it.
        set(&mut self.target, slots, "NODE", &self.target_id)?;
        set(&mut self.source, slots, "NODE", &self.target_id)?;
        self.others.iter_mut().try_for_each(|other| set(other, slots, "NODE", &self.target_id))
    }

    /// Until the old one has no key in these slots. No new one comes up meanwhile: it sends those to the new one.
    fn empty(&mut self, slots: &[String]) -> io::Result<()> {
        let mut slots: Vec<&str> = slots.iter().map(String::as_str).collect();
        while !slots.is_empty() {
            let asks = slots.iter().map(|slot| ["CLUSTER", "GETKEYSINSLOT", slot, KEYS]);
            let answers = self.source.pipeline(asks)?;
            let mut left = Vec::new();
            for (slot, answer) in slots.into_iter().zip(answers) {
                let keys = answer?.into_array().unwrap_or_default();
                let keys: Vec<Bytes> = keys.into_iter().filter_map(Frame::into_bytes).collect();
                if !keys.is_empty() {
                    self.migrate(&keys)?;
                    left.push(slot);
                }
            }
            slots = left;
        }
        Ok(())
    }

    fn migrate(&mut self, keys: &[impl AsRef<[u8]>]) -> io::Result<()> {
        let [host, port] = &self.target_address;
        let head = ["MIGRATE", host, port, "", "0", TIMEOUT, "KEYS"].into_iter().map(str::as_bytes);
        let words: Vec<&[u8]> = head.chain(keys.iter().map(AsRef::as_ref)).collect();
        // `+NOKEY`: they have expired, or were deleted.
        self.source.call(&words).map(drop)
    }
}

/// `CLUSTER SETSLOT` for all of them.
fn set(connection: &mut RedisConnection, slots: &[String], state: &str, node: &str) -> io::Result<()> {
    let commands = slots.iter().map(|slot| ["CLUSTER", "SETSLOT", slot, state, node]);
    connection.pipeline(commands)?.into_iter().try_for_each(|reply| reply.map(drop))
}
