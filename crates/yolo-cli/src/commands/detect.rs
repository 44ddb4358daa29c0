//! `detect`: YOLOv5's `detect.py`.

mod clip;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use yolo_data::image::{Decoded, RgbImage, decode_file};
use yolo_detect::feature_maps::FeatureMaps;
use yolo_detect::sources::{ImageUrl, Input, Source};
use yolo_detect::video::{Ffmpeg, VideoError};
use yolo_detect::{DetectOptions, Detected, Detector, detection_thresholds};
use yolo_device::{Backend, DeviceName};
use yolo_measure::figures::speed_figures;
use yolo_model::{FusedCheckpoint, NmsOptions};
use yolo_report::detections::{ClassCounts, DetectedImage, Detections, Skipped, Totals};
use yolo_report::network::summary_line;

use crate::args::DetectArgs;
use crate::console::Output;
use crate::detect::download::Downloads;
use crate::detect::output::{Files, draw};
use crate::detect::sources;
use crate::device::alone;
use crate::image_size::fitted;
use crate::interrupt;
use crate::presets::{DEMO, demo_data};
use crate::resolve::{Weights, data_config, mention_folder};
use crate::run_dir::RunDir;

/// Where YOLOv5 has its example images.
const USUAL_SOURCE: &str = "data/images";
const USUAL_WEIGHTS: &str = "yolov5s.pt";
/// Images of the example that are looked at.
const DEMO_IMAGES: usize = 8;

/// Finds objects in images and videos, and writes what was asked for.
pub(crate) fn run(args: &DetectArgs) -> Result<()> {
    let backend = alone(Backend::open(&args.device, true)?).with_half(args.half)?;
    if args.half && DeviceName::parse(&args.device) == Ok(DeviceName::Cpu) {
        tracing::warn!("--half has no effect on --device cpu: computing in f32");
    }
    args.inert.warn();
    if args.view_img {
        tracing::warn!("--view-img has no effect: {}", how_to_view(args));
    }
    let output = Output::new(args.json);
    let (weights, source) = subject(args)?;
    let sources = if source == DEMO { example()? } else { sources::find(&source)? };
    let networks = Networks::load(&weights, args, &output)?;
    let names = networks.class_names(args.data.as_deref())?;
    let detector = networks.detector(&backend)?;
    let options = options(args, &detector, &names)?;
    let feature_maps = args.visualize.then(|| networks.feature_maps(&backend)).transpose()?;
    let run = RunDir::create(&args.run)?;
    let account = Detections::new(networks.name(), source, options.image_size);
    let mut session = Session {
        args,
        output: &output,
        detector: &detector,
        options: &options,
        names: &names,
        run: &run,
        files: Files::new(args, &run, &names),
        account,
        totals: Totals::default(),
        is_only: sources.len() == 1,
        ffmpeg: None,
        feature_maps,
        downloads: Downloads::default(),
        only_streams_left: false,
    };
    let graceful = interrupt::graceful();
    let mut live: Vec<(String, &Input)> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        if interrupt::requested() {
            break;
        }
        let place = format!("{}/{}", index + 1, sources.len());
        match source {
            Source::Image(path) => session.image(&place, path, &path.display().to_string()),
            Source::Url(image) => session.url(&place, image),
            Source::Video(input) if input.is_live => {
                live.push((place, input));
                Ok(())
            }
            Source::Video(input) => session.video(&place, input),
        }
        .with_context(|| networks.name())?;
    }
    if !live.is_empty() && !interrupt::requested() {
        session.only_streams_left = true;
        session.streams(&live).with_context(|| networks.name())?;
    }
    drop(graceful);
    session.finish(&sources)
}

/// What to do instead of looking at a window.
fn how_to_view(args: &DetectArgs) -> String {
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_display = cfg!(any(windows, target_os = "macos")) || has("DISPLAY") || has("WAYLAND_DISPLAY");
    let folder = args.run.project.display();
    match (has_display, args.nosave) {
        (false, _) => "there is no display".to_owned(),
        (true, false) => format!(
            "no window is opened; open the pictures below {folder} in an image viewer, videos while they grow with ffplay"
        ),
        (true, true) => format!("no window is opened; without --nosave the pictures are below {folder}"),
    }
}

/// The weights and the source, where they were not named: YOLOv5's usual ones, or the example.
fn subject(args: &DetectArgs) -> Result<(Vec<PathBuf>, String)> {
    let source = match &args.source {
        Some(source) => source.clone(),
        None if Path::new(USUAL_SOURCE).is_dir() => USUAL_SOURCE.to_owned(),
        None if args.weights.iter().all(|weights| weights == Path::new(DEMO)) => DEMO.to_owned(),
        None => bail!("nothing to look at: name an image, a folder or a video with --source"),
    };
    let usual = if source == DEMO { DEMO } else { USUAL_WEIGHTS };
    let weights = if args.weights.is_empty() { vec![usual.into()] } else { args.weights.clone() };
    Ok((weights, source))
}

/// Some images of the example.
fn example() -> Result<Vec<Source>> {
    mention_folder(Path::new(DEMO));
    let yaml = demo_data()?;
    let folder = yaml.parent().unwrap_or(Path::new("")).join("images/val");
    let mut sources = sources::find(&folder.display().to_string())?;
    sources.truncate(DEMO_IMAGES);
    Ok(sources)
}

/// The network that looks, or several whose boxes go into one suppression.
struct Networks {
    /// Where they come from, and fused.
    members: Vec<(PathBuf, FusedCheckpoint<'static>)>,
}

impl Networks {
    /// Reads `files`, and says what is in each.
    fn load(files: &[PathBuf], args: &DetectArgs, output: &Output) -> Result<Self> {
        let mut members = Vec::new();
        for file in files {
            let weights = Weights::load(file, args.offline)?.answering(args.branches.end2end)?;
            let network = weights.checkpoint.into_fused()?;
            output.line(summary_line(&network.architecture))?;
            members.push((weights.path, network));
        }
        Ok(Self { members })
    }

    fn name(&self) -> String {
        self.members.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(" + ")
    }

    /// The names in the data set yaml, or else in the first network.
    fn class_names(&self, data: Option<&Path>) -> Result<Vec<String>> {
        let (_, network) = self.members.first().context("no weights; name a checkpoint with --weights")?;
        let Some(data) = data else { return Ok(network.class_names.clone()) };
        let names = data_config(data)?.class_names;
        let (model, classes) = (network.architecture.num_classes(), names.len());
        if model != classes {
            bail!(
                "{} has {model} classes, {} has {classes}; use the weights and the data yaml that belong together",
                self.name(),
                data.display()
            );
        }
        Ok(names)
    }

    /// What shows the maps of the first network's layers.
    fn feature_maps(&self, backend: &Backend) -> Result<FeatureMaps> {
        let (path, network) = self.members.first().context("no weights; name a checkpoint with --weights")?;
        if self.members.len() > 1 {
            tracing::warn!("--visualize shows the layers of {} only", path.display());
        }
        FeatureMaps::new(network, &backend.device).with_context(|| path.display().to_string())
    }

    fn detector(&self, backend: &Backend) -> Result<Detector> {
        let networks = self.members.iter().map(|(_, network)| network.borrowed());
        backend.ensemble(networks).with_context(|| self.name())
    }
}

fn options(args: &DetectArgs, detector: &Detector, names: &[String]) -> Result<DetectOptions> {
    let height = args.imgsz.first().copied().unwrap_or(640);
    let sides = [height, args.imgsz.get(1).copied().unwrap_or(height)];
    let stride = detector.max_stride();
    let usual = detection_thresholds(detector.convention());
    let [height, width] = fitted(sides.map(|side| side as usize), stride).map(|side| side as u32);
    let nms = NmsOptions {
        max_detections: args.max_det.map_or(usual.max_detections, |max| max as usize),
        class_agnostic: args.agnostic_nms,
        ..args.thresholds.nms(usual)
    };
    let classes = class_indices(&args.classes, names)?;
    let options = DetectOptions::new((height, width));
    Ok(DetectOptions { full: args.square, nms, classes, augment: args.augment, ..options })
}

/// Classes by their numbers or names; several of them in one word are separated by commas, which a name may have, too.
fn class_indices(words: &[String], names: &[String]) -> Result<Vec<usize>> {
    let parts = words.iter().flat_map(|word| match names.contains(word) {
        true => vec![word.as_str()],
        false => word.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(),
    });
    parts.map(|class| class_index(class, names)).collect()
}

/// A class by its number or name.
fn class_index(class: &str, names: &[String]) -> Result<usize> {
    let index = class.parse::<usize>().ok().or_else(|| names.iter().position(|name| name == class));
    match index {
        Some(index) if index < names.len() => Ok(index),
        _ => {
            let shown: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
            let more = if names.len() > shown.len() { ", …" } else { "" };
            bail!(
                "--classes {class}: not one of the network's {} classes, 0 to {} ({}{more})",
                names.len(),
                names.len().saturating_sub(1),
                shown.join(", ")
            )
        }
    }
}

/// A run in progress.
struct Session<'a> {
    args: &'a DetectArgs,
    output: &'a Output,
    detector: &'a Detector,
    options: &'a DetectOptions,
    names: &'a [String],
    run: &'a RunDir,
    files: Files<'a>,
    account: Detections,
    totals: Totals,
    /// Whether there is one source: what is wrong with it is the error of the run.
    is_only: bool,
    /// Looked for with the first video.
    ffmpeg: Option<Ffmpeg>,
    /// What --visualize asks for.
    feature_maps: Option<FeatureMaps>,
    downloads: Downloads,
    /// Whether nothing but streams is left, which only end when they are stopped.
    only_streams_left: bool,
}

impl Session<'_> {
    /// An image on a server.
    fn url(&mut self, place: &str, image: &ImageUrl) -> Result<()> {
        match self.downloads.fetch(image) {
            Ok(path) => self.image(place, &path, &image.name),
            Err(error) => {
                self.skip(image.name.clone(), format!("{error:#}"));
                Ok(())
            }
        }
    }

    /// The image in the file `path`, which messages call `name`.
    fn image(&mut self, place: &str, path: &Path, name: &str) -> Result<()> {
        let Decoded { mut image, warnings } = match decode_file(path) {
            Ok(decoded) => decoded,
            Err(error) => {
                let error = error.to_string().replace(&path.display().to_string(), name);
                self.skip(name.to_owned(), error);
                return Ok(());
            }
        };
        for warning in warnings {
            tracing::warn!("{name}: {warning}");
        }
        let found = self.detect(name, None, &image)?;
        let mut classes = ClassCounts::default();
        classes.add(&found.boxes);
        let [_, _, height, width] = found.speed.shape;
        self.output.line(format!(
            "image {place} {name}: {height}x{width} {}, {:.1}ms",
            classes.line(self.names),
            found.speed.inference
        ))?;
        let stem = self
            .files
            .stem(&path.file_stem().unwrap_or_default().to_string_lossy(), &path.display().to_string());
        // Its own name, or the numbered one of its other files, so that the table tells equal names apart.
        let file = match path.extension() {
            Some(extension) => format!("{stem}.{}", extension.to_string_lossy()),
            None => stem.clone(),
        };
        self.files.detections(&stem, &file, &image, &found.boxes)?;
        if let Some(feature_maps) = &self.feature_maps {
            let maps = feature_maps.maps(&image, self.options).context("the feature maps cannot be read")?;
            for map in &maps {
                self.files.feature_map(&stem, map)?;
            }
        }
        if !self.args.nosave {
            draw(&mut image, &found.boxes, self.names, self.args);
            self.files.image(&stem, path, &image)?;
        }
        Ok(())
    }

    /// One image or frame, with its place in the account.
    fn detect(&mut self, source: &str, frame: Option<u64>, image: &RgbImage) -> Result<Detected> {
        let found = self.detector.detect(image, self.options)?;
        let speed = speed_figures(&found.speed);
        self.totals.add(&speed);
        // A stream may never end, so what nobody asked for is not kept.
        if self.args.json {
            let size = (image.width, image.height);
            let image = DetectedImage::new(source, frame, size, &found.boxes, &speed, self.names);
            self.account.results.push(image);
        }
        Ok(found)
    }

    /// ffmpeg, looked for with the first video.
    fn ffmpeg(&mut self) -> Result<&Ffmpeg, VideoError> {
        match &mut self.ffmpeg {
            Some(ffmpeg) => Ok(ffmpeg),
            none => Ok(none.insert(Ffmpeg::find()?)),
        }
    }

    fn skip(&mut self, source: String, error: String) {
        if !self.is_only {
            tracing::warn!("left out: {error}");
        }
        self.account.skipped.push(Skipped { source, error });
    }

    /// The closing lines and the JSON object.
    fn finish(mut self, sources: &[Source]) -> Result<()> {
        let stopped = interrupt::requested();
        if let (0, Some(first), false) = (self.totals.images, self.account.skipped.first(), stopped) {
            match sources.len() {
                1 => bail!("{}", first.error),
                count => {
                    bail!("none of the {count} images and videos can be read; the first: {}", first.error)
                }
            }
        }
        self.files.finish()?;
        self.output.line(self.totals.line(self.options.image_size))?;
        let folder = self.run.path().display();
        if self.files.labels > 0 {
            let plural = if self.files.labels > 1 { "s" } else { "" };
            self.output.line(format!("{} label file{plural} in {folder}/labels", self.files.labels))?;
        }
        if !self.account.skipped.is_empty() {
            let (left, all) = (self.account.skipped.len(), sources.len());
            tracing::warn!("{left} of {all} images and videos could not be read");
        }
        if self.files.any {
            self.output.line(format!("Results saved to {folder}"))?;
            self.account.save_dir = Some(folder.to_string());
        }
        self.account.speed_ms = self.totals.mean();
        self.output.json(&self.account)?;
        // Ctrl-C is how a stream ends; anything else was not completed.
        if stopped && !self.only_streams_left {
            bail!("interrupted after {} images; what was found in them is saved", self.totals.images);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn classes_have_numbers_and_names() {
        let names = ["person", "7", "bus"].map(str::to_owned);
        assert_eq!(class_index("2", &names).unwrap(), 2);
        assert_eq!(class_index("bus", &names).unwrap(), 2);
        let error = class_index("3", &names).unwrap_err().to_string();
        assert!(error.contains("0 to 2 (person, 7, bus)"), "{error}");
        assert!(class_index("dog", &names).is_err());
        let words = |words: &[&str]| {
            class_indices(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), &names)
        };
        assert_eq!(words(&["0,2"]).unwrap(), [0, 2]);
        assert_eq!(words(&["person, bus", "1"]).unwrap(), [0, 2, 1]);
        let comma = ["cup".to_owned(), "cup, broken".to_owned()];
        assert_eq!(class_indices(&["cup, broken".to_owned()], &comma).unwrap(), [1]);
        assert!(words(&["0,9"]).is_err());
    }
}
