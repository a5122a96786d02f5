//! Every bound of this crate, with its unit in its name. Definitions and payloads come from
//! strangers; nothing here grows because they say so.

/// One definition text, dependencies included, or one interface file.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Definitions in one concatenated text.
pub const MAX_TEXT_DEFINITIONS: usize = 1024;
/// Fields and constants of one definition.
pub const MAX_FIELDS: usize = 4096;
/// A field, constant or whole type name.
pub const MAX_NAME_BYTES: usize = 255;
/// Types that recordings may add to one registry.
pub const MAX_RECORDED_TYPES: usize = 4096;
/// Interface files that are listed from the installed packages.
pub const MAX_INSTALLED_TYPES: usize = 65_536;
/// How deep types may nest.
pub const MAX_DEPTH_LEVELS: usize = 32;
/// Fields of a type with all nested types written out: what a plan costs in memory.
pub const MAX_PLAN_FIELDS: usize = 32_768;
/// Keys and paths that a plan keeps, with all nested types written out.
pub const MAX_PLAN_TEXT_BYTES: usize = 8 << 20;
/// The least that a message of a type takes on the wire (fixed arrays can be declared at will).
pub const MAX_FIXED_WIRE_BYTES: u64 = 64 << 20;
/// Values made from one message, at some 32 bytes each: 4096 × 256 cells of a map fit.
pub const MAX_VALUES: usize = 1 << 20;
/// JSON made from one message.
pub const MAX_JSON_BYTES: usize = 128 << 20;
/// A message encoded from a value or from JSON.
pub const MAX_ENCODED_BYTES: usize = 64 << 20;
/// Bytes that may follow the last field: padding to a multiple of four.
pub const MAX_TRAILING_PAD_BYTES: usize = 3;
