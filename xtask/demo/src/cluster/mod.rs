//! A cluster of real servers under load: slots move, a replica takes over, a primary dies. `cargo xtask demo --cluster`.
//!
//! The first third of the slots is what things happen to. Half of the tasks use keys of these slots alone, the others none of them.

mod load;
mod pool;
mod report;
mod stage;
mod verdict;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hitless_conformance::clock;
use hitless_conformance::net::redis_cluster::{RedisCluster, Shape};

use self::load::{TASKS, Tags};
pub(crate) use self::pool::{ClusterPool, OpenCluster};
use self::report::Report;
use self::stage::{Rig, STEPS};
use crate::log::{self, Log};
use crate::pool::{RuntimeName, open_cluster};
use crate::world::VARIABLE;

/// The time of silence after which a node counts as dead.
const NODE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Runs all steps. Whether all of them were as they must be.
///
/// # Errors
/// There is no redis-server, or it makes no cluster.
pub(crate) fn run(on: RuntimeName) -> Result<bool, Box<dyn Error>> {
    let program = std::env::var_os(VARIABLE).ok_or("a cluster needs a redis-server, and none was found")?;
    let shape = Shape::default().serving_partially().with_node_timeout(NODE_TIMEOUT);
    let cluster = RedisCluster::start(Path::new(&program), &shape)?;
    log::print(format_args!(
        "hitless demo: a cluster of {} redis-server processes, three of them replicas, at {} and so on; {TASKS} tasks, half of them \
         at the first third of the slots, over {on}",
        cluster.node_count(),
        cluster.address(0),
    ));
    let tags = Tags::find(&cluster)?;
    let pool = open_cluster(on, cluster.address(1))?;
    let log = Arc::new(Log::new(clock::now()));
    let mut rig = Rig { cluster, tags, pool, log };
    let mut found = Vec::new();
    // Lets caches fill and the system get used to the load. Not judged.
    rig.run(&stage::WARM_UP)?;
    for step in &STEPS {
        found.push((step, rig.run(step)?));
    }
    rig.pool.close();
    let report = Report::new(on, found);
    log::print(format_args!("\n{report}"));
    Ok(report.is_hitless())
}
