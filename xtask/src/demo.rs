//! `cargo xtask demo`: a pool under load moves from node to node, and nobody notices.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::program::REDIS_SERVER;
use crate::shell::Cmd;

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to the demo: `--runtime async-std`, `--embedded`, `--tls`, `--cluster`; `-- --help` explains them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds and runs the demo, and tells it of a `redis-server` if there is one.
pub(crate) fn run(args: &Args) -> ExitCode {
    let is_encrypted = args.arguments.iter().any(|argument| argument == "--tls");
    let build = Cmd::cargo().args_of("run --quiet --release -p hitless-demo");
    let build = if is_encrypted { build.args_of("--features tls") } else { build };
    let demo = build.arg("--").args(&args.arguments);
    match REDIS_SERVER.find() {
        Some(server) => demo.env(REDIS_SERVER.variable, server).run_instead_of_us(),
        None => demo.run_instead_of_us(),
    }
}
