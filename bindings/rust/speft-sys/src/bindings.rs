// Written by bindings/rust/generate from capi/include/speft/speft.h; not edited by hand.

pub const SPEFT_ABI_VERSION: u32 = 0;
pub const SPEFT_DEVICE_CPU: i32 = 1;
pub const SPEFT_DEVICE_CUDA: i32 = 2;
pub const SPEFT_DEVICE_CUDA_HOST: i32 = 3;
pub const SPEFT_CODE_INT: i32 = 0;
pub const SPEFT_CODE_UINT: i32 = 1;
pub const SPEFT_CODE_FLOAT: i32 = 2;
pub const SPEFT_CODE_BFLOAT: i32 = 4;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_device {
    pub type_: i32,
    pub id: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_device"][::core::mem::size_of::<speft_device>() - 8usize];
    ["Alignment of speft_device"][::core::mem::align_of::<speft_device>() - 4usize];
    [
        "Offset of field: speft_device::type_",
    ][::core::mem::offset_of!(speft_device, type_) - 0usize];
    [
        "Offset of field: speft_device::id",
    ][::core::mem::offset_of!(speft_device, id) - 4usize];
};
/// float32 is {FLOAT, 32, 1}, float16 {FLOAT, 16, 1}, bfloat16 {BFLOAT, 16, 1}, int64 {INT, 64, 1}.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_dtype {
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_dtype"][::core::mem::size_of::<speft_dtype>() - 4usize];
    ["Alignment of speft_dtype"][::core::mem::align_of::<speft_dtype>() - 2usize];
    [
        "Offset of field: speft_dtype::code",
    ][::core::mem::offset_of!(speft_dtype, code) - 0usize];
    [
        "Offset of field: speft_dtype::bits",
    ][::core::mem::offset_of!(speft_dtype, bits) - 1usize];
    [
        "Offset of field: speft_dtype::lanes",
    ][::core::mem::offset_of!(speft_dtype, lanes) - 2usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_tensor {
    /// With `byte_offset` aligned to the element's size.
    pub data: *mut ::core::ffi::c_void,
    pub device: speft_device,
    pub ndim: i32,
    pub dtype: speft_dtype,
    /// [ndim]
    pub shape: *mut i64,
    /// [ndim], counted in elements, or NULL for row-major contiguous. Anything but row-major contiguous is refused.
    pub strides: *mut i64,
    /// Added to `data`.
    pub byte_offset: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_tensor"][::core::mem::size_of::<speft_tensor>() - 48usize];
    ["Alignment of speft_tensor"][::core::mem::align_of::<speft_tensor>() - 8usize];
    [
        "Offset of field: speft_tensor::data",
    ][::core::mem::offset_of!(speft_tensor, data) - 0usize];
    [
        "Offset of field: speft_tensor::device",
    ][::core::mem::offset_of!(speft_tensor, device) - 8usize];
    [
        "Offset of field: speft_tensor::ndim",
    ][::core::mem::offset_of!(speft_tensor, ndim) - 16usize];
    [
        "Offset of field: speft_tensor::dtype",
    ][::core::mem::offset_of!(speft_tensor, dtype) - 20usize];
    [
        "Offset of field: speft_tensor::shape",
    ][::core::mem::offset_of!(speft_tensor, shape) - 24usize];
    [
        "Offset of field: speft_tensor::strides",
    ][::core::mem::offset_of!(speft_tensor, strides) - 32usize];
    [
        "Offset of field: speft_tensor::byte_offset",
    ][::core::mem::offset_of!(speft_tensor, byte_offset) - 40usize];
};
/// The functions return 0 on success. Tensors lie on the context's device; `stream` is the context's.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_communicator {
    pub struct_size: u32,
    pub rank: i32,
    pub size: i32,
    pub user: *mut ::core::ffi::c_void,
    /// Sums in place.
    pub all_reduce: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            values: *mut speft_tensor,
            stream: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    /// `all` is [size, …]: the parts of all ranks in order.
    pub all_gather: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            part: *const speft_tensor,
            all: *mut speft_tensor,
            stream: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub broadcast: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            values: *mut speft_tensor,
            root: i32,
            stream: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    /// Called once, from any thread, when none of the others will be called again; may be NULL.
    pub release: ::core::option::Option<
        unsafe extern "C" fn(user: *mut ::core::ffi::c_void),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_communicator",
    ][::core::mem::size_of::<speft_communicator>() - 56usize];
    [
        "Alignment of speft_communicator",
    ][::core::mem::align_of::<speft_communicator>() - 8usize];
    [
        "Offset of field: speft_communicator::struct_size",
    ][::core::mem::offset_of!(speft_communicator, struct_size) - 0usize];
    [
        "Offset of field: speft_communicator::rank",
    ][::core::mem::offset_of!(speft_communicator, rank) - 4usize];
    [
        "Offset of field: speft_communicator::size",
    ][::core::mem::offset_of!(speft_communicator, size) - 8usize];
    [
        "Offset of field: speft_communicator::user",
    ][::core::mem::offset_of!(speft_communicator, user) - 16usize];
    [
        "Offset of field: speft_communicator::all_reduce",
    ][::core::mem::offset_of!(speft_communicator, all_reduce) - 24usize];
    [
        "Offset of field: speft_communicator::all_gather",
    ][::core::mem::offset_of!(speft_communicator, all_gather) - 32usize];
    [
        "Offset of field: speft_communicator::broadcast",
    ][::core::mem::offset_of!(speft_communicator, broadcast) - 40usize];
    [
        "Offset of field: speft_communicator::release",
    ][::core::mem::offset_of!(speft_communicator, release) - 48usize];
};
pub type speft_status = i32;
pub const SPEFT_OK: i32 = 0;
/// An argument has a wrong value, shape, type or device. The message names it, with expected and actual.
pub const SPEFT_INVALID_ARGUMENT: i32 = 1;
pub const SPEFT_OUT_OF_MEMORY: i32 = 2;
/// The request is well formed, but this version or this backend has no code for it.
pub const SPEFT_UNSUPPORTED: i32 = 3;
/// A backend, device or driver is not there.
pub const SPEFT_UNAVAILABLE: i32 = 4;
/// The call comes at the wrong time: a step before the selection, say.
pub const SPEFT_INVALID_STATE: i32 = 5;
/// Another call runs on the same context (or this is a call from inside a callback). Nothing was done.
pub const SPEFT_BUSY: i32 = 6;
/// The operating system refused a read or a write. `speft_get_error_native_code` is its errno.
pub const SPEFT_IO: i32 = 7;
/// A file is damaged or is not what it says.
pub const SPEFT_CORRUPT: i32 = 8;
/// The device failed; the context can no longer be used.
pub const SPEFT_DEVICE: i32 = 9;
/// A callback asked to stop.
pub const SPEFT_CANCELLED: i32 = 10;
/// A defect of libspeft. Please report the message.
pub const SPEFT_INTERNAL: i32 = 11;
unsafe extern "C" {
    /** The constant's name without its prefix, as "INVALID_ARGUMENT"; "UNKNOWN" for any other number. Static storage.
 Any thread.*/
    pub fn speft_get_status_name(status: speft_status) -> *const ::core::ffi::c_char;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_error {
    _unused: [u8; 0],
}
unsafe extern "C" {
    /// The status that the failing call returned; SPEFT_OK for NULL.
    pub fn speft_get_error_status(error: *const speft_error) -> speft_status;
}
unsafe extern "C" {
    /// UTF-8, one line: what was expected, what came, what to do. Lives as long as `error`; "" for NULL.
    pub fn speft_get_error_message(
        error: *const speft_error,
    ) -> *const ::core::ffi::c_char;
}
unsafe extern "C" {
    /// The backend in which it happened ("cpu"), or "" when it happened above the backends. Lives as long as `error`.
    pub fn speft_get_error_backend(
        error: *const speft_error,
    ) -> *const ::core::ffi::c_char;
}
unsafe extern "C" {
    /// The errno, cudaError_t or the like behind it; 0 when there is none.
    pub fn speft_get_error_native_code(error: *const speft_error) -> i64;
}
unsafe extern "C" {
    /// Takes NULL. The out-of-memory error is static; destroying it is fine. Any thread.
    pub fn speft_destroy_error(error: *mut speft_error);
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_context {
    _unused: [u8; 0],
}
/** Device memory from the host's own pool. `allocate` returns NULL when there is none; `stream` is the context's.
 Both may be called from any thread that calls into the context. They must not call into libspeft (BUSY).*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_allocator {
    pub struct_size: u32,
    pub user: *mut ::core::ffi::c_void,
    pub allocate: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            bytes: u64,
            alignment: u64,
            stream: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub deallocate: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            memory: *mut ::core::ffi::c_void,
            bytes: u64,
            stream: *mut ::core::ffi::c_void,
        ),
    >,
    /// Called once, from any thread, when none of the others will be called again; may be NULL.
    pub release: ::core::option::Option<
        unsafe extern "C" fn(user: *mut ::core::ffi::c_void),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_allocator"][::core::mem::size_of::<speft_allocator>() - 40usize];
    [
        "Alignment of speft_allocator",
    ][::core::mem::align_of::<speft_allocator>() - 8usize];
    [
        "Offset of field: speft_allocator::struct_size",
    ][::core::mem::offset_of!(speft_allocator, struct_size) - 0usize];
    [
        "Offset of field: speft_allocator::user",
    ][::core::mem::offset_of!(speft_allocator, user) - 8usize];
    [
        "Offset of field: speft_allocator::allocate",
    ][::core::mem::offset_of!(speft_allocator, allocate) - 16usize];
    [
        "Offset of field: speft_allocator::deallocate",
    ][::core::mem::offset_of!(speft_allocator, deallocate) - 24usize];
    [
        "Offset of field: speft_allocator::release",
    ][::core::mem::offset_of!(speft_allocator, release) - 32usize];
};
pub const SPEFT_LOG_DEBUG: i32 = 0;
pub const SPEFT_LOG_INFO: i32 = 1;
pub const SPEFT_LOG_WARNING: i32 = 2;
/// libspeft never prints. `message` is one line of UTF-8, valid during the call.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_logger {
    pub struct_size: u32,
    /// messages below it are not formatted
    pub level: i32,
    pub user: *mut ::core::ffi::c_void,
    pub log: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            level: i32,
            message: *const ::core::ffi::c_char,
        ),
    >,
    /// Called once, from any thread, when none of the others will be called again; may be NULL.
    pub release: ::core::option::Option<
        unsafe extern "C" fn(user: *mut ::core::ffi::c_void),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_logger"][::core::mem::size_of::<speft_logger>() - 32usize];
    ["Alignment of speft_logger"][::core::mem::align_of::<speft_logger>() - 8usize];
    [
        "Offset of field: speft_logger::struct_size",
    ][::core::mem::offset_of!(speft_logger, struct_size) - 0usize];
    [
        "Offset of field: speft_logger::level",
    ][::core::mem::offset_of!(speft_logger, level) - 4usize];
    [
        "Offset of field: speft_logger::user",
    ][::core::mem::offset_of!(speft_logger, user) - 8usize];
    [
        "Offset of field: speft_logger::log",
    ][::core::mem::offset_of!(speft_logger, log) - 16usize];
    [
        "Offset of field: speft_logger::release",
    ][::core::mem::offset_of!(speft_logger, release) - 24usize];
};
/** The host's own threads: calls body(argument, i) once for each i in [0, count), side by side or not, and returns
 when all are done.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_parallel_for {
    pub struct_size: u32,
    /// how many bodies may run at once
    pub threads: i32,
    pub user: *mut ::core::ffi::c_void,
    pub run: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            count: i64,
            body: ::core::option::Option<
                unsafe extern "C" fn(argument: *mut ::core::ffi::c_void, index: i64),
            >,
            argument: *mut ::core::ffi::c_void,
        ),
    >,
    /// Called once, from any thread, when none of the others will be called again; may be NULL.
    pub release: ::core::option::Option<
        unsafe extern "C" fn(user: *mut ::core::ffi::c_void),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_parallel_for",
    ][::core::mem::size_of::<speft_parallel_for>() - 32usize];
    [
        "Alignment of speft_parallel_for",
    ][::core::mem::align_of::<speft_parallel_for>() - 8usize];
    [
        "Offset of field: speft_parallel_for::struct_size",
    ][::core::mem::offset_of!(speft_parallel_for, struct_size) - 0usize];
    [
        "Offset of field: speft_parallel_for::threads",
    ][::core::mem::offset_of!(speft_parallel_for, threads) - 4usize];
    [
        "Offset of field: speft_parallel_for::user",
    ][::core::mem::offset_of!(speft_parallel_for, user) - 8usize];
    [
        "Offset of field: speft_parallel_for::run",
    ][::core::mem::offset_of!(speft_parallel_for, run) - 16usize];
    [
        "Offset of field: speft_parallel_for::release",
    ][::core::mem::offset_of!(speft_parallel_for, release) - 24usize];
};
/// Long work calls it now and then; anything but 0 cancels. `done` and `total` are in units of the work.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_progress {
    pub struct_size: u32,
    pub user: *mut ::core::ffi::c_void,
    pub report: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            done: i64,
            total: i64,
        ) -> i32,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_progress"][::core::mem::size_of::<speft_progress>() - 24usize];
    ["Alignment of speft_progress"][::core::mem::align_of::<speft_progress>() - 8usize];
    [
        "Offset of field: speft_progress::struct_size",
    ][::core::mem::offset_of!(speft_progress, struct_size) - 0usize];
    [
        "Offset of field: speft_progress::user",
    ][::core::mem::offset_of!(speft_progress, user) - 8usize];
    [
        "Offset of field: speft_progress::report",
    ][::core::mem::offset_of!(speft_progress, report) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_context_options {
    pub struct_size: u32,
    /// CPU threads; 0: as many as this process may run on. Answers do not depend on it.
    pub threads: i32,
    /// "cpu", "cuda", or NULL or "auto": the one with the highest score on this machine.
    pub backend: *const ::core::ffi::c_char,
    /// Which device of the backend, from 0.
    pub device: i32,
    /// The CUDA stream; NULL for the default one. Anything but NULL is UNSUPPORTED on the CPU.
    pub stream: *mut ::core::ffi::c_void,
    /** Copied; what their `user` points to is used until `release`. May be NULL. When the creation of the context fails
 nothing is released.*/
    pub allocator: *const speft_allocator,
    pub logger: *const speft_logger,
    pub parallel_for: *const speft_parallel_for,
    /// A folder to look for backends in, before SPEFT_BACKEND_PATH and the folder of libspeft itself.
    pub backend_path: *const ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_context_options",
    ][::core::mem::size_of::<speft_context_options>() - 64usize];
    [
        "Alignment of speft_context_options",
    ][::core::mem::align_of::<speft_context_options>() - 8usize];
    [
        "Offset of field: speft_context_options::struct_size",
    ][::core::mem::offset_of!(speft_context_options, struct_size) - 0usize];
    [
        "Offset of field: speft_context_options::threads",
    ][::core::mem::offset_of!(speft_context_options, threads) - 4usize];
    [
        "Offset of field: speft_context_options::backend",
    ][::core::mem::offset_of!(speft_context_options, backend) - 8usize];
    [
        "Offset of field: speft_context_options::device",
    ][::core::mem::offset_of!(speft_context_options, device) - 16usize];
    [
        "Offset of field: speft_context_options::stream",
    ][::core::mem::offset_of!(speft_context_options, stream) - 24usize];
    [
        "Offset of field: speft_context_options::allocator",
    ][::core::mem::offset_of!(speft_context_options, allocator) - 32usize];
    [
        "Offset of field: speft_context_options::logger",
    ][::core::mem::offset_of!(speft_context_options, logger) - 40usize];
    [
        "Offset of field: speft_context_options::parallel_for",
    ][::core::mem::offset_of!(speft_context_options, parallel_for) - 48usize];
    [
        "Offset of field: speft_context_options::backend_path",
    ][::core::mem::offset_of!(speft_context_options, backend_path) - 56usize];
};
unsafe extern "C" {
    /// Fills in the defaults; `size` is the caller's sizeof. Takes NULL. Any thread.
    pub fn speft_context_options_init(options: *mut speft_context_options, size: u32);
}
unsafe extern "C" {
    /** `options` may be NULL. On success `*context` is owned by the caller. UNAVAILABLE when no backend of that name can
 run here; the message then has every folder that was searched, and the reason of every attempt.*/
    pub fn speft_create_context(
        options: *const speft_context_options,
        context: *mut *mut speft_context,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// Takes NULL. Adapters keep what they need alive.
    pub fn speft_destroy_context(context: *mut speft_context);
}
unsafe extern "C" {
    /// Waits until all that was enqueued on the context has run. At once on the CPU.
    pub fn speft_synchronize(
        context: *mut speft_context,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** From now on work is enqueued on `stream`, after what was enqueued before: the former stream must still exist now, and
 the new one until it is replaced or the context is gone. On the CPU anything but NULL is UNSUPPORTED.*/
    pub fn speft_set_stream(
        context: *mut speft_context,
        stream: *mut ::core::ffi::c_void,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// The name of the context's backend. Lives as long as the context. NULL for NULL.
    pub fn speft_get_context_backend(
        context: *const speft_context,
    ) -> *const ::core::ffi::c_char;
}
/// ---- which backends there are ----
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_backend_info {
    pub struct_size: u32,
    /// 1 when a context can be created on it.
    pub available: i32,
    /// "cpu", "cuda". Static storage, as the other strings.
    pub name: *const ::core::ffi::c_char,
    /// Its version, or "" when it could not be loaded.
    pub version: *const ::core::ffi::c_char,
    /// Why it is not available, in one sentence; "" when it is.
    pub reason: *const ::core::ffi::c_char,
    /// Given by the caller: a folder to look in first, as in speft_context_options; may be NULL.
    pub backend_path: *const ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_backend_info",
    ][::core::mem::size_of::<speft_backend_info>() - 40usize];
    [
        "Alignment of speft_backend_info",
    ][::core::mem::align_of::<speft_backend_info>() - 8usize];
    [
        "Offset of field: speft_backend_info::struct_size",
    ][::core::mem::offset_of!(speft_backend_info, struct_size) - 0usize];
    [
        "Offset of field: speft_backend_info::available",
    ][::core::mem::offset_of!(speft_backend_info, available) - 4usize];
    [
        "Offset of field: speft_backend_info::name",
    ][::core::mem::offset_of!(speft_backend_info, name) - 8usize];
    [
        "Offset of field: speft_backend_info::version",
    ][::core::mem::offset_of!(speft_backend_info, version) - 16usize];
    [
        "Offset of field: speft_backend_info::reason",
    ][::core::mem::offset_of!(speft_backend_info, reason) - 24usize];
    [
        "Offset of field: speft_backend_info::backend_path",
    ][::core::mem::offset_of!(speft_backend_info, backend_path) - 32usize];
};
unsafe extern "C" {
    /// How many backends this release knows of, present or not.
    pub fn speft_count_backends() -> i32;
}
unsafe extern "C" {
    /** Loads backend `index` in [0, speft_count_backends()) if it was not loaded yet, and tells what became of it.
 `info->struct_size` is set by the caller, and `info->backend_path`, to NULL where there is none.*/
    pub fn speft_describe_backend(
        index: i32,
        info: *mut speft_backend_info,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** The implementation that ran `operation` last in this context, "reference" say; NULL in `*name` when it has not
 run. `operation` is one of the names that `speft_get_operation_name` lists. `*name` is static.*/
    pub fn speft_get_implementation(
        context: *mut speft_context,
        operation: *const ::core::ffi::c_char,
        name: *mut *const ::core::ffi::c_char,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Runs `operation` with this implementation only, from now on in this context; NULL: choose again. A case that it
 does not accept then returns UNSUPPORTED.*/
    pub fn speft_set_implementation(
        context: *mut speft_context,
        operation: *const ::core::ffi::c_char,
        name: *const ::core::ffi::c_char,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// The name of operation `index`, from 0; NULL past the last. Static storage. Any thread.
    pub fn speft_get_operation_name(index: i32) -> *const ::core::ffi::c_char;
}
unsafe extern "C" {
    /** The implementation `index`, from 0 (the fastest), of `operation` on the context's backend; NULL in `*name` past
 the last. `*name` is static.*/
    pub fn speft_get_implementation_name(
        context: *mut speft_context,
        operation: *const ::core::ffi::c_char,
        index: i32,
        name: *mut *const ::core::ffi::c_char,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
pub const SPEFT_WEIGHTS_DENSE: i32 = 0;
/** 4-bit codes with a scale ("absmax") a block, as bitsandbytes writes them. An adapter trains its deltas beside
 quantized weights, which only merging changes: linear.h applies both.*/
pub const SPEFT_WEIGHTS_NF4: i32 = 1;
/** 4-bit codes with a scale ("absmax") a block, as bitsandbytes writes them. An adapter trains its deltas beside
 quantized weights, which only merging changes: linear.h applies both.*/
pub const SPEFT_WEIGHTS_FP4: i32 = 2;
/// int8 with a scale a row: round(w·127/absmax). A row is what the last axis holds.
pub const SPEFT_WEIGHTS_INT8: i32 = 3;
/** How the codes of a quantized weight of N scalars turn into numbers. The tensors may have any shape of that many
 elements.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_quantization {
    pub struct_size: u32,
    /// Scalars that share one absmax: a power of 2 between 32 and 4,096. INT8: 0.
    pub block: i32,
    /// float32 [ceil(N / block)], or uint8 of that length when the absmax are quantized themselves. INT8: [rows].
    pub absmax: *const speft_tensor,
    /// float32 [16]: the value of each code, in [-1, 1]; NULL for the kind's own table. NULL for INT8.
    pub levels: *const speft_tensor,
    /// float32 [ceil(length of absmax / absmax_block)]
    pub absmax_absmax: *const speft_tensor,
    /// float32 [256], rising, in [-1, 1]; NULL for bitsandbytes' dynamic map
    pub absmax_levels: *const speft_tensor,
    /// float32 [1]: the mean of the absmax
    pub absmax_offset: *const speft_tensor,
    pub absmax_block: i32,
    pub reserved: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_quantization",
    ][::core::mem::size_of::<speft_quantization>() - 56usize];
    [
        "Alignment of speft_quantization",
    ][::core::mem::align_of::<speft_quantization>() - 8usize];
    [
        "Offset of field: speft_quantization::struct_size",
    ][::core::mem::offset_of!(speft_quantization, struct_size) - 0usize];
    [
        "Offset of field: speft_quantization::block",
    ][::core::mem::offset_of!(speft_quantization, block) - 4usize];
    [
        "Offset of field: speft_quantization::absmax",
    ][::core::mem::offset_of!(speft_quantization, absmax) - 8usize];
    [
        "Offset of field: speft_quantization::levels",
    ][::core::mem::offset_of!(speft_quantization, levels) - 16usize];
    [
        "Offset of field: speft_quantization::absmax_absmax",
    ][::core::mem::offset_of!(speft_quantization, absmax_absmax) - 24usize];
    [
        "Offset of field: speft_quantization::absmax_levels",
    ][::core::mem::offset_of!(speft_quantization, absmax_levels) - 32usize];
    [
        "Offset of field: speft_quantization::absmax_offset",
    ][::core::mem::offset_of!(speft_quantization, absmax_offset) - 40usize];
    [
        "Offset of field: speft_quantization::absmax_block",
    ][::core::mem::offset_of!(speft_quantization, absmax_block) - 48usize];
    [
        "Offset of field: speft_quantization::reserved",
    ][::core::mem::offset_of!(speft_quantization, reserved) - 52usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_weights {
    pub struct_size: u32,
    pub kind: i32,
    /** DENSE: the weights, in the shape of the parameter (or of the part this process holds). float32, bfloat16 or
 float16. INT8: the codes, int8, in the shape of the weight. Otherwise the codes, uint8 [ceil(N / 2)], the first
 of two in the upper half of a byte. Written in place by step, merge and unmerge when DENSE, otherwise by merge and unmerge alone, as are the absmax.*/
    pub data: *const speft_tensor,
    /// NULL when DENSE.
    pub quantization: *const speft_quantization,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_weights"][::core::mem::size_of::<speft_weights>() - 24usize];
    ["Alignment of speft_weights"][::core::mem::align_of::<speft_weights>() - 8usize];
    [
        "Offset of field: speft_weights::struct_size",
    ][::core::mem::offset_of!(speft_weights, struct_size) - 0usize];
    [
        "Offset of field: speft_weights::kind",
    ][::core::mem::offset_of!(speft_weights, kind) - 4usize];
    [
        "Offset of field: speft_weights::data",
    ][::core::mem::offset_of!(speft_weights, data) - 8usize];
    [
        "Offset of field: speft_weights::quantization",
    ][::core::mem::offset_of!(speft_weights, quantization) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_adapter {
    _unused: [u8; 0],
}
/// A mask of its scalars is trained.
pub const SPEFT_ROLE_SPARSE: i32 = 0;
/** All of it is trained, by the same optimizer, and it travels in the same file: a new head. It is trained, kept and
 stored as float32 values, not as a difference: the weights equal their rounding, whatever a fresh model's head
 holds; weight decay pulls it to 0. Unmerging restores the bits that were there before.*/
pub const SPEFT_ROLE_DENSE: i32 = 1;
pub const SPEFT_PART_WHOLE: i32 = 0;
/// Scalars [offset[0], offset[0] + extent[0]) of the flattened parameter (FSDP).
pub const SPEFT_PART_RANGE: i32 = 1;
/// [offset[i], offset[i] + extent[i]) along each axis i (tensor parallelism).
pub const SPEFT_PART_BLOCK: i32 = 2;
/// One parameter of the host's model. Names are unique within an adapter, UTF-8, not empty.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_parameter {
    pub struct_size: u32,
    pub role: i32,
    pub name: *const ::core::ffi::c_char,
    /// The shape of the whole parameter, [ndim]; each size >= 0; fewer than 2^32 scalars in all.
    pub shape: *const i64,
    pub ndim: i32,
    /// float32, bfloat16 or float16.
    pub dtype: speft_dtype,
    pub part: i32,
    /// Which of the hyperparameters of a step apply to it: 0 for all, unless the host has groups.
    pub group: i32,
    /// Of the part: [1] for a range, [ndim] for a block; NULL for the whole.
    pub offset: *const i64,
    pub extent: *const i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_parameter"][::core::mem::size_of::<speft_parameter>() - 56usize];
    [
        "Alignment of speft_parameter",
    ][::core::mem::align_of::<speft_parameter>() - 8usize];
    [
        "Offset of field: speft_parameter::struct_size",
    ][::core::mem::offset_of!(speft_parameter, struct_size) - 0usize];
    [
        "Offset of field: speft_parameter::role",
    ][::core::mem::offset_of!(speft_parameter, role) - 4usize];
    [
        "Offset of field: speft_parameter::name",
    ][::core::mem::offset_of!(speft_parameter, name) - 8usize];
    [
        "Offset of field: speft_parameter::shape",
    ][::core::mem::offset_of!(speft_parameter, shape) - 16usize];
    [
        "Offset of field: speft_parameter::ndim",
    ][::core::mem::offset_of!(speft_parameter, ndim) - 24usize];
    [
        "Offset of field: speft_parameter::dtype",
    ][::core::mem::offset_of!(speft_parameter, dtype) - 28usize];
    [
        "Offset of field: speft_parameter::part",
    ][::core::mem::offset_of!(speft_parameter, part) - 32usize];
    [
        "Offset of field: speft_parameter::group",
    ][::core::mem::offset_of!(speft_parameter, group) - 36usize];
    [
        "Offset of field: speft_parameter::offset",
    ][::core::mem::offset_of!(speft_parameter, offset) - 40usize];
    [
        "Offset of field: speft_parameter::extent",
    ][::core::mem::offset_of!(speft_parameter, extent) - 48usize];
};
pub const SPEFT_DELTA_FLOAT32: i32 = 0;
/** 2 bytes a weight less. A step rounds each delta up or down at random (from the seed, the parameter's name and the
 number of the step), so that updates below half a unit in the last place are kept on average; the same inputs
 give the same bits. Dense parameters stay float32.*/
pub const SPEFT_DELTA_BFLOAT16: i32 = 1;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_adapter_options {
    pub struct_size: u32,
    pub delta_type: i32,
    /// NULL for the defaults of selection.h and optimizer.h; of SPIEL_MA that is SM3. Copied.
    pub selection: *const speft_selection_options,
    pub optimizer: *const speft_optimizer_options,
    /// NULL when there is one process. Copied.
    pub communicator: *const speft_communicator,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_adapter_options",
    ][::core::mem::size_of::<speft_adapter_options>() - 32usize];
    [
        "Alignment of speft_adapter_options",
    ][::core::mem::align_of::<speft_adapter_options>() - 8usize];
    [
        "Offset of field: speft_adapter_options::struct_size",
    ][::core::mem::offset_of!(speft_adapter_options, struct_size) - 0usize];
    [
        "Offset of field: speft_adapter_options::delta_type",
    ][::core::mem::offset_of!(speft_adapter_options, delta_type) - 4usize];
    [
        "Offset of field: speft_adapter_options::selection",
    ][::core::mem::offset_of!(speft_adapter_options, selection) - 8usize];
    [
        "Offset of field: speft_adapter_options::optimizer",
    ][::core::mem::offset_of!(speft_adapter_options, optimizer) - 16usize];
    [
        "Offset of field: speft_adapter_options::communicator",
    ][::core::mem::offset_of!(speft_adapter_options, communicator) - 24usize];
};
unsafe extern "C" {
    pub fn speft_adapter_options_init(options: *mut speft_adapter_options, size: u32);
}
unsafe extern "C" {
    /// Defaults: sparse, float32, whole, group 0.
    pub fn speft_parameter_init(parameter: *mut speft_parameter, size: u32);
}
unsafe extern "C" {
    /** Everything is copied. `count` >= 1, and at least one scalar among them. On success `*adapter` is owned by the
 caller and keeps the context alive. INVALID_ARGUMENT names the parameter and the field; UNSUPPORTED names what this
 version does not have. Parameters are known by their position from here on.

 ```c
     int64_t shape[2] = {384, 384};
     speft_parameter p; speft_parameter_init(&p, sizeof p);
     p.name = "encoder.0.query.weight"; p.shape = shape; p.ndim = 2;
     p.dtype = (speft_dtype){SPEFT_CODE_FLOAT, 32, 1};
     const speft_parameter *all[] = {&p};
     speft_create_adapter(context, &options, all, 1, &adapter, &error);
 ```*/
    pub fn speft_create_adapter(
        context: *mut speft_context,
        options: *const speft_adapter_options,
        parameters: *const *const speft_parameter,
        count: i64,
        adapter: *mut *mut speft_adapter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// Takes NULL. The weights stay as they are, merged or not.
    pub fn speft_destroy_adapter(adapter: *mut speft_adapter);
}
unsafe extern "C" {
    /** Lends the memory of one parameter until it is bound again, unbound with NULL, or the adapter is gone; the structs
 are copied. Nothing is read or written here: only select, step, reselect, merge and unmerge touch the memory, between
 their call and their return. It may be bound to other memory before any call, if the contents have moved with it.
 Shape, type and device must be the parameter's and the context's. Of quantized weights the parameter's type is what
 they are dequantized to where a call takes their values (saliences, the hash of the base in a file), and scales that
 are negative or not finite are refused; while the adapter is attached or merged, dense and quantized weights do not
 take each other's place. UNSUPPORTED: quantized weights of a parameter in a basis.
 While the adapter is merged its memory is claimed, and a binding that overlaps a claim is INVALID_STATE: another
 adapter's, or another parameter's of this one. Where several parameters have moved, perhaps into each other's old
 places, unbind all of them first: NULL gives the claim back.*/
    pub fn speft_bind_weights(
        adapter: *mut speft_adapter,
        parameter: i64,
        weights: *const speft_weights,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// 0 for NULL.
    pub fn speft_count_parameters(adapter: *const speft_adapter) -> i64;
}
unsafe extern "C" {
    /// Fills `*parameter`, whose struct_size the caller has set; its strings and arrays live as long as the adapter.
    pub fn speft_get_parameter(
        adapter: *mut speft_adapter,
        parameter: i64,
        info: *mut speft_parameter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_adapter_state {
    pub struct_size: u32,
    /// 1 after select, or when loaded from a file
    pub selected: i32,
    /// 1 while the weights hold round(θ0+δ), those in a basis too
    pub merged: i32,
    /// SPEFT_SELECT_…
    pub method: i32,
    /// updates so far
    pub steps: i64,
    pub observations: i64,
    /// over all sparse parameters
    pub selected_scalars: i64,
    /// and the dense ones
    pub trained_scalars: i64,
    /// of all sparse parameters together, or of their bases: what density is a fraction of
    pub targeted_scalars: i64,
    /// no longer selected, but changed: dynamic masks
    pub settled_scalars: i64,
    /// the step after which the next one comes (now, when due); 0: none, or one a step
    pub next_reselection: i64,
    /// 1: speft_reselect has to come before the next step
    pub reselection_due: i32,
    /// 1 while steps can be taken: merge.h
    pub attached: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_adapter_state",
    ][::core::mem::size_of::<speft_adapter_state>() - 80usize];
    [
        "Alignment of speft_adapter_state",
    ][::core::mem::align_of::<speft_adapter_state>() - 8usize];
    [
        "Offset of field: speft_adapter_state::struct_size",
    ][::core::mem::offset_of!(speft_adapter_state, struct_size) - 0usize];
    [
        "Offset of field: speft_adapter_state::selected",
    ][::core::mem::offset_of!(speft_adapter_state, selected) - 4usize];
    [
        "Offset of field: speft_adapter_state::merged",
    ][::core::mem::offset_of!(speft_adapter_state, merged) - 8usize];
    [
        "Offset of field: speft_adapter_state::method",
    ][::core::mem::offset_of!(speft_adapter_state, method) - 12usize];
    [
        "Offset of field: speft_adapter_state::steps",
    ][::core::mem::offset_of!(speft_adapter_state, steps) - 16usize];
    [
        "Offset of field: speft_adapter_state::observations",
    ][::core::mem::offset_of!(speft_adapter_state, observations) - 24usize];
    [
        "Offset of field: speft_adapter_state::selected_scalars",
    ][::core::mem::offset_of!(speft_adapter_state, selected_scalars) - 32usize];
    [
        "Offset of field: speft_adapter_state::trained_scalars",
    ][::core::mem::offset_of!(speft_adapter_state, trained_scalars) - 40usize];
    [
        "Offset of field: speft_adapter_state::targeted_scalars",
    ][::core::mem::offset_of!(speft_adapter_state, targeted_scalars) - 48usize];
    [
        "Offset of field: speft_adapter_state::settled_scalars",
    ][::core::mem::offset_of!(speft_adapter_state, settled_scalars) - 56usize];
    [
        "Offset of field: speft_adapter_state::next_reselection",
    ][::core::mem::offset_of!(speft_adapter_state, next_reselection) - 64usize];
    [
        "Offset of field: speft_adapter_state::reselection_due",
    ][::core::mem::offset_of!(speft_adapter_state, reselection_due) - 72usize];
    [
        "Offset of field: speft_adapter_state::attached",
    ][::core::mem::offset_of!(speft_adapter_state, attached) - 76usize];
};
unsafe extern "C" {
    /// Fills `*state`, whose struct_size the caller has set.
    pub fn speft_get_adapter_state(
        adapter: *mut speft_adapter,
        state: *mut speft_adapter_state,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
/// `dense`: dL/dW, shape of the parameter.
pub const SPEFT_GRADIENT_DENSE: i32 = 1;
/** `x` and `dy` of a linear layer: dL/dW[r,c] = sum over tokens of dy[t,r] * x[t,c]. No dense dW is formed after
 the selection.*/
pub const SPEFT_GRADIENT_ACTIVATIONS: i32 = 2;
/// `values`: dL/dW at the mask, in the mask's order.
pub const SPEFT_GRADIENT_VALUES: i32 = 3;
/// [out, in], y = x Wᵀ: torch.nn.Linear, candle's Linear.
pub const SPEFT_LAYOUT_OUT_IN: i32 = 0;
/// [in, out], y = x W: transformers' Conv1D, a JAX kernel.
pub const SPEFT_LAYOUT_IN_OUT: i32 = 1;
/** The tensors are float32, bfloat16 or float16, on the context's device, and free for reuse when the call returns
 (on CUDA in stream order).*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_gradient {
    pub struct_size: u32,
    pub kind: i32,
    /// The contribution is multiplied by it: 1/tokens, or the inverse of a loss scale. 0 stands for 1.
    pub scale: f64,
    pub dense: *const speft_tensor,
    /// [tokens, in] and [tokens, out]. `dy` may be NULL where it is not needed (Wanda).
    pub x: *const speft_tensor,
    pub dy: *const speft_tensor,
    /// [k]
    pub values: *const speft_tensor,
    pub layout: i32,
    /** For observing Fisher scores from activations: int64 [examples + 1] in host memory, the first token of each
 example and the number of tokens at the end. With it the E examples of a batch of weight w count as w/E each, by
 the square of their own gradient, however many the batch has. A parameter has to receive all of an example in one
 piece. Under a loss that is a mean over examples, `scale` is their number. NULL otherwise.*/
    pub example_offsets: *const speft_tensor,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_gradient"][::core::mem::size_of::<speft_gradient>() - 64usize];
    ["Alignment of speft_gradient"][::core::mem::align_of::<speft_gradient>() - 8usize];
    [
        "Offset of field: speft_gradient::struct_size",
    ][::core::mem::offset_of!(speft_gradient, struct_size) - 0usize];
    [
        "Offset of field: speft_gradient::kind",
    ][::core::mem::offset_of!(speft_gradient, kind) - 4usize];
    [
        "Offset of field: speft_gradient::scale",
    ][::core::mem::offset_of!(speft_gradient, scale) - 8usize];
    [
        "Offset of field: speft_gradient::dense",
    ][::core::mem::offset_of!(speft_gradient, dense) - 16usize];
    [
        "Offset of field: speft_gradient::x",
    ][::core::mem::offset_of!(speft_gradient, x) - 24usize];
    [
        "Offset of field: speft_gradient::dy",
    ][::core::mem::offset_of!(speft_gradient, dy) - 32usize];
    [
        "Offset of field: speft_gradient::values",
    ][::core::mem::offset_of!(speft_gradient, values) - 40usize];
    [
        "Offset of field: speft_gradient::layout",
    ][::core::mem::offset_of!(speft_gradient, layout) - 48usize];
    [
        "Offset of field: speft_gradient::example_offsets",
    ][::core::mem::offset_of!(speft_gradient, example_offsets) - 56usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_basis {
    _unused: [u8; 0],
}
/// The shape of the matrices, as a host's weight has it: [out, in], or [in, out].
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_basis_options {
    pub struct_size: u32,
    pub reserved: i32,
    /// 1 or more
    pub rows: i64,
    /// 1 or more
    pub columns: i64,
    /** How many rows V and U have, at most `rows` and `columns`: the leading directions, for matrices whose whole basis
 would be too large. 0: all.*/
    pub row_directions: i64,
    pub column_directions: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_basis_options",
    ][::core::mem::size_of::<speft_basis_options>() - 40usize];
    [
        "Alignment of speft_basis_options",
    ][::core::mem::align_of::<speft_basis_options>() - 8usize];
    [
        "Offset of field: speft_basis_options::struct_size",
    ][::core::mem::offset_of!(speft_basis_options, struct_size) - 0usize];
    [
        "Offset of field: speft_basis_options::reserved",
    ][::core::mem::offset_of!(speft_basis_options, reserved) - 4usize];
    [
        "Offset of field: speft_basis_options::rows",
    ][::core::mem::offset_of!(speft_basis_options, rows) - 8usize];
    [
        "Offset of field: speft_basis_options::columns",
    ][::core::mem::offset_of!(speft_basis_options, columns) - 16usize];
    [
        "Offset of field: speft_basis_options::row_directions",
    ][::core::mem::offset_of!(speft_basis_options, row_directions) - 24usize];
    [
        "Offset of field: speft_basis_options::column_directions",
    ][::core::mem::offset_of!(speft_basis_options, column_directions) - 32usize];
};
unsafe extern "C" {
    pub fn speft_basis_options_init(options: *mut speft_basis_options, size: u32);
}
unsafe extern "C" {
    /// On success `*basis` is owned by the caller and keeps the context alive.
    pub fn speft_create_basis(
        context: *mut speft_context,
        options: *const speft_basis_options,
        basis: *mut *mut speft_basis,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// Takes NULL.
    pub fn speft_destroy_basis(basis: *mut speft_basis);
}
unsafe extern "C" {
    /** Adds one gradient of one matrix: DENSE, or ACTIVATIONS; VALUES are refused. Its `scale` weighs it, by the square.
 INVALID_ARGUMENT, with nothing added, for another shape, a NaN or an infinity.*/
    pub fn speft_observe_basis(
        basis: *mut speft_basis,
        gradient: *const speft_gradient,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Finds U and V from what was observed so far; more can be observed afterwards, and fitted again. Eigenvalues fall; the
 largest |entry| of each vector, the first one among equals, is positive. Where the gradients span fewer directions
 than there are, the others complete the basis and are arbitrary: speft_get_basis_state tells how many there are.
 `progress` may be NULL; it counts the sides, and after a cancelled or failed call U and V are as before.
 INVALID_STATE: no gradient was observed; an adapter trains in it. INVALID_ARGUMENT: all of them were 0.*/
    pub fn speft_fit_basis(
        basis: *mut speft_basis,
        progress: *const speft_progress,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Lends U [column_directions, columns] and V [row_directions, rows], float32 on the context's device, to be read; valid
 as long as the basis, and written anew by the next fit. INVALID_STATE: not fitted since the last gradient.*/
    pub fn speft_get_basis(
        basis: *mut speft_basis,
        u: *mut speft_tensor,
        v: *mut speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_basis_state {
    pub struct_size: u32,
    /// 1: after speft_fit_basis, and no gradient since
    pub fitted: i32,
    /// gradients so far
    pub observations: i64,
    /** What follows is 0 until fitted. How many directions the gradients span: eigenvalues above float32's rounding of
 the largest one.*/
    pub row_directions: i64,
    pub column_directions: i64,
    /// The share of Σ dW² that the rows of V, and those of U, hold: 1 where all directions are kept.
    pub row_share: f64,
    pub column_share: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_basis_state"][::core::mem::size_of::<speft_basis_state>() - 48usize];
    [
        "Alignment of speft_basis_state",
    ][::core::mem::align_of::<speft_basis_state>() - 8usize];
    [
        "Offset of field: speft_basis_state::struct_size",
    ][::core::mem::offset_of!(speft_basis_state, struct_size) - 0usize];
    [
        "Offset of field: speft_basis_state::fitted",
    ][::core::mem::offset_of!(speft_basis_state, fitted) - 4usize];
    [
        "Offset of field: speft_basis_state::observations",
    ][::core::mem::offset_of!(speft_basis_state, observations) - 8usize];
    [
        "Offset of field: speft_basis_state::row_directions",
    ][::core::mem::offset_of!(speft_basis_state, row_directions) - 16usize];
    [
        "Offset of field: speft_basis_state::column_directions",
    ][::core::mem::offset_of!(speft_basis_state, column_directions) - 24usize];
    [
        "Offset of field: speft_basis_state::row_share",
    ][::core::mem::offset_of!(speft_basis_state, row_share) - 32usize];
    [
        "Offset of field: speft_basis_state::column_share",
    ][::core::mem::offset_of!(speft_basis_state, column_share) - 40usize];
};
unsafe extern "C" {
    /// Fills `*state`, whose struct_size the caller has set.
    pub fn speft_get_basis_state(
        basis: *mut speft_basis,
        state: *mut speft_basis_state,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Trains `parameter` in `basis`, which the adapter keeps alive and which is fitted no more until the adapter is gone
 (INVALID_STATE). NULL: the ordinary basis. Only where the method is SPARSEGRAD, which needs one for each of its
 sparse parameters; several may share it.
 The mask, the deltas Δ̃ and gradients of kind VALUES are [row_directions, column_directions] of it, row-major; those
 of other kinds are those of W, and are brought into the basis here. W stays as it is, and Δ̃ beside it: the host's
 layer computes with linear.h. Weight decay pulls Δ̃ to 0, whichever its kind.
 INVALID_STATE: after the selection; after an observation; not fitted; another method. INVALID_ARGUMENT: another
 shape; a dense parameter; a basis of another context.*/
    pub fn speft_bind_basis(
        adapter: *mut speft_adapter,
        parameter: i64,
        basis: *mut speft_basis,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** A new adapter without bases from one with some: of each parameter in a basis the share `density` (in (0, 1]) of its
 scalars with the largest |ΔW|, ΔW = Vᵀ Δ̃ U, as ordinary deltas; other parameters as they are. `*ordinary` is the
 caller's: selected, unmerged and bound to nothing, as after speft_load_adapter, with the method GIVEN_MASK. `*share`
 is how much of Σ ΔW² over all those parameters it keeps; 1 where ΔW is 0. Either may be NULL. The adapter stays as it
 is.
 INVALID_STATE: before the selection; no parameter in a basis; merged; weights not bound, or of a loaded adapter not
 known yet. INVALID_ARGUMENT: fewer scalars of a ΔW are not NaN.*/
    pub fn speft_leave_bases(
        adapter: *mut speft_adapter,
        density: f64,
        ordinary: *mut *mut speft_adapter,
        share: *mut f64,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_linear_options {
    pub struct_size: u32,
    /// SPEFT_LAYOUT_…
    pub layout: i32,
    /// 1: Δ in place of W + Δ, for hosts with a product of their own
    pub delta_only: i32,
    /// 1: added to what the output holds; else that is never read
    pub accumulate: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_linear_options",
    ][::core::mem::size_of::<speft_linear_options>() - 16usize];
    [
        "Alignment of speft_linear_options",
    ][::core::mem::align_of::<speft_linear_options>() - 4usize];
    [
        "Offset of field: speft_linear_options::struct_size",
    ][::core::mem::offset_of!(speft_linear_options, struct_size) - 0usize];
    [
        "Offset of field: speft_linear_options::layout",
    ][::core::mem::offset_of!(speft_linear_options, layout) - 4usize];
    [
        "Offset of field: speft_linear_options::delta_only",
    ][::core::mem::offset_of!(speft_linear_options, delta_only) - 8usize];
    [
        "Offset of field: speft_linear_options::accumulate",
    ][::core::mem::offset_of!(speft_linear_options, accumulate) - 12usize];
};
unsafe extern "C" {
    pub fn speft_linear_options_init(options: *mut speft_linear_options, size: u32);
}
unsafe extern "C" {
    /** y = x (W + Δ)ᵀ: x [tokens, in], y [tokens, out], the caller's, float32, bfloat16 or float16. `options` may be NULL.
 y overlaps no other.*/
    pub fn speft_linear_forward(
        adapter: *mut speft_adapter,
        parameter: i64,
        options: *const speft_linear_options,
        x: *const speft_tensor,
        y: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// dx = dy (W + Δ): dy [tokens, out], dx [tokens, in], the caller's. `options` may be NULL.
    pub fn speft_linear_backward(
        adapter: *mut speft_adapter,
        parameter: i64,
        options: *const speft_linear_options,
        dy: *const speft_tensor,
        dx: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** A batch whose rows are served by different adapters over one base: y[t] = x[t] (W + Δ_a)ᵀ for each row t, Δ_a that of
 parameter parameters[a] of adapters[a], a = choice[t], int64 [tokens] in host memory; −1 for W alone. `adapters` and
 `parameters` are [count], count >= 1. Each adapter is as for speft_linear_forward and, unless `delta_only`, bound to
 the same W (INVALID_ARGUMENT names the first that is not). All are of one context, whose turn this takes. Rows are
 grouped by their adapter, so the work is that of one product with W and one with each Δ. The products with W and
 with Δ are rounded to y's type one by one.*/
    pub fn speft_linear_forward_each(
        adapters: *const *mut speft_adapter,
        parameters: *const i64,
        count: i64,
        options: *const speft_linear_options,
        x: *const speft_tensor,
        choice: *const speft_tensor,
        y: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// k of one parameter: the length of its mask, deltas and gradient. For a dense parameter all of its scalars.
    pub fn speft_get_selected_count(
        adapter: *mut speft_adapter,
        parameter: i64,
        count: *mut i64,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// Writes the strictly increasing flat indices into `indices`, the caller's int64 [k] in host memory.
    pub fn speft_get_mask(
        adapter: *mut speft_adapter,
        parameter: i64,
        indices: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Lends the deltas, [k] in the mask's order, float32 or what speft_adapter_options.delta_type says, on the context's
 device, to be read; of a dense parameter the float32 values that it is trained as. `deltas->shape` points into the
 adapter. Valid until the next select or reselect, or the adapter's end.*/
    pub fn speft_get_deltas(
        adapter: *mut speft_adapter,
        parameter: i64,
        deltas: *mut speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** The age of each selected scalar, the number of updates behind its moments, into `ages`, the caller's int64 [k] in
 host memory, in the mask's order. All are the parameter's number of updates unless they are kept for each weight
 (optimizer.h).*/
    pub fn speft_get_ages(
        adapter: *mut speft_adapter,
        parameter: i64,
        ages: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** What rounding θ0+δ to the weight's type takes from what was learned: Σ |δ − (round(θ0+δ) − θ0)| / Σ |δ| over the
 selected scalars of `parameter`, or of all sparse parameters with −1; 0 when every δ is 0. bfloat16 weights around
 0.02 lose 0.4% of deltas around 1e-2, and a third of those around 1e-4. A dense parameter is refused.
 INVALID_STATE while the original bits are not known: a loaded adapter, before its first merge.*/
    pub fn speft_measure_rounding_loss(
        adapter: *mut speft_adapter,
        parameter: i64,
        share: *mut f64,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
/** The most that an adapter has at one time, in bytes of the context's device, in each part of its life: its own arrays
 and the scratch of the operations that run in it. What the host lends is not in it, nor the copies that a save, a
 load or a merge makes for a moment.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_memory_plan {
    pub struct_size: u32,
    pub reserved: i32,
    /** To be set before the call: the most tokens that one gradient from activations will have; 0 for any number.
 Scratch is bounded, but smaller for few tokens.*/
    pub tokens: i64,
    /** While gradients are observed: two float32 accumulators a sparse parameter, or one where the weight of each
 batch is announced. Given scores and references count as one.*/
    pub observation: u64,
    pub announced_observation: u64,
    /// While `speft_select` runs, after announced observations.
    pub selection: u64,
    /** From the selection on, while gradients arrive and steps are taken. SpIEL-AG: with its candidates, and with x and
 dy of `tokens` a parameter (0: one gradient of 2,048), or one accumulator, held in the first step of a window.*/
    pub training: u64,
    /** While `speft_reselect` runs; 0 where masks do not move. Dynamic masks: with accumulators as in `observation`, and
 with as many settled scalars as settled_limit says, or selected ones without it.*/
    pub reselection: u64,
    /** To be set before the call, for SPARSEGRAD: one pointer a parameter, the options of the basis that it will be
 bound to, NULL for a dense one. Parameters with the same pointer share one basis. NULL: no bases. All of the above
 is then with U and V of each, as adapters keep them when the basis is destroyed.*/
    pub bases: *const *const speft_basis_options,
    /// While bases are made, as long as none is destroyed: all observe, then one after the other is fitted and bound.
    pub fitting: u64,
    /** While `speft_linear_forward` or `speft_linear_backward` runs for one parameter of dense weights, and gradients of
 all the others are held; 0 where no sparse parameter has 2 axes. 0 tokens: 2,048.*/
    pub products: u64,
    /// While an adapter with bases is merged, and as long as it is: with a copy of the weights; 0 without bases.
    pub merging: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_memory_plan"][::core::mem::size_of::<speft_memory_plan>() - 88usize];
    [
        "Alignment of speft_memory_plan",
    ][::core::mem::align_of::<speft_memory_plan>() - 8usize];
    [
        "Offset of field: speft_memory_plan::struct_size",
    ][::core::mem::offset_of!(speft_memory_plan, struct_size) - 0usize];
    [
        "Offset of field: speft_memory_plan::reserved",
    ][::core::mem::offset_of!(speft_memory_plan, reserved) - 4usize];
    [
        "Offset of field: speft_memory_plan::tokens",
    ][::core::mem::offset_of!(speft_memory_plan, tokens) - 8usize];
    [
        "Offset of field: speft_memory_plan::observation",
    ][::core::mem::offset_of!(speft_memory_plan, observation) - 16usize];
    [
        "Offset of field: speft_memory_plan::announced_observation",
    ][::core::mem::offset_of!(speft_memory_plan, announced_observation) - 24usize];
    [
        "Offset of field: speft_memory_plan::selection",
    ][::core::mem::offset_of!(speft_memory_plan, selection) - 32usize];
    [
        "Offset of field: speft_memory_plan::training",
    ][::core::mem::offset_of!(speft_memory_plan, training) - 40usize];
    [
        "Offset of field: speft_memory_plan::reselection",
    ][::core::mem::offset_of!(speft_memory_plan, reselection) - 48usize];
    [
        "Offset of field: speft_memory_plan::bases",
    ][::core::mem::offset_of!(speft_memory_plan, bases) - 56usize];
    [
        "Offset of field: speft_memory_plan::fitting",
    ][::core::mem::offset_of!(speft_memory_plan, fitting) - 64usize];
    [
        "Offset of field: speft_memory_plan::products",
    ][::core::mem::offset_of!(speft_memory_plan, products) - 72usize];
    [
        "Offset of field: speft_memory_plan::merging",
    ][::core::mem::offset_of!(speft_memory_plan, merging) - 80usize];
};
unsafe extern "C" {
    /** Fills `*plan`, whose struct_size, tokens and bases the caller has set. Takes what `speft_create_adapter` takes;
 nothing is allocated on the device. Gradients of sparse parameters are taken to come from activations in the
 weights' types where they have 2 axes, and those of Fisher scores with example_offsets; AdamW's tables are those of
 the default betas, SGD has momentum; Bernoulli draws select what is expected of them. Given masks have no size yet
 and are refused: plan for random ones of the same budget. The mask of MEPROP and SPARSEGRAD is taken to grow to as
 many scalars beside those of a step as settled_limit says, or to twice the budget without it. On quantized weights the
 same is needed; what is not in the plan is that speft_select and speft_reselect then also have the values of one of
 them in the parameter's type (of all that a global ranking reads), and merging a copy of codes and scales.
 INVALID_ARGUMENT: a parameter of SPARSEGRAD without a basis, a basis of another shape, or one with another method.*/
    pub fn speft_plan_memory(
        context: *mut speft_context,
        options: *const speft_adapter_options,
        parameters: *const *const speft_parameter,
        count: i64,
        plan: *mut speft_memory_plan,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Writes round(θ0+δ) into the bound weights. Does nothing when merged already (as after select and every step).
 A parameter in a basis (basis.h) becomes round(W + Vᵀ Δ̃ U), all of it. Of a quantized one the blocks that have a
 delta are dequantized, added to and quantized anew, by the scale that they had or that of their new maximum, whichever
 has the smaller error; the others keep their codes. Deltas that are smaller than half a step between two levels are
 lost (speft_get_requantization). Of both the adapter keeps a copy of all that was there until it is unmerged or
 attached, and cannot be trained meanwhile.
 The first merge after a load keeps the original bits, and refuses a base model other than the one it was trained
 on (INVALID_ARGUMENT, by the hash in the file; nothing is written). Where the original bits are known, after a
 checkpoint's load or an unmerge, a parameter may also hold round(θ0+δ) already: a host that has restored its own
 checkpoint of the model. One in a basis may not, nor a quantized one: they must have their original bits.
 INVALID_STATE: not selected; weights not bound; another adapter is merged into the same memory.*/
    pub fn speft_merge(
        adapter: *mut speft_adapter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Puts what was learned into effect as training needs it, which is how speft_select leaves it: merged, but parameters
 that are trained beside their weights (in a basis, or quantized) have their original bits, and speft_linear_…
 (linear.h) apply their deltas. Does nothing when attached already. Where there is no such parameter it is
 speft_merge. Errors as of speft_merge and speft_unmerge.*/
    pub fn speft_attach(
        adapter: *mut speft_adapter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Writes the original bits back. Does nothing when unmerged already. INVALID_STATE, with nothing written, when a
 weight is no longer what this adapter wrote there: "weights changed behind the adapter".*/
    pub fn speft_unmerge(
        adapter: *mut speft_adapter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
/// What quantizing anew has left of the deltas.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_requantization {
    pub struct_size: u32,
    pub reserved: i32,
    /// scalars with a delta
    pub deltas: i64,
    /// of those, how many have got another code; a new scale alone does not count
    pub changed: i64,
    /// ‖ŵ − w‖ / ‖w‖ over the blocks that were quantized anew: w = dequantized + δ, ŵ as it is dequantized now.
    pub relative_error: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_requantization",
    ][::core::mem::size_of::<speft_requantization>() - 32usize];
    [
        "Alignment of speft_requantization",
    ][::core::mem::align_of::<speft_requantization>() - 8usize];
    [
        "Offset of field: speft_requantization::struct_size",
    ][::core::mem::offset_of!(speft_requantization, struct_size) - 0usize];
    [
        "Offset of field: speft_requantization::reserved",
    ][::core::mem::offset_of!(speft_requantization, reserved) - 4usize];
    [
        "Offset of field: speft_requantization::deltas",
    ][::core::mem::offset_of!(speft_requantization, deltas) - 8usize];
    [
        "Offset of field: speft_requantization::changed",
    ][::core::mem::offset_of!(speft_requantization, changed) - 16usize];
    [
        "Offset of field: speft_requantization::relative_error",
    ][::core::mem::offset_of!(speft_requantization, relative_error) - 24usize];
};
unsafe extern "C" {
    /** Of one quantized parameter, or of all with −1. Fills `*requantization`, whose struct_size the caller has set.
 INVALID_STATE but while merged by speft_merge; INVALID_ARGUMENT for a parameter whose weights are dense.*/
    pub fn speft_get_requantization(
        adapter: *mut speft_adapter,
        parameter: i64,
        requantization: *mut speft_requantization,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
pub const SPEFT_OPTIMIZER_ADAMW: i32 = 1;
pub const SPEFT_OPTIMIZER_SGD: i32 = 2;
pub const SPEFT_OPTIMIZER_SM3: i32 = 3;
pub const SPEFT_OPTIMIZER_LION: i32 = 4;
pub const SPEFT_OPTIMIZER_ADAFACTOR: i32 = 5;
pub const SPEFT_OPTIMIZER_ADAM: i32 = 6;
/// One count of updates for each parameter.
pub const SPEFT_AGE_COMMON: i32 = 0;
/** One for each weight, as masks that move need it, which set it by themselves: 2 bytes a weight, since weights that
 came together are as old.*/
pub const SPEFT_AGE_PER_WEIGHT: i32 = 1;
pub const SPEFT_STATE_FLOAT32: i32 = 0;
/** Half the memory, rounded up or down at random (from the seed, the parameter's name and the number of the step),
 so that small updates are kept on average; the same inputs give the same bits.*/
pub const SPEFT_STATE_BFLOAT16: i32 = 1;
/** A byte and a sixteenth: codes whose steps are finer near 0, in blocks of 64 with a scale each (Dettmers et al.
 2022, dynamic tree quantization). Rounded to nearest. A NaN or an infinity makes its whole block NaN.*/
pub const SPEFT_STATE_BLOCKS8: i32 = 2;
/// Weight decay pulls the delta to 0, and the weight to its pretrained value.
pub const SPEFT_DECAY_TO_ORIGINAL: i32 = 0;
/// Weight decay pulls the weight itself to 0, as torch.optim.AdamW does.
pub const SPEFT_DECAY_TO_ZERO: i32 = 1;
/// To the pretrained value, decoupled, after the update: as SpIEL does. With any optimizer.
pub const SPEFT_DECAY_AFTER_UPDATE: i32 = 2;
/// Fixed when the adapter is created: it decides which state there is.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_optimizer_options {
    pub struct_size: u32,
    pub kind: i32,
    pub age: i32,
    /// SPEFT_STATE_… of AdamW's, Adam's and Lion's moments and SGD's velocity
    pub state: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_optimizer_options",
    ][::core::mem::size_of::<speft_optimizer_options>() - 16usize];
    [
        "Alignment of speft_optimizer_options",
    ][::core::mem::align_of::<speft_optimizer_options>() - 4usize];
    [
        "Offset of field: speft_optimizer_options::struct_size",
    ][::core::mem::offset_of!(speft_optimizer_options, struct_size) - 0usize];
    [
        "Offset of field: speft_optimizer_options::kind",
    ][::core::mem::offset_of!(speft_optimizer_options, kind) - 4usize];
    [
        "Offset of field: speft_optimizer_options::age",
    ][::core::mem::offset_of!(speft_optimizer_options, age) - 8usize];
    [
        "Offset of field: speft_optimizer_options::state",
    ][::core::mem::offset_of!(speft_optimizer_options, state) - 12usize];
};
unsafe extern "C" {
    /// Defaults: ADAMW, COMMON, float32.
    pub fn speft_optimizer_options_init(
        options: *mut speft_optimizer_options,
        size: u32,
    );
}
/// May differ at each step, and between groups of parameters (`speft_parameter.group`).
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_hyperparameters {
    pub struct_size: u32,
    pub decay: i32,
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// SGD's μ, in [0, 1). Its velocity takes memory from the first step with a momentum above 0 on.
    pub momentum: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_hyperparameters",
    ][::core::mem::size_of::<speft_hyperparameters>() - 56usize];
    [
        "Alignment of speft_hyperparameters",
    ][::core::mem::align_of::<speft_hyperparameters>() - 8usize];
    [
        "Offset of field: speft_hyperparameters::struct_size",
    ][::core::mem::offset_of!(speft_hyperparameters, struct_size) - 0usize];
    [
        "Offset of field: speft_hyperparameters::decay",
    ][::core::mem::offset_of!(speft_hyperparameters, decay) - 4usize];
    [
        "Offset of field: speft_hyperparameters::learning_rate",
    ][::core::mem::offset_of!(speft_hyperparameters, learning_rate) - 8usize];
    [
        "Offset of field: speft_hyperparameters::beta1",
    ][::core::mem::offset_of!(speft_hyperparameters, beta1) - 16usize];
    [
        "Offset of field: speft_hyperparameters::beta2",
    ][::core::mem::offset_of!(speft_hyperparameters, beta2) - 24usize];
    [
        "Offset of field: speft_hyperparameters::epsilon",
    ][::core::mem::offset_of!(speft_hyperparameters, epsilon) - 32usize];
    [
        "Offset of field: speft_hyperparameters::weight_decay",
    ][::core::mem::offset_of!(speft_hyperparameters, weight_decay) - 40usize];
    [
        "Offset of field: speft_hyperparameters::momentum",
    ][::core::mem::offset_of!(speft_hyperparameters, momentum) - 48usize];
};
unsafe extern "C" {
    /// Defaults: lr 1e-3, betas 0.9 and 0.999, ε 1e-8, no decay.
    pub fn speft_hyperparameters_init(
        hyperparameters: *mut speft_hyperparameters,
        size: u32,
    );
}
unsafe extern "C" {
    /** Writes codes and absmax of `weights` (float32, bfloat16 or float16, all finite) into the caller's tensors, which
 `quantized` names; with absmax_absmax, the three of the second quantization too. `levels` and `absmax_levels` are
 read. Each weight gets the nearest level. A block of zeros has an absmax of 0 (1e-38 where it is a short last one of
 4 bits) and is 0 again afterwards.*/
    pub fn speft_quantize(
        context: *mut speft_context,
        weights: *const speft_tensor,
        quantized: *const speft_weights,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// `weights`: float32, bfloat16 or float16, the caller's, in the shape that was quantized.
    pub fn speft_dequantize(
        context: *mut speft_context,
        quantized: *const speft_weights,
        weights: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** y = x Wᵀ with a quantized W [out, in], or [in, out] with that layout, of which no dense copy is made: x [tokens, in],
 y [tokens, out], the caller's, float32, bfloat16 or float16. `options` as in linear.h, or NULL; `delta_only` must be
 0. Layers that an adapter trains are speft_linear_forward's.*/
    pub fn speft_quantized_forward(
        context: *mut speft_context,
        quantized: *const speft_weights,
        options: *const speft_linear_options,
        x: *const speft_tensor,
        y: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// dx = dy W.
    pub fn speft_quantized_backward(
        context: *mut speft_context,
        quantized: *const speft_weights,
        options: *const speft_linear_options,
        dy: *const speft_tensor,
        dx: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
/// Every scalar with the same probability, from the seed and the parameter's name. SpaRTA.
pub const SPEFT_SELECT_RANDOM: i32 = 1;
/// |θ|
pub const SPEFT_SELECT_MAGNITUDE: i32 = 2;
/// |g|: salience SPEFT, "gradient".
pub const SPEFT_SELECT_GRADIENT: i32 = 3;
/// |g θ|: "SNIP".
pub const SPEFT_SELECT_SNIP: i32 = 4;
/// The masks are given with `speft_set_mask`.
pub const SPEFT_SELECT_GIVEN_MASK: i32 = 5;
/// The scores are given with `speft_set_scores`; the largest are selected.
pub const SPEFT_SELECT_GIVEN_SCORES: i32 = 6;
/// −g θ: "FORCE".
pub const SPEFT_SELECT_FORCE: i32 = 7;
/// (g θ)²: "Taylor-FO". Ranked by |g θ|, which ranks alike and does not underflow.
pub const SPEFT_SELECT_TAYLOR_FO: i32 = 8;
/** Σ w g² / Σ w with g the gradient of one observation: exact per-example Fisher information with batches of one, or
 from activations with `speft_gradient.example_offsets` at any batch size. Else that of batch gradients.*/
pub const SPEFT_SELECT_FISHER: i32 = 9;
/** g |θ|, where the host observes g = ∂R/∂|θ|, R the sum of the outputs of the network with all weights replaced by
 their absolute values and its non-linearities taken out: "SynFlow". Such a g is 0 or more; ranked by |g θ|.*/
pub const SPEFT_SELECT_SYNFLOW: i32 = 10;
/** −(H ḡ) θ, where the host observes Hessian-vector products with its mean gradient ḡ in the place of gradients:
 "GRaSP", with the paper's sign.*/
pub const SPEFT_SELECT_GRASP: i32 = 11;
/// (H ḡ) θ: the sign of the public code, and of the original GRaSP.
pub const SPEFT_SELECT_GRASP_CODE: i32 = 12;
/** |θ − θ0|, θ0 given with `speft_set_reference`: LT-SFT (Ansell et al. 2022). Selecting writes θ0 back into all
 sparse parameters; the deltas start at 0.*/
pub const SPEFT_SELECT_WEIGHT_CHANGE: i32 = 13;
/** |entry| of the best approximation of the weight matrix of rank `approximation_rank`: LIFT (Liu et al. 2025).
 Parameters of 2 axes or more; the first are the rows.*/
pub const SPEFT_SELECT_LOW_RANK: i32 = 14;
/** |θ| ‖x‖, x the input feature that the weight multiplies, over all observed tokens: Wanda (Sun et al. 2024).
 From ACTIVATIONS only, of which `dy` may be NULL.*/
pub const SPEFT_SELECT_WANDA: i32 = 15;
/// Masks that move by accumulated gradients: SpIEL-AG (Ansell et al. 2024). Starts from a random mask.
pub const SPEFT_SELECT_SPIEL_AG: i32 = 16;
/// Masks that move by the second moments of SM3, which it requires: SpIEL-MA. Starts from a random mask.
pub const SPEFT_SELECT_SPIEL_MA: i32 = 17;
/// The largest |V dW Uᵀ| of each step's own gradient, in a basis (basis.h): SparseGrad (Chekalina et al. 2024).
pub const SPEFT_SELECT_SPARSEGRAD: i32 = 18;
/// The largest |g| of each step's own gradient: the same without a basis, after MeProp (Sun et al. 2017).
pub const SPEFT_SELECT_MEPROP: i32 = 19;
/// −|θ|
pub const SPEFT_SELECT_SMALLEST_MAGNITUDE: i32 = 20;
/// What `speft_selection_options.score` computes.
pub const SPEFT_SELECT_SCORE_FUNCTION: i32 = 21;
/** `speft_selection_options.method`. The numbers are part of the file format and never reused.
 θ is the weight; g the mean of what was observed, Σ w g / Σ w. Sources: "salience SPEFT" is Liu et al. 2024,
 table 1.*/
/** One ranking over all sparse parameters. Random masks: the budget is shared out in proportion to the sizes, by
 largest remainder.*/
pub const SPEFT_SCOPE_GLOBAL: i32 = 0;
/// The same density for each.
pub const SPEFT_SCOPE_PER_TENSOR: i32 = 1;
/// The same density for each row: each index of a parameter's first axis. Parameters of 2 axes or more.
pub const SPEFT_SCOPE_PER_ROW: i32 = 2;
/// Exactly k of N, without replacement.
pub const SPEFT_RANDOM_EXACT: i32 = 0;
/** Each scalar by itself with probability `density`: k varies. A draw that selects none at all is refused
 (INVALID_ARGUMENT).*/
pub const SPEFT_RANDOM_BERNOULLI: i32 = 1;
/// Of signed gradients, the absolute value after it: the public code of salience SPEFT.
pub const SPEFT_MEAN_SIGNED: i32 = 0;
/// Σ w |g| / Σ w, for GRADIENT and SNIP: as the paper prints SNIP.
pub const SPEFT_MEAN_OF_ABSOLUTES: i32 = 1;
/// LINEAR where there are total_steps, else CONSTANT
pub const SPEFT_SCHEDULE_DEFAULT: i32 = 0;
/// ⌊k·ξ·(T−t)/T⌋, exactly
pub const SPEFT_SCHEDULE_LINEAR: i32 = 1;
/// ⌊k·ξ/2·(1 + cos(π t/T))⌋
pub const SPEFT_SCHEDULE_COSINE: i32 = 2;
/// ⌊k·ξ⌋
pub const SPEFT_SCHEDULE_CONSTANT: i32 = 3;
/// none: the masks of t = γ stay
pub const SPEFT_SCHEDULE_NONE: i32 = 4;
/** `speft_schedule_options.schedule`: how many of the k selected scalars SpIEL replaces at step t. It is all k at t = γ,
 the first time, and afterwards:*/
/// the least |φ|
pub const SPEFT_DROP_MAGNITUDE: i32 = 0;
/// the least |φ − φ0|, φ0 = φ after the last reselection: SpIEL, algorithm 1. 4 bytes a weight
pub const SPEFT_DROP_CHANGE: i32 = 1;
/** How masks move while training. Counted in steps t = 1, 2, …; nothing moves at or after T.

 SpIEL: a reselection is due after step t = γ + n·S, n = 0, 1, …: the q of the schedule with the least |φ| are dropped
 and regain the bits of θ0, and q others grow with φ = 0.
   AG: the window is the γ steps up to it. Its first step fixes K candidates: the largest |g| among the scalars that
 are not selected, g the gradient of that whole step, scaled and clipped as it was. The mean gradient ḡ of each over
 the window ranks them by |ḡ|. The grown start at age γ with the moments that a bias-corrected mean over the window
 gives: m = (1−β1^γ)·ḡ and v = (1−β2^γ)·Σg²/γ. From activations the first step's x and dy are copied until
 `speft_step`, and no dense gradient is formed; dense gradients are added up over that one step.
   MA: grows by √r_i·√c_j of SM3 among the scalars that were not selected before the drop. It has no window; γ only
 says when the first reselection is.

 SPARSEGRAD and MEPROP: the mask is empty at first. Once the whole gradient of a step is accumulated, and before
 speft_get_gradient, speft_clip_gradient and speft_step, `speft_reselect` selects the k largest |g| of it. The mask is
 the union of what was selected so far, with δ = 0 for what is new; the gradient of the step is 0 in the rest of it.
 AdamW and Adam, which alone are taken, are lazy: a weight whose gradient is 0 does not move, nor its moments, and its
 age counts its own updates (up to 65,535). Until the reselection x and dy of each layer are copied, or dense
 gradients added up. With SPEFT_SCHEDULE_NONE the mask is chosen once instead, by |ḡ| of observations, for any
 optimizer.

 Any other method but GIVEN_MASK, GIVEN_SCORES and WEIGHT_CHANGE: dynamic masks. After each step t = n·S the host
 observes again, where the method needs it, and `speft_reselect` selects anew, by the weights as trained; random masks
 draw anew. Scalars that leave stay as trained: they become *settled*, with their original bits and deltas, are saved
 and unmerged with the others, and keep their delta when they are selected again. The optimizer starts afresh for the
 sparse parameters. Decay toward the original goes on pulling to θ0.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_schedule_options {
    pub struct_size: u32,
    /// SPEFT_SCHEDULE_…, SpIEL's; NONE also of SPARSEGRAD and MEPROP
    pub schedule: i32,
    /// T; 0: not known, the rate stays
    pub total_steps: i64,
    /// S; 0: 20 for SpIEL, or T where that is less; fixed masks for other methods. 0 or 1 of SPARSEGRAD and MEPROP.
    pub reselect_every: i64,
    /// γ in [1, S]; 0: 5, or S where that is less. SpIEL's
    pub window: i64,
    /// ξ in (0, 1]; 0: 0.2. SpIEL's
    pub rate: f64,
    /// K of all parameters together, at least k; 0: k. AG's
    pub candidates: i64,
    /// SPEFT_DROP_…, SpIEL's
    pub drop: i32,
    /// 1: with dynamic masks, scalars that stay selected keep their moments and ages. SpIEL always does.
    pub keep_moments: i32,
    /** The most settled scalars, above 0: of more, those with the least |δ| regain the bits of θ0. Of SPARSEGRAD and
 MEPROP: the most scalars of the mask beside those of the step; others leave it with their moments, of equal |δ|
 the first. 0: no limit.*/
    pub settled_limit: i64,
    /// 1: speft_get_moved tells what the last reselection has moved: 4 bytes for each dropped and each grown scalar.
    pub track_moves: i32,
    pub reserved: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_schedule_options",
    ][::core::mem::size_of::<speft_schedule_options>() - 72usize];
    [
        "Alignment of speft_schedule_options",
    ][::core::mem::align_of::<speft_schedule_options>() - 8usize];
    [
        "Offset of field: speft_schedule_options::struct_size",
    ][::core::mem::offset_of!(speft_schedule_options, struct_size) - 0usize];
    [
        "Offset of field: speft_schedule_options::schedule",
    ][::core::mem::offset_of!(speft_schedule_options, schedule) - 4usize];
    [
        "Offset of field: speft_schedule_options::total_steps",
    ][::core::mem::offset_of!(speft_schedule_options, total_steps) - 8usize];
    [
        "Offset of field: speft_schedule_options::reselect_every",
    ][::core::mem::offset_of!(speft_schedule_options, reselect_every) - 16usize];
    [
        "Offset of field: speft_schedule_options::window",
    ][::core::mem::offset_of!(speft_schedule_options, window) - 24usize];
    [
        "Offset of field: speft_schedule_options::rate",
    ][::core::mem::offset_of!(speft_schedule_options, rate) - 32usize];
    [
        "Offset of field: speft_schedule_options::candidates",
    ][::core::mem::offset_of!(speft_schedule_options, candidates) - 40usize];
    [
        "Offset of field: speft_schedule_options::drop",
    ][::core::mem::offset_of!(speft_schedule_options, drop) - 48usize];
    [
        "Offset of field: speft_schedule_options::keep_moments",
    ][::core::mem::offset_of!(speft_schedule_options, keep_moments) - 52usize];
    [
        "Offset of field: speft_schedule_options::settled_limit",
    ][::core::mem::offset_of!(speft_schedule_options, settled_limit) - 56usize];
    [
        "Offset of field: speft_schedule_options::track_moves",
    ][::core::mem::offset_of!(speft_schedule_options, track_moves) - 64usize];
    [
        "Offset of field: speft_schedule_options::reserved",
    ][::core::mem::offset_of!(speft_schedule_options, reserved) - 68usize];
};
/** Scores of the host's own. Called once for each sparse parameter while `speft_select` (or `speft_reselect`) runs, in
 their order. `weights` are the bound ones; `gradient` the float32 mean of the observations, or NULL where there were
 none; both have the parameter's shape and are to be read. `scores`, float32 of the same shape, is to be filled. All
 lie on the context's device. Anything but 0 ends the selection with CANCELLED. Calls into that context get BUSY.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_score_function {
    pub struct_size: u32,
    pub reserved: i32,
    pub compute: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            parameter: i64,
            weights: *const speft_tensor,
            gradient: *const speft_tensor,
            scores: *const speft_tensor,
        ) -> i32,
    >,
    pub user: *mut ::core::ffi::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_score_function",
    ][::core::mem::size_of::<speft_score_function>() - 24usize];
    [
        "Alignment of speft_score_function",
    ][::core::mem::align_of::<speft_score_function>() - 8usize];
    [
        "Offset of field: speft_score_function::struct_size",
    ][::core::mem::offset_of!(speft_score_function, struct_size) - 0usize];
    [
        "Offset of field: speft_score_function::reserved",
    ][::core::mem::offset_of!(speft_score_function, reserved) - 4usize];
    [
        "Offset of field: speft_score_function::compute",
    ][::core::mem::offset_of!(speft_score_function, compute) - 8usize];
    [
        "Offset of field: speft_score_function::user",
    ][::core::mem::offset_of!(speft_score_function, user) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_selection_options {
    pub struct_size: u32,
    pub method: i32,
    pub scope: i32,
    pub random: i32,
    /** Selected scalars over all scalars of the sparse parameters, in (0, 1]: k = ⌊density·N + 1e-6⌋, at least 1; of
 all together under the global scope, of each under per-tensor, of each row under per-row. Exactly one of
 `density`, `budget` and `rank` is set, but for given masks, which need none.*/
    pub density: f64,
    /// k itself: of all together under the global scope, of each under per-tensor, of each row under per-row.
    pub budget: i64,
    /// For random masks.
    pub seed: u64,
    /// NULL: SpIEL's defaults; masks of other methods stay. Copied.
    pub schedule: *const speft_schedule_options,
    /** As many scalars as low-rank factors of this rank would have: rank·(rows + columns) for each parameter, whose
 first axis are the rows; their sum under the global scope. Not with per-row.*/
    pub rank: i64,
    /** Above 0: `density` is a fraction of this many scalars, those of the whole model say, frozen ones included.
 Density·model_scalars must not be more than the sparse parameters have.*/
    pub model_scalars: i64,
    /// Of LOW_RANK, 1 or more; where a matrix has fewer rows or columns, that many. 0: 128.
    pub approximation_rank: i64,
    /// Of SCORE_FUNCTION. Copied.
    pub score: *const speft_score_function,
    /// SPEFT_MEAN_…
    pub mean: i32,
    pub reserved: i32,
    /** Of SPARSEGRAD and MEPROP, where each step selects: of the k largest |g| those of at least this size, in a step
 whose gradient has fewer; 0 or more. The gradient is as accumulated, before any clipping.*/
    pub threshold: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_selection_options",
    ][::core::mem::size_of::<speft_selection_options>() - 96usize];
    [
        "Alignment of speft_selection_options",
    ][::core::mem::align_of::<speft_selection_options>() - 8usize];
    [
        "Offset of field: speft_selection_options::struct_size",
    ][::core::mem::offset_of!(speft_selection_options, struct_size) - 0usize];
    [
        "Offset of field: speft_selection_options::method",
    ][::core::mem::offset_of!(speft_selection_options, method) - 4usize];
    [
        "Offset of field: speft_selection_options::scope",
    ][::core::mem::offset_of!(speft_selection_options, scope) - 8usize];
    [
        "Offset of field: speft_selection_options::random",
    ][::core::mem::offset_of!(speft_selection_options, random) - 12usize];
    [
        "Offset of field: speft_selection_options::density",
    ][::core::mem::offset_of!(speft_selection_options, density) - 16usize];
    [
        "Offset of field: speft_selection_options::budget",
    ][::core::mem::offset_of!(speft_selection_options, budget) - 24usize];
    [
        "Offset of field: speft_selection_options::seed",
    ][::core::mem::offset_of!(speft_selection_options, seed) - 32usize];
    [
        "Offset of field: speft_selection_options::schedule",
    ][::core::mem::offset_of!(speft_selection_options, schedule) - 40usize];
    [
        "Offset of field: speft_selection_options::rank",
    ][::core::mem::offset_of!(speft_selection_options, rank) - 48usize];
    [
        "Offset of field: speft_selection_options::model_scalars",
    ][::core::mem::offset_of!(speft_selection_options, model_scalars) - 56usize];
    [
        "Offset of field: speft_selection_options::approximation_rank",
    ][::core::mem::offset_of!(speft_selection_options, approximation_rank) - 64usize];
    [
        "Offset of field: speft_selection_options::score",
    ][::core::mem::offset_of!(speft_selection_options, score) - 72usize];
    [
        "Offset of field: speft_selection_options::mean",
    ][::core::mem::offset_of!(speft_selection_options, mean) - 80usize];
    [
        "Offset of field: speft_selection_options::reserved",
    ][::core::mem::offset_of!(speft_selection_options, reserved) - 84usize];
    [
        "Offset of field: speft_selection_options::threshold",
    ][::core::mem::offset_of!(speft_selection_options, threshold) - 88usize];
};
unsafe extern "C" {
    /// Defaults: GRADIENT, GLOBAL, EXACT; density, budget and rank are left 0 for the caller to choose.
    pub fn speft_selection_options_init(
        options: *mut speft_selection_options,
        size: u32,
    );
}
unsafe extern "C" {
    pub fn speft_schedule_options_init(options: *mut speft_schedule_options, size: u32);
}
unsafe extern "C" {
    /** Announces the weight w > 0 of the batch whose gradients follow: its number of examples, say; 1 for equal batches.
 Optional: an announced batch is added to the mean as it arrives, one float32 accumulator a sparse parameter; one
 that is not needs a second accumulator until `speft_finish_observation` tells its weight.
 INVALID_STATE after `speft_select`, unless masks are dynamic, or when a batch is open.*/
    pub fn speft_begin_observation(
        adapter: *mut speft_adapter,
        weight: f64,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Adds `gradient` to what parameter `parameter` has received in this batch. Accepted and dropped where the method
 needs no gradients; ignored for dense parameters. A gradient of 0 tokens counts as received. VALUES are refused:
 they belong to a mask. INVALID_STATE after `speft_select`, unless masks are dynamic.*/
    pub fn speft_observe(
        adapter: *mut speft_adapter,
        parameter: i64,
        gradient: *const speft_gradient,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Closes the batch. `weight` is w, or 0 for the announced one; another than the announced one is refused.
 INVALID_STATE when a sparse parameter received nothing in this batch; the message names it, and the batch stays
 open.*/
    pub fn speft_finish_observation(
        adapter: *mut speft_adapter,
        weight: f64,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Forgets all that was observed, an open batch included: after a backward pass that failed half-way, say.
 INVALID_STATE after `speft_select`, unless masks are dynamic.*/
    pub fn speft_clear_observations(
        adapter: *mut speft_adapter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** For GIVEN_MASK: strictly increasing flat indices into the whole parameter, int64 [k], k >= 0, in host memory.
 Copied. INVALID_STATE after `speft_select`.*/
    pub fn speft_set_mask(
        adapter: *mut speft_adapter,
        parameter: i64,
        indices: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** For GIVEN_SCORES: float32, shape of the parameter, on the context's device. Copied. INVALID_STATE after
 `speft_select`.*/
    pub fn speft_set_scores(
        adapter: *mut speft_adapter,
        parameter: i64,
        scores: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** For WEIGHT_CHANGE: θ0, of the parameter's type and shape, on the context's device. Copied. INVALID_STATE after
 `speft_select`.*/
    pub fn speft_set_reference(
        adapter: *mut speft_adapter,
        parameter: i64,
        original: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Chooses the masks, sets every delta to 0, and frees what the observation needed. The weights of all parameters
 must be bound: their selected bits are kept, and from here on they equal round(θ0+δ). On failure the observations
 are still there and no mask is.
 INVALID_STATE: already selected; no observation where the method needs one; a batch is open; weights are not
 bound, or another adapter is merged into the same memory. INVALID_ARGUMENT: fewer scalars can be selected (scores
 that are not NaN) than the budget asks for. `progress` may be NULL.*/
    pub fn speft_select(
        adapter: *mut speft_adapter,
        progress: *const speft_progress,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
/// What a reselection moved.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_reselection {
    pub struct_size: u32,
    /// 0: none was due, and all below is 0
    pub due: i32,
    /// after which it came
    pub step: i64,
    /// scalars that are no longer selected; with dynamic masks they are settled
    pub dropped: i64,
    /// scalars that are newly selected
    pub grown: i64,
    /// scalars of the settled set, now
    pub settled: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_reselection"][::core::mem::size_of::<speft_reselection>() - 40usize];
    [
        "Alignment of speft_reselection",
    ][::core::mem::align_of::<speft_reselection>() - 8usize];
    [
        "Offset of field: speft_reselection::struct_size",
    ][::core::mem::offset_of!(speft_reselection, struct_size) - 0usize];
    [
        "Offset of field: speft_reselection::due",
    ][::core::mem::offset_of!(speft_reselection, due) - 4usize];
    [
        "Offset of field: speft_reselection::step",
    ][::core::mem::offset_of!(speft_reselection, step) - 8usize];
    [
        "Offset of field: speft_reselection::dropped",
    ][::core::mem::offset_of!(speft_reselection, dropped) - 16usize];
    [
        "Offset of field: speft_reselection::grown",
    ][::core::mem::offset_of!(speft_reselection, grown) - 24usize];
    [
        "Offset of field: speft_reselection::settled",
    ][::core::mem::offset_of!(speft_reselection, settled) - 32usize];
};
unsafe extern "C" {
    /** Chooses again while training. To be called after every step where masks move: it does nothing when none is due
 (speft_adapter_state.reselection_due), and the next step is refused when one is and was not made. What has been
 accumulated is cleared. `progress` and `moved` (whose struct_size the caller has set) may be
 NULL. INVALID_STATE: not selected; unmerged; weights not bound or changed behind the adapter; no observation where
 the method needs one. INVALID_ARGUMENT: fewer scalars can be selected than are asked for. The masks and weights are
 as before then.*/
    pub fn speft_reselect(
        adapter: *mut speft_adapter,
        progress: *const speft_progress,
        moved: *mut speft_reselection,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
pub const SPEFT_MOVED_DROPPED: i32 = 0;
pub const SPEFT_MOVED_GROWN: i32 = 1;
unsafe extern "C" {
    /** The flat indices of one parameter that the last reselection has dropped or grown, rising. `*count` (may be NULL) is
 how many; `indices` (NULL: only count) is the caller's int64 [count] in host memory. None before the first one, and
 of a loaded adapter. INVALID_STATE before the selection, and where speft_schedule_options.track_moves is not set.*/
    pub fn speft_get_moved(
        adapter: *mut speft_adapter,
        parameter: i64,
        which: i32,
        count: *mut i64,
        indices: *const speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
/// float32 deltas: a reload is identical.
pub const SPEFT_FORMAT_EXACT: i32 = 0;
/** bfloat16 deltas, to nearest even: 2 bytes a weight less. What is lost is all but 8 significant bits of each
 delta; a merged 16-bit weight seldom differs where the delta is small beside it, else in its last places. Dense
 parameters are stored in the weight's own type and merge to the same bits.*/
pub const SPEFT_FORMAT_COMPACT: i32 = 1;
/** Takes the file's bytes in order, in pieces of any size; returns 0, or an errno that ends the call (IO). What it has
 taken before is the host's to discard when the call fails. It must not call into libspeft (BUSY).*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_writer {
    pub struct_size: u32,
    pub user: *mut ::core::ffi::c_void,
    pub write: ::core::option::Option<
        unsafe extern "C" fn(
            user: *mut ::core::ffi::c_void,
            bytes: *const ::core::ffi::c_void,
            count: u64,
        ) -> i32,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of speft_writer"][::core::mem::size_of::<speft_writer>() - 24usize];
    ["Alignment of speft_writer"][::core::mem::align_of::<speft_writer>() - 8usize];
    [
        "Offset of field: speft_writer::struct_size",
    ][::core::mem::offset_of!(speft_writer, struct_size) - 0usize];
    [
        "Offset of field: speft_writer::user",
    ][::core::mem::offset_of!(speft_writer, user) - 8usize];
    [
        "Offset of field: speft_writer::write",
    ][::core::mem::offset_of!(speft_writer, write) - 16usize];
};
/// How a file is written. With a `writer` it goes there and `path` is NULL. `progress` may be NULL and counts bytes.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_save_options {
    pub struct_size: u32,
    pub format: i32,
    pub writer: *const speft_writer,
    pub progress: *const speft_progress,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_save_options",
    ][::core::mem::size_of::<speft_save_options>() - 24usize];
    [
        "Alignment of speft_save_options",
    ][::core::mem::align_of::<speft_save_options>() - 8usize];
    [
        "Offset of field: speft_save_options::struct_size",
    ][::core::mem::offset_of!(speft_save_options, struct_size) - 0usize];
    [
        "Offset of field: speft_save_options::format",
    ][::core::mem::offset_of!(speft_save_options, format) - 4usize];
    [
        "Offset of field: speft_save_options::writer",
    ][::core::mem::offset_of!(speft_save_options, writer) - 8usize];
    [
        "Offset of field: speft_save_options::progress",
    ][::core::mem::offset_of!(speft_save_options, progress) - 16usize];
};
unsafe extern "C" {
    pub fn speft_save_options_init(options: *mut speft_save_options, size: u32);
}
unsafe extern "C" {
    /** Masks, deltas, names, shapes, options and the base's hash; not the optimizer's state. `path` is UTF-8; `options` may
 be NULL. INVALID_STATE before the selection. IO with errno when it cannot be written: the old file is untouched.*/
    pub fn speft_save_adapter(
        adapter: *mut speft_adapter,
        options: *const speft_save_options,
        path: *const ::core::ffi::c_char,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
/** How a file is read: from `path`, or where `bytes` is not NULL from these `size` bytes, which are the file's content,
 and `path` is NULL. `progress` may be NULL and counts bytes.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_load_options {
    pub struct_size: u32,
    pub reserved: i32,
    pub progress: *const speft_progress,
    pub bytes: *const ::core::ffi::c_void,
    pub size: u64,
    /** The score function of a checkpoint whose masks move by one: a file has none, and without it a reselection is
 INVALID_STATE. Ignored for any other; copied.*/
    pub score: *const speft_score_function,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_load_options",
    ][::core::mem::size_of::<speft_load_options>() - 40usize];
    [
        "Alignment of speft_load_options",
    ][::core::mem::align_of::<speft_load_options>() - 8usize];
    [
        "Offset of field: speft_load_options::struct_size",
    ][::core::mem::offset_of!(speft_load_options, struct_size) - 0usize];
    [
        "Offset of field: speft_load_options::reserved",
    ][::core::mem::offset_of!(speft_load_options, reserved) - 4usize];
    [
        "Offset of field: speft_load_options::progress",
    ][::core::mem::offset_of!(speft_load_options, progress) - 8usize];
    [
        "Offset of field: speft_load_options::bytes",
    ][::core::mem::offset_of!(speft_load_options, bytes) - 16usize];
    [
        "Offset of field: speft_load_options::size",
    ][::core::mem::offset_of!(speft_load_options, size) - 24usize];
    [
        "Offset of field: speft_load_options::score",
    ][::core::mem::offset_of!(speft_load_options, score) - 32usize];
};
unsafe extern "C" {
    pub fn speft_load_options_init(options: *mut speft_load_options, size: u32);
}
unsafe extern "C" {
    /** A new adapter with the file's parameters, masks and deltas: selected, unmerged, not bound. Bind every parameter
 (`speft_get_parameter` tells them), then `speft_merge`. It can be trained on: the optimizer starts afresh, after a
 checkpoint too. `options` may be NULL. IO when it cannot be read; CORRUPT when it is not such a file, or a bit of it
 has flipped; UNSUPPORTED when it is of another format.*/
    pub fn speft_load_adapter(
        context: *mut speft_context,
        options: *const speft_load_options,
        path: *const ::core::ffi::c_char,
        adapter: *mut *mut speft_adapter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** A checkpoint is an adapter's file with what training needs beside it: the original bits, the optimizer's state, what
 has been accumulated since the last clear. Saving one changes nothing; resuming from it is bit for bit as if training
 had never stopped, in the middle of an accumulation too. It is always exact: SPEFT_FORMAT_COMPACT is
 INVALID_ARGUMENT. Otherwise as `speft_save_adapter`.*/
    pub fn speft_save_checkpoint(
        adapter: *mut speft_adapter,
        options: *const speft_save_options,
        path: *const ::core::ffi::c_char,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** The adapter of a checkpoint, with its training state; selected, unmerged, not bound. `speft_merge` takes weights in
 either state, the original bits or the merged ones, which is what a host's own checkpoint of its model holds; in a
 basis the original ones alone. What
 the host passes at each step (learning rates, scale) is the host's to restore. INVALID_ARGUMENT for a file that
 `speft_save_adapter` wrote; otherwise as `speft_load_adapter`.*/
    pub fn speft_load_checkpoint(
        context: *mut speft_context,
        options: *const speft_load_options,
        path: *const ::core::ffi::c_char,
        adapter: *mut *mut speft_adapter,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Adds `gradient` to the k values that parameter `parameter` has accumulated; several add up. Meant to be called from
 the host's backward pass as each layer's gradient arrives. A dense parameter takes DENSE and ACTIVATIONS.
 INVALID_STATE before the selection.*/
    pub fn speft_accumulate(
        adapter: *mut speft_adapter,
        parameter: i64,
        gradient: *const speft_gradient,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** Lends the accumulated values, float32 [k] on the context's device, to be read and written: clipping, all-reduce,
 unscaling. Valid until the next select or reselect, or the adapter's end. `gradient->shape` points into the
 adapter. When nothing has been accumulated since the last clear the values are zeros, and writing them does not
 count as a gradient. In the window of SpIEL-AG what the host does to all values of a parameter alike, unscaling and
 clipping, is done to its candidates too: by what became of the norm.*/
    pub fn speft_get_gradient(
        adapter: *mut speft_adapter,
        parameter: i64,
        gradient: *mut speft_tensor,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// Forgets what `parameter` has accumulated; −1: all parameters.
    pub fn speft_clear_gradient(
        adapter: *mut speft_adapter,
        parameter: i64,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /** The 2-norm over all that was accumulated, sparse and dense together, summed in float64 in an order that does not
 depend on threads; and where it is above `max_norm` > 0, every value times max_norm/(norm + 1e-6), as
 torch.nn.utils.clip_grad_norm_ does. `*norm` (may be NULL) is the norm before. `max_norm` = +inf only measures;
 otherwise a norm that is not finite is INVALID_ARGUMENT, and nothing is scaled.*/
    pub fn speft_clip_gradient(
        adapter: *mut speft_adapter,
        max_norm: f64,
        norm: *mut f64,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct speft_step_options {
    pub struct_size: u32,
    /// 1: keep the accumulated gradient after the step, for hosts that clear by themselves.
    pub keep_gradient: i32,
    /// One for each group, [group_count]; NULL: the defaults of optimizer.h for all.
    pub groups: *const *const speft_hyperparameters,
    pub group_count: i32,
    /** A parameter that has received a gradient before, but none since the last clear, stays as it is. One that never
 has since the selection is an error that names it, unless this is 1.*/
    pub allow_missing: i32,
    /// Multiplies every gradient; 0 stands for 1.
    pub gradient_scale: f64,
    /** Device memory with learning rates, scale and skip flag, for captured CUDA graphs. UNSUPPORTED in this version:
 must be NULL.*/
    pub control: *const speft_tensor,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of speft_step_options",
    ][::core::mem::size_of::<speft_step_options>() - 40usize];
    [
        "Alignment of speft_step_options",
    ][::core::mem::align_of::<speft_step_options>() - 8usize];
    [
        "Offset of field: speft_step_options::struct_size",
    ][::core::mem::offset_of!(speft_step_options, struct_size) - 0usize];
    [
        "Offset of field: speft_step_options::keep_gradient",
    ][::core::mem::offset_of!(speft_step_options, keep_gradient) - 4usize];
    [
        "Offset of field: speft_step_options::groups",
    ][::core::mem::offset_of!(speft_step_options, groups) - 8usize];
    [
        "Offset of field: speft_step_options::group_count",
    ][::core::mem::offset_of!(speft_step_options, group_count) - 16usize];
    [
        "Offset of field: speft_step_options::allow_missing",
    ][::core::mem::offset_of!(speft_step_options, allow_missing) - 20usize];
    [
        "Offset of field: speft_step_options::gradient_scale",
    ][::core::mem::offset_of!(speft_step_options, gradient_scale) - 24usize];
    [
        "Offset of field: speft_step_options::control",
    ][::core::mem::offset_of!(speft_step_options, control) - 32usize];
};
unsafe extern "C" {
    pub fn speft_step_options_init(options: *mut speft_step_options, size: u32);
}
unsafe extern "C" {
    /** One update: the optimizer moves the deltas by what was accumulated, the weights become round(θ0+δ), the gradient is
 cleared. `options` may be NULL. INVALID_STATE: not selected, unmerged, weights not bound, no gradient.*/
    pub fn speft_step(
        adapter: *mut speft_adapter,
        options: *const speft_step_options,
        error: *mut *mut speft_error,
    ) -> speft_status;
}
unsafe extern "C" {
    /// SPEFT_ABI_VERSION of the library that is loaded. Any thread.
    pub fn speft_abi_version() -> u32;
}
unsafe extern "C" {
    /// The release, "0.1.0" say. Static storage. Any thread.
    pub fn speft_version() -> *const ::core::ffi::c_char;
}
