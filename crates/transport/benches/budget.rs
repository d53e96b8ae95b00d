//! What the memory budget costs: beside a request's CPU time in `docs/performance.md` it is next to nothing.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use common::memory::{Budget, MemoryUse};
use criterion::{Criterion, criterion_group, criterion_main};
use transport::ClientQuota;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// What a connection takes, and again what a request does.
const BYTES: usize = 4 * 1024;

#[expect(clippy::unwrap_used, reason = "without a permit there is nothing to measure")]
fn budget(criterion: &mut Criterion) {
    let budget = Budget::without_metrics(64 * 1024 * 1024);
    let quota = Arc::new(ClientQuota::new(budget, 0.25));
    let mut group = criterion.benchmark_group("budget");
    // A connection keeps what its first request took, as long as memory is not scarce.
    group.bench_function("further request", |bencher| {
        bencher.iter(|| black_box(&quota).is_scarce());
    });
    group.bench_function("further request, memory is scarce", |bencher| {
        let mut permit = quota.take(CLIENT, MemoryUse::Connections, BYTES).unwrap();
        bencher.iter(|| {
            let grown = permit.grow(black_box(BYTES));
            permit.shrink(BYTES);
            grown
        });
    });
    group.bench_function("connection with a request", |bencher| {
        bencher.iter(|| {
            let mut permit = quota.take(black_box(CLIENT), MemoryUse::Connections, BYTES).unwrap();
            permit.grow(BYTES)
        });
    });
    group.finish();
}

criterion_group!(benches, budget);
criterion_main!(benches);
