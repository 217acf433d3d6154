//! placeholder

pub mod server;
