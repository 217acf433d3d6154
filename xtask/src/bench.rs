//! `cargo xtask bench`: the benchmarks, side by side with the peers.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::redis_server;
use crate::shell::Cmd;

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which benchmark: codec, handoff, or client, which needs a redis-server. One that is built without TLS will do for
    /// `--link loopback --link distant`.
    name: OsString,
    /// Passed on to the benchmark.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds and runs a benchmark.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut bench =
        Cmd::cargo().args_of("run --release -p hitless-bench --").arg(&args.name).args(&args.arguments);
    if let Some(server) = redis_server::find() {
        bench = bench.env(redis_server::VARIABLE, server);
    }
    // On some processors glibc's memcpy falls from 90 to 3 GB/s at unlucky offsets without this.
    bench.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=2000000000").run_instead_of_us()
}
