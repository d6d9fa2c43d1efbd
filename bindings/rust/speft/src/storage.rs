//! Where files come from and go to, and how.

use std::ffi::{CString, c_void};
use std::io::Write;
use std::path::Path;

use speft_sys as sys;

use crate::callback::{Panics, Report, Reporter};
use crate::error::{Error, Result, c_text};
use crate::native::defaults;
use crate::options::Format;
use crate::score::ScoreFunction;

/// Where a file goes to.
pub enum Target<'a> {
    /// It is written to a temporary name beside it, synced and renamed: a crash leaves the old file or the new one.
    Path(&'a Path),
    /// It takes the bytes in order. What it has taken is the caller's to discard when the call fails.
    Writer(&'a mut dyn Write),
}

impl<'a> From<&'a Path> for Target<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Path(path)
    }
}

impl<'a, W: Write> From<&'a mut W> for Target<'a> {
    fn from(writer: &'a mut W) -> Self {
        Self::Writer(writer)
    }
}

/// Where a file comes from: a path, or its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file.
    Path(&'a Path),
    /// A file's content.
    Bytes(&'a [u8]),
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Source<'a> {
    fn from(path: &'a P) -> Self {
        Self::Path(path.as_ref())
    }
}

/// How a file is written.
#[derive(Default)]
pub struct SaveOptions<'a> {
    format: Option<Format>,
    progress: Option<&'a mut Report<'a>>,
}

impl<'a> SaveOptions<'a> {
    /// Exact, and nobody listens.
    pub fn new() -> Self {
        Self::default()
    }

    /// How precisely deltas are written. A checkpoint is always exact.
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Reports bytes here.
    pub fn progress(mut self, report: &'a mut Report<'a>) -> Self {
        self.progress = Some(report);
        self
    }

    /// Runs `call` with C's struct and path.
    pub(crate) fn with_native(
        self,
        target: Target<'_>,
        call: impl FnOnce(*const sys::speft_save_options, *const std::ffi::c_char) -> Result<()>,
    ) -> Result<()> {
        let mut options: sys::speft_save_options = defaults!(speft_save_options_init);
        options.format = self.format.unwrap_or(Format::Exact).code();
        let mut reporter = Reporter::new(self.progress);
        match target {
            Target::Path(path) => {
                let path = c_path(path)?;
                reporter.with(|progress| {
                    options.progress = progress;
                    call(&options, path.as_ptr())
                })
            }
            Target::Writer(writer) => {
                let mut sink = Sink { writer, failure: None, panics: Panics::default() };
                let native = sys::speft_writer {
                    struct_size: size_of::<sys::speft_writer>() as u32,
                    user: (&raw mut sink).cast(),
                    write: Some(write),
                };
                options.writer = &native;
                let answer = reporter.with(|progress| {
                    options.progress = progress;
                    call(&options, std::ptr::null())
                });
                sink.panics.resume();
                match (answer, sink.failure) {
                    (Err(error), Some(failure)) => Err(error.caused_by(failure)),
                    (answer, _) => answer,
                }
            }
        }
    }
}

/// A writer as C calls it, for the length of one call.
struct Sink<'a> {
    writer: &'a mut dyn Write,
    failure: Option<std::io::Error>,
    panics: Panics,
}

/// What a failure without an errno is to the library.
const EIO: i32 = 5;

unsafe extern "C" fn write(user: *mut c_void, bytes: *const c_void, count: u64) -> i32 {
    // SAFETY: `user` is the Sink of the call that runs on this thread; the bytes are lent for this call, and there may
    // be none.
    let (sink, bytes) = unsafe {
        let bytes: &[u8] =
            if count == 0 { &[] } else { std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize) };
        (&mut *user.cast::<Sink<'_>>(), bytes)
    };
    let writer = &mut sink.writer;
    match sink.panics.catch(|| writer.write_all(bytes)) {
        Some(Ok(())) => 0,
        Some(Err(failure)) => {
            let code = failure.raw_os_error().filter(|&code| code != 0).unwrap_or(EIO);
            sink.failure = Some(failure);
            code
        }
        None => EIO,
    }
}

/// How a file is read.
#[derive(Default)]
pub struct LoadOptions<'a> {
    progress: Option<&'a mut Report<'a>>,
    pub(crate) score: Option<ScoreFunction>,
}

impl<'a> LoadOptions<'a> {
    /// Nobody listens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports bytes here.
    pub fn progress(mut self, report: &'a mut Report<'a>) -> Self {
        self.progress = Some(report);
        self
    }

    /// The score function of a checkpoint whose masks move by one: a file has none. Ignored for any other.
    pub fn score_function(
        mut self,
        score: impl FnMut(crate::Scoring<'_>) -> std::ops::ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.score = Some(Box::new(score));
        self
    }

    /// Runs `call` with C's struct and path.
    pub(crate) fn with_native(
        self,
        source: Source<'_>,
        score: Option<&sys::speft_score_function>,
        call: impl FnOnce(*const sys::speft_load_options, *const std::ffi::c_char) -> Result<()>,
    ) -> Result<()> {
        let mut options: sys::speft_load_options = defaults!(speft_load_options_init);
        options.score = score.map_or(std::ptr::null(), std::ptr::from_ref);
        let path = match source {
            Source::Path(path) => Some(c_path(path)?),
            Source::Bytes(bytes) => {
                options.bytes = bytes.as_ptr().cast();
                options.size = bytes.len() as u64;
                None
            }
        };
        Reporter::new(self.progress).with(|progress| {
            options.progress = progress;
            call(&options, path.as_ref().map_or(std::ptr::null(), |path| path.as_ptr()))
        })
    }
}

fn c_path(path: &Path) -> Result<CString> {
    let text = path.to_str().ok_or_else(|| Error::refuse(format!("path must be UTF-8; got {}", path.display())))?;
    c_text("path", text)
}
