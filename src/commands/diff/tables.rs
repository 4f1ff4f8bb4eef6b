//! Columns and number of rows of data sets, where that is cheap to know: the first line of CSV and TSV files and how
//! many there are, the footer of Parquet files. Values are not compared.

mod parquet;

use anyhow::Result;
use fai_core::Repository;
use fai_core::repo::{ChangedFile, Side};
use fai_core::tensor::ReadAt;

/// Longer files are not counted: 1 GiB takes about a second.
const MAX_CSV: u64 = 1 << 30;

/// The longest first line.
const MAX_HEADER: usize = 256 << 10;

/// Columns that are known by name.
const MAX_COLUMNS: usize = 10_000;

/// Bytes read at a time.
const PIECE: u64 = 1 << 20;

/// What a data set looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its columns, with their types where the format has some.
    pub columns: Vec<String>,
    /// Its rows, without the one that names the columns.
    pub rows: u64,
}

/// Both versions of a data set; `None` when this is none, or one cannot be read as one.
pub fn both(repository: &Repository, file: &ChangedFile) -> Result<Option<(Table, Table)>> {
    let (Some(old), Some(new)) = (file.old, file.new) else {
        return Ok(None);
    };
    let ending = file
        .path
        .as_str()
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if !["csv", "tsv", "parquet"].contains(&ending.as_str()) || file.same_content() {
        return Ok(None);
    }
    let read = |side: &Side, path| -> Result<Option<Table>> {
        let source = repository.open_side(side, path)?;
        Ok(match ending.as_str() {
            "csv" => csv(&*source, b',')?,
            "tsv" => csv(&*source, b'\t')?,
            _ => parquet::table(&*source)?,
        })
    };
    let old = read(&old, file.old_path.as_ref().unwrap_or(&file.path))?;
    Ok(old.zip(read(&new, &file.path)?))
}

/// What differs, a line each.
pub fn differences(old: &Table, new: &Table) -> Vec<String> {
    let only = |these: &Table, those: &Table| -> Vec<String> {
        let missing = these.columns.iter().filter(|column| !those.columns.contains(column));
        missing.cloned().collect()
    };
    let rows = match old.rows == new.rows {
        true => format!("{} rows", new.rows),
        false => format!("{} -> {} rows", old.rows, new.rows),
    };
    let columns = match old.columns == new.columns {
        true => format!("the same {} columns", new.columns.len()),
        false => format!("{} -> {} columns", old.columns.len(), new.columns.len()),
    };
    let mut lines = vec![format!("{rows}, {columns}")];
    let (gone, fresh) = (only(old, new), only(new, old));
    if gone.is_empty() && fresh.is_empty() && old.columns != new.columns {
        lines.push("columns in another order".to_owned());
    }
    lines.extend(
        [("- columns", gone), ("+ columns", fresh)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(sign, names)| format!("{sign} {}", names.join(", "))),
    );
    lines
}

/// Reads a table of text. A line break inside quotes ends no row; empty lines are none.
fn csv(source: &dyn ReadAt, separator: u8) -> Result<Option<Table>> {
    if source.len() > MAX_CSV {
        return Ok(None);
    }
    let (mut buffer, mut header) = (Vec::new(), Vec::new());
    let (mut at, mut rows, mut quoted, mut empty) = (0, 0u64, false, true);
    while at < source.len() {
        buffer.resize(PIECE.min(source.len() - at) as usize, 0);
        source.read_exact_at(&mut buffer, at)?;
        for byte in &buffer {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' if !quoted => {
                    rows += u64::from(!empty);
                    empty = true;
                    continue;
                }
                _ => {}
            }
            empty &= *byte == b'\r';
            if rows == 0 {
                header.push(*byte);
                if header.len() > MAX_HEADER {
                    return Ok(None);
                }
            }
        }
        at += buffer.len() as u64;
    }
    rows += u64::from(!empty);
    let Ok(header) = String::from_utf8(header) else {
        return Ok(None);
    };
    let columns = split(header.trim_start_matches('\u{feff}').trim_end(), char::from(separator));
    let fits = rows > 0 && columns.len() <= MAX_COLUMNS;
    Ok(fits.then(|| Table {
        columns,
        rows: rows - 1,
    }))
}

/// The fields of a row. Quotes around a field are left out, doubled ones inside are one.
fn split(row: &str, separator: char) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            c if c == separator && !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: u64) -> Option<Table> {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Some(Table { columns, rows })
    }

    fn read(text: &str) -> Option<Table> {
        csv(&text.as_bytes().to_vec(), b',').expect("readable")
    }

    #[test]
    fn rows_are_counted_as_spreadsheets_do() {
        assert_eq!(read("a,b\n1,2\n3,4\n"), table(&["a", "b"], 2));
        assert_eq!(read("a,b\r\n1,2\r\n\r\n3,4"), table(&["a", "b"], 2));
        assert_eq!(
            read("\u{feff}\"a,1\",\"b\"\"c\"\n\"x\ny\",2\n"),
            table(&["a,1", "b\"c"], 1)
        );
        assert_eq!(read("a"), table(&["a"], 0));
        assert_eq!(read(""), None);
        assert_eq!(read("\n\n"), None);
        assert_eq!(csv(&vec![0xffu8, 0xfe, b'\n'], b',').expect("readable"), None);
        // More than one piece, and a first line without an end.
        let long = format!("a,b\n{}", "1,2\n".repeat(600_000));
        assert_eq!(read(&long), table(&["a", "b"], 600_000));
        assert_eq!(read(&"x".repeat(MAX_HEADER + 1)), None);
    }

    #[test]
    fn differences_name_columns() {
        let (one, other) = (read("a,b,c\n1,2,3\n"), read("c,a,d\n1,2,3\n1,2,3\n"));
        let (one, other) = (one.expect("a table"), other.expect("a table"));
        assert_eq!(
            differences(&one, &other),
            ["1 -> 2 rows, 3 -> 3 columns", "- columns b", "+ columns d"]
        );
        assert_eq!(differences(&one, &one), ["1 rows, the same 3 columns"]);
    }
}
