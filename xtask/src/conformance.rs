//! `cargo xtask conformance`: the suite, on one adapter or on all.

use crate::shell::Cmd;
use crate::summary::Summary;

/// What `cargo xtask conformance` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// List the cases instead of running them.
    #[arg(long)]
    list: bool,
    /// Run only the cases whose name contains this.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Run on this adapter only.
    #[arg(long, value_enum)]
    adapter: Option<Adapter>,
}

/// A way of running the suite.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Adapter {
    /// A hand-written loop over the core, in virtual time.
    Direct,
    /// The driver on tokio.
    Tokio,
    /// The driver on async-std.
    AsyncStd,
    /// The coordinator alone, behind redis-rs's connections: the cases that concern it.
    RedisRs,
}

impl Adapter {
    const ALL: [Self; 4] = [Self::Direct, Self::Tokio, Self::AsyncStd, Self::RedisRs];

    fn package(self) -> &'static str {
        match self {
            Self::Direct => "hitless-conformance",
            Self::Tokio => "hitless-tokio",
            Self::AsyncStd => "hitless-async-std",
            Self::RedisRs => "hitless-embed",
        }
    }
}

/// Runs the cases, or lists them.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    let mut summary = Summary::default();
    for adapter in Adapter::ALL {
        if args.adapter.is_none_or(|wanted| wanted == adapter) {
            summary.add(command(args, adapter).run_tests());
        }
    }
    let ran = summary.passed + summary.failed + summary.skipped;
    if ran == 0 && !args.list {
        return Err("no case has such a name: `--list` shows them".to_owned());
    }
    Ok(summary)
}

/// Cases are ordinary tests whose path starts with `conformance::`.
fn command(args: &Args, adapter: Adapter) -> Cmd {
    let filter = args.case.as_deref().unwrap_or("conformance::");
    let test = Cmd::cargo().args_of("test --quiet --no-fail-fast --tests -p").arg(adapter.package());
    let test = test.arg("--").arg(filter);
    if args.list { test.arg("--list") } else { test }
}
