//! Text tables.

/// Formats a table; every column is as wide as its widest cell, numbers are right-aligned.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let to_right = |column: usize| rows.iter().filter_map(|row| row.get(column)).any(|cell| is_number(cell));
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let pad = |(column, cell): (usize, &str)| {
            let width = widths.get(column).copied().unwrap_or(0);
            if column > 0 && column < head.len() && to_right(column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        };
        let cells: Vec<String> = cells.enumerate().map(pad).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    text += &line(
        &mut widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().iter().map(String::as_str),
    );
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Formats milliseconds without decimals.
pub(crate) fn ms(value: f64) -> String {
    format!("{value:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["kill".to_owned(), "5".to_owned()], vec!["a long one".to_owned(), "120".to_owned()]];
        assert_eq!(
            table(&["fault", "ms"], &rows),
            "fault        ms\n----------  ---\nkill          5\na long one  120\n"
        );
    }
}
