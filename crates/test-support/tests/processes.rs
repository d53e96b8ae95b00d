//! Child processes: the binary of a service, and what a test process leaves when it is killed.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use test_support::{Binary, Signal, wait_until};

const FIXTURE: &str = env!("CARGO_BIN_EXE_test-support-fixture");
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_binary_inherits_the_path_alone_and_works_in_an_empty_folder() {
    let binary = Binary::start(FIXTURE, &["serve"], &[("NAME", "value")]);
    let addr = binary.addr().await;
    TcpStream::connect(addr).unwrap();
    let start = &binary.logs()[0];
    let variables = start["variables"].as_object().unwrap();
    assert_eq!(variables.keys().collect::<Vec<_>>(), ["NAME", "PATH"]);
    assert_eq!(variables["NAME"], "value");
    let folder = start["folder"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    drop(binary);
    fs::read_dir(folder).unwrap_err();
    TcpStream::connect(addr).unwrap_err();
}

/// A binary that was sent a signal once it listened.
async fn signalled(signal: Signal) -> Binary {
    let binary = Binary::start(FIXTURE, &["serve"], &[]);
    binary.addr().await;
    binary.signal(signal);
    binary
}

#[tokio::test]
async fn a_binary_is_stopped_and_its_exit_code_and_last_lines_are_read() {
    let mut binary = signalled(Signal::TERM).await;
    assert_eq!(binary.exit(SOON).await.code(), Some(7));
    assert_eq!(binary.lines().last().unwrap(), "this line is no JSON");
    assert_eq!(binary.logs().len(), 2);
    assert_eq!(binary.pid(), None);
    binary.signal(Signal::TERM);
}

#[tokio::test]
async fn a_killed_binary_has_no_exit_code() {
    let mut binary = signalled(Signal::KILL).await;
    assert_eq!(binary.exit(SOON).await.signal(), Some(9));
}

#[tokio::test]
async fn the_address_of_all_interfaces_is_reached_by_the_loopback() {
    let binary = Binary::start(FIXTURE, &["serve", "0.0.0.0:0"], &[]);
    let addr = binary.addr().await;
    assert!(addr.ip().is_loopback());
    TcpStream::connect(addr).unwrap();
}

#[tokio::test]
#[should_panic(expected = "there is no Some(\"dance\")")]
async fn a_binary_that_ends_before_it_listens_is_reported_with_its_output() {
    Binary::start(FIXTURE, &["dance"], &[]).addr().await;
}

#[tokio::test]
async fn nothing_outlives_a_test_process_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    // PostgreSQL runs as another user when this is root.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = std::env::home_dir().unwrap();
    let variables = [("TMPDIR", folder.path().to_str().unwrap()), ("HOME", home.to_str().unwrap())];
    let mut binary = Binary::start(FIXTURE, &["servers"], &variables);
    let mut pids: Vec<u64> = binary
        .wait_for_log("the servers", 4 * SOON, |line| {
            let pids = line["pids"].as_array()?;
            Some(pids.iter().filter_map(serde_json::Value::as_u64).collect())
        })
        .await;
    assert!(!pids.is_empty());
    assert!(fs::read_dir(folder.path()).unwrap().count() >= pids.len());
    let servers = pids.clone();
    let children = processes().into_iter().filter(|process| servers.contains(&process.parent));
    pids.extend(children.map(|process| process.pid));

    binary.signal(Signal::KILL);
    binary.exit(SOON).await;

    wait_until("all processes and folders are gone", SOON, async || {
        let alive = processes().iter().any(|process| {
            pids.contains(&process.pid) || process.line.contains(folder.path().to_str().unwrap())
        });
        !alive && fs::read_dir(folder.path()).unwrap().count() == 0
    })
    .await;
}

struct Process {
    pid: u64,
    parent: u64,
    line: String,
}

/// All that run. In a container there may be nobody to reap the children of a killed process:
/// zombies do not count.
fn processes() -> Vec<Process> {
    let list = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat=,args="]).output().unwrap();
    String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let [pid, parent] = [(); 2].map(|()| fields.next().unwrap().parse().unwrap());
            let zombie = fields.next().unwrap().starts_with('Z');
            (!zombie).then(|| Process { pid, parent, line: line.to_owned() })
        })
        .collect()
}
