//! Writes `speft-sys/src/bindings.rs` from the public C headers:
//!
//! ```sh
//! LIBCLANG_PATH=<folder of libclang.so> cargo run -- <include folder> <bindings.rs> [--check]
//! ```
//!
//! With `--check` nothing is written, and it fails when the file is not what it would write.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// Makes Markdown of the headers' comments: what is indented is C.
#[derive(Debug)]
struct Comments;

impl bindgen::callbacks::ParseCallbacks for Comments {
    fn process_comment(&self, comment: &str) -> Option<String> {
        let mut lines = Vec::new();
        let mut in_code = false;
        for line in comment.lines() {
            let is_code = line.starts_with("     ");
            if is_code != in_code {
                lines.push(if is_code { " ```c" } else { " ```" });
                in_code = is_code;
            }
            lines.push(line);
        }
        lines.extend(in_code.then_some(" ```"));
        Some(lines.join("\n"))
    }
}

fn generate(include: &Path) -> Result<String, Box<dyn Error>> {
    let header = include.join("speft/speft.h");
    let bindings = bindgen::Builder::default()
        .header(header.to_str().ok_or("the folder's name is not UTF-8")?)
        // The headers are the manual, so that their comments are the documentation.
        .clang_args(["-std=c11", "-fparse-all-comments"])
        .allowlist_file(format!("{}/speft/.*", include.display()))
        .blocklist_item("SPEFT_(ADAPTER|BASIS|COMMUNICATOR|CONTEXT|ERROR|EXPORT|GRADIENT|LINEAR|MASK|MEMORY|MERGE|OPTIMIZER|QUANTIZATION|SELECTION|SPEFT|STATUS|STORAGE|TENSOR|TRAINING|VERSION|WEIGHTS)_H")
        .parse_callbacks(Box::new(Comments))
        // Plain integers: a number that a later library returns must not be undefined behaviour.
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .use_core()
        .layout_tests(true)
        .rust_target(bindgen::RustTarget::stable(85, 0).map_err(|error| error.to_string())?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .formatter(bindgen::Formatter::Prettyplease)
        .disable_header_comment()
        .generate()?;
    Ok(format!(
        "// Written by bindings/rust/generate from capi/include/speft/speft.h; not edited by hand.\n\n{}",
        tidy_constants(&bindings.to_string())
    ))
}

/// C's nameless enums are `int32_t` wherever they are used, so that is the type of their constants here; the names that
/// bindgen gives to the enums are left out. A constant without a comment gets none: clang gives it its neighbour's.
fn tidy_constants(bindings: &str) -> String {
    let mut tidied = String::new();
    let mut comment = String::new();
    let mut last_comment = String::new();
    for line in bindings.lines() {
        if line.starts_with("///") {
            comment += &format!("{line}\n");
        } else if line.starts_with("pub type _bindgen_ty_") {
            comment.clear();
        } else if let Some((name, value)) = constant(line) {
            if comment != last_comment {
                tidied += &comment;
            }
            last_comment = std::mem::take(&mut comment);
            tidied += &format!("{name}: i32 = {value}\n");
        } else {
            tidied += &format!("{}{line}\n", std::mem::take(&mut comment));
        }
    }
    tidied
}

/// `pub const NAME` and `VALUE;` of a line `pub const NAME: _bindgen_ty_1 = VALUE;`.
fn constant(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(": _bindgen_ty_")?;
    let (_, value) = rest.split_once(" = ")?;
    line.starts_with("pub const ").then_some((name, value))
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (include, target, check) = match arguments.as_slice() {
        [include, target] => (include, target, false),
        [include, target, flag] if flag == "--check" => (include, target, true),
        _ => return Err("usage: generate INCLUDE BINDINGS [--check]".into()),
    };
    let made = generate(Path::new(include))?;
    if !check {
        return Ok(std::fs::write(target, made)?);
    }
    if std::fs::read_to_string(target)? != made {
        return Err(format!("{target} is not current: the headers in {include} give other bindings").into());
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
