//! The one entry point for contributors: `cargo xtask <verb>`.

#[macro_use]
mod print;

mod bench;
mod breakages;
mod command_table;
mod conformance;
mod copy;
mod demo;
mod docs;
mod explore;
mod guards;
mod mutants;
mod program;
mod server;
mod shell;
mod sim;
mod suite;
mod summary;
mod test_all;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use summary::Summary;

/// Runs everything: tests, demo, benchmarks, house rules.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Move a pool under load from node to node, and watch.
    Demo(demo::Args),
    /// Run everything that must pass before a change goes in.
    TestAll(test_all::Args),
    /// Run the conformance suite, or a part of it.
    Conformance(conformance::Args),
    /// Run the driver in deterministic simulation, under faults.
    Sim(sim::Args),
    /// Try every interleaving of what can happen to the machines, at small scope.
    Explore(explore::Args),
    /// Check the house rules.
    Tidy(tidy::Args),
    /// Break the code in small ways, and see whether the tests notice.
    Breakages(breakages::Args),
    /// Change every line of the codec and the core in small ways, and see how many of them the tests notice.
    Mutants(mutants::Args),
    /// Run a benchmark beside its peers.
    Bench(bench::Args),
    /// Count instructions and allocations of the codec and the machines, and compare them with what is recorded.
    Guards(guards::Args),
    /// Start the test server, for a client in any language.
    Server(server::Args),
    /// Write what a real server says of its commands into the core, or compare it.
    CommandTable(command_table::Args),
    /// Build the documentation.
    Docs,
}

fn main() -> ExitCode {
    let summary = match Cli::parse().verb {
        // These have a verdict of their own.
        Verb::Demo(args) => return demo::run(&args),
        Verb::Bench(args) => return bench::run(&args),
        Verb::Server(args) => return server::run(&args),
        Verb::TestAll(args) => test_all::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Breakages(args) => breakages::run(&args),
        Verb::Guards(args) => guards::run(&args),
        Verb::Mutants(args) => mutants::run(&args),
        Verb::Sim(args) => Ok(sim::run(&args)),
        Verb::Explore(args) => Ok(explore::run(&args)),
        Verb::Tidy(args) => tidy::run(&args),
        Verb::CommandTable(args) => command_table::run(&args),
        Verb::Docs => docs::run(),
    };
    let summary = summary.unwrap_or_else(|error| {
        println!("{error}");
        Summary::of_step(false)
    });
    println!("{summary}");
    if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
