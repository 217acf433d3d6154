//! `hitless-bench codec`: takes the times and prints the tables. Run by `cargo xtask bench`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::{env, io};

use clap::Parser;
use hitless_bench::{client, codec, handoff, moves};

#[derive(Parser)]
#[command(about = "Benchmarks against other crates")]
enum Bench {
    /// Time and allocations of decoding and encoding one reply or command, beside redis-protocol, redis and resp-rs: no socket, one thread.
    Codec(codec::Args),
    /// Commands per second, latencies (p50 to p99.9), processor time and allocations of whole clients against a real redis-server, beside fred, redis and
    /// rustis: GET and SET by 1 to 1024 tasks, on one thread and on two, on loopback, with TLS and over 1 ms. Ours is there on async-std as well.
    Client(client::Args),
    /// The same of the clients of a cluster, against three real redis-servers: GET and SET by 16 to 256 tasks on loopback, beside three single clients
    /// of ours among which the tasks are divided, and beside fred, redis and rustis.
    Cluster(client::Choice),
    /// What a MOVING costs the machine that decides, for each of 100 to 10 000 connections that leave at once: no socket, no server.
    Handoff(handoff::Args),
    /// What users notice of maintenance, beside redis: a pool under load whose nodes move, swallow dials and close connections; errors, writes lost or
    /// executed twice, gaps, latencies and connections, some two minutes. It draws `target/bench/moves.svg`.
    Moves(moves::Args),
    /// The load of one client in one case, which prints a line of figures.
    #[command(hide = true)]
    ClientLoad(client::load::Args),
}

fn main() -> ExitCode {
    let bench = Bench::parse();
    let done = steady_memcpy().and_then(|()| match bench {
        Bench::Codec(args) => codec::run(&args),
        Bench::Client(args) => client::run(&args),
        Bench::Cluster(choice) => client::run_cluster(&choice),
        Bench::Handoff(args) => handoff::run(&args),
        Bench::Moves(args) => moves::run(&args),
        Bench::ClientLoad(args) => client::load::run(&args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hitless-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts over with the setting that keeps glibc's `memcpy` from falling from 90 to 3 GB/s at unlucky offsets, as it
/// does on some processors. It can only be made before the program starts.
fn steady_memcpy() -> io::Result<()> {
    const VARIABLE: &str = "GLIBC_TUNABLES";
    if env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let error = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(VARIABLE, "glibc.cpu.x86_rep_movsb_threshold=2000000000")
        .exec();
    Err(error)
}
