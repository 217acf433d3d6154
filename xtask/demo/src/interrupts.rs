//! Waiting that a Ctrl-C ends, so that everything that was started is also stopped.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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
    /// Listens from now on, in a thread of its own: not every runtime of the client knows signals.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn listen() -> io::Result<Self> {
        let (arrived, arrivals) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        std::thread::Builder::new().name("interrupts".into()).spawn(move || {
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() && arrived.send(()).is_ok() {}
            });
        })?;
        Ok(Self(arrivals))
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
