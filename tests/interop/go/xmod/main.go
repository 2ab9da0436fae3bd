// Command xmod reads a whole log with the packages that the go command checks modules with,
// golang.org/x/mod/sumdb/{note,tlog}: a line for each check, exit code 1 at the first that fails.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/graven-log/graven/tests/interop/go/internal/site"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("refused: ")
	if err := check(); err != nil {
		log.Fatal(err)
	}
}

func check() error {
	log, err := site.FromFlags()
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(log)
	if err != nil {
		return err
	}
	hashes, err := readEntries(log, tree)
	if err != nil {
		return err
	}
	tiles := tlog.TileHashReader(tree, tileReader{log})
	if err := compareTiles(tree, tiles, hashes); err != nil {
		return err
	}
	return prove(tree, tiles, hashes)
}

// openCheckpoint verifies what the package can: Ed25519. It keeps signatures by other keys aside.
func openCheckpoint(log *site.Site) (tlog.Tree, error) {
	var verifiers []note.Verifier
	for _, vkey := range log.Keys {
		if verifier, err := note.NewVerifier(vkey); err == nil {
			verifiers = append(verifiers, verifier)
		}
	}
	signed, err := log.Get("checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifiers[0].Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s: %q", verifiers[0].Name(), lines)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	fmt.Printf("checkpoint: %s, %d entries, %d signature verified, %d of other types\n",
		lines[0], size, len(opened.Sigs), len(opened.UnverifiedSigs))
	return tlog.Tree{N: size, Hash: root}, err
}

// storedHashes holds the hashes of a tree in the order that tlog numbers them.
type storedHashes []tlog.Hash

func (s storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = s[index]
	}
	return found, nil
}

// readEntries hashes every entry again and compares the root with the signed one.
func readEntries(log *site.Site, tree tlog.Tree) (storedHashes, error) {
	var hashes storedHashes
	index := int64(0)
	for first := int64(0); first < tree.N; first += tileWidth {
		tile := tlog.Tile{H: tileHeight, N: first / tileWidth, W: int(min(tileWidth, tree.N-first))}
		path := strings.Replace(tilePath(tile), "tile/0/", "tile/entries/", 1)
		bundle, err := log.Get(path)
		if err != nil {
			return nil, err
		}
		entries, err := parseBundle(bundle)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(entries) != tile.W {
			return nil, fmt.Errorf("%s has %d entries", path, len(entries))
		}
		for _, entry := range entries {
			more, err := tlog.StoredHashes(index, entry, hashes)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, more...)
			index++
		}
	}
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, fmt.Errorf("the entries hash to %v, which was not signed", root)
	}
	fmt.Printf("entries: all %d lead to the signed root %v\n", tree.N, root)
	return hashes, nil
}

func parseBundle(bundle []byte) (entries [][]byte, err error) {
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
			return entries, errors.New("the bundle is cut short")
		}
		length := int(binary.BigEndian.Uint16(bundle))
		entries = append(entries, bundle[2:2+length])
		bundle = bundle[2+length:]
	}
	return entries, nil
}

// compareTiles reads all leaf hashes from tiles, each of which the reader checks against the root.
func compareTiles(tree tlog.Tree, tiles tlog.HashReader, hashes storedHashes) error {
	leaves := make([]int64, tree.N)
	for i := range leaves {
		leaves[i] = tlog.StoredHashIndex(0, int64(i))
	}
	served, err := tiles.ReadHashes(leaves)
	if err != nil {
		return err
	}
	computed, _ := hashes.ReadHashes(leaves)
	if !slices.Equal(served, computed) {
		return errors.New("the tiles hold other leaf hashes")
	}
	fmt.Printf("tiles: all %d leaf hashes are those of the entries\n", len(served))
	return nil
}

// prove makes proofs from tiles alone and checks them against the signed root.
func prove(tree tlog.Tree, tiles tlog.HashReader, hashes storedHashes) error {
	step := max(1, tree.N/20)
	count := 0
	for index := int64(0); index < tree.N; index += step {
		record, err := tlog.ProveRecord(tree.N, index, tiles)
		if err != nil {
			return err
		}
		leaf := hashes[tlog.StoredHashIndex(0, index)]
		if err := tlog.CheckRecord(record, tree.N, tree.Hash, index, leaf); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		growth, err := tlog.ProveTree(tree.N, index+1, tiles)
		if err != nil {
			return err
		}
		before, err := tlog.TreeHash(index+1, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(growth, tree.N, tree.Hash, index+1, before); err != nil {
			return fmt.Errorf("size %d: %w", index+1, err)
		}
		count++
	}
	fmt.Printf("proofs: %d of inclusion and %d of consistency hold\n", count, count)
	return nil
}

type tileReader struct{ log *site.Site }

func (r tileReader) Height() int { return tileHeight }

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		if data[i], err = r.log.Get(tilePath(tile)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// tilePath is the path in C2SP tlog-tiles, where the height is always 8 and not named.
func tilePath(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
}
