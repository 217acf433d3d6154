//! `cargo xtask demo`: a pool under load moves from node to node, and nobody notices.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::redis_server;
use crate::shell::Cmd;

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to the demo; `--help` there lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds and runs the demo, and tells it of a `redis-server` if there is one.
pub(crate) fn run(args: &Args) -> ExitCode {
    let demo = Cmd::cargo().args_of("run --quiet --release -p hitless-demo --").args(&args.arguments);
    match redis_server::find() {
        Some(server) => demo.env(redis_server::VARIABLE, server).run_instead_of_us(),
        None => demo.run_instead_of_us(),
    }
}
