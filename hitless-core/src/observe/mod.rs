//! Figures for operators: what is counted from the [events](crate::event), and under which names it is exported.
//!
//! Whoever runs the machines without the driver feeds [`Metrics::handle_event`] with the events that they emit.

mod histogram;
mod metrics;
mod snapshot;

pub use self::histogram::{Buckets, Histogram};
pub use self::metrics::{KindCounts, Metrics};
pub use self::snapshot::{Handling, HookFailures, MetricsSnapshot, Sample, Value};
