//! Clusters: which node a command is for.
//!
//! A key has a [slot](key_slot), and each slot is served by one node. [`route`] says what a command needs: the node of a slot, any node,
//! or several of them.

mod combine;
mod route;
mod split;

pub use self::combine::Combine;
pub use self::route::{Route, Routed, Scope, commands, route, route_request};
pub use self::split::{Split, split};
pub use crate::slots::{MAX_SLOT, SLOTS, SlotError, SlotMove, SlotRange, SlotSet, key_slot};
