//! Clients against a real redis-server, or a cluster of them.

pub mod allocations;
pub mod contenders;
pub mod link;
pub mod load;
mod processors;
mod report;
pub mod runtime;
mod server;

use std::io;
use std::path::PathBuf;

use allocations::Counts;
use contenders::{Address, Contender};
use link::Link;
use load::{Operation, Sample, Values};
use processors::Processors;
use runtime::Scheduler;
use server::{Cluster, Server};

use crate::results::keep;

/// What `hitless-bench client` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Only cases with values like these.
    #[arg(long, value_name = "VALUES")]
    values: Vec<Values>,
    /// Only cases with this link.
    #[arg(long, value_name = "LINK")]
    link: Vec<Link>,
}

/// What to measure, and how often: what `hitless-bench cluster` takes.
#[derive(Debug, clap::Args)]
pub struct Choice {
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
    /// Only cases with so many tasks.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(usize))]
    tasks: Vec<usize>,
    /// Count no allocations.
    #[arg(long)]
    no_allocations: bool,
}

/// What the clients are clients of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Server,
    Cluster,
}

/// All figures of one run.
struct Figures {
    subject: Subject,
    /// Whether the single-threaded client and the servers had a processor each.
    pinned: bool,
    cases: Vec<Case>,
    /// Empty if nobody counted.
    allocations: Vec<(Contender, Counts)>,
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

/// Puts the clients of one server under all loads, prints the tables and writes them to `target/bench`.
///
/// # Errors
///
/// When there is no redis-server, a client fails, or a file cannot be written.
pub fn run(args: &Args) -> io::Result<()> {
    let links = chosen(&Link::ALL, &args.link);
    let server = Server::start(links.contains(&Link::Encrypted))?;
    let distant = link::distant(server.port())?;
    let address = |link| {
        let encrypted = server.encrypted().filter(|_| link == Link::Encrypted);
        let port = if link == Link::Distant { distant } else { server.port() };
        encrypted.unwrap_or_else(|| Address { ports: vec![port], certificate: None })
    };
    let kinds = args.choice.kinds(&links, &chosen(&Values::ALL, &args.values));
    publish(&measure(Subject::Server, &args.choice, &kinds, &[server.id()], address)?, &args.choice)
}

/// Puts the clients of a cluster under all loads, as [`run`] does.
///
/// # Errors
///
/// Those of [`run`].
pub fn run_cluster(choice: &Choice) -> io::Result<()> {
    let cluster = Cluster::start()?;
    let address = |_| Address { ports: cluster.ports(), certificate: None };
    let kinds = choice.kinds(&[Link::Loopback], &[Values::Small]);
    publish(&measure(Subject::Cluster, choice, &kinds, &cluster.ids(), address)?, choice)
}

fn publish(figures: &Figures, choice: &Choice) -> io::Result<()> {
    let tables = report::markdown(figures);
    print!("{tables}");
    let name = figures.subject.name();
    keep(&format!("{name}.md"), &tables)?;
    let json = report::json(figures);
    keep(&format!("{name}.json"), &json)?;
    match &choice.json {
        Some(file) => std::fs::write(file, json),
        None => Ok(()),
    }
}

/// `servers` are the processes at the addresses.
fn measure(
    subject: Subject,
    choice: &Choice,
    kinds: &[Kind],
    servers: &[u32],
    address: impl Fn(Link) -> Address,
) -> io::Result<Figures> {
    let (rounds, milliseconds) = if choice.quick { (3, 150) } else { (9, 300) };
    let rounds = choice.rounds.unwrap_or(rounds).max(1);
    let contenders = chosen(subject.contenders(), &choice.client);
    let mut allocations = Vec::new();
    if !choice.no_allocations {
        eprintln!("counting allocations");
        allocations = allocations::counted_apart(&address(Link::Loopback), &contenders)?;
    }
    let processors = Processors::allowed();
    let mut pinned = true;
    let mut cases = Vec::new();
    for &kind in kinds {
        match kind.scheduler {
            Scheduler::CurrentThread => pinned = servers.iter().all(|server| processors.pin(*server, 0)),
            Scheduler::TwoWorkers => servers.iter().for_each(|server| processors.free(*server)),
        }
        for tasks in chosen(subject.tasks(), &choice.tasks) {
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
    Ok(Figures { subject, pinned, cases, allocations })
}

impl Subject {
    /// The benchmark's, and its files'.
    fn name(self) -> &'static str {
        match self {
            Self::Server => "client",
            Self::Cluster => "cluster",
        }
    }

    fn contenders(self) -> &'static [Contender] {
        match self {
            Self::Server => &Contender::OF_SERVER,
            Self::Cluster => &Contender::OF_CLUSTER,
        }
    }

    /// Numbers of tasks that send one command each at a time.
    fn tasks(self) -> &'static [usize] {
        match self {
            Self::Server => &[1, 16, 64, 256, 1024],
            Self::Cluster => &[16, 64, 256],
        }
    }
}

impl Choice {
    /// The tables to make, in their order.
    fn kinds(&self, links: &[Link], values: &[Values]) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for &link in links {
            for &values in values {
                for scheduler in chosen(&Scheduler::ALL, &self.scheduler) {
                    for operation in chosen(&Operation::ALL, &self.operation) {
                        kinds.push(Kind { link, values, scheduler, operation });
                    }
                }
            }
        }
        kinds
    }
}

/// Those that were asked for, or all of them if none was.
pub(crate) fn chosen<T: Copy + PartialEq>(all: &[T], asked_for: &[T]) -> Vec<T> {
    all.iter().copied().filter(|one| asked_for.is_empty() || asked_for.contains(one)).collect()
}

impl Kind {
    /// The title of the table.
    fn name(self) -> String {
        let Self { link, values, scheduler, operation } = self;
        format!("{}, {}, {}, {}", operation.name(), scheduler.name(), link.name(), values.name())
    }
}
