//! Tiles: the pieces in which a log serves its hashes and its entries, as [C2SP tlog-tiles].
//!
//! A tile of hashes at level 0 holds the hashes of 256 consecutive entries, and at every higher level those of 256
//! complete tiles below; a tile of entries holds 256 entries, each after its length in two bytes, big-endian. The last
//! tile of a level may be partial, and then its width is part of its path. A path is the level or `entries`, the tile's
//! index in groups of three digits, of which all but the last begin with `x`, and the width of a partial tile.
//!
//! ```
//! use smi_verifier::tile::{TileKind, TilePath, decode_entries, encode_entries};
//!
//! let path: TilePath = "entries/x001/x234/067.p/5".parse().unwrap();
//! assert_eq!((path.kind(), path.index(), path.width()), (TileKind::Entries, 1_234_067, 5));
//! assert!("entries/x001/x234/067.p/05".parse::<TilePath>().is_err());
//!
//! // A log of 70,000 entries, from the entry 69,800 on.
//! let paths: Vec<_> = TilePath::needed(70_000, 69_800..70_000).map(|path| path.to_string()).collect();
//! let entries = ["entries/272", "entries/273.p/112"];
//! let hashes = ["0/272", "0/273.p/112", "1/001.p/17", "2/000.p/1"];
//! assert_eq!(paths, [&entries[..], &hashes].concat());
//!
//! let bytes = encode_entries(&["a", "bc"]).unwrap();
//! assert_eq!(bytes, b"\x00\x01a\x00\x02bc");
//! assert_eq!(decode_entries(&bytes, 2).unwrap(), [b"a".as_slice(), b"bc"]);
//! ```
//!
//! [C2SP tlog-tiles]: https://c2sp.org/tlog-tiles

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::merkle::{Hash, TILE_HEIGHT, TILE_WIDTH};
use crate::note::decimal;

/// Bytes of an entry: what two bytes can tell.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// Bytes of a tile of entries.
pub const MAX_ENTRY_TILE_BYTES: usize = TILE_WIDTH as usize * (LENGTH_BYTES + MAX_ENTRY_BYTES);

/// Bytes of a tile of hashes.
pub const MAX_HASH_TILE_BYTES: usize = TILE_WIDTH as usize * HASH_BYTES;

/// The highest level that a path can name. No tree reaches it.
pub const MAX_LEVEL: u8 = 63;

/// Bytes of a path.
const MAX_PATH_BYTES: usize = 64;

const HASH_BYTES: usize = 32;
const LENGTH_BYTES: usize = 2;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TileKind {
    /// Entries.
    Entries,
    /// Hashes of complete subtrees, each of 256 to the power of `level` entries.
    Hashes {
        /// The level, at most [`MAX_LEVEL`].
        level: u8,
    },
}

/// Which tile, and how much of it: the part of an address after `tile/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// The text is not the path of a tile, in its one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tile's path is like 0/x001/x234/067, 1/000.p/17 or entries/067.p/5")]
pub struct ParseTilePathError;

impl TilePath {
    /// The first `width` hashes or entries of a tile; `None` where there is no such level or width.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let has_level = !matches!(kind, TileKind::Hashes { level } if level > MAX_LEVEL);
        let has_width = (1..=TILE_WIDTH).contains(&width);
        (has_level && has_width).then_some(Self { kind, index, width })
    }

    /// What the tile holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// How many tiles of its kind are before it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds: 256, or fewer where it is partial.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether a log of `size` entries has everything that the tile holds.
    pub fn exists_at(&self, size: u64) -> bool {
        Self::of_log(self.kind, self.index, size).is_some_and(|tile| self.width <= tile.width)
    }

    /// The tiles of a log of `size` entries that cover these entries, as wide as they are at that size: tiles of
    /// entries, then tiles of hashes, from the lowest level to the highest.
    ///
    /// They are computed as they are asked for: nothing is allocated, however large the log claims to be.
    pub fn needed(size: u64, entries: Range<u64>) -> Needed {
        let last = entries.end.min(size).checked_sub(1).filter(|last| entries.start <= *last);
        let kind = last.map(|_| TileKind::Entries);
        Needed { size, first: entries.start, last: last.unwrap_or(0), kind, passed: 0 }
    }

    /// The tile as wide as a log of `size` entries has it.
    fn of_log(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(kind.height()).unwrap_or(0);
        let from_here = hashes.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = u16::try_from(from_here.min(u64::from(TILE_WIDTH))).ok()?;
        Self::new(kind, index, width)
    }

    /// Reads more than the one form.
    fn read_leniently(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes { level: level.parse().ok()? },
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, decimal(width)?.try_into().ok()?),
            None => (rest, TILE_WIDTH),
        };
        let index = index.replace(['x', '/'], "").parse().ok()?;
        Self::new(kind, index, width)
    }
}

/// The tiles that cover some entries of a log: see [`TilePath::needed`].
#[derive(Clone, Debug)]
pub struct Needed {
    size: u64,
    first: u64,
    last: u64,
    /// Of what kind the next one is; none at the end.
    kind: Option<TileKind>,
    /// Tiles of this kind that were given.
    passed: u64,
}

impl Iterator for Needed {
    type Item = TilePath;

    fn next(&mut self) -> Option<TilePath> {
        while let Some(kind) = self.kind {
            let height = kind.height() + TILE_HEIGHT;
            let tile = |entry: u64| entry.checked_shr(height).unwrap_or(0);
            let index = tile(self.first).saturating_add(self.passed);
            if index <= tile(self.last)
                && let Some(path) = TilePath::of_log(kind, index, self.size)
            {
                self.passed += 1;
                return Some(path);
            }
            (self.kind, self.passed) = (kind.above(), 0);
        }
        None
    }
}

impl TileKind {
    /// The kind of the next level: entries come first.
    fn above(self) -> Option<Self> {
        let level = match self {
            Self::Entries => 0,
            Self::Hashes { level } => level.checked_add(1).filter(|level| *level <= MAX_LEVEL)?,
        };
        Some(Self::Hashes { level })
    }

    /// How many levels of the tree are below the tile.
    fn height(self) -> u32 {
        match self {
            Self::Entries => 0,
            Self::Hashes { level } => TILE_HEIGHT * u32::from(level),
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("entries")?,
            TileKind::Hashes { level } => write!(f, "{level}")?,
        }
        let groups = self.index.checked_ilog(1000).unwrap_or(0);
        for group in (1..=groups).rev() {
            write!(f, "/x{:03}", self.index / 1000_u64.pow(group) % 1000)?;
        }
        write!(f, "/{:03}", self.index % 1000)?;
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for TilePath {
    type Err = ParseTilePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = (text.len() <= MAX_PATH_BYTES).then(|| Self::read_leniently(text)).flatten();
        path.filter(|path| path.to_string() == text).ok_or(ParseTilePathError)
    }
}

/// Why bytes are not a tile, or cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// No hashes or entries, or more than a tile has.
    #[error("a tile has 1 to {TILE_WIDTH} hashes or entries, not {width}")]
    Width {
        /// The number given.
        width: usize,
    },
    /// An entry that two bytes cannot give the length of.
    #[error("entry {at} of the tile has {len} bytes; the most are {MAX_ENTRY_BYTES}")]
    Entry {
        /// Its place in the tile, from 0.
        at: usize,
        /// Its bytes.
        len: usize,
    },
    /// The bytes end before the last entry does.
    #[error("the tile ends within its entry {at}")]
    Truncated {
        /// The entry's place in the tile, from 0.
        at: usize,
    },
    /// Bytes after the last entry.
    #[error("{len} bytes follow the tile's last entry")]
    Trailing {
        /// How many.
        len: usize,
    },
    /// Not as many bytes as the hashes have.
    #[error("the tile of hashes has {found} bytes, not {expected}")]
    Length {
        /// Bytes of so many hashes.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
}

/// A tile of these entries.
pub fn encode_entries(entries: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, TileError> {
    check_width(entries.len())?;
    let mut bytes = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        let len = u16::try_from(entry.len()).map_err(|_| TileError::Entry { at, len: entry.len() })?;
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a tile of that width.
pub fn decode_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    check_width(usize::from(width))?;
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bytes;
    for at in 0..usize::from(width) {
        let (len, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(TileError::Truncated { at })?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, after) = after.split_at_checked(len).ok_or(TileError::Truncated { at })?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Trailing { len: rest.len() }) }
}

/// A tile of these hashes.
pub fn encode_hashes(hashes: &[Hash]) -> Result<Vec<u8>, TileError> {
    check_width(hashes.len())?;
    Ok(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
}

/// The hashes of a tile of that width.
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    check_width(usize::from(width))?;
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    if hashes.len() != usize::from(width) || !rest.is_empty() {
        return Err(TileError::Length { expected: HASH_BYTES * usize::from(width), found: bytes.len() });
    }
    Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
}

fn check_width(width: usize) -> Result<(), TileError> {
    if (1..=usize::from(TILE_WIDTH)).contains(&width) { Ok(()) } else { Err(TileError::Width { width }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn paths(size: u64, entries: Range<u64>) -> Vec<String> {
        TilePath::needed(size, entries).map(|path| path.to_string()).collect()
    }

    #[test]
    fn paths_have_one_text() {
        let indices = [0, 1, 999, 1000, 67_001, 1_234_067, 999_999_999, 1_000_000_000, u64::MAX];
        for index in indices {
            for width in 1..=TILE_WIDTH {
                for kind in [TileKind::Entries, TileKind::Hashes { level: 0 }, TileKind::Hashes { level: MAX_LEVEL }] {
                    let path = TilePath::new(kind, index, width).unwrap();
                    assert_eq!(path.to_string().parse(), Ok(path), "{path}");
                    assert_eq!((path.kind(), path.index(), path.width()), (kind, index, width));
                }
            }
        }
        let path = TilePath::new(TileKind::Hashes { level: 7 }, u64::MAX, 255).unwrap();
        assert_eq!(path.to_string(), "7/x018/x446/x744/x073/x709/x551/615.p/255");
    }

    #[test]
    fn every_other_text_is_refused() {
        for bad in [
            "",
            "/",
            "0",
            "0/",
            "0/0",
            "0/00",
            "0/0000",
            "0/x000",
            "0/x000/001",
            "0/000/001",
            "0/001/x002",
            "0/X001/002",
            "0/x001/x002",
            "0/x01/002",
            "0/001/",
            "/0/001",
            "00/001",
            "+1/001",
            "-1/001",
            "64/001",
            "256/001",
            "data/001",
            "Entries/001",
            "entries",
            "entries/",
            "0/001.p",
            "0/001.p/",
            "0/001.p/0",
            "0/001.p/05",
            "0/001.p/+5",
            "0/001.p/256",
            "0/001.p/65537",
            "0/001.p/5/",
            "0/001.p/5.p/5",
            "0/001.p5",
            "0/ 01",
            "0/+01",
            "0/0x1",
            "0/001\n",
            "0/\u{661}\u{661}\u{661}",
            "0/x018/x446/x744/x073/x709/x551/616",
            "0/x001/x018/x446/x744/x073/x709/x551/615",
        ] {
            assert_eq!(bad.parse::<TilePath>(), Err(ParseTilePathError), "{bad:?}");
        }
        assert_eq!(format!("0/{}001", "x001/".repeat(20)).parse::<TilePath>(), Err(ParseTilePathError));
    }

    #[test]
    fn there_are_no_other_levels_and_widths() {
        assert_eq!(TilePath::new(TileKind::Entries, 0, 0), None);
        assert_eq!(TilePath::new(TileKind::Entries, 0, TILE_WIDTH + 1), None);
        assert_eq!(TilePath::new(TileKind::Hashes { level: MAX_LEVEL + 1 }, 0, 1), None);
    }

    #[test]
    fn a_log_needs_full_tiles_and_the_last_partial_one_of_each_level() {
        assert_eq!(paths(0, 0..0), [""; 0]);
        assert_eq!(paths(1, 0..1), ["entries/000.p/1", "0/000.p/1"]);
        assert_eq!(paths(255, 0..255), ["entries/000.p/255", "0/000.p/255"]);
        assert_eq!(paths(256, 0..256), ["entries/000", "0/000", "1/000.p/1"]);
        assert_eq!(paths(257, 256..257), ["entries/001.p/1", "0/001.p/1", "1/000.p/1"]);
        // The example of the specification.
        let all: Vec<_> = TilePath::needed(70_000, 0..70_000).collect();
        let count = |level, width| {
            let is_such = |path: &&TilePath| path.kind == TileKind::Hashes { level } && path.width == width;
            all.iter().filter(is_such).count()
        };
        assert_eq!((count(0, 256), count(0, 112), count(1, 256), count(1, 17), count(2, 1)), (273, 1, 1, 1, 1));
        assert_eq!(all.len(), 2 * 274 + 3);
    }

    #[test]
    fn a_range_needs_the_tiles_that_cover_it_and_no_others() {
        assert_eq!(paths(600, 255..257), ["entries/000", "entries/001", "0/000", "0/001", "1/000.p/2"]);
        assert_eq!(paths(600, 0..1), ["entries/000", "0/000", "1/000.p/2"]);
        assert_eq!(paths(600, 512..9999), ["entries/002.p/88", "0/002.p/88", "1/000.p/2"]);
        for (start, end) in [(5, 5), (600, 601), (600, u64::MAX), (9, 3)] {
            assert_eq!(paths(600, start..end), [""; 0]);
        }
        let last = paths(u64::MAX, u64::MAX - 1..u64::MAX);
        assert_eq!(last.first().unwrap(), "entries/x072/x057/x594/x037/x927/935.p/255");
        assert_eq!(last.last().unwrap(), "7/000.p/255");
        assert_eq!(last.len(), 9);
    }

    #[test]
    fn a_tile_exists_as_soon_as_everything_in_it_does() {
        let mut seen = BTreeSet::new();
        for size in 0..1000 {
            seen.extend(TilePath::needed(size, 0..size));
            let absent = TilePath::needed(size + 1, 0..size + 1).filter(|path| !seen.contains(path));
            assert!(absent.into_iter().all(|path| !path.exists_at(size) && path.exists_at(size + 1)));
            assert!(seen.iter().all(|path| path.exists_at(size)));
        }
        for level in 8..=MAX_LEVEL {
            assert!(!TilePath::new(TileKind::Hashes { level }, 0, 1).unwrap().exists_at(u64::MAX));
        }
        for index in [1, u64::MAX / 256, u64::MAX] {
            assert!(!TilePath::new(TileKind::Hashes { level: 7 }, index, 1).unwrap().exists_at(u64::MAX));
        }
    }

    #[test]
    fn entries_come_back_as_they_went() {
        let (empty, long) = (Vec::new(), vec![7; MAX_ENTRY_BYTES]);
        for entries in [vec![empty.clone()], vec![long.clone(), empty, long], vec![b"x".to_vec(); 256]] {
            let bytes = encode_entries(&entries).unwrap();
            let width = u16::try_from(entries.len()).unwrap();
            assert_eq!(decode_entries(&bytes, width).unwrap(), entries);
            assert!(bytes.len() <= MAX_ENTRY_TILE_BYTES);
            for other in (0..=300).filter(|other| *other != width) {
                assert!(decode_entries(&bytes, other).is_err());
            }
        }
    }

    #[test]
    fn the_largest_tiles_have_as_many_bytes_as_is_said() {
        let entry = vec![0; MAX_ENTRY_BYTES];
        assert_eq!(encode_entries(&[entry.as_slice(); 256]).unwrap().len(), MAX_ENTRY_TILE_BYTES);
        assert_eq!(encode_hashes(&[Hash::EMPTY; 256]).unwrap().len(), MAX_HASH_TILE_BYTES);
    }

    #[test]
    fn what_is_no_tile_of_entries_is_refused() {
        let good = b"\x00\x01a\x00\x02bc";
        assert_eq!(decode_entries(good, 1), Err(TileError::Trailing { len: 4 }));
        assert_eq!(decode_entries(good, 3), Err(TileError::Truncated { at: 2 }));
        for len in 0..good.len() {
            let at = usize::from(len >= 3);
            assert_eq!(decode_entries(&good[..len], 2), Err(TileError::Truncated { at }), "{len} bytes");
        }
        for width in [0, 257] {
            assert_eq!(decode_entries(good, width), Err(TileError::Width { width: width.into() }));
            assert_eq!(encode_entries(&vec![b"a"; width.into()]), Err(TileError::Width { width: width.into() }));
        }
        let long = vec![0; MAX_ENTRY_BYTES + 1];
        assert_eq!(encode_entries(&[&[][..], &long]), Err(TileError::Entry { at: 1, len: MAX_ENTRY_BYTES + 1 }));
    }

    #[test]
    fn hashes_come_back_as_they_went() {
        for width in 1..=TILE_WIDTH {
            let hashes: Vec<_> = (0..width).map(|at| Hash::of_leaf(&at.to_be_bytes())).collect();
            let bytes = encode_hashes(&hashes).unwrap();
            assert_eq!(decode_hashes(&bytes, width), Ok(hashes));
            assert!(bytes.len() <= MAX_HASH_TILE_BYTES);
            let expected = bytes.len();
            for found in [0, expected - 32, expected - 1] {
                assert_eq!(decode_hashes(&bytes[..found], width), Err(TileError::Length { expected, found }));
            }
            for more in [1, 32] {
                let longer = [bytes.clone(), vec![0; more]].concat();
                let refused = Err(TileError::Length { expected, found: longer.len() });
                assert_eq!(decode_hashes(&longer, width), refused);
            }
        }
        for width in [0, 257] {
            assert_eq!(
                decode_hashes(&vec![0; 32 * usize::from(width)], width),
                Err(TileError::Width { width: width.into() })
            );
            assert_eq!(encode_hashes(&vec![Hash::EMPTY; width.into()]), Err(TileError::Width { width: width.into() }));
        }
    }
}
