//! `cargo xtask server`: the test server, for a client in any language.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::shell::Cmd;

/// What `cargo xtask server` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to the server; `-- --help` lists what it takes, and its commands.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds the server and becomes it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let server = Cmd::cargo().args_of("run --release -p hitless-conformance --bin hitless-server --");
    server.args(&args.arguments).run_instead_of_us()
}
