//! Clock, timers and tasks of smol.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use hitless_core::driver;

/// smol, as the driver sees it: its clock, its timers, its tasks and its sockets. Tasks run on smol's global executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adapter;

impl driver::Runtime for Adapter {
    type Timer = Timer;

    #[expect(clippy::disallowed_methods, reason = "this is where the driver gets its time from")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self) -> Timer {
        Timer { at: None, alarm: smol::Timer::never() }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }

    fn seed(&self) -> u64 {
        RandomState::new().hash_one(0)
    }
}

/// A timer of smol. It rings once, so the instant is kept beside it: the driver may ask again.
#[derive(Debug)]
pub struct Timer {
    at: Option<Instant>,
    alarm: smol::Timer,
}

impl driver::Timer for Timer {
    fn reset(&mut self, at: Instant) {
        self.at = Some(at);
        self.alarm.set_at(at);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.at {
            Some(at) if at <= driver::Runtime::now(&Adapter) => Poll::Ready(()),
            _ => Pin::new(&mut self.alarm).poll(cx).map(drop),
        }
    }
}
