//! The folder of a run: `runs/val/exp`, `exp2`, … Files in it appear whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use yolo_train::train::RunFolder;

use crate::args::RunArgs;

/// The flags of a run that can be resumed, in its folder.
pub(crate) const FLAGS: &str = "opt.yaml";

/// The folder that an interrupted run leaves behind only if something was written to it.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A folder made for this run. It is removed again if the run fails before anything was written.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    created: bool,
}

impl RunDir {
    /// Makes `project/name`, or `name2`, `name3`, … where that exists and `exist_ok` is not given.
    pub(crate) fn create(RunArgs { project, name, exist_ok }: &RunArgs) -> Result<Self> {
        let context = |path: &Path| {
            format!("{}: the folder of the run cannot be made; choose another with --project", path.display())
        };
        let first = project.join(name);
        let parent = first.parent().unwrap_or(project);
        std::fs::create_dir_all(parent).with_context(|| context(parent))?;
        for number in 1u32.. {
            let path = project.join(if number == 1 { name.to_owned() } else { format!("{name}{number}") });
            // Making the folder is the test whether it exists, so two runs never share one.
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self::own(path, true)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    if *exist_ok && path.is_dir() {
                        return Ok(Self::own(path, false));
                    }
                }
                Err(error) => return Err(error).with_context(|| context(&path)),
            }
        }
        anyhow::bail!("{}: every run number is taken", project.display())
    }

    /// The folder of a run that was interrupted.
    pub(crate) fn reopen(path: &Path) -> Self {
        Self { path: path.to_owned(), created: false }
    }

    fn own(path: PathBuf, created: bool) -> Self {
        if created && let Ok(mut unfinished) = UNFINISHED.lock() {
            *unfinished = Some(path.clone());
        }
        Self { path, created }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `content` to `name` (which may have folders in it), whole or not at all.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        yolo_files::write(&path, content)
            .with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(path)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.created {
            // Fails on a folder that holds something, which is the point.
            let _ = std::fs::remove_dir(&self.path);
        }
        if let Ok(mut unfinished) = UNFINISHED.lock() {
            *unfinished = None;
        }
    }
}

/// The run `run`, or the newest below `project` if it is empty.
pub(crate) fn resumed_run(run: &Path, project: &Path) -> Result<PathBuf> {
    resumed_run_by(run, project, |folder| folder.join(RunFolder::STATE))
}

/// The same for runs whose state is the file that `state` says.
pub(crate) fn resumed_run_by(
    run: &Path,
    project: &Path,
    state: impl Fn(&Path) -> PathBuf,
) -> Result<PathBuf> {
    if run.as_os_str().is_empty() {
        return newest_run(project, state);
    }
    // YOLOv5 names the checkpoint, not its run.
    let folder = if run.is_file() { run.parent().and_then(Path::parent).unwrap_or(run) } else { run };
    if !folder.is_dir() {
        anyhow::bail!("{}: no such run; check --resume", run.display());
    }
    Ok(folder.to_owned())
}

/// The flags that the run in the folder `run` was started with; `what` it has to be is for messages.
pub(crate) fn read_flags<T: DeserializeOwned>(run: &Path, what: &str) -> Result<T> {
    let file = run.join(FLAGS);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("{}: not the folder of {what}; check --resume", file.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| {
        anyhow::anyhow!("{}: damaged ({}); start the run again", file.display(), error.without_snippet())
    })
}

/// The run below `project` that was written to last.
fn newest_run(project: &Path, state: impl Fn(&Path) -> PathBuf) -> Result<PathBuf> {
    let runs = std::fs::read_dir(project).into_iter().flatten().flatten();
    let states = runs.filter_map(|run| {
        let modified = std::fs::metadata(state(&run.path())).and_then(|m| m.modified()).ok()?;
        Some((modified, run.path()))
    });
    match states.max() {
        Some((_, run)) => Ok(run),
        None => {
            anyhow::bail!("{}: no interrupted run below it; name one with --resume RUN", project.display())
        }
    }
}

/// Removes the folder of an unfinished run, if nothing was written to it.
pub(crate) fn remove_unfinished() {
    if let Ok(unfinished) = UNFINISHED.lock()
        && let Some(path) = unfinished.as_deref()
    {
        let _ = std::fs::remove_dir(path);
    }
}

/// The command as it was typed, with its program by name.
pub(crate) fn command_line() -> String {
    let quoted = |arg: String| match arg.chars().all(|c| c.is_alphanumeric() || "-_./=:,".contains(c)) {
        true if !arg.is_empty() => arg,
        _ => format!("'{arg}'"),
    };
    let args = std::env::args_os().skip(1).map(|arg| quoted(arg.to_string_lossy().into_owned()));
    std::iter::once("yolo-cli".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

/// Removes a file that need not be there.
pub(crate) fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| file.display().to_string())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_numbered_and_empty_ones_go() -> Result<()> {
        let project = tempfile::tempdir()?;
        let project = project.path().join("runs/val");
        let create = |exist_ok| {
            RunDir::create(&RunArgs { project: project.clone(), name: "exp".to_owned(), exist_ok })
        };
        let first = create(false)?;
        first.write("labels/a.txt", b"x")?;
        let second = create(false)?;
        assert_eq!(second.path(), project.join("exp2"));
        let again = create(true)?;
        assert_eq!(again.path(), project.join("exp"));
        drop((first, second, again));
        assert!(project.join("exp/labels/a.txt").exists());
        assert!(!project.join("exp2").exists());
        Ok(())
    }
}
