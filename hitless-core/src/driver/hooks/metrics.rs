//! Figures of one client or several, for an exporter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{HookContext, HookResult, NotificationHook, Observed};
use crate::notification::Notification;
use crate::observe::{Handling, MetricsSnapshot};

/// Counts, durations and gauges of every client that it is added to, summed up.
///
/// Counters come from the client's events. Gauges come from its state at the moment of the
/// [`snapshot`](Self::snapshot), so that they return to zero by themselves. A clone is another handle to the same
/// figures: add one, keep one.
///
/// ```
/// use hitless_core::driver::MetricsHook;
///
/// let metrics = MetricsHook::new();
/// // client.add_hook(metrics.clone());
/// for sample in metrics.snapshot().samples() {
///     println!("{sample}");
/// }
/// ```
///
/// # Export to OpenTelemetry
/// Every figure has its name, [`MetricsSnapshot::samples`] lists them, and the names follow OpenTelemetry's conventions. Counters and
/// gauges have no unit and are read when the exporter asks; the figures of all clients that the hook was added to are one sum.
///
/// ```
/// # mod opentelemetry { // What is used here of the crate.
/// #     pub struct KeyValue;
/// #     impl KeyValue { pub fn new(_: &'static str, _: &'static str) -> Self { Self } }
/// #     pub mod metrics {
/// #         pub struct Meter;
/// #         impl Meter {
/// #             pub fn u64_observable_counter(&self, _: &'static str) -> Builder { Builder }
/// #             pub fn u64_observable_gauge(&self, _: &'static str) -> Builder { Builder }
/// #         }
/// #         pub struct Builder;
/// #         impl Builder {
/// #             pub fn with_callback<F: Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static>(self, f: F) -> Self {
/// #                 f(&Printed);
/// #                 self
/// #             }
/// #             pub fn build(self) {}
/// #         }
/// #         pub trait AsyncInstrument<T> { fn observe(&self, measurement: T, attributes: &[super::KeyValue]); }
/// #         struct Printed;
/// #         impl AsyncInstrument<u64> for Printed {
/// #             fn observe(&self, measurement: u64, attributes: &[super::KeyValue]) {
/// #                 println!("{measurement} {}", attributes.len());
/// #             }
/// #         }
/// #     }
/// # }
/// use std::collections::BTreeSet;
///
/// use hitless_core::driver::MetricsHook;
/// use hitless_core::observe::Value;
/// use opentelemetry::KeyValue;
/// use opentelemetry::metrics::{AsyncInstrument, Meter};
///
/// /// Once, at the start: `export(&opentelemetry::global::meter("hitless"), &metrics)`.
/// fn export(meter: &Meter, metrics: &MetricsHook) {
///     let mut names = BTreeSet::new();
///     for sample in metrics.snapshot().samples() {
///         if !names.insert(sample.name) {
///             continue; // one instrument for all values of its attribute
///         }
///         let (name, metrics) = (sample.name, metrics.clone());
///         let observe = move |instrument: &dyn AsyncInstrument<u64>| {
///             for sample in metrics.snapshot().samples().iter().filter(|sample| sample.name == name) {
///                 let of_type = sample.of_type.map(|of_type| KeyValue::new("type", of_type));
///                 if let Value::Counter(figure) | Value::Gauge(figure) = sample.value {
///                     instrument.observe(figure, of_type.as_slice());
///                 }
///             }
///         };
///         match sample.value {
///             Value::Counter(_) => drop(meter.u64_observable_counter(name).with_callback(observe).build()),
///             Value::Gauge(_) => drop(meter.u64_observable_gauge(name).with_callback(observe).build()),
///             _ => {} // durations, below
///         }
///     }
/// }
/// # export(&opentelemetry::metrics::Meter, &MetricsHook::new());
/// ```
///
/// OpenTelemetry has no histograms that it reads: durations are recorded as they come, in seconds, under the names that
/// [`samples`](MetricsSnapshot::samples) has for them. Those of moves and drains come with the events, those of notifications to a hook.
///
/// ```
/// # mod opentelemetry {
/// #     pub struct KeyValue;
/// #     impl KeyValue { pub fn new(_: &'static str, _: &'static str) -> Self { Self } }
/// #     pub mod metrics {
/// #         pub struct Meter;
/// #         impl Meter { pub fn f64_histogram(&self, _: &'static str) -> Builder { Builder } }
/// #         pub struct Builder;
/// #         impl Builder {
/// #             pub fn with_unit(self, _: &'static str) -> Self { self }
/// #             pub fn build(self) -> Histogram<f64> { Histogram(0.0) }
/// #         }
/// #         pub struct Histogram<T>(T);
/// #         impl Histogram<f64> { pub fn record(&self, _: f64, _: &[super::KeyValue]) {} }
/// #     }
/// # }
/// use hitless_core::driver::{Events, HookContext, HookResult, NotificationHook};
/// use hitless_core::event::Event;
/// use hitless_core::notification::Notification;
/// use opentelemetry::KeyValue;
/// use opentelemetry::metrics::{Histogram, Meter};
///
/// /// A task of its own, with `builder.events()`.
/// async fn record(meter: Meter, mut events: Events) {
///     let moves = meter.f64_histogram("redis.client.maintenance.move.duration").with_unit("s").build();
///     let drains = meter.f64_histogram("redis.client.connection.drain.duration").with_unit("s").build();
///     while let Some(event) = events.next().await {
///         match event {
///             Ok(Event::MoveFinished { took, .. }) => moves.record(took.as_secs_f64(), &[]),
///             Ok(Event::Drained { took, .. }) => drains.record(took.as_secs_f64(), &[]),
///             _ => {}
///         }
///     }
/// }
///
/// /// With the instrument `redis.client.maintenance.notification.duration`.
/// struct Handling(Histogram<f64>);
///
/// impl NotificationHook for Handling {
///     async fn post_hook(&self, _: &HookContext, notification: &Notification, result: &HookResult) {
///         let kind = KeyValue::new("type", notification.kind().as_str());
///         self.0.record(result.took.as_secs_f64(), &[kind]);
///     }
/// }
/// ```
///
/// A Prometheus exporter reads the histograms as they are: [`Histogram::buckets`](crate::observe::Histogram::buckets).
#[derive(Clone, Debug, Default)]
pub struct MetricsHook {
    figures: Arc<Mutex<Figures>>,
}

#[derive(Debug, Default)]
struct Figures {
    clients: Vec<Observed>,
    /// The counters of clients that are gone.
    past: MetricsSnapshot,
    handling: Handling,
}

impl MetricsHook {
    /// A hook that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The figures at this moment. Counters start when each client starts; the durations of hooks and notifications start
    /// when the hook is added.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let figures = self.lock();
        let clients = figures.clients.clone();
        let mut snapshot = figures.past.clone();
        snapshot.handling = figures.handling.clone();
        drop(figures);
        for client in clients {
            snapshot.add(&client.metrics(), client.hook_failures(), &client.stats());
        }
        snapshot
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotificationHook for MetricsHook {
    async fn post_hook(&self, _: &HookContext, notification: &Notification, result: &HookResult) {
        self.lock().handling.record(notification.kind(), result.took);
    }

    fn attached(&self, client: Observed) {
        let mut figures = self.lock();
        let Figures { clients, past, .. } = &mut *figures;
        // Clients that are gone count no further: their sum is enough.
        clients.retain(|known| {
            let is_gone = known.is_gone();
            if is_gone {
                past.add(&known.metrics(), known.hook_failures(), &Default::default());
            }
            !is_gone
        });
        if !clients.iter().any(|known| known.is_same(&client)) {
            clients.push(client);
        }
    }
}
