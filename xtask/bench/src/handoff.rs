//! What a move costs the machine itself, without sockets: many connections are told to leave in the same moment.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use hitless_guards::world::{WORKERS, World};

use crate::measure::time;
use crate::results::keep;

/// Sizes of the pool: the cost of one connection's part is to be the same for all of them.
const POOLS: [u32; 3] = [100, 1_000, 10_000];
/// Commands timed in each pool.
const COMMANDS: u32 = 20_000;
/// What servers announce.
const GRACE: Duration = Duration::from_secs(15);

/// What `hitless-bench handoff` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each figure is taken; the best one counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// What it costs in a pool of one size: the time for one connection, or one command.
#[derive(Clone, Copy, Debug)]
struct Costs {
    command: Duration,
    window: Duration,
    announcement: Duration,
    handoff: Duration,
}

/// Moves pools of several sizes and prints what that costs. Writes the table to `target/bench`.
///
/// # Errors
///
/// When a file cannot be written, or a pool did not move.
pub fn run(args: &Args) -> io::Result<()> {
    let mut rows = Vec::new();
    for pool in POOLS {
        eprintln!("a pool of {pool}");
        let mut best: Option<Costs> = None;
        for _ in 0..args.rounds.max(1) {
            let costs = measure(pool)?;
            best = Some(best.map_or(costs, |best| best.least(costs)));
        }
        rows.extend(best.map(|best| (pool, best)));
    }
    let table = markdown(&rows);
    print!("{table}");
    keep("handoff.md", &table)
}

fn measure(pool: u32) -> io::Result<Costs> {
    let mut world = World::new(pool);
    let command = time(|| (0..COMMANDS).for_each(|_| world.command())) / COMMANDS;
    let window = time(|| world.push(&["MIGRATING", "1", "5"])) / pool;
    world.push(&["MIGRATED", "1"]);
    let announcement = time(|| world.push(&["MOVING", "2", "15", "127.0.0.1:2"])) / pool;
    let handoff = time(|| world.answer_dials()) / pool;
    if world.moved == pool {
        Ok(Costs { command, window, announcement, handoff })
    } else {
        Err(io::Error::other("a pool did not move"))
    }
}

impl Costs {
    fn least(self, other: Self) -> Self {
        Self {
            command: self.command.min(other.command),
            window: self.window.min(other.window),
            announcement: self.announcement.min(other.announcement),
            handoff: self.handoff.min(other.handoff),
        }
    }
}

fn markdown(rows: &[(u32, Costs)]) -> String {
    let mut out = String::from(
        "# Handoffs\n\nThe machine alone, no sockets: every connection of a pool is told to move in the same moment, and every dial succeeds. Best of all \
         rounds, per command or per connection. The cost is to be the same in every pool.\n\n\
         | pool | a command | a window opens | MOVING is taken in | a handoff |\n|---:|---:|---:|---:|---:|\n",
    );
    for (pool, costs) in rows {
        let Costs { command, window, announcement, handoff } = costs;
        let _ =
            writeln!(out, "| {pool} | {command:.0?} | {window:.0?} | {announcement:.0?} | {handoff:.0?} |");
    }
    let pool = POOLS[POOLS.len() - 1];
    // A tenth of the time is kept for the last cut-overs.
    let budget = GRACE - GRACE / 10;
    let share = budget * WORKERS / pool;
    let _ = writeln!(
        out,
        "\nA MOVING of {GRACE:?} leaves {budget:?}. With {WORKERS} workers a pool of {pool} is moved in time if a dial with its handshake takes at most {share:?} \
         on average."
    );
    out
}
