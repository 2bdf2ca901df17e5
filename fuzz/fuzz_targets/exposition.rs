//! Any body is read or refused, the same however it is cut into pieces and whatever the cache holds.
//! The last byte chooses the format, the selection and the size of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::base::LabelsBuilder;
use plimsoll::exposition::{Batch, Format, Limits, Scan, ScanError, Selection, SeriesCache, m2};

/// What a batch says of samples: id, bits of the value (NaN is not itself), time.
type Points = Vec<(u32, u64, Option<i64>)>;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_last() else { return };
    let format = if choice & 1 == 1 { Format::OpenMetrics } else { Format::Text };
    let selection = match choice & 2 {
        0 => Selection::all(),
        _ => Selection::only(["up".to_owned(), "a".to_owned()], Vec::new()),
    };
    let piece = usize::from(choice >> 2).max(1);
    let (mut cut, mut whole) = (SeriesCache::new(), SeriesCache::new());
    // Twice, so that the second time finds its series in the cache.
    for _ in 0..2 {
        let in_pieces = scrape(&mut cut, &selection, format, body.chunks(piece));
        let at_once = scrape(&mut whole, &selection, format, std::iter::once(body));
        match (in_pieces, at_once) {
            (Ok(a), Ok(b)) => {
                assert_eq!(points(&a), points(&b));
                assert_eq!((&a.new, &a.vanished, a.stats), (&b.new, &b.vanished, b.stats));
                assert_eq!(a.metadata, b.metadata);
            }
            (Err(a), Err(b)) => assert_eq!((a.line, a.problem), (b.line, b.problem)),
            (a, b) => panic!("cut {:?}, whole {:?}", a.err(), b.err()),
        }
    }
    assert_eq!(cut.len(), whole.len());
});

fn points(batch: &Batch) -> Points {
    let point = |point: &plimsoll::exposition::Point| {
        (point.id, point.value.to_bits(), point.at.map(|at| at.0))
    };
    batch.points.iter().map(point).collect()
}

fn scrape<'b>(
    cache: &mut SeriesCache,
    selection: &Selection,
    format: Format,
    pieces: impl Iterator<Item = &'b [u8]>,
) -> Result<Batch, ScanError> {
    let limits = Limits { line_length_limit: 4096, label_limit: 8, ..Limits::default() };
    let vhosts = ["vhost".to_owned(), "host".to_owned()];
    let mut admit = |labels: &mut LabelsBuilder| {
        m2::normalise(labels, &vhosts);
        labels.get("drop").is_empty()
    };
    let mut scan = Scan::begin(cache, selection, format, &limits, &mut admit);
    for piece in pieces {
        scan.feed(piece)?;
    }
    scan.finish()
}
