//! QR codes of half blocks: two modules to a character, one above the other. What goes into one is the caller's
//! business, and so is whether the terminal can show it.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules on every side, without which a camera does not find the code.
const QUIET: usize = 4;

/// A code, ready to be printed.
#[derive(Debug)]
pub struct Picture {
    /// Rows of `width` characters; a drawn half is dark.
    rows: Vec<String>,
    /// The same with light halves drawn.
    inverse: Vec<String>,
    /// Characters in a row.
    pub width: usize,
}

impl Picture {
    /// Rows for dark ink on a light ground.
    pub fn dark_on_light(&self) -> &[String] {
        &self.rows
    }

    /// Rows for light ink on a dark ground, as terminals have it that show no colours.
    pub fn light_on_dark(&self) -> &[String] {
        &self.inverse
    }
}

/// The code of `text`; `None` when it is too long for one. Text of capitals and digits makes a smaller code.
pub fn picture(text: &str) -> Option<Picture> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (side, colors) = (code.width(), code.to_colors());
    let width = side + 2 * QUIET;
    let dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < side);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => colors.get(y * side + x) == Some(&Color::Dark),
            _ => false,
        }
    };
    let draw = |ink: bool| {
        let row = |y: usize| -> String {
            // Below the last row there is nothing: neither dark nor light.
            let drawn = |x: usize, y: usize| y < width && dark(x, y) == ink;
            (0..width)
                .map(|x| match (drawn(x, y), drawn(x, y + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                })
                .collect()
        };
        (0..width).step_by(2).map(row).collect()
    };
    Some(Picture {
        rows: draw(true),
        inverse: draw(false),
        width,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: &str =
        "FAI1QJMCMABEBAAREIGXLKMADAVRBK35KS762PEWIBZ2B3QXF462UYRSLLYCDJUPOB2RDKBEQBGAVAAQSBQPUFFQJQFIAEEZCAQPUHGQG";

    /// What was drawn, module by module: the halves of every row's characters.
    fn modules(rows: &[String]) -> Vec<Vec<bool>> {
        let half = |row: &String, drawn: [char; 2]| row.chars().map(|c| drawn.contains(&c)).collect();
        rows.iter()
            .flat_map(|row| [half(row, ['█', '▀']), half(row, ['█', '▄'])])
            .collect()
    }

    #[test]
    fn the_picture_holds_every_module_and_a_quiet_zone() {
        let picture = picture(TICKET).unwrap();
        let code = QrCode::with_error_correction_level(TICKET, EcLevel::L).unwrap();
        let (side, colors) = (code.width(), code.to_colors());
        assert_eq!(picture.width, side + 8);
        let (dark, light) = (modules(picture.dark_on_light()), modules(picture.light_on_dark()));
        for y in 0..picture.width {
            assert_eq!((dark[y].len(), light[y].len()), (picture.width, picture.width));
            for x in 0..picture.width {
                let inside = (4..4 + side).contains(&x) && (4..4 + side).contains(&y);
                let expected = inside && colors[(y - 4) * side + x - 4] == Color::Dark;
                assert_eq!((dark[y][x], light[y][x]), (expected, !expected), "{x}, {y}");
            }
        }
        // A finder pattern in three corners and not in the fourth: a ring, a gap, and a square of 3.
        let finder = |left: usize, top: usize| {
            (0..7).all(|y: usize| {
                (0..7).all(|x: usize| {
                    let ring = x.abs_diff(3).max(y.abs_diff(3));
                    dark[top + y][left + x] == (ring != 2)
                })
            })
        };
        let far = 4 + side - 7;
        assert!(finder(4, 4) && finder(far, 4) && finder(4, far) && !finder(far, far));
    }

    #[test]
    fn capitals_make_it_smaller_and_too_much_makes_none() {
        let small = picture(TICKET).unwrap().width;
        assert!(small < picture(&TICKET.to_ascii_lowercase()).unwrap().width);
        assert!(picture(&"A".repeat(5000)).is_none());
    }
}
