//! `cargo xtask bench`: the benchmarks, side by side with the peers.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::program::REDIS_SERVER;
use crate::shell::Cmd;

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which benchmark:
    ///   codec    time and allocations of decoding and encoding, beside other codecs: no socket, one thread
    ///   client   commands per second, latencies (p50 to p99.9), processor time and allocations of whole clients, beside other
    ///            clients, on loopback, with TLS and over 1 ms. It needs a redis-server; one that is built without TLS will
    ///            do for `--link loopback --link distant`. All of it takes more than an hour
    ///   cluster  the same of the clients of a cluster, against three real redis-servers on loopback, beside three single clients of ours
    ///            and beside other clients of a cluster
    ///   handoff  what a MOVING costs the machine that decides, for each of 100 to 10 000 connections that leave at once: no
    ///            socket, no server
    ///   moves    what users notice of maintenance, beside the connection managers of redis: errors, writes lost or executed twice,
    ///            gaps, latencies and connections while nodes move, swallow dials or close connections, in some two minutes. It
    ///            draws target/bench/moves.svg; with --publish it renews the picture and the table of the README as well
    #[arg(verbatim_doc_comment)]
    name: OsString,
    /// Passed on to the benchmark: `cargo xtask bench client -- --help` lists what there is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds and runs a benchmark.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut bench =
        Cmd::cargo().args_of("run --release -p hitless-bench --").arg(&args.name).args(&args.arguments);
    if let Some(server) = REDIS_SERVER.find() {
        bench = bench.env(REDIS_SERVER.variable, server);
    }
    // On some processors glibc's memcpy falls from 90 to 3 GB/s at unlucky offsets without this.
    bench.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=2000000000").run_instead_of_us()
}
