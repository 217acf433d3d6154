//! placeholder docs
pub mod backoff;
pub mod breaker;
pub mod client;
mod command_table;
pub mod config;
pub mod connection;
pub mod coordinator;
pub mod dedup;
#[cfg(feature = "driver")]
pub mod driver;
pub mod endpoint;
pub mod endpoint_type;
pub mod error;
pub mod event;
pub mod handshake;
pub mod ids;
pub mod mode;
pub mod notification;
pub mod request;
pub mod rng;
pub mod slots;
pub mod timer;
pub mod windows;
pub mod write_buffer;

pub use client::{Action, Client};
pub use config::{Config, ConfigBuilder, maintenance};
pub use connection::Connection;
pub use coordinator::{Coordinator, Directive};
pub use resp3_codec::{Command, Frame, cmd};
