//! Contexts: backends, implementations, versions, statuses.

use crate::host::*;
use speft::*;

#[test]
fn backends_are_listed_with_reasons() {
    let all = backends().unwrap();
    let cpu = all.iter().find(|backend| backend.name == "cpu").unwrap();
    assert!(cpu.available && cpu.reason.is_empty() && !cpu.version.is_empty());
    assert!(all.iter().all(|backend| backend.available == backend.reason.is_empty()));
    assert_eq!(Context::new().unwrap().backend(), "cpu");
}

#[test]
fn a_backend_that_is_not_there_is_unavailable() {
    let made = Context::builder().backend("abacus").backend_path("/nowhere").build();
    refused(made, Status::Unavailable, "abacus");
    refused(Context::builder().backend("c\0pu").build(), Status::InvalidArgument, "backend must have no NUL");
    refused(Context::builder().backend("cpu").device(7).build(), Status::InvalidArgument, "device must be 0");
    refused(Context::builder().backend("cpu").threads(-1).build(), Status::InvalidArgument, "threads");
    refused(Context::builder().parallel_for(0, |_, _| {}).build(), Status::InvalidArgument, "threads");
}

#[test]
fn a_cpu_has_no_streams() {
    let context = cpu();
    context.synchronize().unwrap();
    // SAFETY: the CPU refuses the stream, and does not touch it.
    unsafe {
        context.set_stream(std::ptr::null_mut()).unwrap();
        refused(context.set_stream(0x10 as *mut _), Status::Unsupported, "stream");
        refused(Context::builder().backend("cpu").stream(0x10 as *mut _).build(), Status::Unsupported, "stream");
    }
}

#[test]
fn implementations_are_listed_told_and_forced() {
    let context = cpu();
    assert!(operations().contains(&"select_top"));
    let names = context.implementations("select_top").unwrap();
    assert_eq!(names.last(), Some(&"reference"));
    assert_eq!(context.implementation("select_top").unwrap(), None);
    context.set_implementation("select_top", Some("reference")).unwrap();
    let mut layer = Layer::new(90, [6, 4]);
    let mut adapter = builder(&context, &layer).budget(3).build().unwrap();
    train(&mut adapter, &mut layer, 0);
    assert_eq!(context.implementation("select_top").unwrap(), Some("reference"));
    context.set_implementation("select_top", None).unwrap();
    refused(context.implementations("nap"), Status::InvalidArgument, "nap");
    refused(context.implementation("nap"), Status::InvalidArgument, "nap");
    refused(context.set_implementation("select_top", Some("magic")), Status::InvalidArgument, "magic");
}

#[test]
fn the_library_is_the_one_that_the_crate_is_for() {
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
    assert_eq!(abi_version(), speft::sys::SPEFT_ABI_VERSION);
}

#[test]
fn statuses_have_the_librarys_names_and_numbers() {
    let names = "INVALID_ARGUMENT OUT_OF_MEMORY UNSUPPORTED UNAVAILABLE INVALID_STATE BUSY IO CORRUPT DEVICE CANCELLED \
                 INTERNAL UNKNOWN";
    for (code, name) in (1..).zip(names.split_whitespace()) {
        let status = Status::from_code(code);
        assert_eq!((status.code(), status.name(), status.to_string().as_str()), (code, name, name));
    }
    assert_eq!(Status::from_code(12), Status::Unknown(12)); // one of a later library
}

#[test]
fn errors_are_rusts_own() {
    let error = Adapter::load(&cpu(), "/nowhere/adapter.safetensors").unwrap_err();
    assert_eq!((error.status(), error.native_code(), error.backend()), (Status::Io, 2, ""));
    assert_eq!(error.to_string(), error.message());
    let boxed: Box<dyn std::error::Error + Send + Sync> = error.into();
    assert!(boxed.source().is_none() && boxed.to_string().contains("/nowhere/adapter.safetensors"));
}

#[test]
fn handles_tell_what_they_are() {
    let context = cpu();
    let layer = Layer::new(91, [6, 4]);
    let made = builder(&context, &layer).budget(3);
    assert!(format!("{made:?}").contains("\"w\""));
    let adapter = made.build().unwrap();
    assert!(format!("{context:?} {adapter:?}").contains("cpu"));
    assert!(!adapter.as_ptr().is_null() && !context.as_ptr().is_null());
    fn is_send<T: Send>(_: &T) {}
    is_send(&context);
    is_send(&adapter);
}
