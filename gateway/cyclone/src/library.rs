//! The library as a whole: started once per process, never stopped.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Error;
use crate::ffi;
use crate::log::{Log, LogLevel};

/// The state that all participants of the process share.
pub(crate) struct Library {
    log: Log,
    /// CycloneDDS wants an id per domain object. Every participant has its own domain object, so the ids are
    /// numbered; the domain id on the wire is a setting of it (`ExternalDomainId`).
    domains: AtomicU32,
    started: OnceLock<i32>,
}

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// Sets where the lines of the library's log go, at most ten per second. The first call counts; before it, lines are
/// dropped. The function is called on any thread, so it must not call this crate.
pub fn set_log(sink: fn(LogLevel, &str)) {
    library().log.set_sink(sink);
}

/// Starts the library, if that has not happened. `wake` is what listeners call.
pub(crate) fn start(wake: ffi::WakeFn) -> Result<&'static Library, Error> {
    let library = library();
    // SAFETY: both functions live as long as the process and do not unwind. This runs once, before any entity exists.
    let code = *library.started.get_or_init(|| unsafe { ffi::roverline_start(wake, roverline_on_log) });
    check("the start of the library", code)?;
    Ok(library)
}

fn library() -> &'static Library {
    LIBRARY.get_or_init(|| Library { log: Log::new(), domains: AtomicU32::new(0), started: OnceLock::new() })
}

impl Library {
    pub(crate) fn next_domain(&self) -> u32 {
        self.domains.fetch_add(1, Ordering::Relaxed)
    }

    /// Calls the library, and returns the error that it logs about this.
    pub(crate) fn capture_error<T>(&self, call: impl FnOnce() -> T) -> (T, Option<String>) {
        self.log.capture(call)
    }
}

/// Reports that a closure of the user has panicked. The panic ends here.
pub(crate) fn log_panic() {
    if let Some(library) = LIBRARY.get() {
        library.log.write(LogLevel::Error, "a closure that CycloneDDS called has panicked");
    }
}

/// Receives the library's log. A panic of the sink ends here.
extern "C" fn roverline_on_log(level: i32, line: *const c_char, bytes: usize) {
    let Some(library) = LIBRARY.get() else { return };
    let level = match level {
        ffi::LEVEL_ERROR => LogLevel::Error,
        ffi::LEVEL_WARNING => LogLevel::Warning,
        _ => LogLevel::Info,
    };
    // SAFETY: the shim passes a line of so many bytes, which stays as it is during the call.
    let line = unsafe { std::slice::from_raw_parts(line.cast::<u8>(), bytes) };
    let _ = catch_unwind(AssertUnwindSafe(|| library.log.write(level, &String::from_utf8_lossy(line))));
}

/// Turns a return code into an error if it is negative.
pub(crate) fn check(what: &'static str, code: i32) -> Result<i32, Error> {
    if code >= 0 { Ok(code) } else { Err(Error::Library { what, reason: text(code) }) }
}

/// The library's text for a return code.
pub(crate) fn text(code: i32) -> String {
    // SAFETY: the shim returns a constant string for every code.
    unsafe { CStr::from_ptr(ffi::roverline_error_text(code)) }.to_string_lossy().into_owned()
}
