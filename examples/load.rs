//! What runs in the containers of `tests/live/docker.rs`: one static program that misbehaves as it is told.
//!
//! Compiled by the test itself with `rustc` and nothing but the standard library, because the image
//! has no other file.
#![allow(clippy::disallowed_methods, reason = "a program of its own, which only waits")]

use std::process::{Command, exit};
use std::thread::sleep;
use std::time::Duration;

const STEP_BYTES: usize = 1 << 20;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = || words.get(2).and_then(|word| word.parse().ok()).unwrap_or(0);
    match words.get(1).map(String::as_str) {
        Some("exit") => exit(number()),
        Some("climb") => climb(usize::MAX),
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
