//! Small trainings that take seconds: drawn shapes with a network of an eighth of the width, and coloured
//! squares with the tiny detector, which learns them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_data::demo::{self, DemoOptions};
use yolo_model::Checkpoint;
use yolo_train::train::TrainState;

use crate::support::{Case, encoded};

/// A training of the small network from random weights on the shapes, without what differs between tests.
pub(crate) const TRAIN: &str =
    "train --weights= --cfg in/demo.yaml --data in/shapes/demo.yaml --imgsz 64 --noplots";
/// A training of the tiny detector on the squares.
pub(crate) const TRAIN_TINY: &str = "train --weights in/tiny.safetensors --data in/squares/data.yaml --imgsz 64 --batch-size 8 --hyp in/hyp.yaml --noplots";
/// What the tiny detector learns quickly with: a high rate from the start, and images nearly as they are.
const TINY_HYP: &str = "lr0: 0.02
lrf: 0.1
warmup_epochs: 0
mosaic: 0
scale: 0.1
translate: 0.05
hsv_h: 0
hsv_s: 0.1
hsv_v: 0.1
";
/// Longer than any step of a run on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder with the drawn shapes in `in/shapes` and the small network in `in/demo.yaml`.
pub(crate) fn shapes(train_images: u32, val_images: u32) -> Case {
    let case = Case::empty();
    let options = DemoOptions { train_images, val_images, image_size: 64, seed: 0 };
    demo::write(&case.path("in/shapes"), &options, |_| {}).unwrap();
    case.write("in/demo.yaml", include_str!("../../configs/models/demo.yaml"));
    // Warm-up would make a step of every batch in such short runs.
    case.write("in/steady.yaml", "warmup_epochs: 0\n");
    let high = include_str!("../../configs/hyps/scratch-high.yaml");
    case.write("in/steady-high.yaml", high.replace("warmup_epochs: 3.0", "warmup_epochs: 0"));
    case
}

/// A folder with the tiny detector in `in/tiny.safetensors` and 32 + 12 images of squares in `in/squares`: the
/// class is the colour.
pub(crate) fn squares() -> Case {
    let case = Case::with_model();
    let mut rng = StdRng::seed_from_u64(1);
    for (split, n_images) in [("train", 32), ("val", 12)] {
        for number in 0..n_images {
            let (image, labels) = two_squares(&mut rng);
            case.write(
                &format!("in/squares/images/{split}/{number:03}.png"),
                encoded(&image, ImageFormat::Png),
            );
            case.write(&format!("in/squares/labels/{split}/{number:03}.txt"), labels);
        }
    }
    case.write(
        "in/squares/data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames: [red, green, blue]\n",
    );
    case.write("in/hyp.yaml", TINY_HYP);
    case
}

/// An image with a square in its upper and one in its lower half, and their labels.
fn two_squares(rng: &mut StdRng) -> (RgbImage, String) {
    let colours = [[220, 30, 30], [30, 220, 30], [30, 30, 220]];
    let mut image = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 2) as u8, (y * 2) as u8, 90]));
    let mut labels = String::new();
    for half in 0..2 {
        let (class, side) = (rng.random_range(0..3), rng.random_range(12..20));
        let (left, top) = (rng.random_range(2..40), 32 * half + rng.random_range(2..11));
        for (x, y) in (left..left + side).flat_map(|x| (top..top + side).map(move |y| (x, y))) {
            image.put_pixel(x, y.min(63), Rgb(colours[class]));
        }
        let size = f64::from(side) / 64.0;
        let centre = |start: u32| f64::from(start) / 64.0 + size / 2.0;
        labels += &format!("{class} {} {} {size} {size}\n", centre(left), centre(top));
    }
    (image, labels)
}

/// Where the tiny detector lies as it is after a training on the squares.
pub(crate) const TRAINED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/trained.safetensors");

/// [`squares`] with `in/trained.safetensors`: the tiny detector after it has learned them. A golden test makes the
/// file again and compares it.
pub(crate) fn trained() -> Case {
    let case = squares();
    let file = std::fs::read(TRAINED).unwrap_or_else(|error| panic!("{TRAINED}: {error}"));
    case.write("in/trained.safetensors", file);
    case
}

/// Trains the tiny detector on the squares in `case`, into the folder `runs/teach`.
pub(crate) fn teach(case: &Case) {
    let args = "--epochs 25 --nominal-batch-size 8 --noval --noautoanchor --project runs --name teach";
    case.run(&format!("{TRAIN_TINY} {args}")).ok();
}

/// Starts the binary; what it prints goes to the file `log` in the folder.
pub(crate) fn start(case: &Case, args: &str, log: &str) -> Child {
    let file = std::fs::File::create(case.path(log)).unwrap();
    let mut command = case.command();
    command.args(args.split_whitespace()).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    command.spawn().unwrap()
}

/// Sends the signal `name` (`-INT`) to the child.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until `done`; false if the child ended before.
pub(crate) fn wait_until(child: &mut Child, done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if child.try_wait().unwrap().is_some() {
            return done();
        }
        assert!(start.elapsed() < LIMIT, "nothing happens");
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Waits for the child to end; its exit code.
pub(crate) fn wait(mut child: Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(start.elapsed() < LIMIT, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every file below the folder `run`, by its path in it.
pub(crate) fn files(case: &Case, run: &str) -> BTreeMap<String, Vec<u8>> {
    let root = case.path(run);
    let mut files = BTreeMap::new();
    let mut pending = vec![root.clone()];
    while let Some(folder) = pending.pop() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The state of an unfinished run.
pub(crate) fn state_file(case: &Case, run: &str) -> PathBuf {
    case.path(run).join("weights/state.safetensors")
}

/// Asserts that every checkpoint in the folder `run` loads, the state included.
pub(crate) fn all_load(case: &Case, run: &str) {
    for name in files(case, run).keys().filter(|name| name.ends_with(".safetensors")) {
        let path = case.path(run).join(name);
        if name.ends_with("state.safetensors") {
            TrainState::load(&path).unwrap_or_else(|error| panic!("{error}"));
        } else {
            case.run_args(&["info", "--weights", path.to_str().unwrap()]).ok();
        }
    }
}

/// Zeros of the convolutions of a file: counted from its values, and as `info` says.
pub(crate) fn conv_zeros(case: &Case, weights: &str) -> u64 {
    let checkpoint = Checkpoint::load(&case.path(weights)).unwrap();
    let convs = checkpoint.architecture.convs();
    let zeros = convs.iter().flat_map(|conv| checkpoint.weights.f32s(&conv.weight()).unwrap());
    let counted = zeros.filter(|value| **value == 0.0).count() as u64;
    for fuse in ["", " --fuse"] {
        let info = case.run(&format!("info --weights {weights} --json{fuse}")).ok().json();
        assert_eq!(info["model"]["conv_zeros"], counted, "{weights}{fuse}");
    }
    counted
}

/// The numbers of `results.csv`, row by row, and its titles.
pub(crate) fn table(case: &Case, run: &str) -> (Vec<String>, Vec<Vec<f64>>) {
    let text = String::from_utf8(case.read(&format!("{run}/results.csv"))).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::trim));
    let titles = lines.next().unwrap().map(str::to_owned).collect();
    (titles, lines.map(|cells| cells.map(|cell| cell.parse().unwrap()).collect()).collect())
}

/// Asserts that two files have the same bytes.
pub(crate) fn assert_same(case: &Case, a: &str, b: &str) {
    assert!(case.read(a) == case.read(b), "{a} is not {b}");
}

/// Whether a text is in a file that may not be there yet.
pub(crate) fn shows(file: &Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|content| content.contains(text))
}
