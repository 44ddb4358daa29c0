//! What this binary is: version, back ends, vector unit.

use std::sync::LazyLock;

use yolo_runtime::Isa;

/// The back ends that can be compiled in, and whether they are.
pub(crate) const BACK_ENDS: [(&str, bool); 3] =
    [("flex", cfg!(feature = "flex")), ("cuda", cfg!(feature = "cuda")), ("tch", cfg!(feature = "tch"))];

/// Features of the build.
pub(crate) fn features() -> impl Iterator<Item = &'static str> {
    BACK_ENDS.into_iter().filter(|(_, built)| *built).map(|(name, _)| name)
}

/// What `--version` says.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let built: Vec<&str> = features().collect();
        let built = if built.is_empty() { "none".to_owned() } else { built.join(", ") };
        format!("{}\nfeatures: {built}\nvector unit: {}", env!("CARGO_PKG_VERSION"), Isa::detect())
    });
    &TEXT
}
