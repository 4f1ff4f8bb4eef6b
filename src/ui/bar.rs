//! Bars of text: a share of a width, to an eighth of a column where the terminal shows blocks.

/// A bar for `share` (0 to 1; what is not is taken as the nearest) that is always `width` columns wide. A share above
/// zero shows.
pub fn bar(share: f64, width: usize, unicode: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let steps = if unicode { 8 } else { 1 };
    let most = width * steps;
    let filled = ((share * most as f64).round() as usize)
        .max(usize::from(share > 0.0))
        .min(most);
    let (full, part) = (filled / steps, filled % steps);
    let mut text = if unicode { "█" } else { "#" }.repeat(full);
    text.push_str(EIGHTHS.get(part).copied().unwrap_or_default());
    let used = full + usize::from(part > 0);
    text.push_str(&" ".repeat(width.saturating_sub(used)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_as_they_are_told() {
        assert_eq!(bar(0.5, 4, false), "##  ");
        assert_eq!(bar(0.5, 3, true), "█▌ ");
        assert_eq!(bar(1e-9, 2, true), "▏ ");
        assert_eq!(bar(1e-9, 2, false), "# ");
        for share in [0.0, 0.01, 0.3, 0.99, 1.0, 7.0, -1.0, f64::NAN, f64::INFINITY] {
            for unicode in [true, false] {
                assert_eq!(bar(share, 10, unicode).chars().count(), 10, "{share} {unicode}");
            }
        }
        assert_eq!(bar(1.0, 0, true), "");
    }
}
