//! `hitless-guards`: without an argument the figures that there are, with the name of one its work. Run by `cargo xtask guards`.

use std::alloc::System;
use std::process::ExitCode;

use hitless_guards::figures::FIGURES;
use hitless_guards::meter::Meter;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Passes before counting, for buffers and tables to reach the size they keep.
const WARM_UP: usize = 4;
const PASSES: usize = 4;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        FIGURES.iter().for_each(|figure| println!("{}: {}", figure.name, figure.title));
        return ExitCode::SUCCESS;
    };
    let Some(figure) = FIGURES.iter().find(|figure| figure.name == name) else {
        eprintln!("hitless-guards: there is no figure {name}");
        return ExitCode::FAILURE;
    };
    let mut work = (figure.prepare)();
    let mut meter = Meter::new(allocations);
    (0..WARM_UP).for_each(|_| work(&mut meter));
    meter.start();
    (0..PASSES).for_each(|_| work(&mut meter));
    println!("{} {}", PASSES * figure.operations, meter.allocations());
    ExitCode::SUCCESS
}

/// Those since the program began.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}
