//! Several `redis-server` processes as one cluster on loopback, for one test or one demo.
//!
//! All verbs block their thread, and all of them may be called while others use the cluster: from a thread that an
//! asynchronous test has started for them.

mod forming;
mod reshard;
mod view;

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

pub use self::reshard::Reshard;
pub use self::view::Member;

use super::lock;
use super::redis_connection::{RedisConnection, text};
use super::redis_process::RedisProcess;
use crate::clock;

/// Longest time for whatever a cluster does by itself: a start, a failover.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at a cluster: no node says when it has heard of something.
const LOOK: Duration = Duration::from_millis(10);

/// What kind of cluster it is to be.
#[derive(Clone, Debug)]
pub struct Shape {
    primaries: usize,
    replicas: usize,
    node_timeout: Duration,
    full_coverage: bool,
}

impl Default for Shape {
    /// Three primaries with a replica each. A node that is silent for a minute counts as dead, so that nobody takes over from one that a busy machine
    /// holds up, and no node serves a request while a slot has nobody to serve it: a real cluster's default.
    fn default() -> Self {
        Self { primaries: 3, replicas: 1, node_timeout: Duration::from_secs(60), full_coverage: true }
    }
}

impl Shape {
    /// The same with this many primaries. A cluster needs three, so that two can agree that one is dead.
    #[must_use]
    pub fn with_primaries(mut self, primaries: usize) -> Self {
        self.primaries = primaries;
        self
    }

    /// The same without replicas.
    #[must_use]
    pub fn without_replicas(mut self) -> Self {
        self.replicas = 0;
        self
    }

    /// The same, serving what slots there are while others have nobody to serve them (redis: `cluster-require-full-coverage
    /// no`).
    #[must_use]
    pub fn serving_partially(mut self) -> Self {
        self.full_coverage = false;
        self
    }

    /// The same with another time of silence after which a node counts as dead.
    #[must_use]
    pub fn with_node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }
}

/// A running cluster. Nodes have numbers, in the order in which they were started: first the primaries, then for each primary
/// in the same order a replica. What they are changes with failovers; the numbers stay. Dropping it ends all processes.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
    // Behind the processes: they end before their directory is removed.
    _directory: Directory,
}

#[derive(Debug)]
struct Node {
    id: String,
    address: SocketAddr,
    bus: SocketAddr,
    /// `None` once it was killed.
    process: Mutex<Option<RedisProcess>>,
}

impl RedisCluster {
    /// Starts the processes, makes them one cluster with all slots and waits until every one of them says that it is.
    ///
    /// # Errors
    /// A process does not start, or they do not agree within a minute.
    pub fn start(program: &Path, shape: &Shape) -> io::Result<Self> {
        forming::start(program, shape)
    }

    /// How many nodes were started.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Where clients dial a node.
    ///
    /// # Panics
    /// There is no node of this number.
    #[must_use]
    pub fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].address
    }

    /// The name that a node gave itself.
    ///
    /// # Panics
    /// There is no node of this number.
    #[must_use]
    pub fn id(&self, node: usize) -> &str {
        &self.nodes[node].id
    }

    /// The number of a node's process; `None` once it was killed.
    ///
    /// # Panics
    /// There is no node of this number.
    #[must_use]
    pub fn process_id(&self, node: usize) -> Option<u32> {
        lock(&self.nodes[node].process).as_ref().map(RedisProcess::id)
    }

    /// A connection to a node.
    ///
    /// # Errors
    /// The node does not accept: it was killed.
    ///
    /// # Panics
    /// There is no node of this number.
    pub fn connect(&self, node: usize) -> io::Result<RedisConnection> {
        RedisConnection::dial(self.nodes[node].address)
    }

    /// The cluster as a node sees it.
    ///
    /// # Errors
    /// The node does not answer.
    ///
    /// # Panics
    /// There is no node of this number.
    pub fn view(&self, node: usize) -> io::Result<Vec<Member>> {
        let answer = self.connect(node)?.call(&["CLUSTER", "NODES"])?;
        Ok(view::parse(&text(answer)?))
    }

    /// The numbers of those that serve slots, or did until they died, as the first living node sees it.
    ///
    /// # Errors
    /// No node answers.
    pub fn primaries(&self) -> io::Result<Vec<usize>> {
        let members = self.look()?;
        let primaries = members.iter().filter(|member| !member.slots.is_empty());
        Ok(primaries.filter_map(|member| self.number(&member.id)).collect())
    }

    /// The number of the node that serves a slot, as the first living node sees it.
    ///
    /// # Errors
    /// No node answers, or none serves the slot.
    pub fn primary_of(&self, slot: u16) -> io::Result<usize> {
        let members = self.look()?;
        let serving = members.iter().find(|member| member.serves(slot));
        let number = serving.and_then(|member| self.number(&member.id));
        number.ok_or_else(|| io::Error::other(format!("nobody serves slot {slot}")))
    }

    /// The numbers of the living replicas of a node, as the first living node sees it.
    ///
    /// # Errors
    /// No node answers.
    ///
    /// # Panics
    /// There is no node of this number.
    pub fn replicas_of(&self, primary: usize) -> io::Result<Vec<usize>> {
        let id = self.id(primary);
        let members = self.look()?;
        let replicas =
            members.iter().filter(|member| member.primary.as_deref() == Some(id) && !member.is_failed);
        Ok(replicas.filter_map(|member| self.number(&member.id)).collect())
    }

    /// The slots that a node serves, as the first living node sees it.
    ///
    /// # Errors
    /// No node answers.
    ///
    /// # Panics
    /// There is no node of this number.
    pub fn slots_of(&self, node: usize) -> io::Result<Vec<RangeInclusive<u16>>> {
        let id = self.id(node);
        let members = self.look()?;
        Ok(members.into_iter().find(|member| member.id == id).map(|member| member.slots).unwrap_or_default())
    }

    /// Moves slots from one primary to another while both serve, as `redis-cli --cluster reshard` does: the new one imports,
    /// the old one migrates, the keys go over, and all are told. Slots that `from` does not serve are an error.
    ///
    /// # Errors
    /// A node refuses or does not answer: what has been moved stays moved.
    ///
    /// # Panics
    /// There is no node of one of these numbers.
    pub fn reshard(&self, slots: impl IntoIterator<Item = u16>, from: usize, to: usize) -> io::Result<()> {
        reshard::run(self, slots, from, to)
    }

    /// Begins to move slots, and leaves them between the two nodes, with all their keys at the old one.
    ///
    /// # Errors
    /// A node refuses or does not answer.
    ///
    /// # Panics
    /// There is no node of one of these numbers.
    pub fn open_slots(
        &self,
        slots: impl IntoIterator<Item = u16>,
        from: usize,
        to: usize,
    ) -> io::Result<Reshard> {
        Reshard::open(self, slots, from, to)
    }

    /// The slot of a key, as the first living node sees it.
    ///
    /// # Errors
    /// No node answers.
    pub fn slot_of(&self, key: &str) -> io::Result<u16> {
        let slot = self.connect(self.first_living()?)?.call(&["CLUSTER", "KEYSLOT", key])?;
        let slot = slot.as_int().and_then(|slot| u16::try_from(slot).ok());
        slot.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the reply is no slot"))
    }

    /// Has a replica take over from its living primary (`CLUSTER FAILOVER`), and waits until every living node knows it.
    ///
    /// # Errors
    /// The replica refuses, or has not taken over after a minute.
    ///
    /// # Panics
    /// There is no node of this number.
    pub fn failover(&self, replica: usize) -> io::Result<()> {
        let mut connection = self.connect(replica)?;
        let mut asked = None;
        until("the replica takes over", || {
            if self.is_known_as_primary(replica)? {
                return Ok(true);
            }
            // The server gives up after five seconds, and does not say so.
            let again = asked.is_none_or(|at| clock::now() > at + Duration::from_secs(6));
            if again && is_replica(&mut connection)? {
                connection.call(&["CLUSTER", "FAILOVER"])?;
                asked = Some(clock::now());
            }
            Ok(false)
        })
    }

    /// Ends a node at once (`SIGKILL`). Again is a no-op.
    ///
    /// # Panics
    /// There is no node of this number.
    pub fn kill(&self, node: usize) {
        *lock(&self.nodes[node].process) = None;
    }

    /// Waits until a living node serves a slot whose primary was killed, and every living node knows it. Returns its number.
    ///
    /// # Errors
    /// There is none after a minute.
    pub fn await_successor(&self, slot: u16) -> io::Result<usize> {
        let mut successor = 0;
        until("a replica takes over", || {
            successor = self.primary_of(slot)?;
            Ok(self.lives(successor) && self.is_known_as_primary(successor)?)
        })?;
        Ok(successor)
    }

    /// Whether every living node sees this one serving slots, and says that the cluster is well.
    fn is_known_as_primary(&self, node: usize) -> io::Result<bool> {
        let id = self.id(node);
        for number in self.living() {
            let members = self.view(number)?;
            let known = members.iter().any(|member| member.id == id && !member.slots.is_empty());
            if !known || !is_well(&mut self.connect(number)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn living(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|node| self.lives(*node))
    }

    fn lives(&self, node: usize) -> bool {
        lock(&self.nodes[node].process).is_some()
    }

    fn look(&self) -> io::Result<Vec<Member>> {
        self.view(self.first_living()?)
    }

    fn first_living(&self) -> io::Result<usize> {
        self.living().next().ok_or_else(|| io::Error::other("all nodes were killed"))
    }

    fn number(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }
}

/// Whether a node says that the cluster is well.
fn is_well(connection: &mut RedisConnection) -> io::Result<bool> {
    let info = text(connection.call(&["CLUSTER", "INFO"])?)?;
    Ok(info.lines().any(|line| line == "cluster_state:ok"))
}

fn is_replica(connection: &mut RedisConnection) -> io::Result<bool> {
    let info = text(connection.call(&["INFO", "replication"])?)?;
    Ok(info.lines().any(|line| line == "role:slave"))
}

/// Asks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let give_up = clock::now() + PATIENCE;
    while !is_so()? {
        if clock::now() > give_up {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("in vain: {what}")));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// A new directory of this process; dropping it removes it.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        let base = std::env::temp_dir();
        let mut number = 0;
        loop {
            let path = base.join(format!("hitless-cluster-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 10_000 => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// A directory in it.
    fn part(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left lies in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
