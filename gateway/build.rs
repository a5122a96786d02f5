//! Links a build with the feature `r2r` so that it starts in a shell where ROS 2 is not sourced, as long as ROS 2 is
//! where it was. Its libraries load others, so the path has to hold for those as well (DT_RPATH, not DT_RUNPATH).

fn main() {
    println!("cargo:rerun-if-env-changed=AMENT_PREFIX_PATH");
    let has = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if !has("R2R") || has("R2R_CHECK") {
        return;
    }
    println!("cargo:rustc-link-arg-bins=-Wl,--disable-new-dtags");
    let prefixes = std::env::var("AMENT_PREFIX_PATH").unwrap_or_default();
    for prefix in prefixes.split(':').filter(|prefix| !prefix.is_empty()) {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{prefix}/lib");
    }
}
