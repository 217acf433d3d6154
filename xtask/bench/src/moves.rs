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
use figures::{Delivered, Figures, Latencies};
use load::{Consumers, Done, Subscriber, TASKS};
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

/// Puts each client through each scenario, prints the table and writes it, the figures as JSON and the picture to `target/bench`. A
/// client that fails for good in one scenario has its error there in the table, and goes on with the next.
///
/// # Errors
///
/// When there is no redis-server, or a file cannot be written; when all is written, if a client has failed for good, and nothing is
/// published then.
pub fn run(args: &Args) -> io::Result<()> {
    let mut rows = Vec::new();
    for scenario in chosen(&Scenario::ALL, &args.scenario) {
        for contender in chosen(&Contender::ALL, &args.client) {
            eprintln!("{}: {}", scenario.name(), contender.name());
            let figures = measure(scenario, contender).map_err(|error| error.to_string());
            if let Err(reason) = &figures {
                eprintln!("    it failed: {reason}");
            }
            rows.push((scenario, contender, figures));
        }
    }
    let failed = rows.iter().filter(|(.., figures)| figures.is_err()).count();
    let report = Report::new(rows)?;
    let table = report.markdown();
    print!("{table}");
    keep("moves.md", &table)?;
    keep("moves.json", &report.json())?;
    keep("moves.svg", &report.svg())?;
    match failed {
        0 if args.publish => publish(&report),
        0 => Ok(()),
        _ => Err(io::Error::other(format!("{failed} failed, and the table says why"))),
    }
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
    let (mut consumers, mut subscriber) = (None, None);
    match scenario.feed() {
        None => {}
        Some(Feed::Items) => consumers = Some(Consumers::start(&client, world.data()?).await?),
        Some(Feed::Messages) => subscriber = Some(Subscriber::start(&client, world.data()?).await?),
    }
    tokio::time::sleep(WARM_UP).await;
    let played = scenario.play(world).await;
    stop.store(true, Ordering::Relaxed);
    let done = tasks.join_all().await;
    let delivered = match (consumers, subscriber) {
        (Some(consumers), _) => Some(consumers.finish().await?),
        (_, Some(subscriber)) => Some(subscriber.finish()?),
        (None, None) => None,
    };
    client.close().await;
    figures(world, &played, done, delivered)
}

fn figures(
    world: &World,
    played: &Played,
    done: Vec<(usize, Done)>,
    delivered: Option<Delivered>,
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
        uncertain: all.uncertain + delivered.map_or(0, |delivered| delivered.uncertain),
        opened: played.span.event.map_or(0, |event| world.opened_since(event)),
        empty_after: played.connections.as_ref().and_then(|connections| world.empty_after(connections)),
        delivered,
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
