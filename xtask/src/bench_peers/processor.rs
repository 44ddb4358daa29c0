//! The processor, by which figures are judged.

use std::collections::BTreeSet;

/// Units that decide how fast a network runs: what Linux calls them, and their name.
const UNITS: [(&str, &str); 9] = [
    ("avx2", "AVX2"),
    ("fma", "FMA"),
    ("avx512f", "AVX-512"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx_vnni", "AVX VNNI"),
    ("avx512_bf16", "AVX-512 BF16"),
    ("amx_bf16", "AMX BF16"),
    ("amx_int8", "AMX INT8"),
    ("asimd", "NEON"),
];

/// Model and units, as one line.
pub(super) fn line() -> String {
    match std::fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => described(&text),
        Err(_) => format!("Processor: {} (its units are not known here)", std::env::consts::ARCH),
    }
}

/// The line for the text of Linux's `/proc/cpuinfo`.
fn described(cpuinfo: &str) -> String {
    let value = |key: &str| {
        let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
    };
    let model = value("model name").unwrap_or(std::env::consts::ARCH);
    let flags: BTreeSet<&str> =
        value("flags").or_else(|| value("Features")).unwrap_or_default().split_whitespace().collect();
    let units: Vec<&str> =
        UNITS.iter().filter(|(flag, _)| flags.contains(flag)).map(|(_, name)| *name).collect();
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("Processor: {model}, {cores} cores, {}", units.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_cores_and_units_are_named() {
        let text = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 fma avx512f amx_int8\n\n\
                    processor\t: 1\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 fma avx512f amx_int8\n";
        assert_eq!(described(text), "Processor: Some CPU, 2 cores, AVX2, FMA, AVX-512, AMX INT8");
    }
}
