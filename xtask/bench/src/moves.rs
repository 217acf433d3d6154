//! Clients whose nodes go through maintenance under load: what their users notice of it.
//!
//! Errors and latencies are measured where the commands are called; what has become of them, and how many connections there were, is
//! counted by the servers.

mod chart;
mod contenders;
mod figures;
mod load;
mod report;
mod scenario;
mod world;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hitless_conformance::net::redis_connection::RedisConnection;
use hitless_conformance::tally::Counted;
use tokio::runtime;
use tokio::task::JoinSet;

use contenders::{Client, Contender};
use figures::{Figures, Latencies};
use load::{Consumers, Done, Fed, Subscriber, TASKS};
use report::Report;
use scenario::{Feed, Played, Scenario};
use world::World;

use crate::client::chosen;
use crate::results::{keep, root};

/// The load alone, before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// What `hitless-bench moves` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these clients.
    #[arg(long, value_name = "CLIENT")]
    client: Vec<Contender>,
    /// Only these scenarios.
    #[arg(long, value_name = "SCENARIO")]
    scenario: Vec<Scenario>,
    /// Also write the picture to `xtask/bench/moves.svg` and the table to the README.
    #[arg(long, conflicts_with_all = ["client", "scenario"])]
    publish: bool,
}

/// Puts each client through each scenario, prints the table and writes it, the figures as JSON and the picture to `target/bench`.
///
/// # Errors
///
/// When there is no redis-server, a client fails for good, or a file cannot be written.
pub fn run(args: &Args) -> io::Result<()> {
    let mut rows = Vec::new();
    for scenario in chosen(&Scenario::ALL, &args.scenario) {
        for contender in chosen(&Contender::ALL, &args.client) {
            eprintln!("{}: {}", scenario.name(), contender.name());
            rows.push((scenario, contender, measure(scenario, contender)?));
        }
    }
    let report = Report::new(rows)?;
    let table = report.markdown();
    print!("{table}");
    keep("moves.md", &table)?;
    keep("moves.json", &report.json())?;
    keep("moves.svg", &report.svg())?;
    if args.publish { publish(&report) } else { Ok(()) }
}

/// Renews what the repository shows.
fn publish(report: &Report) -> io::Result<()> {
    let readme = root().join("README.md");
    let text = report::replace_section(&std::fs::read_to_string(&readme)?, &report.section())?;
    std::fs::write(readme, text)?;
    std::fs::write(root().join("xtask/bench/moves.svg"), report.svg())
}

/// One client in one scenario, with servers and a runtime of its own.
fn measure(scenario: Scenario, contender: Contender) -> io::Result<Figures> {
    let world = World::start()?;
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let address = world.address();
    let figures = runtime.block_on(async {
        match contender {
            Contender::Hitless => put_through(scenario, &world, contenders::hitless(address).await?).await,
            Contender::Redis => put_through(scenario, &world, contenders::redis(address).await?).await,
        }
    });
    // Some of the peer's tasks never end.
    runtime.shutdown_background();
    figures
}

async fn put_through<C: Client>(scenario: Scenario, world: &World, client: C) -> io::Result<Figures> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let job = load::run_task(client.clone(), task, Arc::clone(&stop));
        tasks.spawn(async move { (task, job.await) });
    }
    let feed = match scenario.feed() {
        Feed::None => Fodder::None,
        Feed::Items => Fodder::Items(Consumers::start(&client, world.data()?).await?),
        Feed::Messages => Fodder::Messages(Subscriber::start(&client, world.data()?).await?),
    };
    tokio::time::sleep(WARM_UP).await;
    let played = scenario.play(world).await;
    stop.store(true, Ordering::Relaxed);
    let done = tasks.join_all().await;
    let fed = match feed {
        Fodder::None => None,
        Fodder::Items(consumers) => Some(consumers.finish().await?),
        Fodder::Messages(subscriber) => Some(subscriber.finish()?),
    };
    client.close().await;
    figures(world, &played, done, fed)
}

/// What is brought besides the load, while it is brought.
enum Fodder {
    None,
    Items(Consumers),
    Messages(Subscriber),
}

fn figures(
    world: &World,
    played: &Played,
    done: Vec<(usize, Done)>,
    fed: Option<Fed>,
) -> io::Result<Figures> {
    let mut data = world.data()?;
    let (mut counted, mut unanswered, mut all) = (Counted::default(), 0, Done::default());
    for (task, done) in done {
        let added = count_of(&mut data, task)?;
        counted.add(Counted::compare(added, done.acknowledged, done.uncertain_additions));
        unanswered += u64::try_from(added).unwrap_or_default().saturating_sub(done.acknowledged);
        all.add(done);
    }
    if let Some(error) = &all.first_error {
        eprintln!("    the first error: {error}");
    }
    Ok(Figures {
        latencies: Latencies::of(&all.operations, played.span),
        counted,
        unanswered,
        other_errors: fed.as_ref().map_or(0, |fed| fed.errors),
        uncertain: all.uncertain + fed.as_ref().map_or(0, |fed| fed.uncertain),
        opened: played.span.event.map_or(0, |event| world.opened_since(event)),
        emptied: played.tenants.as_ref().and_then(|tenants| world.emptied(tenants)),
        delivered: fed.map(|fed| fed.delivered),
        marks: played.marks.clone(),
        curve: figures::curve(&all.operations, played.span),
    })
}

/// What the server has counted for a task.
fn count_of(data: &mut RedisConnection, task: usize) -> io::Result<i64> {
    let reply = data.call(&["GET", &load::counter(task)])?;
    let count = reply.as_str().and_then(|text| text.parse().ok());
    count.ok_or_else(|| io::Error::other(format!("not a counter: {reply:?}")))
}
