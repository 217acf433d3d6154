//! The figures as text, for programs and as a picture.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::chart::{Chart, Column};
use super::contenders::{COMMAND_TIMEOUT, CONNECTIONS, Contender, MAX_DELAY, RETRIES};
use super::figures::{Figures, SLICE};
use super::load::{CONSUMERS, PERIOD, TASKS};
use super::scenario::Scenario;
use super::world::LATENCY;
use crate::measure::since_1970;
use crate::program::redis_server;

/// Between these the README has what is measured.
const BEGIN: &str = "<!-- measured by `cargo xtask bench moves -- --publish` -->";
const END: &str = "<!-- end of what is measured -->";

const TITLE: &str = "Nodes move under load";
const COMMAND: &str = "cargo xtask bench moves";

/// One client in one scenario: its figures, or why there are none.
pub(super) type Row = (Scenario, Contender, Result<Figures, String>);

/// What there is to say of a run.
pub(super) struct Report {
    rows: Vec<Row>,
    /// When and where.
    circumstances: String,
}

impl Report {
    /// # Errors
    /// The redis-server does not say its version.
    pub(super) fn new(rows: Vec<Row>) -> io::Result<Self> {
        let today = since_1970()?;
        let processors = std::thread::available_parallelism()?;
        let server = version(&redis_server())?;
        let circumstances = format!("{}, {processors} processors, redis-server {server}", date(today));
        Ok(Self { rows, circumstances })
    }

    /// The whole table, with what its columns mean.
    pub(super) fn markdown(&self) -> String {
        let rate = TASKS as f64 / PERIOD.as_secs_f64();
        let mut out = format!(
            "# Moves\n\n{}. INCR, SET and GET in turn by {TASKS} tasks, each of which has one due every {PERIOD:?}, {rate:.0} operations a second in all, over {CONNECTIONS} connections, with \
             {COMMAND_TIMEOUT:?} for each command, against two nodes in front of a real redis-server. They answer each command {LATENCY:?} late, as over a network.\n\n\
             hitless-tokio has its defaults otherwise. Of redis {CONNECTIONS} `ConnectionManager`s take turns, in RESP3 (so that they dial again as soon \
             as they are closed), with TCP_NODELAY and with {MAX_DELAY:?} between two dials, and by chance up to as much again, {RETRIES} times (by default the delay doubles from there on, six times). \
             Their response timeout bounds the wait for a reply, and not that for a connection, so a timeout around each command ends it after {COMMAND_TIMEOUT:?}; whether it has run is not known then. \
             They do not hear of MOVING, so the old node closes them when the time of the move is over. From then on its address \
             leads to the new node, at once or as late as the scenario says.\n\n\
             Latencies are those of answered operations, and count from the instant at which the operation was due, also where the task was still waiting for the one before it; what had \
             not ended at the end counts as long as it had taken by then. Timers of tokio are up to 1 ms late. The gap is the longest time without an answer, whoever waits for one.\n\n\
             Errors are those of all callers. INCRs lost (answered, and not in the counter), executed twice (more often in it than its callers can explain) and executed \
             without an answer (their callers have an error), connections that the nodes accepted from the event on, and the time until the last connection that the old node had at the event was \
             closed are counted by the servers. {LOWER_BOUNDS}\n\n",
            self.circumstances
        );
        out += &format!("| scenario | client | {} |\n", COLUMNS.join(" | "));
        out += &format!("|---|---|{}\n", "---:|".repeat(CELLS));
        for (scenario, contender, figures) in &self.rows {
            let cells = cells(figures).join(" | ");
            let _ = writeln!(out, "| {} | {} | {cells} |", scenario.title(), contender.name());
        }
        out += &format!(
            "\nBeside the load, {CONSUMERS} consumers wait with BLPOP in one scenario (redis: a `ConnectionManager` without a timeout for each; one that met an error tries again), and a subscriber receives \
             200 messages a second in another (redis: a `ConnectionManager` that subscribes again by itself). Their connections count. Of the errors of hitless-tokio those that do not \
             rule out that the command has run say so (`Delivery::Unknown`); those of redis do not say.\n"
        );
        out
    }

    /// Everything, with the curves.
    pub(super) fn json(&self) -> String {
        let entries =
            self.rows.iter().map(|(scenario, contender, figures)| entry(*scenario, *contender, figures));
        let entries = entries.collect::<Vec<_>>().join(",\n");
        format!(
            "{{\n  \"circumstances\": \"{}\",\n  \"slice_ms\": {},\n  \"runs\": [\n{entries}\n  ]\n}}\n",
            self.circumstances,
            SLICE.as_millis()
        )
    }

    /// The picture.
    pub(super) fn svg(&self) -> String {
        let columns = Scenario::DRAWN.into_iter().filter_map(|scenario| {
            let of = self.of(scenario).map(|(_, figures)| figures.as_ref().ok());
            let figures: Vec<Option<&Figures>> = of.collect();
            let marks = &figures.iter().copied().flatten().next()?.marks;
            // One that failed has its place in the order.
            let curves = figures.iter().map(|one| one.map_or(&[][..], |one| &one.curve[..])).collect();
            let each = |of: fn(&Figures) -> String| {
                let texts = figures.iter().map(|one| one.map_or_else(|| "-".to_owned(), of));
                texts.collect::<Vec<_>>().join(" / ")
            };
            let errors = each(|one| one.errors().to_string());
            let gaps = each(|one| millis(one.latencies.gap));
            let note = format!("errors {errors}, longest gap {gaps}");
            Some(Column { title: scenario.title(), note, marks, curves })
        });
        let contenders =
            Contender::ALL.into_iter().filter(|one| self.rows.iter().any(|(_, of, _)| of == one));
        let caption = format!("{}; {COMMAND}", self.circumstances);
        let chart = Chart {
            title: TITLE,
            caption: &caption,
            description: &self.description(),
            legend: contenders.map(Contender::name).collect(),
            columns: columns.collect(),
        };
        chart.svg()
    }

    /// What the README says, from one marker to the other.
    pub(super) fn section(&self) -> String {
        let mut out = format!(
            "{BEGIN}\n![{}](xtask/bench/moves.svg)\n\n{}, hitless-tokio / redis:\n\n",
            self.description(),
            self.circumstances
        );
        out += &format!("| | {} |\n", SHOWN.map(|column| COLUMNS[column]).join(" | "));
        out += &format!("|---|{}\n", "---:|".repeat(SHOWN.len()));
        for scenario in Scenario::ALL {
            let of: Vec<[String; CELLS]> = self.of(scenario).map(|(_, figures)| cells(figures)).collect();
            let pair =
                |cell: usize| of.iter().map(|cells| cells[cell].as_str()).collect::<Vec<_>>().join(" / ");
            let _ = writeln!(out, "| {} | {} |", scenario.title(), SHOWN.map(pair).join(" | "));
        }
        let _ = writeln!(out, "\n{LOWER_BOUNDS}");
        out + END
    }

    fn of(&self, scenario: Scenario) -> impl Iterator<Item = (Contender, &Result<Figures, String>)> {
        let rows = self.rows.iter().filter(move |(of, ..)| *of == scenario);
        rows.map(|(_, contender, figures)| (*contender, figures))
    }

    /// The picture in words.
    fn description(&self) -> String {
        let mut out =
            "Operations a second, and the slowest of them, over time, with nodes that move under load."
                .to_owned();
        for scenario in Scenario::DRAWN {
            for (contender, figures) in self.of(scenario) {
                let (name, title) = (contender.name(), scenario.title());
                let _ = match figures {
                    Ok(figures) => {
                        let (errors, gap) = (figures.errors(), millis(figures.latencies.gap));
                        write!(out, " {title}: {name} has {errors} errors and a longest gap of {gap}.")
                    }
                    Err(_) => write!(out, " {title}: {name} failed."),
                };
            }
        }
        out
    }
}

/// What is behind scenario and client.
const CELLS: usize = 9;
const COLUMNS: [&str; CELLS] = [
    "errors",
    "INCRs lost, executed twice",
    "INCRs executed without an answer",
    "longest gap",
    "p99.9 before",
    "p99.9 from the event on",
    "connections opened",
    "old node empty after",
    "items or messages lost, repeated",
];
/// Those of the README.
const SHOWN: [usize; 7] = [0, 1, 3, 4, 5, 6, 8];

/// What the count of INCRs can tell.
const LOWER_BOUNDS: &str = "Where errors leave open whether the command has run, INCRs lost and executed twice are lower bounds: one that failed, and has run, makes up for one that is \
     lost, and one that has not run leaves room for one that was executed twice.";

/// The reason in the place of the first one where there are no figures.
fn cells(figures: &Result<Figures, String>) -> [String; CELLS] {
    let none = || "-".to_owned();
    let figures = match figures {
        Ok(figures) => figures,
        Err(reason) => {
            let reason = reason.replace('|', "\\|").replace('\n', " ");
            return std::array::from_fn(|cell| if cell == 0 { format!("failed: {reason}") } else { none() });
        }
    };
    let Figures { latencies, counted, unanswered, opened, empty_after, delivered, .. } = figures;
    let time = |time: &Option<Duration>| time.map_or_else(none, millis);
    let delivered = delivered.map(|of| format!("{}, {} of {}", of.counted.lost, of.counted.twice, of.sent));
    [
        figures.errors().to_string(),
        format!("{}, {}", counted.lost, counted.twice),
        unanswered.to_string(),
        millis(latencies.gap),
        time(&latencies.before),
        time(&latencies.during),
        opened.to_string(),
        time(empty_after),
        delivered.unwrap_or_else(none),
    ]
}

fn entry(scenario: Scenario, contender: Contender, figures: &Result<Figures, String>) -> String {
    let run = format!("    {{\"scenario\": \"{}\", \"client\": \"{}\", ", scenario.name(), contender.name());
    match figures {
        Ok(figures) => format!("{run}{}}}", fields(figures)),
        Err(reason) => format!("{run}\"failed\": {reason:?}}}"),
    }
}

fn fields(figures: &Figures) -> String {
    let micros = |time: Duration| time.as_micros().to_string();
    let maybe = |time: Option<Duration>| time.map_or_else(|| "null".to_owned(), micros);
    let Figures { latencies, counted, marks, curve, .. } = figures;
    let delivered = figures.delivered.map_or_else(
        || "null".to_owned(),
        |of| {
            let (lost, twice) = (of.counted.lost, of.counted.twice);
            format!("{{\"sent\": {}, \"lost\": {lost}, \"repeated\": {twice}}}", of.sent)
        },
    );
    let marks =
        marks.iter().map(|mark| format!("{{\"at_us\": {}, \"what\": \"{}\"}}", micros(mark.at), mark.what));
    let points =
        curve.iter().map(|point| format!("[{:.3}, {:.0}, {}]", point.at, point.rate, maybe(point.slowest)));
    format!(
        "\"operations\": {}, \"unended\": {}, \"errors\": {}, \"uncertain\": {}, \"incrs_lost\": {}, \"incrs_twice\": {}, \
         \"incrs_without_an_answer\": {}, \"gap_us\": {}, \"p999_before_us\": {}, \"p999_from_event_us\": {}, \"connections_opened\": {}, \
         \"empty_after_us\": {}, \"delivered\": {delivered}, \"marks\": [{}], \"curve\": [{}]",
        latencies.operations,
        latencies.unended,
        figures.errors(),
        figures.uncertain,
        counted.lost,
        counted.twice,
        figures.unanswered,
        micros(latencies.gap),
        maybe(latencies.before),
        maybe(latencies.during),
        figures.opened,
        maybe(figures.empty_after),
        marks.collect::<Vec<_>>().join(", "),
        points.collect::<Vec<_>>().join(", "),
    )
}

/// `readme` with `section` in the place of what is between the markers, themselves included.
///
/// # Errors
/// A marker is missing.
pub(super) fn replace_section(readme: &str, section: &str) -> io::Result<String> {
    let missing = || io::Error::other(format!("README.md has no `{BEGIN}` with an `{END}` behind it"));
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{section}{after}"))
}

/// A duration as people read it.
fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// The version of a redis-server.
fn version(program: &Path) -> io::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.map(str::to_owned).ok_or_else(|| io::Error::other(format!("no version: {text}")))
}

/// The day so long after the beginning of 1970, in UTC.
fn date(since_1970: Duration) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut days = since_1970.as_secs() / 86_400;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, length) in MONTHS.into_iter().zip(lengths) {
        if days < length {
            return format!("{} {month} {year}", days + 1);
        }
        days -= length;
    }
    unreachable!("a year has no more days than its months")
}

#[cfg(test)]
mod tests {
    use hitless_conformance::tally::Counted;

    use super::super::figures::{Delivered, Latencies, Mark, Point};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn figures(errors: u64, gap: Duration) -> Figures {
        let latencies =
            Latencies { operations: 1000, errors, unended: 0, gap, before: Some(2 * MS), during: Some(gap) };
        Figures {
            latencies,
            counted: Counted { lost: 2, twice: 5 },
            unanswered: 3,
            uncertain: errors,
            opened: 10,
            empty_after: Some(12 * MS),
            delivered: None,
            marks: vec![Mark { at: Duration::ZERO, what: "MOVING" }],
            curve: vec![Point { at: 0.05, rate: 6400.0, slowest: None }],
        }
    }

    fn report() -> Report {
        let rows = Scenario::ALL.into_iter().flat_map(|scenario| {
            let mut theirs = figures(40, 1234 * MS);
            let counted = Counted { lost: 7, twice: 0 };
            theirs.delivered = Some(Delivered { sent: 100, counted, errors: 1, uncertain: 1 });
            [(scenario, Contender::Hitless, Ok(figures(0, 6 * MS))), (scenario, Contender::Redis, Ok(theirs))]
        });
        Report { rows: rows.collect(), circumstances: "30 November 2026, 2 processors".to_owned() }
    }

    /// The first client has failed everywhere.
    fn report_of_failures() -> Report {
        let mut report = report();
        for (.., figures) in report.rows.iter_mut().step_by(2) {
            *figures = Err("no \"item\" | no answer".to_owned());
        }
        report
    }

    #[test]
    fn each_client_has_a_line_in_each_scenario() {
        let table = report().markdown();
        for scenario in Scenario::ALL {
            let ours = format!(
                "| {} | hitless-tokio | 0 | 2, 5 | 3 | 6.0 ms | 2.0 ms | 6.0 ms | 10 | 12 ms | - |",
                scenario.title()
            );
            let theirs =
                format!("| {} | redis 1, ConnectionManager | 41 | 2, 5 | 3 | 1234 ms |", scenario.title());
            assert!(table.contains(&ours) && table.contains(&theirs), "{table}");
        }
        assert!(table.contains("| 7, 0 of 100 |"), "{table}");
    }

    #[test]
    fn the_section_has_the_picture_and_both_clients_side_by_side() {
        let section = report().section();
        assert!(section.starts_with(BEGIN) && section.ends_with(END));
        assert!(section.contains("](xtask/bench/moves.svg)"));
        assert!(
            section.contains(
                " | 0 / 41 | 2, 5 / 2, 5 | 6.0 ms / 1234 ms | 2.0 ms / 2.0 ms | 6.0 ms / 1234 ms | 10 / 10 | - / 7, 0 of 100 |"
            ),
            "{section}"
        );
        let columns: Vec<_> = section.lines().filter(|line| line.starts_with('|')).collect();
        let counts: Vec<_> = columns.iter().map(|line| line.matches('|').count()).collect();
        assert_eq!(counts, vec![counts[0]; 2 + Scenario::ALL.len()], "{section}");
    }

    #[test]
    fn one_that_failed_says_why_and_keeps_its_place() {
        let report = report_of_failures();
        let table = report.markdown();
        assert_eq!(
            table.matches("| hitless-tokio | failed: no \"item\" \\| no answer | - |").count(),
            Scenario::ALL.len()
        );
        assert!(report.section().contains(" | failed: no \"item\" \\| no answer / 41 | - / 2, 5 |"));
        assert!(
            report
                .json()
                .contains("\"client\": \"hitless-tokio\", \"failed\": \"no \\\"item\\\" | no answer\"}")
        );
        let svg = report.svg();
        assert!(svg.contains(">errors - / 41, longest gap - / 1234 ms<"), "{svg}");
        assert!(svg.contains("<path class=\"curve curve0\" d=\"\"/>"), "{svg}");
        assert!(svg.contains("hitless-tokio failed."), "{svg}");
    }

    #[test]
    fn a_section_takes_the_place_of_the_last_one() {
        let readme = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let section = report().section();
        let replaced = replace_section(&readme, &section).unwrap();
        assert_eq!(replaced, format!("before\n{section}\nafter\n"));
        assert_eq!(replace_section(&replaced, &section).unwrap(), replaced, "again and again");
        assert!(replace_section("no markers", &section).is_err());
        assert!(replace_section(&format!("{END}{BEGIN}"), &section).is_err());
    }

    #[test]
    fn the_readme_has_the_markers() {
        let readme = include_str!("../../../../README.md");
        assert!(replace_section(readme, "").is_ok());
    }

    #[test]
    fn the_picture_shows_the_scenarios_that_are_drawn() {
        let svg = report().svg();
        for scenario in Scenario::DRAWN {
            assert!(svg.contains(&format!(">{}<", scenario.title())), "{svg}");
        }
        assert!(svg.contains("redis 1, ConnectionManager has 41 errors and a longest gap of 1234 ms."));
    }

    #[test]
    fn programs_find_every_run() {
        let json = report().json();
        assert_eq!(json.matches("\"scenario\": ").count(), 2 * Scenario::ALL.len());
        assert!(json.contains("\"gap_us\": 1234000, \"p999_before_us\": 2000,"), "{json}");
        assert!(
            json.contains("\"delivered\": null")
                && json.contains("{\"sent\": 100, \"lost\": 7, \"repeated\": 0}")
        );
        assert!(json.contains("\"curve\": [[0.050, 6400, null]]"), "{json}");
    }

    #[test]
    fn days_are_counted_as_calendars_do() {
        let day = |days: u64| date(Duration::from_secs(days * 86_400 + 86_399));
        assert_eq!(day(0), "1 January 1970");
        assert_eq!(day(365), "1 January 1971");
        assert_eq!(day(11_016), "29 February 2000");
        assert_eq!(day(19_782), "29 February 2024");
        assert_eq!(day(20_787), "30 November 2026");
    }
}
