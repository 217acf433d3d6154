//! A pool under load moves from node to node, and nobody notices: `cargo xtask demo`.
//!
//! | module | what it is |
//! |---|---|
//! | [`world`], [`names`] | nodes in front of a real `redis-server` or over an embedded data set, and the name they share |
//! | [`pool`] | the client under test and its runtime |
//! | [`load`], [`meter`] | the tasks that use it, and what they measure |
//! | [`step`], [`stage`] | what happens in each step, and the run of one |
//! | [`verdict`], [`report`] | what hitless means, and what is said of each step |
//! | [`log`], [`narrator`], [`display`] | what can be watched meanwhile |

mod args;
mod display;
mod interrupts;
mod json;
mod load;
mod log;
mod meter;
mod names;
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

use args::Args;
use display::{Display, Style};
use interrupts::{Interrupted, Interrupts};
use load::TASKS;
use log::Log;
use narrator::Counts;
use pool::CONNECTIONS;
use report::Report;
use stage::Rig;
use world::World;

const NOT_HITLESS: u8 = 1;
const FAILED: u8 = 2;
/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(report) if report.is_hitless() => ExitCode::SUCCESS,
        Ok(_) => NOT_HITLESS.into(),
        Err(error) => {
            eprintln!("demo: {error}");
            if error.is::<Interrupted>() { INTERRUPTED.into() } else { FAILED.into() }
        }
    }
}

fn run(args: &Args) -> Result<Report, Box<dyn Error>> {
    let mut rig = open(args)?;
    let server = rig.world.description().to_owned();
    let mut figures = Vec::new();
    rig.run(&step::warm_up())?;
    for step in step::all() {
        let found = rig.run(&step)?;
        figures.push((step, found));
    }
    rig.close();
    let report = Report::new(server, args.runtime, figures);
    println!("\n{report}");
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{}\n", report.to_json()))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(report)
}

fn open(args: &Args) -> Result<Rig, Box<dyn Error>> {
    let interrupts = Interrupts::listen()?;
    let log = Arc::new(Log::new(clock::now()));
    let counts = Arc::new(Counts::default());
    let world = Arc::new(World::start(args.embedded)?);
    let head = format!(
        "hitless demo: nodes A to D over {}; a pool of {CONNECTIONS}, {TASKS} tasks, {}",
        world.description(),
        args.runtime
    );
    let display = Display::start(Style::of_output(args.plain), head, Arc::clone(&world), Arc::clone(&log))?;
    let auditor = world.auditor()?;
    Ok(Rig { world, runtime: args.runtime, pool: None, auditor, log, counts, interrupts, display })
}
