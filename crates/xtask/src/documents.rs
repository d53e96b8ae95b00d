//! Whether `docs/documents.md`, which says what became of the source documents, is true of the tree.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use tooling::Workspace;

const FILE: &str = "docs/documents.md";
/// What a line says whose requirement nothing answers; its reason follows.
const UNANSWERED: &str = "not answered";

/// Fails with every line of the tables that names no file, or one that does not exist.
///
/// # Errors
/// When a line is wrong or there is none, or the file cannot be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let Workspace { root, .. } = Workspace::load()?;
    let text = fs::read_to_string(root.join(FILE)).context(FILE)?;
    let mut problems = Vec::new();
    let mut lines = 0;
    for (number, [said, answer, files]) in rows(&text) {
        lines += 1;
        let found = problems_of(&root, answer, files);
        problems.extend(found.into_iter().map(|what| format!("{FILE}:{number}: {said}: {what}")));
    }
    ensure!(lines > 0, "{FILE} has no table of three columns");
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    println!("{FILE}: {lines} lines, and every file that they name is there");
    Ok(())
}

/// The rows of tables with three columns, with their line numbers: what a document says, what there
/// is, and where.
fn rows(text: &str) -> impl Iterator<Item = (usize, [&str; 3])> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(index, line)| {
        let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').collect();
        let cells = <[&str; 3]>::try_from(cells).ok()?.map(str::trim);
        let is_row = cells[2] != "where" && !cells[2].starts_with("---");
        is_row.then_some((index + 1, cells))
    })
}

fn problems_of(root: &Path, answer: &str, files: &str) -> Vec<String> {
    // What stands between backquotes.
    let named: Vec<_> = files.split('`').skip(1).step_by(2).collect();
    if named.is_empty() && !answer.starts_with(UNANSWERED) {
        return vec![format!("names no file; `{UNANSWERED}: <why>` needs none")];
    }
    let missing = named.into_iter().filter(|file| !root.join(file).exists());
    missing.map(|file| format!("there is no {file}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
| document | became |
|---|---|
| one | two |

| the document says | what there is | where |
|---|---|---|
| first | a | `Cargo.toml` `src/main.rs` |
| second | b | `gone.rs` |
| third | c | |
| fourth | not answered: why | |
";

    #[test]
    fn rows_are_those_below_the_head_of_three_columns() {
        let found: Vec<_> = rows(TABLE).map(|(number, [said, ..])| (number, said)).collect();
        assert_eq!(found, [(7, "first"), (8, "second"), (9, "third"), (10, "fourth")]);
    }

    #[test]
    fn a_row_names_files_that_exist_or_says_why_there_is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let problems: Vec<_> = rows(TABLE)
            .map(|(_, [_, answer, files])| problems_of(root, answer, files).join(", "))
            .collect();
        assert_eq!(problems[0], "");
        assert_eq!(problems[1], "there is no gone.rs");
        assert!(problems[2].starts_with("names no file"), "{problems:?}");
        assert_eq!(problems[3], "");
    }
}
