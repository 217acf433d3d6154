//! Why no node of a cluster can be chosen for a command.

use thiserror::Error;

/// It is not clear which node of a cluster a command is for. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Its keys are in different slots, which different nodes may serve.
    #[error(
        "its keys are in different slots (such as {first} and {other}), which different nodes may serve: give the keys a hash tag in common, as in \
         {{user}}:name and {{user}}:age. `call_split` runs MGET, MSET, DEL, UNLINK, EXISTS and TOUCH slot by slot, which is not atomic"
    )]
    CrossSlot {
        /// The slot of its first key.
        first: u16,
        /// Another slot.
        other: u16,
    },
    /// It has no key, and its answer is that of one node.
    #[error("it has no key that says which node it is for: {instead}")]
    NeedsNode {
        /// What to call instead.
        instead: &'static str,
    },
    /// Its keys are in different slots, and not all of its bytes can be read as commands: nobody can say which of them each node is to run.
    #[error(
        "its keys are in different slots, and it is not one command for each of its replies in the form of `cmd`, so that it cannot be divided: name \
         the key that all of it goes by (`Request::key`)"
    )]
    Unreadable,
    /// It is not known how it is split.
    #[error(
        "only MGET, MSET, DEL, UNLINK, EXISTS and TOUCH are split, and with keys: for any other command give the keys a hash tag in common"
    )]
    NotSplit,
}
