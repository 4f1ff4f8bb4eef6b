//! A plot as a PNG file.

use anyhow::{Result, anyhow};
use png::{BitDepth, ColorType, Encoder, PixelDimensions, Unit};
use tiny_skia::{
    Color as Pigment, FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke as Pen, StrokeDash, Transform,
};
use ttf_parser::Face;

use super::Plot;
use super::glyphs::{font, has_all, outlines};
use super::scene::{Anchor, Color, INK, PAPER, Place, Scene, Shape, Stroke, WIDTH};

/// Pixels for one of the scene: screens of today and paper show more than one.
const SCALE: f32 = 2.0;

/// Pixels of a scene in a metre: CSS has 96 in an inch.
const PER_METRE: f32 = 96.0 / 0.0254;

/// The file; `None` when there is nothing finite to draw.
pub fn png(plot: &Plot) -> Result<Option<Vec<u8>>> {
    let Some(scene) = Scene::of(plot) else {
        return Ok(None);
    };
    let font = font()?;
    let [width, height] = [WIDTH, scene.height].map(|size| (size * f64::from(SCALE)).ceil() as u32);
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| anyhow!("the picture is too large"))?;
    let [red, green, blue] = PAPER;
    pixels.fill(Pigment::from_rgba8(red, green, blue, 255));
    for shape in &scene.shapes {
        draw(&mut pixels, &font, shape);
    }
    encoded(&pixels).map(Some)
}

/// Whether the letters of a plot are not all in the font of PNG files.
pub fn lacks_letters(plot: &Plot) -> Result<bool> {
    let font = font()?;
    let mut texts = plot.lines.iter().map(|line| &line.label).chain([&plot.title, &plot.x]);
    Ok(texts.any(|text| !has_all(&font, text)))
}

fn draw(pixels: &mut Pixmap, font: &Face, shape: &Shape) {
    let scaled = Transform::from_scale(SCALE, SCALE);
    match shape {
        Shape::Line { places, stroke } => {
            if let Some(path) = path(places) {
                pixels.stroke_path(&path, &paint(stroke.color), &pen(stroke), scaled, None);
            }
        }
        Shape::Dot { place, radius, color } => {
            if let Some(path) = PathBuilder::from_circle(place.0 as f32, place.1 as f32, *radius as f32) {
                pixels.fill_path(&path, &paint(*color), FillRule::Winding, scaled, None);
            }
        }
        Shape::Text {
            place,
            anchor,
            size,
            text,
        } => {
            let text = outlines(font, text, *size as f32);
            let before = match anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => text.width / 2.0,
                Anchor::End => text.width,
            };
            let placed = scaled.pre_translate(place.0 as f32 - before, place.1 as f32);
            for glyph in &text.glyphs {
                pixels.fill_path(glyph, &paint(INK), FillRule::Winding, placed, None);
            }
        }
    }
}

fn path(places: &[Place]) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, (x, y)) in places.iter().enumerate() {
        match index {
            0 => path.move_to(*x as f32, *y as f32),
            _ => path.line_to(*x as f32, *y as f32),
        }
    }
    path.finish()
}

fn paint([red, green, blue]: Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

fn pen(stroke: &Stroke) -> Pen {
    let dashes = stroke.dashes.iter().map(|length| f32::from(*length)).collect();
    Pen {
        width: stroke.width as f32,
        line_join: LineJoin::Round,
        // There is none of no dashes.
        dash: StrokeDash::new(dashes, 0.0),
        ..Pen::default()
    }
}

/// The pixels as a file. Nothing shines through, so that they need no opacity.
fn encoded(pixels: &Pixmap) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, pixels.width(), pixels.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let per_metre = (PER_METRE * SCALE).round() as u32;
    // Whatever shows or prints it knows how large the letters are meant to be.
    encoder.set_pixel_dims(Some(PixelDimensions {
        xppu: per_metre,
        yppu: per_metre,
        unit: Unit::Meter,
    }));
    let colors: Vec<u8> = pixels
        .pixels()
        .iter()
        .flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()])
        .collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&colors)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;

    fn plot(title: &str, lines: Vec<Vec<(f64, f64)>>) -> Plot {
        let line = |points| Line {
            label: "HEAD (12345678)".into(),
            points,
        };
        Plot {
            title: title.into(),
            x: "step".into(),
            lines: lines.into_iter().map(line).collect(),
        }
    }

    #[test]
    fn any_values_can_be_drawn() {
        let odd = vec![
            vec![(1.0, f64::MAX), (2.0, f64::MIN), (2.0, f64::NAN), (f64::INFINITY, 1.0)],
            vec![(-1e-300, 5.0)],
            vec![],
            vec![(1.0, 1.0); 9],
        ];
        let file = png(&plot(&"very long ".repeat(2000), odd)).unwrap().unwrap();
        assert!(file.starts_with(b"\x89PNG\r\n"));
        assert_eq!(png(&plot("loss", vec![vec![(0.0, f64::NAN)]])).unwrap(), None);
    }

    #[test]
    fn a_file_does_not_grow_with_its_points() {
        let noise = |count: u32| {
            let points = (0..count).map(|step| (f64::from(step), f64::from(step.wrapping_mul(2_654_435_761) >> 16)));
            png(&plot("loss", vec![points.collect()])).unwrap().unwrap().len()
        };
        let (some, many) = (noise(10_000), noise(300_000));
        assert!(many < some * 2, "{some} and {many} bytes");
    }

    #[test]
    fn missing_letters_are_known() {
        assert!(!lacks_letters(&plot("loss, потери", vec![])).unwrap());
        assert!(lacks_letters(&plot("損失", vec![])).unwrap());
    }
}
