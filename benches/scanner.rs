//! How fast a scrape is read, beside what it could cost at least (`memchr` alone) and what the
//! usual crate costs (`prometheus-parse`, whose results on this body are wrong).
//!
//! The body is shaped like cAdvisor's: 200 containers, 56 families in family order, labels as
//! Docker Compose writes them, explicit timestamps.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll::base::LabelsBuilder;
use plimsoll::exposition::{Batch, Format, Limits, Scan, Selection, SeriesCache};

const CONTAINERS: usize = 200;
const FAMILIES: usize = 56;
/// As many families as the shipped rules read of cAdvisor.
const WANTED: usize = 14;
/// What reqwest gives at a time from a loopback socket, about.
const CHUNK_BYTES: usize = 64 << 10;

fn family(no: usize) -> String {
    format!("container_memory_family_{no:02}_bytes_total")
}

fn payload() -> Vec<u8> {
    let mut body = String::new();
    for no in 0..FAMILIES {
        let name = family(no);
        let _ = writeln!(body, "# HELP {name} Cumulative count of something in bytes.");
        let _ = writeln!(body, "# TYPE {name} gauge");
        for container in 0..CONTAINERS {
            let value = (container * 7919 + no * 104_729) * 4096;
            let _ = writeln!(
                body,
                "{name}{{container_label_com_docker_compose_config_hash=\"{container:064x}\",\
                 container_label_com_docker_compose_container_number=\"1\",\
                 container_label_com_docker_compose_depends_on=\"redis:service_started:false,db:service_healthy:false\",\
                 container_label_com_docker_compose_project=\"tenant-{container:05}\",\
                 container_label_com_docker_compose_project_working_dir=\"/srv/tenants/tenant-{container:05}\",\
                 container_label_com_docker_compose_service=\"backend\",\
                 container_label_com_docker_compose_version=\"2.24.5\",\
                 container_label_maintainer=\"ops@example.test\",\
                 container_label_prego_plan=\"pro\",container_label_prego_tenant=\"tenant-{container:05}\",\
                 id=\"/docker/{container:064x}\",image=\"registry.example.test/prego/erpnext:v15.38.4\",\
                 name=\"tenant-{container:05}-backend-1\"}} {value} 1795312441005"
            );
        }
    }
    body.into_bytes()
}

fn scrape(cache: &mut SeriesCache, selection: &Selection, body: &[u8]) -> Batch {
    let limits = Limits::default();
    let mut admit = |_: &mut LabelsBuilder| true;
    let mut scan = Scan::begin(cache, selection, Format::Text, &limits, &mut admit);
    for chunk in body.chunks(CHUNK_BYTES) {
        scan.feed(chunk).expect("the payload is good");
    }
    scan.finish().expect("the payload is good")
}

fn scanner(criterion: &mut Criterion) {
    let body = payload();
    let all = Selection::all();
    let wanted = Selection::only((0..WANTED).map(|no| family(no * FAMILIES / WANTED)), Vec::new());
    let none = Selection::only([], Vec::new());
    let mut group = criterion.benchmark_group("scanner");
    group.throughput(Throughput::Bytes(body.len() as u64)).sample_size(20);
    group.bench_function("memchr alone", |b| {
        b.iter(|| memchr::memchr_iter(b'\n', black_box(&body)).count());
    });
    for (name, selection) in [("all", &all), ("wanted", &wanted), ("nothing wanted", &none)] {
        let mut cache = SeriesCache::new();
        group.bench_function(format!("{name}, known series"), |b| {
            b.iter(|| scrape(&mut cache, selection, black_box(&body)));
        });
    }
    for (name, selection) in [("all", &all), ("wanted", &wanted)] {
        group.bench_function(format!("{name}, first scrape"), |b| {
            b.iter(|| scrape(&mut SeriesCache::new(), selection, black_box(&body)));
        });
    }
    group.sample_size(10).bench_function("prometheus-parse", |b| {
        b.iter(|| {
            let text = str::from_utf8(black_box(&body)).expect("is ASCII");
            prometheus_parse::Scrape::parse(text.lines().map(|line| Ok(line.to_owned())))
        });
    });
    group.finish();
}

criterion_group!(benches, scanner);
criterion_main!(benches);
