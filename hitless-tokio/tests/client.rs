//! The adapter over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapter;

use std::future::Future;
use std::time::Duration;

/// The adapter under test.
use hitless_tokio as hitless;
use hitless_tokio::{Client, Delivery, Error, RequestError, cmd};

fn block_on<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async { tokio::time::timeout(adapter::LIMIT, test).await.unwrap() })
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// INV-15
#[test]
fn a_shutdown_leaves_no_task() {
    let server = adapter::serve();
    block_on(async {
        let client = Client::connect(&adapter::url(&server)).await.unwrap();
        client.call(cmd("PING")).await.unwrap();
        client.shutdown(Duration::from_secs(5)).await;
        // The tasks are gone; the runtime's own count follows a moment later.
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// When the runtime is dropped, whoever waits for a reply is told. INV-01
#[test]
fn dropping_the_runtime_answers_everybody() {
    let server = adapter::serve();
    let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut sent = None;
    running.block_on(async {
        let client = Client::connect(&adapter::url(&server)).await.unwrap();
        adapter::delay_replies(&server, Duration::from_secs(3600));
        let request = hitless::Request::command(cmd("INCR").arg("n")).unwrap();
        sent = Some(client.send(request).unwrap());
    });
    drop(running);
    let error = Error::from(block_on(sent.unwrap()).unwrap_err());
    assert!(matches!(&error, Error::Request(RequestError::ShutDown { .. })), "{error:?}");
    assert!(matches!(error.delivery(), Some(Delivery::NotSent | Delivery::Unknown)));
}

/// A client outlives its runtime as a handle alone: who calls it reads what has happened. RULE-138
#[test]
fn a_client_whose_runtime_was_dropped_says_so() {
    let server = adapter::serve();
    let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = running.block_on(Client::connect(&adapter::url(&server))).unwrap();
    drop(running);
    let error = block_on(client.call(cmd("GET").arg("k"))).unwrap_err();
    assert!(matches!(error, Error::Send(_)), "{error:?}");
    assert!(error.to_string().contains("the runtime that it was opened on was dropped"), "{error}");
    assert_eq!(error.delivery(), Some(Delivery::NotSent));
}

/// What somebody reads who has forgotten a part of the runtime. RULE-138
#[test]
fn a_runtime_that_lacks_something_says_what() {
    let server = adapter::serve();
    let url = adapter::url(&server);
    let builder = || Client::builder(&url).unwrap().pool_size(1);

    let without_runtime = std::panic::catch_unwind(|| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        drop(std::pin::pin!(builder().connect()).poll(&mut cx));
    });
    let panic = without_runtime.unwrap_err();
    let text =
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref().cloned());
    assert!(text.unwrap().contains("from the context of a Tokio 1.x runtime"));

    let without_timers = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let error = without_timers.block_on(builder().connect()).unwrap_err();
    assert!(error.to_string().contains("a runtime without timers"), "{error}");

    let without_io = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let error = without_io.block_on(builder().connect()).unwrap_err();
    assert!(error.to_string().contains("a runtime without I/O"), "{error}");
}

/// A runtime of one thread is dropped under a client that is encrypted, with a lease out, another one awaited, a transaction under way
/// and a request that blocks: whoever waits is told, later calls as well, and no connection is left. INV-15, RULE-207
#[cfg(feature = "tls")]
#[test]
fn a_runtime_that_is_dropped_ends_leases_over_tls() {
    use hitless::{LeaseNotice, Tls};
    use hitless_conformance::net::certificates::Authority;

    let authority = Authority::new("ours");
    let server = adapter::serve_encrypted(&authority.certify(&["127.0.0.1"]).server(None));
    let tls = Tls::builder().roots(authority.pem()).build().unwrap();
    let url = format!("rediss://{}", server.addresses()[0]);
    let running = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, lease, blocked) = running.block_on(async {
        let client = Client::builder(&url).unwrap().tls(tls).pool_size(1).max_dedicated(1).connect().await;
        let client = client.unwrap();
        let lease = client.lease().await.unwrap();
        let request = hitless::Request::leased(cmd("BLPOP").arg("q").arg(0)).unwrap();
        let blocked = lease.send(request).unwrap();
        (client, lease, blocked)
    });
    let mut transaction =
        Box::pin(client.transaction(["k"], |_| async { Ok(Some(hitless::Pipeline::from([cmd("PING")]))) }));
    let mut wish = Box::pin(client.lease());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(transaction.as_mut().poll(&mut cx).is_pending() && wish.as_mut().poll(&mut cx).is_pending());
    drop(running);
    block_on(async {
        assert!(matches!(blocked.await, Err(RequestError::ShutDown { .. })));
        assert!(matches!(wish.await, Err(Error::Lease(hitless::LeaseError::ShutDown))));
        assert!(matches!(transaction.await, Err(Error::Lease(hitless::LeaseError::ShutDown))));
        assert!(matches!(lease.moving().await, LeaseNotice::Lost { .. }));
        let late = lease.call(cmd("PING")).await.unwrap_err();
        assert_eq!(late.delivery(), Some(Delivery::NotSent));
        assert!(client.lease().await.is_err());
    });
    adapter::wait_until_gone(&server);
}
