//! A provider of credentials that does as the case says.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hitless_core::config::Credentials;
use hitless_core::driver::{CredentialsProvider, ProviderError, ProviderFuture};

/// Credentials that a case replaces, and leaves its client without.
pub struct Vault(Mutex<State>);

struct State {
    credentials: Credentials,
    /// How many questions are still answered with an error, and its words.
    failures: (u32, String),
    hangs: bool,
    has_changed: bool,
    asked: u32,
    /// Who is to be woken, by the number of the future that waits.
    waiting: BTreeMap<u64, Waker>,
    next_future: u64,
}

impl Vault {
    /// Gives these credentials to whoever asks.
    #[must_use]
    pub fn new(user: Option<&str>, password: &str) -> Self {
        Self(Mutex::new(State {
            credentials: Credentials::new(user, password),
            failures: (0, String::new()),
            hangs: false,
            has_changed: false,
            asked: 0,
            waiting: BTreeMap::new(),
            next_future: 0,
        }))
    }

    /// Gives another password from now on, and says that it has changed.
    pub fn rotate(&self, password: &str) {
        self.change(|state| {
            state.credentials.password = password.into();
            state.has_changed = true;
        });
    }

    /// Fails the next questions, so many of them, with these words.
    pub fn fail(&self, count: u32, words: &str) {
        self.change(|state| state.failures = (count, words.to_owned()));
    }

    /// Answers nothing from now on, or answers again.
    pub fn hang(&self, hangs: bool) {
        self.change(|state| state.hangs = hangs);
    }

    /// How often somebody has asked.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.lock().asked
    }

    /// Somebody asks, and will [look](Self::answer) for the answer.
    pub(crate) fn ask(&self) {
        self.lock().asked += 1;
    }

    /// The answer to a question, if there is one.
    pub(crate) fn answer(&self) -> Option<Result<Credentials, String>> {
        self.lock().answer()
    }

    /// Whether the credentials have changed. Said once.
    pub(crate) fn take_change(&self) -> bool {
        std::mem::take(&mut self.lock().has_changed)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, look: fn(&mut State) -> Option<T>) -> Wait<'_, T> {
        let mut state = self.lock();
        state.next_future += 1;
        Wait { vault: self, number: state.next_future, look }
    }
}

impl State {
    fn answer(&mut self) -> Option<Result<Credentials, String>> {
        if self.hangs {
            return None;
        }
        let (left, words) = &mut self.failures;
        if *left > 0 {
            *left -= 1;
            return Some(Err(words.clone()));
        }
        Some(Ok(self.credentials.clone()))
    }
}

impl CredentialsProvider for Vault {
    fn credentials(&self) -> ProviderFuture<'_, Result<Credentials, ProviderError>> {
        self.ask();
        let answer = self.wait(State::answer);
        Box::pin(async { answer.await.map_err(ProviderError::from) })
    }

    fn changed(&self) -> ProviderFuture<'_, ()> {
        Box::pin(self.wait(|state| std::mem::take(&mut state.has_changed).then_some(())))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

/// Waits until there is something to see. It leaves no waker behind.
struct Wait<'a, T> {
    vault: &'a Vault,
    number: u64,
    look: fn(&mut State) -> Option<T>,
}

impl<T> Future for Wait<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.vault.lock();
        let seen = (self.look)(&mut state);
        match seen {
            Some(value) => Poll::Ready(value),
            None => {
                state.waiting.insert(self.number, cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        let waker = self.vault.lock().waiting.remove(&self.number);
        drop(waker);
    }
}
