//! The INT8 network, which NNCF makes from the exported one and a folder of images.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Endings of the images that an INT8 network is calibrated with.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];
/// Images that NNCF looks at, at most.
const MOST: usize = 300;

/// Images in `folder` and below, in the order of their paths, at most [`MOST`].
pub(super) fn images(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    if files.is_empty() {
        let endings = ENDINGS.join(", ");
        bail!("--images {}: it has no images ({endings}); name a folder of them", folder.display());
    }
    files.sort();
    files.truncate(MOST);
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let place = || format!("--images {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(place)? {
        let entry = entry.with_context(place)?;
        let path = entry.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
        // A link to a folder is not followed: it could lead back here.
        if entry.file_type().with_context(place)?.is_dir() {
            collect(&path, files)?;
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes the INT8 form of `onnx` to `out`, calibrated with `images` at `size` pixels.
pub(super) fn quantize(
    python: &Path,
    script: &Path,
    [onnx, out]: [&Path; 2],
    size: &str,
    images: &[PathBuf],
) -> Result<()> {
    eprintln!("NNCF makes an INT8 network with {} images", images.len());
    let mut child = Command::new(python)
        .arg(script)
        .args([onnx, out])
        .args([size, size])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("openvino_int8.py")?;
    let list: Vec<String> = images.iter().map(|path| path.display().to_string()).collect();
    if let Some(mut input) = child.stdin.take() {
        // It may have failed already, which it then says.
        let _ = input.write_all(list.join("\n").as_bytes());
    }
    let output = child.wait_with_output().context("openvino_int8.py")?;
    if output.status.success() {
        return Ok(());
    }
    let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let reason = said.lines().find_map(|line| line.strip_prefix("failed "));
    let last = || complained.lines().rfind(|line| !line.trim().is_empty());
    bail!("openvino-int8: {}", reason.or_else(last).unwrap_or("openvino_int8.py ended without a word"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_below_a_folder_are_found_in_order_and_none_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = images(folder.path()).expect_err("an error").to_string();
        assert!(error.contains("it has no images"), "{error}");
        std::fs::create_dir(folder.path().join("b")).expect("a folder");
        for name in ["c.JPG", "b/a.png", "a.txt"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let expected = ["b/a.png", "c.JPG"].map(|name| folder.path().join(name));
        assert_eq!(images(folder.path()).expect("images"), expected);
        let error = images(&folder.path().join("none")).expect_err("an error").to_string();
        assert!(error.contains("none"), "{error}");
    }
}
