//! How often the contenders allocate, counted by a program of its own.

use std::io;

use super::{cases, decoders, encoders};
use crate::counting::{self, print_line};

/// Allocations and reallocations per outermost frame, or per command.
#[derive(Debug, Default, PartialEq)]
pub struct Allocations {
    /// By contender, by case.
    pub decode: Vec<Vec<f64>>,
    /// By contender.
    pub encode: Vec<f64>,
}

/// Passes before counting, for buffers to reach the size they keep.
const WARM_UP: usize = 20;
const PASSES: usize = 20;

/// Runs `hitless-bench-allocations` and reads what it counted.
///
/// # Errors
///
/// When it cannot be built or run.
pub fn counted_apart() -> io::Result<Allocations> {
    let mut decode = counting::figures(&counting::output_of(&["codec"])?)?;
    let encode = decode.pop().unwrap_or_default();
    Ok(Allocations { decode, encode })
}

/// Counts by `total`, which gives the allocations so far. Prints a line of figures per decoder, then one for all
/// encoders.
pub fn count(total: impl Fn() -> usize) {
    let cases = cases::all();
    for contender in decoders::CONTENDERS {
        let figures = cases.iter().map(|case| {
            let mut pass = (contender.prepare)(&case.stream);
            per_pass(&total, &mut pass) / case.stream.replies as f64
        });
        print_line(&figures.collect::<Vec<_>>());
    }
    let figures = encoders::CONTENDERS.iter().map(|contender| per_pass(&total, &mut (contender.prepare)()));
    print_line(&figures.collect::<Vec<_>>());
}

fn per_pass(total: impl Fn() -> usize, pass: &mut dyn FnMut() -> usize) -> f64 {
    let mut run = |passes: usize| (0..passes).map(|_| pass()).sum::<usize>();
    run(WARM_UP);
    let before = total();
    run(PASSES);
    (total() - before) as f64 / PASSES as f64
}
