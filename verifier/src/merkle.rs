//! Merkle trees: hashing, proofs, and the checks of proofs.
//!
//! Trees are those of [RFC 6962], section 2.1, with SHA-256; [RFC 9162] has the same. An entry's hash is that of a zero
//! byte and its bytes, a node's that of a one byte and its two children's hashes. A tree of n > 1 entries has as its
//! left child the tree of the first k, where k is the largest power of two below n, and as its right child that of the
//! others; the empty tree's root is the hash of nothing.
//!
//! [`Tree`] makes proofs, [`check_inclusion`] and [`check_consistency`] check them, and [`Frontier`] computes roots for
//! whoever reads entries one after the other and keeps none.
//!
//! Worked example, the seven entries with which implementations of certificate transparency are tested:
//!
//! ```
//! use smi_verifier::merkle::{Hash, Tree, check_consistency, check_inclusion};
//!
//! let entries: [&[u8]; 7] = [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW"];
//! let mut tree = Tree::default();
//! for entry in entries {
//!     tree.push(Hash::of_leaf(entry));
//! }
//! let root = tree.root();
//! assert_eq!(root.to_base64(), "3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=");
//!
//! let proof = tree.inclusion(5, 7).unwrap();
//! let above = Hash::of_node(&Hash::of_leaf(b"01"), &Hash::of_leaf(b"@ABC"));
//! assert_eq!(proof, [Hash::of_leaf(b"01"), Hash::of_leaf(b"PQRSTUVW"), tree.root_at(4).unwrap()]);
//! assert_eq!(root, Hash::of_node(&proof[2], &Hash::of_node(&above, &proof[1])));
//! assert_eq!(check_inclusion(&Hash::of_leaf(b"@ABC"), 5, 7, &proof, &root), Ok(()));
//!
//! let old = tree.root_at(3).unwrap();
//! let proof = tree.consistency(3, 7).unwrap();
//! assert_eq!(proof[..3], [Hash::of_leaf(b"\x10"), Hash::of_leaf(b" !"), tree.root_at(2).unwrap()]);
//! assert_eq!(check_consistency((3, &old), (7, &root), &proof), Ok(()));
//! ```
//!
//! [RFC 6962]: https://www.rfc-editor.org/rfc/rfc6962
//! [RFC 9162]: https://www.rfc-editor.org/rfc/rfc9162

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use smi_schemas::digest::hex;

/// Hashes of a proof that is read. They suffice for trees of up to 2^62 entries.
pub const MAX_PROOF_HASHES: usize = 63;

/// Hashes of a tile, and entries of one.
pub const TILE_WIDTH: u16 = 256;

/// How many levels of the tree a tile spans.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// The hash of an entry, a node or a tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

/// The text is not the canonical base64 of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is the canonical base64 of 32 bytes")]
pub struct ParseHashError;

impl Hash {
    /// The root of the tree without entries.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, //
        0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The hash of an entry.
    pub fn of_leaf(data: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
    }

    /// The hash of a node with these children.
    pub fn of_node(left: &Self, right: &Self) -> Self {
        Self(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// The hash with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what [`Self::to_base64`] writes, and nothing else.
    pub fn from_base64(text: &str) -> Result<Self, ParseHashError> {
        let bytes = STANDARD.decode(text).map_err(|_| ParseHashError)?;
        bytes.try_into().map(Self).map_err(|_| ParseHashError)
    }

    /// The 32 bytes in base64, as checkpoints and proofs write them.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree ends before the entry.
    #[error("entry {index} is not in a tree of {size} entries")]
    Index {
        /// The entry's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The later tree is the smaller one.
    #[error("the tree shrinks from {old} entries to {new}")]
    Shrinks {
        /// The earlier tree's size.
        old: u64,
        /// The later tree's size.
        new: u64,
    },
    /// Another number of hashes than sizes and index ask for.
    #[error("the proof has {found} hashes where {expected} belong")]
    Length {
        /// Hashes that belong there.
        expected: usize,
        /// Hashes that are there.
        found: usize,
    },
    /// The proof leads from the entry to another root.
    #[error("the proof does not lead from the entry to the root")]
    Root,
    /// The proof leads to another root of the earlier tree.
    #[error("the proof does not lead to the root of the earlier tree")]
    OldRoot,
    /// The proof leads to another root of the later tree.
    #[error("the proof does not lead to the root of the later tree")]
    NewRoot,
}

/// Checks that the entry with the hash `leaf` is at `index` in the tree with `size` entries and this root.
///
/// Size and root come from one checkpoint: where two sizes give a proof the same shape, the proof alone does not tell
/// them apart.
pub fn check_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let path = Path::new(index, size - 1, 0);
    let (below, edge) = path.split(proof)?;
    let found = climb_edge(path.climb(*leaf, below), edge);
    if found == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree `new` begins with the entries of the tree `old`; each is a size and a root, of one checkpoint.
pub fn check_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> Result<(), ProofError> {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return Err(ProofError::Shrinks { old: old_size, new: new_size });
    }
    if old_size == 0 && *old_root != Hash::EMPTY {
        return Err(ProofError::OldRoot);
    }
    if old_size == 0 || old_size == new_size {
        return match proof.len() {
            0 if old_size == new_size && old_root != new_root => Err(ProofError::NewRoot),
            0 => Ok(()),
            found => Err(ProofError::Length { expected: 0, found }),
        };
    }
    // Both trees hold the last complete subtree of the old one; from it the proof climbs to both roots. Where it is
    // the whole old tree, its hash is known, and the proof leaves it out.
    let path = Path::new(old_size - 1, new_size - 1, old_size.trailing_zeros());
    let (start, rest) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (old_root, proof),
        Some(split) => split,
        None => return Err(ProofError::Length { expected: path.len() + 1, found: 0 }),
    };
    let (below, edge) = path
        .split(rest)
        .map_err(|_| ProofError::Length { expected: path.len() + (proof.len() - rest.len()), found: proof.len() })?;
    if climb_edge(path.climb_left(*start, below), edge) != *old_root {
        return Err(ProofError::OldRoot);
    }
    if climb_edge(path.climb(*start, below), edge) != *new_root {
        return Err(ProofError::NewRoot);
    }
    Ok(())
}

/// The way from a node to the root. Below the node where it meets the tree's right edge, every step has a sibling, on
/// the side that a bit of the index tells; from there on siblings are to the left only, one for each bit that is set.
struct Path {
    /// The node's index, at its own level.
    index: u64,
    /// Steps below the edge.
    below: usize,
    /// Siblings along the edge.
    edge: usize,
}

impl Path {
    /// From the node that is `level` levels above the entry `index`, in a tree whose last entry is `last`.
    fn new(index: u64, last: u64, level: u32) -> Self {
        let meets = u64::BITS - (index ^ last).leading_zeros();
        let edge = index.checked_shr(meets).unwrap_or(0).count_ones();
        Self { index: index >> level, below: (meets - level) as usize, edge: edge as usize }
    }

    /// Hashes of the proof.
    fn len(&self) -> usize {
        self.below + self.edge
    }

    /// A proof's part below the edge, and that along it.
    fn split<'a>(&self, proof: &'a [Hash]) -> Result<(&'a [Hash], &'a [Hash]), ProofError> {
        if proof.len() != self.len() {
            return Err(ProofError::Length { expected: self.len(), found: proof.len() });
        }
        Ok(proof.split_at(self.below))
    }

    /// Climbs to the edge.
    fn climb(&self, start: Hash, siblings: &[Hash]) -> Hash {
        siblings.iter().enumerate().fold(start, |hash, (level, sibling)| {
            if self.is_right(level) { Hash::of_node(sibling, &hash) } else { Hash::of_node(&hash, sibling) }
        })
    }

    /// Climbs to the edge of the tree that ends with the node.
    fn climb_left(&self, start: Hash, siblings: &[Hash]) -> Hash {
        siblings.iter().enumerate().fold(
            start,
            |hash, (level, sibling)| {
                if self.is_right(level) { Hash::of_node(sibling, &hash) } else { hash }
            },
        )
    }

    /// Whether the way comes from the right child.
    fn is_right(&self, level: usize) -> bool {
        self.index >> level & 1 == 1
    }
}

/// Climbs along the edge.
fn climb_edge(start: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(start, |hash, sibling| Hash::of_node(sibling, &hash))
}

/// All complete subtrees of a tree that grows: 64 bytes for each entry. Every proof takes logarithmic time.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// By level, from the entries' hashes upwards.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Appends an entry's hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            match hashes.as_slice() {
                [.., left, right] if hashes.len().is_multiple_of(2) => hash = Hash::of_node(left, right),
                _ => return,
            }
        }
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The hash of the entry at `index`.
    pub fn leaf(&self, index: u64) -> Option<Hash> {
        self.node(0, index)
    }

    /// The root.
    pub fn root(&self) -> Hash {
        // Of its own size every tree has one.
        self.root_at(self.size()).unwrap_or(Hash::EMPTY)
    }

    /// The root when the tree had `size` entries.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        if size == 0 {
            return Some(Hash::EMPTY);
        }
        let mut edge = Edge::new(self, size)?;
        while edge.last > 0 {
            edge.climb(self)?;
        }
        Some(edge.hash)
    }

    /// The proof that the entry at `index` is in the tree of `size` entries.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size {
            return None;
        }
        self.siblings(index, 0, size)
    }

    /// The proof that the tree of `new` entries begins with those of the tree of `old`.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new || new > self.size() {
            return None;
        }
        if old == 0 || old == new {
            return Some(Vec::new());
        }
        let level = old.trailing_zeros();
        let mut proof = self.siblings(old - 1, level, new)?;
        if !old.is_power_of_two() {
            proof.insert(0, self.node(level, (old - 1) >> level)?);
        }
        Some(proof)
    }

    /// The first `width` hashes of a tile: the complete subtrees of 256^`level` entries from the (256 · `index`)-th on.
    pub fn hashes(&self, level: u8, index: u64, width: u16) -> Option<Vec<Hash>> {
        if width == 0 || width > TILE_WIDTH {
            return None;
        }
        let hashes = self.levels.get(usize::from(level) * TILE_HEIGHT as usize)?;
        let first = usize::try_from(index.checked_mul(u64::from(TILE_WIDTH))?).ok()?;
        let end = first.checked_add(usize::from(width))?;
        hashes.get(first..end).map(<[Hash]>::to_vec)
    }

    /// The hash of the complete subtree of 2^`level` entries that has `index` such subtrees to its left.
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.levels.get(level as usize)?.get(usize::try_from(index).ok()?).copied()
    }

    /// The siblings on the way from the entry `index` to the root, those above `from` only.
    fn siblings(&self, index: u64, from: u32, size: u64) -> Option<Vec<Hash>> {
        let mut edge = Edge::new(self, size)?;
        let mut siblings = Vec::new();
        while edge.last > 0 {
            let sibling = index >> edge.level ^ 1;
            if edge.level >= from && sibling <= edge.last {
                siblings.push(if sibling == edge.last { edge.hash } else { self.node(edge.level, sibling)? });
            }
            edge.climb(self)?;
        }
        Some(siblings)
    }
}

/// A node on the right edge of a tree: the last of its level.
struct Edge {
    level: u32,
    last: u64,
    hash: Hash,
}

impl Edge {
    /// The last entry of a tree with `size` entries, which are not none.
    fn new(tree: &Tree, size: u64) -> Option<Self> {
        let last = size.checked_sub(1)?;
        Some(Self { level: 0, last, hash: tree.leaf(last)? })
    }

    fn climb(&mut self, tree: &Tree) -> Option<()> {
        if self.last & 1 == 1 {
            self.hash = Hash::of_node(&tree.node(self.level, self.last - 1)?, &self.hash);
        }
        self.level += 1;
        self.last >>= 1;
        Some(())
    }
}

/// The right edge of a tree that grows: what its root is computed from. At most 64 hashes, however many entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Complete subtrees, from the largest to the smallest: one for each bit of the size that is set.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// Appends an entry's hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = Hash::of_node(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// How many entries were appended.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.subtrees.iter().rev().copied().reduce(|right, left| Hash::of_node(&left, &right)).unwrap_or(Hash::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes that are tried exhaustively.
    const SIZES: usize = 70;

    fn leaves() -> Vec<Hash> {
        (0..SIZES as u64).map(|index| Hash::of_leaf(&index.to_be_bytes())).collect()
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for leaf in leaves() {
            tree.push(leaf);
        }
        tree
    }

    /// The largest power of two below n.
    fn left(n: usize) -> usize {
        n.next_power_of_two() / 2
    }

    /// MTH of RFC 6962, section 2.1, to the letter.
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash(Sha256::digest(b"").into()),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(left(leaves.len()));
                Hash::of_node(&root(left), &root(right))
            }
        }
    }

    /// PATH of section 2.1.1, to the letter.
    fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        let n = leaves.len();
        if n == 1 {
            return Vec::new();
        }
        let k = left(n);
        if m < k {
            [path(m, &leaves[..k]), vec![root(&leaves[k..])]].concat()
        } else {
            [path(m - k, &leaves[k..]), vec![root(&leaves[..k])]].concat()
        }
    }

    /// SUBPROOF of section 2.1.2, to the letter.
    fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        let n = leaves.len();
        if m == n {
            return if whole { Vec::new() } else { vec![root(leaves)] };
        }
        let k = left(n);
        if m <= k {
            [subproof(m, &leaves[..k], whole), vec![root(&leaves[k..])]].concat()
        } else {
            [subproof(m - k, &leaves[k..], false), vec![root(&leaves[..k])]].concat()
        }
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        let (leaves, tree) = (leaves(), tree());
        let (mut growing, mut frontier) = (Tree::default(), Frontier::default());
        for size in 0..=SIZES {
            let expected = root(&leaves[..size]);
            assert_eq!(tree.root_at(size as u64), Some(expected));
            assert_eq!((growing.size(), growing.root()), (size as u64, expected));
            assert_eq!((frontier.size(), frontier.root()), (size as u64, expected));
            if let Some(leaf) = leaves.get(size) {
                assert_eq!(tree.leaf(size as u64), Some(*leaf));
                growing.push(*leaf);
                frontier.push(*leaf);
            }
        }
        assert_eq!(Hash::EMPTY, root(&[]));
    }

    #[test]
    fn inclusion_proofs_are_those_of_the_definition() {
        let (leaves, tree) = (leaves(), tree());
        for size in 1..=SIZES {
            for index in 0..size {
                let proof = tree.inclusion(index as u64, size as u64).unwrap();
                assert_eq!(proof, path(index, &leaves[..size]), "{index} of {size}");
                let root = root(&leaves[..size]);
                assert_eq!(check_inclusion(&leaves[index], index as u64, size as u64, &proof, &root), Ok(()));
            }
        }
    }

    #[test]
    fn consistency_proofs_are_those_of_the_definition() {
        let (leaves, tree) = (leaves(), tree());
        for new in 0..=SIZES {
            for old in 0..=new {
                let proof = tree.consistency(old as u64, new as u64).unwrap();
                if old > 0 {
                    assert_eq!(proof, subproof(old, &leaves[..new], true), "{old} to {new}");
                }
                let (old_root, new_root) = (root(&leaves[..old]), root(&leaves[..new]));
                assert_eq!(check_consistency((old as u64, &old_root), (new as u64, &new_root), &proof), Ok(()));
            }
        }
    }

    fn flip(hash: &Hash, bit: usize) -> Hash {
        let mut bytes = hash.0;
        bytes[bit / 8] ^= 1 << (bit % 8);
        Hash(bytes)
    }

    /// Every proof that differs from a good one in one bit, or has one hash less or more, anywhere.
    fn corrupted(proof: &[Hash], more: &[Hash]) -> Vec<Vec<Hash>> {
        let mut bad = Vec::new();
        for position in 0..proof.len() {
            for bit in 0..256 {
                let mut changed = proof.to_vec();
                changed[position] = flip(&proof[position], bit);
                bad.push(changed);
            }
            let mut shorter = proof.to_vec();
            shorter.remove(position);
            bad.push(shorter);
        }
        for position in 0..=proof.len() {
            for hash in more.iter().chain(proof) {
                let mut longer = proof.to_vec();
                longer.insert(position, *hash);
                bad.push(longer);
            }
        }
        bad
    }

    #[test]
    fn corrupted_inclusion_proofs_are_refused() {
        let tree = tree();
        for size in 1..=20 {
            let root = tree.root_at(size).unwrap();
            for index in 0..size {
                let leaf = tree.leaf(index).unwrap();
                let proof = tree.inclusion(index, size).unwrap();
                for bad in corrupted(&proof, &[leaf, root, Hash::EMPTY]) {
                    assert!(check_inclusion(&leaf, index, size, &bad, &root).is_err(), "{index} of {size}: {bad:?}");
                }
                for bit in 0..256 {
                    assert!(check_inclusion(&flip(&leaf, bit), index, size, &proof, &root).is_err());
                    assert!(check_inclusion(&leaf, index, size, &proof, &flip(&root, bit)).is_err());
                }
                for other in (0..=64).filter(|other| *other != index) {
                    assert!(check_inclusion(&leaf, other, size, &proof, &root).is_err(), "{other} for {index}");
                }
            }
        }
    }

    /// A size is bound by the signature above it; alone, a proof binds its shape only.
    #[test]
    fn an_inclusion_proof_for_another_size_is_refused_unless_its_shape_is_the_same() {
        let tree = tree();
        for size in 1..=40_u64 {
            let root = tree.root_at(size).unwrap();
            for index in 0..size {
                let (leaf, proof) = (tree.leaf(index).unwrap(), tree.inclusion(index, size).unwrap());
                let shape = |size: u64| (Path::new(index, size - 1, 0).below, Path::new(index, size - 1, 0).edge);
                for other in [size - 1, size + 1] {
                    let accepted = check_inclusion(&leaf, index, other, &proof, &root).is_ok();
                    assert_eq!(accepted, index < other && shape(other) == shape(size), "{index} of {size} as {other}");
                }
            }
        }
    }

    #[test]
    fn a_consistency_proof_to_another_size_is_refused_unless_its_shape_is_the_same() {
        let tree = tree();
        for new in 2..=40_u64 {
            for old in 1..new {
                let roots = (tree.root_at(old).unwrap(), tree.root_at(new).unwrap());
                let proof = tree.consistency(old, new).unwrap();
                let shape = |new: u64| {
                    let path = Path::new(old - 1, new - 1, old.trailing_zeros());
                    (path.below, path.edge)
                };
                for other in [new - 1, new + 1] {
                    let accepted = check_consistency((old, &roots.0), (other, &roots.1), &proof).is_ok();
                    assert_eq!(accepted, old < other && shape(other) == shape(new), "{old} to {new} as {other}");
                }
            }
        }
    }

    #[test]
    fn corrupted_consistency_proofs_are_refused() {
        let tree = tree();
        for new in 1..=20 {
            let new_root = tree.root_at(new).unwrap();
            for old in 0..=new {
                let old_root = tree.root_at(old).unwrap();
                let proof = tree.consistency(old, new).unwrap();
                let check = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                    check_consistency((old, old_root), (new, new_root), proof)
                };
                for bad in corrupted(&proof, &[old_root, new_root, Hash::EMPTY]) {
                    assert!(check(&old_root, &new_root, &bad).is_err(), "{old} to {new}: {bad:?}");
                }
                for bit in 0..256 {
                    assert!(check(&flip(&old_root, bit), &new_root, &proof).is_err());
                    // Of a tree that follows the empty one, nothing is known.
                    assert_eq!(check(&old_root, &flip(&new_root, bit), &proof).is_ok(), old == 0 && new > 0);
                }
                for other in (0..=new).filter(|other| *other != old) {
                    let root = (other, &old_root);
                    assert!(check_consistency(root, (new, &new_root), &proof).is_err(), "{other} for {old} to {new}");
                }
            }
        }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let tree = tree();
        let root = |size| tree.root_at(size).unwrap();
        let leaf = tree.leaf(0).unwrap();
        let inclusion = |index, size, proof: &[Hash]| check_inclusion(&leaf, index, size, proof, &root(3));
        assert_eq!(inclusion(3, 3, &[]), Err(ProofError::Index { index: 3, size: 3 }));
        assert_eq!(inclusion(0, 0, &[]), Err(ProofError::Index { index: 0, size: 0 }));
        assert_eq!(inclusion(0, 3, &[leaf]), Err(ProofError::Length { expected: 2, found: 1 }));
        assert_eq!(inclusion(0, 3, &[leaf; 2]), Err(ProofError::Root));

        let consistency = |old, new, proof: &[Hash]| check_consistency((old, &root(old)), (new, &root(new)), proof);
        assert_eq!(consistency(4, 3, &[]), Err(ProofError::Shrinks { old: 4, new: 3 }));
        assert_eq!(consistency(3, 7, &[]), Err(ProofError::Length { expected: 4, found: 0 }));
        assert_eq!(consistency(3, 7, &[leaf; 5]), Err(ProofError::Length { expected: 4, found: 5 }));
        assert_eq!(consistency(4, 7, &[]), Err(ProofError::Length { expected: 1, found: 0 }));
        assert_eq!(consistency(3, 3, &[leaf]), Err(ProofError::Length { expected: 0, found: 1 }));
        assert_eq!(consistency(0, 3, &[leaf]), Err(ProofError::Length { expected: 0, found: 1 }));
        assert_eq!(consistency(3, 7, &[leaf; 4]), Err(ProofError::OldRoot));
        assert_eq!(consistency(4, 7, &[leaf]), Err(ProofError::NewRoot));
        assert_eq!(check_consistency((3, &root(3)), (3, &root(4)), &[]), Err(ProofError::NewRoot));
        assert_eq!(check_consistency((0, &root(1)), (3, &root(3)), &[]), Err(ProofError::OldRoot));
        assert_eq!(check_consistency((0, &Hash::EMPTY), (0, &root(3)), &[]), Err(ProofError::NewRoot));
    }

    #[test]
    fn no_number_is_too_large() {
        let (tree, hash) = (tree(), Hash::EMPTY);
        let numbers = [0, 1, 6, 7, 31, 32, 33, 61, 62, 63].into_iter();
        let numbers = numbers.flat_map(|shift| [1_u64 << shift, (1 << shift) - 1, !(1 << shift), u64::MAX << shift]);
        let numbers: Vec<_> = numbers.chain([70]).collect();
        for &one in &numbers {
            for &two in &numbers {
                for proof in [&[][..], &[hash][..], &[hash; 63][..], &[hash; 64][..], &[hash; 65][..]] {
                    assert!(check_inclusion(&hash, one, two, proof, &hash).is_err() || (one, two) == (0, 1));
                    let consistent = check_consistency((one, &hash), (two, &hash), proof).is_ok();
                    assert_eq!(consistent, proof.is_empty() && (one == two || one == 0));
                }
                assert_eq!(tree.inclusion(one, two).is_some(), one < two && two <= 70);
                assert_eq!(tree.consistency(one, two).is_some(), one <= two && two <= 70);
            }
            assert_eq!(tree.root_at(one).is_some(), one <= 70);
            assert_eq!(tree.leaf(one).is_some(), one < 70);
            assert_eq!(tree.hashes(0, one, 1).is_some(), one == 0);
            assert_eq!(tree.hashes(0, 0, u16::try_from(one & 0xffff).unwrap()).is_some(), matches!(one, 1..=70));
        }
    }

    /// The definitions once more, for trees whose entries are all the same: those can be of any size.
    struct Uniform {
        /// By level, the root of so many entries.
        complete: Vec<Hash>,
    }

    impl Uniform {
        fn new() -> Self {
            let leaf = Hash::of_leaf(b"");
            let level = |hash: &Hash| Some(Hash::of_node(hash, hash));
            Self { complete: std::iter::successors(Some(leaf), level).take(64).collect() }
        }

        /// The largest power of two below n.
        fn left(n: u64) -> u64 {
            1 << (n - 1).ilog2()
        }

        fn root(&self, n: u64) -> Hash {
            if n.is_power_of_two() {
                return self.complete[n.trailing_zeros() as usize];
            }
            let k = Self::left(n);
            Hash::of_node(&self.root(k), &self.root(n - k))
        }

        fn path(&self, m: u64, n: u64) -> Vec<Hash> {
            if n == 1 {
                return Vec::new();
            }
            let k = Self::left(n);
            if m < k {
                [self.path(m, k), vec![self.root(n - k)]].concat()
            } else {
                [self.path(m - k, n - k), vec![self.root(k)]].concat()
            }
        }

        fn subproof(&self, m: u64, n: u64, whole: bool) -> Vec<Hash> {
            if m == n {
                return if whole { Vec::new() } else { vec![self.root(n)] };
            }
            let k = Self::left(n);
            if m <= k {
                [self.subproof(m, k, whole), vec![self.root(n - k)]].concat()
            } else {
                [self.subproof(m - k, n - k, false), vec![self.root(k)]].concat()
            }
        }
    }

    #[test]
    fn proofs_in_trees_of_any_size_are_checked() {
        let tree = Uniform::new();
        let sizes = [1, 2, 3, 5, 1 << 32, (1 << 40) + 3, (1 << 62) - 1, 1 << 62, (1 << 63) + 1, u64::MAX - 1, u64::MAX];
        let mut longest = 0;
        for new in sizes {
            let root = tree.root(new);
            for index in sizes.into_iter().flat_map(|size| [size - 1, size / 3]).filter(|index| *index < new) {
                let mut proof = tree.path(index, new);
                assert_eq!(check_inclusion(&tree.complete[0], index, new, &proof, &root), Ok(()), "{index} of {new}");
                proof.push(root);
                let expected = proof.len() - 1;
                let refused = Err(ProofError::Length { expected, found: expected + 1 });
                assert_eq!(check_inclusion(&tree.complete[0], index, new, &proof, &root), refused);
            }
            for old in sizes.into_iter().flat_map(|size| [size, size / 3 + 1]).filter(|old| *old <= new) {
                let mut proof = tree.subproof(old, new, true);
                let (old, new) = ((old, &tree.root(old)), (new, &root));
                assert_eq!(check_consistency(old, new, &proof), Ok(()), "{} to {}", old.0, new.0);
                if new.0 <= 1 << 62 {
                    longest = longest.max(proof.len());
                }
                proof.push(root);
                let expected = proof.len() - 1;
                let refused = Err(ProofError::Length { expected, found: expected + 1 });
                assert_eq!(check_consistency(old, new, &proof), refused, "{} to {}", old.0, new.0);
            }
        }
        assert_eq!(longest, MAX_PROOF_HASHES);
    }

    #[test]
    fn tiles_hold_complete_subtrees() {
        let mut tree = Tree::default();
        let leaves: Vec<_> = (0..70_000_u32).map(|index| Hash::of_leaf(&index.to_be_bytes())).collect();
        for leaf in &leaves {
            tree.push(*leaf);
        }
        assert_eq!(tree.hashes(0, 0, 256).unwrap(), leaves[..256]);
        assert_eq!(tree.hashes(0, 273, 112).unwrap(), leaves[273 * 256..]);
        assert_eq!(tree.hashes(0, 273, 113), None);
        let second: Vec<_> = leaves.chunks_exact(256).map(root).collect();
        assert_eq!(tree.hashes(1, 0, 256).unwrap(), second[..256]);
        assert_eq!(tree.hashes(1, 1, 17).unwrap(), second[256..]);
        assert_eq!(tree.hashes(1, 1, 18), None);
        assert_eq!(tree.hashes(2, 0, 1).unwrap(), [root(&leaves[..65536])]);
        assert_eq!(tree.hashes(2, 0, 2), None);
        for level in 3..=u8::MAX {
            assert_eq!(tree.hashes(level, 0, 1), None);
        }
        for width in [0, 257, u16::MAX] {
            assert_eq!(tree.hashes(0, 0, width), None);
        }
    }

    #[test]
    fn hashes_have_one_text() {
        let hash = Hash::of_leaf(b"");
        let text = hash.to_base64();
        assert_eq!(Hash::from_base64(&text), Ok(hash));
        assert_eq!(format!("{hash:?}"), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        for bad in [
            text.trim_end_matches('=').to_owned(),
            text.replace("0=", "1="),
            text.replace('+', "-"),
            format!("{text}\n"),
            format!(" {text}"),
            STANDARD.encode([0; 31]),
            STANDARD.encode([0; 33]),
            String::new(),
        ] {
            assert_ne!(bad, text);
            assert_eq!(Hash::from_base64(&bad), Err(ParseHashError), "{bad}");
        }
    }
}
