//! Compiles CycloneDDS and the shim into a static library, with a C compiler and nothing else.

#[path = "build/edits.rs"]
mod edits;
#[path = "build/headers.rs"]
mod headers;
#[path = "build/sources.rs"]
mod sources;

use std::error::Error;
use std::path::{Path, PathBuf};

/// The files of the shim.
const SHIM: &[&str] = &[
    "discovery.c",
    "entities.c",
    "interfaces.c",
    "library.c",
    "matches.c",
    "position.c",
    "sample.c",
    "serdata.c",
    "sertype.c",
    "submessage.c",
    "take.c",
    "write.c",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let root = cyclonedds_src::source_dir();
    for path in ["build.rs", "build", "shim"] {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=ROVERLINE_CYCLONE_SANITIZE");
    if std::env::var("CARGO_CFG_TARGET_OS")? != "linux" {
        return Err("CycloneDDS is configured for Linux only: build without the feature `cyclone`".into());
    }
    let generated = out.join("include");
    headers::write(&generated)?;
    edits::write_headers(&root, &generated)?;
    // cargo-fuzz links the library of Rust's own sanitizer.
    if sanitized() && std::env::var_os("CARGO_CFG_FUZZING").is_none() {
        println!("cargo:rustc-link-lib=dylib=asan");
    }
    // The shim comes first: static libraries are linked in this order, and it calls the library.
    compile_shim(&root, &generated);
    compile_library(&root, &generated, &out)
}

/// The compiler of both parts. Always optimized and without assertions: some of the library's assertions
/// can be reached from the network.
fn compiler(root: &Path, generated: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build.std("gnu11").opt_level(2).debug(false).define("NDEBUG", None).flag("-pthread");
    build.include(generated).include("shim");
    for folder in sources::INCLUDES {
        build.include(root.join(folder));
    }
    if sanitized() {
        build.flag("-fsanitize=address").flag("-fno-omit-frame-pointer").flag("-g1");
    }
    build
}

/// The search for memory errors: `ROVERLINE_CYCLONE_SANITIZE=address cargo test -p roverline-cyclone`. Then
/// the C parts are compiled with AddressSanitizer, and its library is linked.
fn sanitized() -> bool {
    std::env::var("ROVERLINE_CYCLONE_SANITIZE").is_ok_and(|sanitizer| sanitizer == "address")
}

fn compile_shim(root: &Path, generated: &Path) {
    let mut build = compiler(root, generated);
    build.warnings(false).flag("-Wall").flag("-Wextra").flag("-Werror=implicit-function-declaration");
    build.files(SHIM.iter().map(|name| Path::new("shim").join(name)));
    build.compile("roverline_shim");
}

fn compile_library(root: &Path, generated: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let copies = out.join("edited");
    std::fs::create_dir_all(&copies)?;
    let mut build = compiler(root, generated);
    build.warnings(false).flag("-w");
    for (folder, names) in [sources::RUNTIME, sources::CDR, sources::DDSC, sources::DDSI] {
        for name in names {
            build.file(edits::edited(root, &Path::new(folder).join(name), &copies)?);
        }
    }
    build.compile("cyclonedds");
    Ok(())
}
