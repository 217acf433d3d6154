//! Faults of the client's streams that a test sets by hand; the seeded ones are in `faults`.

use std::io;
use std::task::{Poll, Waker};

use super::{Link, Network};

/// What is wrong with every stream of the client.
#[derive(Debug, Default)]
pub(super) struct StreamFaults {
    /// Nothing can be read.
    reads_blocked: bool,
    /// Every write fails.
    writes_broken: bool,
    /// What a new stream does with bytes that are not flushed; `None` leaves it to chance.
    keeps_writes: Option<bool>,
    flushes: Flushes,
}

/// What becomes of every flush.
#[derive(Clone, Copy, Debug, Default)]
enum Flushes {
    #[default]
    Work,
    /// It is pending.
    Blocked,
    /// It fails.
    Broken,
}

impl StreamFaults {
    pub(super) const fn are_reads_blocked(&self) -> bool {
        self.reads_blocked
    }

    /// Whether a new stream keeps what is written until it is flushed, if that is not left to chance.
    pub(super) const fn keeps_writes(&self) -> Option<bool> {
        self.keeps_writes
    }

    /// # Errors
    /// Writes are broken.
    pub(super) fn check_write(&self) -> io::Result<()> {
        if self.writes_broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// What becomes of a flush.
    pub(super) fn poll_flush(&self) -> Poll<io::Result<()>> {
        match self.flushes {
            Flushes::Work => Poll::Ready(Ok(())),
            Flushes::Blocked => Poll::Pending,
            Flushes::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Network {
    /// Keeps what arrives from being read, or lets it be read.
    pub(crate) fn block_reads(&self, blocked: bool) {
        self.state().stream_faults.reads_blocked = blocked;
        if !blocked {
            self.wake(|link| link.reader.take());
        }
    }

    /// Lets every write of the client fail from now on, while what arrives can still be read.
    pub(crate) fn break_writes(&self) {
        self.state().stream_faults.writes_broken = true;
    }

    /// Says whether streams that are opened from now on keep what is written until it is flushed.
    pub(crate) fn keep_writes(&self, kept: bool) {
        self.state().stream_faults.keeps_writes = Some(kept);
    }

    /// Leaves every flush pending, or lets flushes go on.
    pub(crate) fn block_flushes(&self, blocked: bool) {
        self.state().stream_faults.flushes = if blocked { Flushes::Blocked } else { Flushes::Work };
        if !blocked {
            self.wake(|link| link.writer.take());
        }
    }

    /// Lets every flush of the client fail from now on, while what arrives can still be read.
    pub(crate) fn break_flushes(&self) {
        self.state().stream_faults.flushes = Flushes::Broken;
    }

    /// Wakes one task of each connection.
    fn wake(&self, task: impl FnMut(&mut Link) -> Option<Waker>) {
        let wakers: Vec<Waker> = self.state().links.values_mut().filter_map(task).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}
