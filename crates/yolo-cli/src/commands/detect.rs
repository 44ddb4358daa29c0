//! `detect`: YOLOv5's `detect.py`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use yolo_data::image::{Decoded, RgbImage, decode_file};
use yolo_detect::video::{Ffmpeg, Frames, Latest, Probe, Rate, Recorder, VideoError};
use yolo_detect::{DetectOptions, Detected, Detector};
use yolo_model::{FusedCheckpoint, NmsOptions};
use yolo_report::detections::{ClassCounts, DetectedImage, Detections, Skipped, Totals};
use yolo_report::network::summary_line;

use crate::args::DetectArgs;
use crate::console::{Output, counter, progress_bar};
use crate::detect::output::{Files, draw};
use crate::detect::sources::{self, Input, Source};
use crate::device::{Backend, DeviceName};
use crate::figures::speed_figures;
use crate::image_size::fitted;
use crate::interrupt;
use crate::presets::{DEMO, demo_data};
use crate::resolve::{Weights, data_config};
use crate::run_dir::RunDir;

/// Where YOLOv5 has its example images.
const USUAL_SOURCE: &str = "data/images";
const USUAL_WEIGHTS: &str = "yolov5s.pt";
/// Images of the example that are looked at.
const DEMO_IMAGES: usize = 8;

/// Finds objects in images and videos, and writes what was asked for.
pub(crate) fn run(args: &DetectArgs) -> Result<()> {
    let backend = Backend::parse(&args.device, false)?.alone().with_half(args.half)?;
    if args.half && DeviceName::parse(&args.device) == Ok(DeviceName::Cpu) {
        tracing::warn!("--half has no effect on --device cpu: computing in f32");
    }
    let output = Output::new(args.json);
    let (weights, source) = subject(args)?;
    let sources = if source == DEMO { example()? } else { sources::find(&source)? };
    let networks = Networks::load(&weights, args.offline, &output)?;
    let names = networks.class_names(args.data.as_deref())?;
    let detector = networks.detector(&backend)?;
    let options = options(args, detector.max_stride(), &names)?;
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
    };
    let graceful = interrupt::graceful();
    for (index, source) in sources.iter().enumerate() {
        if interrupt::requested() {
            break;
        }
        let place = format!("{}/{}", index + 1, sources.len());
        match source {
            Source::Image(path) => session.image(&place, path).with_context(|| networks.name())?,
            Source::Video(input) => session.video(&place, input).with_context(|| networks.name())?,
        }
    }
    drop(graceful);
    session.finish(&sources)
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
    fn load(files: &[PathBuf], offline: bool, output: &Output) -> Result<Self> {
        let mut members = Vec::new();
        for file in files {
            let weights = Weights::load(file, offline)?;
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

    fn detector(&self, backend: &Backend) -> Result<Detector> {
        let networks = self.members.iter().map(|(_, network)| network.borrowed());
        backend.ensemble(networks).with_context(|| self.name())
    }
}

fn options(args: &DetectArgs, stride: usize, names: &[String]) -> Result<DetectOptions> {
    let height = args.imgsz.first().copied().unwrap_or(640);
    let sides = [height, args.imgsz.get(1).copied().unwrap_or(height)];
    let [height, width] = fitted(sides.map(|side| side as usize), stride).map(|side| side as u32);
    let nms = NmsOptions {
        max_detections: args.max_det as usize,
        class_agnostic: args.agnostic_nms,
        ..args.thresholds.nms(NmsOptions::detection())
    };
    let classes = args.classes.iter().map(|class| class_index(class, names)).collect::<Result<_>>()?;
    let options = DetectOptions::new((height, width));
    Ok(DetectOptions { full: args.square, nms, classes, augment: args.augment, ..options })
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
}

impl Session<'_> {
    fn image(&mut self, place: &str, path: &Path) -> Result<()> {
        let Decoded { mut image, warnings } = match decode_file(path) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.skip(path.display().to_string(), error.to_string());
                return Ok(());
            }
        };
        for warning in warnings {
            tracing::warn!("{}: {warning}", path.display());
        }
        let found = self.detect(&path.display().to_string(), None, &image)?;
        let mut classes = ClassCounts::default();
        classes.add(&found.boxes);
        let [_, _, height, width] = found.speed.shape;
        self.output.line(format!(
            "image {place} {}: {height}x{width} {}, {:.1}ms",
            path.display(),
            classes.line(self.names),
            found.speed.inference
        ))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = self.files.stem(&path.file_stem().unwrap_or_default().to_string_lossy());
        self.files.detections(&stem, &file, &image, &found.boxes)?;
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

    fn video(&mut self, place: &str, input: &Input) -> Result<()> {
        let opened = self.open(input);
        let (frames, probe) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.skip(input.name.clone(), format!("{}: {error}", input.name));
                return Ok(());
            }
        };
        let bar = match probe.frames {
            Some(frames) => progress_bar("Detecting", frames),
            None => counter("Detecting"),
        };
        let stem = self.files.stem(&input.stem);
        let path = self.run.path().join(format!("{stem}.mp4"));
        let rate = if input.is_live { probe.rate } else { probe.rate.every(self.args.vid_stride) };
        let mut recorder: Option<Recorder> = None;
        let mut totals = VideoTotals::default();
        for (number, frame) in numbered(frames, input.is_live) {
            if interrupt::requested() {
                break;
            }
            bar.set_position(number);
            let mut image = match frame {
                Ok(image) => image,
                Err(error) => {
                    self.cut_short(input, &totals, &error);
                    break;
                }
            };
            if number < totals.next {
                continue;
            }
            totals.next = number + u64::from(self.args.vid_stride);
            let found = self.detect(&input.name, Some(number), &image)?;
            totals.add(&found);
            let file = format!("{stem}_{number}");
            self.files.detections(&file, &file, &image, &found.boxes)?;
            if !self.args.nosave {
                draw(&mut image, &found.boxes, self.names, self.args);
                let size = (image.width, image.height);
                let recorder = match &mut recorder {
                    Some(recorder) => recorder,
                    None => recorder.insert(Recorder::start(&path, size, rate)?),
                };
                recorder.write(&image)?;
            }
        }
        bar.finish_and_clear();
        if let Some(recorder) = recorder {
            recorder.finish()?;
            self.files.any = true;
        }
        totals.line(place, input, self.names).map_or(Ok(()), |line| self.output.line(line))
    }

    fn open(&mut self, input: &Input) -> Result<(Frames, Probe), VideoError> {
        let ffmpeg = match &self.ffmpeg {
            Some(ffmpeg) => ffmpeg,
            None => self.ffmpeg.insert(Ffmpeg::find()?),
        };
        let usual = Probe { rate: Rate::USUAL, frames: None };
        let probe = match input.is_live {
            true => usual,
            false => ffmpeg.probe(&input.args).unwrap_or_else(|_| {
                let name = &input.name;
                tracing::warn!("{name}: ffprobe is not in PATH, so 30 frames per second are assumed");
                usual
            }),
        };
        Ok((ffmpeg.frames(&input.args)?, probe))
    }

    /// A video that ended with an error: left out if no frame was processed.
    fn cut_short(&mut self, input: &Input, totals: &VideoTotals, error: &VideoError) {
        let message = format!("{}: {error}", input.name);
        if totals.frames == 0 {
            self.skip(input.name.clone(), message);
        } else {
            tracing::warn!("{message}");
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
        if stopped && !matches!(sources, [Source::Video(Input { is_live: true, .. })]) {
            bail!("interrupted after {} images; what was found in them is saved", self.totals.images);
        }
        Ok(())
    }
}

/// The frames of a video with their numbers from 1.
fn numbered(frames: Frames, is_live: bool) -> Box<dyn Iterator<Item = (u64, Result<RgbImage, VideoError>)>> {
    if is_live {
        let stop = frames.stopper();
        return Box::new(Latest::of(frames, stop, interrupt::requested));
    }
    Box::new((1..).zip(frames))
}

/// Sums over the frames of a video.
#[derive(Default)]
struct VideoTotals {
    frames: u64,
    /// Number of the frame that is processed next.
    next: u64,
    classes: ClassCounts,
    inference_ms: f64,
    shape: [usize; 4],
}

impl VideoTotals {
    fn add(&mut self, found: &Detected) {
        self.frames += 1;
        self.inference_ms += found.speed.inference;
        self.shape = found.speed.shape;
        self.classes.add(&found.boxes);
    }

    /// A line for the video, if any frame was processed.
    fn line(&self, place: &str, input: &Input, names: &[String]) -> Option<String> {
        let [_, _, height, width] = self.shape;
        let mean = self.inference_ms / self.frames.max(1) as f64;
        let plural = if self.frames > 1 { "s" } else { "" };
        (self.frames > 0).then(|| {
            format!(
                "video {place} {}: {height}x{width}, {} frame{plural}, in all {}, {mean:.1}ms",
                input.name,
                self.frames,
                self.classes.line(names)
            )
        })
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
    }
}
