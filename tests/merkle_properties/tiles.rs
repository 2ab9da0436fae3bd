//! Tiles and bundles: what is new, where nodes are, inner nodes at hand, and only canonical paths.

use crate::trees::{MemoryTree, size};
use graven_merkle::{
    Hash, NodeId, TreeSize, leaf_hash,
    tile::{
        BundleError, BundlePath, EntryBundle, ExpandedTile, MAX_ENTRY_BYTES, Resource, TILE_BYTES,
        TILE_WIDTH, TileBytesError, TileId, TilePath, bundle_ranges, locate, new_bundles, new_tiles, tiles,
    },
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn leaf(at: usize) -> Hash {
    leaf_hash(&at.to_be_bytes())
}

#[test]
fn every_node_is_at_hand_in_its_tile() {
    let tree = MemoryTree::of((0..70_000).map(leaf));
    let of = tree.frontier.size();
    let expanded: BTreeMap<_, _> = tiles(of)
        .map(|path| {
            let row: Vec<_> = path.node_ids().map(|id| tree.node(id).expect("a node")).collect();
            (path.tile(), ExpandedTile::from_row(&row).expect("a row"))
        })
        .collect();
    assert_eq!(expanded.len(), 273 + 1 + 1 + 1 + 1);
    for (id, hash) in tree.nodes() {
        let place = locate(id).expect("a place");
        assert_eq!(expanded[&place.tile].node(place.level, place.index), Some(hash), "{id}");
    }
}

#[test]
fn pushed_restored_and_computed_tiles_are_the_same() {
    let mut pushed = ExpandedTile::new();
    assert_eq!(ExpandedTile::from_row(&[]), None);
    for width in 1..=usize::from(TILE_WIDTH) {
        assert_eq!(pushed.push(leaf(width)).map(usize::from), Some(width - 1));
        let computed = ExpandedTile::from_row(pushed.row()).expect("a row");
        assert_eq!(usize::from(pushed.width()), width);
        for level in 0..=8 {
            for index in 0..=TILE_WIDTH {
                let complete = usize::from(index) < width >> level;
                assert_eq!(pushed.node(level, index).is_some(), complete, "{level}/{index} of {width}");
                assert_eq!(pushed.node(level, index), computed.node(level, index));
            }
        }
        assert_eq!(ExpandedTile::from_row_bytes(&pushed.row_bytes()).as_ref(), Ok(&computed));
    }
    assert_eq!(pushed.row_bytes().len(), TILE_BYTES);
    let full = pushed.clone();
    assert_eq!(pushed.push(leaf(0)), None);
    assert_eq!(pushed, full);
    assert_eq!(pushed.node(9, 0), None);
}

#[test]
fn tile_bytes_of_the_wrong_length_are_refused() {
    for length in [0, 1, 31, 33, TILE_BYTES + 32] {
        let refusal = ExpandedTile::from_row_bytes(&vec![0; length]);
        assert_eq!(refusal, Err(TileBytesError::Row(length)));
    }
}

#[test]
fn bundles_are_exactly_their_entries() {
    let bytes = EntryBundle::encode(["one", "", "three"]).expect("short entries");
    let bundle = EntryBundle::parse(&bytes, 3).expect("a bundle");
    assert_eq!(
        (bundle.entry(1), bundle.entry(2), bundle.entry(3)),
        (Some(&[][..]), Some(&b"three"[..]), None)
    );
    assert_eq!(EntryBundle::parse(&bytes, 2), Err(BundleError::TrailingBytes(7)));
    assert_eq!(EntryBundle::parse(&bytes, 4), Err(BundleError::Truncated { position: 3 }));
    assert_eq!(EntryBundle::parse(&bytes, 257), Err(BundleError::TooWide(257)));
    for cut in 1..bytes.len() {
        assert!(EntryBundle::parse(&bytes[..cut], 3).is_err());
    }
    for width in 0..=3 {
        let prefix = bundle.prefix(width).expect("a prefix");
        assert_eq!(Ok(prefix), EntryBundle::parse(prefix.bytes(), width));
    }
    assert_eq!(bundle.prefix(4), None);
    assert!(EntryBundle::encode([vec![0; MAX_ENTRY_BYTES]]).is_ok());
    assert!(EntryBundle::encode([vec![0; MAX_ENTRY_BYTES + 1]]).is_err());
}

#[test]
fn no_bundles_are_found_for_ranges_outside_or_reversed() {
    let reversed = std::ops::Range { start: 20, end: 10 };
    for range in [reversed, 300..400, 5..5, u64::MAX - 1..u64::MAX] {
        assert_eq!(bundle_ranges(range, size(300)).count(), 0);
    }
    assert_eq!(new_bundles(size(300), size(10)).count(), 0);
    assert_eq!(new_tiles(size(300), size(10)).count(), 0);
    let last = new_tiles(size(TreeSize::MAX.get() - 1), TreeSize::MAX).last().expect("a tile");
    assert_eq!((last.tile().level(), last.width()), (0, 255));
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let tile = (0..64_u8, any::<u64>(), 1..=256_u16).prop_map(|(level, index, width)| {
        let tile = TileId::new(level, index).expect("a level below 64");
        Resource::Tile(TilePath::new(tile, width).expect("a width"))
    });
    let bundle = (0..u64::MAX >> 1, 1..=256_u16);
    prop_oneof![
        tile,
        bundle.prop_map(|(index, width)| Resource::Entries(BundlePath::new(index, width).expect("a width")))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_path_round_trips_and_its_variations_do_not(resource in any_resource(), at in any::<prop::sample::Index>()) {
        let path = resource.to_string();
        prop_assert_eq!(path.parse(), Ok(resource));
        for noise in ["0", "x", "/", ".", "+", "-", " ", ".p/", "é"] {
            let varied = format!("{}{noise}{}", &path[..at.index(path.len())], &path[at.index(path.len())..]);
            if let Ok(other) = varied.parse::<Resource>() {
                prop_assert_eq!(other.to_string(), varied);
            }
        }
    }

    #[test]
    fn any_text_is_no_path_or_a_canonical_one(text in "tile/([0-9]{1,3}|entries)/(x[0-9]{3}/){0,7}[0-9]{2,4}(\\.p/[0-9]{0,4})?") {
        if let Ok(resource) = text.parse::<Resource>() {
            prop_assert_eq!(resource.to_string(), text);
        }
    }

    #[test]
    fn any_bytes_are_no_bundle_or_its_entries(bytes in prop::collection::vec(0..4_u8, 0..40), width in 0..12_u16) {
        if let Ok(bundle) = EntryBundle::parse(&bytes, width) {
            prop_assert_eq!(bundle.entries().count(), usize::from(width));
            prop_assert_eq!(EntryBundle::encode(bundle.entries()), Ok(bytes.clone()));
        }
    }

    #[test]
    fn new_tiles_are_what_the_old_tree_lacks(from in 0..200_000_u64, by in 0..70_000_u64) {
        let (from, to) = (size(from), size(from + by));
        let had: BTreeSet<_> = tiles(from).collect();
        let has: BTreeSet<_> = tiles(to).collect();
        let new: BTreeSet<_> = new_tiles(from, to).collect();
        prop_assert_eq!(&new, &has.difference(&had).copied().collect());
        let bundles: Vec<_> = new_bundles(from, to).map(BundlePath::tile).collect();
        let leaf_tiles: Vec<_> = new_tiles(from, to).filter(|tile| tile.tile().level() == 0).collect();
        prop_assert_eq!(bundles, leaf_tiles);
    }

    #[test]
    fn runs_of_entries_add_up(first in 0..5_000_u64, count in 0..5_000_u64, of in 0..8_000_u64) {
        let wanted: Vec<_> = (first..first + count).filter(|&entry| entry < of).collect();
        let found: Vec<_> = bundle_ranges(first..first + count, size(of))
            .flat_map(|range| {
                let start = range.bundle.index() * u64::from(TILE_WIDTH) + u64::from(range.first);
                assert!(range.first + range.count <= range.bundle.width());
                start..start + u64::from(range.count)
            })
            .collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn nodes_are_located_by_level_and_position(level in any::<u8>(), index in any::<u64>()) {
        let node = NodeId::new(level, index);
        if let Some(place) = locate(node) {
            let first = u128::from(place.tile.index()) << (8 - place.level);
            prop_assert_eq!(first + u128::from(place.index), u128::from(index));
            prop_assert_eq!(u32::from(place.tile.level()) * 8 + u32::from(place.level), u32::from(level));
        }
    }
}
