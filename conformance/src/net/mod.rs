//! Sockets around the machines of [`server`](crate::server): the only place that has any.

#[cfg(feature = "tls")]
pub mod certificates;
pub mod front;
pub mod names;
pub mod redis_cluster;
pub mod redis_connection;
pub mod redis_process;
mod setup;
pub mod tcp;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::setup::start;

/// Locks; what a thread that panicked left is still looked at, because everything is to be stopped after it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
