//! Where the time of a network goes, step by step, with the time that each convolution took on its own:
//!
//!     cargo run --release --example profile -- yolov5n.pt [side]

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use yolo_model::Checkpoint;
use yolo_runtime::{Network, Options, Plan, Selection};

const RUNS: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: profile CHECKPOINT [SIDE]")?;
    let side = arguments.next().map_or(Ok(640), |side| side.parse())?;
    let checkpoint = Checkpoint::load(Path::new(&file))?;
    let options = Options { selection: Selection::Measure, ..Options::default() };
    let plan = Plan::new(Network::of(&checkpoint.into_fused()?, 1, [side; 2])?, &options)?;
    let (images, mut output) = (vec![0.5; plan.input_len()], vec![0.0; plan.output_len()]);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(plan.profile(&images, &mut output)?);
    }
    let alone: HashMap<&str, f64> = plan
        .convolutions()
        .iter()
        .filter_map(|report| {
            let (_, ms) = report.candidates.iter().find(|(kernel, _)| *kernel == report.chosen)?;
            Some((report.name.as_str(), *ms))
        })
        .collect();
    let kernels: HashMap<&str, String> =
        plan.convolutions().iter().map(|report| (report.name.as_str(), report.chosen.to_string())).collect();
    println!("{:<32}{:>10}{:>10}{:>10}  kernel", "step", "median ms", "least ms", "alone ms");
    let mut sums = [0.0; 3];
    for (at, (name, _)) in runs[0].iter().enumerate() {
        let mut times: Vec<f64> = runs.iter().map(|run| run[at].1 * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let alone = alone.get(name.as_str()).copied();
        let row = [times[RUNS / 2], times[0], alone.unwrap_or(0.0)];
        sums.iter_mut().zip(row).for_each(|(sum, part)| *sum += part);
        let alone = alone.map_or_else(String::new, |ms| format!("{ms:.3}"));
        let kernel = kernels.get(name.as_str()).map_or("", String::as_str);
        println!("{name:<32}{:>10.3}{:>10.3}{alone:>10}  {kernel}", row[0], row[1]);
    }
    println!("{:<32}{:>10.3}{:>10.3}{:>10.3}", "sum", sums[0], sums[1], sums[2]);
    Ok(())
}
