//! A load generator to point at a staging cluster: is its upgrade hitless for the applications?
//!
//! ```console
//! $ cargo build --release --example workload -p hitless-async-std --features tls
//! $ target/release/examples/workload --url rediss://:secret@redis.example.com --run-id upgrade-1 --duration 600 --out operations.csv
//! $ target/release/examples/workload --host redis.example.com --run-id upgrade-1 --duration 600 --out operations.csv
//! ```
//!
//! It connects, prints `READY <epoch seconds> <version>`, and then each worker repeats INCR, SET, INCR and GET on keys of
//! its own. It never repeats an operation by itself. Each operation becomes one line of the file:
//!
//! ```text
//! start_epoch_s,latency_us,op,status,worker,value
//! ```
//!
//! `op` is `I`, `S`, `G`, `B`, `P` or `Q`. `status` is `ok` or `Type:text`, where an error whose request may have run says `Unknown`.
//! `value` is the number that INCR returned, and `mismatch` if GET did not return what was last set successfully.
//!
//! With `--cluster` host and port are a seed: one server of a cluster, which tells of the others. `--pool` is per node then.
//!
//! With `--mode pubsub` a subscriber of the channel `ch:<run id>`, which has a client of its own, adds a line for each message:
//! `op` is `M`, and `value` what was published. Where messages may be missing, `status` says so (`Gap:..`, `Ambiguous:..`).
//!
//! With `--mode blpop` there are five consumers beside the workers, on a client of their own: consumer 0 waits with
//! `BLPOP q:RUN_ID:s 2`, consumers 1 to 4 with `BLPOP q:RUN_ID:<number> 15`. `READY` is printed when they wait. Their `op` is `B`,
//! `worker` their number, `value` the item; `status` is `nil` where none came.
//!
//! With `--mode pairs` a worker does two more things after each GET: an MSET of one value at `{p:RUN_ID:<number>}:a` and `..:b` (`op`
//! is `P`) and an MGET of both (`op` is `Q`). `value` is `torn` where the two differ, and `mismatch` where they are not what the last
//! MSET that succeeded has set.

#[path = "../../../hitless-tokio/examples/workload/consumers.rs"]
mod consumers;
#[path = "../../../hitless-tokio/examples/workload/load.rs"]
mod load;
#[path = "../../../hitless-tokio/examples/workload/options.rs"]
mod options;
#[path = "../../../hitless-tokio/examples/workload/record.rs"]
mod record;
#[path = "../../../hitless-tokio/examples/workload/run.rs"]
mod run;
#[path = "../../../hitless-tokio/examples/workload/subscriber.rs"]
mod subscriber;
#[path = "../../../hitless-tokio/examples/workload/summary.rs"]
mod summary;
#[path = "../../../hitless-tokio/examples/workload/target.rs"]
mod target;

use std::process::ExitCode;
use std::time::Duration;

use async_std::task;
/// The adapter in use.
use hitless_async_std as hitless;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    task::block_on(run::from_command_line())
}

/// Begins a task; the result is how it ended.
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = Result<(), Failure>> {
    let task = task::spawn(task);
    async {
        task.await;
        Ok(())
    }
}

async fn sleep(time: Duration) {
    task::sleep(time).await;
}
