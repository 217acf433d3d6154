//! Where the commands of a request go: to one node, to several, or to all of them.

use std::ops::Range;

use resp3_codec::Command;

use crate::cluster::{Combine, Route, Routed, Scope, commands, route};
use crate::error::RouteError;
use crate::request::{Class, Request};

const IN_BATCH: &str =
    "a pipeline is divided by keys: send what concerns all nodes, or one that has to be named, apart from it";

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// As one unit to the node of this slot, or to any.
    One(Option<u16>),
    /// To the nodes of different slots.
    Split(Vec<Step>),
    /// To every node that serves slots, as it is.
    Each(Combine),
}

/// One command of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Where it is in the payload.
    pub(super) bytes: Range<usize>,
    pub(super) slot: Option<u16>,
}

impl Plan {
    /// That of one command.
    #[inline]
    pub(super) fn of_command(command: &Command) -> Result<Self, RouteError> {
        Self::of_route(route(command))
    }

    pub(super) fn of_request(request: &Request) -> Result<Self, RouteError> {
        if let Some(slot) = request.named_slot() {
            return Ok(Self::One(Some(slot)));
        }
        let mut commands = commands(request);
        match (commands.next(), request.replies().get()) {
            // Nobody knows what it is.
            (None, _) => Ok(Self::One(None)),
            (Some(Routed { route, .. }), 1) => Self::of_route(route),
            (Some(first), _) => Self::of_several(request, [first].into_iter().chain(commands)),
        }
    }

    fn of_route(route: Route) -> Result<Self, RouteError> {
        match route {
            Route::Slot(slot) => Ok(Self::One(Some(slot))),
            Route::Across { first, other } => Err(RouteError::CrossSlot { first, other }),
            Route::Keyless(Scope::AnyNode) | Route::Malformed => Ok(Self::One(None)),
            Route::Keyless(Scope::AllShards(combine) | Scope::AllNodes(combine)) => Ok(Self::Each(combine)),
            Route::Keyless(Scope::OneNode { instead }) => Err(RouteError::NeedsNode { instead }),
        }
    }

    fn of_several(request: &Request, commands: impl Iterator<Item = Routed>) -> Result<Self, RouteError> {
        let is_atomic = request.class() == Class::Atomic;
        let mut steps = Vec::new();
        for Routed { bytes, route } in commands {
            let slot = match Self::of_route(route)? {
                Self::One(slot) => slot,
                Self::Split(_) | Self::Each(_) => return Err(RouteError::NeedsNode { instead: IN_BATCH }),
            };
            steps.push(Step { bytes, slot });
        }
        let mut slots = steps.iter().filter_map(|step| step.slot);
        let first = slots.next();
        let other = slots.find(|slot| Some(*slot) != first);
        match (first, other) {
            (Some(first), Some(other)) if is_atomic => Err(RouteError::CrossSlot { first, other }),
            // What cannot be read would be cut off.
            (_, Some(_)) if steps.len() != request.replies().get() as usize => Err(RouteError::Unreadable),
            (_, Some(_)) => Ok(Self::Split(steps)),
            (first, None) => Ok(Self::One(first)),
        }
    }
}

/// The commands of `request`, each with its slot.
pub(super) fn steps(request: &Request) -> Vec<Step> {
    let slot = |route| match route {
        Route::Slot(slot) => Some(slot),
        _ => None,
    };
    commands(request).map(|Routed { bytes, route }| Step { bytes, slot: slot(route) }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use resp3_codec::cmd;

    use super::*;
    use crate::cluster::key_slot;
    use crate::request::Pipeline;

    fn plan(pipeline: Pipeline) -> Result<Plan, RouteError> {
        Plan::of_request(&pipeline.into_request().unwrap().unwrap())
    }

    fn get(key: &str) -> Command {
        cmd("GET").arg(key)
    }

    /// RULE-363
    #[test]
    fn a_pipeline_is_one_unit_as_long_as_its_keys_have_one_slot() {
        let a = key_slot(b"a");
        assert_eq!(plan(Pipeline::from([get("{a}1"), cmd("PING"), get("a")])), Ok(Plan::One(Some(a))));
        assert_eq!(plan(Pipeline::from([cmd("PING"), cmd("TIME")])), Ok(Plan::One(None)));
        let Ok(Plan::Split(steps)) = plan(Pipeline::from([get("a"), cmd("PING"), get("b")])) else {
            panic!("it has two slots")
        };
        let slots: Vec<_> = steps.iter().map(|step| step.slot).collect();
        assert_eq!(slots, [Some(a), None, Some(key_slot(b"b"))]);
    }

    /// RULE-363, RULE-365
    #[test]
    fn what_no_node_can_run_is_refused() {
        let across = RouteError::CrossSlot { first: key_slot(b"a"), other: key_slot(b"b") };
        assert_eq!(Plan::of_command(&cmd("MGET").args(["a", "b"])), Err(across));
        assert_eq!(plan(Pipeline::from([get("c"), cmd("MGET").args(["a", "b"])])), Err(across));
        let batch = || Pipeline::atomic().command(get("a"));
        assert_eq!(plan(batch().command(get("{a}2"))), Ok(Plan::One(Some(key_slot(b"a")))));
        assert_eq!(plan(batch().command(get("b"))), Err(across));
        for command in [cmd("INFO"), cmd("SCAN").arg(0)] {
            let refused = Plan::of_command(&command);
            assert!(matches!(refused, Err(RouteError::NeedsNode { .. })), "{command:?} {refused:?}");
        }
        let beside = plan(Pipeline::from([get("a"), cmd("DBSIZE")]));
        assert_eq!(beside, Err(RouteError::NeedsNode { instead: IN_BATCH }));
    }

    /// The caller knows better, and of bytes nobody knows anything. RULE-363
    #[test]
    fn a_key_that_is_named_decides() {
        let raw = || Request::raw(Bytes::from_static(b"INLINE a\r\n"), std::num::NonZeroU32::MIN);
        assert_eq!(Plan::of_request(&raw()), Ok(Plan::One(None)));
        assert_eq!(Plan::of_request(&raw().key("a")), Ok(Plan::One(Some(key_slot(b"a")))));
        let across = Request::command(cmd("MGET").args(["a", "b"])).unwrap();
        assert_eq!(Plan::of_request(&across.key("b")), Ok(Plan::One(Some(key_slot(b"b")))));
    }

    /// No node would get the commands behind those that can be read, and their replies would be missing. RULE-430
    #[test]
    fn what_can_be_read_in_part_is_not_divided() {
        let raw = |keys: [&str; 2], rest: &[u8], replies: u32| {
            let read = keys.into_iter().flat_map(|key| get(key).into_bytes());
            let payload: Vec<u8> = read.chain(rest.iter().copied()).collect();
            Request::raw(payload.into(), std::num::NonZeroU32::new(replies).unwrap())
        };
        let inline = || raw(["a", "b"], b"PING\r\n", 3);
        assert_eq!(Plan::of_request(&inline()), Err(RouteError::Unreadable));
        assert_eq!(Plan::of_request(&inline().key("b")), Ok(Plan::One(Some(key_slot(b"b")))));
        let one_slot = raw(["a", "{a}2"], b"PING\r\n", 3);
        assert_eq!(Plan::of_request(&one_slot), Ok(Plan::One(Some(key_slot(b"a")))));
        assert!(matches!(Plan::of_request(&raw(["a", "b"], b"", 2)), Ok(Plan::Split(_))));
        assert_eq!(Plan::of_request(&raw(["a", "b"], b"", 3)), Err(RouteError::Unreadable));
    }
}
