use std::process::Command;

use crate::skips::skip;

/// The variables with which a [`Binary`](crate::Binary) sees a clock that is off by `offset`, such as
/// `+1h` or `-1h`, by libfaketime. Durations are measured as ever. None, and a note by [`skip`], where it
/// is not installed.
pub fn shifted_clock(offset: &'static str) -> Option<[(&'static str, String); 3]> {
    let Some(library) = library() else {
        skip("faketime", "there is no faketime on the PATH");
        return None;
    };
    Some([
        ("LD_PRELOAD", library),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

/// Where the library is: its own program knows best.
fn library() -> Option<String> {
    // It fails where a process of the same number has left something in /dev/shm.
    (0..10).find_map(|_| {
        let arguments = ["-m", "-f", "+0", "printenv", "LD_PRELOAD"];
        let found = Command::new("faketime").args(arguments).output().ok()?;
        let found = found.status.success().then_some(found.stdout)?;
        Some(String::from_utf8(found).ok()?.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::Binary;

    #[tokio::test]
    async fn a_binary_sees_another_time() {
        let Some(clock) = shifted_clock("-1h") else { return };
        let variables = clock.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut date = Binary::start("date", &["+%s"], &variables);
        assert!(date.exit(Duration::from_secs(30)).await.success());
        let seen: u64 = date.lines()[0].parse().unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!((now - 3660..now - 3540).contains(&seen), "{seen} at {now}");
    }
}
