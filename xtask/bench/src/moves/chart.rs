//! The curves as an SVG picture, readable on light and on dark pages.

use std::fmt::Write;
use std::time::Duration;

use super::figures::{Mark, Point};

/// A picture: side by side one column for each scenario, with operations above and latencies below.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// Where and how it was measured.
    pub(super) caption: &'a str,
    /// For those who cannot see it.
    pub(super) description: &'a str,
    /// The curves' names, in the order of those in each column.
    pub(super) legend: Vec<&'a str>,
    pub(super) columns: Vec<Column<'a>>,
}

/// One scenario.
pub(super) struct Column<'a> {
    pub(super) title: &'a str,
    /// Below the title.
    pub(super) note: String,
    pub(super) marks: &'a [Mark],
    pub(super) curves: Vec<&'a [Point]>,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
/// Between two columns, where the second one has its numbers.
const BETWEEN: f64 = 64.0;
const TITLE: f64 = 24.0;
const LEGEND: f64 = 48.0;
const HEAD: f64 = 80.0;
const NOTE: f64 = 97.0;
/// Names of marks, one below the other, so that they do not meet.
const FIRST_MARK: f64 = 119.0;
const MARK: f64 = 14.0;
const HEIGHT: f64 = 130.0;
/// Between the two panels of a column.
const GAP: f64 = 28.0;
/// From the last panel to the end: the numbers and the name of its axis, and the caption.
const FOOT: f64 = 66.0;

/// Each curve has a colour and a dash, on light and on dark pages.
const STYLE: &str = "\
.title{font-size:15px;font-weight:600}.head{font-weight:600}.page{fill:#ffffff}.text{fill:#1f2328}.faint{fill:#59636e}.grid{stroke:#d1d9e0}.event{stroke:#8c959f;stroke-dasharray:2 3}\
.curve{fill:none;stroke-width:2;stroke-linejoin:round}.curve0{stroke:#0969da}.curve1{stroke:#bc4c00;stroke-dasharray:6 3}\
@media(prefers-color-scheme:dark){.page{fill:#0d1117}.text{fill:#f0f6fc}.faint{fill:#9198a1}.grid{stroke:#3d444d}\
.curve0{stroke:#4493f8}.curve1{stroke:#f0883e}}";

/// A stretch of values on a stretch of the picture.
#[derive(Clone, Copy, Debug)]
struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
}

impl Scale {
    fn at(self, value: f64) -> f64 {
        let ((low, high), (from, to)) = (self.values, self.pixels);
        from + (value - low) / (high - low) * (to - from)
    }
}

impl Chart<'_> {
    /// The whole file.
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        let marks = self.columns.iter().map(|column| column.marks.len()).max().unwrap_or_default();
        let top = FIRST_MARK + MARK * marks as f64;
        let height = top + 2.0 * HEIGHT + GAP + FOOT;
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{}</title>\n<desc>{}</desc>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>",
            escaped(self.title),
            escaped(self.description)
        );
        text(&mut out, "text title", (LEFT, TITLE), "start", self.title);
        self.draw_legend(&mut out);
        let panels = self.panels(top);
        let columns = self.columns.len().max(1) as f64;
        let width = (WIDTH - LEFT - RIGHT - BETWEEN * (columns - 1.0)) / columns;
        for (at, column) in self.columns.iter().enumerate() {
            let left = LEFT + at as f64 * (width + BETWEEN);
            column.draw(&mut out, (left, left + width), &panels);
        }
        text(&mut out, "faint", (LEFT, height - 12.0), "start", self.caption);
        out += "</svg>\n";
        out
    }

    fn draw_legend(&self, out: &mut String) {
        let mut x = LEFT;
        for (at, name) in self.legend.iter().enumerate() {
            let y = LEGEND - 4.0;
            let _ = writeln!(out, "<path class=\"curve curve{at}\" d=\"M{x:.1} {y:.1}h30\"/>");
            text(out, "text", (x + 38.0, LEGEND), "start", name);
            // Wide enough for any letter.
            x += 38.0 + 8.0 * name.len() as f64;
        }
    }

    /// The two panels, whose scales are those of all columns.
    fn panels(&self, top: f64) -> [Panel; 2] {
        let points = || self.columns.iter().flat_map(|column| column.curves.iter().copied().flatten());
        let highest = points().map(|point| point.rate).fold(1.0, f64::max);
        let step = nice_step(highest / 4.0);
        let steps = (highest / step).ceil() as u32;
        let thousands = |value: f64| format!("{}", value / 1e3);
        let rates = Panel {
            name: "thousand operations/s",
            of: |point| Some(point.rate),
            scale: Scale { values: (0.0, step * f64::from(steps)), pixels: (top + HEIGHT, top) },
            ticks: (0..=steps).map(|tick| step * f64::from(tick)).map(|at| (at, thousands(at))).collect(),
        };
        let latencies = || points().filter_map(|point| point.slowest).map(decade);
        let low = latencies().fold(f64::INFINITY, f64::min).floor().min(0.0);
        let high = latencies().fold(1.0, f64::max).ceil().max(low + 1.0);
        let top = top + HEIGHT + GAP;
        let decades = (0..).map(|tick| low + f64::from(tick)).take_while(|decade| *decade <= high);
        let latencies = Panel {
            name: "slowest operation, logarithmic",
            of: |point| point.slowest.map(decade),
            scale: Scale { values: (low, high), pixels: (top + HEIGHT, top) },
            ticks: decades.map(|decade| (decade, decade_name(decade))).collect(),
        };
        [rates, latencies]
    }
}

/// What the panels of all columns have in common.
struct Panel {
    name: &'static str,
    of: fn(&Point) -> Option<f64>,
    scale: Scale,
    ticks: Vec<(f64, String)>,
}

impl Column<'_> {
    fn draw(&self, out: &mut String, (left, right): (f64, f64), panels: &[Panel; 2]) {
        let times = || self.curves.iter().copied().flatten().map(|point| point.at);
        let (first, last) = (times().fold(0.0, f64::min), times().fold(1.0, f64::max));
        let time = Scale { values: (first, last), pixels: (left, right) };
        text(out, "text head", (left, HEAD), "start", self.title);
        text(out, "text", (left, NOTE), "start", &self.note);
        for panel in panels {
            panel.draw(out, time, &self.curves);
        }
        let [_, bottom] = panels.each_ref().map(|panel| panel.scale.pixels.0);
        for (at, Mark { at: when, what }) in self.marks.iter().enumerate() {
            let (x, y) = (time.at(when.as_secs_f64()), FIRST_MARK + MARK * at as f64);
            let _ = writeln!(out, "<path class=\"event\" d=\"M{x:.1} {:.1}V{bottom:.1}\"/>", y - 10.0);
            // Those on the right are written to the left.
            let is_right = x > (left + right) / 2.0;
            let (x, anchor) = if is_right { (x - 4.0, "end") } else { (x + 4.0, "start") };
            text(out, "faint", (x, y), anchor, what);
        }
        for second in (first.ceil() as i32)..=(last.floor() as i32) {
            text(out, "faint", (time.at(f64::from(second)), bottom + 16.0), "middle", &second.to_string());
        }
        text(out, "faint", ((left + right) / 2.0, bottom + 32.0), "middle", "seconds from the event on");
    }
}

impl Panel {
    fn draw(&self, out: &mut String, time: Scale, curves: &[&[Point]]) {
        let (left, right) = time.pixels;
        for (value, name) in &self.ticks {
            let y = self.scale.at(*value);
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>");
            text(out, "faint", (left - 6.0, y + 4.0), "end", name);
        }
        text(out, "faint", (left, self.scale.pixels.1 - 6.0), "start", self.name);
        for (at, points) in curves.iter().enumerate().rev() {
            let pixels =
                points.iter().map(|point| Some((time.at(point.at), self.scale.at((self.of)(point)?))));
            *out += &curve(at, &pixels.collect::<Vec<_>>());
        }
    }
}

/// A line through the points; where one is missing, it ends, and begins again behind it. A point between two that are missing, through
/// which no line leads, is a dot.
fn curve(at: usize, points: &[Option<(f64, f64)>]) -> String {
    let (mut line, mut dots) = (String::new(), String::new());
    for stroke in points.split(Option::is_none) {
        if let [Some((x, y))] = stroke {
            let _ = writeln!(dots, "<circle class=\"curve curve{at}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1\"/>");
            continue;
        }
        for (point, (x, y)) in stroke.iter().flatten().enumerate() {
            let _ = write!(line, "{}{x:.1} {y:.1}", if point == 0 { 'M' } else { 'L' });
        }
    }
    format!("<path class=\"curve curve{at}\" d=\"{line}\"/>\n{dots}")
}

/// The next of 1, 2, 5, 10, 20 ... that is not below.
fn nice_step(least: f64) -> f64 {
    let magnitude = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    steps.into_iter().find(|step| *step >= least * 0.999_999).unwrap_or(magnitude * 10.0)
}

/// The logarithm of its milliseconds.
fn decade(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e3).max(1e-3).log10()
}

fn decade_name(decade: f64) -> String {
    let millis = 10_f64.powf(decade);
    if millis >= 999.0 {
        format!("{:.0} s", millis / 1e3)
    } else {
        format!("{} ms", (millis * 1e3).round() / 1e3)
    }
}

fn text(out: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn point(at: f64, rate: f64, slowest: impl Into<Option<Duration>>) -> Point {
        Point { at, rate, slowest: slowest.into() }
    }

    fn picture() -> String {
        let ours = [point(-1.0, 6400.0, 2 * MS), point(0.0, 6300.0, 2 * MS), point(2.0, 6400.0, 3 * MS)];
        let theirs = [point(-1.0, 6400.0, 2 * MS), point(0.0, 0.0, None), point(2.0, 6400.0, 1100 * MS)];
        let marks = [
            Mark { at: Duration::ZERO, what: "MOVING" },
            Mark { at: 1500 * MS, what: "the old node <closes>" },
        ];
        let column = |title| Column {
            title,
            note: "gap 1.1 s".to_owned(),
            marks: &marks,
            curves: vec![&ours, &theirs],
        };
        let chart = Chart {
            title: "A & B",
            caption: "30 November 2026, 2 processors",
            description: "two curves",
            legend: vec!["ours: 0 errors", "theirs: 12 errors"],
            columns: vec![column("one"), column("other")],
        };
        chart.svg()
    }

    #[test]
    fn all_that_a_reader_needs_is_in_the_picture() {
        let svg = picture();
        for text in [
            "<title>A &amp; B</title>",
            "<desc>two curves</desc>",
            ">30 November 2026, 2 processors<",
            ">ours: 0 errors<",
            ">theirs: 12 errors<",
            ">MOVING<",
            ">the old node &lt;closes&gt;<",
            ">one<",
            ">gap 1.1 s<",
            ">other<",
            ">thousand operations/s<",
            ">slowest operation, logarithmic<",
            ">seconds from the event on<",
            ">1 ms<",
            ">100 ms<",
            ">10 s<",
            "prefers-color-scheme:dark",
        ] {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn every_element_is_closed() {
        let svg = picture();
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{svg}");
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert_eq!(open, [""; 0]);
        assert_eq!(svg.matches('"').count() % 2, 0);
    }

    #[test]
    fn curves_stay_inside_of_their_panels() {
        let (top, bottom) = (FIRST_MARK + 2.0 * MARK, FIRST_MARK + 2.0 * MARK + 2.0 * HEIGHT + GAP);
        let svg = picture();
        let curves = svg.lines().filter(|line| line.contains("class=\"curve") && !line.contains("h30"));
        let attribute = |line: &str, name: &str| {
            let value = line.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
            value.map_or_else(String::new, |(value, _)| value.to_owned())
        };
        let mut count = 0;
        for line in curves {
            let dot = format!("{} {}", attribute(line, "cx"), attribute(line, "cy"));
            let path = if line.starts_with("<circle") { dot } else { attribute(line, "d") };
            for point in path.split(['M', 'L']).filter(|point| !point.is_empty()) {
                let (x, y) = point.split_once(' ').unwrap();
                let [x, y] = [x, y].map(|number| number.parse::<f64>().unwrap());
                assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (top..=bottom).contains(&y), "{line}");
                count += 1;
            }
        }
        assert_eq!(count, 2 * (3 + 3 + 3 + 2), "points of two columns");
    }

    #[test]
    fn a_curve_breaks_where_there_is_nothing() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0)), Some((4.0, 5.0))];
        assert_eq!(
            curve(1, &points),
            "<path class=\"curve curve1\" d=\"M0.0 1.0L1.0 2.0M3.0 4.0L4.0 5.0\"/>\n"
        );
        assert_eq!(curve(0, &[None]), "<path class=\"curve curve0\" d=\"\"/>\n");
    }

    #[test]
    fn a_lone_point_is_a_dot() {
        let points = [Some((0.0, 1.0)), None, Some((2.0, 3.0)), None, Some((4.0, 5.0)), Some((5.0, 6.0))];
        let svg = curve(0, &points);
        assert!(svg.starts_with("<path class=\"curve curve0\" d=\"M4.0 5.0L5.0 6.0\"/>"), "{svg}");
        for dot in ["cx=\"0.0\" cy=\"1.0\"", "cx=\"2.0\" cy=\"3.0\""] {
            assert!(svg.contains(&format!("<circle class=\"curve curve0\" {dot} r=\"1\"/>")), "{svg}");
        }
    }

    #[test]
    fn numbers_are_round() {
        assert_eq!([0.7, 1.0, 1.1, 3.0, 6.0].map(nice_step), [1.0, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!([1600.0, 0.03].map(nice_step), [2000.0, 0.05]);
        assert_eq!([-1.0, 0.0, 2.0, 3.0, 4.0].map(decade_name), ["0.1 ms", "1 ms", "100 ms", "1 s", "10 s"]);
        assert_eq!(decade(100 * MS), 2.0);
    }

    #[test]
    fn a_scale_may_run_upwards() {
        let scale = Scale { values: (0.0, 10.0), pixels: (100.0, 0.0) };
        assert_eq!([0.0, 5.0, 10.0].map(|value| scale.at(value)), [100.0, 50.0, 0.0]);
    }
}
