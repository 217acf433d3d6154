//! Decoding and encoding.

pub mod allocations;
pub mod cases;
pub mod decoders;
pub mod encoders;
mod report;

use std::io;
use std::path::PathBuf;

use crate::measure::{Timing, interleaved};
use crate::results::keep;
use allocations::Allocations;
use cases::Case;

/// What `hitless-bench codec` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also write the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many samples of each figure are taken; more of them find a quieter moment.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
}

/// All figures of one run.
struct Figures {
    cases: Vec<Case>,
    /// By contender, by case.
    decode: Vec<Vec<Timing>>,
    /// By contender.
    encode: Vec<Timing>,
    allocations: Allocations,
}

/// Takes the times of all contenders in all cases, prints the table and writes it to `target/bench`.
///
/// # Errors
///
/// When a file cannot be written, or allocations cannot be counted.
pub fn run(args: &Args) -> io::Result<()> {
    let figures = measure(args.rounds.max(1))?;
    let table = report::markdown(&figures);
    print!("{table}");
    keep("codec.md", &table)?;
    let json = report::json(&figures);
    keep("codec.json", &json)?;
    match &args.json {
        Some(file) => std::fs::write(file, json),
        None => Ok(()),
    }
}

fn measure(rounds: usize) -> io::Result<Figures> {
    let cases = cases::all();
    let mut decode = vec![Vec::new(); decoders::CONTENDERS.len()];
    for case in &cases {
        eprintln!("decoding {}: {}", case.name, case.title);
        let mut work = decoders::CONTENDERS.iter().map(|contender| pass(case, contender)).collect::<Vec<_>>();
        for (contender, timing) in interleaved(&mut work, rounds).into_iter().enumerate() {
            decode[contender].push(timing.per(case.divisor));
        }
    }
    eprintln!("encoding");
    let mut work = encoders::CONTENDERS.iter().map(command).collect::<Vec<_>>();
    let encode = interleaved(&mut work, rounds);
    drop(work);
    eprintln!("counting allocations");
    let allocations = allocations::counted_apart()?;
    Ok(Figures { cases, decode, encode, allocations })
}

/// A pass over a case, having checked that it decodes all there is.
fn pass<'a>(case: &'a Case, contender: &decoders::Contender) -> Box<dyn FnMut() + 'a> {
    let mut pass = (contender.prepare)(&case.stream);
    assert_eq!(pass(), case.stream.replies, "{} on case {}", contender.name, case.name);
    Box::new(move || {
        pass();
    })
}

/// The encoding of one command, having checked that it is as long as it must be.
fn command(contender: &encoders::Contender) -> Box<dyn FnMut()> {
    let mut pass = (contender.prepare)();
    assert_eq!(pass(), encoders::WIRE_BYTES, "{}", contender.name);
    Box::new(move || {
        pass();
    })
}
