//! The figures as text.

use std::fmt::Write;

use super::contenders::Contender;
use super::link::Link;
use super::load::{Operation, Sample, Values};
use super::runtime::Scheduler;
use super::{Case, Figures, Kind, Subject};

/// What to reach: thousand operations a second, and seconds of processor time per million of them.
struct Bound {
    rate: f64,
    cpu: Option<f64>,
}

/// Allocations per command to stay within, the number to strive for, and their bytes.
const ALLOCATIONS_MUST: f64 = 4.0;
const ALLOCATIONS_GOAL: f64 = 1.0;
const BYTES_GOAL: f64 = 200.0;

/// The processor time of a cluster's client, in terms of three single clients' among which the tasks are divided.
const OVERHEAD: f64 = 1.15;

/// The rate on async-std, in terms of that on tokio.
const ON_ASYNC_STD: f64 = 0.8;

/// The rate of commands on leases, in terms of those on connections of other pools as they come, which ask each connection whether it is alive.
const OF_LEASES: f64 = 1.5;

fn must(case: &Case) -> Option<Bound> {
    bound(case, [(205.0, None), (480.0, Some(1.4)), (100.0, None), (190.0, None), (330.0, Some(3.0))])
}

fn goal(case: &Case) -> Option<Bound> {
    bound(case, [(260.0, None), (560.0, Some(0.8)), (120.0, None), (330.0, None), (700.0, Some(1.4))])
}

/// Of the bounds for all cases that have one, the one for `case`.
fn bound(case: &Case, bounds: [(f64, Option<f64>); 5]) -> Option<Bound> {
    let Kind { link: Link::Loopback, values: Values::Small, scheduler, operation } = case.kind else {
        return None;
    };
    let at = match (scheduler, operation, case.tasks) {
        (Scheduler::CurrentThread, Operation::Get, 64) => 0,
        (Scheduler::CurrentThread, Operation::Get, 256) => 1,
        (Scheduler::TwoWorkers, Operation::Get, 16) => 2,
        (Scheduler::TwoWorkers, Operation::Get, 64) => 3,
        (Scheduler::TwoWorkers, Operation::Get, 256) => 4,
        _ => return None,
    };
    let (rate, cpu) = bounds[at];
    Some(Bound { rate, cpu })
}

/// One contender in one case, over all rounds.
struct Summary {
    /// The highest rate and the least processor time: what the client does when nothing disturbs it.
    best_rate: f64,
    least_cpu: f64,
    /// Medians.
    rate: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
    p999: f64,
}

impl Summary {
    fn of(samples: &[Sample]) -> Self {
        let sorted = |figure: fn(&Sample) -> f64| {
            let mut figures = samples.iter().map(figure).collect::<Vec<_>>();
            figures.sort_by(f64::total_cmp);
            figures
        };
        let median = |figures: &[f64]| figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN);
        let (rates, cpus) = (sorted(|sample| sample.rate), sorted(|sample| sample.cpu));
        Self {
            best_rate: rates.last().copied().unwrap_or(f64::NAN),
            least_cpu: cpus.first().copied().unwrap_or(f64::NAN),
            rate: median(&rates),
            cpu: median(&cpus),
            p50: median(&sorted(|sample| sample.p50)),
            p99: median(&sorted(|sample| sample.p99)),
            p999: median(&sorted(|sample| sample.p999)),
        }
    }
}

pub(super) fn markdown(figures: &Figures) -> String {
    let mut text = String::from(match figures.subject {
        Subject::Server => {
            "# Client\n\nValues of 64 B under 1000 keys, a real redis-server, one connection if nothing else is said. Cells: "
        }
        Subject::Cluster => {
            "# Cluster\n\nValues of 64 B under 1000 keys of all slots, three real redis-servers that are one cluster. Each task goes through keys of \
             all nodes, but for `tasks divided`: there each has one of three clients, and keys of its node alone. Cells: "
        }
    });
    text += "**thousand operations a second**, best of all rounds (median), processor seconds of the client per million ";
    text += "operations, least (median), p50/p99/p99.9 of small values in microseconds, medians. Every sample is a process of its own, in turns: ";
    text += "compare within a column only. `must` and `goal` are figures of one quiet machine with two processors.\n\n";
    text += "ct: tokio's single-threaded runtime";
    text += if figures.pinned {
        ", bound to one processor, whatever serves to another"
    } else {
        ", not bound to a processor"
    };
    text += ". mt2: two workers, which compete with what serves. async-std runs tasks on one thread in ct, on two in mt2.\n";
    for cases in figures.cases.chunk_by(|one, other| one.kind == other.kind) {
        let Some(first) = cases.first() else { continue };
        line(&mut text, format!("\n## {}\n", first.kind.name()));
        table(&mut text, cases, first);
    }
    if figures.allocations.is_empty() {
        return text;
    }
    text += "\n## Allocations per operation (bytes)\n\n";
    allocations(&mut text, figures);
    text
}

fn table(text: &mut String, cases: &[Case], first: &Case) {
    let header = cases.iter().map(|case| match case.tasks {
        1 => "1 task".to_owned(),
        tasks => format!("{tasks} tasks"),
    });
    row(text, "client", header);
    rule(text, cases.len());
    let contenders: Vec<Contender> = first.samples.iter().map(|(contender, _)| *contender).collect();
    for contender in &contenders {
        row(text, contender.name(), cases.iter().map(|case| cell(&Summary::of(case.samples_of(*contender)))));
    }
    if contenders.contains(&Contender::Hitless) && cases.iter().any(|case| must(case).is_some()) {
        row(text, "must", cases.iter().map(|case| verdict(case, must(case))));
        row(text, "goal", cases.iter().map(|case| verdict(case, goal(case))));
    }
    if contenders.contains(&Contender::Cluster) && contenders.contains(&Contender::Divided) {
        row(text, "must", cases.iter().map(overhead));
    }
    if contenders.contains(&Contender::AsyncStd) && contenders.contains(&Contender::Hitless) {
        row(text, "must", cases.iter().map(on_async_std));
    }
    if [Contender::Lease, Contender::Deadpool, Contender::Bb8].iter().all(|one| contenders.contains(one)) {
        row(text, "must", cases.iter().map(leases));
    }
    for ours in &contenders {
        for other in contenders.iter().filter(|other| ours.is_measured_by(**other)) {
            let ratios = |case: &Case| ratios(case.samples_of(*ours), case.samples_of(*other));
            row(text, &format!("{} : {}", ours.name(), other.name()), cases.iter().map(ratios));
        }
    }
}

impl Case {
    /// None of one that did not take part.
    fn samples_of(&self, contender: Contender) -> &[Sample] {
        let found = self.samples.iter().find(|(one, _)| *one == contender);
        found.map_or(&[], |(_, samples)| samples)
    }
}

/// Rate, processor time and p99.9 of one in terms of the other's.
fn ratios(ours: &[Sample], theirs: &[Sample]) -> String {
    let ratio = |figure| ratio(ours, theirs, figure);
    let (rate, cpu) = (ratio(|sample| sample.rate), ratio(|sample| sample.cpu));
    let p999 = ratio(|sample| sample.p999);
    format!("{rate:.2} x the rate, {cpu:.2} x the time, {p999:.2} x p99.9")
}

/// The median of the ratios of each round.
fn ratio(ours: &[Sample], theirs: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    let mut ratios =
        ours.iter().zip(theirs).map(|(one, other)| figure(one) / figure(other)).collect::<Vec<_>>();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether the client of a cluster keeps near the processor time of single clients.
fn overhead(case: &Case) -> String {
    let [ours, divided] = [Contender::Cluster, Contender::Divided].map(|one| case.samples_of(one));
    let is_met = ratio(ours, divided, |sample| sample.cpu) <= OVERHEAD;
    format!("{OVERHEAD} x the time of single clients: {}", mark(is_met))
}

/// Whether leases are ahead of the pools of others.
fn leases(case: &Case) -> String {
    let ours = case.samples_of(Contender::Lease);
    let is_ahead = |pool| ratio(ours, case.samples_of(pool), |sample| sample.rate) >= OF_LEASES;
    let is_met = [Contender::Deadpool, Contender::Bb8].into_iter().all(is_ahead);
    format!("leases {OF_LEASES} x the rate of pools: {}", mark(is_met))
}

/// Whether the client on async-std keeps near the rate of the one on tokio.
fn on_async_std(case: &Case) -> String {
    let [ours, tokio] = [Contender::AsyncStd, Contender::Hitless].map(|one| case.samples_of(one));
    let is_met = ratio(ours, tokio, |sample| sample.rate) >= ON_ASYNC_STD;
    format!("async-std {ON_ASYNC_STD} x the rate of tokio: {}", mark(is_met))
}

fn cell(summary: &Summary) -> String {
    let Summary { best_rate, least_cpu, rate, cpu, p50, p99, p999 } = summary;
    format!("**{best_rate:.0}** ({rate:.0}), {least_cpu:.2} ({cpu:.2}) s, {p50:.0}/{p99:.0}/{p999:.0}")
}

/// Whether our one connection keeps within `bound`.
fn verdict(case: &Case, bound: Option<Bound>) -> String {
    let Some(bound) = bound else { return "-".to_owned() };
    let ours = Summary::of(case.samples_of(Contender::Hitless));
    let rate = format!("{}: {}", bound.rate, mark(ours.best_rate >= bound.rate));
    match bound.cpu {
        Some(cpu) => format!("{rate}, {cpu} s: {}", mark(ours.least_cpu <= cpu)),
        None => rate,
    }
}

fn allocations(text: &mut String, figures: &Figures) {
    row(text, "client", Operation::ALL.iter().map(|operation| operation.name().to_owned()));
    rule(text, Operation::ALL.len());
    for (contender, counts) in &figures.allocations {
        let cells = counts.iter().map(|count| format!("{:.2} ({:.0})", count.calls, count.bytes));
        row(text, contender.name(), cells);
    }
    let counts_of = |contender| figures.allocations.iter().find(|(one, _)| *one == contender);
    if let Some((_, ours)) = counts_of(Contender::Hitless) {
        let must = ours.iter().map(|count| mark(count.calls.round() <= ALLOCATIONS_MUST));
        row(text, "must", must.map(|mark| format!("{ALLOCATIONS_MUST}: {mark}")));
        let goal = ours
            .iter()
            .map(|count| mark(count.calls.round() <= ALLOCATIONS_GOAL && count.bytes <= BYTES_GOAL));
        row(text, "goal", goal.map(|mark| format!("{ALLOCATIONS_GOAL} ({BYTES_GOAL}): {mark}")));
    }
    if let (Some((_, ours)), Some((_, theirs))) =
        (counts_of(Contender::Cluster), counts_of(Contender::Divided))
    {
        let must = ours.iter().zip(theirs).map(|(one, other)| mark(one.calls.round() <= other.calls.round()));
        row(text, "must", must.map(|mark| format!("as many as single clients: {mark}")));
    }
}

pub(super) fn json(figures: &Figures) -> String {
    let mut entries = Vec::new();
    for case in &figures.cases {
        for (contender, samples) in &case.samples {
            let Summary { best_rate, least_cpu, rate, cpu, p50, p99, p999 } = Summary::of(samples);
            let Kind { link, values, scheduler, operation } = case.kind;
            entries.push(format!(
                "    {{\"contender\": \"{}\", \"link\": \"{}\", \"values\": \"{}\", \"runtime\": \"{}\", \"operation\": \"{}\", \"tasks\": {}, \"best_kops\": {best_rate:.2}, \"median_kops\": {rate:.2}, \"least_cpu\": {least_cpu:.3}, \"median_cpu\": {cpu:.3}, \"p50_us\": {p50:.1}, \"p99_us\": {p99:.1}, \"p999_us\": {p999:.1}}}",
                contender.name(), link.name(), values.name(), scheduler.name(), operation.name(), case.tasks
            ));
        }
    }
    let mut text = format!("{{\n  \"pinned\": {},\n  \"load\": [\n", figures.pinned);
    text += &entries.join(",\n");
    text += "\n  ],\n  \"allocations\": [\n";
    let mut entries = Vec::new();
    for (contender, counts) in &figures.allocations {
        for (operation, count) in Operation::ALL.iter().zip(counts) {
            entries.push(format!(
                "    {{\"contender\": \"{}\", \"operation\": \"{}\", \"allocations\": {:.3}, \"bytes\": {:.1}}}",
                contender.name(), operation.name(), count.calls, count.bytes
            ));
        }
    }
    text += &entries.join(",\n");
    text += "\n  ]\n}\n";
    text
}

fn mark(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
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
