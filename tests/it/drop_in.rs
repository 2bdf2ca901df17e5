//! Readers of `/metrics/containers`, many at once: who does not read fills no memory, and who reads without
//! end takes the collector from nobody.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::cgroups::{Cgroups, Layout, Load, id};
use crate::support::{Home, Plan, Process, get, pause, query, wait_until};

const PATH: &str = "/metrics/containers";

/// A host of so many containers that its page has more bytes than the buffers between two sockets take.
fn host_of(containers: usize) -> (Home, Process) {
    let home = Home::new(&Plan::default());
    let cgroups = Cgroups::new(home.path(), Layout::V2Systemd);
    (1..=containers).for_each(|n| cgroups.put(&id(n), Load::default()));
    let config = format!(
        "global: {{scrape_interval: 3s, evaluation_interval: 1s}}\n\
         collector: {{interval: 3s, cgroup_root: '{}', proc_root: '{}'}}\n\
         docker: {{host: 'unix://{}'}}\n\
         web: {{listen: '127.0.0.1:0'}}\nstorage: {{path: '{}'}}\n",
        cgroups.cgroup_root().display(),
        cgroups.proc_root().display(),
        home.path().join("none").display(),
        home.path().join("state").display(),
    );
    home.write("plimsoll.yaml", &config);
    let process = home.start();
    let web = home.address();
    wait_until("every container shows", 60, || {
        get(web, PATH).is_some_and(|page| page.contains(&id(containers)))
    });
    (home, process)
}

fn resident_bytes(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim_end_matches("kB").trim().parse::<usize>().expect("a number") << 10
}

/// Asks for the page and reads the status alone.
fn ask_and_leave_unread(web: SocketAddr, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(web).expect("it listens");
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer begins");
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[test]
fn readers_that_do_not_read_fill_no_memory() {
    const READERS: usize = 96;
    let (home, process) = host_of(800);
    let web = home.address();
    let page_bytes = get(web, PATH).expect("a page").len();
    assert!(page_bytes > 4 << 20, "more than sockets hold: {page_bytes}");
    let before = resident_bytes(&process);
    let unread: Vec<_> =
        (0..READERS).map(|_| thread::spawn(move || ask_and_leave_unread(web, ""))).collect();
    let unread: Vec<TcpStream> = unread.into_iter().map(|one| one.join().expect("asks")).collect();
    let grown = resident_bytes(&process).saturating_sub(before);
    let held = home.figure("plimsoll_http_unsent_bytes");
    assert!(grown < 100 << 20, "{READERS} readers of {page_bytes} bytes hold {grown}");
    assert!(held >= page_bytes as f64 && held <= f64::from(64 << 20), "it is counted: {held}");
    drop(unread);
    wait_until("it goes with them", 20, || home.figure("plimsoll_http_unsent_bytes") == 0.0);
}

#[test]
fn readers_without_end_take_no_collection_its_place() {
    const READERS: usize = 32;
    let (home, _process) = host_of(200);
    let web = home.address();
    let until = Instant::now() + Duration::from_secs(15);
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            thread::spawn(move || {
                let mut pages = 0;
                while Instant::now() < until {
                    get(web, PATH).expect("everybody is served");
                    pages += 1;
                }
                pages
            })
        })
        .collect();
    let pages: Vec<usize> = readers.into_iter().map(|one| one.join().expect("reads")).collect();
    assert!(pages.iter().all(|pages| *pages > 1), "{pages:?}");
    pause(1000);
    let collected = query(web, "count_over_time(up{job=\"collector\"}[15s])").pop().expect("some");
    let worst = query(web, "min_over_time(up{job=\"collector\"}[15s])").pop().expect("some");
    assert!(collected.1 >= 4.0 && worst.1 == 1.0, "{collected:?} {worst:?}");
}
