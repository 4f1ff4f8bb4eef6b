//! Outlines of texts. The font is part of the program: a picture is the same on every machine.

use anyhow::{Result, anyhow};
use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};
use unicode_width::UnicodeWidthChar;

/// Latin, Greek and Cyrillic letters, and signs.
const FONT: &[u8] = ttf_noto_sans::REGULAR;

/// A text without its place.
#[derive(Debug, Clone, Default)]
pub struct Outlines {
    /// Each glyph, from the beginning of the baseline of the whole text; y goes down.
    pub glyphs: Vec<Path>,
    pub width: f32,
}

/// The font, read.
pub fn font() -> Result<Face<'static>> {
    Face::parse(FONT, 0).map_err(|error| anyhow!("the font cannot be read: {error}"))
}

/// The outlines of a text in a size. What the font does not have is a box.
pub fn outlines(font: &Face, text: &str, size: f32) -> Outlines {
    let scale = size / f32::from(font.units_per_em());
    let mut made = Outlines::default();
    for glyph in text.chars().filter_map(|sign| glyph(font, sign)) {
        let mut pen = Pen {
            path: PathBuilder::new(),
            right: made.width,
            scale,
        };
        // A space has no outline.
        if font.outline_glyph(glyph, &mut pen).is_some() {
            made.glyphs.extend(pen.path.finish());
        }
        made.width += f32::from(font.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
    }
    made
}

/// Whether the font has all that can be seen of a text.
pub fn has_all(font: &Face, text: &str) -> bool {
    text.chars()
        .filter_map(|sign| glyph(font, sign))
        .all(|glyph| glyph != MISSING)
}

/// The glyph that every font has in the place of those that it has not.
const MISSING: GlyphId = GlyphId(0);

/// The glyph of a character; `None` for one that nobody sees.
fn glyph(font: &Face, sign: char) -> Option<GlyphId> {
    let glyph = font.glyph_index(sign).filter(|_| !sign.is_control());
    let seen = sign.width().is_some_and(|width| width > 0);
    glyph.or(seen.then_some(MISSING))
}

/// Draws a glyph where the text has come to.
struct Pen {
    path: PathBuilder,
    right: f32,
    scale: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        // In fonts, y goes up.
        (self.right + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_outlines_and_a_width() {
        let font = font().unwrap();
        let made = outlines(&font, "loss 1", 10.0);
        assert_eq!(made.glyphs.len(), 5, "the space has none");
        assert!(made.width > 20.0 && made.width < 40.0, "{}", made.width);
        assert!(made.glyphs.iter().all(|glyph| glyph.bounds().right() <= made.width));
        let larger = outlines(&font, "loss 1", 20.0);
        assert!((larger.width - 2.0 * made.width).abs() < 0.01);
        assert_eq!(outlines(&font, "", 10.0).width, 0.0);
    }

    #[test]
    fn what_the_font_has_not_is_a_box_and_what_nobody_sees_is_nothing() {
        let font = font().unwrap();
        assert!(has_all(&font, "Größe, потери, μ \u{1b}\u{200d}(HEAD~1)"));
        assert!(!has_all(&font, "損失"));
        assert_eq!(outlines(&font, "損失", 10.0).glyphs.len(), 2);
        assert_eq!(outlines(&font, "\u{1b}\u{fe0f}\n", 10.0).glyphs.len(), 0);
    }
}
