//! Counts allocations. Run by `hitless-bench`, which reads what this prints.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    hitless_bench::codec::allocations::count(|| {
        let stats = ALLOCATOR.stats();
        stats.allocations + stats.reallocations
    });
}
