//! What can be watched while the demo runs: a live display on a terminal, plain lines anywhere else.

mod frame;
mod terminal;

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hitless_conformance::clock;

use self::frame::{Second, View};
use self::terminal::Terminal;
use crate::log::Log;
use crate::meter::Meter;
use crate::world::{NODES, Node, World};

const TICK: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

/// How the output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Redrawn in place.
    Live,
    /// One line after the other.
    Plain,
}

impl Style {
    /// Live on a terminal that can move its cursor, unless plain lines are wanted.
    pub(crate) fn of_output(plain: bool) -> Self {
        let can_move = std::env::var_os("TERM").is_some_and(|name| name != "dumb");
        if !plain && can_move && std::io::stdout().is_terminal() { Self::Live } else { Self::Plain }
    }
}

/// Shows what goes on, from a thread of its own. Dropping it leaves the terminal as it was.
pub(crate) struct Display {
    scene: Arc<Mutex<Scene>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is being played.
#[derive(Default)]
struct Scene {
    title: &'static str,
    meter: Option<Arc<Meter>>,
    begun: bool,
}

impl Display {
    pub(crate) fn start(
        style: Style,
        head: String,
        world: Arc<World>,
        log: Arc<Log>,
    ) -> std::io::Result<Self> {
        let scene = Arc::new(Mutex::new(Scene::default()));
        let (stop, stopped) = channel();
        let painter = Painter {
            head,
            world,
            log,
            scene: Arc::clone(&scene),
            known_lines: 0,
            errors: 0,
            second: None,
            second_began: clock::now(),
            terminal: (style == Style::Live).then(Terminal::new),
        };
        let thread = std::thread::Builder::new().name("display".into()).spawn(|| painter.run(stopped))?;
        Ok(Self { scene, stop: Some(stop), thread: Some(thread) })
    }

    /// A step begins.
    pub(crate) fn begin(&self, title: &'static str, meter: &Arc<Meter>) {
        let mut scene = self.scene.lock().unwrap_or_else(PoisonError::into_inner);
        *scene = Scene { title, meter: Some(Arc::clone(meter)), begun: true };
    }

    /// The step has ended.
    pub(crate) fn end(&self) {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner).meter = None;
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

struct Painter {
    head: String,
    world: Arc<World>,
    log: Arc<Log>,
    scene: Arc<Mutex<Scene>>,
    /// Lines of the log that have been printed.
    known_lines: usize,
    /// Since the beginning.
    errors: u64,
    /// The last whole second.
    second: Option<Second>,
    second_began: Instant,
    terminal: Option<Terminal>,
}

impl Painter {
    fn run(mut self, stopped: Receiver<()>) {
        if self.terminal.is_none() {
            print(&self.head);
        }
        loop {
            let last = stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout);
            self.paint();
            if last {
                return;
            }
        }
    }

    fn paint(&mut self) {
        let (title, meter, begun) = {
            let mut scene = self.scene.lock().unwrap_or_else(PoisonError::into_inner);
            (scene.title, scene.meter.clone(), std::mem::take(&mut scene.begun))
        };
        let now = clock::now();
        if begun {
            self.second_began = now;
            self.second = None;
        }
        let is_whole = now.saturating_duration_since(self.second_began) >= SECOND;
        let fresh = meter.filter(|_| is_whole).map(|meter| {
            let interval = meter.take_second();
            self.errors += interval.errors();
            Second::new(&interval, now.saturating_duration_since(self.second_began), self.errors)
        });
        if fresh.is_some() {
            self.second_began = now;
        }
        match self.terminal.take() {
            Some(mut terminal) => {
                self.second = fresh.or_else(|| self.second.take());
                terminal.draw(&frame::lines(&self.view(title)));
                self.terminal = Some(terminal);
            }
            None => self.print_news(begun.then_some(title), fresh.as_ref()),
        }
    }

    fn view(&self, title: &'static str) -> View<'_> {
        View {
            head: &self.head,
            title,
            elapsed: self.log.elapsed(),
            second: self.second.as_ref(),
            connections: self.connections(),
            log: self.log.after(0),
        }
    }

    fn print_news(&mut self, title: Option<&str>, second: Option<&Second>) {
        if let Some(title) = title {
            print(&format!("\n-- {title}"));
        }
        let lines = self.log.after(self.known_lines);
        self.known_lines += lines.len();
        lines.iter().for_each(|line| print(&line.to_string()));
        if let Some(second) = second {
            let elapsed = self.log.elapsed().as_secs_f64();
            print(&format!("{elapsed:7.3} s  load    {second}  {}", frame::nodes(&self.connections())));
        }
    }

    fn connections(&self) -> [(Node, usize); NODES] {
        Node::ALL.map(|node| (node, self.world.connections(node)))
    }
}

/// Prints a line; nobody may be listening any more.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
