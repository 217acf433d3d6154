//! `cargo xtask sim`: seeds of the deterministic simulation of the driver.

use crate::shell::Cmd;
use crate::summary::Summary;

/// What runs without arguments, in `test-all` and in continuous integration: about a minute on two cores. The seeds of clusters begin with
/// a `c`.
const CI: &str = "0..5000,c0..c1500";

/// What `cargo xtask sim` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run these seeds: a range of those with one database (`0..500`), of those with a cluster (`c0..c500`), or both with a comma between.
    #[arg(long, value_name = "A..B[,cA..cB]", conflicts_with_all = ["seed", "ci"])]
    seeds: Option<String>,
    /// Run one seed; that of a cluster begins with a `c`.
    #[arg(long, value_name = "N", conflicts_with = "ci")]
    seed: Option<String>,
    /// Print everything that happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run the range of continuous integration, in which everything must happen often enough. The default.
    #[arg(long)]
    ci: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: u8,
}

impl Args {
    /// The range of continuous integration, in which everything must happen often enough.
    pub(crate) const fn ci() -> Self {
        Self { seeds: None, seed: None, trace: false, ci: true, jobs: 2 }
    }
}

/// Runs the seeds. A run of a range counts as one step.
pub(crate) fn run(args: &Args) -> Summary {
    let runner = Cmd::cargo().args_of("run --quiet --release -p hitless-conformance --example sim --");
    let jobs = args.jobs.max(1).to_string();
    let runner = match (&args.seeds, &args.seed) {
        (None, Some(seed)) if args.trace => runner.arg("--seed").arg(seed).arg("--trace"),
        (None, Some(seed)) => runner.arg("--seeds").arg(seed).args_of("--jobs 1"),
        (Some(seeds), _) => runner.arg("--seeds").arg(seeds).arg("--jobs").arg(jobs),
        (None, None) => runner.arg("--seeds").arg(CI).arg("--jobs").arg(jobs).arg("--covered"),
    };
    Summary::of_step(runner.run())
}
