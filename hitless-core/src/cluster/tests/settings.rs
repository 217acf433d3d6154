use super::*;
use crate::config::ConfigError;
use crate::level::Level;
use crate::notification::Seq;

fn refused(builder: SettingsBuilder) -> Option<&'static str> {
    match builder.build() {
        Err(ConfigError::OutOfRange { setting, .. }) => Some(setting),
        _ => None,
    }
}

/// RULE-343
#[test]
fn a_setting_outside_of_its_range_is_named() {
    let builder = Settings::builder;
    let day = 24 * 3600 * SECOND;
    for (built, setting) in [
        (builder().refresh_interval(LEAST_PAUSE - MILLI), Some("refresh_interval")),
        (builder().refresh_interval(LEAST_PAUSE), None),
        (builder().refresh_interval(day + SECOND), Some("refresh_interval")),
        (builder().min_refresh_interval(9 * MILLI), Some("min_refresh_interval")),
        (builder().min_refresh_interval(10 * MILLI), None),
        (builder().min_refresh_interval(61 * SECOND), Some("min_refresh_interval")),
        (builder().query_timeout(Duration::ZERO), Some("query_timeout")),
        (builder().node_grace(3601 * SECOND), Some("node_grace")),
        (builder().node_grace(9 * MILLI), Some("node_grace")),
        (builder().node_grace(10 * MILLI), None),
        (builder().max_redirects(0), Some("max_redirects")),
        (builder().max_redirects(1), None),
        (builder().open_replicas(true).encrypted(true), None),
    ] {
        assert_eq!(refused(built.clone()), setting, "{built:?}");
    }
    let error = builder().max_redirects(0).build().unwrap_err().to_string();
    assert_eq!(error, "max_redirects is 0, but must be at least 1");
}

#[test]
fn what_is_set_is_obeyed() {
    let settings = Settings::builder()
        .refresh_interval(10 * SECOND)
        .min_refresh_interval(SECOND)
        .query_timeout(3 * SECOND)
        .node_grace(SECOND)
        .max_redirects(2);
    let mut world = World::started(settings.build().unwrap(), &three_shards());
    let pause = world.until_asked();
    assert!(pause >= 7 * SECOND && pause <= 13 * SECOND);
    world.asked.clear();
    assert_eq!(world.until_asked(), 3 * SECOND);
    world.answer(&slots(&[(0, 16_383, &[A])]));
    world.pass(SECOND);
    assert_eq!(world.open.len(), 1);
    let mut sent = world.sent(7);
    for _ in 0..2 {
        sent.trail = waits(world.refuse(&sent, "ASK 7 10.0.0.2:7000")).1;
    }
    assert_eq!(world.refuse(&sent, "ASK 7 10.0.0.2:7000"), Next::ReturnToCaller);
}

#[test]
fn each_event_has_a_name_a_level_and_a_line() {
    let node = NodeId::from_parts(2, 0);
    let there = || endpoint("10.0.0.1:7000");
    let moved = |slots, cause| ClusterEvent::SlotsMoved { to: node, endpoint: there(), slots, cause };
    for (event, name, level, line) in [
        (
            ClusterEvent::NodeAdded { node, endpoint: there() },
            "node.added",
            Level::Info,
            "n2.0 at 10.0.0.1:7000 is known from now on",
        ),
        (
            ClusterEvent::NodeRemoved { node, endpoint: there() },
            "node.removed",
            Level::Info,
            "nothing leads to n2.0 at 10.0.0.1:7000 any more",
        ),
        (
            ClusterEvent::NodeMoved { node, endpoint: there() },
            "node.moved",
            Level::Info,
            "n2.0 is at 10.0.0.1:7000 now",
        ),
        (
            ClusterEvent::NodeLost { node, endpoint: there() },
            "node.lost",
            Level::Warn,
            "n2.0 at 10.0.0.1:7000 has no connection any more",
        ),
        (
            ClusterEvent::NodeRecovered { node, endpoint: there() },
            "node.recovered",
            Level::Info,
            "n2.0 at 10.0.0.1:7000 has a connection again",
        ),
        (
            ClusterEvent::TopologyRead { node, changed: 1, uncovered: 0 },
            "topology.read",
            Level::Info,
            "by the topology of n2.0, 1 slot has another owner",
        ),
        (
            ClusterEvent::TopologyRead { node, changed: 16_384, uncovered: 2 },
            "topology.read",
            Level::Warn,
            "by the topology of n2.0, 16384 slots have another owner, and 2 slots are served by nobody",
        ),
        (
            moved(1, SlotsMoveCause::Redirect),
            "slots.moved",
            Level::Debug,
            "1 slot has gone to n2.0 at 10.0.0.1:7000 (MOVED)",
        ),
        (
            moved(9, SlotsMoveCause::Promotion),
            "slots.moved",
            Level::Info,
            "9 slots have gone to n2.0 at 10.0.0.1:7000 (MOVED to a replica, which is the primary now)",
        ),
        (
            moved(9, SlotsMoveCause::Announced(Seq(7))),
            "slots.moved",
            Level::Info,
            "9 slots have gone to n2.0 at 10.0.0.1:7000 (SMIGRATED 7)",
        ),
        (
            ClusterEvent::RefreshFailed { node, endpoint: there(), error: TopologyError::Unanswered },
            "topology.failed",
            Level::Warn,
            "n2.0 at 10.0.0.1:7000 gave no topology: there was no answer",
        ),
        (
            ClusterEvent::ReadonlyRefused { node, endpoint: there() },
            "readonly.refused",
            Level::Warn,
            "n2.0 at 10.0.0.1:7000 refuses READONLY, and is not read from while it is a replica",
        ),
        (
            ClusterEvent::SeedsReopened { seeds: 1 },
            "seeds.reopened",
            Level::Warn,
            "no known node can be asked for the topology; 1 of the seeds is opened again",
        ),
        (
            ClusterEvent::SeedsReopened { seeds: 2 },
            "seeds.reopened",
            Level::Warn,
            "no known node can be asked for the topology; 2 of the seeds are opened again",
        ),
    ] {
        assert_eq!((event.name(), event.level(), event.to_string().as_str()), (name, level, line));
    }
}
