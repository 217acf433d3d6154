//! Providers of credentials, and what the driver does with them.

use std::future::{pending, ready};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use hitless_conformance::vault::Vault;
use hitless_core::config::{Config, Credentials};
use hitless_core::driver::{CredentialsProvider, LogLine, LoggingHook, ProviderError, ProviderFuture};
use hitless_core::error::CredentialsError;
use hitless_core::event::Level;

use super::*;

type Answer = Result<Credentials, ProviderError>;

/// A provider out of two functions, which are given the number of the question.
struct Of<A, C> {
    answer: A,
    changed: C,
    asked: Arc<AtomicU32>,
}

impl<A, C> CredentialsProvider for Of<A, C>
where
    A: Fn(u32) -> ProviderFuture<'static, Answer> + Send + Sync + 'static,
    C: Fn() -> ProviderFuture<'static, ()> + Send + Sync + 'static,
{
    fn credentials(&self) -> ProviderFuture<'_, Answer> {
        (self.answer)(self.asked.fetch_add(1, Ordering::Relaxed))
    }

    fn changed(&self) -> ProviderFuture<'_, ()> {
        (self.changed)()
    }
}

fn never() -> ProviderFuture<'static, ()> {
    Box::pin(pending())
}

fn key(_: u32) -> ProviderFuture<'static, Answer> {
    Box::pin(ready(Ok(Credentials::new(Some("app"), "key"))))
}

async fn panics() -> Answer {
    ready(()).await;
    panic!("of the test: in the future")
}

fn asked_of(
    answer: impl Fn(u32) -> ProviderFuture<'static, Answer> + Send + Sync + 'static,
    changed: impl Fn() -> ProviderFuture<'static, ()> + Send + Sync + 'static,
) -> (impl CredentialsProvider, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    (Of { answer, changed, asked: Arc::clone(&asked) }, asked)
}

/// A server that knows the account `app`, which any password opens.
fn fixture() -> Fixture {
    let config = ServerConfig::default().with_user(hitless_conformance::server::User::open("app"));
    let mut server = Server::new(config);
    server.add_endpoint(EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 6379))));
    Fixture::new(server)
}

/// A provider that panics is one that fails: in the call, in the future, and while it waits for a change. RULE-220
#[test]
fn a_provider_that_panics_fails_its_question_and_nothing_else() {
    let mut fixture = fixture();
    let answer = |number| match number {
        0 => panic!("of the test: in the call"),
        1 => Box::pin(panics()),
        _ => key(number),
    };
    let (provider, asked) = asked_of(answer, || panic!("of the test: in `changed`"));
    let builder = builder(&fixture).credentials_provider(provider);
    let mut events = builder.events();
    let client = fixture.block_on(builder.connect()).unwrap();
    fixture.pass(5 * SECOND);
    let events: Vec<Event> = std::iter::from_fn(|| events.try_next()).map(Result::unwrap).collect();
    let panicked = ConnectError::Credentials(CredentialsError::Panicked);
    let dials = events
        .iter()
        .filter(|event| matches!(event, Event::ConnectFailed { error, .. } if *error == panicked));
    assert_eq!(dials.count(), 2, "{events:?}");
    let renewals = events.iter().filter(|event| matches!(event, Event::CredentialsFailed { .. })).count();
    assert!((1..=5).contains(&renewals), "{renewals}");
    assert!(asked.load(Ordering::Relaxed) >= 3);
    assert!(fixture.block_on(client.call(cmd("PING"))).is_ok());
    fixture.block_on(client.shutdown(SECOND));
    assert_nothing_is_left(&fixture);
}

/// Somebody who always says that the credentials have changed is asked once a second. RULE-223
#[test]
fn a_change_that_never_ends_costs_a_question_a_second() {
    let mut fixture = fixture();
    let (provider, asked) = asked_of(key, || Box::pin(ready(())));
    let client = fixture.block_on(builder(&fixture).credentials_provider(provider).connect()).unwrap();
    fixture.pass(10 * SECOND);
    let asked = asked.load(Ordering::Relaxed);
    assert!((10..=12).contains(&asked), "{asked}");
    drop(client);
    fixture.run();
    assert_nothing_is_left(&fixture);
}

/// A provider that never answers keeps nothing alive: neither a start that is given up, nor a client that ends. INV-15
#[test]
fn a_provider_that_hangs_keeps_nothing_alive() {
    let mut fixture = fixture();
    let (provider, _) = asked_of(|_| Box::pin(pending()), never);
    let mut connecting = Box::pin(builder(&fixture).credentials_provider(provider).connect());
    assert!(poll_once(connecting.as_mut()).is_pending());
    fixture.run();
    drop(connecting);
    fixture.run();
    assert_nothing_is_left(&fixture);

    let vault = Arc::new(Vault::new(Some("app"), "key"));
    let builder = builder(&fixture).credentials_provider(Arc::clone(&vault));
    let client = fixture.block_on(builder.connect()).unwrap();
    vault.hang(true);
    vault.rotate("other");
    fixture.pass(SECOND);
    assert_eq!(vault.asked(), 2, "it is asked, and says nothing");
    fixture.block_on(client.shutdown(SECOND));
    assert_nothing_is_left(&fixture);
    assert_eq!(Arc::strong_count(&vault), 1, "nobody holds the provider any more");
}

/// A question for new credentials that takes too long is put again, and its answer still counts. RULE-223
#[test]
fn a_question_that_takes_too_long_is_put_again() {
    let mut fixture = fixture();
    let vault = Arc::new(Vault::new(Some("app"), "key"));
    let builder = builder(&fixture).credentials_provider(Arc::clone(&vault));
    let mut events = builder.events();
    let client = fixture.block_on(builder.connect()).unwrap();
    vault.hang(true);
    vault.rotate("other");
    fixture.pass(5 * SECOND);
    assert_eq!(vault.asked(), 3);
    vault.hang(false);
    fixture.pass(SECOND / 100);
    let events: Vec<Event> = std::iter::from_fn(|| events.try_next()).map(Result::unwrap).collect();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::CredentialsFailed { .. })).count(), 1);
    assert!(matches!(events.last(), Some(Event::Reauthenticated { .. })), "{events:?}");
    fixture.pass(60 * SECOND);
    assert_eq!(vault.asked(), 3, "it has what it wanted");
    drop(client);
}

/// The last setting counts: a pair that does not change, or a provider. And a configuration that asks says so where there is
/// nobody. RULE-220
#[test]
fn the_last_setting_counts() {
    let mut fixture = fixture();
    let (provider, asked) = asked_of(key, never);
    let fixed = builder(&fixture).credentials_provider(provider).credentials(Some("app"), "key");
    fixture.block_on(fixed.connect()).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    let settings = ConfigBuilder::from_url("redis://nobody:wrong@127.0.0.1").unwrap();
    let (provider, asked) = asked_of(key, never);
    let builder = Builder::from_settings(fixture.runtime(), fixture.network(), settings.clone());
    fixture.block_on(builder.pool_size(2).credentials_provider(provider).connect()).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    let config: Config = settings.pool_size(1).ask_for_credentials().build().unwrap();
    let opening = Client::open(fixture.runtime(), fixture.network(), config);
    let error = fixture.block_on(opening).unwrap_err();
    assert!(error.to_string().contains("none was given to the client"), "{error}");
}

/// Neither `Debug` of what an application holds, nor a log, shows what a provider returns. RULE-224
#[test]
fn logs_and_debug_show_nothing_of_it() {
    let mut fixture = fixture();
    let vault = Arc::new(Vault::new(Some("app"), "s3cret-one"));
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let lines = Arc::clone(&log);
    let quiet = maintenance::Config::builder().log_level(Level::Debug).build().unwrap();
    let write = move |line: LogLine| lines.lock().unwrap().push(format!("{line} {line:?}"));
    let builder = builder(&fixture).maintenance(quiet).hook(LoggingHook::new(write));
    let builder = builder.credentials_provider(Arc::clone(&vault));
    let client = fixture.block_on(builder.connect()).unwrap();
    vault.rotate("s3cret-two");
    fixture.pass(SECOND);
    vault.fail(2, "the tokens s3cret-one and s3cret-two are gone");
    vault.rotate("s3cret-three");
    fixture.pass(10 * SECOND);
    let mut shown = vec![format!("{client:?} {:?}", client.stats())];
    fixture.block_on(client.shutdown(SECOND));
    shown.extend(log.lock().unwrap().drain(..));
    let text = shown.join("\n");
    for told in ["reauthenticated", "credentials.failed"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}
