//! The file of a time zone, RFC 9636: changes of the offset with 64 bits, and the rule behind them.

/// What a zone's file says.
pub(super) struct File<'a> {
    /// Offset before the first change, seconds east of UTC.
    pub first: i64,
    /// When the offset changed, and to what.
    pub changes: Vec<(i64, i64)>,
    /// What holds after the last change, in POSIX's notation; `""` if the file does not say.
    pub rule: &'a str,
}

/// Lengths of the parts of a block.
struct Header {
    version: u8,
    utc: usize,
    standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    chars: usize,
}

const HEADER_BYTES: usize = 44;
const TYPE_BYTES: usize = 6;

/// Reads a file of version 2 or later; older ones ended with 2037. `None`: it is something else, or
/// broken.
pub(super) fn read(bytes: &[u8]) -> Option<File<'_>> {
    let old = header(bytes)?;
    let rest = bytes.get(HEADER_BYTES + old.length(4)..).filter(|_| old.version >= b'2')?;
    let header = header(rest)?;
    let block = rest.get(HEADER_BYTES..HEADER_BYTES + header.length(8))?;
    let (times, block) = block.split_at(header.times * 8);
    let (indexes, block) = block.split_at(header.times);
    let types = &block[..header.types * TYPE_BYTES];
    let offset = |index: usize| types.chunks_exact(TYPE_BYTES).nth(index).and_then(number::<4>);
    let when = times.chunks_exact(8).map(number::<8>);
    let to = indexes.iter().map(|index| offset(usize::from(*index)));
    let changes: Option<Vec<_>> = when.zip(to).map(|(when, to)| when.zip(to)).collect();
    let changes = changes.filter(|all| all.is_sorted_by_key(|(when, _)| *when))?;
    let footer = rest.get(HEADER_BYTES + header.length(8)..)?;
    let footer = std::str::from_utf8(footer).ok()?.strip_prefix('\n')?.strip_suffix('\n')?;
    Some(File { first: offset(0)?, changes, rule: footer })
}

fn header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..HEADER_BYTES)?.strip_prefix(b"TZif")?;
    let count = |index: usize| {
        let at = 16 + 4 * index;
        usize::try_from(number::<4>(&bytes[at..])?).ok()
    };
    Some(Header {
        version: bytes[0],
        utc: count(0)?,
        standard: count(1)?,
        leaps: count(2)?,
        times: count(3)?,
        types: count(4)?,
        chars: count(5)?,
    })
}

impl Header {
    /// Bytes of the block behind this header, whose times have so many.
    fn length(&self, time: usize) -> usize {
        let Header { times, types, chars, leaps, standard, utc, .. } = self;
        times * (time + 1) + types * TYPE_BYTES + chars + leaps * (time + 4) + standard + utc
    }
}

/// A signed number of so many bytes, the highest first.
fn number<const BYTES: usize>(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.get(..BYTES)?;
    let start = if bytes[0] >= 0x80 { -1 } else { 0 };
    Some(bytes.iter().fold(start, |number, byte| number << 8 | i64::from(*byte)))
}
