//! Which node a command is for: by its keys, or by what is documented for a command that has none.

use std::ops::Range;

use resp3_codec::Command;

use super::Combine;
use crate::command_table::{Answer, Ask, Entry, Malformed, Policy, Words, each_key, may_read_copy};
#[cfg(feature = "driver")]
use crate::request::Pipeline;
use crate::request::{Class, Commands, Replay, Request, Vetting};
use crate::slots::{MAX_SLOT, key_slot};

/// Which node a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// The node that serves this slot: all keys of the command hash to it.
    Slot(u16),
    /// None: the keys of the command hash to several slots, and no node runs it, not even one that serves all of them.
    Across {
        /// The slot of the first key.
        first: u16,
        /// The slot of the first key that hashes to another one.
        other: u16,
    },
    /// The command has no key.
    Keyless(Scope),
    /// A key is missing, or the number of keys is wrong: any node refuses it, and says why.
    Malformed,
}

/// Which nodes a command without keys concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// It does not matter which: each answers the same, or does what the command wants. It must be a primary if the command may
    /// write, such as a script without keys.
    AnyNode,
    /// One node of each shard, which must be the primary if the command may write.
    AllShards(Combine),
    /// Every node, replicas too where the client uses them.
    AllNodes(Combine),
    /// One node, and the caller has to say which: the answer is about that node, or about a connection to it.
    OneNode {
        /// What to do instead.
        instead: &'static str,
    },
}

/// Which node `command` is for. Of a command that is not known, such as one of a module, the first argument is the key.
///
/// ```
/// use hitless_core::cluster::{Combine, Route, Scope, key_slot, route};
/// use hitless_core::cmd;
///
/// assert_eq!(route(&cmd("GET").arg("k")), Route::Slot(key_slot(b"k")));
/// assert_eq!(route(&cmd("EVAL").arg("return 1").arg(0)), Route::Keyless(Scope::AnyNode));
/// assert_eq!(route(&cmd("DBSIZE")), Route::Keyless(Scope::AllShards(Combine::Sum)));
/// assert!(matches!(route(&cmd("MGET").args(["a", "b"])), Route::Across { .. }));
/// ```
#[must_use]
pub fn route(command: &Command) -> Route {
    Route::of(command)
}

/// One command of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Routed {
    /// Where it is in the [payload](Request::payload).
    pub bytes: Range<usize>,
    /// Which node it is for.
    pub route: Route,
}

/// The commands of `request` in their order, MULTI and EXEC among them, so that it can be split by node without encoding anything anew. All
/// go by the [key](Request::key) that the caller has named, if there is one. Of a [raw](Request::raw) request those commands are
/// returned that stand in front of bytes in another form than that of [`cmd`](crate::cmd).
///
/// ```
/// use hitless_core::cluster::{Route, commands, key_slot};
/// use hitless_core::{Pipeline, cmd};
///
/// let gets = Pipeline::from(["a", "b"].map(|key| cmd("GET").arg(key)));
/// let request = gets.into_request()?.expect("two commands");
/// let routes: Vec<Route> = commands(&request).map(|command| command.route).collect();
/// assert_eq!(routes, [b"a", b"b"].map(|key| Route::Slot(key_slot(key))));
/// # Ok::<(), hitless_core::request::RefusedCommand>(())
/// ```
pub fn commands(request: &Request) -> impl Iterator<Item = Routed> {
    let named = request.named_slot().map(Route::Slot);
    Commands::of(request.payload())
        .map(move |(bytes, command)| Routed { bytes, route: named.unwrap_or_else(|| Route::of(&command)) })
}

/// Which node `request` is for as a whole: that of the [key](Request::key) that the caller has named, else of the keys of all of its commands.
/// Where these differ in what they need, [`Across`](Route::Across) comes before a [`Scope`] of other nodes than any, that before a slot,
/// and a slot before [`Malformed`](Route::Malformed) and [`AnyNode`](Scope::AnyNode). A request in another form than that of
/// [`cmd`](crate::cmd) is for any node.
#[must_use]
pub fn route_request(request: &Request) -> Route {
    if let Some(slot) = request.named_slot() {
        return Route::Slot(slot);
    }
    let routes = Commands::of(request.payload()).map(|(_, command)| Route::of(&command));
    routes.reduce(Route::and).unwrap_or(Route::Keyless(Scope::AnyNode))
}

/// Whether a replica may run `request`: all of its commands only read, as the table of commands knows that ([`Replay::of`](crate::request::Replay::of)).
/// Not a [transaction](Class::Atomic), one that blocks, [raw](Request::raw) bytes, or one that is [never](Replay::Never) to be sent again; nor TOUCH, whose mark is the primary's to have, and EVALSHA_RO, whose
/// script may have been given to the primary alone.
#[must_use]
pub fn only_reads(request: &Request) -> bool {
    request.class() == Class::Shared
        && request.vetting != Vetting::Unchecked
        && request.replay != Replay::Never
        && Commands::of(request.payload()).all(|(_, command)| may_read_copy(&command))
}

/// The first slot but `slot` that a command of `pipeline` has a key in, as far as the table knows where its keys are.
#[cfg(feature = "driver")]
pub(crate) fn strays_from(slot: u16, pipeline: &Pipeline) -> Option<u16> {
    // What asks about a slot has no key there.
    let has_keys = |entry: &Entry| !entry.name.starts_with("CLUSTER ");
    let known = Commands::of(pipeline.wire()).filter(|(_, command)| Entry::of(command).is_some_and(has_keys));
    known.map(|(_, command)| Route::of(&command)).find_map(|route| match route {
        Route::Slot(other) => Some(other).filter(|other| *other != slot),
        Route::Across { first, other } => Some(if first == slot { other } else { first }),
        Route::Keyless(_) | Route::Malformed => None,
    })
}

impl Route {
    /// That of two commands which one node is to run.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Slot(first), Self::Slot(other)) if first != other => Self::Across { first, other },
            (one, other) if other.rank() > one.rank() => other,
            (one, _) => one,
        }
    }

    /// How much it decides where a batch goes.
    fn rank(self) -> u8 {
        match self {
            Self::Keyless(Scope::AnyNode) => 0,
            Self::Malformed => 1,
            Self::Slot(_) => 2,
            Self::Keyless(Scope::AllShards(_) | Scope::AllNodes(_) | Scope::OneNode { .. }) => 3,
            Self::Across { .. } => 4,
        }
    }

    /// Allocates nothing.
    fn of(command: &impl Words) -> Self {
        let entry = Entry::of(command);
        let mut route = None;
        let keys = each_key(entry, command, |key| {
            let slot = key_slot(key);
            match route {
                None => route = Some(Self::Slot(slot)),
                Some(Self::Slot(first)) if first != slot => {
                    route = Some(Self::Across { first, other: slot });
                }
                Some(_) => {}
            }
        });
        match (keys, route) {
            (Err(Malformed), _) => Self::Malformed,
            (Ok(()), Some(route)) => route,
            (Ok(()), None) => of_keyless(entry, command),
        }
    }
}

/// The route of a command without keys.
fn of_keyless(entry: Option<&Entry>, command: &impl Words) -> Route {
    let Some(entry) = entry else { return Route::Keyless(Scope::AnyNode) };
    match entry.name {
        "CLUSTER COUNTKEYSINSLOT" | "CLUSTER GETKEYSINSLOT" => {
            let slot = command.words().nth(2).and_then(|word| str::from_utf8(word).ok()?.parse().ok());
            slot.filter(|slot| *slot <= MAX_SLOT).map_or(Route::Malformed, Route::Slot)
        }
        _ => Route::Keyless(scope(entry)),
    }
}

const OF_A_NODE: &str = "each node has an answer of its own: call it at the nodes that you mean (`ClusterClient::nodes` has the client of each)";
const OF_A_CURSOR: &str =
    "a cursor is that of one node: scan one after the other (`ClusterClient::nodes` has the client of each)";
const OF_A_CONNECTION: &str = "it answers for the writes of its own connection: write and wait on a lease \
                               (`ClusterClient::lease` with the key)";

/// The nodes that a command without keys concerns. The documented policies are followed where a caller can rely on the whole being
/// what it is on one server; where the documentation has the client merge what nodes say of themselves, the caller says which is asked.
fn scope(entry: &Entry) -> Scope {
    let family = entry.name.split(' ').next().unwrap_or(entry.name);
    match family {
        "DBSIZE" | "KEYS" | "FLUSHALL" | "FLUSHDB" | "SCRIPT" | "FUNCTION" => of_policy(entry.policy),
        // The documentation has it sent to all shards. It is used to find out whether there is an answer.
        "PING" => Scope::AnyNode,
        "SCAN" => Scope::OneNode { instead: OF_A_CURSOR },
        "WAIT" | "WAITAOF" => Scope::OneNode { instead: OF_A_CONNECTION },
        "CLUSTER" => match entry.name {
            "CLUSTER HELP" | "CLUSTER INFO" | "CLUSTER KEYSLOT" | "CLUSTER NODES" | "CLUSTER SHARDS"
            | "CLUSTER SLOTS" => Scope::AnyNode,
            _ => Scope::OneNode { instead: OF_A_NODE },
        },
        "ACL" | "CLIENT" | "CONFIG" | "INFO" | "LASTSAVE" | "LATENCY" | "MEMORY" | "PUBSUB" | "RANDOMKEY"
        | "ROLE" | "SLOWLOG" | "SWAPDB" => Scope::OneNode { instead: OF_A_NODE },
        _ if entry.is_for_admins() => Scope::OneNode { instead: OF_A_NODE },
        _ => Scope::AnyNode,
    }
}

/// What the tips of a command say, as <https://redis.io/docs/latest/develop/reference/command-tips/> explains them.
fn of_policy(policy: Option<Policy>) -> Scope {
    let Some(Policy { ask, answer }) = policy else { return Scope::AnyNode };
    let combine = match answer {
        // Without a tip the arrays of a command without keys are put together.
        Answer::Unsaid => Combine::Concatenate,
        Answer::OneSucceeded => Combine::OneSucceeded,
        Answer::AllSucceeded => Combine::AllSucceeded,
        Answer::LogicalAnd => Combine::And,
        Answer::Min => Combine::Min,
        Answer::Sum => Combine::Sum,
        Answer::Special => return Scope::OneNode { instead: OF_A_NODE },
    };
    match ask {
        Ask::AllNodes => Scope::AllNodes(combine),
        Ask::AllShards => Scope::AllShards(combine),
        // It goes by keys, of which there are none.
        Ask::MultiShard => Scope::AnyNode,
        Ask::Special => Scope::OneNode { instead: OF_A_NODE },
    }
}

#[cfg(test)]
mod tests;
