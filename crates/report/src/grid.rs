//! Rows of cells as Markdown and as LaTeX. Cells hold Markdown text: code is in backquotes, the rest is plain.

/// Cells of a printed table. The first `text_columns` columns are words, the others numbers.
pub(crate) struct Grid {
    pub heads: Vec<String>,
    pub text_columns: usize,
    pub rows: Vec<Vec<String>>,
}

/// The grid as a pipe table.
pub(crate) fn markdown_grid(grid: &Grid) -> String {
    let escape = |cell: &String| cell.replace('|', "\\|").replace('\n', " ");
    let line = |cells: &[String]| {
        format!(
            "| {} |\n",
            cells.iter().map(escape).collect::<Vec<_>>().join(" | ")
        )
    };
    let rule: Vec<String> = (0..grid.heads.len())
        .map(|i| if i < grid.text_columns { "---" } else { "---:" }.to_string())
        .collect();
    let mut text = line(&grid.heads) + &line(&rule);
    grid.rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// The grid as a `tabular` with the rules of booktabs.
pub(crate) fn latex_grid(grid: &Grid) -> String {
    let columns = (0..grid.heads.len())
        .map(|i| if i < grid.text_columns { 'l' } else { 'r' })
        .collect::<String>();
    let line = |cells: &[String]| {
        format!(
            "{} \\\\\n",
            cells
                .iter()
                .map(|c| latex_text(c))
                .collect::<Vec<_>>()
                .join(" & ")
        )
    };
    let rows = grid.rows.iter().map(|row| line(row)).collect::<String>();
    let head = line(&grid.heads);
    format!(
        "\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n"
    )
}

/// Text as LaTeX prints it.
fn latex_text(text: &str) -> String {
    if let Some(code) = text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        return format!("\\texttt{{{code}}}");
    }
    let mut out = String::new();
    for (i, c) in text.char_indices() {
        match c {
            '%' | '&' | '_' | '#' | '$' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("$<$"),
            '–' => out.push_str("--"),
            'Δ' => out.push_str("$\\Delta$"),
            '-' if i == 0 => out.push_str("$-$"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latex_text_is_escaped() {
        assert_eq!(latex_text("half_even 95 %"), "half\\_even 95 \\%");
        assert_eq!(latex_text("-0.17"), "$-$0.17");
        assert_eq!(latex_text("9.9e-4"), "9.9e-4");
        assert_eq!(latex_text("91.17–92.25"), "91.17--92.25");
        assert_eq!(latex_text("`0123456789ab`"), "\\texttt{0123456789ab}");
        assert_eq!(latex_text("<1e-300 \\x"), "$<$1e-300 \\textbackslash{}x");
    }

    #[test]
    fn a_pipe_or_a_newline_in_a_cell_does_not_break_the_table() {
        let rows = vec![vec!["a|b\nc".to_string(), "1".to_string()]];
        let heads = vec!["x".to_string(), "y".to_string()];
        let text = markdown_grid(&Grid {
            heads,
            text_columns: 1,
            rows,
        });
        assert_eq!(text, "| x | y |\n| --- | ---: |\n| a\\|b c | 1 |\n");
    }
}
