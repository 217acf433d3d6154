//! INCR, SET and GET in turn, on keys that nobody else uses: every reply is known before.

use hitless_core::cmd;
use hitless_core::driver::Runtime;
use hitless_core::error::Delivery;

use super::{Failure, Job, Tally, Turn, Worker};

pub(super) struct Commands {
    counter: String,
    key: String,
    turn: i64,
    tally: Tally,
    /// What the counter holds, if nothing uncertain has happened to it.
    count: Option<i64>,
    /// What the key holds, if nothing uncertain has happened to it.
    value: Option<i64>,
}

impl Commands {
    pub(super) fn new(counter: String) -> Self {
        let key = format!("{counter}:value");
        Self { counter, key, turn: -1, tally: Tally::default(), count: None, value: None }
    }

    async fn incr<R: Runtime>(&mut self, worker: &Worker<R>) -> Result<(), Failure> {
        let before = self.count.take();
        match worker.client.call(cmd("INCR").arg(&self.counter)).await {
            Ok(reply) => {
                self.tally.acknowledged += 1;
                self.count = reply.as_int();
                match (self.count, before.map(|before| before + 1)) {
                    (Some(_), None) => Ok(()),
                    (Some(count), Some(expected)) if count == expected => Ok(()),
                    (None, None) => Err(Failure::wrong("INCR", "a number", reply)),
                    (_, Some(expected)) => Err(Failure::wrong("INCR", expected, reply)),
                }
            }
            Err(error) => {
                self.tally.note_failure(&error);
                self.count = before.filter(|_| error.delivery() != Some(Delivery::Unknown));
                Err(error.into())
            }
        }
    }

    async fn set<R: Runtime>(&mut self, worker: &Worker<R>) -> Result<(), Failure> {
        self.value = None;
        let reply = worker.client.call(cmd("SET").arg(&self.key).arg(self.turn)).await?;
        self.value = Some(self.turn);
        if reply.as_str() == Some("OK") { Ok(()) } else { Err(Failure::wrong("SET", "OK", reply)) }
    }

    async fn get<R: Runtime>(&mut self, worker: &Worker<R>) -> Result<(), Failure> {
        let reply = worker.client.call(cmd("GET").arg(&self.key)).await?;
        match self.value {
            Some(value) if reply.as_int() != Some(value) => Err(Failure::wrong("GET", value, reply)),
            _ => Ok(()),
        }
    }
}

impl<R: Runtime> Job<R> for Commands {
    async fn turn(&mut self, worker: &Worker<R>) -> Result<Turn, Failure> {
        self.turn += 1;
        match self.turn % 3 {
            0 => self.incr(worker).await?,
            1 => self.set(worker).await?,
            _ => self.get(worker).await?,
        }
        Ok(Turn::Done)
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}
