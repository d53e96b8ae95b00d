//! Text tables.

/// Rows below a heading, each column as wide as its widest cell, the last one ragged.
pub(crate) fn render<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let lines = || std::iter::once(&heading).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        lines().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in lines() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up_and_no_line_ends_in_spaces() {
        let rows = [["a".to_owned(), "é".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(super::render(["name", "b"], &rows), "name    b\na       é\nlonger\n");
    }
}
