//! One page with plots of what changed among tensors: HTML and SVG that load nothing and run nothing. All text in it is escaped.

mod plots;

use std::fmt::Write;

use fai_core::repo::{ChangedFile, Comparison, Level, Moved, TensorChanges};

use super::tensors::{counts, number};
use crate::ui::format::size;

/// Tensors that are listed of each file, those that moved farthest.
const LISTED: usize = 2000;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1d1d1f;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}h3{font-size:1rem}\
table{border-collapse:collapse;font-size:.85rem}td,th{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child{text-align:left;font-family:ui-monospace,monospace}\
svg{max-width:100%;height:auto;display:block}svg text{font:11px ui-monospace,monospace;fill:currentColor}\
.bar{fill:#2f6db3}.none{fill:none;stroke:#bbb;stroke-width:.5}.wide{overflow-x:auto}.note{color:#666}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}.bar{fill:#6ea8e8}.note{color:#aaa}td,th{border-color:#444}}";

/// The page.
pub fn page(comparison: &Comparison) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
    );
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\"><title>fai diff</title>");
    let _ = write!(page, "<style>{STYLE}</style></head><body>\n<h1>What changed</h1>\n");
    page.push_str("<table><tr><th>file</th><th>change</th><th>before</th><th>after</th></tr>\n");
    for file in comparison.files() {
        let bytes = |side: Option<fai_core::repo::Side>| side.map_or_else(String::new, |side| size(side.size));
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&name(file)),
            file.change.name(),
            bytes(file.old),
            bytes(file.new)
        );
    }
    page.push_str("</table>\n");
    for file in comparison.files() {
        if let Some(changes) = &file.tensors {
            section(&mut page, file, changes);
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn name(file: &ChangedFile) -> String {
    match &file.old_path {
        Some(old) => format!("{old} -> {}", file.path),
        None => file.path.to_string(),
    }
}

fn section(page: &mut String, file: &ChangedFile, changes: &TensorChanges) {
    let _ = writeln!(
        page,
        "<h2>{}</h2>\n<p>{}</p>",
        escaped(&name(file)),
        escaped(&counts(changes))
    );
    let layers = changes.groups(Level::Layer);
    let bars: Vec<(&str, Option<f64>)> = layers
        .iter()
        .filter(|layer| layer.is_touched())
        .map(|layer| {
            (
                layer.name.as_str(),
                layer.distance.relative().filter(|_| layer.distance.elements > 0),
            )
        })
        .collect();
    if !bars.is_empty() {
        page.push_str("<h3>Relative L2 change by layer</h3>\n");
        plots::bars(page, &bars);
    }
    plots::heat_map(page, changes);
    let values: Vec<f64> = changes
        .moved
        .iter()
        .filter(|moved| moved.by_value)
        .filter_map(|moved| moved.distance.relative())
        .collect();
    if !values.is_empty() {
        page.push_str("<h3>Tensors by relative L2 change</h3>\n");
        plots::histogram(page, &values);
    }
    table(page, changes);
    for (title, names) in [("Added", &changes.added), ("Removed", &changes.removed)] {
        if !names.is_empty() {
            let shown: Vec<String> = names.iter().take(LISTED).map(|name| escaped(name)).collect();
            let _ = writeln!(
                page,
                "<h3>{title} ({})</h3>\n<p>{}</p>",
                names.len(),
                shown.join("<br>\n")
            );
        }
    }
}

fn table(page: &mut String, changes: &TensorChanges) {
    let mut moved: Vec<&Moved> = changes.moved.iter().collect();
    let weight = |moved: &Moved| moved.distance.relative().filter(|_| moved.by_value).unwrap_or(-1.0);
    moved.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    if moved.is_empty() {
        return;
    }
    page.push_str(
        "<h3>Tensors, farthest first</h3>\n<div class=\"wide\"><table><tr><th>tensor</th><th>dtype</th><th>shape</th>",
    );
    page.push_str("<th>relative L2</th><th>cosine</th><th>largest</th><th>mean</th><th>equal</th><th>NaN</th></tr>\n");
    for tensor in moved.iter().take(LISTED) {
        let distance = &tensor.distance;
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let dtype = match tensor.old_dtype == tensor.dtype {
            true => tensor.dtype.clone(),
            false => format!("{} -> {}", tensor.old_dtype, tensor.dtype),
        };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{:?}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2}%</td><td>{}</td></tr>",
            escaped(&tensor.name),
            escaped(&dtype),
            tensor.shape,
            cell(distance.relative().filter(|_| tensor.by_value)),
            distance
                .cosine()
                .map_or_else(|| "-".to_owned(), |cosine| format!("{cosine:.6}")),
            cell(Some(distance.largest).filter(|_| tensor.by_value)),
            cell(distance.mean()),
            distance.equal_share() * 100.0,
            distance.old.nan + distance.new.nan,
        );
    }
    page.push_str("</table></div>\n");
    if let Some(more @ 1..) = moved.len().checked_sub(LISTED) {
        let _ = writeln!(
            page,
            "<p class=\"note\">and {more} more; fai diff --json has all of them</p>"
        );
    }
}

/// Text that a browser shows as it is. Control characters, which HTML does not have, are escaped as in the terminal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::ui::format::safe(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
