//! Consumers that wait for items in queues of their own, beside the workers.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::hitless::{Error, RequestError, cmd};
use super::options::Options;
use super::record::{Epoch, Op, Record, now, status};
use super::target::Target;
use super::{Failure, sleep, spawn};

/// How many there are.
const CONSUMERS: u32 = 5;
/// The command timeout of their client: what they ask of the server comes on top.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked whether they wait.
const LOOK: Duration = Duration::from_millis(5);

/// A consumer and its queue.
struct Consumer {
    number: u32,
    queue: String,
    /// How long the server is to wait, in seconds.
    wait: u32,
    client: Target,
    epoch: Epoch,
    records: Sender<Record>,
}

/// Opens a client for the consumers and starts them: they go on until their client is shut down. It is done when each waits at the
/// server.
pub(crate) async fn start(
    options: &Options,
    epoch: Epoch,
    records: &Sender<Record>,
) -> Result<Target, Failure> {
    let client = options.opening()?.command_timeout(TIMEOUT).connect().await?;
    for number in 0..CONSUMERS {
        let (name, wait) = if number == 0 { ("s".to_owned(), 2) } else { (number.to_string(), 15) };
        let queue = format!("q:{}:{name}", options.run_id);
        let (client, records) = (client.clone(), records.clone());
        let consumer = Consumer { number, queue, wait, client, epoch, records };
        // It ends with the client, and nobody waits for it.
        drop(spawn(consumer.run()));
    }
    while client.leased() < CONSUMERS as usize {
        sleep(LOOK).await;
    }
    Ok(client)
}

impl Consumer {
    async fn run(self) {
        loop {
            let start = now();
            let reply = self
                .client
                .query::<Option<(String, String)>>(cmd("BLPOP").arg(&self.queue).arg(self.wait))
                .await;
            let (status, value) = match reply {
                Ok(Some((_, item))) => ("ok".to_owned(), item),
                Ok(None) => ("nil".to_owned(), String::new()),
                // The run is over, and nothing was taken.
                Err(Error::Request(RequestError::ShutDown { .. }) | Error::Send(_)) => return,
                Err(error) => (status(&error), String::new()),
            };
            self.record(start, status, value);
        }
    }

    fn record(&self, start: Instant, status: String, value: String) {
        let (latency, start) = (now() - start, self.epoch.seconds(start));
        let record = Record { start, latency, op: Op::Pop, status, worker: self.number, value };
        // The writer ends early only when it cannot write; that is what is reported then.
        let _ = self.records.send(record);
    }
}
