//! A plot as lines of text: dots of Braille, or letters where only ASCII is shown.

use unicode_width::UnicodeWidthStr;

use super::{Axis, Plot, strokes};

/// Rows of the drawing.
const ROWS: usize = 16;

/// Cells of the drawing, at the least and the most.
const NARROWEST: usize = 20;
const WIDEST: usize = 140;

/// What lines are drawn with where there are no colours, or no Braille.
const LETTERS: [char; 8] = ['*', 'o', '+', 'x', '#', '%', '@', '='];

/// ANSI colours of lines.
const COLORS: [&str; 6] = ["34", "31", "32", "35", "33", "36"];

/// What the terminal can show.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Cells in a line.
    pub columns: usize,
    /// More than ASCII.
    pub utf8: bool,
    /// Colours.
    pub color: bool,
}

/// What is drawn in one cell.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Dots, as Braille counts them.
    dots: u8,
    /// The line that drew last.
    line: Option<usize>,
}

struct Canvas {
    columns: usize,
    cells: Vec<Cell>,
}

impl Canvas {
    /// Draws a dot; there are two across and four down in a cell.
    fn dot(&mut self, across: i64, down: i64, line: usize) {
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        let (Ok(across), Ok(down)) = (usize::try_from(across), usize::try_from(down)) else {
            return;
        };
        let bit = BITS
            .get(across % 2)
            .and_then(|bits| bits.get(down % 4))
            .copied()
            .unwrap_or(0);
        if across / 2 < self.columns
            && let Some(cell) = self.cells.get_mut(down / 4 * self.columns + across / 2)
        {
            cell.dots |= bit;
            cell.line = Some(line);
        }
    }

    /// Draws a straight line between two dots.
    fn stroke(&mut self, from: (i64, i64), to: (i64, i64), line: usize) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).max(1);
        for step in 0..=steps {
            let along =
                |from: i64, to: i64| from + ((to - from) * step * 2 + steps * (to - from).signum()) / (steps * 2);
            self.dot(along(from.0, to.0), along(from.1, to.1), line);
        }
    }
}

/// The lines of text; `None` when there is nothing finite to draw. `paint` puts text into a colour.
pub fn terminal(plot: &Plot, look: Look, paint: impl Fn(&str, &str) -> String) -> Option<Vec<String>> {
    // Dots of several lines look the same without colours.
    let braille = look.utf8 && (look.color || plot.lines.len() == 1);
    let (_, y) = plot.axes(6, 5)?;
    let labels = y.ticks();
    let margin = labels.iter().map(|(_, text)| text.width()).max().unwrap_or(0);
    let columns = look.columns.saturating_sub(margin + 3).clamp(NARROWEST, WIDEST);
    let (x, _) = plot.axes(columns / 12, 5)?;
    let mut canvas = Canvas {
        columns,
        cells: vec![Cell::default(); columns * ROWS],
    };
    let (across, down) = ((columns * 2 - 1) as f64, (ROWS * 4 - 1) as f64);
    let place = |point: &(f64, f64)| {
        let (right, up) = (x.share(point.0) * across, (1.0 - y.share(point.1)) * down);
        (right.round() as i64, up.round() as i64)
    };
    for (index, line) in plot.lines.iter().enumerate() {
        for stroke in strokes(line, &x, columns * 2) {
            let places: Vec<(i64, i64)> = stroke.iter().map(place).collect();
            if let Some(first) = places.first() {
                canvas.dot(first.0, first.1, index);
            }
            for pair in places.windows(2) {
                if let [from, to] = pair {
                    canvas.stroke(*from, *to, index);
                }
            }
        }
    }
    let letter = |index: usize| LETTERS.get(index % LETTERS.len()).copied().unwrap_or('*');
    let color = |index: usize| COLORS.get(index % COLORS.len()).copied().unwrap_or("0");
    let drawn = |cell: &Cell| match cell.line {
        None => " ".to_owned(),
        Some(index) => {
            let braille_sign = char::from_u32(0x2800 + u32::from(cell.dots)).unwrap_or('*');
            let sign = if braille { braille_sign } else { letter(index) };
            paint(color(index), &sign.to_string())
        }
    };
    let [wall, corner, floor, tick] = match look.utf8 {
        true => ['│', '└', '─', '┤'],
        false => ['|', '+', '-', '+'],
    };
    let mut lines = vec![format!("{}{}", " ".repeat(margin + 2), plot.title)];
    let row_of = |value: f64| (((1.0 - y.share(value)) * down).round() as usize) / 4;
    for (row, cells) in canvas.cells.chunks(columns).enumerate() {
        let label = labels
            .iter()
            .find(|(value, _)| row_of(*value) == row)
            .map(|(_, text)| text.as_str());
        let edge = if label.is_some() { tick } else { wall };
        let label = label.unwrap_or_default();
        let space = " ".repeat(margin - label.width().min(margin));
        let drawing: String = cells.iter().map(drawn).collect();
        lines.push(format!("{space}{label} {edge}{drawing}").trim_end().to_owned());
    }
    let base: String = std::iter::repeat_n(floor, columns).collect();
    lines.push(format!("{} {corner}{base}", " ".repeat(margin)));
    lines.push(
        format!("{}{}", " ".repeat(margin + 2), scale(&x, columns))
            .trim_end()
            .to_owned(),
    );
    let named = format!("{}{}", " ".repeat(margin + 2), plot.x);
    lines.push(named);
    for (index, line) in plot.lines.iter().enumerate() {
        let sign = if braille {
            "──".to_owned()
        } else {
            letter(index).to_string()
        };
        lines.push(format!("  {} {}", paint(color(index), &sign), line.label));
    }
    Some(lines)
}

/// The numbers below the horizontal axis, as many as do not touch.
fn scale(x: &Axis, columns: usize) -> String {
    let mut text = String::new();
    for (value, label) in x.ticks() {
        let middle = (x.share(value) * (columns.saturating_sub(1)) as f64).round() as usize;
        let start = middle.saturating_sub(label.len() / 2);
        let fits = text.is_empty() || start > text.len();
        if fits && start + label.len() <= columns + 2 {
            text.push_str(&" ".repeat(start - text.len().min(start)));
            text.push_str(&label);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;

    fn plot(count: usize) -> Plot {
        let line = |index: usize| Line {
            label: format!("line {index}"),
            points: (0..50)
                .map(|step| (f64::from(step), 1.0 / f64::from(step + 1) + index as f64))
                .collect(),
        };
        Plot {
            title: "loss".into(),
            x: "step".into(),
            lines: (0..count).map(line).collect(),
        }
    }

    fn drawn(plot: &Plot, columns: usize, utf8: bool) -> String {
        let look = Look {
            columns,
            utf8,
            color: false,
        };
        terminal(plot, look, |_, text| text.to_owned()).unwrap().join("\n")
    }

    #[test]
    fn one_line_is_drawn_in_dots() {
        insta::assert_snapshot!(drawn(&plot(1), 60, true));
    }

    #[test]
    fn letters_tell_lines_apart_without_colours() {
        let text = drawn(&plot(2), 60, false);
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn any_width_and_any_values_can_be_drawn() {
        let mut plot = plot(3);
        plot.lines[0].points = vec![(1.0, f64::MAX), (2.0, f64::MIN), (2.0, f64::NAN)];
        plot.lines[1].points = vec![(-1e-300, 5.0)];
        plot.lines[2].points.clear();
        for columns in [0, 1, 20, 80, 10_000] {
            let text = drawn(&plot, columns, true);
            assert!(text.lines().all(|line| line.chars().count() < 200), "{columns}: {text}");
        }
    }
}
