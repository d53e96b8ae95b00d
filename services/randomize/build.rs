//! Has cargo compile the package again when a migration is added, which is embedded by a macro.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
