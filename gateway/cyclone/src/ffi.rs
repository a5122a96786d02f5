//! The shim's functions, declared by hand as in `shim/shim.h`.

use std::ffi::{c_char, c_void};

/// Samples that one call of [`roverline_take`] takes at most.
pub(crate) const TAKE_SAMPLES: usize = 64;
/// A listener reports new data. Everything else is a change of the discovered or matched endpoints.
pub(crate) const EVENT_DATA: i32 = 0;
/// Levels of a line in the log. Everything else is information.
pub(crate) const LEVEL_ERROR: i32 = 0;
pub(crate) const LEVEL_WARNING: i32 = 1;
/// The return code of CycloneDDS for a window that stayed full (`dds/ddsrt/retcode.h`).
pub(crate) const TIMEOUT: i32 = -10;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Identity {
    pub(crate) writer: [u8; 16],
    pub(crate) sequence_number: i64,
}

/// As in `shim/position.h`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Position {
    last_data: u64,
    confirmed: u64,
    claimed_last: u64,
    claimed_at_ns: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TakenSample {
    pub(crate) serdata: *mut c_void,
    pub(crate) payload: *const u8,
    pub(crate) payload_bytes: u32,
    pub(crate) has_related: bool,
    pub(crate) identity: Identity,
    pub(crate) related: Identity,
    pub(crate) source_time_ns: i64,
    pub(crate) receive_time_ns: i64,
}

#[repr(C)]
pub(crate) struct Endpoint {
    pub(crate) guid: [u8; 16],
    pub(crate) alive: bool,
    pub(crate) reliable: bool,
    pub(crate) transient_local: bool,
    pub(crate) history_depth: u32,
    pub(crate) topic: *const c_char,
    pub(crate) type_name: *const c_char,
}

#[repr(C)]
pub(crate) struct Qos {
    pub(crate) reliable: bool,
    pub(crate) transient_local: bool,
    pub(crate) depth: u32,
    pub(crate) window: u32,
    pub(crate) max_blocking_ns: i64,
}

pub(crate) type WakeFn = extern "C" fn(context: *const c_void, event: i32);
pub(crate) type LogFn = extern "C" fn(level: i32, line: *const c_char, bytes: usize);
pub(crate) type EndpointFn = extern "C" fn(context: *mut c_void, endpoint: *const Endpoint);
pub(crate) type AddressFn = extern "C" fn(context: *mut c_void, address: u32);

unsafe extern "C" {
    pub(crate) fn roverline_start(wake: WakeFn, log: LogFn) -> i32;
    pub(crate) fn roverline_error_text(code: i32) -> *const c_char;
    pub(crate) fn roverline_multicast_interfaces(each: AddressFn, context: *mut c_void) -> i32;

    pub(crate) fn roverline_create_domain(id: u32, xml: *const c_char) -> i32;
    pub(crate) fn roverline_create_participant(domain_id: u32) -> i32;
    pub(crate) fn roverline_create_reader(
        participant: i32,
        topic: *const c_char,
        type_name: *const c_char,
        qos: *const Qos,
        context: *const c_void,
    ) -> i32;
    pub(crate) fn roverline_create_writer(
        participant: i32,
        topic: *const c_char,
        type_name: *const c_char,
        qos: *const Qos,
        context: *const c_void,
    ) -> i32;
    pub(crate) fn roverline_create_discovery(participant: i32, writers: bool, context: *const c_void) -> i32;
    pub(crate) fn roverline_delete(entity: i32) -> i32;
    pub(crate) fn roverline_guid(entity: i32, guid: *mut [u8; 16]) -> i32;
    pub(crate) fn roverline_deepen(reader: i32, depth: u32) -> i32;

    pub(crate) fn roverline_take(reader: i32, samples: *mut TakenSample, most: u32, valid: *mut u32) -> i32;
    pub(crate) fn roverline_release(serdata: *mut c_void);
    pub(crate) fn roverline_write(
        writer: i32,
        window: u32,
        wait_ns: i64,
        payload: *const u8,
        bytes: u32,
        source_time_ns: i64,
        related: *const Identity,
        written: *mut Identity,
    ) -> i32;
    pub(crate) fn roverline_matched_readers(writer: i32, guids: *mut [u8; 16], most: u32) -> i32;
    pub(crate) fn roverline_matched_writers(reader: i32, guids: *mut [u8; 16], most: u32) -> i32;
    pub(crate) fn roverline_take_endpoints(
        discovery: i32,
        own: *const u8,
        each: EndpointFn,
        context: *mut c_void,
    ) -> i32;

    pub(crate) fn roverline_position_data(position: *mut Position, sequence_number: u64);
    pub(crate) fn roverline_position_heartbeat(
        position: *mut Position,
        next: u64,
        known: u64,
        now_ns: i64,
        first: *mut u64,
        last: *mut u64,
    );
    pub(crate) fn roverline_position_gap(position: *const Position, next: u64, end: u64) -> i32;
    pub(crate) fn roverline_related_in(submessage: *const u8, bytes: usize, related: *mut Identity) -> bool;
}
