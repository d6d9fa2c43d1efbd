//! Adapters and checkpoints, to and from files and memory.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::host::*;
use speft::*;

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        _ = std::fs::remove_dir_all(&path); // of a run that was killed
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn trained(context: &Context, layer: &mut Layer) -> Adapter {
    let mut adapter = builder(context, layer).budget(5).build().unwrap();
    train(&mut adapter, layer, 2);
    adapter
}

#[test]
fn a_reload_is_identical() {
    let folder = Folder::new("a_reload_is_identical");
    let context = cpu();
    let mut layer = Layer::new(100, [6, 4]);
    let mut adapter = trained(&context, &mut layer);
    let weights = layer.weights.clone();
    let path = folder.0.join("adapter.safetensors");
    adapter.save(&path).unwrap();
    let mut bytes = Vec::new();
    adapter.save_with(&mut bytes, SaveOptions::new()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    layer.bound(&mut adapter).unmerge().unwrap();
    let mask = adapter.mask("w").unwrap();
    drop(adapter);

    for source in [Source::from(&path), Source::Bytes(&bytes)] {
        let mut loaded = Adapter::load(&context, source).unwrap();
        assert_eq!(loaded.parameters(), [layer.parameter()]);
        let state = loaded.state().unwrap();
        assert!(state.selected && !state.merged);
        assert_eq!(loaded.mask("w").unwrap(), mask);
        refused(loaded.rounding_loss("w"), Status::InvalidState, "");
        layer.bound(&mut loaded).merge().unwrap();
        assert_eq!(bits(&layer.weights), bits(&weights));
        layer.bound(&mut loaded).unmerge().unwrap();
    }
}

#[test]
fn a_compact_file_is_smaller_and_close() {
    let context = cpu();
    let mut layer = Layer::new(101, [64, 64]);
    let mut adapter = builder(&context, &layer).density(0.5).build().unwrap();
    train(&mut adapter, &mut layer, 1);
    let deltas = adapter.deltas("w").unwrap().as_slice::<f32>().unwrap().to_vec();
    let (mut exact, mut compact) = (Vec::new(), Vec::new());
    adapter.save_with(&mut exact, SaveOptions::new()).unwrap();
    adapter.save_with(&mut compact, SaveOptions::new().format(Format::Compact)).unwrap();
    assert_eq!(exact.len() - compact.len(), 2 * 2048);
    let loaded = Adapter::load(&context, Source::Bytes(&compact)).unwrap();
    let close = loaded.deltas("w").unwrap();
    for (kept, delta) in close.as_slice::<f32>().unwrap().iter().zip(&deltas) {
        assert!((kept - delta).abs() <= delta.abs() / 256.0); // 8 significant bits
    }
    refused(
        adapter.save_checkpoint_with(&mut Vec::new(), SaveOptions::new().format(Format::Compact)),
        Status::InvalidArgument,
        "format",
    );
}

#[test]
fn training_resumes_from_a_checkpoint_as_if_it_had_never_stopped() {
    let folder = Folder::new("training_resumes");
    let path = folder.0.join("checkpoint.safetensors");
    let context = cpu();
    let mut layer = Layer::new(102, [6, 4]);
    let mut adapter = trained(&context, &mut layer);
    adapter.accumulate("w", &layer.gradient()).unwrap();
    adapter.save_checkpoint(&path).unwrap();
    let mut other = Layer { weights: layer.weights.clone(), ..Layer::new(102, [6, 4]) };
    layer.bound(&mut adapter).step(Hyperparameters::new()).unwrap();
    drop(adapter);

    let mut resumed = Adapter::load_checkpoint(&context, &path).unwrap();
    other.bound(&mut resumed).merge().unwrap();
    assert_eq!(resumed.state().unwrap().steps, 2);
    other.bound(&mut resumed).step(Hyperparameters::new()).unwrap();
    assert_eq!(bits(&other.weights), bits(&layer.weights));

    let mut file = Vec::new();
    resumed.save_with(&mut file, SaveOptions::new()).unwrap();
    refused(Adapter::load_checkpoint(&context, Source::Bytes(&file)), Status::InvalidArgument, "speft_load_adapter");
}

#[test]
fn a_score_function_goes_with_a_loaded_checkpoint() {
    let context = cpu();
    let mut layer = Layer::new(103, [6, 4]);
    let up = |mut scoring: Scoring<'_>| {
        let scores = scoring.scores.as_mut_slice::<f32>().unwrap();
        scores.iter_mut().enumerate().for_each(|(index, score)| *score = index as f32);
        ControlFlow::Continue(())
    };
    let made = builder(&context, &layer).budget(3).score_function(up).schedule(Schedule::new().reselect_every(1));
    let mut adapter = made.build().unwrap();
    layer.bound(&mut adapter).select().unwrap();
    assert_eq!(adapter.mask("w").unwrap(), [21, 22, 23]);
    let mut file = Vec::new();
    adapter.save_checkpoint_with(&mut file, SaveOptions::new()).unwrap();
    drop(adapter);

    let mut without = Adapter::load_checkpoint(&context, Source::Bytes(&file)).unwrap();
    layer.bound(&mut without).merge().unwrap();
    step(&mut without, &mut layer);
    refused(layer.bound(&mut without).reselect(), Status::InvalidState, "score");
    layer.bound(&mut without).unmerge().unwrap();
    drop(without);
    let down = |mut scoring: Scoring<'_>| {
        let scores = scoring.scores.as_mut_slice::<f32>().unwrap();
        scores.iter_mut().enumerate().for_each(|(index, score)| *score = -(index as f32));
        ControlFlow::Continue(())
    };
    let options = LoadOptions::new().score_function(down);
    let mut with = Adapter::load_checkpoint_with(&context, Source::Bytes(&file), options).unwrap();
    layer.bound(&mut with).merge().unwrap();
    step(&mut with, &mut layer);
    layer.bound(&mut with).reselect().unwrap().unwrap();
    assert_eq!(with.mask("w").unwrap(), [0, 1, 2]);
}

#[test]
fn damaged_files_and_other_models_are_refused() {
    let context = cpu();
    let mut layer = Layer::new(104, [6, 4]);
    let mut adapter = trained(&context, &mut layer);
    let mut file = Vec::new();
    adapter.save_with(&mut file, SaveOptions::new()).unwrap();
    layer.bound(&mut adapter).unmerge().unwrap();
    let mut flipped = file.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&file[..20], &file[..file.len() - 1], b"not an adapter at all", &flipped] {
        refused(Adapter::load(&context, Source::Bytes(damaged)), Status::Corrupt, "");
    }
    let mut loaded = Adapter::load(&context, Source::Bytes(&file)).unwrap();
    let mut other = Layer::new(105, [6, 4]);
    let before = other.weights.clone();
    refused(other.bound(&mut loaded).merge(), Status::InvalidArgument, "'w'");
    assert_eq!(bits(&other.weights), bits(&before));
}

#[test]
fn a_save_that_fails_keeps_the_old_file() {
    let folder = Folder::new("a_save_that_fails");
    let path = folder.0.join("adapter.safetensors");
    let context = cpu();
    let mut layer = Layer::new(106, [6, 4]);
    let adapter = trained(&context, &mut layer);
    adapter.save(&path).unwrap();
    let old = std::fs::read(&path).unwrap();
    let mut cancel = |_: Progress| ControlFlow::Break(());
    refused(adapter.save_with(path.as_path(), SaveOptions::new().progress(&mut cancel)), Status::Cancelled, "cancel");
    assert_eq!(std::fs::read(&path).unwrap(), old);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
    let error = adapter.save(folder.0.join("missing/adapter.safetensors")).unwrap_err();
    assert_eq!((error.status(), error.native_code()), (Status::Io, 2));
    refused(adapter.save("a\0b"), Status::InvalidArgument, "path must have no NUL");
    use std::os::unix::ffi::OsStrExt;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"\xff"));
    refused(adapter.save(path), Status::InvalidArgument, "path must be UTF-8");
}

/// Takes so many bytes, then fails.
struct Small(usize, fn() -> io::Error);

impl Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err((self.1)());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_writer_says_is_the_source_of_the_error() {
    let context = cpu();
    let mut layer = Layer::new(107, [6, 4]);
    let adapter = trained(&context, &mut layer);
    let full = || io::Error::from_raw_os_error(28);
    let error = adapter.save_with(&mut Small(10, full), SaveOptions::new()).unwrap_err();
    assert_eq!((error.status(), error.native_code()), (Status::Io, 28));
    let error = adapter.save_with(&mut Small(10, || io::Error::other("a wall")), SaveOptions::new()).unwrap_err();
    assert_eq!((error.status(), error.native_code()), (Status::Io, 5)); // EIO, as there is no errno
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "a wall");

    let broken = || panic!("from the writer");
    let saved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        adapter.save_with(&mut Small(10, broken), SaveOptions::new())
    }));
    assert_eq!(*saved.unwrap_err().downcast_ref::<&str>().unwrap(), "from the writer");
}

#[test]
fn reads_and_writes_report_bytes() {
    let context = cpu();
    let mut layer = Layer::new(108, [6, 4]);
    let adapter = trained(&context, &mut layer);
    let (mut file, mut last) = (Vec::new(), None);
    let mut listen = |progress: Progress| {
        last = Some(progress);
        ControlFlow::Continue(())
    };
    adapter.save_with(&mut file, SaveOptions::new().progress(&mut listen)).unwrap();
    let last: Progress = last.unwrap();
    assert!(last.done == last.total && last.total <= file.len() as i64); // of the values, without the names
    let mut cancel = |progress: Progress| {
        assert!(progress.done <= progress.total);
        ControlFlow::Break(())
    };
    let options = LoadOptions::new().progress(&mut cancel);
    refused(Adapter::load_with(&context, Source::Bytes(&file), options), Status::Cancelled, "cancel");
}
