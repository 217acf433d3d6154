//! The adapter over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapter;

use std::future::Future;
use std::time::Duration;

/// The adapter under test.
use hitless_tokio as hitless;
use hitless_tokio::{Client, Delivery, Error, RequestError, cmd};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
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
