//! All figures at one moment, and their names.

use std::fmt;
use std::time::Duration;

use super::{Histogram, Metrics};
use crate::client::Stats;
use crate::notification::NotificationKind;

/// How often hooks failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookFailures {
    /// They panicked, and were caught.
    pub panics: u64,
    /// They took too long, and were left alone.
    pub timeouts: u64,
}

/// How long notifications took from their arrival until it was decided what becomes of them, hooks included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    by_kind: [Histogram; NotificationKind::ALL.len()],
}

impl Handling {
    /// Counts a notification of `kind`.
    pub fn record(&mut self, kind: NotificationKind, took: Duration) {
        self.by_kind[kind as usize].record(took);
    }

    /// Those of `kind`.
    #[must_use]
    pub fn of(&self, kind: NotificationKind) -> &Histogram {
        &self.by_kind[kind as usize]
    }
}

/// Figures of one client or several: what happened so far, and what is going on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// What happened.
    pub metrics: Metrics,
    /// How long notifications took.
    pub handling: Handling,
    /// What hooks did wrong.
    pub hook_failures: HookFailures,
    /// Established connections, draining ones included.
    pub connections: u64,
    /// Connections that are being resolved, dialled or negotiated.
    pub connections_dialing: u64,
    /// Handoffs in their dial or handshake.
    pub handoffs_in_flight: u64,
    /// Handoffs that wait for a worker.
    pub handoffs_queued: u64,
    /// Moves that are live: until some time after their deadline.
    pub moves: u64,
    /// Windows that are open.
    pub windows: u64,
    /// Requests that are accepted and not completed.
    pub requests: u64,
    /// Those of them that wait for a connection.
    pub requests_parked: u64,
    /// Requests that were written and that nobody waits for any more; see [`Stats::abandoned`].
    pub requests_abandoned: u64,
}

impl MetricsSnapshot {
    /// Adds the figures of a client.
    pub fn add(&mut self, metrics: &Metrics, failures: HookFailures, stats: &Stats) {
        self.metrics.merge(metrics);
        self.hook_failures.panics += failures.panics;
        self.hook_failures.timeouts += failures.timeouts;
        let coordinator = &stats.coordinator;
        self.connections += coordinator.connections.values().map(|count| u64::from(*count)).sum::<u64>();
        self.connections_dialing += coordinator.dialing as u64;
        self.handoffs_in_flight += coordinator.handoffs_working as u64;
        self.handoffs_queued += coordinator.handoffs_queued as u64;
        self.moves += coordinator.moves as u64;
        self.windows += coordinator.windows as u64;
        self.requests += stats.requests as u64;
        self.requests_parked += stats.parked as u64;
        self.requests_abandoned += stats.abandoned as u64;
    }

    /// Every figure under its name, for an exporter. The names follow OpenTelemetry's conventions: dots between the
    /// parts, no unit and no `total` in a name, durations in seconds.
    ///
    /// | name | is | attribute |
    /// |---|---|---|
    /// | `redis.client.maintenance.notifications` | counter: arrived and understood | `type` |
    /// | `redis.client.maintenance.notifications.ignored`, `.malformed`, `.vetoed`, `.replaced`, `.unreviewed` | counters | `type` |
    /// | `redis.client.maintenance.notification.duration` | histogram | `type` |
    /// | `redis.client.maintenance.moves`, `redis.client.maintenance.targets.vetoed` | counters | |
    /// | `redis.client.maintenance.move.duration` | histogram | |
    /// | `redis.client.maintenance.move.active` | gauge | |
    /// | `redis.client.connection.handoff.tried`, `.succeeded`, `.failed` | counters | |
    /// | `redis.client.connection.handoff.active`, `.queued` | gauges | |
    /// | `redis.client.connection.drain.duration` | histogram | |
    /// | `redis.client.connection.drain.cut_short` | counter | |
    /// | `redis.client.connection.relaxed_timeout` | gauge: open windows | |
    /// | `redis.client.connection.count`, `redis.client.connection.dialing` | gauges | |
    /// | `redis.client.connection.opened`, `.closed`, `.errors` | counters | |
    /// | `redis.client.request.active`, `redis.client.request.parked`, `redis.client.request.abandoned` | gauges | |
    /// | `redis.client.request.moved`, `redis.client.request.timeouts` | counters | |
    /// | `redis.client.hook.errors` | counter | `type`: `panic`, `timeout` |
    #[must_use]
    pub fn samples(&self) -> Vec<Sample<'_>> {
        let mut samples = Vec::new();
        for kind in NotificationKind::ALL {
            let counts = self.metrics.notifications(kind);
            let each = [
                ("redis.client.maintenance.notifications", counts.received),
                ("redis.client.maintenance.notifications.ignored", counts.ignored),
                ("redis.client.maintenance.notifications.malformed", counts.malformed),
                ("redis.client.maintenance.notifications.vetoed", counts.vetoed),
                ("redis.client.maintenance.notifications.replaced", counts.replaced),
                ("redis.client.maintenance.notifications.unreviewed", counts.unreviewed),
            ];
            let of = Some(kind.as_str());
            samples.extend(each.map(|(name, count)| Sample::new(name, of, Value::Counter(count))));
            let took = Value::Histogram(self.handling.of(kind));
            samples.push(Sample::new("redis.client.maintenance.notification.duration", of, took));
        }
        self.counters(&mut samples);
        self.gauges(&mut samples);
        samples.push(Sample::new(
            "redis.client.maintenance.move.duration",
            None,
            Value::Histogram(&self.metrics.move_duration),
        ));
        let drains = Value::Histogram(&self.metrics.drain_duration);
        samples.push(Sample::new("redis.client.connection.drain.duration", None, drains));
        samples
    }

    fn counters<'a>(&self, samples: &mut Vec<Sample<'a>>) {
        let metrics = &self.metrics;
        let each = [
            ("redis.client.maintenance.moves", None, metrics.moves_started),
            ("redis.client.maintenance.targets.vetoed", None, metrics.targets_vetoed),
            ("redis.client.connection.handoff.tried", None, metrics.handoffs_tried),
            ("redis.client.connection.handoff.succeeded", None, metrics.handoffs_succeeded),
            ("redis.client.connection.handoff.failed", None, metrics.handoffs_failed),
            ("redis.client.connection.drain.cut_short", None, metrics.drains_cut_short),
            ("redis.client.connection.opened", None, metrics.connections_opened),
            ("redis.client.connection.closed", None, metrics.connections_closed),
            ("redis.client.connection.errors", None, metrics.connect_failures),
            ("redis.client.request.moved", None, metrics.requests_moved),
            ("redis.client.request.timeouts", None, metrics.requests_timed_out),
            ("redis.client.hook.errors", Some("panic"), self.hook_failures.panics),
            ("redis.client.hook.errors", Some("timeout"), self.hook_failures.timeouts),
        ];
        samples.extend(each.map(|(name, of, count)| Sample::new(name, of, Value::Counter(count))));
    }

    fn gauges<'a>(&self, samples: &mut Vec<Sample<'a>>) {
        let each = [
            ("redis.client.maintenance.move.active", self.moves),
            ("redis.client.connection.handoff.active", self.handoffs_in_flight),
            ("redis.client.connection.handoff.queued", self.handoffs_queued),
            ("redis.client.connection.relaxed_timeout", self.windows),
            ("redis.client.connection.count", self.connections),
            ("redis.client.connection.dialing", self.connections_dialing),
            ("redis.client.request.active", self.requests),
            ("redis.client.request.parked", self.requests_parked),
            ("redis.client.request.abandoned", self.requests_abandoned),
        ];
        samples.extend(each.map(|(name, value)| Sample::new(name, None, Value::Gauge(value))));
    }
}

/// One figure under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample<'a> {
    /// The name; see [`MetricsSnapshot::samples`].
    pub name: &'static str,
    /// The attribute `type`, where the figure has one.
    pub of_type: Option<&'static str>,
    /// The figure.
    pub value: Value<'a>,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// It only grows.
    Counter(u64),
    /// It goes up and down.
    Gauge(u64),
    /// Durations.
    Histogram(&'a Histogram),
}

impl<'a> Sample<'a> {
    const fn new(name: &'static str, of_type: Option<&'static str>, value: Value<'a>) -> Self {
        Self { name, of_type, value }
    }
}

impl fmt::Display for Sample<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(of_type) = self.of_type {
            write!(f, "{{type={of_type:?}}}")?;
        }
        match &self.value {
            Value::Counter(count) | Value::Gauge(count) => write!(f, " {count}"),
            Value::Histogram(took) => {
                write!(f, " count={} sum={:.6}", took.count(), took.sum().as_secs_f64())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let snapshot = MetricsSnapshot::default();
        let samples = snapshot.samples();
        let names: BTreeSet<_> = samples.iter().map(|sample| (sample.name, sample.of_type)).collect();
        assert_eq!(names.len(), samples.len());
        for (name, _) in names {
            let is_part =
                |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(name.starts_with("redis.client.") && name.split('.').all(is_part), "{name}");
        }
    }

    /// One instrument for each name is enough for an exporter. RULE-245
    #[test]
    fn a_name_is_of_one_kind() {
        let snapshot = MetricsSnapshot::default();
        let mut kinds = BTreeMap::new();
        for sample in snapshot.samples() {
            let kind = (std::mem::discriminant(&sample.value), sample.of_type.is_some());
            assert_eq!(*kinds.entry(sample.name).or_insert(kind), kind, "{}", sample.name);
        }
        let histogram = std::mem::discriminant(&Value::Histogram(&snapshot.metrics.move_duration));
        for (name, has_type) in [
            ("redis.client.maintenance.move.duration", false),
            ("redis.client.connection.drain.duration", false),
            ("redis.client.maintenance.notification.duration", true),
        ] {
            assert_eq!(kinds[name], (histogram, has_type), "the documentation of `MetricsHook` records it");
        }
    }

    #[test]
    fn the_sum_of_two_clients() {
        let mut snapshot = MetricsSnapshot::default();
        let mut metrics = Metrics::default();
        metrics.handoffs_tried = 2;
        let stats = Stats { requests: 3, abandoned: 2, ..Stats::default() };
        let failures = HookFailures { panics: 1, timeouts: 0 };
        snapshot.add(&metrics, failures, &stats);
        snapshot.add(&metrics, failures, &Stats::default());
        let shown: Vec<String> = snapshot.samples().iter().map(ToString::to_string).collect();
        for line in [
            "redis.client.connection.handoff.tried 4",
            "redis.client.request.active 3",
            "redis.client.request.abandoned 2",
            "redis.client.hook.errors{type=\"panic\"} 2",
            "redis.client.maintenance.move.duration count=0 sum=0.000000",
        ] {
            assert!(shown.iter().any(|shown| shown == line), "{line}: {shown:#?}");
        }
    }
}
