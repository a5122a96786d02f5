//! A trend in one line: the last values as bars of eight heights.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The newest values, oldest first, in at most `width` columns; a blank where there was none. The lowest value is the
/// lowest bar; values that differ by less than `least` are flat.
pub fn trend(values: &[Option<f64>], width: usize, least: f64) -> String {
    let values = values.get(values.len().saturating_sub(width)..).unwrap_or_default();
    let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) =
        finite().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let span = (high - low).max(least);
    let bar = |value: &Option<f64>| match value.filter(|value| value.is_finite()) {
        Some(value) => BARS[(((value - low) / span * 7.0).round() as usize).min(7)],
        None => ' ',
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bars_and_gaps_are_blank() {
        let values: Vec<_> = (0..8).map(|n| Some(f64::from(n))).collect();
        assert_eq!(trend(&values, 8, 0.1), "▁▂▃▄▅▆▇█");
        assert_eq!(trend(&values, 3, 0.1), "▁▅█", "the newest ones");
        assert_eq!(trend(&[Some(1.0), None, Some(f64::NAN), Some(1.001)], 9, 1.0), "▁  ▁");
        assert_eq!(trend(&[], 5, 1.0), "");
        assert_eq!(trend(&[Some(f64::MAX), Some(f64::MIN)], 5, 1.0).chars().count(), 2);
    }
}
