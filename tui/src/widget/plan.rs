//! A plan from above, north up: a track in dots, and signs on it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line, Points};

/// A cell is about twice as high as it is wide.
const CELL_ASPECT: f64 = 2.0;

/// A sign at a place, metres east and north.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    /// Where.
    pub at: (f64, f64),
    /// A character, or a few.
    pub text: String,
    /// Its style.
    pub style: Style,
}

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Places of the track.
    pub track: &'a [(f64, f64)],
    /// Style of the track.
    pub style: Style,
    /// Dots beside the track, with their style.
    pub dots: (&'a [(f64, f64)], Style),
    /// Corners of an area, with the style of its edge.
    pub outline: (&'a [(f64, f64)], Style),
    /// Signs; later ones are on top.
    pub signs: Vec<Sign>,
    /// The place in the middle.
    pub center: (f64, f64),
    /// Metres for each column.
    pub scale: f64,
}

/// Centre and scale with which all of these places are on an area; at least `least` metres for each column.
pub fn fitted(places: impl Iterator<Item = (f64, f64)>, area: Rect, least: f64) -> ((f64, f64), f64) {
    let is_finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    let start = (f64::MAX, f64::MIN, f64::MAX, f64::MIN);
    let (west, east, south, north) =
        places.filter(is_finite).fold(start, |(west, east, south, north), (x, y)| {
            (west.min(x), east.max(x), south.min(y), north.max(y))
        });
    if west > east {
        return ((0.0, 0.0), least);
    }
    // A margin, so that signs at the edge are seen.
    let columns = f64::from(area.width.saturating_sub(4).max(1));
    let rows = f64::from(area.height.saturating_sub(2).max(1));
    let scale = ((east - west) / columns).max((north - south) / (rows * CELL_ASPECT)).max(least);
    (((west + east) / 2.0, (south + north) / 2.0), scale)
}

/// Draws it.
pub fn plan(buf: &mut Buffer, area: Rect, plan: &Plan<'_>) {
    if area.width == 0 || area.height == 0 {
        return;
    }
    let (x, y) = plan.center;
    let half_width = plan.scale * f64::from(area.width) / 2.0;
    let half_height = plan.scale * CELL_ASPECT * f64::from(area.height) / 2.0;
    let color = plan.style.fg.unwrap_or(Color::Reset);
    Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([x - half_width, x + half_width])
        .y_bounds([y - half_height, y + half_height])
        .paint(|context| {
            let (corners, style) = plan.outline;
            let edge = style.fg.unwrap_or(Color::Reset);
            let ends = corners.iter().skip(1).chain(corners.first());
            for (&(x1, y1), &(x2, y2)) in corners.iter().zip(ends) {
                context.draw(&Line { x1, y1, x2, y2, color: edge });
            }
            let (dots, style) = plan.dots;
            context.draw(&Points { coords: dots, color: style.fg.unwrap_or(Color::Reset) });
            context.draw(&Points { coords: plan.track, color });
            context.layer();
            for sign in &plan.signs {
                let text = Text::from(Span::styled(sign.text.clone(), sign.style));
                context.print(sign.at.0, sign.at.1, text);
            }
        })
        .render(area, buf);
}

/// An arrow in the direction of a compass course, degrees.
pub fn arrow(course: f64) -> &'static str {
    const ARROWS: [&str; 8] = ["↑", "↗", "→", "↘", "↓", "↙", "←", "↖"];
    ARROWS[(course.rem_euclid(360.0) / 45.0).round() as usize % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_fit() {
        let area = Rect::new(0, 0, 24, 12);
        let ((x, y), scale) = fitted([(0.0, 0.0), (40.0, 10.0), (f64::NAN, 1.0)].into_iter(), area, 0.1);
        assert_eq!((x, y, scale), (20.0, 5.0, 2.0));
        assert_eq!(fitted(std::iter::empty(), area, 0.5), ((0.0, 0.0), 0.5));
        let (_, scale) = fitted([(0.0, 0.0), (0.0, 200.0)].into_iter(), area, 0.1);
        assert_eq!(scale, 10.0, "by its height");
    }

    #[test]
    fn a_course_is_an_arrow() {
        for (course, expected) in [(0.0, "↑"), (44.0, "↗"), (359.0, "↑"), (180.0, "↓"), (-90.0, "←")]
        {
            assert_eq!(arrow(course), expected, "{course}");
        }
    }

    #[test]
    fn a_plan_has_its_signs_and_nothing_beside_it() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 5));
        let sign = Sign { at: (0.0, 0.0), text: "R".to_owned(), style: Style::new() };
        let far = Sign { at: (1e9, f64::NAN), ..sign.clone() };
        let track = [(-1.0, 0.0), (f64::INFINITY, 0.0)];
        let (style, center) = (Style::new(), (0.0, 0.0));
        plan(
            &mut buf,
            Rect::new(2, 1, 6, 3),
            &Plan {
                track: &track,
                style,
                dots: (&[(0.0, 1.0), (f64::NAN, 2.0)], style),
                outline: (&[(-1.0, -1.0), (1e300, 1.0), (0.0, f64::NEG_INFINITY)], style),
                signs: vec![far, sign],
                center,
                scale: 1.0,
            },
        );
        let text: String = buf.content().iter().map(|cell| cell.symbol()).collect();
        assert_eq!(text.matches('R').count(), 1, "{text:?}");
    }
}
