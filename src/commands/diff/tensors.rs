//! What changed among the tensors of a file, for people: a line for each group of tensors, or for each tensor.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use fai_core::repo::{Group, Level, Moved, TensorChanges};
use fai_core::tensor::compare::Distance;

use crate::context::Context;
use crate::ui::format::{percent, safe};
use crate::ui::{Symbol, bar};

/// Names that are listed of each kind of change to shapes and dtypes.
const LISTED: usize = 10;

/// Groups that are listed.
const GROUPS: usize = 40;

/// Columns of a bar.
const BAR: usize = 20;

/// Columns left of a line's own text.
const INDENT: usize = 13;

/// A line of the table.
struct Row {
    sign: char,
    name: String,
    /// Relative L2 change.
    relative: Option<f64>,
    note: String,
}

/// `3 of 120 tensors changed, 1 added`.
pub fn counts(changes: &TensorChanges) -> String {
    let recast: HashSet<&str> = changes
        .reshaped
        .iter()
        .map(|tensor| tensor.name.as_str())
        .chain(changes.retyped.iter().map(|tensor| tensor.name.as_str()))
        .collect();
    let changed = changes.changed.len() + recast.len();
    let total = changed as u64 + changes.unchanged;
    let mut parts = vec![format!("{changed} of {total} tensors changed")];
    for (what, names) in [("added", &changes.added), ("removed", &changes.removed)] {
        if !names.is_empty() {
            parts.push(format!("{} {what}", names.len()));
        }
    }
    parts.join(", ")
}

/// Prints all that is known, `all` tensors or groups of them.
pub fn print(context: &Context, changes: &TensorChanges, all: bool) -> Result<()> {
    let out = &context.out;
    out.say(Symbol::Item, format!("      {}", counts(changes)))?;
    let mut whole = Distance::default();
    let by_value = changes.moved.iter().filter(|moved| moved.by_value);
    by_value.for_each(|moved| whole.add(&moved.distance));
    if whole.finite > 0 {
        let text = format!("moved by {}, {}", relative(whole.relative()), details(&whole, true));
        out.say(Symbol::Item, format!("      {text}"))?;
    }
    let odd = [
        ("NaN", whole.old.nan, whole.new.nan),
        ("infinite", whole.old.infinite, whole.new.infinite),
    ];
    for (what, old, new) in odd.into_iter().filter(|(_, old, new)| old + new > 0) {
        out.say(
            Symbol::Warning,
            format!("      {what}: {old} -> {new} elements, apart from all sums"),
        )?;
    }
    print_metadata(context, changes)?;
    let most = if all { usize::MAX } else { LISTED };
    if changes.moved.is_empty() {
        print_names(context, changes, most)?;
    } else if all {
        let rows: Vec<Row> = changes.moved.iter().map(tensor_row).collect();
        print_rows(context, &rows, usize::MAX, "")?;
        print_signed(context, '+', &changes.added, usize::MAX)?;
        print_signed(context, '-', &changes.removed, usize::MAX)?;
    } else {
        let touched = |level| {
            changes
                .groups(level)
                .into_iter()
                .filter(Group::is_touched)
                .collect::<Vec<_>>()
        };
        let mut groups = touched(Level::Module);
        if groups.len() > GROUPS {
            groups = touched(Level::Layer);
        }
        let rows: Vec<Row> = groups.iter().map(group_row).collect();
        print_rows(
            context,
            &rows,
            GROUPS,
            " (--tensors lists all tensors, --html draws them)",
        )?;
    }
    let grown: HashMap<&str, &Moved> = changes
        .moved
        .iter()
        .filter(|moved| moved.rows.is_some())
        .map(|moved| (moved.name.as_str(), moved))
        .collect();
    let lines = changes.reshaped.iter().map(|tensor| {
        let shapes = format!("{} {:?} -> {:?}", safe(&tensor.name), tensor.old, tensor.new);
        match grown.get(tensor.name.as_str()) {
            Some(Moved {
                rows: Some(rows),
                distance,
                ..
            }) => {
                format!(
                    "{shapes}, the first {rows} rows moved by {}",
                    relative(distance.relative())
                )
            }
            _ => shapes,
        }
    });
    print_lines(context, '~', lines, most)?;
    let retyped = changes.retyped.iter();
    let lines = retyped.map(|tensor| format!("{} {} -> {}", safe(&tensor.name), tensor.old, tensor.new));
    print_lines(context, '~', lines, most)
}

fn tensor_row(moved: &Moved) -> Row {
    let dtype = match moved.old_dtype == moved.dtype {
        true => moved.dtype.clone(),
        false => format!("{} -> {}", moved.old_dtype, moved.dtype),
    };
    let rows = moved
        .rows
        .map(|rows| format!(", first {rows} rows"))
        .unwrap_or_default();
    Row {
        sign: '~',
        name: moved.name.clone(),
        relative: moved.distance.relative().filter(|_| moved.by_value),
        note: format!(
            "{}, {dtype} {:?}{rows}",
            details(&moved.distance, moved.by_value),
            moved.shape
        ),
    }
}

fn group_row(group: &Group) -> Row {
    let sign = match group {
        group if group.added == group.tensors => '+',
        group if group.removed == group.tensors => '-',
        _ => '~',
    };
    let mut parts = Vec::new();
    let moved = group.changed + group.recast;
    if moved > 0 {
        parts.push(format!("{moved} of {}", group.tensors));
    }
    for (what, count) in [("added", group.added), ("removed", group.removed)] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if let Some(cosine) = group.distance.cosine() {
        parts.push(format!("cosine {cosine:.6}"));
    }
    Row {
        sign,
        name: group.name.clone(),
        relative: group.distance.relative().filter(|_| group.distance.elements > 0),
        note: parts.join(", "),
    }
}

fn details(distance: &Distance, by_value: bool) -> String {
    let mut parts = Vec::new();
    if by_value {
        parts.extend(distance.cosine().map(|cosine| format!("cosine {cosine:.6}")));
        parts.push(format!("largest {}", number(distance.largest)));
        parts.extend(distance.mean().map(|mean| format!("mean {}", number(mean))));
    }
    let what = if by_value { "equal" } else { "of bytes equal" };
    parts.push(format!("{} {what}", percent(distance.equal_share())));
    parts.join(", ")
}

fn relative(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// Three digits, for numbers of any size.
pub fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if (1e-2..1e4).contains(&value.abs()) => {
            let digits = (2.0 - value.abs().log10().floor()).max(0.0) as usize;
            format!("{value:.digits$}")
        }
        value => format!("{value:.2e}"),
    }
}

/// Prints the rows of the largest changes, in the order in which they came.
fn print_rows(context: &Context, rows: &[Row], most: usize, hint: &str) -> Result<()> {
    let out = &context.out;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    if rows.len() > most {
        let weight = |index: &usize| rows.get(*index).and_then(|row| row.relative).unwrap_or(f64::MAX);
        order.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
        order.truncate(most);
        order.sort_unstable();
    }
    let shown: Vec<&Row> = order.iter().filter_map(|index| rows.get(*index)).collect();
    let largest = shown.iter().filter_map(|row| row.relative).fold(0.0, f64::max);
    // Name, bar, number, note: the first and the last give way when the terminal is narrow.
    let room = out.width().saturating_sub(INDENT + BAR + 2 + 9 + 2).max(24);
    let longest = shown
        .iter()
        .map(|row| safe(&row.name).chars().count())
        .max()
        .unwrap_or(0);
    let width = longest.min(room * 2 / 3);
    for row in shown {
        let name = out.shorten(&safe(&row.name), width);
        let share = row
            .relative
            .map_or(0.0, |value| if largest > 0.0 { value / largest } else { 0.0 });
        let bar = bar::bar(share, BAR, out.shows_signs());
        let note_room = out.width().saturating_sub(INDENT + width + BAR + 2 + 9 + 2).max(16);
        // Who asks for every row wants to read all of it.
        let note = match most == usize::MAX {
            true => row.note.clone(),
            false => out.shorten(&row.note, note_room),
        };
        let line = format!(
            "        {} {name:width$}  {}  {:<8} {note}",
            row.sign,
            out.paint("33", &bar),
            relative(row.relative)
        );
        out.say(Symbol::Item, line.trim_end())?;
    }
    match rows.len().saturating_sub(most) {
        0 => Ok(()),
        more => out.say(Symbol::Item, format!("        ... and {more} more{hint}")),
    }
}

/// Names alone: how far tensors moved was not asked for, or no tensor moved.
fn print_names(context: &Context, changes: &TensorChanges, most: usize) -> Result<()> {
    print_signed(context, '~', &changes.changed, most)?;
    print_signed(context, '+', &changes.added, most)?;
    print_signed(context, '-', &changes.removed, most)
}

fn print_signed(context: &Context, sign: char, names: &[String], most: usize) -> Result<()> {
    print_lines(context, sign, names.iter().map(|name| safe(name)), most)
}

fn print_lines(context: &Context, sign: char, lines: impl ExactSizeIterator<Item = String>, most: usize) -> Result<()> {
    let more = lines.len().saturating_sub(most);
    for line in lines.take(most) {
        context.out.say(Symbol::Item, format!("        {sign} {line}"))?;
    }
    if more > 0 {
        let text = format!("        ... and {more} more (diff --tensors lists all)");
        context.out.say(Symbol::Item, text)?;
    }
    Ok(())
}

fn print_metadata(context: &Context, changes: &TensorChanges) -> Result<()> {
    let value = |text: &Option<String>| {
        text.as_ref()
            .map_or_else(|| "nothing".to_owned(), |text| format!("{:?}", safe(text)))
    };
    let lines = changes.metadata.iter().map(|entry| {
        let line = format!(
            "metadata {}: {} -> {}",
            safe(&entry.key),
            value(&entry.old),
            value(&entry.new)
        );
        context
            .out
            .shorten(&line, context.out.width().saturating_sub(INDENT).max(40))
    });
    print_lines(context, '~', lines, LISTED)
}
