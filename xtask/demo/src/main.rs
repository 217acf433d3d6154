//! A pool under load moves from node to node, and nobody notices: `cargo xtask demo`.
//!
//! | module | what it is |
//! |---|---|
//! | [`world`] | nodes in front of a real `redis-server` or an embedded one, and the name they share |
//! | [`pool`] | the client under test and its runtime |
//! | [`load`], [`meter`] | the tasks that use it, and what they measure |
//! | [`feeder`] | what consumers wait for and subscribers receive |
//! | [`step`], [`stage`] | what happens in each step, and the run of one |
//! | [`verdict`], [`report`] | what hitless means, and what is said of each step |
//! | [`cluster`] | all of that for a cluster, with `--cluster` |
//! | [`log`], [`narrator`] | what can be watched meanwhile |

mod cluster;
mod feeder;
mod load;
mod log;
mod meter;
mod narrator;
mod pool;
mod report;
mod stage;
mod step;
mod verdict;
mod world;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use hitless_conformance::clock;

use load::{CONSUMERS, TASKS, TRANSACTORS};
use log::Log;
use pool::{CONNECTIONS, RuntimeName};
use report::Report;
use stage::Rig;
use world::World;

const NOT_HITLESS: u8 = 1;
const FAILED: u8 = 2;

/// Moves a pool under load from node to node, and says whether anybody could have noticed.
///
/// Exit status: 0 if every step was hitless, 1 if one was not, 2 if the demo could not run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", bin_name = "cargo xtask demo")]
struct Args {
    /// Use the embedded server even if there is a redis-server.
    #[arg(long)]
    embedded: bool,

    /// What the client lives on.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = RuntimeName::Tokio)]
    runtime: RuntimeName,

    /// Encrypt everything: each node has a certificate of its own. `cargo xtask` builds TLS into the demo only for that.
    #[arg(long)]
    tls: bool,

    /// Use a cluster of six redis-server processes: slots move, a replica takes over, a primary dies.
    #[arg(long, conflicts_with_all = ["embedded", "tls"])]
    cluster: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_hitless =
        if args.cluster { cluster::run(args.runtime) } else { run(&args).map(|report| report.is_hitless()) };
    match is_hitless {
        Ok(true) => ExitCode::SUCCESS,
        Ok(_) => NOT_HITLESS.into(),
        Err(error) => {
            eprintln!("demo: {error}");
            FAILED.into()
        }
    }
}

fn run(args: &Args) -> Result<Report, Box<dyn Error>> {
    let mut rig = open(args)?;
    let mut figures = Vec::new();
    rig.run(&step::warm_up())?;
    for step in step::all() {
        let found = rig.run(&step)?;
        figures.push((step, found));
    }
    rig.close();
    let report = Report::new(rig.world.description().to_owned(), args.runtime, figures);
    log::print(format_args!("\n{report}"));
    Ok(report)
}

fn open(args: &Args) -> Result<Rig, Box<dyn Error>> {
    let world = World::start(args.embedded, args.tls)?;
    log::print(format_args!(
        "hitless demo: nodes A to D, at {} and so on, over {}; a pool of {CONNECTIONS}, {TASKS} tasks, \
         {TRANSACTORS} that use transactions, {CONSUMERS} consumers, a subscriber, {}",
        world.address(world::Node::A),
        world.description(),
        args.runtime
    ));
    let auditor = world.auditor()?;
    let log = Arc::new(Log::new(clock::now()));
    Ok(Rig { world, runtime: args.runtime, pool: None, auditor, log, counts: Arc::default() })
}
