//! The client of a cluster: one handle, a client for each node, and one task that decides which node serves what.
//!
//! | part | what it does |
//! |---|---|
//! | `handle`, `lease`, `subscription` | what an application calls; `node` one node, for what concerns it alone |
//! | `dispatch` | from a request to the clients of the nodes |
//! | `plan`, `unit` | where the commands of a request go, and what is made of a request on its way |
//! | `journey` | the way of a request that the first node did not run |
//! | `routes`, `shared` | the table that requests read, and the machine behind its lock |
//! | `control` | the task that hosts the machine; `nodes` the clients that it opens, `start` whether the cluster client is open, `inbox` what the nodes' clients tell it |
//! | `naps` | pauses of requests that are sent again a little later |

mod builder;
mod control;
mod dispatch;
mod handle;
mod inbox;
mod join;
mod journey;
mod lease;
mod naps;
mod node;
mod nodes;
mod outage;
mod plan;
mod reply;
mod routes;
mod shared;
mod shares;
mod start;
mod subscription;
mod unit;

pub use self::builder::ClusterBuilder;
pub use self::handle::ClusterClient;
pub(super) use self::inbox::{NodeFact, Report};
pub use self::node::Node;
pub use self::reply::ClusterReply;
pub use self::subscription::ClusterSubscription;
