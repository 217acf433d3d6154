//! Everything that happened in a run, in order: what two runs of a seed are compared by, and what a failure shows.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hitless_core::cluster::{ClusterEvent, ClusterStats};
use hitless_core::driver::Runtime as _;
use hitless_core::endpoint::Target;
use hitless_core::error::RequestError;
use hitless_core::event::Event;

use super::cluster::plan::Reshape;
use super::consumer::Fate;
use super::faults::Fault;
use super::lock;
use super::network::SocketId;
use super::network::reshape::Places;
use super::plan::Maintenance;
use super::runtime::Executor;
use crate::server::{EndpointId, ServerConn};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A task was polled.
    Polled(u64),
    /// The client looks a name up.
    Lookup(String),
    /// The client dials.
    Dialled(SocketId, Target),
    /// The dial was answered.
    Answered(SocketId, Option<std::io::ErrorKind>),
    /// The server accepted the dial.
    Accepted(SocketId, ServerConn),
    /// The client wrote so many bytes.
    Wrote(SocketId, usize),
    /// The client wants what it wrote to be sent; perhaps not for the first time.
    Flush(SocketId),
    /// The client read so many bytes; none is the end.
    Read(SocketId, usize),
    /// The client closed or dropped the socket, or gave the dial up.
    HungUp(SocketId),
    /// So many bytes arrived at the server.
    Arrived(SocketId, usize),
    /// Maintenance begins or goes on.
    Maintenance(Maintenance),
    /// Something becomes of the cluster, and the nodes that it concerns.
    Reshaped(Reshape, Vec<EndpointId>),
    /// Where the slot of each tag is from now on.
    Places(Places),
    /// A fault strikes.
    Fault(Fault),
    /// One that strikes a connection has struck one to this endpoint.
    Struck(EndpointId),
    /// A fault that lasts is over.
    Healed(Fault),
    /// What the server says on this socket is on its way until all faults are over.
    Silenced(SocketId),
    /// No fault from now on, but those that stay.
    Calm,
    /// A task sent a request; the number is in the request as a word, if it has room for one.
    Sent { task: usize, request: u64, kind: RequestKind },
    /// A request was not accepted.
    NotAccepted { task: usize, request: u64 },
    /// A request was answered as it must be.
    Replied { task: usize, request: u64 },
    /// A request was answered by a node that serves no such requests now: -READONLY, -LOADING, -MASTERDOWN.
    Refused { task: usize, request: u64 },
    /// A request failed.
    Failed { task: usize, request: u64, error: RequestError },
    /// A task gave up on a request.
    Cancelled { task: usize, request: u64 },
    /// A task has had a lease, or wanted one; `ran` if all that it wanted was done.
    Held { task: usize, ran: bool },
    /// A subscriber was told this.
    Heard(&'static str),
    /// A consumer's call has ended.
    Consumed { tag: String, fate: Fate },
    /// This has happened to a consumer's command. Known, and noted, at the end.
    Waited(&'static str),
    /// A task has done its part.
    TaskDone(usize),
    /// The pool is open.
    Started,
    /// The client said something.
    Event(Event),
    /// The client of a cluster said something.
    ClusterEvent(ClusterEvent),
    /// The client of a node said something.
    NodeEvent(Event),
    /// The topology was asked for once more; so many questions until then had no answer that could be used.
    TopologyRead { failed: u64 },
    /// Figures of a cluster's client at the end.
    Figures(ClusterStats),
    /// A push that is no maintenance notification.
    Push,
    /// The client is shut down, or its last handle dropped.
    Shutdown,
    /// Nothing is left of it.
    Gone,
}

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Incr,
    Set,
    Get,
    Echo,
    Pipeline,
    Atomic,
    /// Two keys of one slot.
    Mset,
    Mget,
    /// Keys of several slots.
    SplitMset,
    SplitMget,
    Probe,
    /// One that kills the link that carries it.
    Poison,
    /// One whose reply is at a limit.
    Edge,
}

/// The trace of a run; a clone is another handle to the same.
#[derive(Clone)]
pub(super) struct Trace {
    executor: Executor,
    entries: Arc<Mutex<Vec<(Instant, What)>>>,
}

impl Trace {
    pub(super) fn new(executor: &Executor) -> Self {
        Self { executor: executor.clone(), entries: Arc::default() }
    }

    /// Notes that something happened now.
    pub(super) fn note(&self, what: What) {
        let now = self.executor.now();
        lock(&self.entries).push((now, what));
    }

    /// How often something of this kind happened.
    pub(super) fn count(&self, is_of_kind: impl Fn(&What) -> bool) -> usize {
        lock(&self.entries).iter().filter(|(_, what)| is_of_kind(what)).count()
    }

    /// What happened so far.
    pub(super) fn entries(&self) -> Vec<(Instant, What)> {
        lock(&self.entries).clone()
    }
}

/// Shows a trace one entry a line, with the time since `epoch`.
pub(super) struct Lines<'a> {
    pub(super) epoch: Instant,
    pub(super) entries: &'a [(Instant, What)],
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, what) in self.entries {
            let at = at.saturating_duration_since(self.epoch);
            writeln!(f, "{:>5}.{:06} {what:?}", at.as_secs(), at.subsec_micros())?;
        }
        Ok(())
    }
}
