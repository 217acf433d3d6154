//! Which node a command is for: by its keys, or by what is documented for a command that has none.

use resp3_codec::Command;

use super::Combine;
use crate::command_table::{Answer, Ask, Entry, Malformed, Policy, Words, each_key};
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
    /// It does not matter which: each answers the same, or does what the command wants.
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

impl Route {
    /// Allocates nothing.
    pub(super) fn of(command: &impl Words) -> Self {
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

const OF_A_NODE: &str = "in a cluster each node has an answer of its own: say which one is asked (`ClusterClient::node`), or ask all of them \
                         (`ClusterClient::nodes`)";
const OF_A_CURSOR: &str = "a cursor is that of one node: scan one after the other (`ClusterClient::nodes`)";
const OF_A_CONNECTION: &str = "it answers for the writes of its own connection: send it on the one that wrote, which \
                               `ClusterClient::lease` lends for a key";

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
