use std::io::Write;
use std::path::Path;

use crate::variables::variable;

/// Notes that a suite is skipped because its `server` cannot be had here.
///
/// Prints a line and writes the reason to a file named after the server in the folder
/// `TEST_SKIPS_DIR`, if that is set, for a summary at the end of a run of many test processes.
///
/// # Panics
/// With `CI=true`, where nothing may be skipped.
pub fn skip(server: &str, reason: &str) {
    let folder = variable("TEST_SKIPS_DIR");
    let ci = variable("CI").is_some_and(|ci| ci == "true");
    note(server, reason, folder.as_deref().map(Path::new), ci);
}

/// Notes that only a part of the tests with `server` is run, because the rest needs what a stand-in
/// lacks. Unlike [`skip`] it is no failure with `CI=true`: where a server cannot be had, the stand-in is
/// what the tests are meant to run with.
///
/// # Panics
/// When the note cannot be written.
pub fn lack(server: &str, reason: &str) {
    note(server, reason, variable("TEST_SKIPS_DIR").as_deref().map(Path::new), false);
}

fn note(server: &str, reason: &str, folder: Option<&Path>, ci: bool) {
    assert!(!ci, "CI=true, and tests with {server} would be skipped: {reason}");
    // Unlike `eprintln`, this is not kept from the person who runs the tests.
    let line = format!("skipped: tests with {server}: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join(server), format!("{reason}\n")))
            .expect("TEST_SKIPS_DIR can be written to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_leaves_a_note_named_after_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("made/when/needed");
        note("nothing", "this is a test of skipping", Some(&notes), false);
        let text = std::fs::read_to_string(notes.join("nothing")).unwrap();
        assert_eq!(text, "this is a test of skipping\n");
    }

    #[test]
    #[should_panic(expected = "this is a test of CI")]
    fn a_skip_under_ci_is_a_failure() {
        note("nothing", "this is a test of CI", None, true);
    }
}
