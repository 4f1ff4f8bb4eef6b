//! The plots of the page: plain SVG, sizes in pixels.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use fai_core::repo::{TensorChanges, natural, place};
use fai_core::tensor::compare::Distance;

use super::escaped;
use crate::commands::diff::tensors::number;

/// Bars and rows of a plot, at the most; those beyond are left out and counted.
const MOST_ROWS: usize = 400;

/// Columns of the heat map, at the most.
const MOST_COLUMNS: usize = 60;

/// Characters of a name that are shown.
const SHOWN: usize = 44;

/// Names are set in a font of this width.
const CHARACTER: usize = 7;

/// A bar for each name.
pub fn bars(page: &mut String, rows: &[(&str, Option<f64>)]) {
    let largest = rows.iter().filter_map(|(_, value)| *value).fold(0.0, f64::max);
    let shown = rows.len().min(MOST_ROWS);
    let names = rows.iter().take(shown).map(|(name, _)| *name);
    let (left, width, height) = (room(names) + 10, 420, 17);
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {} {}\" width=\"{}\" role=\"img\" aria-label=\"relative L2 change by layer\">",
        left + width + 90,
        shown * height + 4,
        left + width + 90
    );
    for (index, (name, value)) in rows.iter().take(shown).enumerate() {
        let y = index * height;
        let share = value.map_or(0.0, |value| if largest > 0.0 { value / largest } else { 0.0 });
        let text = value.map_or_else(|| "-".to_owned(), number);
        let length = share * width as f64;
        let _ = writeln!(
            page,
            "<g><title>{}: {text}</title><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"bar\" x=\"{left}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\"/><text x=\"{:.1}\" y=\"{}\">{text}</text></g>",
            escaped(name),
            left - 6,
            y + 13,
            escaped(&cut(name)),
            y + 3,
            height - 5,
            left as f64 + length + 6.0,
            y + 13
        );
    }
    page.push_str("</svg>\n");
    left_out(page, rows.len(), shown, "layers");
}

/// Layers by modules: how dark a cell is tells how far it moved, on a logarithmic scale; a frame alone, that it did not.
pub fn heat_map(page: &mut String, changes: &TensorChanges) {
    let mut cells: HashMap<(&str, &str), Option<Distance>> = HashMap::new();
    let unmoved = changes.same.iter().map(|name| (name.as_str(), None));
    let moved = changes.moved.iter().filter(|moved| moved.by_value);
    for (name, distance) in unmoved.chain(moved.map(|moved| (moved.name.as_str(), Some(&moved.distance)))) {
        let (layer, module) = place(name);
        if !layer.is_empty() {
            let cell = cells.entry((layer, module)).or_default();
            if let Some(distance) = distance {
                cell.get_or_insert_default().add(distance);
            }
        }
    }
    let sorted = |names: BTreeSet<&'_ str>| -> Vec<String> {
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.sort_by(|one, other| natural(one, other));
        names
    };
    let layers = sorted(cells.keys().map(|(layer, _)| *layer).collect());
    let modules = sorted(cells.keys().map(|(_, module)| *module).collect());
    let values = cells
        .values()
        .flatten()
        .filter_map(Distance::relative)
        .filter(|value| *value > 0.0);
    let (least, most) = values.fold((f64::INFINITY, 0.0f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    if layers.len() < 2 || most == 0.0 {
        return;
    }
    let (rows, columns) = (layers.len().min(MOST_ROWS), modules.len().min(MOST_COLUMNS));
    let names = |names: &[String], count| room(names.iter().take(count).map(String::as_str));
    // Names of modules stand slanted: three quarters of their length is what they need to the right, two thirds above.
    let slanted = names(&modules, columns);
    let (left, top, side) = (names(&layers, rows) + 10, slanted * 2 / 3 + 20, 16);
    let (width, height) = (left + columns * side + slanted * 3 / 4, top + rows * side + 4);
    page.push_str("<h3>Relative L2 change, layer by module</h3>\n");
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" aria-label=\"relative L2 change, layer by module\">"
    );
    for (column, module) in modules.iter().take(columns).enumerate() {
        let x = left + column * side + side / 2;
        let _ = writeln!(
            page,
            "<text transform=\"translate({x} {}) rotate(-40)\"><title>{}</title>{}</text>",
            top - 6,
            escaped(module),
            escaped(&cut(module))
        );
    }
    for (row, layer) in layers.iter().take(rows).enumerate() {
        let y = top + row * side;
        let _ = writeln!(
            page,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 6,
            y + 12,
            escaped(&cut(layer))
        );
        for (column, module) in modules.iter().take(columns).enumerate() {
            let Some(cell) = cells.get(&(layer.as_str(), module.as_str())) else {
                continue;
            };
            let value = cell.as_ref().and_then(Distance::relative).unwrap_or(0.0);
            let share = match value > 0.0 {
                true if most > least => 0.15 + 0.85 * (value / least).ln() / (most / least).ln(),
                true => 1.0,
                false => 0.0,
            };
            let look = match share > 0.0 {
                true => format!("class=\"bar\" fill-opacity=\"{share:.2}\""),
                false => "class=\"none\"".to_owned(),
            };
            let _ = writeln!(
                page,
                "<rect x=\"{}\" y=\"{}\" width=\"{s}\" height=\"{s}\" {look}><title>{} {}: {}</title></rect>",
                left + column * side + 1,
                y + 1,
                escaped(layer),
                escaped(module),
                number(value),
                s = side - 2
            );
        }
    }
    page.push_str("</svg>\n");
    left_out(page, layers.len(), rows, "layers");
    left_out(page, modules.len(), columns, "modules");
}

/// How many values lie between which powers of ten.
pub fn histogram(page: &mut String, values: &[f64]) {
    // Half a power of ten each, from 1e-10; what is smaller or larger is in the first or last one.
    const FIRST: f64 = -10.0;
    const BINS: usize = 26;
    let mut bins = [0u64; BINS];
    for value in values {
        let place = if *value > 0.0 {
            (value.log10() - FIRST) * 2.0
        } else {
            0.0
        };
        let bin = (place.max(0.0) as usize).min(BINS - 1);
        bins.get_mut(bin).into_iter().for_each(|count| *count += 1);
    }
    let (step, height) = (26, 140);
    let most = bins.iter().copied().max().unwrap_or(0).max(1);
    let width = BINS * step + 20;
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {width} {}\" width=\"{width}\" role=\"img\" aria-label=\"tensors by relative L2 change\">",
        height + 34
    );
    for (bin, count) in bins.iter().enumerate() {
        let tall = *count as f64 / most as f64 * height as f64;
        let x = 10 + bin * step;
        let _ = writeln!(
            page,
            "<rect class=\"bar\" x=\"{x}\" y=\"{:.1}\" width=\"{}\" height=\"{tall:.1}\"><title>{count} tensors</title></rect>",
            14.0 + height as f64 - tall,
            step - 2
        );
        if *count > 0 {
            let _ = writeln!(
                page,
                "<text x=\"{x}\" y=\"{:.1}\">{count}</text>",
                11.0 + height as f64 - tall
            );
        }
        if bin % 4 == 0 {
            let exponent = FIRST as i64 + bin as i64 / 2;
            let _ = writeln!(page, "<text x=\"{x}\" y=\"{}\">1e{exponent}</text>", height + 30);
        }
    }
    page.push_str("</svg>\n");
}

/// How wide the longest of some names is shown.
fn room<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    CHARACTER * names.map(|name| name.chars().count().min(SHOWN)).max().unwrap_or(0)
}

fn left_out(page: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(page, "<p class=\"note\">{} more {what} are left out</p>", all - shown);
    }
}

fn cut(name: &str) -> String {
    let count = name.chars().count();
    match count > SHOWN {
        true => format!("…{}", name.chars().skip(count + 1 - SHOWN).collect::<String>()),
        false => name.to_owned(),
    }
}
