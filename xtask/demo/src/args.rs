//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::pool::RuntimeName;

/// Moves a pool under load from node to node, and says whether anybody could have noticed.
///
/// Exit status: 0 if every step was hitless, 1 if one was not, 2 if the demo could not run, 130 if it was interrupted.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", bin_name = "cargo xtask demo")]
pub(crate) struct Args {
    /// Write the verdict to this file as well, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Use the embedded data set even if there is a redis-server.
    #[arg(long)]
    pub(crate) embedded: bool,

    /// What the client lives on.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = RuntimeName::Tokio)]
    pub(crate) runtime: RuntimeName,

    /// Print plain lines even if the output is a terminal.
    #[arg(long)]
    pub(crate) plain: bool,
}
