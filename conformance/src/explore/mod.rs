//! Every interleaving of what can happen to a machine, in a small world: two connections, two or three servers, and a
//! bounded number of pushes, faults and requests. `cargo xtask explore` is the way to call it.
//!
//! A [`Scope`] says what may happen and how often. From its initial state each fact that is possible leads to another
//! state, and so on; states are recognised by their fingerprint, which is relative to the time and to the ids in use, and
//! visited once. After each fact the laws are checked; from every so many states on, the world turns kind, and everything
//! must come to its end. A violation comes with a shortest path to it.
//!
//! Where somebody waits for elements or messages, the servers are naive ones that understand what they receive (`keyspace`),
//! and each of their steps is a fact: they receive, carry out, and what they say is read.
//!
//! A cluster has two naive nodes, each with its own idea of where the slots are, and a naive driver that sends by the newest table or
//! as the machine says; what was heard is judged a second time, naively, and the table must say the same (`cluster`).
//!
//! Two things are smaller than in the real world: facts happen at the instants at which something is due, or a whole second
//! later (in a cluster a millisecond), not at all instants; and the jitter is the same after each fact.

mod client;
mod cluster;
mod consumers;
mod coordinator;
mod fact;
mod happening;
mod keyspace;
mod laws;
mod scope;
mod search;
mod world;

use std::sync::Arc;
use std::time::Instant;

pub use self::scope::{SCOPES, Scope};
pub use self::search::{Failure, Limits, Report, Violation};

use self::client::ClientModel;
use self::cluster::ClusterModel;
use self::coordinator::CoordinatorModel;
use self::scope::Subject;
use self::search::{Model, guarded, search};

/// Explores `scope`.
///
/// # Errors
/// The first law that is found broken.
pub fn explore(scope: &Scope, limits: Limits, epoch: Instant) -> Result<Report, Box<Failure>> {
    let scope = Arc::new(scope.clone());
    match scope.subject {
        Subject::Client => start(ClientModel::new(&scope, epoch), limits),
        Subject::Coordinator => start(CoordinatorModel::new(&scope, epoch), limits),
        Subject::Cluster(reshard) => start(ClusterModel::new(&scope, reshard, epoch), limits),
    }
}

/// Walks along the path of a [`Failure`] and says what happens.
#[must_use]
pub fn replay(scope: &Scope, path: &[u16], epoch: Instant) -> String {
    let scope = Arc::new(scope.clone());
    match scope.subject {
        Subject::Client => walk(ClientModel::new(&scope, epoch), path),
        Subject::Coordinator => walk(CoordinatorModel::new(&scope, epoch), path),
        Subject::Cluster(reshard) => walk(ClusterModel::new(&scope, reshard, epoch), path),
    }
}

fn start<M: Model>(initial: Result<M, Violation>, limits: Limits) -> Result<Report, Box<Failure>> {
    let at_once = |violation| Box::new(Failure { violation, path: Vec::new() });
    search(&initial.map_err(at_once)?, limits)
}

fn walk<M: Model>(initial: Result<M, Violation>, path: &[u16]) -> String {
    let mut model = match initial {
        Ok(model) => model,
        Err(violation) => return format!("{violation}\n"),
    };
    *model.trace() = Some(String::new());
    let end = follow(&mut model, path);
    let mut story = model.trace().take().unwrap_or_default();
    if let Err(violation) = end {
        story.push_str(&format!("{violation}\n"));
    }
    story
}

fn follow(model: &mut impl Model, path: &[u16]) -> Result<(), Violation> {
    for index in path {
        let facts = model.facts();
        let Some(fact) = facts.get(usize::from(*index)) else {
            return Violation::of(format!("there is no fact {index} among {facts:?}"));
        };
        guarded(|| model.step(*fact))?;
    }
    guarded(|| model.complete())
}
