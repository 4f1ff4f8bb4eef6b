//! A plot as one self-contained SVG document.

use std::fmt::Write;

use super::{Axis, Plot, strokes};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;
/// Height of a line of the legend, which hangs below.
const LEGEND: f64 = 18.0;

/// Colours that people with any kind of sight tell apart (after Okabe and Ito).
const COLORS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f",
];

/// Dashes for the lines that begin with the colours again.
const DASHES: [&str; 4] = [
    "",
    " stroke-dasharray=\"8 4\"",
    " stroke-dasharray=\"2 3\"",
    " stroke-dasharray=\"8 3 2 3\"",
];

/// The document; `None` when there is nothing finite to draw.
pub fn svg(plot: &Plot) -> Option<String> {
    let (x, y) = plot.axes(8, 6)?;
    let height = HEIGHT + LEGEND * plot.lines.len() as f64;
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{}\" y=\"24\" text-anchor=\"middle\" font-size=\"16\">{}</text>\n",
        WIDTH / 2.0,
        escaped(&plot.title)
    );
    grid(&mut out, &x, &y, &plot.x);
    for (index, line) in plot.lines.iter().enumerate() {
        let style = style(index);
        for stroke in strokes(line, &x, (WIDTH - LEFT - RIGHT) as usize) {
            let points: Vec<String> = stroke
                .iter()
                .map(|point| format!("{:.1},{:.1}", across(&x, point.0), up(&y, point.1)))
                .collect();
            let _ = match points.as_slice() {
                [one] => {
                    let (cx, cy) = one.split_once(',').unwrap_or_default();
                    let color = COLORS.get(index % COLORS.len()).copied().unwrap_or_default();
                    writeln!(out, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"2.5\" fill=\"{color}\"/>")
                }
                several => writeln!(out, "<polyline points=\"{}\" {style}/>", several.join(" ")),
            };
        }
    }
    for (index, line) in plot.lines.iter().enumerate() {
        let at = HEIGHT + LEGEND * index as f64;
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at}h30\" {}/><text x=\"{}\" y=\"{}\">{}</text>",
            style(index),
            LEFT + 38.0,
            at + 4.0,
            escaped(&line.label)
        );
    }
    out.push_str("</svg>\n");
    Some(out)
}

fn across(x: &Axis, value: f64) -> f64 {
    LEFT + x.share(value) * (WIDTH - LEFT - RIGHT)
}

fn up(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM)
}

fn style(index: usize) -> String {
    let color = COLORS.get(index % COLORS.len()).copied().unwrap_or_default();
    let dash = DASHES
        .get(index / COLORS.len() % DASHES.len())
        .copied()
        .unwrap_or_default();
    format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dash}")
}

/// Frame, ticks and their lines, and the name of the horizontal axis.
fn grid(out: &mut String, x: &Axis, y: &Axis, name: &str) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, text) in x.ticks() {
        let at = across(x, value);
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#e5e5e5\"/><text x=\"{at:.1}\" y=\"{}\" \
             text-anchor=\"middle\">{text}</text>",
            bottom + 18.0
        );
    }
    for (value, text) in y.ticks() {
        let at = up(y, value);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e5e5e5\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{text}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#222\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        bottom + 38.0,
        escaped(name)
    );
}

/// Text as XML has it. Characters that XML does not have are left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            sign if sign.is_control() || matches!(sign, '\u{fffe}' | '\u{ffff}') => {}
            sign => out.push(sign),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;

    #[test]
    fn a_plot_is_drawn_as_pinned() {
        let line = |label: &str, points: &[(f64, f64)]| Line {
            label: label.into(),
            points: points.to_vec(),
        };
        let plot = Plot {
            title: "loss <&\u{1b}>".into(),
            x: "step".into(),
            lines: vec![
                line("a", &[(0.0, 1.0), (1.0, 0.5), (2.0, f64::NAN), (3.0, 0.25)]),
                line("b \"x\"", &[(0.0, 0.9), (3.0, 0.0)]),
            ],
        };
        insta::assert_snapshot!(svg(&plot).unwrap());
        let none = Plot {
            lines: vec![line("a", &[(0.0, f64::NAN)])],
            ..plot
        };
        assert_eq!(svg(&none), None);
    }
}
