//! `hitless-bench codec`: takes the times and prints the tables. Run by `cargo xtask bench`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::{env, io};

use clap::Parser;
use hitless_bench::{client, codec, handoff};

#[derive(Parser)]
#[command(about = "Benchmarks against other crates")]
enum Bench {
    /// Decoding and encoding, against redis-protocol, redis and resp-rs.
    Codec(codec::Args),
    /// Clients against a real redis-server, beside fred, redis and rustis.
    Client(client::Args),
    /// Moving many connections at once, in the machine alone.
    Handoff(handoff::Args),
    /// The load of one client in one case, which prints a line of figures.
    #[command(hide = true)]
    ClientLoad(client::load::Args),
}

fn main() -> ExitCode {
    let bench = Bench::parse();
    let done = steady_memcpy().and_then(|()| match bench {
        Bench::Codec(args) => codec::run(&args),
        Bench::Client(args) => client::run(&args),
        Bench::Handoff(args) => handoff::run(&args),
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
