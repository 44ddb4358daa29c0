//! libtorch, where the binary has it.

use crate::support::{Case, VAL, native_figures};

#[test]
fn libtorch_gives_the_figures_of_flex() {
    let case = Case::with_annotations();
    let figures =
        |flags: &str| native_figures(&case.run(&format!("{VAL} --json --device {flags}")).ok().json());
    for (flex, tch) in figures("flex").iter().zip(figures("tch")) {
        assert!((flex - tch).abs() < 1e-3, "{flex} {tch}");
    }
}
