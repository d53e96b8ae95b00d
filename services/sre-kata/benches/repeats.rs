//! The counter alone. `cargo bench -p sre-kata`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sre_kata::repeats::count;

fn repeats(criterion: &mut Criterion) {
    let prose = "The quick brown fox jumps over the lazy dog, 0123456789 times. ".repeat(16_000);
    // Latin with accents, Cyrillic, Greek, Han, Kana, Hangul and emoji in turn.
    let mixed =
        "Größe, déjà vu; Съешь ещё этих; Ζεφυρ; 漢字かな交じり文; 한국어; 🦀🚀 ok. ".repeat(12_000);
    let mut group = criterion.benchmark_group("count");
    for (name, text) in [("ascii", prose), ("mixed", mixed), ("acx333x", "acx333x".to_owned())] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| count(std::hint::black_box(&text)));
        });
    }
    group.finish();
}

criterion_group!(benches, repeats);
criterion_main!(benches);
