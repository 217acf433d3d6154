//! One suite for every way of running the client, and the servers that it runs against.
//!
//! The test server is a program as well, which any client in any language can be pointed at: `hitless-server` (in a clone of
//! the repository `cargo xtask server`) serves two endpoints over one data set, or fronts a real `redis-server`, and announces,
//! moves, demotes, slows down and closes as it is told on standard input. It ends when it is told `quit` or when its time
//! (`--for`) is over, not with its input; `--help` lists its options and commands.
//!
//! | part | what it is |
//! |---|---|
//! | [`server`] | a Redis server without sockets, clock or threads, that goes through maintenance |
//! | [`net`] | that server behind real sockets |
//! | [`cases`] | what a client must do, written against a [`World`](world::World) by way of a [`Testbed`](testbed::Testbed) |
//! | [`mod@suite`] | the list of the cases, and [`suite!`], which makes a test of each |
//! | [`direct`] | runs them over the bare machine in virtual time: also the model loop for those who embed it |
//! | [`driver_world`] | runs them over the driver on a runtime, with real sockets |
//! | [`contract`] | what the driver relies on in a runtime |
//! | [`mod@explore`] | every interleaving of what can happen to the bare machine, at small scope |
//! | [`vault`] | credentials that a case replaces under its client |
//! | [`tally`] | what clients know of what they did, beside what the server counts |
//! | [`sim`] | the driver in deterministic simulation, under faults |

pub mod cases;
pub mod clock;
pub mod contract;
pub mod direct;
pub mod driver_world;
pub mod explore;
mod hooked;
mod laws;
pub mod net;
pub mod server;
mod session;
pub mod sim;
pub mod suite;
pub mod tally;
pub mod testbed;
pub mod vault;
pub mod world;
