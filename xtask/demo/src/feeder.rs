//! What consumers wait for and subscribers receive: brought straight to the data, by nobody who uses the nodes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hitless_conformance::clock;
use hitless_core::cmd;

use crate::load::CONSUMERS;
use crate::world::Auditor;

/// The queue of the consumers, which is empty most of the time.
pub(crate) const QUEUE: &str = "demo:queue";
/// The channel of the subscriber.
pub(crate) const CHANNEL: &str = "demo:news";
/// Behind the last item, and in the last message before the number of messages.
pub(crate) const END: &str = "end";

/// From one message to the next: 200 a second.
const APART: Duration = Duration::from_millis(5);
/// With every so many messages comes an item.
const MESSAGES_PER_ITEM: u64 = 4;

/// Publishes, and pushes items, on a thread of its own.
pub(crate) struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Fed>>,
}

/// What was brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fed {
    pub(crate) messages: u64,
    pub(crate) items: u64,
}

impl Feeder {
    /// Begins, on a connection that leads to the data.
    pub(crate) fn start(mut data: Auditor) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || feed(&mut data, &stopped));
        Self { stop, thread }
    }

    /// Tells each consumer and the subscriber of the end, and returns what was brought before.
    ///
    /// # Errors
    /// The data could not be reached.
    pub(crate) fn finish(self) -> io::Result<Fed> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the feeder has panicked")))
    }
}

fn feed(data: &mut Auditor, stopped: &AtomicBool) -> io::Result<Fed> {
    let (mut fed, mut next) = (Fed::default(), clock::now());
    while !stopped.load(Ordering::Relaxed) {
        if fed.messages % MESSAGES_PER_ITEM == 0 {
            data.write(cmd("RPUSH").arg(QUEUE).arg(fed.items))?;
            fed.items += 1;
        }
        data.write(cmd("PUBLISH").arg(CHANNEL).arg(fed.messages))?;
        fed.messages += 1;
        next += APART;
        thread::sleep(next.saturating_duration_since(clock::now()));
    }
    data.write(cmd("RPUSH").arg(QUEUE).args([END; CONSUMERS]))?;
    data.write(cmd("PUBLISH").arg(CHANNEL).arg(format!("{END}{}", fed.messages)))?;
    Ok(fed)
}
