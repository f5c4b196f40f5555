//! Any text as the path of a tile, and any bytes as a tile: its width in two bytes, and then the tile.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use smi_verifier::merkle::TILE_WIDTH;
use smi_verifier::tile::{
    MAX_ENTRY_BYTES, MAX_ENTRY_TILE_BYTES, MAX_HASH_TILE_BYTES, MAX_LEVEL, TileKind, TilePath, decode_entries,
    decode_hashes, encode_entries, encode_hashes,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(path) = str::from_utf8(bytes).unwrap_or_default().parse::<TilePath>() {
        check_path(path, bytes);
    }
    if let Some((width, tile)) = bytes.split_first_chunk() {
        check_tile(u16::from_be_bytes(*width), tile);
    }
    if let Some((numbers, rest)) = bytes.split_first_chunk::<8>() {
        let size = u64::from_be_bytes(*numbers);
        let start = rest.first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
        check_log(size, start, rest.get(8).copied().map_or(0, u64::from));
    }
});

fn check_path(path: TilePath, text: &[u8]) {
    assert_eq!(path.to_string().as_bytes(), text);
    assert!((1..=TILE_WIDTH).contains(&path.width()));
    assert_eq!(TilePath::new(path.kind(), path.index(), path.width()), Some(path));
    // It exists from the size on at which its last hash is that of a complete subtree.
    let (level, per_hash) = match path.kind() {
        TileKind::Entries => (0, Some(1)),
        TileKind::Hashes { level } => (level, 256_u128.checked_pow(level.into())),
    };
    assert!(level <= MAX_LEVEL);
    let hashes = u128::from(path.index()) * 256 + u128::from(path.width());
    let least = per_hash.and_then(|entries| entries.checked_mul(hashes)).and_then(|size| u64::try_from(size).ok());
    match least {
        None => assert!(!path.exists_at(u64::MAX), "{path}"),
        Some(least) => {
            assert!(
                path.exists_at(least) && path.exists_at(u64::MAX) && !path.exists_at(least - 1),
                "{path} at {least}"
            );
            let first = u128::from(path.index()) * 256 * per_hash.unwrap_or_default();
            let first = u64::try_from(first).expect("below the last");
            assert!(TilePath::needed(least, first..first + 1).any(|needed| needed == path), "{path} at {least}");
        }
    }
}

fn check_tile(width: u16, bytes: &[u8]) {
    if let Ok(entries) = decode_entries(bytes, width) {
        assert_eq!(encode_entries(&entries).as_deref(), Ok(bytes));
        assert_eq!(entries.len(), usize::from(width));
        assert!(bytes.len() <= MAX_ENTRY_TILE_BYTES && entries.iter().all(|entry| entry.len() <= MAX_ENTRY_BYTES));
        let other = width % TILE_WIDTH + 1;
        assert!(other == width || decode_entries(bytes, other).is_err() || bytes.is_empty());
    }
    if let Ok(hashes) = decode_hashes(bytes, width) {
        assert_eq!(encode_hashes(&hashes).as_deref(), Ok(bytes));
        assert_eq!(hashes.len(), usize::from(width));
        assert!(bytes.len() <= MAX_HASH_TILE_BYTES);
    }
}

/// The tiles that cover a few entries of a log of that size.
fn check_log(size: u64, start: u64, count: u64) {
    let entries = start..start.saturating_add(count);
    let needed: Vec<TilePath> = TilePath::needed(size, entries.clone()).collect();
    let distinct: BTreeSet<TilePath> = needed.iter().copied().collect();
    assert_eq!(distinct.len(), needed.len());
    for path in &needed {
        assert!(path.exists_at(size), "{path} at {size}");
        assert_eq!(path.to_string().parse(), Ok(*path));
        let wider = TilePath::new(path.kind(), path.index(), path.width() + 1);
        assert!(wider.is_none_or(|wider| !wider.exists_at(size)), "{path} at {size} is not as wide as it could be");
    }
    let covered = |kind: TileKind, entry: u64| {
        let holds = |path: &TilePath| {
            let within = entry.checked_sub(path.index().saturating_mul(256));
            path.kind() == kind && within.is_some_and(|within| within < u64::from(path.width()))
        };
        needed.iter().any(holds)
    };
    for entry in entries.start..entries.end.min(size) {
        assert!(
            covered(TileKind::Entries, entry) && covered(TileKind::Hashes { level: 0 }, entry),
            "{entry} of {size}"
        );
    }
}
