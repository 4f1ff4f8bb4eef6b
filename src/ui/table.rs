//! Tables of text: columns as wide as their widest cell, and only as many as there is room for.

use unicode_width::UnicodeWidthStr;

/// Spaces between columns.
const GAP: usize = 2;

/// Which side cells keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A title and a cell a row.
#[derive(Debug, Clone)]
pub struct Column {
    title: String,
    cells: Vec<String>,
    align: Align,
}

impl Column {
    pub fn new(title: impl Into<String>, cells: Vec<String>) -> Self {
        Self {
            title: title.into(),
            cells,
            align: Align::Left,
        }
    }

    pub fn aligned(self, align: Align) -> Self {
        Self { align, ..self }
    }

    fn width(&self) -> usize {
        let widths = self.cells.iter().map(|cell| cell.width());
        widths.chain([self.title.width()]).max().unwrap_or(0)
    }

    fn cell(&self, row: Option<usize>, width: usize) -> String {
        let text = match row {
            None => self.title.as_str(),
            Some(row) => self.cells.get(row).map_or("", String::as_str),
        };
        let space = " ".repeat(width.saturating_sub(text.width()));
        match self.align {
            Align::Left => format!("{text}{space}"),
            Align::Right => format!("{space}{text}"),
        }
    }
}

/// Columns that are always shown, and some that give way.
#[derive(Debug, Clone, Default)]
pub struct Table {
    fixed: Vec<Column>,
    optional: Vec<Column>,
}

impl Table {
    /// Adds a column that is always shown.
    pub fn fixed(&mut self, column: Column) {
        self.fixed.push(column);
    }

    /// Adds a column that is shown when there is room for it and those before it.
    pub fn optional(&mut self, column: Column) {
        self.optional.push(column);
    }

    /// The title line and the rows, within `room` terminal cells, and how many columns are left out. One column of those
    /// that may give way is always shown.
    pub fn lines(&self, room: Option<usize>) -> (Vec<String>, usize) {
        let mut used = 0;
        let mut shown = Vec::new();
        for (index, column) in self.fixed.iter().chain(&self.optional).enumerate() {
            let width = column.width();
            used += width + GAP;
            let fits = room.is_none_or(|room| used - GAP <= room);
            if !fits && index > self.fixed.len() {
                break;
            }
            shown.push((column, width));
        }
        let hidden = self.fixed.len() + self.optional.len() - shown.len();
        let count = shown.iter().map(|(column, _)| column.cells.len()).max().unwrap_or(0);
        let line = |row: Option<usize>| {
            let cells: Vec<String> = shown.iter().map(|(column, width)| column.cell(row, *width)).collect();
            cells.join(&" ".repeat(GAP)).trim_end().to_owned()
        };
        let rows = std::iter::once(None).chain((0..count).map(Some));
        (rows.map(line).collect(), hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::default();
        table.fixed(Column::new("A", vec!["one".into(), "日本".into()]));
        table.optional(Column::new("B", vec!["1".into(), "22".into()]).aligned(Align::Right));
        table.optional(Column::new("C", vec!["x".into(), String::new()]));
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let (lines, hidden) = sample().lines(None);
        assert_eq!(lines, ["A      B  C", "one    1  x", "日本  22"]);
        assert_eq!(hidden, 0);
    }

    #[test]
    fn what_has_no_room_is_left_out_and_counted() {
        assert_eq!(sample().lines(Some(11)).1, 0);
        assert_eq!(sample().lines(Some(10)).1, 1);
        let (lines, hidden) = sample().lines(Some(1));
        assert_eq!((lines[0].as_str(), hidden), ("A      B", 1));
    }
}
