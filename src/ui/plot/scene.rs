//! Where everything in a picture of a plot lies and how it looks, whatever the picture is written as.

use super::{Axis, Plot, strokes};

pub const WIDTH: f64 = 800.0;
/// Size of all texts but the title.
pub const TEXT: f64 = 12.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;
/// Height of a line of the legend, which hangs below.
const LEGEND: f64 = 18.0;

/// Red, green and blue.
pub type Color = [u8; 3];

/// Behind everything.
pub const PAPER: Color = [0xff, 0xff, 0xff];
/// Texts, and the frame.
pub const INK: Color = [0x22, 0x22, 0x22];
/// Lines of the ticks.
const FAINT: Color = [0xe5, 0xe5, 0xe5];

/// Colours that people with any kind of sight tell apart (after Okabe and Ito).
const COLORS: [Color; 8] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    [0x00, 0x00, 0x00],
    [0x7f, 0x7f, 0x7f],
];

/// Dashes for the lines that begin with the colours again.
const DASHES: [&[u8]; 4] = [&[], &[8, 4], &[2, 3], &[8, 3, 2, 3]];

/// To the right, and down.
pub type Place = (f64, f64);

/// A picture, from its back to its front.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    pub height: f64,
    pub shapes: Vec<Shape>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Straight from place to place, with round joins.
    Line { places: Vec<Place>, stroke: Stroke },
    /// A point of a line that has no other.
    Dot { place: Place, radius: f64, color: Color },
    Text {
        place: Place,
        anchor: Anchor,
        size: f64,
        text: String,
    },
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stroke {
    pub color: Color,
    pub width: f64,
    /// Lengths of dashes and gaps, by turns; none for a line without gaps.
    pub dashes: &'static [u8],
}

/// Which part of a text is at its place. Its baseline always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Scene {
    /// The picture of a plot; `None` when there is nothing finite to draw.
    pub fn of(plot: &Plot) -> Option<Self> {
        let (x, y) = plot.axes(8, 6)?;
        let mut shapes = vec![Shape::Text {
            place: (WIDTH / 2.0, 24.0),
            anchor: Anchor::Middle,
            size: 16.0,
            text: plot.title.clone(),
        }];
        grid(&mut shapes, &x, &y, &plot.x);
        for (index, line) in plot.lines.iter().enumerate() {
            for part in strokes(line, &x, (WIDTH - LEFT - RIGHT) as usize) {
                let places = part
                    .iter()
                    .map(|point| (across(&x, point.0), up(&y, point.1)))
                    .collect();
                shapes.extend(drawn(places, stroke(index)));
            }
        }
        for (index, line) in plot.lines.iter().enumerate() {
            let at = HEIGHT + LEGEND * index as f64;
            shapes.push(Shape::Line {
                places: vec![(LEFT, at), (LEFT + 30.0, at)],
                stroke: stroke(index),
            });
            shapes.push(text((LEFT + 38.0, at + 4.0), Anchor::Start, &line.label));
        }
        let height = HEIGHT + LEGEND * plot.lines.len() as f64;
        Some(Self { height, shapes })
    }
}

/// What is drawn of a line between two gaps. All in one place, it would be a line without length that nobody sees.
fn drawn(places: Vec<Place>, stroke: Stroke) -> Option<Shape> {
    let first = *places.first()?;
    Some(match places.iter().all(|place| *place == first) {
        true => Shape::Dot {
            place: first,
            radius: 2.5,
            color: stroke.color,
        },
        false => Shape::Line { places, stroke },
    })
}

fn across(x: &Axis, value: f64) -> f64 {
    LEFT + x.share(value) * (WIDTH - LEFT - RIGHT)
}

fn up(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM)
}

/// How the line with a number is drawn.
fn stroke(index: usize) -> Stroke {
    Stroke {
        color: COLORS.get(index % COLORS.len()).copied().unwrap_or(INK),
        width: 1.8,
        dashes: DASHES.get(index / COLORS.len() % DASHES.len()).copied().unwrap_or(&[]),
    }
}

fn text(place: Place, anchor: Anchor, text: &str) -> Shape {
    Shape::Text {
        place,
        anchor,
        size: TEXT,
        text: text.to_owned(),
    }
}

fn thin(places: &[Place], color: Color) -> Shape {
    Shape::Line {
        places: places.to_vec(),
        stroke: Stroke {
            color,
            width: 1.0,
            dashes: &[],
        },
    }
}

/// Frame, ticks and their lines, and the name of the horizontal axis.
fn grid(shapes: &mut Vec<Shape>, x: &Axis, y: &Axis, name: &str) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, label) in x.ticks() {
        let at = across(x, value);
        shapes.push(thin(&[(at, TOP), (at, bottom)], FAINT));
        shapes.push(text((at, bottom + 18.0), Anchor::Middle, &label));
    }
    for (value, label) in y.ticks() {
        let at = up(y, value);
        shapes.push(thin(&[(LEFT, at), (right, at)], FAINT));
        shapes.push(text((LEFT - 8.0, at + 4.0), Anchor::End, &label));
    }
    shapes.push(thin(&[(LEFT, TOP), (LEFT, bottom), (right, bottom)], INK));
    shapes.push(text(((LEFT + right) / 2.0, bottom + 38.0), Anchor::Middle, name));
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;

    fn scene(points: &[(f64, f64)]) -> Option<Scene> {
        Scene::of(&Plot {
            title: "loss".into(),
            x: "step".into(),
            lines: vec![Line {
                label: "a".into(),
                points: points.to_vec(),
            }],
        })
    }

    #[test]
    fn what_has_no_length_is_a_dot() {
        let is_dot = |shape: &&Shape| matches!(shape, Shape::Dot { .. });
        let dots = |points| scene(points).unwrap().shapes.iter().filter(is_dot).count();
        assert_eq!(dots(&[(1.0, 2.0)]), 1);
        assert_eq!(dots(&[(1.0, 2.0), (1.0, 2.0)]), 1);
        assert_eq!(dots(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)]), 2);
        assert_eq!(dots(&[(1.0, 2.0), (2.0, 3.0)]), 0);
        assert_eq!(scene(&[(1.0, f64::NAN)]), None);
    }

    #[test]
    fn all_lines_look_different() {
        let strokes: Vec<Stroke> = (0..COLORS.len() * DASHES.len()).map(stroke).collect();
        for (index, stroke) in strokes.iter().enumerate() {
            assert!(!strokes[..index].contains(stroke), "{index}: {stroke:?}");
        }
    }
}
