use resp3_codec::{Limits, cmd};

use super::*;
use crate::breaker::BreakerConfig;
use crate::endpoint_type::EndpointPreference;
use crate::event::Level;

fn builder() -> ConfigBuilder {
    Config::builder(Endpoint::parse("localhost", 6379).unwrap())
}

/// The formulas of the original documentation: unset is not zero. RULE-94, RULE-95
#[test]
fn workers_and_queue_follow_the_documented_formulas() {
    let capacity = |pool: u32, dedicated: u32, workers: Option<u32>, queue: Option<u32>| {
        let mut maintenance = maintenance::Config::builder();
        if let Some(workers) = workers {
            maintenance = maintenance.max_workers(workers);
        }
        if let Some(queue) = queue {
            maintenance = maintenance.handoff_queue_size(queue);
        }
        let builder = builder().pool_size(pool).max_dedicated(dedicated);
        let config = builder.maintenance(maintenance.build().unwrap()).build().unwrap();
        (config.handoff_capacity().workers(), config.handoff_capacity().queue())
    };
    assert_eq!(capacity(10, 100, None, None), (3, 30));
    assert_eq!(capacity(10, 1, None, None), (3, 11));
    assert_eq!(capacity(1, 1, None, None), (1, 2));
    assert_eq!(capacity(2, 1, None, None), (1, 3));
    assert_eq!(capacity(100, 100, None, None), (10, 100));
    assert_eq!(capacity(1000, 100, None, None), (10, 100));
    assert_eq!(capacity(1000, 100, Some(5), None), (10, 100));
    assert_eq!(capacity(1000, 100, Some(15), None), (15, 150));
    assert_eq!(capacity(1000, 100, Some(15), Some(7)), (15, 7));
    assert_eq!(capacity(3, 2, Some(15), Some(7)), (15, 5));
}

/// RULE-99
#[test]
fn settings_out_of_range_are_named() {
    let text = |result: Result<maintenance::Config, ConfigError>| result.unwrap_err().to_string();
    assert!(
        text(maintenance::Config::builder().max_handoff_retries(0).build()).contains("max_handoff_retries")
    );
    assert!(text(maintenance::Config::builder().max_handoff_retries(11).build()).contains("1 to 10"));
    assert!(
        text(maintenance::Config::builder().relaxed_timeout(Duration::ZERO).build())
            .contains("relaxed_timeout")
    );
    assert!(
        text(maintenance::Config::builder().handoff_timeout(Duration::ZERO).build())
            .contains("handoff_timeout")
    );
    assert!(text(maintenance::Config::builder().max_workers(0).build()).contains("max_workers"));
    for size in [0, 10_001, u32::MAX] {
        let text = builder().pool_size(size).build().unwrap_err().to_string();
        assert!(text.starts_with(&format!("pool_size is {size}, but must be from 1 to 10000")), "{text}");
    }
    assert!(builder().pool_size(10_000).build().is_ok());
    for limit in [0, 10_001] {
        let text = builder().max_dedicated(limit).build().unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("max_dedicated is {limit}, but must be from 1 to 10000")),
            "{text}"
        );
    }
    assert!(builder().lease_timeout(Some(Duration::ZERO)).build().is_err());
    let text = builder().parked_requests(0).build().unwrap_err().to_string();
    assert!(text.contains("parked_requests") && text.contains("`when_disconnected`"), "{text}");
    assert!(builder().command_timeout(Some(Duration::ZERO)).build().is_err());
    assert_eq!(builder().client_name("two words").build().unwrap_err(), ConfigError::ClientName);
}

/// `enabled` cannot be combined with RESP2. INV-17, RULE-10
#[test]
fn enabled_over_resp2_is_a_construction_error() {
    let enabled = maintenance::Config::builder().mode(Mode::Enabled).build().unwrap();
    let result = builder().protocol(Protocol::Resp2).maintenance(enabled).build();
    assert_eq!(result.unwrap_err(), ConfigError::EnabledNeedsResp3);
}

#[test]
fn debug_output_shows_no_password() {
    let config = builder().credentials(Some("ann"), "sesame").build().unwrap();
    assert!(!format!("{config:?}").contains("sesame"));
}

/// RULE-98
#[test]
fn the_defaults_are_the_documented_ones() {
    let seconds = Duration::from_secs;
    let config = builder().build().unwrap();
    assert_eq!((config.pool_size(), config.max_dedicated()), (10, 100));
    assert_eq!(config.lease_timeout(), config.connect_timeout());
    assert_eq!((config.connect_timeout(), config.command_timeout()), (Some(seconds(5)), Some(seconds(3))));
    assert_eq!((config.parked_requests(), config.event_capacity()), (10_000, 1_024));
    assert_eq!(config.subscription_capacity(), 1_024);
    assert!(builder().subscription_capacity(0).build().is_err());
    assert_eq!(config.reply_limits(), Limits::default());
    assert_eq!(config.when_disconnected(), WhenDisconnected::Wait);
    assert_eq!(config.start_timeout(), Some(seconds(10)));
    let maintenance = config.maintenance();
    assert_eq!((maintenance.mode(), maintenance.endpoint_type()), (Mode::Auto, EndpointPreference::Auto));
    assert_eq!((maintenance.max_handoff_retries(), maintenance.handoff_timeout()), (3, seconds(15)));
    assert_eq!(maintenance.relaxed_timeout(), seconds(10));
    assert_eq!(maintenance.post_handoff_relaxed_duration(), seconds(20));
    assert_eq!(maintenance.log_level(), Level::Warn);
    let BreakerConfig { failures, open_for, half_open } = maintenance.circuit_breaker();
    assert_eq!((failures, open_for, half_open), (5, seconds(60), 3));

    let longer = maintenance::Config::builder().relaxed_timeout(seconds(30)).build().unwrap();
    assert_eq!(longer.post_handoff_relaxed_duration(), seconds(60));
}

#[test]
fn the_default_is_what_the_builder_builds() {
    assert_eq!(maintenance::Config::default(), maintenance::Config::builder().build().unwrap());
}

/// What a connection cannot run before it serves is named when the client is built. RULE-07
#[test]
fn setup_commands_leave_the_connection_usable() {
    let endpoint = || Endpoint::parse("127.0.0.1", 6379).unwrap();
    let build =
        |command| Config::builder(endpoint()).setup(command).build().map(|config| config.setup().len());
    for fit in [cmd("READONLY"), cmd("client").arg("tracking").arg("on"), cmd("SET").arg("k").arg("v")] {
        assert_eq!(build(fit), Ok(1));
    }
    for unfit in [
        cmd("select").arg(1),
        cmd("MULTI"),
        cmd("SUBSCRIBE").arg("c"),
        cmd("BLPOP").arg("k").arg(0),
        cmd("HELLO"),
    ] {
        let error = build(unfit).unwrap_err();
        assert!(matches!(error, ConfigError::Setup { .. }), "{error}");
        assert!(error.to_string().contains(": "), "{error}");
    }
}

/// RULE-184
#[test]
fn names_of_tls_are_names() {
    for name in ["", "a b", "rediss://h", "*.example.com", "h/0", "h\n"] {
        let text = builder().server_name(name).build().unwrap_err().to_string();
        assert!(text.starts_with("server_name") && text.contains("redis.example.com"), "{name:?}: {text}");
        let text = builder().target_domain(name).build().unwrap_err().to_string();
        assert!(text.starts_with("target_domain"), "{name:?}: {text}");
    }
    let config = builder().server_name("redis.example.com.").target_domain(".example.org").build().unwrap();
    assert_eq!(config.server_name().map(|name| &**name), Some("redis.example.com"));
    assert_eq!(&*config.target_domains()[0], "example.org");
    assert!(builder().server_name("::1").build().is_ok() && builder().server_name("a_b").build().is_ok());
    let unix = || Config::builder(Endpoint::unix("/run/redis.sock")).encrypted_by_connector();
    assert!(unix().build().unwrap_err().to_string().contains("server_name"));
    assert!(unix().server_name("redis.example.com").build().is_ok());
}

/// Who sets something finds its default beside it, wherever settings are made. RULE-98
#[test]
fn the_documentation_of_each_setting_says_its_default() {
    let builders = [
        (include_str!("mod.rs"), 10),
        (include_str!("maintenance.rs"), 10),
        (include_str!("../driver/settings.rs"), 25),
        (include_str!("../driver/builder.rs"), 1),
        (include_str!("../driver/cluster/builder.rs"), 3),
    ];
    for (builder, least) in builders {
        let mut told = String::new();
        let mut settings = 0;
        for line in builder.lines().map(str::trim) {
            if let Some(sentence) = line.strip_prefix("///") {
                told.push_str(sentence);
            } else if let Some(setting) = line.strip_prefix("pub fn ") {
                let is_setting = setting.contains("(self,") || setting.contains("(mut self,");
                assert!(!is_setting || told.contains("Default: "), "{setting}{told}");
                settings += usize::from(is_setting);
                told.clear();
            } else if !line.starts_with("#[") {
                told.clear();
            }
        }
        assert!(settings > least, "{settings}");
    }
}

/// What the system would refuse at each dial, or take for something else, is an error at once. RULE-237
#[test]
fn options_of_tcp_are_checked() {
    type Change = fn(ConfigBuilder) -> ConfigBuilder;
    let build = |change: Change| change(ConfigBuilder::from_url("redis://h").unwrap()).build();
    let seconds = Duration::from_secs;
    let set = build(|it| {
        let it = it.tcp_keepalive(Some(Duration::from_secs(60))).tcp_keepalive_retries(5);
        it.tcp_keepalive_interval(Duration::from_secs(3)).tcp_user_timeout(None)
    });
    let options = set.unwrap().tcp_options();
    assert_eq!((options.keepalive, options.keepalive_interval), (Some(seconds(60)), seconds(3)));
    assert_eq!((options.keepalive_retries, options.user_timeout), (5, None));
    assert_eq!(build(|it| it).unwrap().tcp_options(), TcpOptions::default());
    let rows: [(&str, Change); 10] = [
        ("tcp_keepalive is 500ms", |it| it.tcp_keepalive(Some(Duration::from_millis(500)))),
        ("tcp_keepalive is 40000s", |it| it.tcp_keepalive(Some(Duration::from_secs(40_000)))),
        ("tcp_keepalive is 1.5s", |it| it.tcp_keepalive(Some(Duration::from_millis(1_500)))),
        ("tcp_keepalive is 1.000000001s", |it| it.tcp_keepalive(Some(Duration::new(1, 1)))),
        ("tcp_keepalive_interval is 2.5s", |it| it.tcp_keepalive_interval(Duration::from_millis(2_500))),
        ("tcp_user_timeout is 1.5ms", |it| it.tcp_user_timeout(Some(Duration::from_micros(1_500)))),
        ("tcp_keepalive_interval is 0s", |it| it.tcp_keepalive_interval(Duration::ZERO)),
        ("tcp_keepalive_retries is 0", |it| it.tcp_keepalive_retries(0)),
        ("tcp_keepalive_retries is 128", |it| it.tcp_keepalive_retries(128)),
        ("tcp_user_timeout is 0s", |it| it.tcp_user_timeout(Some(Duration::ZERO))),
    ];
    for (text, change) in rows {
        let error = build(change).unwrap_err().to_string();
        assert!(error.starts_with(text) && error.contains("must be from 1"), "{error}");
    }
}
