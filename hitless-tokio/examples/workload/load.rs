//! What a worker does.

use std::sync::mpsc::Sender;

use super::hitless::{Client, Error, Frame, cmd};
use super::record::{Epoch, Op, Record, now, status};

/// A worker, its keys, and what it knows of them.
pub(crate) struct Worker {
    number: u32,
    counter: String,
    key: String,
    /// The last value that SET was acknowledged for.
    value: Option<String>,
    steps: u64,
    client: Client,
    epoch: Epoch,
    records: Sender<Record>,
}

impl Worker {
    pub(crate) fn new(
        number: u32,
        run_id: &str,
        client: Client,
        epoch: Epoch,
        records: Sender<Record>,
    ) -> Self {
        let (counter, key) = (format!("ctr:{run_id}:{number}"), format!("k:{run_id}:{number}"));
        Self { number, counter, key, value: None, steps: 0, client, epoch, records }
    }

    /// The next operation: INCR, SET, INCR, GET and so on.
    pub(crate) async fn step(&mut self) {
        let start = now();
        let (op, result) = match self.steps % 4 {
            1 => (Op::Set, self.set().await),
            3 => (Op::Get, self.get().await),
            _ => (Op::Incr, self.incr().await),
        };
        self.steps += 1;
        let latency = now() - start;
        let (status, value) = match result {
            Ok(value) => ("ok".to_owned(), value),
            Err(error) => (status(&error), String::new()),
        };
        let start = self.epoch.seconds(start);
        let record = Record { start, latency, op, status, worker: self.number, value };
        // The writer ends early only when it cannot write; that is what is reported then.
        let _ = self.records.send(record);
    }

    async fn incr(&self) -> Result<String, Error> {
        let reply = self.client.call(cmd("INCR").arg(&self.counter)).await?;
        Ok(reply.as_int().map_or_else(|| "mismatch".to_owned(), |number| number.to_string()))
    }

    async fn set(&mut self) -> Result<String, Error> {
        let value = format!("{}-{}", self.number, self.steps);
        self.client.call(cmd("SET").arg(&self.key).arg(&value)).await?;
        self.value = Some(value);
        Ok(String::new())
    }

    async fn get(&self) -> Result<String, Error> {
        let reply = self.client.call(cmd("GET").arg(&self.key)).await?;
        let Some(expected) = &self.value else { return Ok(String::new()) };
        let is_expected = matches!(&reply, Frame::Bulk(value) if value == expected.as_bytes());
        Ok(if is_expected { String::new() } else { "mismatch".to_owned() })
    }
}
