//! Counts allocations. Run by `hitless-bench`, which reads what this prints.

use std::alloc::System;
use std::io;

use clap::Parser;
use hitless_bench::counting::Total;
use hitless_bench::{client, codec};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Parser)]
enum Count {
    /// Of decoding and encoding.
    Codec,
    /// Of clients.
    Client(client::allocations::Args),
}

fn main() -> io::Result<()> {
    match Count::parse() {
        Count::Codec => {
            codec::allocations::count(|| total().calls);
            Ok(())
        }
        Count::Client(args) => client::allocations::count(&args, total),
    }
}

fn total() -> Total {
    let stats = ALLOCATOR.stats();
    Total { calls: stats.allocations + stats.reallocations, bytes: stats.bytes_allocated }
}
