//! A port for a program that is told where to listen, and may be killed and come back there.
//!
//! It lies below the range the system itself chooses from: a port that was merely free a moment ago is given to the next
//! socket that asks for any, and the program that comes back finds a stranger in its place.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports the system never gives to a socket that asks for any (`ip_local_port_range` begins at 32768).
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// A port on loopback that nobody listens on, given out once by this process.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let width = RANGE.end - RANGE.start;
    // Test programs that run side by side begin far from each other.
    let begin = (std::process::id().wrapping_mul(7919) % u32::from(width)) as u16;
    for _ in RANGE {
        let next = GIVEN.fetch_add(1, Ordering::Relaxed) % width;
        let port = RANGE.start + (begin + next) % width;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {} and {}", RANGE.start, RANGE.end);
}
