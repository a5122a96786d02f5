//! The headers that CycloneDDS's own build generates: what the platform has and which features are on.

use std::io;
use std::path::Path;

/// The features of Linux. IPv6 and source-specific multicast are off: ROS 2 uses neither.
const CONFIG: &str = "\
#ifndef DDS_CONFIG_H
#define DDS_CONFIG_H
#define DDSRT_HAVE_FILESYSTEM 1
#define DDSRT_HAVE_DNS 1
#define DDSRT_HAVE_GETADDRINFO 1
#define DDSRT_HAVE_GETHOSTBYNAME_R 1
#define DDSRT_HAVE_GETHOSTNAME 1
#define DDSRT_HAVE_INET_NTOP 1
#define DDSRT_HAVE_INET_PTON 1
#define DDSRT_HAVE_CONDATTR_SETCLOCK 1
#endif
";

/// The lifespan of samples is respected. Everything else that can be left out is.
const FEATURES: &str = "\
#ifndef DDS_PUBLIC_FEATURES_H_
#define DDS_PUBLIC_FEATURES_H_
#define DDS_HAS_LIFESPAN 1
#define DDS_IS_STATIC_LIBRARY 1
#endif
";

const VERSION: &str = "\
#ifndef DDS_VERSION_H
#define DDS_VERSION_H
#define DDS_VERSION \"11.0.0\"
#define DDS_VERSION_MAJOR 11
#define DDS_VERSION_MINOR 0
#define DDS_VERSION_PATCH 0
#define DDS_VERSION_TWEAK 0
#define DDS_PROJECT_NAME \"CycloneDDS\"
#define DDS_GIT_HASH \"roverline\"
#define DDS_HOST_NAME \"Linux\"
#define DDS_TARGET_NAME \"Linux\"
#endif
";

/// Nothing is exported: the library is linked into the program.
const EXPORT: &str = "\
#ifndef DDS_EXPORT_H
#define DDS_EXPORT_H
#define DDS_EXPORT
#define DDS_NO_EXPORT
#define DDS_INLINE_EXPORT
#define DDS_EXPORT_INTERNAL_FUNCTION
#define DDS_DEPRECATED
#define DDS_DEPRECATED_EXPORT
#define DDS_DEPRECATED_NO_EXPORT
#endif
";

/// Writes the headers into `folder/dds`.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let dds = folder.join("dds");
    std::fs::create_dir_all(&dds)?;
    std::fs::write(dds.join("config.h"), CONFIG)?;
    std::fs::write(dds.join("features.h"), FEATURES)?;
    std::fs::write(dds.join("version.h"), VERSION)?;
    std::fs::write(dds.join("export.h"), EXPORT)
}
