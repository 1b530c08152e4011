//! The fenced blocks of a page: what stands in them, and what their first line says of it.

use std::path::{Path, PathBuf};

/// One fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// The page, below the root of the repository.
    pub(crate) page: PathBuf,
    /// Its first line, counted from 1.
    pub(crate) line: usize,
    /// The words after the three backticks: the language first.
    pub(crate) words: Vec<String>,
    /// What stands in it.
    pub(crate) text: String,
}

impl Block {
    /// The language, or nothing.
    pub(crate) fn language(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Whether people would copy it into a shell.
    pub(crate) fn is_shell(&self) -> bool {
        ["sh", "bash", "shell", "console"].contains(&self.language())
    }

    /// The value of `key=value` among the words.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Where it is, for a message.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }

    /// The command lines of a shell block: without comments, what a backslash continues in one line.
    pub(crate) fn commands(&self) -> Vec<String> {
        let joined = self.text.replace("\\\n", " ");
        let lines = joined.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    }
}

/// The blocks of a page.
pub(crate) fn blocks(page: &Path, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (n, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                let words = info.split_whitespace().map(str::to_owned).collect();
                found.push(Block { page: page.to_owned(), line: n + 1, words, text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "{}: a block is not closed", page.display());
    found
}

#[test]
fn blocks_are_read_as_people_read_them() {
    let page = "a\n```sh not-run\nx \\\n  y   # why\n# z\n```\n```\nplain\n```\n";
    let found = blocks(Path::new("p.md"), page);
    assert_eq!(found.len(), 2);
    assert!(found[0].is_shell() && !found[1].is_shell());
    assert_eq!((found[0].place(), found[0].words[1].as_str()), ("p.md:2".to_owned(), "not-run"));
    assert_eq!(found[0].commands(), ["x    y"]);
    assert_eq!(found[1].text, "plain\n");
}
