//! Clients against a real redis-server.

pub mod allocations;
pub mod contenders;
pub mod load;
mod processors;
mod report;
mod server;

use std::path::PathBuf;
use std::{env, io};

use allocations::Allocations;
use contenders::Contender;
use load::{Operation, Sample, Scheduler};
use processors::Processors;
use server::Server;

/// Tasks that send one command each at a time.
const TASKS: [usize; 4] = [1, 16, 64, 256];

/// What `hitless-bench client` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also write the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Few and short samples.
    #[arg(long)]
    quick: bool,
    /// How many samples of each figure are taken.
    #[arg(long, value_name = "NUMBER")]
    rounds: Option<usize>,
    /// Only cases with so many tasks.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(usize))]
    tasks: Vec<usize>,
}

/// All figures of one run.
struct Figures {
    /// Whether the single-threaded client and the server had a processor each.
    pinned: bool,
    cases: Vec<Case>,
    allocations: Allocations,
}

/// One load, and what every contender made of it.
struct Case {
    scheduler: Scheduler,
    operation: Operation,
    tasks: usize,
    /// By contender, by round.
    samples: Vec<Vec<Sample>>,
}

/// Puts all contenders under all loads, prints the tables and writes them to `target/bench`.
///
/// # Errors
///
/// When there is no redis-server, a client fails, or a file cannot be written.
pub fn run(args: &Args) -> io::Result<()> {
    let figures = measure(args)?;
    let tables = report::markdown(&figures);
    print!("{tables}");
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench"));
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("client.md"), &tables)?;
    let json = report::json(&figures);
    std::fs::write(directory.join("client.json"), &json)?;
    match &args.json {
        Some(file) => std::fs::write(file, json),
        None => Ok(()),
    }
}

fn measure(args: &Args) -> io::Result<Figures> {
    let (rounds, milliseconds) = if args.quick { (3, 150) } else { (9, 300) };
    let rounds = args.rounds.unwrap_or(rounds).max(1);
    let server = Server::start()?;
    eprintln!("counting allocations");
    let allocations = allocations::counted_apart(server.port())?;
    let processors = Processors::allowed();
    let mut pinned = true;
    let mut cases = Vec::new();
    for scheduler in Scheduler::ALL {
        match scheduler {
            Scheduler::CurrentThread => pinned = processors.pin(server.id(), 0),
            Scheduler::TwoWorkers => processors.free(server.id()),
        }
        for operation in Operation::ALL {
            for tasks in TASKS.into_iter().filter(|tasks| args.tasks.is_empty() || args.tasks.contains(tasks))
            {
                eprintln!("{} of {tasks} tasks, {}", operation.name(), scheduler.name());
                let length = load::Length::Milliseconds(milliseconds);
                let load = |client| load::Args {
                    client,
                    scheduler,
                    operation,
                    tasks,
                    length,
                    port: server.port(),
                    pin: pinned,
                };
                let mut samples = vec![Vec::with_capacity(rounds); Contender::ALL.len()];
                for _ in 0..rounds {
                    for (at, contender) in Contender::ALL.into_iter().enumerate() {
                        samples[at].push(load::sample_apart(&load(contender))?);
                    }
                }
                cases.push(Case { scheduler, operation, tasks, samples });
            }
        }
    }
    Ok(Figures { pinned, cases, allocations })
}
