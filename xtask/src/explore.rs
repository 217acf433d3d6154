//! `cargo xtask explore`: every interleaving of what can happen to the machines, at small scope.

use crate::shell::Cmd;
use crate::summary::Summary;

/// What `cargo xtask explore` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Explore this scope alone.
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    /// Facts in a row, instead of what the scope says.
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// Distinct states of each scope, instead of what the scope says.
    #[arg(long, value_name = "N")]
    states: Option<usize>,
    /// Show what happens on a path, as it was printed with a violation.
    #[arg(long, value_name = "N.N.N", requires = "scope")]
    replay: Option<String>,
}

/// Explores, and counts as one step.
pub(crate) fn run(args: &Args) -> Summary {
    let explorer = Cmd::cargo().args_of("run --quiet --release -p hitless-conformance --example explore --");
    let options = [
        ("--scope", args.scope.clone()),
        ("--depth", args.depth.map(|depth| depth.to_string())),
        ("--states", args.states.map(|states| states.to_string())),
        ("--replay", args.replay.clone()),
    ];
    let given = options.into_iter().filter_map(|(option, value)| Some((option, value?)));
    let explorer = given.fold(explorer, |explorer, (option, value)| explorer.arg(option).arg(value));
    Summary::of_step(explorer.run())
}
