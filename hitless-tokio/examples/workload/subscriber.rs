//! What the subscriber does.

use std::sync::mpsc::Sender;
use std::time::Duration;

use super::Failure;
use super::hitless::pubsub::Item;
use super::options::Options;
use super::record::{Epoch, Op, Record, now, plain};
use super::target::{Messages, Target};

/// A subscriber of one channel, with a client of its own.
pub(crate) struct Subscriber {
    target: Target,
    messages: Messages,
    /// Behind those of the workers.
    number: u32,
    epoch: Epoch,
    records: Sender<Record>,
}

impl Subscriber {
    /// Connects and subscribes: from now on every message is received.
    pub(crate) async fn begin(
        options: &Options,
        epoch: Epoch,
        records: Sender<Record>,
    ) -> Result<Self, Failure> {
        let target = options.opening()?.pool_size(1).connect().await?;
        let messages = target.subscribe(format!("ch:{}", options.run_id)).await?;
        Ok(Self { target, messages, number: options.workers, epoch, records })
    }

    /// The client, which ends the subscriber when it is shut down.
    pub(crate) fn target(&self) -> Target {
        self.target.clone()
    }

    /// Writes down what is received, until the client is shut down.
    pub(crate) async fn read(mut self) {
        while let Some(item) = self.messages.next().await {
            let (status, value) = match item {
                Item::Message(message) => {
                    ("ok".to_owned(), plain(&String::from_utf8_lossy(&message.payload)))
                }
                Item::Gap { cause, .. } => (plain(&format!("Gap:{cause}")), String::new()),
                Item::Ambiguous { .. } => ("Ambiguous:equal messages".to_owned(), String::new()),
                Item::Lagged(count) => (format!("Lagged:{count} messages"), String::new()),
                item => (plain(&format!("Other:{item:?}")), String::new()),
            };
            let start = self.epoch.seconds(now());
            let record = Record {
                start,
                latency: Duration::ZERO,
                op: Op::Message,
                status,
                worker: self.number,
                value,
            };
            // The writer ends early only when it cannot write; that is what is reported then.
            let _ = self.records.send(record);
        }
    }
}
