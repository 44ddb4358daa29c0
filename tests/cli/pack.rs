//! `pack`: files without zeros, that load like others.

use yolo_model::Checkpoint;
use yolo_model::weights::FloatFormat;

use crate::support::{Case, shared, tiny};
use crate::training_support::{assert_same, conv_zeros};

const PACK: &str = "pack --weights pruned.safetensors --out packed.safetensors";

/// `pruned.safetensors`, with weights that half precision holds exactly, as released files have them.
fn pruned(amount: f64) -> Case {
    let case = Case::with_data();
    tiny().save(&case.path("in/half.safetensors"), FloatFormat::F16).unwrap();
    case.run(&format!(
        "prune --weights in/half.safetensors --amount {amount} --method global --out pruned.safetensors"
    ))
    .ok();
    case
}

#[test]
fn a_packed_file_expands_to_the_bytes_it_came_from() {
    let case = pruned(0.75);
    let outcome = case.run(&format!("{PACK} --json")).ok();
    let account = outcome.json();
    let size = |file: &str| std::fs::metadata(case.path(file)).unwrap().len();
    assert_eq!(account["model"]["file_bytes"], size("packed.safetensors"));
    assert_eq!(account["dense_f16_bytes"], size("pruned.safetensors"));
    assert!(size("packed.safetensors") < size("pruned.safetensors"));
    assert_eq!(account["packing"]["f32_bytes"], 0);
    case.run("pack --weights packed.safetensors --expand --out plain.safetensors").ok();
    assert_same(&case, "plain.safetensors", "pruned.safetensors");
    // Packing what is packed changes nothing.
    case.run("pack --weights packed.safetensors --out again.safetensors").ok();
    assert_same(&case, "again.safetensors", "packed.safetensors");
}

#[test]
fn a_packed_file_loads_wherever_a_checkpoint_loads() {
    let case = pruned(0.5);
    case.run(PACK).ok().shows(&["dense file, f16", "masks", "values, f16", "this file", "Zeros: "]);
    let same = |command: &str, key: &str| {
        let [plain, packed] = ["pruned", "packed"].map(|name| {
            let args = command.replace("WEIGHTS", &format!("{name}.safetensors"));
            case.run(&args).ok().json()[key].clone()
        });
        assert!(!plain.is_null() && plain == packed, "{command}: {plain} and {packed}");
    };
    same("val --weights WEIGHTS --data in/data/data.yaml --imgsz 64 --json", "native");
    same("info --weights WEIGHTS --json", "pruning");
    same("info --weights WEIGHTS --json", "layers");
    same("prune --weights WEIGHTS --amount 0.7 --out out.safetensors --json", "layers");
    assert!(conv_zeros(&case, "packed.safetensors") > 0);
    case.run("info --weights packed.safetensors").ok().shows(&["Packed: ", "elements are stored"]);
    let plain = case.run("info --weights pruned.safetensors --json").ok();
    assert!(plain.json()["packing"].is_null() && !plain.stderr.contains("Packed: "));
    let data = "--data in/data/data.yaml --imgsz 64 --batch-size 4 --epochs 1 --noautoanchor";
    let trained = case.run(&format!("train --weights packed.safetensors {data}")).ok();
    trained.shows(&["weights are pruned and stay zero"]);
}

#[test]
fn eight_bits_keep_every_zero_and_no_others() {
    let case = pruned(0.5);
    let zeros = conv_zeros(&case, "pruned.safetensors");
    for flags in ["--int8", "--half", "--int8 --half"] {
        case.run(&format!("{PACK} {flags}")).ok();
        assert_eq!(conv_zeros(&case, "packed.safetensors"), zeros, "{flags}");
    }
    let size =
        |flags: &str| case.run(&format!("{PACK} {flags} --json")).ok().json()["model"]["file_bytes"].as_u64();
    let (eight, sixteen) = (size("--int8"), size(""));
    assert!(eight < sixteen, "{eight:?} {sixteen:?}");
    case.run(&format!("{PACK} --int8")).ok().shows(&["values, int8", "scales, f32"]);
}

#[test]
fn weights_that_were_computed_keep_all_of_their_bits() {
    let case = Case::with_model();
    let prune = "prune --weights in/tiny.safetensors --amount 0.6 --out pruned.safetensors";
    case.run(prune).ok();
    let account = case.run(&format!("{PACK} --json")).ok().json();
    assert!(account["packing"]["f32_bytes"].as_u64().unwrap() > 0, "{account}");
    case.run("pack --weights packed.safetensors --expand --out plain.safetensors").ok();
    assert_same(&case, "plain.safetensors", "pruned.safetensors");
    let half = case.run(&format!("{PACK} --half --json")).ok().json();
    assert_eq!(half["packing"]["f32_bytes"], 0);
}

#[test]
fn what_cannot_be_packed_or_expanded_is_named() {
    let case = pruned(0.5);
    case.run("pack --weights pruned.safetensors --out packed.pt").fails(&["packed.pt", ".safetensors"]);
    case.run("pack --weights nothing.safetensors --out packed.safetensors")
        .fails(&["nothing.safetensors", "no such"]);
    case.run("pack --weights pruned.safetensors --out no/such/p.safetensors")
        .fails(&["p.safetensors", "folder"]);
    case.run("pack --weights in/half.safetensors --out in/half.safetensors").fails(&["never changed"]);
    case.run("pack --weights pruned.safetensors --expand --out plain.safetensors")
        .fails(&["pruned.safetensors", "not packed"]);
    case.run("pack --weights pruned.safetensors --expand --int8 --out plain.safetensors")
        .bad_arguments(&["--expand", "--int8"]);
    case.run(PACK).ok();
    let bytes = case.read("packed.safetensors");
    case.write("packed.safetensors", &bytes[..bytes.len() - 3]);
    for command in ["info", "prune --amount 0.3 --out out.safetensors"] {
        case.run(&format!("{command} --weights packed.safetensors"))
            .fails(&["packed.safetensors", "truncated"]);
    }
}

#[test]
fn the_released_network_becomes_as_small_as_promised() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let case = Case::empty();
    for (amount, largest) in [("0.5", 0.62), ("0.75", 0.36)] {
        let prune =
            ["prune", "--weights", weights.to_str().unwrap(), "--method", "global", "--amount", amount];
        case.run_args(&[&prune[..], &["--out", "pruned.safetensors"]].concat()).ok();
        let account = case.run(&format!("{PACK} --json")).ok().json();
        let ratio = account["ratio"].as_f64().unwrap();
        let dense = std::fs::metadata(case.path("pruned.safetensors")).unwrap().len();
        assert_eq!(account["dense_f16_bytes"], dense);
        eprintln!("{amount}: {ratio:.4} of {dense} bytes");
        assert!(ratio <= largest, "{amount}: {ratio}");
        let [plain, packed] = ["pruned", "packed"]
            .map(|name| Checkpoint::load(&case.path(&format!("{name}.safetensors"))).unwrap());
        assert_eq!(plain.pruning, packed.pruning);
        assert!(plain.weights == packed.weights);
    }
}
