//! Clients against a real redis-server.

pub mod allocations;
pub mod contenders;
pub mod link;
pub mod load;
mod processors;
mod report;
mod server;

use std::path::PathBuf;
use std::{env, io};

use allocations::Allocations;
use contenders::{Address, Contender};
use link::Link;
use load::{Operation, Sample, Scheduler, Values};
use processors::Processors;
use server::Server;

/// Tasks that send one command each at a time.
const TASKS: [usize; 5] = [1, 16, 64, 256, 1024];

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
    /// Only these clients.
    #[arg(long, value_name = "CLIENT")]
    client: Vec<Contender>,
    /// Only cases with this kind of runtime.
    #[arg(long, value_name = "KIND")]
    scheduler: Vec<Scheduler>,
    /// Only cases with this operation.
    #[arg(long, value_name = "OPERATION")]
    operation: Vec<Operation>,
    /// Only cases with values like these.
    #[arg(long, value_name = "VALUES")]
    values: Vec<Values>,
    /// Only cases with this link.
    #[arg(long, value_name = "LINK")]
    link: Vec<Link>,
    /// Only cases with so many tasks.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(usize))]
    tasks: Vec<usize>,
    /// Count no allocations.
    #[arg(long)]
    no_allocations: bool,
}

/// All figures of one run.
struct Figures {
    /// Whether the single-threaded client and the server had a processor each.
    pinned: bool,
    cases: Vec<Case>,
    /// None if nobody counted.
    allocations: Allocations,
}

/// What the cases of one table have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    link: Link,
    values: Values,
    scheduler: Scheduler,
    operation: Operation,
}

/// One load, and what every contender made of it.
struct Case {
    kind: Kind,
    tasks: usize,
    /// Who took part, and what came of it in each round.
    samples: Vec<(Contender, Vec<Sample>)>,
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
    let contenders = chosen(&Contender::ALL, &args.client);
    let links = chosen(&Link::ALL, &args.link);
    let server = Server::start(links.contains(&Link::Encrypted))?;
    let distant = link::distant(server.port())?;
    let address = |link| {
        let encrypted = server.encrypted().filter(|_| link == Link::Encrypted);
        let port = if link == Link::Distant { distant } else { server.port() };
        encrypted.unwrap_or(Address { port, certificate: None })
    };
    let mut allocations = Allocations::new();
    if !args.no_allocations {
        eprintln!("counting allocations");
        allocations = allocations::counted_apart(server.port())?;
    }
    let processors = Processors::allowed();
    let mut pinned = true;
    let mut cases = Vec::new();
    for kind in kinds(args) {
        match kind.scheduler {
            Scheduler::CurrentThread => pinned = processors.pin(server.id(), 0),
            Scheduler::TwoWorkers => processors.free(server.id()),
        }
        for tasks in chosen(&TASKS, &args.tasks) {
            eprintln!("{}, {tasks} tasks", kind.name());
            let load = |client| load::Args {
                address: address(kind.link),
                client,
                scheduler: kind.scheduler,
                operation: kind.operation,
                values: kind.values,
                tasks,
                length: load::Length::Milliseconds(milliseconds),
                pin: pinned,
            };
            let taking_part = contenders.iter().filter(|contender| contender.takes(kind.link));
            let mut samples: Vec<_> = taking_part.map(|contender| (*contender, Vec::new())).collect();
            for _ in 0..rounds {
                for (contender, samples) in &mut samples {
                    samples.push(load::sample_apart(&load(*contender))?);
                }
            }
            cases.push(Case { kind, tasks, samples });
        }
    }
    Ok(Figures { pinned, cases, allocations })
}

/// The tables to make, in their order.
fn kinds(args: &Args) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for link in chosen(&Link::ALL, &args.link) {
        for values in chosen(&Values::ALL, &args.values) {
            for scheduler in chosen(&Scheduler::ALL, &args.scheduler) {
                for operation in chosen(&Operation::ALL, &args.operation) {
                    kinds.push(Kind { link, values, scheduler, operation });
                }
            }
        }
    }
    kinds
}

/// Those that were asked for, or all of them if none was.
fn chosen<T: Copy + PartialEq>(all: &[T], asked_for: &[T]) -> Vec<T> {
    all.iter().copied().filter(|one| asked_for.is_empty() || asked_for.contains(one)).collect()
}

impl Kind {
    /// The title of the table.
    fn name(self) -> String {
        let Self { link, values, scheduler, operation } = self;
        format!("{}, {}, {}, {}", operation.name(), scheduler.name(), link.name(), values.name())
    }
}
