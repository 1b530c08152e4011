//! The files that `lint` looks at.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::super::files;
use crate::lint::{Input, Place, Problem, STDIN};

/// Folders that hold no manifests of this project.
const SKIPPED: &[&str] = &["node_modules", "vendor"];
/// As deep as a folder is looked into.
const MOST_DEPTH: usize = 32;

/// Reads what is named; what cannot be read is a problem, and the rest is read all the same.
pub(super) fn read(paths: &[PathBuf]) -> (Vec<Input>, Vec<Problem>) {
    let mut inputs = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            walk(path, 0, &mut found, &mut problems);
            if found.is_empty() {
                problems.push(problem(path, "has no .yaml, .yml or .json file in it".to_owned()));
            }
            for file in &found {
                one(file, false, &mut inputs, &mut problems);
            }
        } else {
            one(path, true, &mut inputs, &mut problems);
        }
    }
    (inputs, problems)
}

fn one(path: &Path, named: bool, inputs: &mut Vec<Input>, problems: &mut Vec<Problem>) {
    match files::read(path) {
        Ok((name, text)) => inputs.push(Input { name, text, named }),
        Err(error) => problems.push(problem(path, error.to_string())),
    }
}

fn problem(path: &Path, text: String) -> Problem {
    let file = if path == Path::new("-") { STDIN.to_owned() } else { path.display().to_string() };
    Problem { place: Place { file, line: 1 }, text, template: false }
}

/// The manifests below a folder, sorted; links are not followed.
fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problems.push(problem(folder, format!("cannot be read: {error}"))),
    };
    let mut entries: Vec<fs::DirEntry> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < MOST_DEPTH && !name.starts_with('.') && !SKIPPED.contains(&&*name) {
            walk(&path, depth + 1, found, problems);
        } else if kind.is_file() && path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json") {
            found.push(path);
        }
    }
}

/// The templates of a chart are one problem: the first is named, the others are counted.
pub(super) fn join_templates(problems: &mut Vec<Problem>) {
    let folder = |problem: &Problem| Path::new(&problem.place.file).parent().map(Path::to_path_buf);
    let mut joined: Vec<(Problem, usize)> = Vec::new();
    for problem in problems.drain(..) {
        let same = |(other, _): &&mut (Problem, usize)| other.template && folder(other) == folder(&problem);
        match joined.iter_mut().find(same).filter(|_| problem.template) {
            Some((_, more)) => *more += 1,
            None => joined.push((problem, 0)),
        }
    }
    problems.extend(joined.into_iter().map(|(problem, more)| match more {
        0 => problem,
        more => Problem { text: format!("{}; {more} more beside it", problem.text), ..problem },
    }));
}
