//! What a worker does.

use std::sync::mpsc::Sender;

use super::hitless::{Error, Frame, cmd};
use super::record::{Epoch, Op, Record, now, status};
use super::target::Target;

/// A worker, its keys, and what it knows of them.
pub(crate) struct Worker {
    number: u32,
    counter: String,
    key: String,
    /// The last value that SET was acknowledged for.
    value: Option<String>,
    pair: Option<Pair>,
    steps: u64,
    client: Target,
    epoch: Epoch,
    records: Sender<Record>,
}

/// Two keys of one slot, which are written and read together.
struct Pair {
    keys: [String; 2],
    /// The last value that MSET was acknowledged for.
    value: Option<String>,
}

impl Worker {
    pub(crate) fn new(
        number: u32,
        run_id: &str,
        client: Target,
        epoch: Epoch,
        records: Sender<Record>,
    ) -> Self {
        let (counter, key) = (format!("ctr:{run_id}:{number}"), format!("k:{run_id}:{number}"));
        Self { number, counter, key, value: None, pair: None, steps: 0, client, epoch, records }
    }

    /// The same with a pair of keys of the slot of `p:RUN_ID:<number>`, which is written and read after each GET.
    pub(crate) fn with_pair(mut self, run_id: &str) -> Self {
        let keys = ["a", "b"].map(|key| format!("{{p:{run_id}:{}}}:{key}", self.number));
        self.pair = Some(Pair { keys, value: None });
        self
    }

    /// The next operation: INCR, SET, INCR, GET and so on, with a pair MSET and MGET behind them.
    pub(crate) async fn step(&mut self) {
        let start = now();
        let round = if self.pair.is_some() { 6 } else { 4 };
        let (op, result) = match self.steps % round {
            1 => (Op::Set, self.set().await),
            3 => (Op::Get, self.get().await),
            4 => (Op::SetPair, self.set_pair().await),
            5 => (Op::GetPair, self.get_pair().await),
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

    async fn set_pair(&mut self) -> Result<String, Error> {
        let Some(pair) = &mut self.pair else { return Ok(String::new()) };
        let value = format!("{}-{}", self.number, self.steps);
        let [a, b] = &pair.keys;
        self.client.call(cmd("MSET").args([a, &value, b, &value])).await?;
        pair.value = Some(value);
        Ok(String::new())
    }

    async fn get_pair(&self) -> Result<String, Error> {
        let Some(pair) = &self.pair else { return Ok(String::new()) };
        let reply = self.client.call(cmd("MGET").args(&pair.keys)).await?;
        let verdict = match (reply.as_array(), &pair.value) {
            (Some([a, b]), _) if a != b => "torn",
            (Some([a, _]), Some(expected)) if a.as_bytes() == Some(expected.as_bytes()) => "",
            (Some([_, _]), None) => "",
            _ => "mismatch",
        };
        Ok(verdict.to_owned())
    }
}
