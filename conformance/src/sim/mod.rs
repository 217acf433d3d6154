//! The driver in deterministic simulation: virtual time, a seeded scheduler, a network that fails, and laws.
//!
//! A seed stands for a whole run: which settings the client has, what its users ask for and when, what maintenance the
//! server goes through, which faults strike where, in which order ready tasks are polled, how long each hop takes and
//! where bytes are cut. The same seed gives the same run, to the last poll (INV-13), so that a failure is found again by
//! its number alone.
//!
//! A run has two phases. First anything may happen. Then every fault is over, and everything must come right: whoever
//! waits gets an answer, the pool is whole, each connection answers. At last the client is shut down or dropped, and
//! nothing may be left of it.
//!
//! | part | what it is |
//! |---|---|
//! | `runtime` | tasks, timers and the clock |
//! | `network` | resolver, connector and streams in front of the sans-IO [`Server`](crate::server::Server) |
//! | `faults`, `plan` | what a seed is drawn into |
//! | `edges` | replies at the limits and beyond, and the words of refusals |
//! | `opinions` | a hook and a policy that have a say in what notifications do |
//! | `caller` | tasks that send requests, and know what each reply must be |
//! | `holder` | tasks that hold leases and run transactions |
//! | `consumer` | tasks that wait for elements, and push them |
//! | `elements` | what must have become of each element |
//! | `scenario` | the course of a run |
//! | `laws` | what must hold of it |
//! | `joins` | the law of which connections requests join |
//! | `cluster` | the same for a cluster: its plan, its callers, its course and its laws |
//! | `coverage` | how often everything happened that can happen |
//! | `world` | the suite on this runtime |
//! | `fixture` | the same runtime and network without chance, for the tests of the driver |

mod caller;
mod cluster;
mod consumer;
mod coverage;
mod edges;
mod elements;
mod excuses;
mod faults;
mod fixture;
mod holder;
mod joins;
mod laws;
mod network;
mod opinions;
mod plan;
mod runtime;
mod scenario;
mod seed;
mod simulation;
mod subscriber;
mod trace;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::cluster::ClusterScenario;
pub use self::coverage::Coverage;
pub use self::fixture::Fixture;
pub use self::network::Network;
pub use self::runtime::Executor;
use self::scenario::Scenario;
pub use self::seed::Seed;
use self::trace::{Lines, Trace, What};
pub use self::world::Sim;

/// The run of one seed that is as it must be.
#[derive(Debug)]
pub struct Report {
    /// How often everything happened.
    pub coverage: Coverage,
    /// Entries of the trace.
    pub length: usize,
}

/// A run in which a law was broken.
pub struct Failure {
    /// The seed that brings it back.
    pub seed: Seed,
    /// Which law, and how.
    pub message: String,
    /// Everything that happened, an entry a line.
    pub trace: String,
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("seed", &self.seed)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// Runs a seed twice and compares. `epoch` is when its clock begins: any instant does.
///
/// # Errors
/// A law was broken, or the two runs differ (INV-13).
pub fn check(seed: Seed, epoch: Instant) -> Result<Report, Failure> {
    let first = run(seed, epoch);
    let second = run(seed, epoch);
    if let Some(at) = first_difference(&first.trace, &second.trace) {
        let message = format!("INV-13: two runs differ from entry {at} on: {:?}", second.trace.get(at));
        return Err(first.fail(seed, epoch, message));
    }
    first.report(seed, epoch)
}

/// Runs a seed once. The trace is there in any case.
pub fn trace(seed: Seed, epoch: Instant) -> (Result<Report, Failure>, String) {
    let run = run(seed, epoch);
    let trace = Lines { epoch, entries: &run.trace }.to_string();
    (run.report(seed, epoch), trace)
}

/// A run, whatever came of it.
struct Run {
    trace: Vec<(Instant, What)>,
    outcome: Result<(), String>,
}

fn run(seed: Seed, epoch: Instant) -> Run {
    match seed {
        Seed::Database(seed) => {
            let scenario = Scenario::new(seed, epoch);
            watched(&scenario.trace(), || scenario.run())
        }
        Seed::Cluster(seed) => {
            let scenario = ClusterScenario::new(seed, epoch);
            watched(&scenario.trace(), || scenario.run())
        }
    }
}

/// A law that is broken panics, wherever it is: in a task, in the network, or at the end.
fn watched(trace: &Trace, run: impl FnOnce()) -> Run {
    let outcome = catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned())
    });
    Run { trace: trace.entries(), outcome }
}

impl Run {
    fn report(self, seed: Seed, epoch: Instant) -> Result<Report, Failure> {
        match &self.outcome {
            Ok(()) => Ok(Report { coverage: Coverage::of(&self.trace), length: self.trace.len() }),
            Err(message) => {
                let message = message.clone();
                Err(self.fail(seed, epoch, message))
            }
        }
    }

    fn fail(self, seed: Seed, epoch: Instant, message: String) -> Failure {
        let trace = Lines { epoch, entries: &self.trace }.to_string();
        Failure { seed, message, trace }
    }
}

fn first_difference(first: &[(Instant, What)], second: &[(Instant, What)]) -> Option<usize> {
    let at = first.iter().zip(second).position(|(one, other)| one != other);
    at.or_else(|| (first.len() != second.len()).then(|| first.len().min(second.len())))
}

/// A panic elsewhere must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
