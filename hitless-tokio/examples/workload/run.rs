//! The run: connect, let the workers work, sum up. Whoever includes this brings `hitless`, `spawn` and `sleep`.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use super::consumers;
use super::load::Worker;
use super::options::Options;
use super::record::{self, Epoch, now};
use super::subscriber::Subscriber;
use super::{Failure, sleep, spawn};

/// For what is under way when the time is over.
const GRACE: Duration = Duration::from_secs(5);

/// What the command line asks for.
pub(crate) async fn from_command_line() -> ExitCode {
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
    let opening = options.opening()?;
    opening.tell_events();
    let client = opening.connect().await?;

    let epoch = Epoch::now();
    let (records, received) = mpsc::channel();
    let subscriber = match options.subscribes() {
        true => Some(Subscriber::begin(&options, epoch, records.clone()).await?),
        false => None,
    };
    let writer = thread::spawn(move || record::write(file, &received));
    let consumers = match options.has_consumers() {
        true => Some(consumers::start(&options, epoch, &records).await?),
        false => None,
    };
    let begin = now();
    println!("READY {:.6} {}", epoch.seconds(begin), env!("CARGO_PKG_VERSION"));
    io::stdout().flush()?;

    let end = begin + options.duration();
    let subscribed = subscriber.as_ref().map(Subscriber::target);
    let reading = subscriber.map(|subscriber| spawn(subscriber.read()));
    let workers: Vec<_> = (0..options.workers)
        .map(|worker| {
            let worker = Worker::new(worker, &options.run_id, client.clone(), epoch, records.clone());
            let worker = if options.has_pairs() { worker.with_pair(&options.run_id) } else { worker };
            spawn(work(worker, end, options.think_time()))
        })
        .collect();
    drop(records);
    for worker in workers {
        worker.await?;
    }
    if let Some(consumers) = consumers {
        consumers.shutdown(GRACE).await;
    }
    client.shutdown(GRACE).await;
    if let (Some(subscribed), Some(reading)) = (subscribed, reading) {
        subscribed.shutdown(Duration::ZERO).await;
        reading.await?;
    }
    let summary = writer.join().map_err(|_| "the writer of the file panicked")??;
    eprint!("{summary}");
    Ok(())
}

async fn work(mut worker: Worker, end: Instant, think_time: Duration) {
    while now() < end {
        worker.step().await;
        sleep(think_time.min(end.saturating_duration_since(now()))).await;
    }
}
