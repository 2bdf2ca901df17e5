//! The scanner on real bodies, recorded from cAdvisor and other exporters: `../shared/data`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use plimsoll::app::config::Config;
use plimsoll::app::engine_setup;
use plimsoll::base::{Labels, LabelsBuilder, Timestamp};
use plimsoll::exposition::{Batch, Format, Limits, Scan, ScanError, Selection, SeriesCache, m2};
use plimsoll::recorder::group::{Group, GroupWriter};

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path)
}

/// The bodies in a directory, by name: expositions, unpacked where they are packed.
fn bodies(directory: &str) -> BTreeMap<String, Vec<u8>> {
    let path = data(directory);
    let listing = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bodies = BTreeMap::new();
    for file in listing {
        let file = file.expect("the directory can be listed").path();
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let raw = fs::read(&file).expect("the file can be read");
        if let Some(name) = name.strip_suffix(".txt.gz") {
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(&*raw).read_to_end(&mut body).expect("is gzip");
            bodies.insert(name.to_owned(), body);
        } else if name.starts_with("prometheus_") {
            bodies.insert(name, raw);
        }
    }
    bodies
}

fn scrape(cache: &mut SeriesCache, selection: &Selection, body: &[u8]) -> Result<Batch, ScanError> {
    let limits = Limits::default();
    let mut admit = |_: &mut LabelsBuilder| true;
    let mut scan = Scan::begin(cache, selection, Format::Text, &limits, &mut admit);
    for chunk in body.chunks(16 << 10) {
        scan.feed(chunk)?;
    }
    scan.finish()
}

/// Lines that are neither blank nor comments.
fn sample_lines(body: &[u8]) -> impl Iterator<Item = &str> {
    let text = str::from_utf8(body).expect("the captures are UTF-8");
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

#[test]
fn real_bodies_are_read_whole() {
    let mut read = 0;
    for directory in
        ["golden/v0.60.5", "golden/v0.49.2", "cadvisor/single", "exporters", "cadvisor/trim"]
    {
        for (name, body) in bodies(directory) {
            // Datagrams of the statsd protocol, kept beside the expositions.
            if name.contains("-raw-udp") {
                continue;
            }
            let what = format!("{directory}/{name}");
            let batch = scrape(&mut SeriesCache::new(), &Selection::all(), &body)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let want = sample_lines(&body).count();
            assert_eq!(batch.stats.samples_kept, want as u64, "{what}");
            assert_eq!(batch.points.len() as u64 + batch.stats.duplicates, want as u64, "{what}");
            let name_of = |line: &str| line.split(['{', ' ']).next().map(str::to_owned);
            let some = sample_lines(&body).filter_map(name_of).nth(want / 2);
            let some = some.expect("every capture has samples");
            let wanted = sample_lines(&body).filter(|l| name_of(l).as_ref() == Some(&some)).count();
            let selection = Selection::only([some], Vec::new());
            let batch = scrape(&mut SeriesCache::new(), &selection, &body).expect("is good");
            assert_eq!(batch.stats.samples_kept, wanted as u64, "{what}");
            assert_eq!(batch.stats.samples_scraped(), want as u64, "{what}");
            read += 1;
        }
    }
    assert!(read >= 220, "only {read} bodies were found");
}

#[test]
fn a_cache_over_real_scrapes_changes_nothing_but_the_ids() {
    let mut cache = SeriesCache::new();
    let mut known: BTreeMap<u32, Labels> = BTreeMap::new();
    let mut before: Vec<Labels> = Vec::new();
    let mut vanished = 0;
    for (name, body) in bodies("cadvisor/recommended-flags") {
        let fresh = scrape(&mut SeriesCache::new(), &Selection::all(), &body).expect("is good");
        let fresh_labels: BTreeMap<u32, Labels> = fresh.new.into_iter().collect();
        let batch = scrape(&mut cache, &Selection::all(), &body).expect("is good");
        known.extend(batch.new);
        assert_eq!(batch.points.len(), fresh.points.len(), "{name}");
        for (cached, fresh) in batch.points.iter().zip(&fresh.points) {
            assert_eq!(known[&cached.id], fresh_labels[&fresh.id], "{name}");
            assert_eq!((cached.value.to_bits(), cached.at), (fresh.value.to_bits(), fresh.at));
        }
        let now: Vec<Labels> = fresh_labels.into_values().collect();
        let mut gone: Vec<&Labels> = before.iter().filter(|old| !now.contains(old)).collect();
        let mut told: Vec<&Labels> = batch.vanished.iter().map(|id| &known[id]).collect();
        gone.sort();
        told.sort();
        assert_eq!(told, gone, "{name}");
        vanished += told.len();
        before = now;
    }
    assert!(vanished > 0, "containers stopped while this was recorded");
}

#[test]
fn the_m2_sample_becomes_one_counter() {
    let body = fs::read(data("m2-sample.prom")).expect("the sample is there");
    let counter = "m2_cache_tcp_total";
    let selection = Selection::only(m2::raw_names(counter), Vec::new());
    let vhosts = ["vhost".to_owned(), "host".to_owned()];
    let mut admit = |labels: &mut LabelsBuilder| {
        m2::normalise(labels, &vhosts);
        true
    };
    let limits = Limits::default();
    let mut cache = SeriesCache::new();
    let mut scan = Scan::begin(&mut cache, &selection, Format::Text, &limits, &mut admit);
    scan.feed(&body).expect("is good");
    let batch = scan.finish().expect("is good");
    let hits =
        Labels::from_pairs([("__name__", counter), ("result", "hit"), ("vhost", "example.com")]);
    assert!(batch.new.iter().all(|(_, labels)| labels.metric_name() == counter));
    let (id, _) = batch.new.iter().find(|(_, labels)| *labels == hits).expect("hits are there");
    let point = batch.points.iter().find(|point| point.id == *id).expect("with a value");
    assert_eq!(point.value, 129_254.0);
}

/// A day of 50 containers at 5 s in the flight recorder's files, of what is read and of everything (`families:
/// all`), reckoned from a real cAdvisor whose containers leak, burst and are killed: 16 minutes that look at an
/// idle container seldom, and 5 minutes that look at each every 5 s. At most 200 MB, as docs/replay.md says.
#[test]
fn a_day_of_fifty_real_containers_fits_into_the_flight_recorder() {
    let (config, _) = Config::load_or_default(Path::new("plimsoll.yaml"));
    let selection = engine_setup(&config.expect("the defaults read"), "web-7").selection();
    let told = include_str!("../docs/replay.md");
    for (capture, least) in [("trim", 2000), ("recommended-flags", 500)] {
        let day = |selection: &Selection| {
            let (bytes, containers) = recorded(capture, selection);
            assert!(containers > least, "{capture}: {containers} containers in all scrapes");
            bytes as f64 / containers as f64 * 50.0 * 17_280.0 / 1e6
        };
        let (kept, all) = (day(&selection), day(&Selection::all()));
        let figures = format!("| {kept:.0} MB | {all:.0} MB |");
        println!("{capture}: {figures}");
        assert!(kept <= 200.0 && all <= 200.0, "{capture}: {figures}");
        assert!(told.contains(&figures), "{capture}: docs/replay.md lacks {figures}");
    }
}

/// The bytes that a capture takes in the recorder's files, each of which reads as what was sent; and the
/// containers of all its scrapes together.
fn recorded(capture: &str, selection: &Selection) -> (usize, usize) {
    let (mut bytes, mut containers) = (0, 0);
    let pages: Vec<(String, Vec<u8>)> =
        bodies(&format!("cadvisor/{capture}")).into_iter().collect();
    for pages in pages.chunks(60) {
        let mut group = GroupWriter::default();
        for (at, page) in pages {
            let at = Timestamp(at.parse().expect("a time"));
            group.add_page(at, page, selection);
            let own = |line: &&str| {
                line.starts_with("container_memory_working_set_bytes{")
                    && !line.contains("name=\"\"")
            };
            containers += sample_lines(page).filter(own).count();
        }
        let file = group.finish().expect("in memory");
        bytes += file.len();
        let group = Group::read(&file[..]).expect("whole");
        for (index, (_, page)) in pages.iter().enumerate() {
            let mut read: Vec<String> = sample_lines(&group.page(index)).map(into_words).collect();
            let of = |line: &&str| selection.wants(line.split(['{', ' ']).next().unwrap_or(""));
            let mut sent: Vec<String> = sample_lines(page).filter(of).map(into_words).collect();
            read.sort();
            sent.sort();
            assert_eq!(read, sent, "scrape {index}");
        }
    }
    (bytes, containers)
}

/// A sample line with single blanks.
fn into_words(line: &str) -> String {
    line.split(' ').collect::<Vec<_>>().join(" ")
}
