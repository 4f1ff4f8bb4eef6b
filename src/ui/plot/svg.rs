//! A plot as one self-contained SVG document.

use std::fmt::Write;

use super::Plot;
use super::scene::{Anchor, Color, INK, PAPER, Place, Scene, Shape, Stroke, TEXT, WIDTH};

/// The document; `None` when there is nothing finite to draw.
pub fn svg(plot: &Plot) -> Option<String> {
    let scene = Scene::of(plot)?;
    let height = scene.height;
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"{TEXT}\" fill=\"{}\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"{}\"/>\n",
        hex(INK),
        hex(PAPER)
    );
    for shape in &scene.shapes {
        let _ = match shape {
            Shape::Line { places, stroke } => line(&mut out, places, stroke),
            Shape::Dot { place, radius, color } => {
                let ((cx, cy), color) = (*place, hex(*color));
                writeln!(
                    out,
                    "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{radius}\" fill=\"{color}\"/>"
                )
            }
            Shape::Text {
                place,
                anchor,
                size,
                text,
            } => {
                let ((x, y), anchor) = (*place, anchored(*anchor));
                let size = match *size == TEXT {
                    true => String::new(),
                    false => format!(" font-size=\"{size}\""),
                };
                let text = escaped(text);
                writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\"{anchor}{size}>{text}</text>")
            }
        };
    }
    out.push_str("</svg>\n");
    Some(out)
}

fn line(out: &mut String, places: &[Place], stroke: &Stroke) -> std::fmt::Result {
    let points: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dashes: Vec<String> = stroke.dashes.iter().map(u8::to_string).collect();
    let dashes = match dashes.is_empty() {
        true => String::new(),
        false => format!(" stroke-dasharray=\"{}\"", dashes.join(" ")),
    };
    writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dashes}/>",
        points.join(" "),
        hex(stroke.color),
        stroke.width
    )
}

fn anchored(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    }
}

fn hex([red, green, blue]: Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
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
