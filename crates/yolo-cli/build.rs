//! Lets a program that was linked with libtorch find it where the build found it, without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let unix = std::env::var_os("CARGO_CFG_UNIX").is_some();
    // Told by the build script of torch-sys, a direct dependency with the feature `tch` for this reason.
    if let (true, Ok(folder)) = (unix, std::env::var("DEP_TCH_LIBTORCH_LIB")) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
