//! The load of one client in one case, in a process of its own.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use std::{env, io};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use super::contenders::{Address, Connection, Contender, Work};
use super::processors::Processors;
use super::runtime::{ASYNC_STD_THREADS, Runtime, Scheduler};
use crate::counting::{self, print_line};

/// What every key holds, but for [`LARGE_KEY`].
pub const VALUE: &[u8] = &[b'v'; 64];

/// The key of a large value.
pub const LARGE_KEY: &str = "large";

/// What [`LARGE_KEY`] holds.
pub const LARGE_VALUE: &[u8] = &[b'l'; 1 << 20];

/// One operation in so many is large in a mixture.
const LARGE_ONES: usize = 100;

/// How long a client runs before its figures are taken.
const WARM_UP: Duration = Duration::from_millis(60);

/// The keys, of 16 bytes each.
#[must_use]
pub fn keys() -> Vec<String> {
    (0..1000).map(|number| format!("user:{number:011}")).collect()
}

/// What the tasks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Operation {
    /// Read a value.
    Get,
    /// Write one.
    Set,
}

impl Operation {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Get, Self::Set];

    /// In tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Set => "SET",
        }
    }
}

/// What the values are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Values {
    /// 64 B each.
    Small,
    /// One operation in a hundred has a value of 1 MiB.
    Mixed,
}

impl Values {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Small, Self::Mixed];

    /// In tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "64 B",
            Self::Mixed => "64 B, one in a hundred 1 MiB",
        }
    }

    /// Whether the operation of this task and turn is a large one.
    fn is_large(self, task: usize, turn: usize) -> bool {
        self == Self::Mixed && (task * 37 + turn).is_multiple_of(LARGE_ONES)
    }
}

/// How long a load lasts.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// So long, after the warm-up.
    Milliseconds(u64),
    /// So many operations, and no warm-up: for profilers, which count instructions.
    Operations(u64),
}

/// Reads `1000ms`, or a number of operations.
fn length(text: &str) -> Result<Length, std::num::ParseIntError> {
    match text.strip_suffix("ms") {
        Some(milliseconds) => Ok(Length::Milliseconds(milliseconds.parse()?)),
        None => Ok(Length::Operations(text.parse()?)),
    }
}

/// What `hitless-bench client-load` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The client.
    #[arg(long)]
    pub client: Contender,
    /// The kind of runtime.
    #[arg(long)]
    pub scheduler: Scheduler,
    /// What its tasks do.
    #[arg(long)]
    pub operation: Operation,
    /// What the values are like.
    #[arg(long)]
    pub values: Values,
    /// The number of tasks.
    #[arg(long)]
    pub tasks: usize,
    /// How long: `1000ms`, or a number of operations.
    #[arg(long, value_parser = length)]
    pub length: Length,
    /// Where the server is.
    #[command(flatten)]
    pub address: Address,
    /// Stay on the second processor.
    #[arg(long)]
    pub pin: bool,
}

/// What one client made of one load.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Thousand operations a second.
    pub rate: f64,
    /// Seconds of processor time of the client's process per million operations.
    pub cpu: f64,
    /// Microseconds from call to reply, for half of all operations with small values.
    pub p50: f64,
    /// The same for 99 of 100.
    pub p99: f64,
    /// The same for 999 of 1000.
    pub p999: f64,
}

/// Runs the load in a process of its own.
///
/// # Errors
///
/// When it cannot be run, or fails.
pub fn sample_apart(args: &Args) -> io::Result<Sample> {
    let length = match args.length {
        Length::Milliseconds(milliseconds) => format!("{milliseconds}ms"),
        Length::Operations(operations) => operations.to_string(),
    };
    let mut command = Command::new(env::current_exe()?);
    command.env(ASYNC_STD_THREADS, args.scheduler.threads().to_string());
    command.arg("client-load");
    command.args(["--client", &argument(&args.client), "--scheduler", &argument(&args.scheduler)]);
    command.args(["--operation", &argument(&args.operation), "--length", &length]);
    command.args(["--values", &argument(&args.values)]);
    command.args(["--tasks", &args.tasks.to_string()]);
    command.args(args.address.ports.iter().map(|port| format!("--port={port}")));
    if let Some(certificate) = &args.address.certificate {
        command.arg("--certificate").arg(certificate);
    }
    if args.pin {
        command.arg("--pin");
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    let figures = counting::figures(&String::from_utf8_lossy(&output.stdout))?;
    match figures.first().map(Vec::as_slice) {
        Some(&[rate, cpu, p50, p99, p999]) if output.status.success() => {
            Ok(Sample { rate, cpu, p50, p99, p999 })
        }
        _ => Err(io::Error::other(format!("{}: {}", args.client.name(), output.status))),
    }
}

/// A value as the command line has it.
pub(super) fn argument(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Runs the load in this process and prints its figures.
///
/// # Errors
///
/// When the client fails.
pub fn run(args: &Args) -> io::Result<()> {
    if args.pin && args.scheduler == Scheduler::CurrentThread {
        Processors::allowed().pin(0, 1);
    }
    let work = args.client.put_to(args, &args.address);
    let sample = args.client.runtime().block_on(args.scheduler, work)?;
    print_line(&[sample.rate, sample.cpu, sample.p50, sample.p99, sample.p999]);
    Ok(())
}

impl Work for &Args {
    type Output = Sample;

    async fn with(self, connection: impl Connection) -> io::Result<Sample> {
        match self.length {
            Length::Milliseconds(milliseconds) => {
                timed(self, connection, Duration::from_millis(milliseconds)).await
            }
            Length::Operations(operations) => {
                let (cpu, start) = (cpu_time()?, now());
                let runtime = self.client.runtime();
                counted(runtime, connection, self.operation, self.values, self.tasks, operations).await?;
                let elapsed = now() - start;
                Ok(sample(operations, elapsed, cpu_time()? - cpu, &mut []))
            }
        }
    }
}

/// A number of operations, divided among tasks.
///
/// # Errors
///
/// When one of them fails.
pub async fn counted(
    runtime: Runtime,
    connection: impl Connection,
    operation: Operation,
    values: Values,
    tasks: usize,
    operations: u64,
) -> io::Result<()> {
    let keys = Arc::new(keys());
    let mut running = runtime.tasks();
    for task in 0..tasks {
        let (mut connection, keys) = connection.of_task(task, &keys);
        running.spawn(async move {
            for turn in 0..operations as usize / tasks {
                let is_large = values.is_large(task, turn);
                once(&mut connection, operation, is_large, key(&keys, task, turn)).await?;
            }
            Ok(())
        });
    }
    running.join_all().await.into_iter().collect()
}

/// Keeps tasks busy for `length`, after a warm-up.
async fn timed(args: &Args, connection: impl Connection, length: Duration) -> io::Result<Sample> {
    let phase = Arc::new(AtomicU8::new(Phase::WarmUp as u8));
    let keys = Arc::new(keys());
    let runtime = args.client.runtime();
    let mut running = runtime.tasks();
    for task in 0..args.tasks {
        let (connection, keys) = connection.of_task(task, &keys);
        running.spawn(keep_busy(connection, args.operation, args.values, keys, task, Arc::clone(&phase)));
    }
    runtime.sleep(WARM_UP).await;
    let (cpu, start) = (cpu_time()?, now());
    phase.store(Phase::Measured as u8, Ordering::Relaxed);
    runtime.sleep(length).await;
    phase.store(Phase::Over as u8, Ordering::Relaxed);
    let (elapsed, cpu) = (now() - start, cpu_time()? - cpu);
    let (mut operations, mut latencies) = (0, Vec::new());
    for done in running.join_all().await {
        let done = done?;
        operations += done.operations;
        latencies.extend(done.latencies);
    }
    Ok(sample(operations, elapsed, cpu, &mut latencies))
}

#[derive(Clone, Copy)]
enum Phase {
    WarmUp,
    Measured,
    Over,
}

/// What one task has done.
struct Done {
    operations: u64,
    /// Nanoseconds of each operation with a small value.
    latencies: Vec<u32>,
}

/// One operation after the other.
async fn keep_busy(
    mut connection: impl Connection,
    operation: Operation,
    values: Values,
    keys: Arc<Vec<String>>,
    task: usize,
    phase: Arc<AtomicU8>,
) -> io::Result<Done> {
    let mut done = Done { operations: 0, latencies: Vec::with_capacity(1 << 14) };
    let mut start = now();
    for turn in 0.. {
        let is_large = values.is_large(task, turn);
        once(&mut connection, operation, is_large, key(&keys, task, turn)).await?;
        let end = now();
        let phase = phase.load(Ordering::Relaxed);
        if phase == Phase::Over as u8 {
            break;
        }
        if phase == Phase::Measured as u8 {
            done.operations += 1;
            if !is_large {
                done.latencies.push(u32::try_from((end - start).as_nanos()).unwrap_or(u32::MAX));
            }
        }
        start = end;
    }
    Ok(done)
}

async fn once(
    connection: &mut impl Connection,
    operation: Operation,
    is_large: bool,
    key: &str,
) -> io::Result<()> {
    let (key, value) = if is_large { (LARGE_KEY, LARGE_VALUE) } else { (key, VALUE) };
    match operation {
        Operation::Get if connection.get(key).await? == value.len() => Ok(()),
        Operation::Get => Err(io::Error::other("not the value that was set")),
        Operation::Set => connection.set(key, value).await,
    }
}

/// The tasks begin far from each other and go through the keys by steps of their own.
fn key(keys: &[String], task: usize, turn: usize) -> &str {
    &keys[(task * 37 + turn * 7) % keys.len()]
}

fn sample(operations: u64, elapsed: Duration, cpu: Duration, latencies: &mut [u32]) -> Sample {
    latencies.sort_unstable();
    let quantile = |share: f64| {
        let at = (latencies.len() as f64 * share) as usize;
        latencies.get(at).map_or(f64::NAN, |nanoseconds| f64::from(*nanoseconds) / 1e3)
    };
    let operations = operations as f64;
    Sample {
        rate: operations / elapsed.as_secs_f64() / 1e3,
        cpu: cpu.as_secs_f64() * 1e6 / operations,
        p50: quantile(0.5),
        p99: quantile(0.99),
        p999: quantile(0.999),
    }
}

/// The processor time that this process has used, its own and the system's on its behalf.
fn cpu_time() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let duration = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is about the real clock")]
fn now() -> Instant {
    Instant::now()
}
