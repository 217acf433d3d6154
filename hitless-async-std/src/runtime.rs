//! Clock, timers and tasks of async-std.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_std::task;
use hitless_core::driver;

/// async-std, as the driver sees it: its clock, its timers, its tasks and its sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adapter;

impl driver::Runtime for Adapter {
    type Timer = Timer;

    #[expect(clippy::disallowed_methods, reason = "this is where the driver gets its time from")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self) -> Timer {
        Timer { at: None, sleep: None }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(task));
    }

    fn seed(&self) -> u64 {
        RandomState::new().hash_one(0)
    }

    #[cfg(feature = "tls")]
    fn system_roots(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let found = rustls_native_certs::load_native_certs();
        match found.errors.into_iter().next() {
            // One file that cannot be read is no reason to do without the others.
            Some(error) if found.certs.is_empty() => Err(std::io::Error::other(error)),
            _ => Ok(found.certs.iter().map(|certificate| certificate.to_vec()).collect()),
        }
    }
}

/// A sleep that is made when it is first needed.
pub struct Timer {
    at: Option<Instant>,
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl driver::Timer for Timer {
    fn reset(&mut self, at: Instant) {
        *self = Self { at: Some(at), sleep: None };
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        loop {
            let left = at.saturating_duration_since(driver::Runtime::now(&Adapter));
            if left.is_zero() {
                return Poll::Ready(());
            }
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(task::sleep(left)));
            ready!(sleep.as_mut().poll(cx));
            // The clock decides. What is left now is less than it was, so this comes to an end.
            self.sleep = None;
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("at", &self.at).finish_non_exhaustive()
    }
}
