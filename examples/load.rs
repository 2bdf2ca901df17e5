//! What runs in the containers of `tests/live`: one static program that misbehaves as it is told.
//!
//! Compiled by the test itself with `rustc` and nothing but the standard library, because the image
//! has no other file.
#![allow(clippy::disallowed_methods, reason = "a program of its own, which only waits")]

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, exit};
use std::thread::sleep;
use std::time::{Duration, Instant};

const STEP_BYTES: usize = 1 << 20;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number_at = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
    let number = || number_at(2);
    match words.get(1).map(String::as_str) {
        Some("exit") => exit(number()),
        Some("climb") => climb(usize::MAX),
        // At a pace of so many MiB in so many seconds, after so many quiet ones.
        Some("ramp") => ramp(number_at(2), number_at(3), number_at(4)),
        // Page cache alone, at such a pace, read twice so that it counts as being used.
        Some("cache") => cache(number_at(2), number_at(3)),
        // Writes so many MiB to this disk, and reads all of the disk.
        Some("write") => write(number_at(2), &words[3]),
        // Is killed in so many runs, each of which makes a mark, and ends by itself in the next.
        Some("killed") => match mark() > u64::from(number_at(2).unsigned_abs()) {
            true => exit(0),
            false => ramp(16, 14, 0),
        },
        // Holds so many MiB at once and one more every so many seconds, until it is started anew: then nothing.
        Some("leak") if mark() == 1 => {
            climb(number() as usize);
            ramp(1, number_at(3), 0);
        }
        // Its child is killed, it stays.
        Some("parent") => drop(Command::new(&words[0]).arg("climb").status()),
        // Holds so many MiB and uses all the CPU it gets.
        Some("burn") => {
            climb(number() as usize);
            loop {
                std::hint::spin_loop();
            }
        }
        _ => {}
    }
    loop {
        sleep(Duration::from_secs(1));
    }
}

/// Uses more and more memory, so many MiB at most, and never gives it back.
fn climb(mebibytes: usize) {
    for _ in 0..mebibytes {
        // Not zeros: those would cost no memory.
        std::mem::forget(std::hint::black_box(vec![1_u8; STEP_BYTES]));
        sleep(Duration::from_millis(2));
    }
}

/// Climbs for ever at an even pace, whatever the machine is doing.
fn ramp(mebibytes: i32, seconds: i32, quiet: i32) {
    sleep(Duration::from_secs(quiet.unsigned_abs().into()));
    let began = Instant::now();
    let pause = Duration::from_secs(seconds.unsigned_abs().into()) / (4 * mebibytes.unsigned_abs());
    for step in 1.. {
        std::mem::forget(std::hint::black_box(vec![1_u8; STEP_BYTES / 4]));
        sleep((pause * step).saturating_sub(began.elapsed()));
    }
}

/// Writes to a disk, and waits for each MiB until the disk has it; once nobody has the disk open its cache is gone.
fn write(mebibytes: i32, disk: &str) {
    let mut file = OpenOptions::new().write(true).open(disk).expect("a disk");
    for _ in 0..mebibytes {
        file.write_all(&vec![1_u8; STEP_BYTES])
            .and_then(|()| file.sync_all())
            .expect("there is room");
    }
    drop(file);
    let mut file = std::fs::File::open(disk).expect("a disk");
    std::io::copy(&mut file, &mut std::io::sink()).expect("it reads");
}

/// Makes a mark, which outlives this run; returns how many there are.
fn mark() -> u64 {
    let mut file = OpenOptions::new().create(true).append(true).open("/marks").expect("a file");
    file.write_all(b"x").and_then(|()| file.sync_all()).expect("there is room");
    file.metadata().expect("it is there").len()
}

/// Writes a file that grows and reads all of it again after every MiB.
fn cache(mebibytes: i32, seconds: i32) {
    let pause = Duration::from_secs(seconds.unsigned_abs().into()) / mebibytes.unsigned_abs();
    for _ in 0..mebibytes {
        let file = OpenOptions::new().create(true).append(true).open("/file");
        file.and_then(|mut file| file.write_all(&vec![1_u8; STEP_BYTES])).expect("there is room");
        let mut file = std::fs::File::open("/file").expect("it is there");
        std::io::copy(&mut file, &mut std::io::sink()).expect("it reads");
        sleep(pause);
    }
}
