//! `data convert`: YOLO's label files to COCO's JSON and back.

use std::path::Path;

use anyhow::{Context, Result, bail};
use yolo_data::convert::{ConvertOptions, Layout, Placement, config_of_json, convert, is_coco, splits_of};
use yolo_data::dataset::{Dataset, DatasetConfig, Split};
use yolo_report::results::SCHEMA;

use crate::args::DataConvertArgs;
use crate::console::{Output, progress_bar};
use crate::interrupt;
use crate::measure::open_split;
use crate::resolve::data_config;

/// Opens the source and writes it in the other layout.
pub(crate) fn run(args: &DataConvertArgs) -> Result<()> {
    let output = Output::new(args.json);
    if args.out.symlink_metadata().is_ok() {
        bail!("{}: it exists already; choose another folder with --out, or remove it", args.out.display());
    }
    let config = source(args)?;
    let layout = match args.to {
        Some(layout) => layout,
        None if is_coco(&config) => Layout::Yolo,
        None => Layout::Coco,
    };
    let map = args.categories.read()?;
    let open = |split| -> Result<(Split, Dataset)> {
        Ok((split, open_split(&config, split, args.no_cache, map.as_ref())?))
    };
    let opened = splits_of(&config).into_iter().map(open).collect::<Result<Vec<_>>>()?;
    if is_coco(&config) {
        check_objects(&opened, args)?;
    }
    let splits: Vec<(Split, &Dataset)> = opened.iter().map(|(split, dataset)| (*split, dataset)).collect();
    let options = ConvertOptions { layout, placement: args.images, category_ids: args.category_ids };
    let bar = progress_bar("Converting", splits.iter().map(|(_, dataset)| dataset.items.len() as u64).sum());
    let graceful = interrupt::graceful();
    let outcome = convert(&splits, &args.out, options, &mut |done| {
        bar.set_position(done as u64);
        !interrupt::requested()
    });
    drop(graceful);
    bar.finish_and_clear();
    let converted = outcome?;
    let yaml = args.out.join("data.yaml");
    let name = if layout == Layout::Yolo { "YOLO's labels" } else { "COCO's JSON" };
    output.line(format!(
        "{} images with {} objects of {} classes as {name} in {}",
        converted.images,
        converted.objects,
        config.num_classes(),
        args.out.display()
    ))?;
    if layout == Layout::Yolo && options.placement == Placement::Leave {
        output.line(format!("Put the images into {}", args.out.join("images/SPLIT").display()))?;
    } else {
        output.line(format!("Next: yolo-cli data check {}", yaml.display()))?;
    }
    output.json(&serde_json::json!({
        "schema": SCHEMA,
        "data": yaml,
        "layout": if layout == Layout::Yolo { "yolo" } else { "coco" },
        "splits": splits.iter().map(|(split, _)| split.key()).collect::<Vec<_>>(),
        "classes": config.num_classes(),
        "images": converted.images,
        "objects": converted.objects,
    }))
}

/// Fails if no split has an object: what would be written is nothing to train on.
fn check_objects(opened: &[(Split, Dataset)], args: &DataConvertArgs) -> Result<()> {
    let reasons: Vec<String> =
        opened.iter().filter_map(|(_, dataset)| dataset.without_labels("nothing to convert")).collect();
    match &reasons[..] {
        [first, ..] if reasons.len() == opened.len() => {
            bail!("{}: {first}", args.out.display())
        }
        _ => Ok(()),
    }
}

/// What the named files are: a data set yaml, or COCO files.
fn source(args: &DataConvertArgs) -> Result<DatasetConfig> {
    let is_json =
        |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if args.sources.iter().all(|path| is_json(path)) {
        if let Some(dir) = args.image_dir.as_deref().filter(|dir| !dir.is_dir()) {
            bail!("{}: no such folder; check --image-dir", dir.display());
        }
        return Ok(config_of_json(&args.sources, args.image_dir.as_deref())?);
    }
    match args.sources.as_slice() {
        [yaml] => {
            let mut config = data_config(yaml)?;
            if let Some(dir) = &args.image_dir {
                let dir = std::path::absolute(dir).with_context(|| dir.display().to_string())?;
                config.image_dir = Some(dir.display().to_string());
            }
            Ok(config)
        }
        _ => bail!("give one data set yaml, or COCO files (.json) only"),
    }
}
