// Command posixlog is a log of Trillian Tessera's in a folder, which publishes a checkpoint once its witnesses have
// cosigned it.
//
//	posixlog -new ORIGIN KEYS                     makes keys of both types and prints the vkeys
//	posixlog -count N -policy POLICY KEYS FOLDER  appends N entries and waits until they are published
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

var (
	origin  = flag.String("new", "", "origin of a log to make keys for")
	count   = flag.Uint("count", 1, "number of entries to append")
	policy  = flag.String("policy", "", "file that names the witnesses and their quorum")
	timeout = flag.Duration("timeout", 20*time.Second, "how long to wait for the quorum")
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("failed: ")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	var err error
	switch {
	case *origin != "" && flag.NArg() == 1:
		err = newKeys(flag.Arg(0))
	case *origin == "" && flag.NArg() == 2:
		err = appendEntries(ctx, flag.Arg(0), flag.Arg(1))
	default:
		log.Fatal("usage: posixlog -new ORIGIN KEYS, or posixlog -count N -policy POLICY KEYS FOLDER")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// newKeys keeps an Ed25519 key and an ML-DSA-44 key in a file, one a line.
func newKeys(file string) error {
	ed25519, ed25519Public, err := note.GenerateKey(rand.Reader, *origin)
	if err != nil {
		return err
	}
	mldsa, mldsaPublic, err := formats.GenerateMLDSAKey(*origin)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s\n", ed25519Public, mldsaPublic)
	return os.WriteFile(file, []byte(ed25519+"\n"+mldsa+"\n"), 0o600)
}

func appendEntries(ctx context.Context, keys, folder string) error {
	options, err := options(keys)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: folder})
	if err != nil {
		return err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	var added []tessera.IndexFuture
	for n := range *count {
		added = append(added, appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "entry %d", n))))
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 20*time.Millisecond)
	for _, index := range added {
		if _, _, err := awaiter.Await(ctx, index); err != nil {
			return fmt.Errorf("not published: %w", err)
		}
	}
	fmt.Printf("published: %d more\n", len(added))
	return shutdown(ctx)
}

// options has one batch for all entries, signed with both keys, and published with the quorum only.
func options(keys string) (*tessera.AppendOptions, error) {
	lines, err := os.ReadFile(keys)
	if err != nil {
		return nil, err
	}
	ed25519Key, mldsaKey, _ := strings.Cut(strings.TrimSpace(string(lines)), "\n")
	ed25519, err := note.NewSigner(ed25519Key)
	if err != nil {
		return nil, err
	}
	mldsa, err := formats.NewMLDSASigner(mldsaKey)
	if err != nil {
		return nil, err
	}
	rules, err := os.ReadFile(*policy)
	if err != nil {
		return nil, err
	}
	witnesses, err := tessera.NewWitnessGroupFromPolicy(rules)
	if err != nil {
		return nil, err
	}
	return tessera.NewAppendOptions().
		WithCheckpointSigner(ed25519, mldsa).
		WithBatching(*count, 50*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(witnesses, nil), nil
}
