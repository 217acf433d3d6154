//! How often a whole process allocates for a command: its caller, the client's tasks and the runtime. The server is a process of its own.

use std::alloc::System;
use std::path::Path;

use hitless_conformance::net::redis_process::RedisProcess;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::block_on;
use crate::hitless::{Client, cmd};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COMMANDS: usize = 20_000;
/// What runtimes allocate for their own queues of tasks, and whatever else runs in this process, per hundred commands.
const OF_OTHERS: usize = 10;

/// Besides the buffer of the command, what its caller waits at is allocated, and nothing else. RULE-436
#[test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
fn a_command_is_two_allocations() {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let redis = RedisProcess::start(Path::new(&program), &[]).unwrap();
    block_on(async {
        let client = Client::connect(&format!("redis://{}", redis.address())).await.unwrap();
        client.call(cmd("SET").arg("k").arg("value")).await.unwrap();
        let gets = async || {
            for _ in 0..COMMANDS {
                client.call(cmd("GET").arg("k")).await.unwrap();
            }
        };
        gets().await;
        let region = Region::new(ALLOCATOR);
        gets().await;
        let counted = region.change();
        let allocations = counted.allocations + counted.reallocations;
        println!("{allocations} allocations for {COMMANDS} commands");
        let tolerated = 2 * COMMANDS + COMMANDS * OF_OTHERS / 100;
        assert!((2 * COMMANDS..tolerated).contains(&allocations), "{COMMANDS} commands: {allocations}");
    });
}
