//! The list of all figures.

use crate::meter::Meter;
use crate::{cluster, codec, gets, replies, world};

/// Some work, prepared. Each call is a pass, which does it for a number of operations.
pub type Work = Box<dyn FnMut(&mut Meter)>;

/// Work that is counted.
#[derive(Clone, Copy)]
pub struct Figure {
    /// How the record calls it.
    pub name: &'static str,
    /// What one operation is.
    pub title: &'static str,
    /// Operations in a pass.
    pub operations: usize,
    /// Prepares passes.
    pub prepare: fn() -> Work,
}

/// All of them.
pub const FIGURES: [Figure; 11] = [
    Figure {
        name: "decode-ok",
        title: "+OK is decoded",
        operations: 1000,
        prepare: || codec::decode(replies::simple()),
    },
    Figure {
        name: "decode-string",
        title: "a string of 16 bytes is decoded",
        operations: 1000,
        prepare: || codec::decode(replies::strings()),
    },
    Figure {
        name: "decode-integers",
        title: "an element of an array of 10 000 integers is decoded",
        operations: 10_000,
        prepare: || codec::decode(replies::integers()),
    },
    Figure {
        name: "decode-mixture",
        title: "a reply of mixed RESP3, 3 deep, is decoded",
        operations: 1200,
        prepare: || codec::decode(replies::mixture()),
    },
    Figure {
        name: "encode-get",
        title: "GET is encoded into a request",
        operations: codec::COMMANDS,
        prepare: codec::encode_get,
    },
    Figure {
        name: "encode-set",
        title: "SET of 64 bytes is encoded into a request",
        operations: codec::COMMANDS,
        prepare: codec::encode_set,
    },
    Figure {
        name: "client-get",
        title: "a GET of 64 that travel together: encoded, accepted, written, its reply decoded, completed",
        operations: gets::BATCH,
        prepare: gets::all,
    },
    Figure {
        name: gets::UNDER_THE_LOCK,
        title: "what of it runs under the lock of the client, and the lock itself",
        operations: gets::BATCH,
        prepare: gets::under_the_lock,
    },
    Figure {
        name: "cluster-route",
        title: "the node of a GET is found: its slot, and who serves that",
        operations: cluster::COMMANDS,
        prepare: cluster::route_gets,
    },
    Figure {
        name: "cluster-get",
        title: "client-get in a cluster: the node of each GET is found by the table",
        operations: gets::BATCH,
        prepare: cluster::gets,
    },
    Figure {
        name: "move",
        title: "a MOVING for 100 connections, from the push to the cut-over, for each of them",
        operations: world::MOVED as usize,
        prepare: world::moves,
    },
];
