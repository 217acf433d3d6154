//! Clock, timers and tasks of tokio.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use hitless_core::driver;
use tokio::time::{Sleep, sleep_until};

/// tokio, as the driver sees it: its clock (which a test may pause), its timers, its tasks and its sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adapter;

impl driver::Runtime for Adapter {
    type Timer = Timer;

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn timer(&self) -> Timer {
        Timer { at: None, sleep: None }
    }

    /// # Panics
    /// Outside a tokio runtime.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
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

/// A [`Sleep`] that is made when it is first needed.
#[derive(Debug)]
pub struct Timer {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl driver::Timer for Timer {
    fn reset(&mut self, at: Instant) {
        self.at = Some(at);
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(at.into());
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into()))).as_mut().poll(cx)
    }
}
