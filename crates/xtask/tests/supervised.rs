//! What keeps a service from outliving `xtask dev`, in real processes.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

#[test]
fn a_service_ends_when_its_parent_is_killed() {
    let mut parent = Command::new("sh")
        .args(["-c", "\"$0\" supervised $$ sleep 60 & echo $!; wait", XTASK])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut service = String::new();
    let output = parent.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut service).unwrap();
    let service = service.trim();
    wait_until(|| state(service).is_some_and(|state| state.contains("(sleep)")));

    parent.kill().unwrap();
    parent.wait().unwrap();

    // What nobody has waited for yet stays in the list as a zombie.
    wait_until(|| state(service).is_none_or(|state| state.contains(") Z ")));
}

#[test]
fn a_service_whose_parent_is_gone_is_not_started() {
    let output = Command::new(XTASK).args(["supervised", "1", "echo", "started"]).output().unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
}

/// The line of proc(5) that begins with the id, the name and the state.
fn state(id: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{id}/stat")).ok()
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it has not come true within 30 s");
        std::thread::yield_now();
    }
}
