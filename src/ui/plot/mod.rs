//! Plots of lines over an axis: in the terminal, as SVG and as PNG. What is drawn is the caller's.

mod axis;
mod glyphs;
mod png;
mod scene;
mod svg;
mod terminal;

pub use png::{lacks_letters, png};
pub use svg::svg;
pub use terminal::{Look, terminal};

use axis::Axis;

/// Lines that one plot shows at the most.
pub const MAX_LINES: usize = 64;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is called in the legend.
    pub label: String,
    /// Its points, by rising x. Values that are not finite leave a gap.
    pub points: Vec<(f64, f64)>,
}

/// Lines with what they have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Above the plot.
    pub title: String,
    /// What the horizontal axis is.
    pub x: String,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Plot {
    /// Both axes; `None` when there is nothing finite to draw.
    fn axes(&self, across: usize, up: usize) -> Option<(Axis, Axis)> {
        let points = || {
            self.lines
                .iter()
                .flat_map(|line| &line.points)
                .filter(|point| is_finite(point))
        };
        let x = Axis::over(points().map(|(x, _)| *x), across)?;
        let y = Axis::over(points().map(|(_, y)| *y), up)?;
        Some((x, y))
    }
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

/// The parts of a line between its gaps, with at most four points in each of `columns` columns: what else there is in a
/// column would be drawn over it.
fn strokes(line: &Line, x: &Axis, columns: usize) -> Vec<Vec<(f64, f64)>> {
    let mut strokes = Vec::new();
    for part in line.points.split(|point| !is_finite(point)) {
        let mut stroke: Vec<(f64, f64)> = Vec::new();
        let mut waiting: Vec<(f64, f64)> = Vec::new();
        let mut current = None;
        for point in part {
            let column = (x.share(point.0) * columns as f64) as i64;
            if current != Some(column) {
                stroke.append(&mut waiting);
                current = Some(column);
            }
            keep_extremes(&mut waiting, *point);
        }
        stroke.append(&mut waiting);
        if !stroke.is_empty() {
            strokes.push(stroke);
        }
    }
    strokes
}

/// Adds a point to those of one column, of which only the first, the lowest, the highest and the last stay.
fn keep_extremes(kept: &mut Vec<(f64, f64)>, point: (f64, f64)) {
    kept.push(point);
    if kept.len() <= 4 {
        return;
    }
    let rank = |one: &(usize, &(f64, f64)), other: &(usize, &(f64, f64))| one.1.1.total_cmp(&other.1.1);
    let lowest = kept.iter().enumerate().min_by(rank).map(|(index, _)| index);
    let highest = kept.iter().enumerate().max_by(rank).map(|(index, _)| index);
    let last = kept.len() - 1;
    let spare = (1..last).find(|index| Some(*index) != lowest && Some(*index) != highest);
    if let Some(spare) = spare {
        kept.remove(spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_thinned_and_keep_their_extremes() {
        let points: Vec<(f64, f64)> = (0..100_000)
            .map(|step| (f64::from(step), f64::from(step % 977)))
            .collect();
        let line = Line {
            label: "a".into(),
            points,
        };
        let x = Axis::over(line.points.iter().map(|(x, _)| *x), 5).unwrap();
        let strokes = strokes(&line, &x, 100);
        assert_eq!(strokes.len(), 1);
        assert!(strokes[0].len() <= 404, "{}", strokes[0].len());
        assert!(strokes[0].iter().any(|(_, y)| *y == 976.0) && strokes[0].iter().any(|(_, y)| *y == 0.0));
        assert!(strokes[0].windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    #[test]
    fn what_is_not_finite_leaves_a_gap() {
        let line = Line {
            label: "a".into(),
            points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, f64::INFINITY)],
        };
        let x = Axis::over([0.0, 3.0].into_iter(), 5).unwrap();
        assert_eq!(strokes(&line, &x, 10), [[(0.0, 1.0)], [(2.0, 3.0)]]);
    }
}
