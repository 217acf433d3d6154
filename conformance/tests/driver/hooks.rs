//! Hooks, and what is built from them.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use hitless_conformance::server::{CloseHow, OptIn};
use hitless_core::driver::{
    Events, HookContext, HookFailures, HookResult, LogLine, LoggingHook, MetricsHook, NotificationHook,
};
use hitless_core::event::{Ignored, Level};
use hitless_core::notification::{MoveTarget, Notification, NotificationKind};
use hitless_core::observe::Value;
use hitless_core::review::{Handled, Unreviewed, Verdict};

use super::*;

const MIGRATING: &[u8] = b">3\r\n$9\r\nMIGRATING\r\n:1\r\n:5\r\n";
const MOVING: &[u8] = b">4\r\n$6\r\nMOVING\r\n:2\r\n:15\r\n$11\r\n127.0.0.1:2\r\n";
const SHORT_MOVING: &[u8] = b">4\r\n$6\r\nMOVING\r\n:2\r\n:2\r\n$11\r\n127.0.0.1:2\r\n";

type Log = Arc<Mutex<Vec<String>>>;

/// A client of `pool` connections that asks for notifications.
fn opted_in(
    pool: u32,
    configure: impl FnOnce(Builder<Executor, Network>) -> Builder<Executor, Network>,
) -> Rig {
    let mut fixture = fixture();
    let maintenance = maintenance::Config::builder().log_level(Level::Debug).build().unwrap();
    let builder = builder(&fixture).maintenance(maintenance).pool_size(pool).client_name("shop");
    let client = fixture.block_on(configure(builder).connect()).unwrap();
    let events = client.events();
    Rig { fixture, client, events }
}

struct Rig {
    fixture: Fixture,
    client: Client<Executor>,
    events: Events,
}

impl Rig {
    fn say(&mut self, push: &[u8]) {
        self.fixture.say(push);
        self.fixture.run();
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_next()).map(Result::unwrap).collect()
    }

    fn names(&mut self) -> Vec<&'static str> {
        self.events().iter().map(Event::name).collect()
    }
}

/// Writes down what it is asked and told, and says what `opinion` says.
struct Recorder<F> {
    name: &'static str,
    log: Log,
    opinion: F,
}

impl<F: Fn(&Notification) -> Verdict + Send + Sync + 'static> NotificationHook for Recorder<F> {
    async fn pre_hook(&self, _: &HookContext, notification: &Notification) -> Verdict {
        self.log.lock().unwrap().push(format!("{} before {}", self.name, notification.kind()));
        (self.opinion)(notification)
    }

    async fn post_hook(&self, _: &HookContext, notification: &Notification, result: &HookResult) {
        let line = format!("{} after {}: {:?}", self.name, notification.kind(), result.handled);
        self.log.lock().unwrap().push(line);
    }
}

fn recorder(name: &'static str, log: &Log, opinion: fn(&Notification) -> Verdict) -> impl NotificationHook {
    Recorder { name, log: Arc::clone(log), opinion }
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// RULE-107
#[test]
fn hooks_are_called_in_their_order_for_every_notification() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    rig.client.add_hook(recorder("a", &log, |_| Verdict::Continue));
    rig.client.add_hook(recorder("b", &log, |_| Verdict::Continue));
    rig.say(MIGRATING);
    let applied = ["a before MIGRATING", "b before MIGRATING", "a after MIGRATING: Applied"];
    assert_eq!(take(&log)[..3], applied);
    rig.say(MIGRATING);
    let repeated = take(&log);
    assert_eq!(repeated.len(), 4);
    assert_eq!(repeated[3], "b after MIGRATING: Ignored(Duplicate)");
}

struct ContextHook(Arc<Mutex<Option<HookContext>>>);

impl NotificationHook for ContextHook {
    async fn pre_hook(&self, context: &HookContext, _: &Notification) -> Verdict {
        *self.0.lock().unwrap() = Some(context.clone());
        Verdict::Continue
    }
}

/// RULE-111
#[test]
fn a_hook_sees_where_the_notification_came_from() {
    let mut rig = opted_in(1, |builder| builder);
    let seen = Arc::default();
    rig.client.add_hook(ContextHook(Arc::clone(&seen)));
    rig.say(MIGRATING);
    let context = seen.lock().unwrap().take().unwrap();
    assert_eq!((context.client_name.as_deref(), context.client_id), (Some("shop"), Some(1)));
    assert_eq!((context.pool_size, context.is_blocking), (1, false));
    assert_eq!(context.peer.map(|peer| peer.to_string()).as_deref(), Some("127.0.0.1:6379"));
    let push = [Frame::bulk("MIGRATING"), Frame::Integer(1), Frame::Integer(5)];
    assert_eq!(context.frame, Frame::Push(push.to_vec()));
}

/// RULE-109, RULE-113
#[test]
fn a_veto_takes_the_window_back_and_all_see_it() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    rig.client.add_hook(recorder("a", &log, |_| Verdict::Veto));
    rig.client.add_hook(recorder("b", &log, |_| Verdict::Continue));
    rig.say(MOVING);
    assert_eq!(take(&log), ["a before MOVING", "a after MOVING: Vetoed", "b after MOVING: Vetoed"]);
    let expected = ["notification.received", "window.opened", "window.closed", "notification.vetoed"];
    assert_eq!(rig.names(), expected);
    assert_eq!(rig.client.stats().coordinator.windows, 0);
}

/// RULE-108
#[test]
fn a_replaced_target_is_where_the_move_leads() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    rig.client.add_hook(recorder("a", &log, |notification| match notification {
        Notification::Moving { seq, grace, .. } => Verdict::Replace(Notification::Moving {
            seq: *seq,
            grace: *grace,
            target: MoveTarget::Endpoint(hitless_core::endpoint::Endpoint::parse("127.0.0.1", 3).unwrap()),
        }),
        _ => Verdict::Continue,
    }));
    rig.client.add_hook(recorder("b", &log, |notification| match notification {
        Notification::Moving { target, .. } if target.to_string() == "127.0.0.1:3" => Verdict::Continue,
        other => panic!("the hook behind sees what the one before has made of it: {other:?}"),
    }));
    rig.say(MOVING);
    rig.fixture.pass(SECOND);
    let events = rig.events();
    let ready = events.iter().filter_map(|event| match event {
        Event::ConnectionReady { peer, .. } => Some(peer.to_string()),
        _ => None,
    });
    assert_eq!(ready.collect::<Vec<_>>(), ["127.0.0.1:3"]);
    assert_eq!(rig.client.hook_failures(), HookFailures::default());
}

/// Never comes to a decision.
struct Hanging {
    before: bool,
}

impl NotificationHook for Hanging {
    async fn pre_hook(&self, _: &HookContext, _: &Notification) -> Verdict {
        if self.before {
            std::future::pending::<()>().await;
        }
        Verdict::Continue
    }

    async fn post_hook(&self, _: &HookContext, _: &Notification, _: &HookResult) {
        std::future::pending().await
    }
}

/// RULE-112, RULE-114
#[test]
fn a_hook_that_hangs_is_left_alone_after_a_second() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    rig.client.add_hook(Hanging { before: true });
    rig.client.add_hook(recorder("b", &log, |_| Verdict::Veto));
    rig.say(MOVING);
    rig.fixture.block_on(rig.client.call(cmd("PING"))).unwrap();
    rig.fixture.pass(SECOND - Duration::from_millis(1));
    assert_eq!(take(&log).len(), 0);
    assert_eq!(rig.client.stats().coordinator.windows, 1, "the window is open meanwhile");
    rig.fixture.pass(Duration::from_millis(2));
    assert_eq!(take(&log), ["b before MOVING"]);
    assert!(rig.names().contains(&"notification.vetoed"));
    rig.fixture.pass(SECOND);
    assert_eq!(take(&log), ["b after MOVING: Vetoed"]);
    assert_eq!(rig.client.hook_failures().timeouts, 2, "before and after");
}

struct Timed(Arc<Mutex<Vec<Duration>>>);

impl NotificationHook for Timed {
    async fn post_hook(&self, _: &HookContext, _: &Notification, result: &HookResult) {
        self.0.lock().unwrap().push(result.took);
    }
}

/// RULE-110
#[test]
fn a_hook_is_told_how_long_it_took() {
    let mut rig = opted_in(1, |builder| builder);
    let took = Arc::default();
    rig.client.add_hook(Timed(Arc::clone(&took)));
    rig.client.add_hook(Hanging { before: true });
    rig.say(MIGRATING);
    rig.fixture.pass(2 * SECOND);
    assert_eq!(*took.lock().unwrap(), [SECOND], "for which the other was waited for");
}

/// RULE-114
#[test]
fn a_short_move_does_not_wait_for_its_hooks() {
    let mut rig = opted_in(1, |builder| builder);
    rig.client.add_hook(Hanging { before: true });
    rig.say(SHORT_MOVING);
    rig.fixture.pass(SECOND / 2);
    let events = rig.events();
    let unreviewed =
        |event: &Event| matches!(event, Event::NotificationUnreviewed { reason: Unreviewed::TimedOut, .. });
    assert!(events.iter().any(unreviewed), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::CutOver { .. })), "{events:?}");
}

/// RULE-112
#[test]
fn a_slow_hook_delays_its_own_notification_only() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    struct SlowMoves;
    impl NotificationHook for SlowMoves {
        async fn pre_hook(&self, _: &HookContext, notification: &Notification) -> Verdict {
            if notification.kind() == NotificationKind::Moving {
                std::future::pending::<()>().await;
            }
            Verdict::Continue
        }
    }
    rig.client.add_hook(SlowMoves);
    rig.client.add_hook(recorder("b", &log, |_| Verdict::Continue));
    rig.say(MOVING);
    rig.say(MIGRATING);
    assert_eq!(take(&log), ["b before MIGRATING", "b after MIGRATING: Applied"]);
}

/// Panics wherever it can.
struct Panicking;

impl NotificationHook for Panicking {
    async fn pre_hook(&self, _: &HookContext, _: &Notification) -> Verdict {
        panic!("before, on purpose")
    }

    async fn post_hook(&self, _: &HookContext, _: &Notification, _: &HookResult) {
        panic!("after, on purpose")
    }

    fn on_event(&self, _: Instant, event: &Event) {
        assert!(!matches!(event, Event::NotificationReceived { .. }), "on purpose");
    }
}

/// RULE-115
#[test]
fn a_panic_is_caught_and_counted() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    rig.client.add_hook(Panicking);
    rig.client.add_hook(recorder("b", &log, |_| Verdict::Continue));
    rig.say(MIGRATING);
    assert_eq!(rig.client.hook_failures().panics, 3);
    assert_eq!(take(&log), ["b before MIGRATING", "b after MIGRATING: Applied"]);
    rig.fixture.block_on(rig.client.call(cmd("PING"))).unwrap();
}

/// Adds another hook, once.
struct Adding {
    client: Mutex<Option<Client<Executor>>>,
    log: Log,
}

impl NotificationHook for Adding {
    async fn pre_hook(&self, _: &HookContext, _: &Notification) -> Verdict {
        if let Some(client) = self.client.lock().unwrap().take() {
            client.add_hook(recorder("added", &self.log, |_| Verdict::Continue));
        }
        Verdict::Continue
    }
}

/// RULE-116
#[test]
fn a_hook_may_add_a_hook() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    rig.client.add_hook(Adding { client: Mutex::new(Some(rig.client.clone())), log: Arc::clone(&log) });
    rig.say(MIGRATING);
    assert_eq!(rig.client.hook_failures(), HookFailures::default());
    take(&log);
    rig.say(b">2\r\n$8\r\nMIGRATED\r\n:1\r\n");
    assert_eq!(take(&log), ["added before MIGRATED", "added after MIGRATED: Applied"]);
}

#[test]
fn a_hook_that_was_removed_is_not_called() {
    let mut rig = opted_in(1, |builder| builder);
    let log = Log::default();
    let hook = rig.client.add_hook(recorder("a", &log, |_| Verdict::Veto));
    assert!(rig.client.remove_hook(hook));
    assert!(!rig.client.remove_hook(hook));
    rig.say(MOVING);
    assert!(rig.names().contains(&"move.started"));
    assert_eq!(take(&log).len(), 0);
}

/// Hooks that hang do not hold up the end. INV-15
#[test]
fn shutting_down_waits_for_no_hook() {
    let mut rig = opted_in(2, |builder| builder);
    for before in [true, false] {
        rig.client.add_hook(Hanging { before });
    }
    rig.say(MIGRATING);
    let before = rig.fixture.now();
    rig.fixture.block_on(rig.client.shutdown(SECOND));
    assert_eq!(rig.fixture.now(), before);
    assert_nothing_is_left(&rig.fixture);
    // Nothing is there to serve it any more.
    rig.client.add_hook(Panicking);
    rig.fixture.run();
    assert_nothing_is_left(&rig.fixture);
}

#[derive(Clone, Default)]
struct Everything {
    calls: Log,
    events: Arc<Mutex<Vec<Event>>>,
}

impl NotificationHook for Everything {
    async fn pre_hook(&self, _: &HookContext, notification: &Notification) -> Verdict {
        self.calls.lock().unwrap().push(format!("{notification:?}"));
        Verdict::Veto
    }

    fn on_event(&self, _: Instant, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }
}

/// A handshake is no business of the hooks', and a server without notifications is worth one debug line. PITFALL-22, RULE-08
#[test]
fn the_handshake_is_invisible_to_hooks() {
    let mut fixture = fixture();
    fixture.with_endpoints(|server, _, endpoint| server.set_opt_in(endpoint, OptIn::UnknownSubcommand));
    let (hook, lines) = (Everything::default(), Arc::<Mutex<Vec<LogLine>>>::default());
    let sink = Arc::clone(&lines);
    let log = LoggingHook::new(move |line| sink.lock().unwrap().push(line)).level(Level::Debug);
    let settings = maintenance::Config::default();
    let opening = builder(&fixture).maintenance(settings).pool_size(5).hook(hook.clone()).hook(log);
    let client = fixture.block_on(opening.connect()).unwrap();
    fixture.run();
    assert_eq!(take(&hook.calls), Vec::<String>::new());
    let events = hook.events.lock().unwrap();
    let ready = events.iter().filter(|event| matches!(event, Event::ConnectionReady { .. })).count();
    assert_eq!((ready, events.len()), (5, 6), "{events:?}");
    let about = |line: &&LogLine| line.name == "negotiation.refused";
    let lines = lines.lock().unwrap();
    assert_eq!(lines.iter().filter(about).map(|line| line.level).collect::<Vec<_>>(), [Level::Debug]);
    assert!(lines.iter().all(|line| line.level == Level::Debug), "{lines:?}");
    assert_eq!(client.hook_failures(), HookFailures::default());
}

/// Counters come from the events, gauges from the live state, and they return to zero. PITFALL-24, RULE-117
#[test]
fn figures_are_derived_and_gauges_return_to_zero() {
    let metrics = MetricsHook::new();
    let mut rig = opted_in(3, |builder| builder.hook(metrics.clone()));
    rig.fixture.swallow_dials();
    rig.say(MOVING);
    let during = metrics.snapshot();
    assert_eq!((during.handoffs_in_flight, during.moves, during.windows), (1, 1, 1));
    assert_eq!(during.metrics.handoffs_tried, 1, "the scout");
    assert_eq!(during.metrics.notifications(NotificationKind::Moving).received, 3);
    assert_eq!(during.metrics.notifications(NotificationKind::Moving).ignored, 2);
    assert_eq!(during.handling.of(NotificationKind::Moving).count(), 3, "each has its duration");

    rig.fixture.pass(6 * SECOND);
    rig.fixture.restore_dials();
    rig.fixture.pass(60 * SECOND);
    let after = metrics.snapshot();
    let done = &after.metrics;
    assert_eq!((done.handoffs_succeeded, after.connections), (3, 3));
    assert!(done.handoffs_failed > 0, "the scout's first dial");
    assert_eq!(done.handoffs_tried, done.handoffs_succeeded + done.handoffs_failed);
    assert_eq!((done.move_duration.count(), done.drain_duration.count()), (1, 3));
    assert_eq!((after.handoffs_in_flight, after.handoffs_queued), (0, 0));
    assert_eq!((after.moves, after.windows, after.connections_dialing), (0, 0, 0));

    let Rig { mut fixture, client, .. } = rig;
    fixture.block_on(client.shutdown(SECOND));
    let end = metrics.snapshot();
    for sample in end.samples() {
        assert!(!matches!(sample.value, Value::Gauge(1..)), "{sample}");
    }
    assert_eq!(end.metrics.handoffs_succeeded, 3, "what was counted stays");
    drop(client);
    assert_eq!(metrics.snapshot(), end);
}

/// A snapshot at any moment agrees with the events up to it. RULE-117
#[test]
fn figures_agree_with_the_events() {
    let metrics = MetricsHook::new();
    let mut rig = opted_in(4, |builder| builder.hook(metrics.clone()));
    let mut counted = metrics.snapshot().metrics;
    rig.fixture.refuse_dials();
    rig.say(MOVING);
    for _ in 0..40 {
        rig.fixture.pass(SECOND / 2);
        for event in rig.events() {
            counted.handle_event(&event);
        }
        assert_eq!(metrics.snapshot().metrics, counted);
    }
    assert!(counted.handoffs_failed > 0);
    assert_eq!(metrics.snapshot().handoffs_in_flight, 0);
}

/// RULE-118
#[test]
fn the_log_level_of_the_settings_decides_what_is_logged() {
    let lines = Arc::<Mutex<Vec<LogLine>>>::default();
    for (level, expected) in [
        (Level::Warn, vec![]),
        (Level::Info, vec!["notification.received", "window.opened", "notification.received"]),
    ] {
        let maintenance = maintenance::Config::builder().log_level(level).build().unwrap();
        let mut rig = opted_in(1, |builder| builder.maintenance(maintenance));
        let sink = Arc::clone(&lines);
        rig.client.add_hook(LoggingHook::new(move |line| sink.lock().unwrap().push(line)));
        rig.say(MIGRATING);
        rig.say(MIGRATING);
        let names: Vec<&str> = lines.lock().unwrap().drain(..).map(|line| line.name).collect();
        assert_eq!(names, expected);
    }
}

/// RULE-110
#[test]
fn the_outcome_of_a_review_is_what_the_machine_did() {
    let mut rig = opted_in(2, |builder| builder);
    let log = Log::default();
    rig.client.add_hook(recorder("a", &log, |_| Verdict::Continue));
    rig.say(MOVING);
    let mut outcomes: Vec<String> = take(&log).into_iter().filter(|line| line.contains("after")).collect();
    outcomes.sort();
    let expected = [
        format!("a after MOVING: {:?}", Handled::Applied),
        format!("a after MOVING: {:?}", Handled::Ignored(Ignored::Duplicate)),
    ];
    assert_eq!(outcomes, expected);
}

mod tracing_feature {
    use std::fmt::Write as _;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Metadata, Subscriber};

    use super::*;

    /// Writes down level, target and fields of each event.
    struct Collect(Log);

    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }

    impl Subscriber for Collect {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut fields = Fields(format!("{} {}", event.metadata().level(), event.metadata().target()));
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// RULE-441
    #[test]
    fn events_of_a_cluster_are_events_of_tracing() {
        let log = Log::default();
        let _second = tracing::Dispatch::new(Collect(Log::default()));
        tracing::subscriber::with_default(Collect(Arc::clone(&log)), || {
            let (mut fixture, nodes, _client) = cluster::cluster();
            fixture.with_server(|server, now| {
                server.refuse_dials(now, nodes[2], None);
                server.kill_all(now, nodes[2], CloseHow::Fin);
            });
            fixture.pass(SECOND);
        });
        let lines = take(&log);
        let is_told = |line: &&String| line.starts_with("WARN") && line.contains(" event=\"node.lost\"");
        assert_eq!(lines.iter().filter(is_told).count(), 1, "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("node.added")), "the level is that of warnings");
    }

    #[test]
    fn events_are_events_of_tracing_as_far_as_the_level_lets_them_through() {
        let log = Log::default();
        // While there is just one subscriber, `tracing` asks that of the thread which reaches an event first, also in another test,
        // and believes it for all threads.
        let _second = tracing::Dispatch::new(Collect(Log::default()));
        tracing::subscriber::with_default(Collect(Arc::clone(&log)), || {
            let info = maintenance::Config::builder().log_level(Level::Info).build().unwrap();
            let mut rig = opted_in(1, |builder| builder.maintenance(info));
            rig.say(MIGRATING);
            rig.say(MIGRATING);
        });
        let lines: Vec<String> = take(&log).into_iter().filter(|line| line.contains(" hitless ")).collect();
        assert_eq!(lines.len(), 3, "{lines:#?}");
        for (line, name) in
            lines.iter().zip(["notification.received", "window.opened", "notification.received"])
        {
            assert!(line.starts_with("INFO") && line.contains(&format!(" event={name:?}")), "{line}");
        }
    }
}
