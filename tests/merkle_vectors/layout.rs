//! layout/*.json: tile and bundle paths, what a size has, and where things are.

use crate::{
    assert_count,
    trees::size,
    vectors::{cases, hex, hex_field, json_files, name, number, text, verdict},
};
use graven_merkle::{
    NodeId, node,
    tile::{
        BundlePath, EntryBundle, Resource, TILE_WIDTH, TileId, TilePath, bundle_ranges, levels, locate, tiles,
    },
};
use serde_json::Value;

#[test]
fn layout_vectors_of_paths() {
    let mut judged = 0;
    for (file, content) in json_files("layout") {
        for case in cases(&content, "tile_paths") {
            round_trip(&Resource::Tile(tile_path(case)), text(case, "path"));
            judged += 1;
        }
        for case in cases(&content, "entry_paths") {
            let bundle = BundlePath::new(number(case, "index"), width(case)).expect("a bundle");
            round_trip(&Resource::Entries(bundle), text(case, "path"));
            judged += 1;
        }
        for case in cases(&content, "entry_path_for_index") {
            let (entry, size) = (number(case, "entry"), size(number(case, "size")));
            let found = bundle_ranges(entry..entry + 1, size).next().expect("a bundle").bundle;
            assert_eq!(found.to_string(), text(case, "path"), "{file}: {case}");
            judged += 1;
        }
        for case in cases(&content, "parse") {
            parse(&file, case);
            judged += 1;
        }
    }
    assert_count("path cases", judged, 6 + 5 + 7 + 15);
}

#[test]
fn layout_vectors_of_bundles() {
    let mut judged = 0;
    for (file, content) in json_files("layout") {
        for case in cases(&content, "entry_bundles") {
            let Some(want) = verdict(&file, case) else { continue };
            bundle(case, want);
            judged += 1;
        }
        for case in cases(&content, "ranges") {
            range(case);
            judged += 1;
        }
    }
    assert_count("bundle cases", judged, 4 + 6);
}

#[test]
fn layout_vectors_of_nodes_and_sizes() {
    let mut judged = 0;
    for (file, content) in json_files("layout") {
        for case in cases(&content, "node_to_tile") {
            let found = locate(NodeId::new(level(case, "level"), number(case, "index"))).expect("a place");
            let tile = TileId::new(level(case, "tile_level"), number(case, "tile_index")).expect("a tile");
            assert_eq!((found.tile, found.level), (tile, level(case, "level_in_tile")), "{file}: {case}");
            assert_eq!(u64::from(found.index), number(case, "index_in_tile"), "{file}: {case}");
            judged += 1;
        }
        for case in cases(&content, "compact_ranges") {
            let found: Vec<_> = node::cover(number(case, "begin")..number(case, "end"))
                .map(|id| Value::from(vec![u64::from(id.level()), id.index()]))
                .collect();
            assert_eq!(Value::from(found), case["nodes"], "{file}: {case}");
            judged += 1;
        }
        for case in cases(&content, "tiles_by_size") {
            tiles_by_size(case);
            judged += 1;
        }
    }
    assert_count("node and size cases", judged, 5 + 6 + 5);
}

fn round_trip(resource: &Resource, path: &str) {
    assert_eq!(resource.to_string(), path);
    assert_eq!(path.parse().as_ref(), Ok(resource));
}

fn parse(file: &str, case: &Value) {
    let path = format!("tile/{}/{}", text(case, "level"), text(case, "index"));
    let Some(want) = verdict(file, case) else { return };
    let parsed = path.parse::<TilePath>();
    assert_eq!(parsed.is_ok(), want, "{file}: {path}");
    if let (Ok(parsed), Some(value)) = (parsed, case.get("value")) {
        assert_eq!(parsed, tile_path(value), "{file}: {path}");
    }
}

fn bundle(case: &Value, want: bool) {
    let bytes = hex_field(case, "bundle_hex");
    if !want {
        // However many entries it should have, it does not.
        for width in 0..=TILE_WIDTH {
            assert!(EntryBundle::parse(&bytes, width).is_err(), "{}", name(case));
        }
        return;
    }
    let entries: Vec<_> =
        cases(case, "entries").iter().map(|entry| hex(entry.as_str().expect("a hex string"))).collect();
    let width = u16::try_from(entries.len()).expect("a bundle's width");
    let parsed = EntryBundle::parse(&bytes, width).unwrap_or_else(|error| panic!("{}: {error}", name(case)));
    assert_eq!(parsed.entries().collect::<Vec<_>>(), entries, "{}", name(case));
    assert_eq!(EntryBundle::encode(entries), Ok(bytes), "{}", name(case));
}

fn range(case: &Value) {
    let (from, count) = (number(case, "from_"), number(case, "n"));
    let found: Vec<_> = bundle_ranges(from..from + count, size(number(case, "size"))).collect();
    let want = cases(case, "want");
    assert_eq!(found.len(), want.len(), "{case}");
    for (found, want) in found.iter().zip(want) {
        let bundle = BundlePath::new(number(want, "bundle"), width(want));
        assert_eq!(Some(found.bundle), bundle, "{case}");
        assert_eq!(u64::from(found.first), number(want, "first"), "{case}");
        assert_eq!(u64::from(found.count), number(want, "n"), "{case}");
    }
}

fn tiles_by_size(case: &Value) {
    let size = size(number(case, "size"));
    let want = cases(case, "tiles");
    assert_eq!(levels(size).count(), want.len(), "{case}");
    for (found, want) in levels(size).zip(want) {
        assert_eq!(found.level, level(want, "level"), "{case}");
        assert_eq!(found.full, number(want, "full"), "{case}");
        assert_eq!(u64::from(found.partial), number(want, "partial"), "{case}");
    }
    let counted: u64 = levels(size).map(|level| level.full + u64::from(level.partial > 0)).sum();
    assert_eq!(tiles(size).take(100_000).count() as u64, counted.min(100_000), "{case}");
}

fn tile_path(case: &Value) -> TilePath {
    let tile = TileId::new(level(case, "level"), number(case, "index")).expect("a tile");
    TilePath::new(tile, width(case)).expect("a tile path")
}

/// The vectors write 0 for a full tile.
fn width(case: &Value) -> u16 {
    match u16::try_from(number(case, "partial")).expect("a width") {
        0 => TILE_WIDTH,
        partial => partial,
    }
}

fn level(case: &Value, field: &str) -> u8 {
    u8::try_from(number(case, field)).expect("a level")
}
