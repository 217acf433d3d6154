//! `cargo xtask breakages`: would the tests notice?
//!
//! A list of seeded breakages (`conformance/breakages.txt`), each a small edit that breaks one promise and the test that must
//! then fail. They are applied to copies of the repository, one at a time, and the named test is run. One that goes undetected
//! fails the verb: the test is too weak. `tidy` sees to it that each still applies, and that nothing that is built is left out.

mod edit;
mod lane;
pub(crate) mod list;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::summary::Summary;
use crate::workspace;
use lane::{Lane, Outcome};
use list::Breakage;

pub(crate) use edit::apply;

/// What `cargo xtask breakages` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Try only the breakages with this id, or that stand for this invariant, pitfall or rule. May be given again.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// How many copies of the repository to work on at a time. Each has a target directory of its own, built once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// Show the breakages instead of trying them.
    #[arg(long)]
    list: bool,
}

/// Tries the breakages, or shows them.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    let breakages = selected(&args.only)?;
    if args.list {
        breakages.iter().for_each(|breakage| println!("{breakage}"));
        return Ok(Summary::default());
    }
    let shared = Shared { breakages: &breakages, next: AtomicUsize::new(0), summary: Mutex::default() };
    std::thread::scope(|scope| {
        let jobs = usize::from(args.jobs).min(breakages.len());
        let lanes: Vec<_> = (0..jobs)
            .map(|number| {
                let shared = &shared;
                scope.spawn(move || shared.work(number))
            })
            .collect();
        let ended = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err(PANICKED.to_owned())));
        ended.collect::<Result<(), String>>()
    })?;
    shared.summary.into_inner().map_err(|_| PANICKED.to_owned())
}

const PANICKED: &str = "a lane panicked";

/// What the lanes share: the breakages, the first that nobody has taken, and what came of the others.
struct Shared<'a> {
    breakages: &'a [Breakage],
    next: AtomicUsize,
    summary: Mutex<Summary>,
}

impl Shared<'_> {
    fn work(&self, number: usize) -> Result<(), String> {
        let mut lane =
            Lane::open(&workspace::target().join("breakages").join(number.to_string()), self.breakages)?;
        while let Some(breakage) = self.breakages.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let (outcome, took) = lane.try_out(breakage)?;
            let passed = report(breakage, &outcome, took, &lane.log_of(breakage));
            self.summary.lock().map_err(|_| PANICKED)?.add_step(passed);
        }
        Ok(())
    }
}

/// The breakages that were asked for. Those whose tests are built from the same crates stand together.
fn selected(only: &[String]) -> Result<Vec<Breakage>, String> {
    let path = workspace::root().join(list::PATH);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut breakages = list::parse(&text).map_err(|error| format!("{}:{error}", list::PATH))?;
    let is_wanted = |breakage: &Breakage| {
        only.is_empty()
            || only.iter().any(|only| *only == breakage.id || breakage.stands_for.iter().any(|id| id == only))
    };
    breakages.retain(is_wanted);
    if breakages.is_empty() {
        return Err("no breakage has such an id: `--list` shows them".to_owned());
    }
    breakages.sort_by(|a, b| (&a.test.package, &a.test.target).cmp(&(&b.test.package, &b.test.target)));
    Ok(breakages)
}

/// Prints what became of a breakage, and answers whether it was detected.
fn report(breakage: &Breakage, outcome: &Outcome, took: Duration, log: &Path) -> bool {
    let Breakage { id, test, .. } = breakage;
    let what = match outcome {
        Outcome::Detected => {
            println!("ok      {:>5.1} s  {id}: {}", took.as_secs_f64(), breakage.stands_for.join(", "));
            return true;
        }
        Outcome::Undetected => format!("{test} passes all the same: it is too weak, strengthen it"),
        Outcome::DoesNotApply(why) => why.clone(),
        Outcome::DoesNotCompile => "the edit does not compile, which proves nothing".to_owned(),
        Outcome::NoSuchTest => format!("there is no test {test}"),
        Outcome::FailsAnyway => format!("{test} fails without the edit as well"),
        Outcome::Hangs => format!("{test} does not end; if that is how it shows, declare `hangs`"),
        Outcome::DoesNotHang => format!("{test} ends, though the breakage is declared to hang it"),
    };
    let log = log.with_extension(if *outcome == Outcome::DoesNotCompile { "err" } else { "txt" });
    println!("FAILED  {:>5.1} s  {id}: {what} ({})", took.as_secs_f64(), log.display());
    false
}
