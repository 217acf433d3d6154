//! Takes the times. Run by `cargo xtask bench`.
fn main() {
    let rounds = 30;
    for case in hitless_bench::codec::cases::all() {
        let mut work = Vec::new();
        for c in hitless_bench::codec::decoders::CONTENDERS {
            let mut pass = (c.prepare)(&case);
            for _ in 0..3 {
                let n = pass();
                assert_eq!(n, case.replies, "{} {}", c.name, case.name);
            }
            work.push(Box::new(move || {
                pass();
            }) as Box<dyn FnMut() + '_>);
        }
        let t = hitless_bench::measure::interleaved(&mut work, rounds);
        print!("{:3}", case.name);
        for t in t {
            let t = t.per(case.divisor);
            print!("  {:8.1} ({:8.1})", t.best, t.median);
        }
        println!();
    }
    let mut work = Vec::new();
    for c in hitless_bench::codec::encoders::CONTENDERS {
        let mut pass = (c.prepare)();
        assert_eq!(pass(), 107);
        work.push(Box::new(move || {
            pass();
        }) as Box<dyn FnMut() + '_>);
    }
    let t = hitless_bench::measure::interleaved(&mut work, rounds);
    for t in t {
        print!("  {:8.1} ({:8.1})", t.best, t.median);
    }
    println!();
}
