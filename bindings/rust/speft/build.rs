//! This package's own tests and examples find the shared library where it was linked. Link arguments reach no further:
//! a program that depends on this crate gives its own rpath, or the library is where the system looks.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(folder) = std::env::var("DEP_SPEFT_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
