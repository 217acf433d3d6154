//! How often, and how much, the clients allocate, counted by a program of its own.

use std::future::Future;
use std::io;

use hitless_tokio::Mode;

use super::contenders::{self, Address, Connection, Contender, Typed};
use super::load::{self, Operation, Scheduler, Values};
use crate::counting::{self, Total, print_line};

/// What `hitless-bench-allocations client` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
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

/// By contender, by operation.
pub type Allocations = Vec<[Count; Operation::ALL.len()]>;

const TASKS: usize = 64;
/// Operations before counting, for buffers and tables to reach the size they keep.
const WARM_UP: u64 = 20_000;
const OPERATIONS: u64 = 64_000;

/// Runs `hitless-bench-allocations` against the server at `port` and reads what it counted.
///
/// # Errors
///
/// When it cannot be built or run.
pub fn counted_apart(port: u16) -> io::Result<Allocations> {
    let output = counting::output_of(&["client", "--port", &port.to_string()])?;
    let line = |line: &Vec<f64>| match line[..] {
        [get_calls, get_bytes, set_calls, set_bytes] => {
            Ok([Count { calls: get_calls, bytes: get_bytes }, Count { calls: set_calls, bytes: set_bytes }])
        }
        _ => Err(io::Error::other("hitless-bench-allocations: unexpected output")),
    };
    counting::figures(&output)?.iter().map(line).collect()
}

/// Counts by `total`, and prints a line of figures per client.
///
/// # Errors
///
/// When a client fails.
pub fn count(args: &Args, total: fn() -> Total) -> io::Result<()> {
    let at = &args.address;
    for contender in Contender::ALL {
        match contender {
            Contender::Hitless => line(contenders::hitless(at, Mode::Auto, 1), total),
            Contender::HitlessDisabled => line(contenders::hitless(at, Mode::Disabled, 1), total),
            Contender::Pool4 => line(contenders::hitless(at, Mode::Auto, 4), total),
            Contender::Pool10 => line(contenders::hitless(at, Mode::Auto, 10), total),
            Contender::Pool64 => line(contenders::hitless(at, Mode::Auto, 64), total),
            Contender::Turns10 => line(contenders::turns(at, 10), total),
            Contender::Rustis => line(contenders::rustis(at), total),
            Contender::Redis => line(contenders::redis(at), total),
            Contender::Fred => line(contenders::fred(at), total),
            Contender::HitlessTyped => line(typed(contenders::hitless(at, Mode::Auto, 1)), total),
            Contender::RedisTyped => line(typed(contenders::redis(at)), total),
        }?;
    }
    Ok(())
}

async fn typed<C>(connect: impl Future<Output = io::Result<C>>) -> io::Result<Typed<C>> {
    Ok(Typed(connect.await?))
}

fn line<C: Connection>(connect: impl Future<Output = io::Result<C>>, total: fn() -> Total) -> io::Result<()> {
    let runtime = Scheduler::CurrentThread.runtime()?;
    let mut figures = Vec::new();
    runtime.block_on(async {
        let connection = connect.await?;
        for operation in Operation::ALL {
            load::counted(connection.clone(), operation, Values::Small, TASKS, WARM_UP).await?;
            let before = total();
            load::counted(connection.clone(), operation, Values::Small, TASKS, OPERATIONS).await?;
            let after = total();
            figures.push((after.calls - before.calls) as f64 / OPERATIONS as f64);
            figures.push((after.bytes - before.bytes) as f64 / OPERATIONS as f64);
        }
        io::Result::Ok(())
    })?;
    print_line(&figures);
    runtime.shutdown_background();
    Ok(())
}
