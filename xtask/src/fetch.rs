//! `fetch-coco`, `fetch-coco128` and `fetch-weights`: arguments, and what is said at the end.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use yolo_fetch::coco::{self, Part, Report};
use yolo_fetch::{FetchError, Options, artefacts};

use crate::bars::Bars;

/// How to run the program, as the closing messages say it.
const YOLO: &str = "cargo run --release --";

/// Where downloads come from.
#[derive(Args)]
pub(crate) struct SourceArgs {
    /// Folder URL to try first; the names of the files are appended
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Files you have already, or folders of them; matched by name, checked, and left where they are
    #[arg(long, value_name = "FILE", num_args = 1..)]
    from: Vec<PathBuf>,
    /// Open no connection
    #[arg(long)]
    offline: bool,
    /// SHA-256 to accept although it is not the expected one
    #[arg(long, value_name = "SHA256")]
    accept: Vec<String>,
}

/// Arguments of `fetch-coco`.
#[derive(Args)]
pub(crate) struct CocoArgs {
    /// The training images as well (19 GB)
    #[arg(long, conflicts_with = "subset")]
    train: bool,
    /// Only the first N validation images, one by one
    #[arg(long, value_name = "N")]
    subset: Option<NonZeroUsize>,
    /// Folder of the data set [default: $YOLO_DATASETS_DIR/coco, else datasets/coco]
    #[arg(long, value_name = "DIR")]
    dest: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

/// Arguments of `fetch-coco128`.
#[derive(Args)]
pub(crate) struct Coco128Args {
    /// Folder of the data set [default: $YOLO_DATASETS_DIR/coco128, else datasets/coco128]
    #[arg(long, value_name = "DIR")]
    dest: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

/// Arguments of `fetch-weights`.
#[derive(Args)]
pub(crate) struct WeightsArgs {
    /// n, s, m, l, x, or n6 … x6 for 1280 pixels; yolov5n means the same
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Folder for them [default: weights]
    #[arg(long, value_name = "DIR")]
    dest: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

impl SourceArgs {
    fn options(&self) -> Result<Options> {
        for path in &self.from {
            if !path.exists() {
                bail!("{}: no such file; check --from", path.display());
            }
        }
        for sha256 in &self.accept {
            if sha256.len() != 64 || !sha256.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                bail!("{sha256}: no SHA-256; --accept takes 64 hexadecimal digits");
            }
        }
        let is_url = |url: &&String| url.starts_with("http://") || url.starts_with("https://");
        if let Some(url) = self.mirror.as_ref().filter(|url| !is_url(url)) {
            bail!("{url}: no URL; --mirror takes one that starts with https:// or http://");
        }
        Ok(Options {
            mirror: self.mirror.clone(),
            offline: self.offline,
            local_files: self.from.clone(),
            accept_sha256: self.accept.clone(),
            ..Options::default()
        })
    }

    /// Fails for a file of `--from` that is none of the `wanted` ones: a typo would download it instead.
    fn check_names(&self, wanted: &[&str]) -> Result<()> {
        let is_wanted = |path: &&PathBuf| {
            path.is_dir() || wanted.iter().any(|name| path.file_name().is_some_and(|file| file == *name))
        };
        match self.from.iter().find(|path| !is_wanted(path)) {
            Some(path) => bail!("{}: not used here; --from takes {}", path.display(), wanted.join(", ")),
            None => Ok(()),
        }
    }
}

/// `cargo xtask fetch-coco`.
pub(crate) fn coco(args: &CocoArgs) -> Result<()> {
    let dest = dataset_dir(args.dest.as_deref(), "coco")?;
    if let Some(count) = args.subset {
        return coco_subset(&dest, count.get(), &args.source);
    }
    let report = fetch_parts(&dest, &coco::coco_parts(args.train), &args.source)?;
    say(&report, &dest);
    println!("Next: {}", next_command("coco", &dest));
    Ok(())
}

fn coco_subset(dest: &Path, count: usize, source: &SourceArgs) -> Result<()> {
    let mut bars = Bars::new();
    let list = coco::fetch_coco_subset(dest, count, &source.options()?, &mut |event| bars.show(event))
        .map_err(advise)?;
    drop(bars);
    let name = list.file_name().unwrap_or_default().to_string_lossy();
    let yaml = dest.join("coco-subset.yaml");
    let template = crate::root().join("configs/data/coco.yaml");
    let text = std::fs::read_to_string(&template).with_context(|| template.display().to_string())?;
    let text = subset_yaml(&text, &std::path::absolute(dest)?, &name);
    std::fs::write(&yaml, text).with_context(|| yaml.display().to_string())?;
    println!("{}: the images of {name}", dest.display());
    println!("Next: {YOLO} val --weights yolov5n --data {}", yaml.display());
    Ok(())
}

/// The data yaml `text` with another root and list of validation images.
fn subset_yaml(text: &str, root: &Path, list: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        // JSON strings are YAML strings.
        Some(("path", _)) => format!("path: {:?}\n", root.display().to_string()),
        Some(("val", _)) => format!("val: {list}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// `cargo xtask fetch-coco128`.
pub(crate) fn coco128(args: &Coco128Args) -> Result<()> {
    let dest = dataset_dir(args.dest.as_deref(), "coco128")?;
    let report = fetch_parts(&dest, &coco::coco128_parts(), &args.source)?;
    say(&report, &dest);
    println!("Next: {}", next_command("coco128", &dest));
    Ok(())
}

fn fetch_parts(dest: &Path, parts: &[Part], source: &SourceArgs) -> Result<Report> {
    let names: Vec<&str> = parts.iter().map(|part| part.archive.name.as_str()).collect();
    source.check_names(&names)?;
    let mut bars = Bars::new();
    coco::fetch_parts(dest, parts, &source.options()?, &mut |event| bars.show(event)).map_err(advise)
}

/// `cargo xtask fetch-weights`.
pub(crate) fn weights(args: &WeightsArgs) -> Result<()> {
    let options = args.source.options()?;
    let folder = args.dest.clone().unwrap_or_else(|| from_here(&crate::root().join("weights")));
    let known = |name: &String| artefacts::weights(name).map(|artefact| artefact.name);
    let files: Vec<String> = args.names.iter().filter_map(known).collect();
    args.source.check_names(&files.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut last = PathBuf::new();
    for name in &args.names {
        let mut bars = Bars::new();
        last = yolo_fetch::fetch_weights(name, &folder, &options, &mut |event| bars.show(event))
            .map_err(advise)?;
        drop(bars);
        println!("{}: complete", last.display());
    }
    println!("Next: {YOLO} info --weights {}", last.display());
    Ok(())
}

/// Adds what our flags can do about an error.
fn advise(error: FetchError) -> anyhow::Error {
    match error {
        FetchError::Offline { .. } => anyhow!("{error}, then run again with --from FILE…"),
        FetchError::Wrong { .. } | FetchError::EveryUrl { .. } | FetchError::Server { .. } => {
            anyhow!("{error} (see --mirror, --from and --accept in --help)")
        }
        other => other.into(),
    }
}

/// `dest`, else the folder that the data yaml is looked for in.
fn dataset_dir(dest: Option<&Path>, name: &str) -> Result<PathBuf> {
    if let Some(dest) = dest {
        return Ok(dest.to_owned());
    }
    match std::env::var_os("YOLO_DATASETS_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(std::path::absolute(dir)?.join(name)),
        None => Ok(from_here(&crate::root().join("datasets").join(name))),
    }
}

/// A shorter spelling of `path` where the current folder allows it.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

fn say(report: &Report, dest: &Path) {
    for kept in &report.kept {
        eprintln!("warning: {}: differs from the archive's; left alone", kept.display());
    }
    let list = |ids: &[&str]| ids.join(", ");
    match (report.unpacked.is_empty(), report.were_there.is_empty()) {
        (true, _) => println!("{}: complete already ({})", dest.display(), list(&report.were_there)),
        (false, true) => println!("{}: complete ({})", dest.display(), list(&report.unpacked)),
        (false, false) => println!(
            "{}: complete ({}; there already: {})",
            dest.display(),
            list(&report.unpacked),
            list(&report.were_there)
        ),
    }
}

/// The command that uses the data set `name` in `dest`.
fn next_command(name: &str, dest: &Path) -> String {
    let command = format!("{YOLO} val --weights yolov5n --data {name}");
    let root = crate::root().join("datasets").join(name);
    let absolute = std::path::absolute(dest).unwrap_or_default();
    let datasets_dir = std::env::var_os("YOLO_DATASETS_DIR").map(|dir| Path::new(&dir).join(name));
    if absolute == root || datasets_dir.is_some_and(|known| known == absolute) {
        return command;
    }
    if dest.ends_with(name) {
        let parent = absolute.parent().unwrap_or(&absolute).display().to_string();
        return format!("YOLO_DATASETS_DIR={parent:?} {command}");
    }
    format!("copy configs/data/{name}.yaml, set `path: {}` in it, and give it to --data", absolute.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_yaml_of_a_subset_differs_in_two_lines() {
        let text = std::fs::read_to_string(crate::root().join("configs/data/coco.yaml")).unwrap_or_default();
        let subset = subset_yaml(&text, Path::new("/data/a \"b\"/coco"), "val2017-8.txt");
        let changed: Vec<&str> =
            text.lines().zip(subset.lines()).filter(|(old, new)| old != new).map(|(_, new)| new).collect();
        assert_eq!(changed, [r#"path: "/data/a \"b\"/coco""#, "val: val2017-8.txt"]);
        assert_eq!(text.lines().count(), subset.lines().count());
    }

    #[test]
    fn the_next_command_finds_the_data() {
        let usual = crate::root().join("datasets/coco");
        assert_eq!(next_command("coco", &usual), format!("{YOLO} val --weights yolov5n --data coco"));
        assert!(
            next_command("coco", Path::new("/data/coco")).starts_with("YOLO_DATASETS_DIR=\"/data\" cargo")
        );
        assert!(next_command("coco", Path::new("/data/other")).contains("`path: /data/other`"));
    }
}
