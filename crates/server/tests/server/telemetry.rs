//! Sinks that are slow or broken.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::telemetry::{Sink, Write};

const PATIENCE: Duration = Duration::from_secs(20);

/// A place that takes lines while it is open, and remembers them.
#[derive(Clone, Default)]
struct Place(Arc<(Mutex<Content>, Condvar)>);

#[derive(Default)]
struct Content {
    open: bool,
    batches: Vec<Vec<u8>>,
}

impl Place {
    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn batches(&self) -> Vec<Vec<u8>> {
        self.0.0.lock().unwrap().batches.clone()
    }
}

impl Write for Place {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut place = self.0.1.wait_while(self.0.0.lock().unwrap(), |place| !place.open).unwrap();
        place.batches.push(lines.to_vec());
        Ok(())
    }
}

#[test]
fn lines_arrive_in_order_and_many_at_once() {
    let place = Place::default();
    place.open();
    let sink = Sink::buffered(place.clone()).unwrap();

    let lines: Vec<String> = (0..10_000).map(|number| format!("line {number}\n")).collect();
    for line in &lines {
        sink.push(line.as_bytes());
    }

    assert!(sink.flush(PATIENCE));
    let batches = place.batches();
    assert_eq!(batches.concat(), lines.concat().as_bytes());
    assert!(batches.len() < 1000, "{} batches", batches.len());
}

#[test]
fn a_line_arrives_without_a_flush() {
    let place = Place::default();
    place.open();
    let sink = Sink::buffered(place.clone()).unwrap();

    sink.push(b"line\n");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(test_support::wait_until("the line is written", PATIENCE, async || {
        !place.batches().is_empty()
    }));
}

#[test]
fn a_place_that_blocks_holds_up_nobody_and_its_loss_is_bounded() {
    let place = Place::default();
    let sink = Sink::buffered(place.clone()).unwrap();
    let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();

    // 16 MiB, four times what is kept; a push that waited would wait for ever.
    for _ in 0..16 * 1024 {
        sink.push(&line);
    }
    assert!(!sink.flush(Duration::from_millis(50)));
    place.open();

    assert!(sink.flush(PATIENCE));
    let written = place.batches().concat();
    assert!(written.len() >= 4 * 1024 * 1024, "{}", written.len());
    assert!(written.len() <= 9 * 1024 * 1024, "{}", written.len());
    assert_eq!(written.len() % line.len(), 0, "no line is torn");
}

#[test]
fn a_place_that_fails_is_tried_again_with_the_next_lines() {
    struct Broken(Arc<Mutex<Vec<u8>>>, bool);
    impl Write for Broken {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            if std::mem::take(&mut self.1) {
                return Err(io::Error::other("no space"));
            }
            self.0.lock().unwrap().extend_from_slice(lines);
            Ok(())
        }
    }
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let sink = Sink::buffered(Broken(Arc::clone(&written), true)).unwrap();

    sink.push(b"lost\n");
    assert!(sink.flush(PATIENCE));
    sink.push(b"kept\n");
    assert!(sink.flush(PATIENCE));

    assert_eq!(*written.lock().unwrap(), b"kept\n");
}
