//! Transactions that add one to a counter that others add to as well: they read it, think, and write it if nobody has meanwhile.

use std::time::Duration;

use hitless_conformance::clock;
use hitless_core::driver::{Error, Lease, Runtime};
use hitless_core::request::Pipeline;
use hitless_core::{Frame, FromFrame, cmd};

use super::{Failure, Job, Tally, Turn, Worker};

/// Transactions under way at a time, each on a connection of its own.
pub(crate) const WORKERS: usize = 4;
/// The counters that they share.
pub(super) const COUNTERS: usize = 2;
/// The longest that one holds its connection while the server is not slow. Who has not got through by then begins anew.
pub(crate) const HELD_AT_MOST: Duration = Duration::from_millis(200);
/// From what is read to what is written; shorter times as well, so that now this one and now that one is faster.
const LONGEST_THOUGHT: u64 = 20;

pub(super) struct Transactions {
    counter: String,
    tries: u64,
    tally: Tally,
}

impl Transactions {
    /// The thoughts of those with other numbers take other times.
    pub(super) fn new(counter: String, number: usize) -> Self {
        Self { counter, tries: number as u64, tally: Tally::default() }
    }

    /// Adds one. Nothing comes back if others were faster for too long.
    async fn add<R: Runtime>(&mut self, worker: &Worker<R>) -> Result<Option<Vec<Frame>>, Error> {
        let (counter, tries) = (&self.counter, &mut self.tries);
        let longest_thought = Duration::from_millis(LONGEST_THOUGHT);
        let mut give_up_at = None;
        let build = |lease: Lease<R>| {
            let give_up_at = *give_up_at.get_or_insert_with(|| clock::now() + HELD_AT_MOST - longest_thought);
            *tries += 7;
            let thought = Duration::from_millis(*tries % (LONGEST_THOUGHT + 1));
            async move {
                if clock::now() >= give_up_at {
                    return Ok(None);
                }
                let count = lease.call(cmd("GET").arg(counter)).await?;
                let count = Option::<i64>::from_frame(count)?.unwrap_or_default();
                worker.pause(thought).await;
                Ok(Some(Pipeline::from([cmd("SET").arg(counter).arg(count + 1)])))
            }
        };
        worker.client.transaction([counter.as_str()], build).await
    }
}

impl<R: Runtime> Job<R> for Transactions {
    async fn turn(&mut self, worker: &Worker<R>) -> Result<Turn, Failure> {
        match self.add(worker).await {
            Ok(Some(replies)) => {
                self.tally.acknowledged += 1;
                let ok = Frame::simple("OK");
                let wrong = replies.into_iter().find(|reply| *reply != ok);
                wrong.map_or(Ok(Turn::Done), |reply| Err(Failure::wrong("SET", "OK", reply)))
            }
            Ok(None) => Ok(Turn::GaveUp),
            Err(error) => {
                self.tally.note_failure(&error);
                Err(error.into())
            }
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}
