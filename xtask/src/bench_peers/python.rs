//! The Python that runs the peers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Prints those of its arguments that cannot be imported, one a line.
const MISSING: &str = "import importlib.util, sys\n\
                       for name in sys.argv[1:]:\n    if importlib.util.find_spec(name) is None: print(name)";

/// Those of `modules` that `python` does not have.
///
/// # Errors
///
/// `python` is not a Python that starts.
pub(super) fn missing(python: &Path, modules: &[&'static str]) -> Result<Vec<&'static str>> {
    let asked = Command::new(python).args(["-c", MISSING]).args(modules).output();
    let output = asked
        .with_context(|| format!("--python {} cannot be started; name another one", python.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        bail!("--python {} fails ({}): {reason}; name another one", python.display(), output.status);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(modules.iter().copied().filter(|module| said.lines().any(|line| line.trim() == *module)).collect())
}

/// What a person types to get `modules`.
pub(super) fn install(python: &Path, modules: &[&str]) -> String {
    let package = |module: &&str| if *module == "PIL" { "pillow" } else { *module }.to_owned();
    let packages: Vec<String> = modules.iter().map(package).collect();
    let python = python.display();
    let list = packages.join(", ");
    format!("{python} has no {list}; `{python} -m pip install {}`", packages.join(" "))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program in place of a Python.
    fn script(folder: &Path, text: &str) -> std::path::PathBuf {
        let path = folder.join("my python");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        path
    }

    #[test]
    fn modules_that_are_missing_are_told_from_a_python_that_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let asked = ["numpy", "openvino", "PIL"];
        let python = script(folder.path(), "echo PIL\necho numpy");
        assert_eq!(missing(&python, &asked).expect("a list"), ["numpy", "PIL"]);
        let fix = install(Path::new("py"), &["numpy", "PIL"]);
        assert_eq!(fix, "py has no numpy, pillow; `py -m pip install numpy pillow`");

        let python = script(folder.path(), "echo 'no encodings' >&2\nexit 3");
        let error = missing(&python, &asked).expect_err("a failure").to_string();
        assert!(error.contains("no encodings; name another one"), "{error}");
        let error = missing(&folder.path().join("none"), &asked).expect_err("a failure").to_string();
        assert!(error.contains("cannot be started"), "{error}");
    }
}
