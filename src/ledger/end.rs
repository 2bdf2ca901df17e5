//! How a file of the audit ends: from where the chain goes on, and what is left as it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::audit::{Chain, LINE_BYTES_MAX, Link};

/// How far back from the end of a file the newest whole line is looked for at first.
const TAIL_BYTES: u64 = 2 * LINE_BYTES_MAX as u64;

/// How a file ends.
pub(super) struct End {
    /// Bytes up to the end of the last whole line.
    pub length: u64,
    /// Bytes behind it: a line that was half-written. None if they are more than a line has.
    pub torn: u64,
    /// Whether a line can be appended behind `length`.
    pub goes_on: bool,
    /// The newest line that can be believed.
    pub chain: Option<Chain>,
    /// Why what comes last cannot be, if so.
    disbelieved: Option<String>,
}

impl End {
    pub fn find(path: &Path) -> io::Result<End> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let start = size.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(size - start).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let torn = bytes.len() - whole;
        let mut end = End {
            length: start + whole as u64,
            torn: torn as u64,
            goes_on: torn <= LINE_BYTES_MAX,
            chain: None,
            disbelieved: None,
        };
        if !end.goes_on {
            end.disbelieved = Some(format!("it is none: it has more than {LINE_BYTES_MAX} bytes"));
            (end.length, end.torn) = (size, 0);
        }
        for line in bytes[..whole.saturating_sub(1)].rsplit(|byte| *byte == b'\n') {
            match Link::read(line) {
                Ok(link) => {
                    end.chain = Some(link.chain());
                    break;
                }
                Err(_) if whole == 0 => {}
                Err(error) => {
                    end.disbelieved.get_or_insert(error.to_string());
                }
            }
        }
        if end.chain.is_none() && start > 0 {
            end.chain = newest(path)?;
        }
        Ok(end)
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.length + self.torn == 0
    }

    /// What is wrong, in one sentence.
    pub fn fault(&self) -> Option<String> {
        match &self.disbelieved {
            Some(why) => Some(format!("the last line cannot be believed: {why}")),
            None if self.torn > 0 => Some("the last line was half-written and was cut off".into()),
            None => None,
        }
    }
}

/// The newest line of a whole file that can be believed.
fn newest(path: &Path) -> io::Result<Option<Chain>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut chain = None;
    loop {
        let mut line = Vec::new();
        let bound = LINE_BYTES_MAX as u64 + 1;
        if reader.by_ref().take(bound).read_until(b'\n', &mut line)? == 0 {
            return Ok(chain);
        }
        line.pop_if(|last| *last == b'\n');
        chain = Link::read(&line).ok().map(|link| link.chain()).or(chain);
    }
}
