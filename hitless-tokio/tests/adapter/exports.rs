//! Whatever a signature of the adapter names, the adapter exports: none of this compiles otherwise.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::task::{Context, Poll};

use crate::hitless::{
    Adapter, BreakerConfig, Builder, Bytes, BytesMut, CheckReplies, Class, Client, CloseCause, Command,
    Config, ConfigBuilder, ConfigError, ConnId, ConnectError, Connector, CoordinatorStats, Credentials,
    CredentialsError, CredentialsProvider, Delivery, Endpoint, EndpointError, EndpointPreference,
    EndpointType, Error, ErrorCode, Event, Events, Frame, FromFrame, Handled, HandoffCapacity,
    HandshakeError, HookContext, HookFailures, HookId, HookResult, Host, Ignored, Invalidation,
    Invalidations, Lease, LeaseError, LeaseId, LeaseNotice, Level, Limit, LogLine, LoggingHook, MetricsHook,
    Missed, Mode, Notification, NotificationHook, Observed, Observer, Outcome, Peer, Pipeline, ProtocolError,
    ProviderError, ProviderFuture, Push, Pushes, Refusal, RefusedCommand, Replay, Replies, Reply, ReplyError,
    Request, RequestError, RequestId, Resolver, Runtime, Secret, SendError, ServerError, SetupCommand, Stage,
    Stats, Stream, SubscribeError, Subscription, SubscriptionId, SystemError, Target, TargetPolicy,
    TargetVerdict, TcpOptions, Timer, TlsFault, TlsProgress, ToArg, ToArgs, Topic, Tracking,
    UnknownEndpointType, UnknownMode, Unreviewed, ValueError, Verdict, WhenDisconnected, WhenFull, cmd,
    driver, event, maintenance, notification, observe, pubsub,
};

#[test]
fn the_settings_can_be_named() {
    let _: fn(Endpoint) -> ConfigBuilder = Config::builder;
    let _: fn(ConfigBuilder) -> Result<Config, ConfigError> = ConfigBuilder::build;
    let _: fn(EndpointError) -> ConfigError = ConfigError::Endpoint;
    let _: fn(&Config) -> Option<&Credentials> = Config::credentials;
    let _: fn(&Credentials) -> &Secret = |credentials| &credentials.password;
    let _: fn(&Config) -> HandoffCapacity = Config::handoff_capacity;
    let _: fn(&Config) -> WhenFull = Config::when_full;
    let _: fn(&Config) -> TcpOptions = Config::tcp_options;
    let _: fn(&Config) -> WhenDisconnected = Config::when_disconnected;
    let _: fn(&Config) -> &maintenance::Config = Config::maintenance;
    let _: fn(&maintenance::Config) -> BreakerConfig = maintenance::Config::circuit_breaker;
    let _: fn(&maintenance::Config) -> Level = maintenance::Config::log_level;
    let _: fn(&maintenance::Config) -> Mode = maintenance::Config::mode;
    let _: fn(&maintenance::Config) -> EndpointPreference = maintenance::Config::endpoint_type;
    let _: fn(EndpointPreference, bool, &Peer) -> EndpointType = EndpointPreference::resolve;
    let _: fn(&str) -> Result<Mode, UnknownMode> = str::parse;
    let _: fn(&str) -> Result<EndpointType, UnknownEndpointType> = str::parse;
    let _: fn(&Endpoint) -> Option<&Host> = Endpoint::host;
}

#[cfg(feature = "tls")]
#[test]
fn the_settings_of_tls_can_be_named() {
    use crate::hitless::{Tls, TlsBuilder, rustls};

    let _: fn() -> TlsBuilder = Tls::builder;
    let _: fn(TlsBuilder) -> Result<Tls, ConfigError> = TlsBuilder::build;
    let _: fn(std::sync::Arc<rustls::ClientConfig>) -> Tls = Tls::from_rustls;
    let _: fn(Builder, Tls) -> Builder = Builder::tls;
}

#[test]
fn requests_and_replies_can_be_named() {
    fn argument(value: impl ToArg) -> Command {
        cmd("GET").arg(value)
    }
    fn arguments(values: impl ToArgs) -> Command {
        cmd("GET").arg(values)
    }
    let _: fn(&'static str) -> Command = argument;
    let _: fn(Option<&'static str>) -> Command = arguments;
    let _: fn(Bytes, NonZeroU32) -> Request = Request::raw;
    let _: fn(&Request) -> Class = Request::class;
    let _: fn(Request, Replay) -> Request = Request::replay;
    let _: fn(Pipeline) -> Result<Option<Request>, RefusedCommand> = Pipeline::into_request;
    let _: fn(&Client, Request) -> Result<Reply, SendError> = Client::send;
    let _: fn(&Reply) -> RequestId = Reply::id;
    let _: fn(&Lease) -> LeaseId = Lease::id;
    let _: fn(&Lease) -> Option<LeaseNotice> = Lease::notice;
    let _: fn(LeaseError) -> Error = Error::Lease;
    let _: fn(&Subscription) -> SubscriptionId = Subscription::id;
    let _: fn(SubscribeError) -> Error = Error::Subscribe;
    let _: fn(&'static str) -> Topic = Topic::from;
    let _: fn(pubsub::Item) -> Option<pubsub::Message> = pubsub::Item::into_message;
    let _: fn(Frame) -> Result<u64, ValueError> = FromFrame::from_frame;
    let _: fn(Replies) -> Outcome = Ok;
    let _: fn(&Frame) -> Option<ServerError> = ServerError::from_frame;
    let _: fn(Replies) -> Result<Replies, ReplyError> = CheckReplies::check;
}

#[test]
fn the_calls_of_a_cluster_can_be_named() {
    use crate::hitless::{
        ClusterBuilder, ClusterClient, ClusterEvent, ClusterReply, ClusterStats, ClusterSubscription, Node,
        NodeId, ReadFrom, RouteError, TopologyError, cluster,
    };

    let _: fn([&'static str; 2]) -> Result<ClusterBuilder, Error> = ClusterClient::builder;
    let _: fn(ClusterBuilder, ReadFrom) -> ClusterBuilder = ClusterBuilder::read_from;
    let _: fn(&ClusterBuilder) -> Observer<ClusterEvent> = ClusterBuilder::events;
    let _: fn(&ClusterClient, Request) -> Result<ClusterReply, SendError> = ClusterClient::send;
    let _: fn(&ClusterClient) -> ClusterStats = ClusterClient::stats;
    let _: fn(&ClusterClient) -> Vec<Node> = ClusterClient::nodes;
    let _: fn(&Node) -> &Client = Node::client;
    let _: fn(&Node) -> NodeId = Node::id;
    let _: fn(RouteError) -> Error = Error::Route;
    let _: fn(&Error) -> Option<&TopologyError> = |error| match error {
        Error::Topology { error, .. } => Some(error),
        _ => None,
    };
    let _: fn(&Command) -> cluster::Route = cluster::route;
    fn topics(subscription: &ClusterSubscription) -> Option<&Topic> {
        subscription.topics().next()
    }
    let _: fn(&ClusterSubscription) -> Option<&Topic> = topics;
}

#[test]
fn errors_can_be_named() {
    let _: fn(&str) -> Result<Builder, Error> = Client::builder;
    let _: fn(ServerError) -> Error = Error::Discarded;
    let _: fn(ConnectError) -> Error = Error::Connect;
    let _: fn(HandshakeError) -> ConnectError = ConnectError::Handshake;
    let _: fn(&Event) -> Option<Refusal> = |event| match *event {
        Event::Demoted { refusal, .. } => Some(refusal),
        _ => None,
    };
    let _: fn(&HandshakeError) -> Option<(Stage, ErrorCode)> = |error| match *error {
        HandshakeError::Refused { stage, code } => Some((stage, code)),
        _ => None,
    };
    let _: fn(CloseCause) -> ConnectError = ConnectError::LostInHandshake;
    let _: fn(SystemError) -> ConnectError = ConnectError::Connect;
    let _: fn(SetupCommand) -> Stage = Stage::Setup;
    let _: fn(ProtocolError) -> CloseCause = CloseCause::Protocol;
    let _: fn(Limit, u64) -> ProtocolError = |limit, allowed| ProtocolError::Limit { limit, allowed };
    let _: fn(&RequestError) -> Delivery = RequestError::delivery;
    let _: fn(TlsFault) -> CloseCause = CloseCause::Tls;
    let _ = |progress: TlsProgress| ConnectError::TlsTimedOut { progress, after: std::time::Duration::ZERO };
}

#[test]
fn what_is_observed_can_be_named() {
    let _: fn(&Client) -> Stats = Client::stats;
    let _: fn(Stats) -> CoordinatorStats = |stats| stats.coordinator;
    let _: fn(&Client) -> Events = Client::events;
    let _: fn(&mut Observer<Event>) -> Option<Result<Event, Missed>> = Events::try_next;
    let _: fn(&Client) -> Pushes = Client::pushes;
    let _: fn(&mut Pushes) -> Option<Result<Push, Missed>> = Pushes::try_next;
    let _: fn(Push) -> ConnId = |push| push.conn;
    let _: fn(Builder, Tracking) -> Builder = Builder::tracking;
    let _: fn(&Client) -> Result<Invalidations, Error> = Client::invalidations;
    let _: fn(&mut Invalidations) -> Option<Invalidation> = Invalidations::try_next;
    let _: fn(&Event) -> Option<Unreviewed> = |event| match event {
        Event::NotificationUnreviewed { reason, .. } => Some(*reason),
        _ => None,
    };
    let _: fn(&Event) -> Option<&event::WindowScope> = |event| match event {
        Event::WindowOpened { scope, .. } => Some(scope),
        _ => None,
    };
    let _: fn(&Notification) -> notification::Seq = Notification::seq;
    let _: fn(&notification::SlotSet) -> &[notification::SlotRange] = notification::SlotSet::ranges;
    let _: fn(notification::SlotError) -> notification::Problem = notification::Problem::Slots;
    let _: fn(&MetricsHook) -> observe::MetricsSnapshot = MetricsHook::snapshot;
    let _: fn(&Observed) -> HookFailures = Observed::hook_failures;
}

#[test]
fn hooks_and_policies_of_ones_own_can_be_written() {
    struct Hook;

    impl NotificationHook for Hook {
        async fn pre_hook(&self, _: &HookContext, _: &Notification) -> Verdict {
            Verdict::Continue
        }

        async fn post_hook(&self, _: &HookContext, _: &Notification, result: &HookResult) {
            let _: Handled = result.handled;
        }

        fn attached(&self, _: Observed) {}
    }

    let _: fn(&Client, Hook) -> HookId = Client::add_hook;
    let _: fn(Ignored) -> Handled = Handled::Ignored;
    let _: LoggingHook<fn(LogLine)> = LoggingHook::new(drop);
    let policy = |_: &Endpoint, _: &Peer| TargetVerdict::Allow;
    let _: &dyn TargetPolicy = &policy;
}

#[test]
fn a_provider_of_ones_own_can_be_written() {
    struct Fixed;

    impl CredentialsProvider for Fixed {
        fn credentials(&self) -> ProviderFuture<'_, Result<Credentials, ProviderError>> {
            Box::pin(async { Ok(Credentials::new(Some("user"), "password")) })
        }
    }

    let builder = Client::builder("redis://10.0.0.1:6379").unwrap().credentials_provider(Fixed);
    assert!(format!("{builder:?}").contains("asks_a_provider: true"), "{builder:?}");
    let _: fn(Builder, Fixed) -> Builder = Builder::credentials_provider;
    let _: fn(Builder, std::sync::Arc<dyn CredentialsProvider>) -> Builder = Builder::credentials_provider;
    let _: fn(CredentialsError) -> ConnectError = ConnectError::Credentials;
}

#[test]
fn the_adapter_can_be_named() {
    let _: fn(&Adapter) -> Timer = Runtime::timer;
    let _: fn(<Adapter as Connector>::Stream) -> Stream = |stream| stream;
}

#[test]
fn a_network_of_ones_own_can_be_brought() {
    let builder = Client::builder("redis://10.0.0.1:6379").unwrap().pool_size(1).network(Silent);

    let refused = crate::block_on(builder.connect());

    let Err(Error::Connect(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.last(), &ConnectError::LostInHandshake(CloseCause::ByServer));
}

/// Servers that hang up without a word.
struct Silent;

impl Resolver for Silent {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }
}

impl Connector for Silent {
    type Stream = Ended;

    async fn connect(&self, target: Target) -> io::Result<(Ended, Peer)> {
        Ok((Ended, target.address))
    }
}

struct Ended;

impl driver::Stream for Ended {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
