//! Waiting that a Ctrl-C ends, so that everything that was started is also stopped.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hitless_conformance::clock;

/// Somebody pressed Ctrl-C.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Where interrupts arrive.
pub(crate) struct Interrupts(Receiver<()>);

impl Interrupts {
    pub(crate) fn new(arrivals: Receiver<()>) -> Self {
        Self(arrivals)
    }

    /// Waits until then.
    pub(crate) fn wait_until(&self, until: Instant) -> Result<(), Interrupted> {
        let left = until.saturating_duration_since(clock::now());
        match self.0.recv_timeout(left) {
            Ok(()) => Err(Interrupted),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            // Nobody can interrupt any more.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(until.saturating_duration_since(clock::now()));
                Ok(())
            }
        }
    }

    /// Waits so long.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), Interrupted> {
        self.wait_until(clock::now() + time)
    }
}
