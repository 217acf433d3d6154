//! How often, and how much, the clients allocate, counted by a program of its own.

use std::io;

use super::contenders::{Address, Connection, Contender, Work};
use super::load::{self, Operation, Values};
use super::runtime::{Runtime, Scheduler};
use crate::counting::{self, Total, print_line};

/// What `hitless-bench-allocations client` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The clients, in the order of the lines.
    #[arg(long)]
    client: Vec<Contender>,
    /// Where the server is.
    #[command(flatten)]
    address: Address,
}

/// Per operation.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Allocations and reallocations.
    pub calls: f64,
    /// The bytes of them.
    pub bytes: f64,
}

/// By operation.
pub type Counts = [Count; Operation::ALL.len()];

const TASKS: usize = 64;
/// Operations before counting, for buffers and tables to reach the size they keep.
const WARM_UP: u64 = 20_000;
const OPERATIONS: u64 = 64_000;

/// Runs `hitless-bench-allocations` with these clients against the server at `address`, and reads what it counted.
///
/// # Errors
///
/// When it cannot be built or run.
pub fn counted_apart(address: &Address, clients: &[Contender]) -> io::Result<Vec<(Contender, Counts)>> {
    let mut arguments = vec!["client".to_owned()];
    arguments.extend(clients.iter().map(|client| format!("--client={}", load::argument(client))));
    arguments.extend(address.ports.iter().map(|port| format!("--port={port}")));
    let output = counting::output_of(&arguments)?;
    let counts = |line: &Vec<f64>| match line[..] {
        [get_calls, get_bytes, set_calls, set_bytes] => {
            Ok([Count { calls: get_calls, bytes: get_bytes }, Count { calls: set_calls, bytes: set_bytes }])
        }
        _ => Err(io::Error::other("hitless-bench-allocations: unexpected output")),
    };
    let lines = counting::figures(&output)?;
    clients.iter().zip(&lines).map(|(client, line)| Ok((*client, counts(line)?))).collect()
}

/// Counts by `total`, and prints a line of figures per client.
///
/// # Errors
///
/// When a client fails.
pub fn count(args: &Args, total: fn() -> Total) -> io::Result<()> {
    for client in &args.client {
        let runtime = client.runtime();
        let work = client.put_to(Counting { runtime, total }, &args.address);
        print_line(&runtime.block_on(Scheduler::CurrentThread, work)?);
    }
    Ok(())
}

/// Operations while allocations are counted.
struct Counting {
    runtime: Runtime,
    total: fn() -> Total,
}

impl Work for Counting {
    type Output = Vec<f64>;

    async fn with(self, connection: impl Connection) -> io::Result<Vec<f64>> {
        let Self { runtime, total } = self;
        let mut figures = Vec::new();
        for operation in Operation::ALL {
            load::counted(runtime, connection.clone(), operation, Values::Small, TASKS, WARM_UP).await?;
            let before = total();
            load::counted(runtime, connection.clone(), operation, Values::Small, TASKS, OPERATIONS).await?;
            let after = total();
            figures.push((after.calls - before.calls) as f64 / OPERATIONS as f64);
            figures.push((after.bytes - before.bytes) as f64 / OPERATIONS as f64);
        }
        Ok(figures)
    }
}
