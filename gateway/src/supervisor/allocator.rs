//! The settings of the endpoints' memory allocator, glibc's, which it reads from the environment.

/// An arena per thread and core would cost megabytes; two suffice. A block of 128 KiB or more is mapped on its own
/// and unmapped when it is freed: without these bounds glibc raises its own with the first large block that is
/// freed, and keeps what large values and images took.
const SETTINGS: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// The settings that the user has not made.
pub(super) fn settings(is_set: impl Fn(&str) -> bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.into_iter().filter(move |(name, _)| !is_set(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_sets_stays() {
        let names = |user: &str| settings(|name| name == user).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("").len(), 3);
        assert_eq!(names("MALLOC_ARENA_MAX"), ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"]);
    }
}
