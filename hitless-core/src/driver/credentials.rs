//! Credentials from a provider: asked for before each dial, and again when they have changed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::guard::{TaskGuard, Unfinished};
use super::shared::Shared;
use super::signals::{CLOSE, Signals, WORK};
use super::state::ConnTask;
use super::traits::Runtime;
use crate::config::Credentials;
use crate::error::CredentialsError;

/// What a [`CredentialsProvider`] answers with: a future on the heap, so that providers can be trait objects.
pub type ProviderFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a [`CredentialsProvider`] has none. Any error converts into it by `?`.
///
/// Its text becomes part of errors, events and logs, in one line of 200 characters at most; it is left out if it repeats a
/// password that the client knows.
pub type ProviderError = Box<dyn std::error::Error + Send + Sync>;

/// Where the user and the password of each connection come from, if they change while the client lives: tokens that expire,
/// passwords that are rotated.
///
/// The client asks before each dial, in a task of its own: no reply waits for an answer. An answer may take half of the time
/// that the dial has (2.5 s by default). An error, a panic, or no answer within that time is a failed attempt, like that of a
/// server that cannot be reached: the connections that serve go on, an event tells of it, and the client tries again after a
/// pause that grows; [`connect`](super::Builder::connect) gives up after four attempts. Several dials may ask at the same time,
/// so a provider that fetches tokens keeps them. While it fails, one slot of the pool asks for all of them, after pauses of up to
/// 30 s, and the others dial once it has got an answer; dials for those who wait for a lease ask as well, at a pace of their own.
///
/// When [`changed`](Self::changed) is ready the client asks for new credentials, and each connection that has others
/// authenticates again, by AUTH between two requests. A refusal is an [event](crate::event::Event::ReauthenticationRefused): the
/// connection goes on as the user that it was.
///
/// What a provider returns is shown nowhere, neither in errors and events nor by `Debug`.
///
/// # Tokens of Entra ID
/// Azure Managed Redis takes the object id of the identity as user and a token as password, and closes connections whose token
/// has expired. So the token is replaced early: this provider waits in `changed`, and nowhere else. `Clock`
/// stands for the timer of your runtime, and `Identity` for the library that fetches tokens.
///
/// ```
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
///
/// use hitless_core::config::Credentials;
/// use hitless_core::driver::{CredentialsProvider, ProviderError, ProviderFuture};
///
/// # trait Clock: Send + Sync + 'static {
/// #     fn now(&self) -> Instant;
/// #     fn sleep(&self, time: Duration) -> ProviderFuture<'_, ()>;
/// # }
/// # trait Identity: Send + Sync + 'static {
/// #     fn fetch(&self) -> ProviderFuture<'_, Result<Token, ProviderError>>;
/// # }
/// #[derive(Clone)]
/// struct Token {
///     secret: String,
///     expires_at: Instant,
/// }
///
/// struct EntraId<C, I> {
///     object_id: String,
///     identity: I,
///     clock: C,
///     token: Mutex<Option<Token>>,
/// }
///
/// impl<C: Clock, I: Identity> EntraId<C, I> {
///     /// Fetches a token, for `https://redis.azure.com/.default`.
///     async fn refresh(&self) -> Result<Token, ProviderError> {
///         let token = self.identity.fetch().await?;
///         *self.token.lock().unwrap() = Some(token.clone());
///         Ok(token)
///     }
///
///     fn kept(&self) -> Option<Token> {
///         self.token.lock().unwrap().clone()
///     }
/// }
///
/// impl<C: Clock, I: Identity> CredentialsProvider for EntraId<C, I> {
///     fn credentials(&self) -> ProviderFuture<'_, Result<Credentials, ProviderError>> {
///         Box::pin(async {
///             let now = self.clock.now();
///             let token = match self.kept().filter(|token| now < token.expires_at) {
///                 Some(token) => token,
///                 None => self.refresh().await?,
///             };
///             Ok(Credentials::new(Some(&self.object_id), token.secret))
///         })
///     }
///
///     fn changed(&self) -> ProviderFuture<'_, ()> {
///         Box::pin(async {
///             loop {
///                 // Five minutes before the end, and once a minute until it has worked.
///                 let early = Duration::from_secs(5 * 60);
///                 let expires_at = self.kept().map_or_else(|| self.clock.now(), |token| token.expires_at);
///                 let left = expires_at.saturating_duration_since(self.clock.now()).saturating_sub(early);
///                 self.clock.sleep(left.max(Duration::from_secs(60))).await;
///                 if self.refresh().await.is_ok() {
///                     return;
///                 }
///             }
///         })
///     }
/// }
/// ```
///
/// # Tokens of AWS IAM
/// ElastiCache and MemoryDB take a signed request as password, which is made without a network, is good for 15 minutes, and
/// differs each time. The server closes connections after twelve hours, unless they authenticate again. `sign` stands for the
/// signature by the library of AWS.
///
/// ```
/// use std::time::Duration;
///
/// use hitless_core::config::Credentials;
/// use hitless_core::driver::{CredentialsProvider, ProviderError, ProviderFuture};
///
/// # trait Clock: Send + Sync + 'static {
/// #     fn sleep(&self, time: Duration) -> ProviderFuture<'_, ()>;
/// # }
/// struct Iam<C, S> {
///     user: String,
///     sign: S,
///     clock: C,
/// }
///
/// impl<C, S> CredentialsProvider for Iam<C, S>
/// where
///     C: Clock,
///     S: Fn(&str) -> Result<String, ProviderError> + Send + Sync + 'static,
/// {
///     fn credentials(&self) -> ProviderFuture<'_, Result<Credentials, ProviderError>> {
///         let signed = (self.sign)(&self.user);
///         Box::pin(async { Ok(Credentials::new(Some(&self.user), signed?)) })
///     }
///
///     fn changed(&self) -> ProviderFuture<'_, ()> {
///         // Well within the twelve hours.
///         self.clock.sleep(Duration::from_secs(10 * 60 * 60))
///     }
/// }
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// The credentials that hold now. The client drops the future when it does not want the answer any more.
    fn credentials(&self) -> ProviderFuture<'_, Result<Credentials, ProviderError>>;

    /// Ready when the credentials have changed, or those in use are about to expire, since the future before this one was ready.
    /// That a dial was given the new ones meanwhile does not count: other connections still have the old ones. The client has one
    /// such future at a time; when it is ready, the client asks for the [`credentials`](Self::credentials), at most once a second,
    /// and then calls this again. By default it is never ready: each connection keeps what it was opened with.
    fn changed(&self) -> ProviderFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

impl<P: CredentialsProvider + ?Sized> CredentialsProvider for Arc<P> {
    fn credentials(&self) -> ProviderFuture<'_, Result<Credentials, ProviderError>> {
        (**self).credentials()
    }

    fn changed(&self) -> ProviderFuture<'_, ()> {
        (**self).changed()
    }
}

/// The provider of one client, if it has one.
pub(super) type Provider = Option<Arc<dyn CredentialsProvider>>;

/// Starts the task that asks `provider` for the credentials of one dial.
pub(super) fn spawn_ask<R: Runtime>(shared: &Arc<Shared<R>>, provider: &Provider, task: ConnTask) {
    let mut guard = TaskGuard::new(shared, &task.signals, Unfinished::Dial(task.clone()));
    let provider = provider.clone();
    shared.runtime.spawn(async move {
        let answer = task.signals.unless_up(CLOSE, ask(&provider)).await;
        guard.set(Unfinished::Nothing);
        drop(provider);
        if let Some(answer) = answer {
            guard.shared().handle_credentials(&task, answer);
        }
    });
}

/// Starts the task that asks for new credentials whenever they have changed. It ends with the client.
pub(super) fn spawn_renewal<R: Runtime>(shared: &Arc<Shared<R>>, provider: Provider) {
    if provider.is_none() {
        return;
    }
    let signals = shared.renewal_signals();
    // Without the task the client works on with the credentials that it has.
    let guard = TaskGuard::new(shared, &signals, Unfinished::Nothing);
    shared.runtime.spawn(async move {
        while !signals.is_up(CLOSE) {
            match signals.unless_up(WORK | CLOSE, changed(&provider)).await {
                // The machine asks by itself, or the client ends.
                None => {}
                Some(Ok(())) => guard.shared().handle_credentials_changed(),
                Some(Err(error)) => guard.shared().handle_new_credentials(Err(error)),
            }
            renew(guard.shared(), &provider, &signals).await;
        }
        drop(provider);
    });
}

/// Asks whenever the machine wants new credentials, until there are some.
async fn renew<R: Runtime>(shared: &Shared<R>, provider: &Provider, signals: &Signals) {
    loop {
        // The machine says when.
        signals.unless_up(WORK | CLOSE, std::future::pending::<()>()).await;
        if signals.is_up(CLOSE) {
            return;
        }
        signals.take(WORK);
        if let Some(answer) = signals.unless_up(WORK | CLOSE, ask(provider)).await {
            let is_over = answer.is_ok();
            shared.handle_new_credentials(answer);
            if is_over {
                return;
            }
        }
    }
}

async fn ask(provider: &Provider) -> Result<Credentials, CredentialsError> {
    let Some(provider) = provider else {
        return Err(CredentialsError::failed("none was given to the client"));
    };
    caught(|| provider.credentials()).await?.map_err(CredentialsError::failed)
}

async fn changed(provider: &Provider) -> Result<(), CredentialsError> {
    match provider {
        Some(provider) => caught(|| provider.changed()).await,
        None => std::future::pending().await,
    }
}

/// The result of the future that `begin` makes, unless one of them panics.
async fn caught<'a, T>(begin: impl FnOnce() -> ProviderFuture<'a, T>) -> Result<T, CredentialsError> {
    let mut future = catch_unwind(AssertUnwindSafe(begin)).map_err(|_| CredentialsError::Panicked)?;
    let mut poll = |cx: &mut Context<'_>| catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
    std::future::poll_fn(|cx| match poll(cx) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(_) => Poll::Ready(Err(CredentialsError::Panicked)),
    })
    .await
}
