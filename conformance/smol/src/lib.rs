//! hitless on smol: an example of an adapter of one's own.
//!
//! Everything is decided in `hitless-core`, whose [driver] is written once for all runtimes. An adapter tells it the time, and gives it
//! timers, tasks, lookups of names and sockets: five traits, which [`Adapter`], [`Timer`] and [`Stream`] implement here. What an
//! adapter promises by each trait is in the documentation of the trait. The crate is tested by the suite that tests the two
//! adapters which are published (`tests/conformance.rs`); copy it to begin an adapter for another runtime.
//!
//! ```no_run
//! use hitless_core::{cmd, driver};
//! use hitless_smol::Client;
//!
//! # fn main() -> Result<(), driver::Error> {
//! smol::block_on(async {
//!     let client = Client::connect("redis://127.0.0.1:6379").await?;
//!     client.call(cmd("SET").arg("greeting").arg("hello")).await?;
//!     Ok(())
//! })
//! # }
//! ```

mod net;
mod runtime;

use hitless_core::driver;

pub use self::net::Stream;
pub use self::runtime::{Adapter, Timer};

/// The client on smol. Its methods are those of [`driver::Client`].
pub type Client = driver::Client<Adapter>;

/// Collects the settings of a [`Client`] and opens it. Its methods are those of [`driver::Builder`].
pub type Builder = driver::Builder<Adapter>;
