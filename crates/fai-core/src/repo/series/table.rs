//! Series in tables: a head line of names, then a line a step. As DVCLive (tabs) and CSV loggers (commas) write them: a
//! cell may be empty where a metric was not measured at a step.

use std::collections::BTreeMap;

use super::{Collected, Lines, STEPS, Series, number, says_when};

/// Reads a table. With `single` its last column is that metric, whatever its head says.
pub(super) fn parse(
    lines: &mut Lines<'_>,
    separator: char,
    single: Option<&str>,
) -> Result<BTreeMap<String, Series>, String> {
    let head = lines.next()?.ok_or("it is empty")?;
    let head = cells(head.trim_start_matches('\u{feff}'), separator);
    let step = head
        .iter()
        .enumerate()
        .filter_map(|(index, name)| {
            says_when(name)
                .filter(|rank| *rank < STEPS.len())
                .map(|rank| (rank, index))
        })
        .min()
        .map(|(_, index)| index);
    let last = head.len().saturating_sub(1);
    let name_of = |index: usize, name: &str| match single {
        Some(single) => (index == last && Some(index) != step).then(|| single.to_owned()),
        None => says_when(name).is_none().then(|| name.trim().to_owned()),
    };
    let names: Vec<Option<String>> = head
        .iter()
        .enumerate()
        .map(|(index, name)| name_of(index, name))
        .collect();
    if names.iter().all(Option::is_none) {
        return Err("its first line names no metric".into());
    }
    let mut collected = Collected::default();
    let mut row = 0;
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let found = cells(&line, separator);
        if found.len() != head.len() {
            return Err(lines.wrong(&format!("has {} cells, and the first has {}", found.len(), head.len())));
        }
        // A row without a step, as some loggers write them, goes by its number.
        let at = step.and_then(|step| found.get(step)).and_then(|text| number(text));
        let at = at.filter(|at| at.is_finite()).unwrap_or(f64::from(row));
        row += 1;
        for (name, cell) in names.iter().zip(&found) {
            let Some(name) = name else { continue };
            if cell.trim().is_empty() {
                continue;
            }
            // A column of words, like a phase, is no metric.
            if let Some(value) = number(cell) {
                collected.push(name, at, value)?;
            }
        }
    }
    match collected.series.is_empty() {
        true => Err("it holds no numbers".into()),
        false => Ok(collected.series),
    }
}

/// The cells of a line; those in quotes may hold separators, and quotes twice.
fn cells(line: &str, separator: char) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quoted = false;
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        let Some(cell) = found.last_mut() else { break };
        match sign {
            '"' if quoted && signs.peek() == Some(&'"') => {
                cell.push('"');
                signs.next();
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            _ if sign == separator && !quoted => found.push(String::new()),
            _ => cell.push(sign),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<BTreeMap<String, Series>, String> {
        parse(&mut Lines::new(text.as_bytes()), ',', None)
    }

    #[test]
    fn columns_become_series() {
        let text =
            "epoch,step,train/loss,\"val, acc\",phase\n0,1,2.5,,warm\n0,2,nan,0.5,warm\r\n\n1,4,1e-1,0.75,main\n";
        let series = table(text).unwrap();
        assert_eq!(series.keys().collect::<Vec<_>>(), ["train/loss", "val, acc"]);
        assert_eq!(series["val, acc"].points, [(2.0, 0.5), (4.0, 0.75)]);
        let loss = &series["train/loss"].points;
        assert_eq!((loss[0], loss[2], loss[1].1.is_nan()), ((1.0, 2.5), (4.0, 0.1), true));
    }

    #[test]
    fn rows_are_counted_where_nothing_says_when() {
        assert_eq!(table("loss\n3\n2\n").unwrap()["loss"].points, [(0.0, 3.0), (1.0, 2.0)]);
        let mut lines = Lines::new("timestamp\tstep\tacc\n17000\t5\t0.5\n".as_bytes());
        let single = parse(&mut lines, '\t', Some("eval.acc")).unwrap();
        assert_eq!(single["eval.acc"].points, [(5.0, 0.5)]);
    }

    #[test]
    fn what_is_no_table_is_refused_by_line() {
        for (text, reason) in [
            ("", "it is empty"),
            ("step\n1\n", "its first line names no metric"),
            ("step,loss\n1,2\n3\n", "line 3 has 1 cells, and the first has 2"),
            ("a,b\nx,y\n", "it holds no numbers"),
        ] {
            assert_eq!(table(text).unwrap_err(), reason, "{text:?}");
        }
        assert!(table(&"a".repeat(2 << 20)).unwrap_err().contains("longer"));
        let wide = (0..2000)
            .map(|column| format!("m{column}"))
            .collect::<Vec<_>>()
            .join(",");
        let row = vec!["1"; 2000].join(",");
        assert!(
            table(&format!("{wide}\n{row}\n"))
                .unwrap_err()
                .contains("more than 1024 series")
        );
    }
}
