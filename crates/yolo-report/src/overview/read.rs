//! From paths to networks: files of results, folders of runs, and folders of such folders.

use std::path::{Path, PathBuf};

use super::Entry;
use crate::results::{ReadError, ResultsFile};
use crate::sweep::Point;

/// The files that runs leave: of `val` and `sweep`, and of `prune-finetune`.
const FILES: [&str; 2] = ["results.json", "summary.json"];

/// Why there are no networks behind a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is nothing at this path.
    #[error("{}: no such file or folder", .0.display())]
    NotFound(PathBuf),
    /// A folder without results.
    #[error("{}: {reason}", path.display())]
    NoResults {
        /// The folder.
        path: PathBuf,
        /// What is there instead, or what to name.
        reason: String,
    },
    /// A file or folder that cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file of something else.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ReadError,
    },
}

/// A file with the name that its networks are shown under.
struct Source {
    label: String,
    file: PathBuf,
}

/// The networks of all `paths`, in their order; `NAME=PATH` gives one a name.
///
/// # Errors
/// Paths without results, and files that cannot be read.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Entry>, SourceError> {
    let mut sources = Vec::new();
    for path in paths {
        let (name, path) = split_name(path);
        sources.extend(find(name, &path)?);
    }
    let alone = sources.len() == 1;
    let mut entries = Vec::new();
    for source in &sources {
        entries.extend(read(source, alone)?);
    }
    make_distinct(&mut entries);
    Ok(entries)
}

/// `NAME=PATH`, unless there is a file with that whole name.
fn split_name(path: &Path) -> (Option<String>, PathBuf) {
    match path.to_str().and_then(|text| text.split_once('=')) {
        Some((name, rest)) if !path.exists() && !name.is_empty() && !name.contains(['/', '\\']) => {
            (Some(name.to_owned()), PathBuf::from(rest))
        }
        _ => (None, path.to_owned()),
    }
}

/// The files behind a path.
fn find(name: Option<String>, path: &Path) -> Result<Vec<Source>, SourceError> {
    if path.is_file() {
        let label = name.unwrap_or_else(|| label_of_file(path));
        return Ok(vec![Source { label, file: path.to_owned() }]);
    }
    if !path.is_dir() {
        return Err(SourceError::NotFound(path.to_owned()));
    }
    if let Some(file) = file_in(path) {
        let label = name.unwrap_or_else(|| folder_name(path));
        return Ok(vec![Source { label, file }]);
    }
    let runs = std::fs::read_dir(path).map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
    let mut runs: Vec<PathBuf> =
        runs.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    // exp, exp2, … exp10, as they were made.
    runs.sort_by_key(|run| (run.as_os_str().len(), run.clone()));
    let found = runs.iter().filter_map(|run| {
        let label = folder_name(run);
        let label = name.as_ref().map_or_else(|| label.clone(), |name| format!("{name} {label}"));
        Some(Source { label, file: file_in(run)? })
    });
    let found: Vec<Source> = found.collect();
    if found.is_empty() {
        return Err(SourceError::NoResults { path: path.to_owned(), reason: why_nothing(path) });
    }
    Ok(found)
}

fn file_in(folder: &Path) -> Option<PathBuf> {
    FILES.into_iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// What to do about a folder that holds no results.
fn why_nothing(folder: &Path) -> String {
    let weights = folder.join("weights/best.safetensors");
    if weights.is_file() {
        let weights = weights.display();
        return format!(
            "a run of `train`, or one that is not done; `yolo-cli val --weights {weights}` measures it"
        );
    }
    format!("neither it nor a folder in it has {}; name the folder of a run", FILES.join(" or "))
}

/// `results.json` goes by its folder, other files by their own names.
fn label_of_file(file: &Path) -> String {
    let is_usual = file.file_name().is_some_and(|name| FILES.iter().any(|usual| name == *usual));
    match std::path::absolute(file) {
        Ok(absolute) if is_usual => absolute.parent().map_or_else(String::new, folder_name),
        _ => file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

fn folder_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The networks of one file. If it is the only one, stages and points go by their own names.
fn read(source: &Source, alone: bool) -> Result<Vec<Entry>, SourceError> {
    let text = std::fs::read_to_string(&source.file)
        .map_err(|error| SourceError::Io { path: source.file.clone(), source: error })?;
    let file = ResultsFile::parse(&text)
        .map_err(|error| SourceError::Invalid { path: source.file.clone(), source: error })?;
    let place = source.file.display().to_string();
    let within = |part: String| if alone { part } else { format!("{}: {part}", source.label) };
    Ok(match file {
        ResultsFile::Validation(results) => vec![Entry::of_results(&results, source.label.clone(), &place)],
        ResultsFile::Pruning(summary) => {
            let stages = summary.stages.iter().map(|stage| {
                let name = stage.stage.as_deref().unwrap_or("network");
                Entry::of_results(stage, within(name.to_owned()), &place)
            });
            stages.collect()
        }
        ResultsFile::Sweep(sweep) => {
            let name = |point: &Point| match point.amount > 0.0 {
                true => format!("{} {}", point.method, point.amount),
                false => point.method.clone(),
            };
            let points = sweep.points.iter();
            points.map(|point| Entry::of_point(point, &sweep, within(name(point)), &place)).collect()
        }
    })
}

/// Networks of the same name get numbers.
fn make_distinct(entries: &mut [Entry]) {
    let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for entry in entries {
        let count = seen.entry(entry.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            entry.name = format!("{} ({count})", entry.name);
        }
    }
}
