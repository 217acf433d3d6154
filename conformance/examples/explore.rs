//! Explores the machines at small scope. `cargo xtask explore` is the way to call it.

use std::process::ExitCode;

use hitless_conformance::clock;
use hitless_conformance::explore::{self, Failure, Limits, Report, SCOPES, Scope};

/// What is asked for.
#[derive(Default)]
struct Options {
    scope: Option<String>,
    depth: Option<u32>,
    states: Option<usize>,
    replay: Option<Vec<u16>>,
}

fn main() -> ExitCode {
    let Some(options) = read(std::env::args().skip(1)) else {
        eprintln!("explore [--scope NAME] [--depth N] [--states N] [--replay N.N.N]");
        return ExitCode::FAILURE;
    };
    let wanted = |scope: &&Scope| options.scope.as_deref().is_none_or(|name| name == scope.name());
    let scopes: Vec<&Scope> = SCOPES.iter().filter(wanted).collect();
    if scopes.is_empty() {
        let names: Vec<&str> = SCOPES.iter().map(Scope::name).collect();
        eprintln!("the scopes are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    // What a law says is printed once, below.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(path) = &options.replay {
        scopes.into_iter().for_each(|scope| print!("{}", explore::replay(scope, path, clock::now())));
        return ExitCode::SUCCESS;
    }
    run(&scopes, &options)
}

fn read(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options::default();
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--scope" => options.scope = Some(value),
            "--depth" => options.depth = Some(value.parse().ok()?),
            "--states" => options.states = Some(value.parse().ok()?),
            "--replay" => {
                let places = value.split('.').filter(|place| !place.is_empty());
                options.replay = Some(places.map(|place| place.parse().ok()).collect::<Option<_>>()?);
            }
            _ => return None,
        }
    }
    Some(options)
}

fn run(scopes: &[&Scope], options: &Options) -> ExitCode {
    let start = clock::now();
    let (mut states, mut failed) = (0, 0);
    for scope in scopes {
        let limits = scope.limits();
        let limits = Limits {
            depth: options.depth.unwrap_or(limits.depth),
            states: options.states.unwrap_or(limits.states),
            ..limits
        };
        println!("{}: {}", scope.name(), scope.about());
        let begin = clock::now();
        match explore::explore(scope, limits, begin) {
            Ok(report) => {
                tell(&report);
                println!("    {:.1?}", clock::now() - begin);
                states += report.states;
            }
            Err(failure) => {
                show(scope, &failure);
                failed += 1;
            }
        }
    }
    println!("{states} distinct states in {:.1?}, {failed} scopes with a violation", clock::now() - start);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(report: &Report) {
    let Report { states, machine_states, steps, depth, completions, exhausted, .. } = report;
    let extent = match exhausted {
        true => format!("all there is, {depth} facts deep"),
        false => format!("every sequence of {depth} facts, and some beyond"),
    };
    println!("    {states} distinct states ({machine_states} of the machine alone), {steps} steps: {extent}");
    println!("    {completions} of them brought to rest");
}

fn show(scope: &Scope, failure: &Failure) {
    println!("    {}", failure.violation);
    for line in explore::replay(scope, &failure.path, clock::now()).lines() {
        println!("    {line}");
    }
    let path: Vec<String> = failure.path.iter().map(u16::to_string).collect();
    println!("again: cargo xtask explore --scope {} --replay {}", scope.name(), path.join("."));
}
