//! The whole client on a hand-written poll loop: one thread, no async, no runtime.
//!
//! ```console
//! $ cargo run -p hitless-core --example poll_loop -- redis://127.0.0.1:6379 30
//! ```
//!
//! Counts for so many seconds, prints what the client has to say meanwhile, and shuts down. `event_loop.rs` is all that it
//! takes to embed the client; to see it move, point it at the test server
//! (`cargo xtask server`) and type `moving 0 1 10` there.

mod event_loop;

use std::error::Error;
use std::time::Duration;

use hitless_core::config::ConfigBuilder;
use hitless_core::request::Request;
use hitless_core::{Frame, cmd};

use self::event_loop::{EventLoop, News, now};

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(100);
/// What requests in flight get at the end.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let seconds: u64 = args.next().map_or(Ok(10), |seconds| seconds.parse())?;

    let config = ConfigBuilder::from_url(&url)?.pool_size(3).build()?;
    let mut event_loop = EventLoop::new(config, u64::from(std::process::id()))?;
    let start = now();
    let end = start + Duration::from_secs(seconds);
    let (mut pending, mut due, mut ending) = (None, start, false);
    loop {
        let now = now();
        if now >= end && !ending {
            ending = true;
            event_loop.client.shutdown(now, now + GRACE);
        }
        if now >= due && pending.is_none() && !ending {
            // An application's own timers and requests have their place here, between two turns.
            pending = Some(event_loop.client.send(now, Request::command(cmd("INCR").arg("poll-loop"))?)?);
        }
        let wake_at = if pending.is_some() { end } else { due.min(end) };
        for news in event_loop.turn((!ending).then_some(wake_at))? {
            match news {
                News::Started(result) => result?,
                News::Completed(request, outcome) if pending == Some(request) => {
                    match outcome {
                        Ok(replies) => println!("INCR: {:?}", replies.first().and_then(Frame::as_int)),
                        Err(error) => println!("INCR: {error}"),
                    }
                    (pending, due) = (None, event_loop::now() + PAUSE);
                }
                News::Completed(..) => {}
                News::Event(event) => println!("{:>8.3} s  {}", (now - start).as_secs_f64(), event.line(now)),
                News::Terminated => return Ok(()),
            }
        }
    }
}
