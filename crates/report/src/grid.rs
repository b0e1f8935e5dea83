//! Rows of cells as Markdown and as LaTeX. Cells hold Markdown text: code is in backquotes, the rest is plain.

/// Cells of a printed table. The first `text_columns` columns are words, the others numbers.
pub struct Grid {
    /// Heading of each column.
    pub heads: Vec<String>,
    /// How many columns, from the left, are words.
    pub text_columns: usize,
    /// A cell for each heading.
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    fn place(&self, head: &str) -> Option<usize> {
        self.heads.iter().position(|h| h.replace('\n', " ") == head)
    }

    /// Breaks headings of several words before the last one: [`text_grid`] prints them in two lines.
    pub(crate) fn break_heads(&mut self) {
        for head in &mut self.heads {
            if let Some(blank) = head.rfind(' ') {
                head.replace_range(blank..=blank, "\n");
            }
        }
    }

    /// Moves the cells that say `what` from one column to another, where both are there.
    pub(crate) fn move_cells(&mut self, from: &str, to: &str, what: &str) {
        let (Some(from), Some(to)) = (self.place(from), self.place(to)) else {
            return;
        };
        for row in self.rows.iter_mut().filter(|row| row[from] == what) {
            row.swap(from, to);
        }
    }

    /// Leaves out the column of this heading, where there is one.
    pub(crate) fn drop_column(&mut self, head: &str) {
        let Some(place) = self.place(head) else {
            return;
        };
        self.heads.remove(place);
        self.text_columns -= usize::from(place < self.text_columns);
        for row in &mut self.rows {
            row.remove(place);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let longest = |column: usize| {
            let cells = self.rows.iter().map(|row| shown(&row[column]));
            let heads = self.heads[column].lines().map(str::to_string);
            cells
                .chain(heads)
                .map(|cell| cell.chars().count())
                .fold(0, usize::max)
        };
        (0..self.heads.len()).map(longest).collect()
    }
}

/// A cell without its Markdown.
fn shown(cell: &str) -> String {
    cell.replace('`', "")
}

/// How many columns of a terminal [`text_grid`] takes.
pub(crate) fn text_width(grid: &Grid) -> usize {
    let widths = grid.widths();
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

/// The grid as aligned columns, words to the left and numbers to the right, two spaces between.
pub fn text_grid(grid: &Grid) -> String {
    let widths = grid.widths();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded = cells.map(|(i, (cell, &width))| {
            let cell = shown(cell);
            if i < grid.text_columns {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    let rule = "-".repeat(text_width(grid));
    let rows: String = grid.rows.iter().map(|row| line(row)).collect();
    // The lines of a heading end at the bottom.
    let most = grid.heads.iter().map(|head| head.lines().count()).max();
    let heads: String = (0..most.unwrap_or(0))
        .rev()
        .map(|up| {
            let part = |head: &String| head.lines().rev().nth(up).unwrap_or_default().to_string();
            line(&grid.heads.iter().map(part).collect::<Vec<_>>())
        })
        .collect();
    format!("{heads}{rule}\n{rows}")
}

/// `text` in lines of at most `width` characters, broken at spaces.
pub fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out + "\n"
}

/// The grid as a pipe table.
pub fn markdown_grid(grid: &Grid) -> String {
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
    fn text_is_aligned_and_a_dropped_column_is_gone() {
        let mut grid = Grid {
            heads: ["scheme", "bits", "run"].map(String::from).to_vec(),
            text_columns: 1,
            rows: vec![["affine", "8", "`0123`"].map(String::from).to_vec()],
        };
        assert_eq!(
            text_grid(&grid),
            "scheme  bits   run\n------------------\naffine     8  0123\n"
        );
        grid.drop_column("run");
        assert_eq!(text_width(&grid), 12);
        assert!(!text_grid(&grid).contains("0123"));
    }

    #[test]
    fn broken_heads_stand_on_the_rule_and_are_still_found() {
        let mut grid = Grid {
            heads: ["first", "top-1 hits"].map(String::from).to_vec(),
            text_columns: 1,
            rows: vec![["affine", "8"].map(String::from).to_vec()],
        };
        grid.break_heads();
        assert_eq!(
            text_grid(&grid),
            "        top-1\nfirst    hits\n-------------\naffine      8\n"
        );
        grid.drop_column("top-1 hits");
        assert_eq!(grid.heads, ["first"]);
    }

    #[test]
    fn wrapped_text_keeps_every_word_and_the_width() {
        let text = "one two three four";
        assert_eq!(wrapped(text, 9), "one two\nthree\nfour\n");
        assert_eq!(wrapped("unbreakable", 3), "unbreakable\n");
    }

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
