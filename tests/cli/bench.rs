//! `bench`: figures of every contender, what every convolution runs on, and peers.

use crate::support::Case;

const BENCH: &str = "bench --weights in/tiny.safetensors --imgsz 64 --repetitions 3 --threads 2";

#[test]
fn dense_and_pruned_files_stand_side_by_side() {
    let case = Case::with_data();
    case.run("prune --weights in/tiny.safetensors --amount 0.6 --out out.safetensors").ok();
    let bench = BENCH.replace("tiny.safetensors", "tiny.safetensors out.safetensors");
    let outcome = case.run(&format!("{bench} --batch-size 1,2 --explain")).ok().shows(&[
        "64×64 pixels, 2 threads",
        "ms/image",
        "out.safetensors",
        "All convolutions:",
        "of memory",
    ]);
    // Where the kernel stands, from `convolution … kernel` to `All convolutions`.
    let kernels = |line: &str| line.rfind("  ").map(|at| line[..at].chars().count());
    let table = outcome.stdout.lines().skip_while(|line| !line.starts_with("convolution "));
    let columns: Vec<_> = table.take_while(|line| !line.starts_with("All")).map(kernels).collect();
    assert!(columns.len() > 10 && columns.iter().all(|at| *at == columns[0]), "{}", outcome.stdout);

    let json = case.run(&format!("{bench} --backends runtime,flex --explain --json")).ok().json();
    let networks = json["networks"].as_array().unwrap();
    let backends: Vec<&str> = networks.iter().map(|n| n["backend"].as_str().unwrap()).collect();
    assert_eq!(backends, ["runtime", "flex", "runtime", "flex"]);
    assert_eq!(networks[0]["ratio"], 1.0);
    for network in networks {
        let figure = |key: &str| network[key].as_f64().unwrap();
        assert!(figure("ms_fast") <= figure("ms_per_image") && figure("ms_per_image") <= figure("ms_slow"));
        assert!(figure("gflops_per_second") > 0.0);
    }
    let runtime = json["runtime"].as_array().unwrap();
    assert_eq!(runtime.len(), 2);
    let sparse = |network: usize| {
        let layers = runtime[network]["layers"].as_array().unwrap();
        assert!(layers.iter().all(|layer| !layer["candidates"].as_array().unwrap().is_empty()));
        layers.iter().filter(|layer| layer["sparsity"].as_f64().unwrap() > 0.5).count()
    };
    assert_eq!(sparse(0), 0);
    assert!(sparse(1) > 5);
    let memory = &runtime[0]["memory_bytes"];
    assert!(memory["activations"].as_f64() >= memory["live_activations"].as_f64());
}

#[test]
fn every_vector_unit_can_be_asked_for_and_others_are_refused() {
    let case = Case::with_data();
    case.run(&format!("{BENCH} --isa portable")).ok().shows(&["portable"]);
    case.run(&format!("{BENCH} --isa mmx")).bad_arguments(&["--isa", "mmx", "avx512"]);
    case.run(&format!("{BENCH} --backends tch")).fails(&["built without libtorch"]);
    let size = case.run(&BENCH.replace("--imgsz 64", "--imgsz 50"));
    size.fails(&["tiny.safetensors", "multiple"]);
    case.run("bench --weights in/nowhere.pt").fails(&["in/nowhere.pt"]);
}

#[cfg(unix)]
#[test]
fn another_program_takes_turns() {
    let case = Case::with_data();
    std::fs::write(case.path("peer.sh"), "echo ready sleeper\nwhile read line; do echo 12.5; done\n")
        .unwrap();
    let mut args: Vec<&str> = BENCH.split(' ').collect();
    args.extend(["--json", "--peer", "sh peer.sh"]);
    let json = case.run_args(&args).ok().json();
    assert_eq!(json["networks"][0]["backend"], "sleeper");
    assert_eq!(json["networks"][0]["ms_per_image"], 12.5);
    assert_eq!(json["networks"][1]["backend"], "runtime");
    *args.last_mut().unwrap() = "true";
    case.run_args(&args).fails(&["--peer true", "it ended"]);
    *args.last_mut().unwrap() = "echo hello";
    case.run_args(&args).fails(&["hello", "ready NAME"]);
    *args.last_mut().unwrap() = "no-such-program";
    case.run_args(&args).fails(&["--peer no-such-program"]);
}

#[cfg(unix)]
#[test]
fn a_program_that_computes_another_network_is_not_timed() {
    let case = Case::with_data();
    let elsewhere = tempfile::tempdir().unwrap();
    let images = elsewhere.path().join("images");
    // 64 rows of zeros: centre, size, objectness and three classes.
    let script = format!(
        "echo comparable impostor\nread line\nhead -c 49152 > '{}'\necho shape 1 64 8\n\
         head -c 2048 /dev/zero\nwhile read line; do echo 12.5; done\n",
        images.display()
    );
    std::fs::write(case.path("peer.sh"), &script).unwrap();
    let mut args: Vec<&str> = BENCH.split(' ').collect();
    args.extend(["--peer", r#"["sh", "peer.sh"]"#]);
    case.run_args(&args).fails(&["peer.sh", "another network", "row 0", "export the network again"]);
    assert_eq!(std::fs::read(&images).unwrap().len(), 3 * 64 * 64 * 4);
    std::fs::write(case.path("peer.sh"), script.replace("64 8", "32 16")).unwrap();
    case.run_args(&args).fails(&["[1, 32, 16]", "[1, 64, 8]"]);
    std::fs::write(case.path("peer.sh"), "echo failed there is no onnxruntime\n").unwrap();
    case.run_args(&args).fails(&["there is no onnxruntime"]);
}
