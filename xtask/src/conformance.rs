//! `cargo xtask conformance`: the suite, on one adapter or on all.

use clap::ValueEnum;

use crate::shell::Cmd;
use crate::suite::{self, Case};
use crate::summary::Summary;
use crate::tidy::source::Source;
use crate::workspace;

/// What `cargo xtask conformance` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// List the cases, each with the adapters that run it, instead of running them. An adapter may decline a case, and says so when
    /// it runs.
    #[arg(long)]
    list: bool,
    /// Take only the cases whose group and name, such as `moving::healthy_target`, contain this.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Take this adapter only.
    #[arg(long, value_enum)]
    adapter: Option<Adapter>,
}

/// A way of running the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Adapter {
    /// A hand-written loop over the core, in virtual time.
    Direct,
    /// The driver on a simulated runtime and network, in virtual time.
    Sim,
    /// The driver on tokio.
    Tokio,
    /// The driver on async-std.
    AsyncStd,
    /// The driver on smol, by an adapter that is an example.
    Smol,
    /// The coordinator alone, behind redis-rs's connections: the cases that concern it.
    RedisRs,
}

impl Adapter {
    /// The package whose tests run the suite on it, and the file of those tests.
    pub(crate) fn target(self) -> (&'static str, &'static str) {
        match self {
            Self::Direct => ("hitless-conformance", "conformance"),
            Self::Sim => ("hitless-conformance", "sim"),
            Self::Tokio => ("hitless-tokio", "conformance"),
            Self::AsyncStd => ("hitless-async-std", "conformance"),
            Self::Smol => ("hitless-smol", "conformance"),
            Self::RedisRs => ("hitless-embed", "conformance"),
        }
    }

    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().expect("no adapter is skipped").get_name().to_owned()
    }

    fn runs(self, case: &Case) -> bool {
        matches!(self, Self::Direct | Self::Sim) || case.virtual_only.is_none()
    }
}

/// Runs the cases, or lists them.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    let cases = selected(args.case.as_deref().unwrap_or_default())?;
    let adapters = args.adapter.map_or_else(|| Adapter::value_variants().to_vec(), |only| vec![only]);
    let mut summary = Summary::default();
    if args.list {
        cases.iter().filter_map(|case| line(case, &adapters)).for_each(|line| println!("{line}"));
        return Ok(summary);
    }
    for adapter in adapters {
        let test = command(adapter);
        let test = match &args.case {
            Some(_) => test.arg("--exact").args(cases.iter().map(|case| format!("conformance::{}", case.id))),
            None => test.arg("conformance::"),
        };
        summary.add(test.run_tests());
    }
    Ok(summary)
}

/// The cases whose group and name contain `text`.
fn selected(text: &str) -> Result<Vec<Case>, String> {
    let path = workspace::root().join(suite::PATH);
    let list = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut cases = suite::cases(&Source::new(suite::PATH, list))?;
    cases.retain(|case| case.id.contains(text));
    if cases.is_empty() {
        return Err("no case has such a name: `--list` shows them".to_owned());
    }
    Ok(cases)
}

/// A case with those of the adapters that run it; none when none of them does.
fn line(case: &Case, adapters: &[Adapter]) -> Option<String> {
    let names: Vec<String> =
        adapters.iter().filter(|adapter| adapter.runs(case)).map(|adapter| adapter.name()).collect();
    let reason = case.virtual_only.as_ref().map(|reason| format!(" (virtual time only: {reason})"));
    let reason = reason.unwrap_or_default();
    (!names.is_empty()).then(|| format!("{}: {}{reason}", case.id, names.join(", ")))
}

/// Cases are ordinary tests whose path starts with `conformance::`.
fn command(adapter: Adapter) -> Cmd {
    let (package, file) = adapter.target();
    Cmd::cargo().args_of("test --quiet --no-fail-fast -p").args([package, "--test", file, "--"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_listed_once_with_the_adapters_that_run_it() {
        let case = Case { id: "a::b".to_owned(), virtual_only: None };
        assert_eq!(
            line(&case, Adapter::value_variants()).unwrap(),
            "a::b: direct, sim, tokio, async-std, smol, redis-rs"
        );
        let slow = Case { virtual_only: Some("slow".to_owned()), ..case };
        assert_eq!(
            line(&slow, Adapter::value_variants()).unwrap(),
            "a::b: direct, sim (virtual time only: slow)"
        );
        assert_eq!(line(&slow, &[Adapter::Tokio]), None);
    }

    #[test]
    fn cases_are_selected_by_a_part_of_their_path() {
        let one = selected("moving::healthy_target").unwrap();
        assert_eq!(one.len(), 1);
        assert!(selected("moving::").unwrap().len() > 10);
        assert!(selected("no such case").is_err());
    }
}
