//! A folder per test with inputs in `in/`, and what a run of the binary in it did.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use image::{ImageFormat, Rgb, RgbImage};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tempfile::TempDir;
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint};

/// No run on the tiny model takes longer, nor one on real data.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Class names of the tiny model and its data.
pub(crate) const NAMES: [&str; 3] = ["red", "green", "blue"];
/// Images of the tiny data set, without their extension.
pub(crate) const IMAGES: [&str; 4] = ["000001", "000002", "000003", "000004"];
/// Objects on each of them.
pub(crate) const OBJECTS: usize = 2;
/// COCO's figures, in the order in which they are printed.
pub(crate) const COCO_KEYS: [&str; 12] = [
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
];
/// A validation of the tiny model on the tiny data set, without plots.
pub(crate) const VAL: &str =
    "val --weights in/tiny.safetensors --data in/data/data.yaml --imgsz 64 --no-plots";

/// One level of stride 8 with one anchor.
pub(crate) const TINY_YAML: &str = "
nc: 3
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [16, 16]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3, [16]]
  - [-1, 1, Conv, [24, 3, 2]]
head:
  - [-1, 1, C3, [24, False]]
  - [[4], 1, Detect, [nc, anchors]]
";

/// A detector that finds something everywhere: its boxes are near the anchors, with scores near 0.25.
pub(crate) fn tiny() -> Checkpoint {
    let architecture = Architecture::from_yaml(TINY_YAML, None).unwrap();
    let mut tiny = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(0)).unwrap();
    // Batch normalisation with the statistics of no data would let the signal fade.
    for conv in tiny.architecture.convs().iter().filter(|conv| !conv.is_bare) {
        tiny.weights.get_mut(&conv.bn("weight")).unwrap().f32s_mut().unwrap().fill(3.0);
    }
    tiny.weights.get_mut("model.5.m.0.bias").unwrap().f32s_mut().unwrap().fill(0.0);
    tiny.class_names = NAMES.map(str::to_owned).to_vec();
    tiny
}

/// A file or folder below `../shared`, or `None` with a message where it is not there.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    if !full.exists() {
        eprintln!("skipped: {} is not here", full.display());
        return None;
    }
    Some(full.canonicalize().unwrap())
}

/// Whether slow tests run; says that this one is skipped where they do not.
pub(crate) fn runs_slow() -> bool {
    let runs = std::env::var_os("YOLO_SLOW_TESTS").is_some();
    if !runs {
        eprintln!("skipped: slow; runs in `cargo xtask ci --full`");
    }
    runs
}

/// An image that another crate's tests keep.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../yolo-data/tests/fixtures/decode");
    std::fs::read(Path::new(folder).join(name)).unwrap()
}

/// An image with a square of each of two colours, both in the middle of a cell of the network's input: that is
/// the image with 16 pixels around it.
pub(crate) fn picture(number: usize) -> RgbImage {
    let colours = [Rgb([220, 30, 30]), Rgb([30, 220, 30]), Rgb([30, 30, 220])];
    RgbImage::from_fn(64, 64, |x, y| match (x, y) {
        (20..36, 20..36) => colours[number % 3],
        (36..52, 36..52) => colours[(number + 1) % 3],
        _ => Rgb([(x * 3) as u8, (y * 3) as u8, (number * 20) as u8]),
    })
}

/// The bytes of an image file.
pub(crate) fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// What every file and folder below a folder was: content (none for a folder) and modification time.
type Snapshot = BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)>;

fn snapshot(folder: &Path) -> Snapshot {
    let mut entries = Snapshot::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        // A link may lead nowhere.
        let is_dangling = !path.exists();
        let metadata =
            if is_dangling { std::fs::symlink_metadata(&path) } else { std::fs::metadata(&path) }.unwrap();
        let content = if metadata.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            None
        } else {
            (!is_dangling).then(|| std::fs::read(&path).unwrap())
        };
        entries
            .insert(path.strip_prefix(folder).unwrap().to_owned(), (content, metadata.modified().unwrap()));
    }
    entries
}

/// A working folder. Inputs lie in `in/`, caches in `cache/`; everything else is output.
pub(crate) struct Case {
    folder: TempDir,
}

impl Case {
    /// With nothing in it.
    pub(crate) fn empty() -> Self {
        let case = Self { folder: TempDir::new().unwrap() };
        std::fs::create_dir(case.path("in")).unwrap();
        case
    }

    /// With `in/tiny.safetensors`.
    pub(crate) fn with_model() -> Self {
        let case = Self::empty();
        tiny().save(&case.path("in/tiny.safetensors"), FloatFormat::F32).unwrap();
        case
    }

    /// With the model and a data set of four images, all of them usable, in `in/data`.
    pub(crate) fn with_data() -> Self {
        let case = Self::with_model();
        case.write("in/data/data.yaml", case.data_yaml());
        for (number, name) in IMAGES.iter().enumerate() {
            let image = encoded(&picture(number), ImageFormat::Png);
            case.write(&format!("in/data/images/val/{name}.png"), image);
            let (a, b) = (number % 3, (number + 1) % 3);
            let label = format!("{a} 0.4375 0.4375 0.25 0.25\n{b} 0.6875 0.6875 0.25 0.25\n");
            case.write(&format!("in/data/labels/val/{name}.txt"), label);
        }
        case
    }

    /// With COCO annotations beside the data set as well.
    pub(crate) fn with_annotations() -> Self {
        let case = Self::with_data();
        case.write(ANNOTATIONS, annotations().to_string());
        case
    }

    /// The yaml of the data set.
    pub(crate) fn data_yaml(&self) -> String {
        "path: .\ntrain: images/val\nval: images/val\nnames: [red, green, blue]\n".to_owned()
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders it needs.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The content of a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A JSON file.
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// `results.json` of the first run.
    pub(crate) fn results(&self) -> Value {
        self.json("runs/val/exp/results.json")
    }

    /// A command of the binary in this folder, with caches and data sets of its own.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_yolo-cli"));
        command.current_dir(self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        for variable in ["YOLO_DATASETS_DIR", "YOLO_LOG", "RUST_BACKTRACE", "NO_COLOR"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the binary with arguments that have no spaces.
    pub(crate) fn run(&self, args: &str) -> Outcome {
        self.run_args(&args.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs the binary, and checks that it left the inputs alone.
    pub(crate) fn run_args(&self, args: &[&str]) -> Outcome {
        self.run_with(args, &[])
    }

    /// Runs the binary with variables in its environment, and checks that it left the inputs alone.
    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, String)]) -> Outcome {
        let (inputs, before) = (snapshot(&self.path("in")), snapshot(self.folder.path()));
        let mut command = assert_cmd::Command::from_std(self.command());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let output = command.args(args).timeout(TIMEOUT).output().unwrap();
        let (inputs_after, after) = (snapshot(&self.path("in")), snapshot(self.folder.path()));
        for (path, state) in &inputs {
            assert!(inputs_after.get(path) == Some(state), "{args:?} changed in/{}", path.display());
        }
        assert_eq!(inputs.len(), inputs_after.len(), "{args:?} wrote into in/");
        let is_output = |path: &Path| {
            let kept = [
                "",
                "in",
                "cache",
                "runs",
                "runs/val",
                "runs/detect",
                "runs/train",
                "runs/prune-finetune",
                "runs/sweep",
            ]
            .map(Path::new);
            !kept.contains(&path) && !path.starts_with("in") && !path.starts_with("cache")
        };
        let changed = |path: &PathBuf| {
            is_output(path) && before.get(path).map(|b| &b.0) != after.get(path).map(|a| &a.0)
        };
        let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
        let written = paths.into_iter().filter(|path| changed(path));
        let outcome = Outcome {
            args: args.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            written: written.map(|path| path.display().to_string()).collect(),
        };
        outcome.has_no_panic();
        outcome
    }
}

/// Where [`Case::with_annotations`] has them.
pub(crate) const ANNOTATIONS: &str = "in/data/annotations/instances_val.json";

/// COCO annotations of the tiny data set.
pub(crate) fn annotations() -> Value {
    let image = |(number, name): (usize, &&str)| json!({"id": number + 1, "width": 64, "height": 64, "file_name": format!("{name}.png")});
    let category =
        |(class, name): (usize, &&str)| json!({"id": class + 1, "name": name, "supercategory": "colour"});
    let annotation = |object: usize| {
        let (image, second) = (object / OBJECTS, object % OBJECTS);
        let corner = 20 + 16 * second;
        json!({"id": object + 1, "image_id": image + 1, "category_id": (image + second) % 3 + 1,
            "bbox": [corner, corner, 16, 16], "area": 256, "iscrowd": 0})
    };
    json!({
        "images": IMAGES.iter().enumerate().map(image).collect::<Vec<_>>(),
        "categories": NAMES.iter().enumerate().map(category).collect::<Vec<_>>(),
        "annotations": (0..OBJECTS * IMAGES.len()).map(annotation).collect::<Vec<_>>(),
    })
}

/// COCO's figures of an object, in the order in which they are printed.
pub(crate) fn coco_figures(coco: &Value) -> Vec<f64> {
    COCO_KEYS.iter().map(|key| coco[key].as_f64().unwrap_or_else(|| panic!("no {key} in {coco}"))).collect()
}

/// YOLOv5's own figures of `results.json`.
pub(crate) fn native_figures(results: &Value) -> Vec<f64> {
    ["precision", "recall", "map50", "map"].map(|key| results["native"][key].as_f64().unwrap()).to_vec()
}

/// Keys of an object.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// What a run did.
pub(crate) struct Outcome {
    args: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Outputs that appeared, changed or went.
    pub(crate) written: Vec<String>,
}

impl Outcome {
    fn describe(&self) -> String {
        let Self { args, code, stdout, stderr, written } = self;
        format!(
            "\n$ yolo-cli {args}\nexit code {code:?}, wrote {written:?}\nstdout: {stdout}\nstderr: {stderr}"
        )
    }

    fn has_no_panic(&self) {
        for text in ["panicked", "RUST_BACKTRACE", "stack backtrace", "unwrap()"] {
            let shown = self.stderr.contains(text) || self.stdout.contains(text);
            assert!(!shown, "a panic shows:{}", self.describe());
        }
    }

    /// Asserts success, without an error line.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "it failed:{}", self.describe());
        let error = self.stderr.lines().find(|line| line.starts_with("error:"));
        assert!(error.is_none(), "an error without a failure:{}", self.describe());
        self
    }

    /// Asserts exit code 1 with one line that holds all `parts`, and that nothing was written.
    pub(crate) fn fails(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "it should fail with code 1:{}", self.describe());
        let errors: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("error:")).collect();
        let [error] = errors[..] else { panic!("{} error lines:{}", errors.len(), self.describe()) };
        assert_eq!(
            self.stderr.lines().last(),
            Some(error),
            "the error is not the last line:{}",
            self.describe()
        );
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in the error:{}", self.describe());
        }
        assert!(self.written.is_empty(), "a failure left something behind:{}", self.describe());
        self
    }

    /// Asserts exit code 2 with a message that holds all `parts`, and that nothing was written.
    pub(crate) fn bad_arguments(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(2), "it should fail with code 2:{}", self.describe());
        assert!(self.stdout.is_empty() && self.stderr.starts_with("error: "), "{}", self.describe());
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in the message:{}", self.describe());
        }
        assert!(self.written.is_empty(), "a failure left something behind:{}", self.describe());
        self
    }

    /// Asserts that one warning holds all `parts`.
    pub(crate) fn warns(self, parts: &[&str]) -> Self {
        let mut warnings = self.stderr.lines().filter(|line| line.starts_with("warning: "));
        let found = warnings.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no warning holds {parts:?}:{}", self.describe());
        self
    }

    /// Asserts that stdout or stderr shows all `parts`.
    pub(crate) fn shows(self, parts: &[&str]) -> Self {
        for part in parts {
            let shown = self.stdout.contains(part) || self.stderr.contains(part);
            assert!(shown, "{part:?} is not shown:{}", self.describe());
        }
        self
    }

    /// The whole of stdout as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON object ({error}):{}", self.describe()))
    }
}
