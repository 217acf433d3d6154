//! What is decoded, and what is expected of it.

use hitless_guards::replies::{self, Stream};

/// A stream of replies, and the time that one element of it may take.
#[derive(Debug)]
pub struct Case {
    /// The column of the table.
    pub name: &'static str,
    /// What it consists of.
    pub title: &'static str,
    /// What is decoded in a pass.
    pub stream: Stream,
    /// What the time of a pass is divided by: its elements, or 1000 for microseconds per pass.
    pub divisor: f64,
    /// The time to stay below: that of every peer.
    pub must: f64,
    /// The time to strive for, if it is an absolute one.
    pub goal: Option<f64>,
}

/// The six cases, and the one in small reads again in a single read.
pub fn all() -> Vec<Case> {
    vec![
        Case { must: 25.0, goal: Some(12.0), ..case("a", "1000 x +OK", replies::simple()) },
        Case { must: 30.0, goal: Some(20.0), ..case("b", "1000 x 16 B bulk", replies::strings()) },
        Case {
            must: 33.0,
            goal: Some(31.0),
            ..case("c", "1 MiB bulk in 16 KiB reads (µs)", replies::long_string())
        },
        Case {
            divisor: 10_000.0,
            must: 30.0,
            goal: Some(20.0),
            ..case("d", "array of 10 000 integers in 16 KiB reads", replies::integers())
        },
        Case {
            divisor: MIXED,
            must: 35.0,
            ..case("e", "1200 mixed RESP3 replies, 3 deep, in 16 KiB reads", replies::mixture())
        },
        Case { must: 33.0, ..case("f", "array of 1000 x 64 B in 1448 B reads", replies::array_in_packets()) },
        Case { must: 33.0, ..case("f1", "the same in one read", replies::array_of_strings()) },
    ]
}

/// The elements of the mixture, outermost and nested: of each round, in the order of its replies, a hundred times.
const MIXED: f64 = (1 + 1 + 1 + 1 + 1 + 1 + 7 + 4 + 4 + 7 + 11 + 1) as f64 * 100.0;

fn case(name: &'static str, title: &'static str, stream: Stream) -> Case {
    Case { name, title, stream, divisor: 1000.0, must: 0.0, goal: None }
}
