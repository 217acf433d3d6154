//! Every interleaving of what can happen to a machine, in a small world: two connections, two or three servers, and a
//! bounded number of pushes, faults and requests. `cargo xtask explore` is the way to call it.
//!
//! A [`Scope`] says what may happen and how often. From its initial state each fact that is possible leads to another
//! state, and so on; states are recognised by their fingerprint, which is relative to the time and to the ids in use, and
//! visited once. After each fact the laws are checked; from every so many states on, the world turns kind, and everything
//! must come to its end. A violation comes with a shortest path to it.
//!
//! Two things are smaller than in the real world: facts happen at the instants at which something is due, or a whole second
//! later, not at all instants; and the jitter is the same after each fact.

mod client;
mod fact;
mod happening;
mod laws;
mod scope;
mod search;
mod world;

use std::sync::Arc;
use std::time::Instant;

pub use self::scope::{SCOPES, Scope};
pub use self::search::{Failure, Limits, Report, Violation};

use self::client::ClientModel;
use self::search::{Model, guarded, search};

/// Explores `scope`.
///
/// # Errors
/// The first law that is found broken.
pub fn explore(scope: &Scope, limits: Limits, epoch: Instant) -> Result<Report, Box<Failure>> {
    let scope = Arc::new(scope.clone());
    let at_once = |violation| Box::new(Failure { violation, path: Vec::new() });
    search(&ClientModel::new(&scope, epoch).map_err(at_once)?, limits)
}

/// Walks along the path of a [`Failure`] and says what happens.
#[must_use]
pub fn replay(scope: &Scope, path: &[u16], epoch: Instant) -> String {
    let scope = Arc::new(scope.clone());
    match ClientModel::new(&scope, epoch) {
        Ok(model) => walk(model, path),
        Err(violation) => format!("{violation}\n"),
    }
}

fn walk(mut model: ClientModel, path: &[u16]) -> String {
    model.trace = Some(String::new());
    for index in path {
        let facts = model.facts();
        let Some(fact) = facts.get(usize::from(*index)) else {
            return format!("there is no fact {index} among {facts:?}\n");
        };
        let result = guarded(|| model.step(*fact));
        if let Err(violation) = result {
            model.note(format_args!("{violation}"));
            return model.trace.unwrap_or_default();
        }
    }
    if let Err(violation) = guarded(|| model.complete()) {
        model.note(format_args!("{violation}"));
    }
    model.trace.unwrap_or_default()
}
