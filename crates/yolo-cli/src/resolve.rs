//! From what was typed to files that exist.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use yolo_data::dataset::cache::default_cache_dir;
use yolo_data::dataset::config::DatasetConfig;
use yolo_eval::coco::classes::CategoryMap;
use yolo_model::architecture::{is_variant, variant_yaml};
use yolo_model::weights::unpacked_bytes;
use yolo_model::{Architecture, Checkpoint, Selection};

use crate::console::progress_bar;
use crate::presets::{DEMO, built_in_name, demo_data, demo_weights};
use yolo_data::nearby::suggestion;

/// Data sets known by name, and their yaml.
const KNOWN_DATA: [(&str, &str); 2] = [
    ("coco", include_str!("../configs/data/coco.yaml")),
    ("coco128", include_str!("../configs/data/coco128.yaml")),
];

/// Whether both paths lead to one file that is there.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    std::fs::canonicalize(a).is_ok_and(|a| std::fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// A checkpoint with the file it came from.
pub(crate) struct Weights {
    pub(crate) path: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) checkpoint: Checkpoint,
}

impl Weights {
    /// Reads `weights`: a file, the folder of an unpacked `.pt`, the example, or the name of a released checkpoint, which is looked for in
    /// `weights/` and the cache and downloaded into the cache unless `offline`.
    pub(crate) fn load(weights: &Path, offline: bool) -> Result<Self> {
        Self::load_as(weights, offline, None)
    }

    /// [`Weights::load`] for a file that may be tensors alone, of the network that `cfg` names.
    pub(crate) fn load_as(weights: &Path, offline: bool, cfg: Option<&str>) -> Result<Self> {
        let path = weights_path(weights, offline)?;
        let checkpoint = match cfg {
            Some(cfg) => Checkpoint::load_as(&path, &model_yaml(cfg, None)?)?,
            None => Checkpoint::load(&path)?,
        };
        let file_bytes = match unpacked_bytes(&path) {
            Some(bytes) => bytes,
            None => std::fs::metadata(&path).with_context(|| path.display().to_string())?.len(),
        };
        Ok(Self { path, file_bytes, checkpoint })
    }
}

impl Weights {
    /// The same network, which answers by its one-to-one branches if `end_to_end` asks for that.
    pub(crate) fn answering(mut self, end_to_end: bool) -> Result<Self> {
        if !end_to_end {
            return Ok(self);
        }
        self.checkpoint.architecture = self.checkpoint.architecture.with_end_to_end(true);
        if self.checkpoint.architecture.head().selection() != Selection::Best {
            bail!("{}: its head has no one-to-one branches; leave --end2end out", self.path.display());
        }
        Ok(self)
    }
}

/// The network that a model yaml, or the name of a stock one, describes; `num_classes` replaces the yaml's `nc`.
pub(crate) fn model_yaml(cfg: &str, num_classes: Option<usize>) -> Result<Architecture> {
    let name = built_in_name(cfg, "", &["models", "hub"]);
    if let Some(name) =
        name.filter(|name| !Path::new(cfg).is_file() && variant_yaml(name).is_none() && is_variant(name))
    {
        return Architecture::variant(name, num_classes).with_context(|| cfg.to_owned());
    }
    let built_in = name.and_then(variant_yaml);
    let text = match (Path::new(cfg).is_file(), built_in) {
        (true, _) => yolo_data::yaml::read(Path::new(cfg))?,
        (false, Some(text)) => text.to_owned(),
        (false, None) => bail!(
            "{cfg}: no such file; check --cfg (known names: yolov5n, yolov5s, …, yolov8n, yolo11n, yolo26n, …)"
        ),
    };
    let stem = Path::new(cfg).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    Architecture::from_yaml_called(stem, &text, num_classes).with_context(|| cfg.to_owned())
}

fn weights_path(weights: &Path, offline: bool) -> Result<PathBuf> {
    let is_unpacked = weights.is_dir() && unpacked_bytes(weights).is_some();
    if weights.is_dir() && !is_unpacked && !is_built_in(weights) {
        bail!("{}: it is a folder; name the checkpoint in it (.pt or .safetensors)", weights.display());
    }
    if weights.exists() && (!weights.is_dir() || is_unpacked && !is_built_in(weights)) {
        return Ok(weights.to_owned());
    }
    mention_folder(weights);
    if weights == Path::new(DEMO) {
        return demo_weights();
    }
    let stem = weights.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_name = weights.parent().is_none_or(|parent| parent.as_os_str().is_empty());
    if !is_name || !is_variant(stem) {
        bail!("{}: no such file; check --weights{}", weights.display(), suggestion(weights));
    }
    let file = format!("{stem}.pt");
    let mut places = vec![Path::new("weights").join(&file)];
    places.extend(default_cache_dir().map(|cache| cache.join("weights").join(&file)));
    if let Some(found) = places.iter().find(|place| place.is_file()) {
        return Ok(found.clone());
    }
    let Some(cache) = default_cache_dir() else {
        bail!("{}: no such file; `cargo xtask fetch-weights {stem}` downloads it", weights.display());
    };
    if offline {
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        bail!(
            "{}: no such file, nor {}; `cargo xtask fetch-weights {stem}` or a run without --offline downloads it",
            weights.display(),
            looked.join(" or ")
        );
    }
    download(stem, &cache.join("weights"))
}

fn download(name: &str, folder: &Path) -> Result<PathBuf> {
    let bar = progress_bar("Downloading", 0);
    tracing::info!("{name} is not here: downloading it to {}", folder.display());
    let mirror = std::env::var("YOLO_MIRROR").ok().filter(|mirror| !mirror.is_empty());
    let options = yolo_fetch::Options { mirror, ..yolo_fetch::Options::default() };
    let path = yolo_fetch::fetch_weights(name, folder, &options, &mut |event| {
        if let yolo_fetch::Event::Downloading { done, total, .. } = event {
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
        }
    });
    bar.finish_and_clear();
    path.with_context(|| format!("{name} is not here and its download failed"))
}

/// Whether `weights` is the name of the example's network or of a released one, which a folder of that name does not
/// hide.
fn is_built_in(weights: &Path) -> bool {
    let name = weights.to_str().unwrap_or_default();
    name == DEMO || is_variant(name)
}

/// Says that a folder which has the name of something built in is not what is used.
pub(crate) fn mention_folder(name: &Path) {
    if name.is_dir() {
        let name = name.display();
        tracing::info!("{name} is the built-in {name}, not the folder, which ./{name} names");
    }
}

/// The checkpoint `weights` with its absolute path; names of built-in networks stay what they are.
pub(crate) fn absolute_weights(weights: &Path) -> PathBuf {
    if weights.is_dir() && is_built_in(weights) { weights.to_owned() } else { absolute(weights) }
}

/// The data set yaml `data` with its absolute path; names of known data sets stay what they are.
pub(crate) fn absolute_data(data: &Path) -> PathBuf {
    match data_source(data) {
        Some(DataSource::File(file)) => absolute(&file),
        _ => data.to_owned(),
    }
}

/// The file `name` with its absolute path; names of built-in ones stay what they are.
pub(crate) fn absolute_file(name: &str) -> String {
    let path = Path::new(name);
    if path.is_dir() { name.to_owned() } else { absolute(path).to_string_lossy().into_owned() }
}

/// The absolute path of a file or folder that is there; names of things stay what they are.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    if path.exists() {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    } else {
        path.to_owned()
    }
}

/// Fails with a suggestion if there is no file `path`, which `flag` named.
pub(crate) fn check_exists(path: &Path, flag: &str) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    bail!("{}: no such file; check {flag}{}", path.display(), suggestion(path))
}

/// What `--data` means.
enum DataSource {
    /// A yaml.
    File(PathBuf),
    /// The yaml of a data set that is known by this name.
    Known(&'static str, &'static str),
    /// The example.
    Demo,
}

/// What `data` means, if it is there: a yaml of that name first, then a name; a folder never.
fn data_source(data: &Path) -> Option<DataSource> {
    if data.exists() && !data.is_dir() {
        return Some(DataSource::File(data.to_owned()));
    }
    let name = built_in_name(data.to_str()?, "", &["data"])?;
    let known = KNOWN_DATA.iter().find(|(known, _)| *known == name);
    let known = known.map(|(name, yaml)| DataSource::Known(name, yaml));
    let known = known.or((name == DEMO).then_some(DataSource::Demo))?;
    let yaml = ["yaml", "yml"].map(|extension| data.with_extension(extension));
    let file = yaml.into_iter().find(|yaml| data.extension().is_none() && yaml.is_file());
    Some(file.map_or(known, DataSource::File))
}

/// Whether `data` is the example.
pub(crate) fn is_demo(data: &Path) -> bool {
    matches!(data_source(data), Some(DataSource::Demo))
}

/// Reads a yaml of `category: class`.
pub(crate) fn category_map(file: &Path) -> Result<CategoryMap> {
    check_exists(file, "--category-map")?;
    let text = yolo_data::yaml::read(file)?;
    serde_saphyr::from_str(&text).map_err(|error| {
        let (place, reason) = (yolo_data::yaml::place(file, &error), yolo_data::yaml::reason(&error));
        anyhow!("{place}: {reason}; a category map has a line `category: class` per category")
    })
}

/// Reads the data set yaml `data`, or the one of a known name.
pub(crate) fn data_config(data: &Path) -> Result<DatasetConfig> {
    match data_source(data) {
        Some(DataSource::File(file)) => Ok(DatasetConfig::read(&file)?),
        Some(DataSource::Demo) => {
            mention_folder(data);
            Ok(DatasetConfig::read(&demo_data()?)?)
        }
        Some(DataSource::Known(name, yaml)) => {
            mention_folder(data);
            let here = std::env::current_dir().context("the current folder is not readable")?;
            Ok(DatasetConfig::parse(yaml, &here.join(format!("{name}.yaml")))?)
        }
        None if data.is_dir() => bail!("{}: it is a folder; name the data yaml in it", data.display()),
        None => bail!(
            "{}: no such file; check --data (known names: coco, coco128, demo){}",
            data.display(),
            suggestion(data)
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stock_networks_are_known_by_the_names_of_their_files() {
        let known = |cfg: &str| model_yaml(cfg, Some(3)).map(|network| network.layers.len());
        let layers = known("yolov5n").unwrap();
        for cfg in ["yolov5n.yaml", "models/yolov5n.yaml", "yolov5/models/yolov5n.yaml"] {
            assert_eq!(known(cfg).unwrap(), layers, "{cfg}");
        }
        assert!(known("models/hub/yolov5n6.yaml").unwrap() > layers);
        let error = known("mine/yolov5n.yaml").unwrap_err().to_string();
        assert!(error.contains("no such file"), "{error}");
    }
}
