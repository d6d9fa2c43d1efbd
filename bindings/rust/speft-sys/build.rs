//! Finds libspeft, or builds it, and tells dependents where it is: `DEP_SPEFT_ROOT`, `DEP_SPEFT_INCLUDE` and
//! `DEP_SPEFT_LIB`, of which the last is what an rpath wants.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// An installed libspeft.
struct Installed {
    root: Option<PathBuf>,
    include: Option<PathBuf>,
    /// `None`: where the linker looks anyway.
    lib: Option<PathBuf>,
}

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SPEFT_ROOT");
    if env::var_os("DOCS_RS").is_some() {
        return ExitCode::SUCCESS; // documentation links nothing
    }
    match locate() {
        Ok(installed) => {
            link(&installed);
            ExitCode::SUCCESS
        }
        Err(attempts) => {
            let attempts: String = attempts.iter().map(|attempt| format!("\n  - {attempt}")).collect();
            eprintln!("speft-sys found no libspeft:{attempts}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "bundled")]
fn locate() -> Result<Installed, Vec<String>> {
    bundled::build().map(|root| Installed {
        include: Some(root.join("include")),
        lib: Some(root.join("lib")),
        root: Some(root),
    })
}

#[cfg(not(feature = "bundled"))]
fn locate() -> Result<Installed, Vec<String>> {
    let mut attempts = Vec::new();
    match env::var_os("SPEFT_ROOT") {
        Some(root) => match look_in(Path::new(&root)) {
            Ok(found) => return Ok(found),
            // Who names a folder does not want another one.
            Err(attempt) => return Err(vec![format!("SPEFT_ROOT={}: {attempt}", Path::new(&root).display())]),
        },
        None => attempts.push("SPEFT_ROOT is not set: the folder that libspeft was installed to".into()),
    }
    match ask_pkg_config() {
        Ok(found) => return Ok(found),
        Err(attempt) => attempts.push(format!("pkg-config: {attempt}")),
    }
    attempts.push("the feature \"bundled\" is off: it builds libspeft, with CMake and a C++20 compiler".into());
    Err(attempts)
}

/// The file that the linker takes.
fn library_name() -> &'static str {
    if cfg!(feature = "static") { "libspeft.a" } else { "libspeft.so" }
}

#[cfg(not(feature = "bundled"))]
fn look_in(root: &Path) -> Result<Installed, String> {
    // The build script may be run elsewhere, and so may the linker.
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    let include = root.join("include");
    if !include.join("speft/speft.h").is_file() {
        return Err(format!("there is no {}", include.join("speft/speft.h").display()));
    }
    let multiarch = format!("lib/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    let folders = ["lib", "lib64", multiarch.as_str()].map(|folder| root.join(folder));
    match folders.iter().find(|folder| folder.join(library_name()).is_file()) {
        Some(lib) => {
            println!("cargo:rerun-if-changed={}", lib.join(library_name()).display());
            Ok(Installed { include: Some(include), lib: Some(lib.clone()), root: Some(root) })
        }
        None => {
            let looked: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            Err(format!("there is no {} in {}", library_name(), looked.join(", ")))
        }
    }
}

#[cfg(not(feature = "bundled"))]
fn ask_pkg_config() -> Result<Installed, String> {
    // What to link with is the same whoever finds it, so that pkg-config only tells where.
    let found = pkg_config::Config::new()
        .cargo_metadata(false)
        .env_metadata(true)
        .atleast_version(env!("CARGO_PKG_VERSION"))
        .probe("speft")
        .map_err(|error| error.to_string().trim().replace('\n', " "))?;
    Ok(Installed {
        root: pkg_config::get_variable("speft", "prefix").ok().map(PathBuf::from),
        include: found.include_paths.first().cloned(),
        lib: found.link_paths.first().cloned(),
    })
}

fn link(installed: &Installed) {
    if let Some(lib) = &installed.lib {
        println!("cargo:rustc-link-search=native={}", lib.display());
        // For the test of the README; link arguments reach no dependent.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
    if cfg!(feature = "static") {
        println!("cargo:rustc-link-lib=static=speft");
        for library in ["m", "pthread", "dl"] {
            println!("cargo:rustc-link-lib={library}");
        }
    } else {
        println!("cargo:rustc-link-lib=dylib=speft");
    }
    for (key, folder) in [("root", &installed.root), ("include", &installed.include), ("lib", &installed.lib)] {
        if let Some(folder) = folder {
            println!("cargo:{key}={}", folder.display());
        }
    }
}

#[cfg(feature = "bundled")]
mod bundled {
    use super::{Path, PathBuf, env, library_name};

    /// What the library is built from; also what `tools/crate.sh` copies.
    const SOURCES: [&str; 6] = ["CMakeLists.txt", "cmake", "core", "capi", "backends/cpu", "tests/abi/exports.txt"];

    /// Builds libspeft with its CPU backend inside and returns the folder it was installed to.
    pub fn build() -> Result<PathBuf, Vec<String>> {
        let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
        // The packaged crate has the source in it; in libspeft's own repository it is three folders up.
        let places = [package.join("source"), package.join("../../..")];
        let Some(source) = places.iter().find(|place| SOURCES.iter().all(|part| place.join(part).exists())) else {
            return Err(places.iter().map(|place| format!("no source in {}", place.display())).collect());
        };
        for part in SOURCES {
            println!("cargo:rerun-if-changed={}", source.join(part).display());
        }
        let root = cmake::Config::new(source)
            .profile("Release")
            .define("SPEFT_STATIC_CPU", "ON")
            .define("SPEFT_CUDA", "OFF")
            .define("CMAKE_INSTALL_LIBDIR", "lib")
            .build();
        require(&root.join("lib").join(library_name()))?;
        Ok(root)
    }

    fn require(library: &Path) -> Result<(), Vec<String>> {
        if library.is_file() { Ok(()) } else { Err(vec![format!("CMake made no {}", library.display())]) }
    }
}
