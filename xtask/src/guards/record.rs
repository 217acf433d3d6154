//! What is recorded, and how it is compared.

use std::fmt;

/// How many more instructions than recorded are tolerated: another compiler is no change of ours. Of allocations none are.
const MARGIN: f64 = 0.10;
/// How far a figure falls before there is something to record.
const WORTH_RECORDING: f64 = 0.10;
/// Figures are written with two digits behind the point.
const ROUNDING: f64 = 0.005;

/// What one operation takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Counts {
    /// `None` if they were not counted.
    pub(super) instructions: Option<f64>,
    pub(super) allocations: f64,
}

/// The figures of a machine.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    /// Instructions differ from processor to processor.
    pub(super) target: String,
    pub(super) figures: Vec<(String, Counts)>,
}

/// The target that this program runs on.
pub(super) fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

impl Counts {
    /// Reads what the program prints, "operations allocations", and valgrind around it.
    pub(super) fn parse(output: &str, by_valgrind: bool) -> Option<Self> {
        let numbers = |line: &str| {
            let (operations, allocations) = line.split_once(' ')?;
            Some((operations.parse::<f64>().ok()?, allocations.parse::<f64>().ok()?))
        };
        let (operations, allocations) = output.lines().find_map(numbers)?;
        let collected = || {
            let line = output.lines().find_map(|line| line.split_once("Collected : "));
            line?.1.trim().parse::<f64>().ok().filter(|instructions| *instructions > 0.0)
        };
        let instructions = if by_valgrind { Some(collected()? / operations) } else { None };
        Some(Self { instructions, allocations: allocations / operations })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(instructions) = self.instructions {
            write!(formatter, "{instructions:.1} instructions, ")?;
        }
        write!(formatter, "{:.2} allocations", self.allocations)
    }
}

impl Record {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let target = lines.next().and_then(|line| line.strip_prefix("target "));
        let target = target.ok_or("the first line is `target`, and of which")?.trim().to_owned();
        let figure = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            let instructions = Some(words.next()?.parse().ok()?);
            let counts = Counts { instructions, allocations: words.next()?.parse().ok()? };
            words.next().is_none().then_some((name, counts))
        };
        let figures = lines.map(|line| figure(line).ok_or_else(|| format!("an odd line: {line}")));
        Ok(Self { target, figures: figures.collect::<Result<_, _>>()? })
    }

    /// What is wrong with `counted`, one line each.
    pub(super) fn compare(&self, counted: &[(String, Counts)]) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, counts) in counted {
            let Some((_, recorded)) = self.figures.iter().find(|(known, _)| known == name) else {
                faults.push(format!("{name} is not recorded"));
                continue;
            };
            let rises: Vec<_> = pairs(recorded, counts).filter_map(rise).collect();
            if !rises.is_empty() {
                faults.push(format!("{name}: {}", rises.join(", ")));
            }
        }
        let gone = self.figures.iter().filter(|(name, _)| counted.iter().all(|(known, _)| known != name));
        faults.extend(gone.map(|(name, _)| format!("{name} is recorded, and was not counted")));
        faults
    }

    /// What has become cheaper, one line each: it could become as dear again, and nobody would be told.
    pub(super) fn falls(&self, counted: &[(String, Counts)]) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, counts) in counted {
            let recorded = self.figures.iter().find(|(known, _)| known == name);
            let falls: Vec<_> =
                recorded.into_iter().flat_map(|(_, before)| pairs(before, counts)).filter_map(fall).collect();
            if !falls.is_empty() {
                lines.push(format!(
                    "{name}: {}; `cargo xtask guards --record` keeps it there",
                    falls.join(", ")
                ));
            }
        }
        lines
    }
}

/// What is compared: what it is, how far it may rise, what it was and what it is now.
type Pair = (&'static str, f64, f64, f64);

fn pairs(before: &Counts, now: &Counts) -> impl Iterator<Item = Pair> {
    let instructions = before.instructions.zip(now.instructions);
    let instructions = instructions.map(|(before, now)| ("instructions", MARGIN, before, now));
    instructions.into_iter().chain([("allocations", 0.0, before.allocations, now.allocations)])
}

/// Says so if it is above what it was by more than the margin.
fn rise((what, margin, before, now): Pair) -> Option<String> {
    let is_higher = now > before * (1.0 + margin) + ROUNDING;
    let above = if margin > 0.0 {
        format!(", which is more than {:.0} % above", margin * 100.0)
    } else {
        String::new()
    };
    is_higher.then(|| format!("from {before:.2} to {now:.2} {what}{above}"))
}

/// Says so if it is so far below what it was that it is worth recording.
fn fall((what, _, before, now): Pair) -> Option<String> {
    let is_lower = now < before * (1.0 - WORTH_RECORDING) - ROUNDING;
    is_lower.then(|| format!("down from {before:.2} to {now:.2} {what}"))
}

impl fmt::Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "# Instructions and allocations for one operation each, as `cargo xtask guards` compares them."
        )?;
        writeln!(formatter, "# `cargo xtask guards --record` writes this file.")?;
        writeln!(formatter, "target {}", self.target)?;
        for (name, Counts { instructions, allocations }) in &self.figures {
            let instructions = instructions.unwrap_or_default();
            writeln!(formatter, "{name:<20}{instructions:>12.2}{allocations:>10.2}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(instructions: f64, allocations: f64) -> Counts {
        Counts { instructions: Some(instructions), allocations }
    }

    fn record() -> Record {
        let figures = [("a", counts(100.0, 0.0)), ("b", counts(2000.0, 2.0))];
        let figures = figures.map(|(name, counts)| (name.to_owned(), counts)).into();
        Record { target: "x86_64-linux".to_owned(), figures }
    }

    fn counted(a: Counts, b: Counts) -> [(String, Counts); 2] {
        [("a".to_owned(), a), ("b".to_owned(), b)]
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(Record::parse(&record().to_string()), Ok(record()));
        assert!(Record::parse("target x86_64-linux\na 1 2 3").is_err());
        assert!(Record::parse("a 1 2").is_err());
    }

    #[test]
    fn what_valgrind_prints_is_read() {
        let output = "==7== Callgrind, a tool\n4000 8\n==7== Collected : 64000\n==7==\n";
        assert_eq!(Counts::parse(output, true), Some(counts(16.0, 0.002)));
        assert_eq!(Counts::parse("4000 8\n", false).and_then(|counts| counts.instructions), None);
        // A function of another name would be counted as nothing.
        assert_eq!(Counts::parse("4000 8\n==7== Collected : 0\n", true), None);
        assert_eq!(Counts::parse("4000 8\n", true), None);
    }

    #[test]
    fn instructions_may_rise_by_a_tenth_and_allocations_not_at_all() {
        assert_eq!(record().compare(&counted(counts(110.0, 0.0), counts(1.0, 2.0))), [""; 0]);
        assert_eq!(
            record().compare(&counted(counts(111.0, 0.0), counts(2000.0, 2.01))),
            [
                "a: from 100.00 to 111.00 instructions, which is more than 10 % above",
                "b: from 2.00 to 2.01 allocations",
            ]
        );
        // The record has two digits behind the point.
        assert_eq!(record().compare(&counted(counts(100.0, 0.004), counts(2000.0, 2.004))), [""; 0]);
        assert_eq!(record().compare(&counted(counts(100.0, 0.01), counts(2000.0, 2.0))).len(), 1);
        let uncounted = Counts { instructions: None, allocations: 0.0 };
        assert_eq!(record().compare(&counted(uncounted, counts(2000.0, 2.0))), [""; 0]);
    }

    #[test]
    fn a_fall_by_more_than_a_tenth_is_told_and_is_no_fault() {
        let fallen = counted(counts(89.0, 0.0), counts(2000.0, 1.0));
        assert_eq!(record().compare(&fallen), [""; 0]);
        assert_eq!(
            record().falls(&fallen),
            [
                "a: down from 100.00 to 89.00 instructions; `cargo xtask guards --record` keeps it there",
                "b: down from 2.00 to 1.00 allocations; `cargo xtask guards --record` keeps it there",
            ]
        );
        assert_eq!(record().falls(&counted(counts(90.0, 0.0), counts(2500.0, 1.8))), [""; 0]);
        let uncounted = Counts { instructions: None, allocations: 0.0 };
        assert_eq!(record().falls(&counted(uncounted, counts(2000.0, 2.0))), [""; 0]);
    }

    #[test]
    fn every_figure_is_recorded_and_every_recorded_figure_is_counted() {
        let counted = [("a".to_owned(), counts(100.0, 0.0)), ("c".to_owned(), counts(1.0, 0.0))];
        assert_eq!(record().compare(&counted), ["c is not recorded", "b is recorded, and was not counted"]);
    }
}
