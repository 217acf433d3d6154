//! A load generator to point at a staging cluster: is its upgrade hitless for the applications?
//!
//! ```console
//! $ cargo build --release --example workload -p hitless-tokio
//! $ target/release/examples/workload --host redis.example.com --run-id upgrade-1 --duration 600 --out operations.csv
//! ```
//!
//! It connects, prints `READY <epoch seconds> <version>`, and then each worker repeats INCR, SET, INCR and GET on keys of
//! its own. It never repeats an operation by itself. Each operation becomes one line of the file:
//!
//! ```text
//! start_epoch_s,latency_us,op,status,worker,value
//! ```
//!
//! `op` is `I`, `S` or `G`. `status` is `ok` or `Type:text`, where an error whose request may have run says `Unknown`.
//! `value` is the number that INCR returned, and `mismatch` if GET did not return what was last set successfully.

mod load;
mod options;
mod record;
mod summary;

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
/// The adapter in use.
use hitless_tokio as hitless;
use hitless_tokio::{CloseCause, Event};
use tokio::time::Instant;

use self::load::Worker;
use self::options::Options;
use self::record::Epoch;

/// For what is under way when the time is over.
const GRACE: Duration = Duration::from_secs(5);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workload: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Failure> {
    let file = File::create(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    let builder = options.builder()?;
    let mut events = builder.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::ConnectionReady { .. } | Event::Terminated) => {}
                Ok(Event::ConnectionClosed {
                    cause: CloseCause::ByClient | CloseCause::ShutDown, ..
                }) => {}
                Ok(event) => eprintln!("event: {event:?}"),
                Err(missed) => eprintln!("events: {missed}"),
            }
        }
    });
    let client = builder.connect().await?;

    let epoch = Epoch::now();
    let (records, received) = mpsc::channel();
    let writer = thread::spawn(move || record::write(file, &received));
    println!("READY {:.6} {}", epoch.seconds(epoch.begin()), env!("CARGO_PKG_VERSION"));
    io::stdout().flush()?;

    let end = epoch.begin() + options.duration();
    let workers: Vec<_> = (0..options.workers)
        .map(|worker| {
            let worker = Worker::new(worker, &options.run_id, client.clone(), epoch, records.clone());
            tokio::spawn(work(worker, end, options.think_time()))
        })
        .collect();
    drop(records);
    for worker in workers {
        worker.await?;
    }
    client.shutdown(GRACE).await;
    let summary = writer.join().map_err(|_| "the writer of the file panicked")??;
    eprint!("{summary}");
    Ok(())
}

async fn work(mut worker: Worker, end: std::time::Instant, think_time: Duration) {
    let end = Instant::from_std(end);
    while Instant::now() < end {
        worker.step().await;
        tokio::time::sleep_until(end.min(Instant::now() + think_time)).await;
    }
}
