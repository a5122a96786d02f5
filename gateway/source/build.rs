//! Finds out whether the client library of `r2r` has the types of `std_srvs`.

use std::path::Path;

const PACKAGE: &str = "std_srvs";

fn main() {
    println!("cargo:rustc-check-cfg=cfg(r2r_std_srvs)");
    for name in ["AMENT_PREFIX_PATH", "IDL_PACKAGE_FILTER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let has = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if has("R2R") && !has("R2R_CHECK") && is_installed() && is_wanted() {
        println!("cargo:rustc-cfg=r2r_std_srvs");
    }
}

fn is_installed() -> bool {
    let prefixes = std::env::var("AMENT_PREFIX_PATH").unwrap_or_default();
    prefixes.split(':').any(|prefix| Path::new(prefix).join("share").join(PACKAGE).exists())
}

/// Whether the list of packages that bindings are made for has it; without a list, all are.
fn is_wanted() -> bool {
    let filter = std::env::var("IDL_PACKAGE_FILTER").unwrap_or_default();
    filter.is_empty() || filter.split(';').any(|package| package == PACKAGE)
}
