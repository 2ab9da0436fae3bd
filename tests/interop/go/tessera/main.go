// Command tessera reads a whole log with the client and the fsck of Trillian Tessera, once for each key that it
// knows: a line for each check, exit code 1 at the first that fails.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/graven-log/graven/tests/interop/go/internal/site"
)

// More than the tiles that one altered byte makes wrong: fsck waits for ever once all its workers have failed.
const workers = 8

var hasher = rfc6962.DefaultHasher

func main() {
	log.SetFlags(0)
	log.SetPrefix("refused: ")
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	if err := check(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func check(ctx context.Context) error {
	log, err := site.FromFlags()
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(log.URL, log.Client)
	if err != nil {
		return err
	}
	for _, vkey := range log.Keys {
		verifier, err := formats.NewVerifier(vkey)
		if err != nil {
			return err
		}
		if err := prove(ctx, fetcher, verifier); err != nil {
			return err
		}
		if err := fsck.New(verifier.Name(), verifier, fetcher, hashBundle, fsck.Opts{N: workers}).Check(ctx); err != nil {
			return fmt.Errorf("fsck: %w", err)
		}
		fmt.Printf("fsck: no complaint under key %08x\n", verifier.KeyHash())
	}
	if len(log.Keys) == 0 {
		return errors.New("there are no keys")
	}
	return nil
}

// prove has Tessera's client follow the log, and checks proofs that it makes from tiles.
func prove(ctx context.Context, fetcher *client.HTTPFetcher, verifier note.Verifier) error {
	consensus := client.UnilateralConsensus(fetcher.ReadCheckpoint)
	tracker, err := client.NewLogStateTracker(ctx, fetcher.ReadTile, nil, verifier, verifier.Name(), consensus)
	if err != nil {
		return err
	}
	head := tracker.Latest()
	fmt.Printf("checkpoint: %s, %d entries, verified with key %08x\n", head.Origin, head.Size, verifier.KeyHash())

	leaves, err := client.FetchLeafHashes(ctx, fetcher.ReadTile, 0, head.Size, head.Size)
	if err != nil {
		return err
	}
	builder, err := client.NewProofBuilder(ctx, head.Size, fetcher.ReadTile)
	if err != nil {
		return err
	}
	growing := (&compact.RangeFactory{Hash: hasher.HashChildren}).NewEmptyRange(0)
	step := max(1, head.Size/20)
	count := 0
	for i, leaf := range leaves {
		if err := growing.Append(leaf, nil); err != nil {
			return err
		}
		index, size := uint64(i), uint64(i)+1
		if index%step != 0 {
			continue
		}
		inclusion, err := builder.InclusionProof(ctx, index)
		if err != nil {
			return err
		}
		if err := proof.VerifyInclusion(hasher, index, head.Size, leaf, inclusion, head.Hash); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		root, err := growing.GetRootHash(nil)
		if err != nil {
			return err
		}
		growth, err := builder.ConsistencyProof(ctx, size, head.Size)
		if err != nil {
			return err
		}
		if err := proof.VerifyConsistency(hasher, size, head.Size, growth, root, head.Hash); err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
		count++
	}
	fmt.Printf("proofs: %d of inclusion and %d of consistency hold\n", count, count)
	return nil
}

func hashBundle(data []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(data); err != nil {
		return nil, err
	}
	leaves := make([][]byte, len(bundle.Entries))
	for i, entry := range bundle.Entries {
		leaves[i] = hasher.HashLeaf(entry)
	}
	return leaves, nil
}
