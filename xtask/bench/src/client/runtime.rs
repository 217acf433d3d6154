//! What a client and the tasks that use it run on.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime;
use tokio::task::JoinSet;

/// The variable that says how many threads async-std has. Nothing else does, and it is read when the first task begins: it has to be
/// there when the process starts.
pub const ASYNC_STD_THREADS: &str = "ASYNC_STD_THREAD_COUNT";

/// The kind of runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheduler {
    /// tokio's single-threaded one; async-std's with one thread.
    CurrentThread,
    /// tokio's multi-threaded one with two workers; async-std's with two threads.
    TwoWorkers,
}

impl Scheduler {
    /// Both.
    pub const ALL: [Self; 2] = [Self::CurrentThread, Self::TwoWorkers];

    /// In tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "ct",
            Self::TwoWorkers => "mt2",
        }
    }

    /// How many threads run the tasks.
    #[must_use]
    pub fn threads(self) -> usize {
        match self {
            Self::CurrentThread => 1,
            Self::TwoWorkers => 2,
        }
    }

    /// A runtime of tokio's, of this kind.
    fn tokio(self) -> io::Result<runtime::Runtime> {
        let mut builder = match self {
            Self::CurrentThread => runtime::Builder::new_current_thread(),
            Self::TwoWorkers => runtime::Builder::new_multi_thread(),
        };
        builder.worker_threads(self.threads()).enable_all().build()
    }
}

/// A runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// tokio.
    Tokio,
    /// async-std, with as many threads as [`ASYNC_STD_THREADS`] says.
    AsyncStd,
}

impl Runtime {
    /// Waits on this thread for `work`.
    ///
    /// # Errors
    ///
    /// When the system refuses threads, and those of the work.
    pub fn block_on<T>(
        self,
        scheduler: Scheduler,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        match self {
            Self::Tokio => {
                let runtime = scheduler.tokio()?;
                let done = runtime.block_on(work);
                // Some of the peers' tasks never end.
                runtime.shutdown_background();
                done
            }
            Self::AsyncStd => async_std::task::block_on(work),
        }
    }

    /// Waits for `length`.
    pub async fn sleep(self, length: Duration) {
        match self {
            Self::Tokio => tokio::time::sleep(length).await,
            Self::AsyncStd => async_std::task::sleep(length).await,
        }
    }

    /// No tasks yet.
    #[must_use]
    pub fn tasks<T: Send + 'static>(self) -> Tasks<T> {
        match self {
            Self::Tokio => Tasks::Tokio(JoinSet::new()),
            Self::AsyncStd => Tasks::AsyncStd(Vec::new()),
        }
    }
}

/// Tasks that run at the same time.
pub enum Tasks<T> {
    /// Of tokio.
    Tokio(JoinSet<T>),
    /// Of async-std.
    AsyncStd(Vec<async_std::task::JoinHandle<T>>),
}

impl<T: Send + 'static> Tasks<T> {
    /// Begins one more.
    pub fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        match self {
            Self::Tokio(tasks) => drop(tasks.spawn(task)),
            Self::AsyncStd(tasks) => tasks.push(async_std::task::spawn(task)),
        }
    }

    /// Waits for all of them, and has what came of each.
    pub async fn join_all(self) -> Vec<T> {
        match self {
            Self::Tokio(tasks) => tasks.join_all().await,
            Self::AsyncStd(tasks) => {
                let mut done = Vec::with_capacity(tasks.len());
                for task in tasks {
                    done.push(task.await);
                }
                done
            }
        }
    }
}
