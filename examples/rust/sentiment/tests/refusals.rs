//! What the program says of input that it cannot use: one line that names it, and exit status 2.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A checkpoint's configuration, and no weights: the program refuses what the tests give it before it wants them.
const CONFIG: &str = r#"{"model_type": "bert", "hidden_act": "gelu", "hidden_size": 4, "num_attention_heads": 1,
    "num_hidden_layers": 1, "max_position_embeddings": 8, "layer_norm_eps": 1e-12}"#;

/// The line that the program ends with, on a checkpoint of this configuration.
fn refusal_on(config: &str, test: &str, arguments: &[&str]) -> String {
    let model = directory(test).join("checkpoint");
    std::fs::create_dir_all(&model).expect("a directory");
    for (file, content) in [("config.json", config), ("tokenizer.json", ""), ("model.safetensors", "")] {
        std::fs::write(model.join(file), content).expect("a file");
    }
    run(test, &[&["--model", text(&model)], arguments].concat())
}

fn refusal(test: &str, arguments: &[&str]) -> String {
    refusal_on(CONFIG, test, arguments)
}

fn run(test: &str, arguments: &[&str]) -> String {
    let out = directory(test).join("out");
    let mut program = Command::new(env!("CARGO_BIN_EXE_sentiment"));
    let output = program.args(["--out", text(&out)]).args(arguments).output().expect("the program starts");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn directory(test: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(test)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn data_file(test: &str, content: &str) -> PathBuf {
    std::fs::create_dir_all(directory(test)).expect("a directory");
    let path = directory(test).join("data.tsv");
    std::fs::write(&path, content).expect("a file");
    path
}

#[test]
fn a_missing_model_folder_is_named() {
    let said = run("missing-model", &["--model", "no/such/model"]);
    assert_eq!(said, "error: no/such/model: expected a checkpoint's directory, found no directory\n");
}

#[test]
fn a_missing_file_of_the_model_is_named() {
    let model = directory("half-model");
    std::fs::create_dir_all(&model).expect("a directory");
    std::fs::write(model.join("config.json"), "").expect("a file");
    let said = run("half-model", &["--model", text(&model)]);
    assert!(said.ends_with("expected a checkpoint's directory, but it has no tokenizer.json\n"), "{said}");
}

#[test]
fn a_model_of_another_kind_is_named() {
    let said = refusal_on(&CONFIG.replace("bert", "gpt2"), "other-model", &[]);
    assert!(said.ends_with("expected a bert model with gelu, got gpt2 with gelu\n"), "{said}");
    let said = refusal_on("{", "broken-model", &[]);
    assert!(said.contains("config.json: cannot be read (EOF"), "{said}");
}

#[test]
fn a_model_must_be_given() {
    let said = run("no-model", &[]);
    assert!(said.contains("--model"), "{said}");
}

#[test]
fn a_malformed_line_is_numbered() {
    let path = data_file("malformed", "good\tA film to see again.\nbad A film to forget.\n");
    let said = refusal("malformed", &["--data", text(&path)]);
    let expected = format!("error: {}, line 2: expected two columns (label, tab, text), got 1\n", path.display());
    assert_eq!(said, expected);
}

#[test]
fn an_empty_text_is_numbered() {
    let path = data_file("empty-text", "good\tA film to see again.\n\nbad\t \n");
    let said = refusal("empty-text", &["--data", text(&path)]);
    assert!(said.ends_with("line 3: the text is empty\n"), "{said}");
}

#[test]
fn too_few_rows_are_counted() {
    let path = data_file("few-rows", "good\tA film to see again.\nbad\tA film to forget.\n");
    let said = refusal("few-rows", &["--data", text(&path)]);
    assert!(said.ends_with("expected at least 100 rows, got 2\n"), "{said}");
}

#[test]
fn one_label_is_not_enough() {
    let path = data_file("one-label", &"good\tA film to see again.\n".repeat(100));
    let said = refusal("one-label", &["--data", text(&path)]);
    assert!(said.ends_with("expected at least two different labels, got only \"good\"\n"), "{said}");
}

#[test]
fn an_unknown_method_is_named_beside_those_there_are() {
    let said = refusal("unknown-method", &["--methods", "magic"]);
    assert!(said.contains("magic") && said.contains("head-only") && said.contains("spiel-ag"), "{said}");
}

#[test]
fn numbers_are_checked() {
    for (option, value) in [("--steps", "0"), ("--density", "1.5"), ("--learning-rate", "-1"), ("--max-tokens", "x")] {
        let said = refusal("numbers", &[&format!("{option}={value}")]);
        assert!(said.contains(option) && said.contains("expected a"), "{said}");
    }
}
