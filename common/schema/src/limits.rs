//! Bounds of this crate, each with its unit in the name. Definitions and payloads come from
//! untrusted sources; they must not be able to grow anything beyond these.

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
/// Interface files listed from the installed packages.
pub const MAX_INSTALLED_TYPES: usize = 65_536;
/// Nesting depth of types.
pub const MAX_DEPTH_LEVELS: usize = 32;
/// Fields of a type with all nested types expanded: the memory cost of a plan.
pub const MAX_PLAN_FIELDS: usize = 32_768;
/// Keys and paths in a plan, with all nested types expanded.
pub const MAX_PLAN_TEXT_BYTES: usize = 8 << 20;
/// Smallest wire size of a type's messages (fixed arrays can be declared at will).
pub const MAX_FIXED_WIRE_BYTES: u64 = 64 << 20;
/// Values decoded from one message, at some 32 bytes each: 4096 × 256 cells of a map fit.
pub const MAX_VALUES: usize = 1 << 20;
/// JSON written for one message.
pub const MAX_JSON_BYTES: usize = 128 << 20;
/// A message encoded from a value or from JSON.
pub const MAX_ENCODED_BYTES: usize = 64 << 20;
/// Bytes that may follow the last field: padding to a multiple of four.
pub const MAX_TRAILING_PAD_BYTES: usize = 3;
