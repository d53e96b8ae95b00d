//! The log volume full, read-only, gone, and back.

use std::fs;

use serde_json::Value;
use test_support::Volume;

use crate::{Service, folder_with, names_in};

async fn expect_507(service: &Service) {
    let answer = service.app.get("/").await;
    assert_eq!(answer.status(), 507);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["detail"], "the log volume cannot be written");
    let line = service.app.logs_of(&id).await.pop().unwrap();
    assert!(line["error"].as_str().is_some_and(|error| error.contains("os error")), "{line}");
}

async fn expect_not_ready(service: &Service) {
    service.wait_for_readyz(503).await;
    let problem: Value = service.app.get("/readyz").await.json().await.unwrap();
    assert_eq!(problem["checks"], serde_json::json!(["log-volume"]));
    let check = "readiness_check_ok{check=\"log-volume\"}";
    assert_eq!(service.app.metric(check).await, Some(0.0));
    assert_eq!(service.app.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_volume_that_is_gone_and_comes_back_is_written_again() {
    let service = Service::start_on(folder_with(&[]), &[]).await;
    assert_eq!(service.app.get("/").await.status(), 200);

    fs::rename(service.logs(), service.folder.path().join("elsewhere")).unwrap();
    expect_507(&service).await;
    expect_not_ready(&service).await;
    assert_eq!(service.app.get("/logs").await.status(), 503);
    assert!(service.app.metric("data_api_log_file_write_failures_total").await >= Some(1.0));
    assert!(!service.logs().exists(), "no directory is made where a volume is missing");

    fs::rename(service.folder.path().join("elsewhere"), service.logs()).unwrap();
    service.wait_for_readyz(200).await;
    assert_eq!(service.app.get("/").await.status(), 200);
    assert_eq!(names_in(&service.logs()).len(), 2);
}

#[tokio::test]
async fn another_directory_in_its_place_is_listed_anew() {
    let service = Service::start_on(folder_with(&[("log_1.000000000.txt", "old\n")]), &[]).await;
    fs::rename(service.logs(), service.folder.path().join("elsewhere")).unwrap();
    service.wait_for_readyz(503).await;

    fs::create_dir(service.logs()).unwrap();
    fs::write(service.logs().join("log_2.000000000.txt"), "new\n").unwrap();
    service.wait_for_readyz(200).await;

    let list: Vec<Value> = service.app.get("/logs").await.json().await.unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["message"], "new");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_heals_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("logs"), "a file is in its place").unwrap();
    let service = Service::begin(folder, &[]);
    expect_not_ready(&service).await;
    expect_507(&service).await;

    fs::remove_file(service.logs()).unwrap();

    service.wait_for_readyz(200).await;
    assert_eq!(service.app.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_full_volume_is_a_507_and_heals_when_there_is_room() {
    let folder = folder_with(&[]);
    let Some(volume) = Volume::mount(&folder.path().join("logs"), "64k") else { return };
    let service = Service::start_on(folder, &[]).await;
    assert_eq!(service.app.get("/").await.status(), 200);

    // To the last byte: what is left has no room for a file.
    let ballast = service.logs().join("ballast");
    let filled = fs::write(&ballast, vec![0; 128 * 1024]);
    assert!(filled.is_err());
    expect_507(&service).await;
    expect_not_ready(&service).await;
    assert_eq!(service.app.get("/logs").await.status(), 200, "reading goes on");
    let names = names_in(&service.logs());
    assert_eq!(names.len(), 2, "nothing half is left: {names:?}");

    fs::remove_file(ballast).unwrap();
    service.wait_for_readyz(200).await;
    assert_eq!(service.app.get("/").await.status(), 200);
    drop(volume);
}

#[tokio::test]
async fn a_read_only_volume_is_a_507_and_heals_when_it_can_be_written() {
    let folder = folder_with(&[]);
    let Some(volume) = Volume::mount(&folder.path().join("logs"), "64k") else { return };
    let service = Service::start_on(folder, &[]).await;

    volume.remount("ro");
    expect_507(&service).await;
    expect_not_ready(&service).await;
    assert_eq!(service.app.get("/logs").await.status(), 200);

    volume.remount("rw");
    service.wait_for_readyz(200).await;
    assert_eq!(service.app.get("/").await.status(), 200);
}
