//! `doctor`: what this program finds on this machine, what is missing, and how to get it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use yolo_data::dataset::cache::default_cache_dir;
use yolo_detect::video::Ffmpeg;
use yolo_device::{Gpus, processor};
use yolo_report::format::bytes;
use yolo_report::results::SCHEMA;
use yolo_runtime::Isa;

use crate::args::DoctorArgs;
use crate::console::Output;
use crate::device::HOW_TO_BUILD;
use crate::version;

/// Looks around and prints what is there.
pub(crate) fn run(args: &DoctorArgs) -> Result<()> {
    let output = Output::new(args.json);
    let found = Findings::collect();
    for line in found.lines() {
        output.line(line)?;
    }
    output.json(&found)
}

/// Everything that was looked for.
#[derive(Serialize)]
struct Findings {
    schema: u32,
    version: &'static str,
    features: Vec<&'static str>,
    system: String,
    processor: String,
    cores: usize,
    vector_unit: &'static str,
    vector_units: Vec<&'static str>,
    gpus: Gpus,
    caches: Vec<Cache>,
    datasets_dir: Option<PathBuf>,
    ffmpeg: Option<String>,
    advice: Vec<String>,
}

/// A folder or some files of the user's cache.
#[derive(Serialize)]
struct Cache {
    what: &'static str,
    path: PathBuf,
    files: usize,
    bytes: u64,
}

impl Findings {
    fn collect() -> Self {
        let gpus = Gpus::find(HOW_TO_BUILD);
        let datasets_dir = std::env::var_os("YOLO_DATASETS_DIR").map(PathBuf::from);
        let ffmpeg = ffmpeg();
        let mut advice: Vec<String> = gpus.advice.iter().map(|advice| format!("GPU: {advice}")).collect();
        if Isa::detect() == Isa::Portable {
            advice.push(
                "processor: it has neither AVX2, AVX-512 nor NEON, so detectors run on plain code, which is several times \
                 slower"
                    .to_owned(),
            );
        }
        if default_cache_dir().is_none() {
            advice.push(
                "cache: there is no home folder; set XDG_CACHE_HOME to keep what was measured".to_owned(),
            );
        }
        if let Some(dir) = datasets_dir.as_deref().filter(|dir| !dir.is_dir()) {
            advice.push(format!("YOLO_DATASETS_DIR: {}: no such folder", dir.display()));
        }
        if ffmpeg.is_none() {
            advice.push(
                "ffmpeg: not found, and only videos need it; `apt install ffmpeg`, `brew install ffmpeg` or \
                 https://ffmpeg.org/download.html"
                    .to_owned(),
            );
        }
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            features: version::features().collect(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            vector_unit: Isa::detect().name(),
            vector_units: Isa::ALL.into_iter().filter(|isa| isa.is_available()).map(Isa::name).collect(),
            gpus,
            caches: default_cache_dir().map(|folder| caches(&folder)).unwrap_or_default(),
            datasets_dir,
            ffmpeg,
            advice,
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut row =
            |name: &str, value: String| lines.push(format!("{name:<16}{value}").trim_end().to_owned());
        let features = version::BACK_ENDS.iter().map(|(name, built)| match built {
            true => (*name).to_owned(),
            false => format!("no {name}"),
        });
        row("yolo-cli", format!("{} ({})", self.version, features.collect::<Vec<_>>().join(", ")));
        row("system", self.system.clone());
        let processor = if self.processor.is_empty() { "unknown" } else { &self.processor };
        row("processor", processor.to_owned());
        row("threads", self.cores.to_string());
        row("vector unit", format!("{} (of {})", self.vector_unit, self.vector_units.join(", ")));
        let driver =
            self.gpus.driver.as_ref().map_or_else(String::new, |version| format!(", driver {version}"));
        row(
            "GPU",
            match self.gpus.names.as_slice() {
                [] => format!("none{driver}"),
                names => names.join(", ") + &driver,
            },
        );
        for (name, count) in &self.gpus.seen_by {
            if let Some(count) = count {
                row("", format!("{count} seen by {name}"));
            }
        }
        for cache in &self.caches {
            let size = match cache.files {
                0 => "empty".to_owned(),
                1 => format!("1 file, {}", bytes(cache.bytes)),
                files => format!("{files} files, {}", bytes(cache.bytes)),
            };
            row(cache.what, format!("{} ({size})", cache.path.display()));
        }
        let datasets = self.datasets_dir.as_ref().map(|dir| dir.display().to_string());
        row(
            "data sets",
            datasets.unwrap_or_else(|| "beside their yaml; YOLO_DATASETS_DIR is not set".to_owned()),
        );
        row("ffmpeg", self.ffmpeg.clone().unwrap_or_else(|| "not found".to_owned()));
        lines.push(String::new());
        match self.advice.as_slice() {
            [] => lines.push("Nothing is missing.".to_owned()),
            advice => lines.extend(advice.iter().cloned()),
        }
        lines
    }
}

/// What lies in the user's cache.
fn caches(folder: &Path) -> Vec<Cache> {
    let below = |what, name: &str| {
        let path = folder.join(name);
        let (files, bytes) = size(&path);
        Cache { what, path, files, bytes }
    };
    let scans = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let scans = scans.filter(|entry| entry.file_name().to_string_lossy().starts_with("dataset-"));
    let sizes: Vec<u64> = scans.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).collect();
    vec![
        below("weights", "weights"),
        below("kernels", "kernels"),
        below("times", "times"),
        below("example", "demo"),
        Cache {
            what: "scans",
            path: folder.join("dataset-*.jsonl"),
            files: sizes.len(),
            bytes: sizes.iter().sum(),
        },
    ]
}

/// Files below a folder, and their bytes.
fn size(folder: &Path) -> (usize, u64) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.fold((0, 0), |(files, bytes), entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => {
            let below = size(&entry.path());
            (files + below.0, bytes + below.1)
        }
        Ok(meta) => (files + 1, bytes + meta.len()),
        Err(_) => (files, bytes),
    })
}

/// The first line of `ffmpeg -version`, up to the copyright.
fn ffmpeg() -> Option<String> {
    let output = Ffmpeg::version().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().filter(|_| output.status.success())?;
    Some(line.split(" Copyright").next().unwrap_or(line).trim().to_owned())
}
