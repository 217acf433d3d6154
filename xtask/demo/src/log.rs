//! What can be watched while the demo runs: what the servers do, what the client says that it did about it, and the load of each
//! second.

use std::fmt;
use std::io::{Write, stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hitless_conformance::clock;

use crate::load::Meters;
use crate::verdict::millis;
use crate::world::{Node, World};

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Demo,
    Server,
    Client,
    Load,
}

/// Prints a line for each thing that happens. Whoever writes to it sums up what happens often.
#[derive(Debug)]
pub(crate) struct Log {
    began: Instant,
}

impl Log {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began }
    }

    pub(crate) fn add(&self, who: Who, text: impl fmt::Display) {
        let at = clock::now().saturating_duration_since(self.began).as_secs_f64();
        let who = match who {
            Who::Demo => "demo",
            Who::Server => "server",
            Who::Client => "client",
            Who::Load => "load",
        };
        print(format_args!("{at:7.3} s  {who:6}  {text}"));
    }

    /// Tells of each second of the load until `stopped` is hung up.
    pub(crate) fn tell_load(&self, meters: &Meters, world: &World, stopped: &Receiver<()>) {
        let mut began = clock::now();
        while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            let length = clock::now().saturating_duration_since(began);
            began += length;
            let (second, transactions) = (meters.commands.take_second(), meters.transactions.take_second());
            let [rate, tx] =
                [&second, &transactions].map(|kind| kind.operations() as f64 / length.as_secs_f64());
            let [p50, p99, max] =
                [0.5, 0.99, 1.0].map(|share| second.quantile(share).map_or_else(|| "-".to_owned(), millis));
            let errors = second.errors() + transactions.errors();
            let nodes = Node::ALL.map(|node| format!("{node} {}", world.connections(node))).join("  ");
            let text = format!(
                "{rate:7.0} op/s  {tx:4.0} tx/s  {errors} errors  p50 {p50}  p99 {p99}  max {max}  {nodes}"
            );
            self.add(Who::Load, text);
        }
    }
}

/// Prints a line; nobody may be listening any more.
pub(crate) fn print(line: impl fmt::Display) {
    let _ = writeln!(stdout(), "{line}");
}
