//! From paths to networks: files of results, folders of runs, and folders of folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Entry;
use crate::nearby;
use crate::results::SCHEMA;

/// The files that runs leave: of `val` and `sweep`, and of `prune-finetune`.
const FILES: [&str; 2] = ["results.json", "summary.json"];
/// What files are understood, for messages.
const UNDERSTOOD: &str = "results.json of `val` or `sweep`, or summary.json of `prune-finetune`; run the command again to have a new one";

/// A file with the name that its networks go by.
struct Source {
    label: String,
    file: PathBuf,
}

/// The networks of all `paths`, in their order; `NAME=PATH` gives one a name.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Entry>> {
    let mut sources = Vec::new();
    for path in paths {
        let (name, path) = split_name(path);
        sources.extend(find(name, &path)?);
    }
    let alone = sources.len() == 1;
    let mut entries = Vec::new();
    for source in &sources {
        entries.extend(read(source, alone).with_context(|| source.file.display().to_string())?);
    }
    make_distinct(&mut entries);
    Ok(entries)
}

/// `NAME=PATH`, unless there is a file that is called so.
fn split_name(path: &Path) -> (Option<String>, PathBuf) {
    match path.to_str().and_then(|text| text.split_once('=')) {
        Some((name, rest)) if !path.exists() && !name.is_empty() && !name.contains(['/', '\\']) => {
            (Some(name.to_owned()), PathBuf::from(rest))
        }
        _ => (None, path.to_owned()),
    }
}

/// The files behind a path.
fn find(name: Option<String>, path: &Path) -> Result<Vec<Source>> {
    if path.is_file() {
        let label = name.unwrap_or_else(|| label_of_file(path));
        return Ok(vec![Source { label, file: path.to_owned() }]);
    }
    if !path.is_dir() {
        bail!("{}: no such file or folder{}", path.display(), nearby::suggestion(path));
    }
    if let Some(file) = file_in(path) {
        let label = name.unwrap_or_else(|| folder_name(path));
        return Ok(vec![Source { label, file }]);
    }
    let runs = std::fs::read_dir(path).with_context(|| path.display().to_string())?.flatten();
    let mut runs: Vec<PathBuf> = runs.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    // exp, exp2, … exp10, as they were made.
    runs.sort_by_key(|run| (run.as_os_str().len(), run.clone()));
    let found = runs.iter().filter_map(|run| {
        let label = folder_name(run);
        let label = name.as_ref().map_or_else(|| label.clone(), |name| format!("{name} {label}"));
        Some(Source { label, file: file_in(run)? })
    });
    let found: Vec<Source> = found.collect();
    if found.is_empty() {
        bail!("{}: {}", path.display(), why_nothing(path));
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

/// The networks of one file. Where it is the only one, stages and points go by their own names.
fn read(source: &Source, alone: bool) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(&source.file)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| anyhow::anyhow!("not JSON ({error}); it has to be {UNDERSTOOD}"))?;
    check_schema(&value)?;
    let place = source.file.display().to_string();
    let within = |part: String| if alone { part } else { format!("{}: {part}", source.label) };
    if let Some(stages) = value.get("stages").and_then(Value::as_array) {
        let stage = |stage: &Value| {
            let name = stage.get("stage").and_then(Value::as_str).unwrap_or("network");
            Entry::of_results(stage, within(name.to_owned()), &place).map_err(incomplete)
        };
        return stages.iter().map(stage).collect();
    }
    if let Some(points) = value.get("points").and_then(Value::as_array) {
        let point = |point: &Value| {
            let method = point.get("method").and_then(Value::as_str).unwrap_or("network");
            let amount = point.get("amount").and_then(Value::as_f64).filter(|amount| *amount > 0.0);
            let name = amount.map_or_else(|| method.to_owned(), |amount| format!("{method} {amount}"));
            Entry::of_point(point, &value, within(name), &place).map_err(incomplete)
        };
        return points.iter().map(point).collect();
    }
    if value.get("native").is_none() {
        bail!("it has neither `native` nor `stages` nor `points`; it has to be {UNDERSTOOD}");
    }
    Ok(vec![Entry::of_results(&value, source.label.clone(), &place).map_err(incomplete)?])
}

fn incomplete(missing: String) -> anyhow::Error {
    anyhow::anyhow!("{missing}; it has to be {UNDERSTOOD}")
}

fn check_schema(value: &Value) -> Result<()> {
    match value.get("schema").and_then(Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => Ok(()),
        Some(schema) => {
            bail!("its layout is number {schema}, this program knows {SCHEMA}; use the version that wrote it")
        }
        None => bail!("`schema` is missing; it has to be {UNDERSTOOD}"),
    }
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
