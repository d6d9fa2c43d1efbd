//! Where adapters live: a device, its stream, its threads; and which backends there are.

use std::ffi::{CString, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use speft_sys as sys;

use crate::callback::Panics;
use crate::error::{Error, Result, Status, c_text, call, static_text, text};
use crate::native::{defaults, empty};
use crate::options::Level;

/// Device memory from the host's own pool.
///
/// # Safety
/// `allocate` returns NULL, or memory of at least `bytes` bytes, aligned to `alignment`, on the context's device, that
/// nobody else has until `deallocate`.
pub unsafe trait Allocator: Send + Sync {
    /// `stream` is the context's. A NULL, or a panic, is `OutOfMemory` to the call that asked.
    fn allocate(&self, bytes: u64, alignment: u64, stream: *mut c_void) -> *mut c_void;

    /// Takes back what [`allocate`](Self::allocate) gave.
    ///
    /// # Safety
    /// `memory` came from this allocator, for `bytes`, and is not used again.
    unsafe fn deallocate(&self, memory: *mut c_void, bytes: u64, stream: *mut c_void);
}

type Log = dyn Fn(Level, &str) + Send + Sync;
type ParallelFor = dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Send + Sync;

/// What of the host a context calls. The context and its adapters share it, so that it outlives both.
#[derive(Default)]
pub(crate) struct Host {
    pub panics: Panics,
    log: Option<Box<Log>>,
    allocator: Option<Box<dyn Allocator>>,
    parallel_for: Option<Box<ParallelFor>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    /// A fallible call; a panic of a callback goes on when it has returned.
    pub fn call(&self, function: impl FnOnce(*mut *mut sys::speft_error) -> sys::speft_status) -> Result<()> {
        let answer = call(function);
        self.panics.resume();
        answer
    }
}

unsafe extern "C" fn write_log(user: *mut c_void, level: i32, message: *const c_char) {
    // SAFETY: `user` is the Host of a context that lives; the message ends in 0.
    let (host, message) = unsafe { (&*user.cast::<Host>(), text(message)) };
    // A level that a later library adds is at least as loud as the loudest that is known.
    let level = Level::from_code(level).unwrap_or(Level::Warning);
    if let Some(log) = &host.log {
        host.panics.catch(|| log(level, &message));
    }
}

unsafe extern "C" fn allocate(user: *mut c_void, bytes: u64, alignment: u64, stream: *mut c_void) -> *mut c_void {
    // SAFETY: `user` is the Host of a context that lives.
    let host = unsafe { &*user.cast::<Host>() };
    let allocator = host.allocator.as_ref();
    let memory = allocator.and_then(|allocator| host.panics.catch(|| allocator.allocate(bytes, alignment, stream)));
    memory.unwrap_or(std::ptr::null_mut())
}

unsafe extern "C" fn deallocate(user: *mut c_void, memory: *mut c_void, bytes: u64, stream: *mut c_void) {
    // SAFETY: `user` is the Host of a context that lives.
    let host = unsafe { &*user.cast::<Host>() };
    if let Some(allocator) = &host.allocator {
        // SAFETY: the library gives back what it got.
        host.panics.catch(|| unsafe { allocator.deallocate(memory, bytes, stream) });
    }
}

/// A body that may be entered from several threads at once, as `speft_parallel_for` says.
struct Body {
    body: unsafe extern "C" fn(*mut c_void, i64),
    argument: *mut c_void,
    count: usize,
    /// One bit an index: it was begun. The library relies on each index to be run once and only once, so that this
    /// does not depend on the host's closure.
    begun: Vec<AtomicU64>,
}

// SAFETY: the library's body is made for several threads.
unsafe impl Sync for Body {}

impl Body {
    fn run(&self, index: usize) {
        assert!(index < self.count, "parallel_for: the index must be below {}; got {index}", self.count);
        let bit = 1 << (index % 64);
        if self.begun[index / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            // SAFETY: the library waits for this call in `run_loop`, and this index is run for the first time.
            unsafe { (self.body)(self.argument, index as i64) };
        }
    }
}

unsafe extern "C" fn run_loop(
    user: *mut c_void,
    count: i64,
    body: Option<unsafe extern "C" fn(*mut c_void, i64)>,
    argument: *mut c_void,
) {
    // SAFETY: `user` is the Host of a context that lives.
    let host = unsafe { &*user.cast::<Host>() };
    let (Some(body), Some(parallel_for)) = (body, &host.parallel_for) else { return };
    let count = count as usize;
    let begun = (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
    let body = Body { body, argument, count, begun };
    host.panics.catch(|| parallel_for(count, &|index| body.run(index)));
    for index in 0..count {
        body.run(index); // what the closure has left out, or all that was left when it panicked
    }
}

/// How a [`Context`] is made.
///
/// ```
/// let context = speft::Context::builder().backend("cpu").threads(2).build()?;
/// assert_eq!(context.backend(), "cpu");
/// # speft::Result::Ok(())
/// ```
#[derive(Default)]
#[must_use]
pub struct ContextBuilder {
    backend: Option<String>,
    backend_path: Option<String>,
    threads: i32,
    device: i32,
    stream: Option<NonNull<c_void>>,
    log_level: Option<Level>,
    loop_threads: i32,
    host: Host,
}

impl ContextBuilder {
    /// `"cpu"`, `"cuda"`, or `"auto"`, the default, for the best one on this machine.
    pub fn backend(mut self, name: impl Into<String>) -> Self {
        self.backend = Some(name.into());
        self
    }

    /// A folder to look for backends in before anywhere else.
    pub fn backend_path(mut self, folder: impl Into<String>) -> Self {
        self.backend_path = Some(folder.into());
        self
    }

    /// CPU threads; 0, the default, for as many as this process may run on. Answers do not depend on it.
    pub fn threads(mut self, threads: i32) -> Self {
        self.threads = threads;
        self
    }

    /// Which device of the backend, from 0.
    pub fn device(mut self, device: i32) -> Self {
        self.device = device;
        self
    }

    /// The CUDA stream to work on.
    ///
    /// # Safety
    /// It exists until it is replaced or the context and its adapters are gone.
    pub unsafe fn stream(mut self, stream: *mut c_void) -> Self {
        self.stream = NonNull::new(stream);
        self
    }

    /// Takes log lines of `level` and above, on the thread of the call that writes them.
    pub fn logger(mut self, level: Level, log: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        self.log_level = Some(level);
        self.host.log = Some(Box::new(log));
        self
    }

    /// Takes device memory from here.
    pub fn allocator(mut self, allocator: impl Allocator + 'static) -> Self {
        self.host.allocator = Some(Box::new(allocator));
        self
    }

    /// Runs CPU work on the host's own threads, at most `threads` at once: the closure calls its second argument with
    /// each index below its first, side by side or not. An index that it leaves out is run after it, one that it
    /// repeats is run once.
    pub fn parallel_for(
        mut self,
        threads: i32,
        run: impl Fn(usize, &(dyn Fn(usize) + Sync)) + Send + Sync + 'static,
    ) -> Self {
        self.loop_threads = threads;
        self.host.parallel_for = Some(Box::new(run));
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// `Unavailable` when no such backend can run here; the message has every attempt and its reason.
    pub fn build(self) -> Result<Context> {
        let (linked, declared) = (crate::abi_version(), sys::SPEFT_ABI_VERSION);
        if linked != declared {
            return Err(Error::with_status(
                Status::Unavailable,
                format!("libspeft must have the binary interface {declared}, which this crate is for; it has {linked}"),
            ));
        }
        let host = Arc::new(self.host);
        let user = Arc::as_ptr(&host).cast_mut().cast::<c_void>();
        let optional = |argument, text: &Option<String>| -> Result<Option<CString>> {
            text.as_deref().map(|text| c_text(argument, text)).transpose()
        };
        let backend = optional("backend", &self.backend)?;
        let backend_path = optional("backend_path", &self.backend_path)?;
        let allocator = host.allocator.as_ref().map(|_| sys::speft_allocator {
            struct_size: size_of::<sys::speft_allocator>() as u32,
            user,
            allocate: Some(allocate),
            deallocate: Some(deallocate),
            release: None, // the context and its adapters share the host
        });
        let logger = host.log.as_ref().map(|_| sys::speft_logger {
            struct_size: size_of::<sys::speft_logger>() as u32,
            level: self.log_level.unwrap_or(Level::Info).code(),
            user,
            log: Some(write_log),
            release: None,
        });
        let parallel_for = host.parallel_for.as_ref().map(|_| sys::speft_parallel_for {
            struct_size: size_of::<sys::speft_parallel_for>() as u32,
            threads: self.loop_threads,
            user,
            run: Some(run_loop),
            release: None,
        });
        let mut options: sys::speft_context_options = defaults!(speft_context_options_init);
        options.threads = self.threads;
        options.device = self.device;
        options.stream = self.stream.map_or(std::ptr::null_mut(), NonNull::as_ptr);
        options.backend = backend.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        options.backend_path = backend_path.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        options.allocator = allocator.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        options.logger = logger.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        options.parallel_for = parallel_for.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut handle = std::ptr::null_mut();
        // SAFETY: the structs and what they point to live through the call; `user` lives as long as the context.
        let answer = call(|error| unsafe { sys::speft_create_context(&options, &mut handle, error) });
        let made = answer.map(|()| {
            let handle = NonNull::new(handle).expect("a context was made");
            Context { handle, host: Arc::clone(&host) }
        });
        host.panics.resume(); // and lets go of what was made
        made
    }
}

/// One device, one stream, its threads. Adapters live in one, and keep what they need of it alive.
///
/// It can be sent to another thread, and so can its adapters. They are one thing to the library: a call that meets
/// another is `Busy` and does nothing. Different contexts run side by side.
pub struct Context {
    handle: NonNull<sys::speft_context>,
    pub(crate) host: Arc<Host>,
}

// SAFETY: the library takes calls from any thread.
unsafe impl Send for Context {}

impl Context {
    /// On the best backend of this machine, with as many threads as this process may run on.
    ///
    /// # Errors
    /// As of [`ContextBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// With options.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    /// The name of the backend that runs here.
    pub fn backend(&self) -> &'static str {
        // SAFETY: the context lives; the names of backends are static.
        unsafe { static_text(sys::speft_get_context_backend(self.as_ptr())) }.unwrap_or_default()
    }

    /// Waits until all that was enqueued has run. At once on the CPU.
    ///
    /// # Errors
    /// `Device` when the device failed.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the context lives.
        self.host.call(|error| unsafe { sys::speft_synchronize(self.as_ptr(), error) })
    }

    /// From now on work is enqueued on this CUDA stream. The CPU accepts only NULL.
    ///
    /// # Safety
    /// The former stream still exists, and this one until it is replaced or the context and its adapters are gone.
    ///
    /// # Errors
    /// `Unsupported` for anything but NULL on the CPU.
    pub unsafe fn set_stream(&self, stream: *mut c_void) -> Result<()> {
        // SAFETY: the context lives; the rest is the caller's promise.
        self.host.call(|error| unsafe { sys::speft_set_stream(self.as_ptr(), stream, error) })
    }

    /// The implementations of one of [`operations`], the fastest first. The first that accepts a case runs it.
    ///
    /// # Errors
    /// `InvalidArgument` for another name.
    pub fn implementations(&self, operation: &str) -> Result<Vec<&'static str>> {
        let operation = c_text("operation", operation)?;
        let mut names = Vec::new();
        loop {
            let mut name = std::ptr::null();
            // SAFETY: the context lives; the names are static.
            let found = unsafe {
                self.host.call(|error| {
                    let index = names.len() as i32;
                    sys::speft_get_implementation_name(self.as_ptr(), operation.as_ptr(), index, &mut name, error)
                })?;
                static_text(name)
            };
            match found {
                Some(name) => names.push(name),
                None => return Ok(names),
            }
        }
    }

    /// The implementation that ran `operation` last in this context.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is not one of [`operations`].
    pub fn implementation(&self, operation: &str) -> Result<Option<&'static str>> {
        let operation = c_text("operation", operation)?;
        let mut name = std::ptr::null();
        // SAFETY: the context lives; the names are static.
        unsafe {
            self.host
                .call(|error| sys::speft_get_implementation(self.as_ptr(), operation.as_ptr(), &mut name, error))?;
            Ok(static_text(name))
        }
    }

    /// Runs `operation` with this implementation only; `None`: chooses again. A case that it does not accept is then
    /// `Unsupported`.
    ///
    /// # Errors
    /// `InvalidArgument` for names that are not there.
    pub fn set_implementation(&self, operation: &str, name: Option<&str>) -> Result<()> {
        let operation = c_text("operation", operation)?;
        let name = name.map(|name| c_text("name", name)).transpose()?;
        let name = name.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        // SAFETY: the context lives; the names through the call.
        self.host.call(|error| unsafe { sys::speft_set_implementation(self.as_ptr(), operation.as_ptr(), name, error) })
    }

    /// The C handle, which this context goes on owning.
    pub fn as_ptr(&self) -> *mut sys::speft_context {
        self.handle.as_ptr()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it is destroyed once. What C calls of the host lives as long as the adapters.
        unsafe { sys::speft_destroy_context(self.as_ptr()) };
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").field("backend", &self.backend()).finish()
    }
}

/// A backend that this release knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backend {
    /// `"cpu"`, `"cuda"`.
    pub name: &'static str,
    /// Whether a context can be made on it.
    pub available: bool,
    /// Its version, or `""` when it could not be loaded.
    pub version: &'static str,
    /// Why it is not available, or `""`.
    pub reason: &'static str,
}

/// All backends that this release knows of, and why those that are not available are not.
///
/// ```
/// assert!(speft::backends()?.iter().any(|backend| backend.name == "cpu" && backend.available));
/// # speft::Result::Ok(())
/// ```
///
/// # Errors
/// `OutOfMemory`.
pub fn backends() -> Result<Vec<Backend>> {
    // SAFETY: it takes nothing.
    let count = unsafe { sys::speft_count_backends() };
    (0..count)
        .map(|index| {
            let mut info = empty!(speft_backend_info);
            // SAFETY: the struct tells its size; its strings are static.
            unsafe {
                call(|error| sys::speft_describe_backend(index, &mut info, error))?;
                Ok(Backend {
                    name: static_text(info.name).unwrap_or_default(),
                    available: info.available != 0,
                    version: static_text(info.version).unwrap_or_default(),
                    reason: static_text(info.reason).unwrap_or_default(),
                })
            }
        })
        .collect()
}

/// The operations that backends implement; see [`Context::implementations`].
pub fn operations() -> Vec<&'static str> {
    // SAFETY: any number is allowed; the names are static.
    (0..).map_while(|index| unsafe { static_text(sys::speft_get_operation_name(index)) }).collect()
}
