//! The figures as text.

use std::fmt::Write;

use super::cases::Case;
use super::{Figures, decoders, encoders};
use crate::measure::Timing;

/// The time for encoding a `SET` to stay below, in nanoseconds, and the one to strive for.
const ENCODE_MUST: f64 = 40.0;
const ENCODE_GOAL: f64 = 20.0;
/// How much more an array in small reads may cost than in one, at the goal.
const CHUNKED_GOAL: f64 = 1.15;

pub(super) fn markdown(figures: &Figures) -> String {
    let mut text = String::from("# Codec\n\n");
    text +=
        "Best of all rounds (median in brackets), in nanoseconds per element; c in microseconds per reply. ";
    text += "All contenders of a column ran in one process, in turns: compare within a column only.\n\n";
    for case in &figures.cases {
        line(&mut text, format!("- {}: {}", case.name, case.title));
    }
    text += "\n## Decoding: append to the buffer, decode, drop\n\n";
    decode_times(&mut text, figures);
    text += "\nChunked against whole (f / f1), best: ";
    let ratio = chunked_to_whole(figures);
    line(&mut text, format!("{ratio:.2}, goal {CHUNKED_GOAL}: {}", mark(ratio, CHUNKED_GOAL)));
    text += "\n## Allocations per reply\n\n";
    let header = figures.cases.iter().map(|case| case.name.to_owned());
    row(&mut text, "decoder", header);
    rule(&mut text, figures.cases.len());
    for (contender, counts) in decoders::CONTENDERS.iter().zip(&figures.allocations.decode) {
        row(&mut text, contender.name, counts.iter().map(|count| format!("{count:.2}")));
    }
    text += "\n## Encoding a SET of 16 B to 64 B\n\n";
    encode_times(&mut text, figures);
    text
}

fn decode_times(text: &mut String, figures: &Figures) {
    let cases = &figures.cases;
    row(text, "decoder", cases.iter().map(|case| case.name.to_owned()));
    rule(text, cases.len());
    for (contender, timings) in decoders::CONTENDERS.iter().zip(&figures.decode) {
        row(text, contender.name, timings.iter().map(|timing| time(*timing)));
    }
    let Some(ours) = figures.decode.first() else { return };
    let marks = |bound: fn(&Case) -> Option<f64>| {
        cases.iter().zip(ours).map(move |(case, timing)| match bound(case) {
            Some(bound) => format!("{bound}: {}", mark(timing.best, bound)),
            None => "-".to_owned(),
        })
    };
    row(text, "must, below", marks(|case| Some(case.must)));
    row(text, "goal, below", marks(|case| case.goal));
    let best_peer = |column: usize| {
        let peers =
            decoders::CONTENDERS.iter().zip(&figures.decode).filter(|(contender, _)| contender.is_peer);
        peers.map(|(_, timings)| timings[column].best).fold(f64::INFINITY, f64::min)
    };
    let ahead =
        ours.iter().enumerate().map(|(column, timing)| format!("{:.1} x", best_peer(column) / timing.best));
    row(text, "ahead of the best peer", ahead);
}

fn encode_times(text: &mut String, figures: &Figures) {
    row(text, "encoder", ["ns", "allocations"].map(str::to_owned).into_iter());
    rule(text, 2);
    let rows = encoders::CONTENDERS.iter().zip(&figures.encode).zip(&figures.allocations.encode);
    for ((contender, timing), count) in rows {
        row(text, contender.name, [time(*timing), format!("{count:.2}")].into_iter());
    }
    let ours = figures.encode.first().map_or(f64::NAN, |timing| timing.best);
    let count = figures.allocations.encode.first().copied().unwrap_or(f64::NAN);
    let none = format!("0: {}", mark(count, 0.0));
    row(text, "must", [format!("{ENCODE_MUST}: {}", mark(ours, ENCODE_MUST)), none.clone()].into_iter());
    row(text, "goal", [format!("{ENCODE_GOAL}: {}", mark(ours, ENCODE_GOAL)), none].into_iter());
}

pub(super) fn json(figures: &Figures) -> String {
    let mut text = String::from("{\n  \"decode\": [\n");
    let mut entries = Vec::new();
    for (at, contender) in decoders::CONTENDERS.iter().enumerate() {
        for (column, case) in figures.cases.iter().enumerate() {
            let allocations = figures.allocations.decode[at][column];
            entries.push(entry(contender.name, Some(case.name), figures.decode[at][column], allocations));
        }
    }
    text += &entries.join(",\n");
    text += "\n  ],\n  \"encode\": [\n";
    let timings = figures.encode.iter().zip(&figures.allocations.encode);
    let entries = encoders::CONTENDERS.iter().zip(timings);
    let entries = entries.map(|(contender, (timing, count))| entry(contender.name, None, *timing, *count));
    text += &entries.collect::<Vec<_>>().join(",\n");
    text += "\n  ]\n}\n";
    text
}

fn entry(contender: &str, case: Option<&str>, timing: Timing, allocations: f64) -> String {
    let case = case.map_or_else(String::new, |case| format!("\"case\": \"{case}\", "));
    format!(
        "    {{\"contender\": \"{contender}\", {case}\"best\": {:.2}, \"median\": {:.2}, \"allocations\": {allocations:.3}}}",
        timing.best, timing.median
    )
}

fn chunked_to_whole(figures: &Figures) -> f64 {
    let column = |name| figures.cases.iter().position(|case| case.name == name);
    match (figures.decode.first(), column("f"), column("f1")) {
        (Some(ours), Some(chunked), Some(whole)) => ours[chunked].best / ours[whole].best,
        _ => f64::NAN,
    }
}

fn time(timing: Timing) -> String {
    format!("{:.1} ({:.1})", timing.best, timing.median)
}

fn mark(figure: f64, bound: f64) -> &'static str {
    if figure <= bound { "met" } else { "missed" }
}

fn row(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    line(text, format!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | ")));
}

fn rule(text: &mut String, columns: usize) {
    line(text, format!("|---|{}", "---:|".repeat(columns)));
}

fn line(text: &mut String, line: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
