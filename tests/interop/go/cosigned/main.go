// Command cosigned checks who cosigned the checkpoint of a log: all of these witnesses did, with all of their keys, a
// moment ago. It is the checkpoint as the log shows it, or, with -push, as a witness answers when it is offered to it
// by C2SP tlog-witness. A line for each cosignature, exit code 1 if one is missing.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	checkpoints "github.com/transparency-dev/formats/log"
	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/graven-log/graven/tests/interop/go/internal/site"
)

var (
	witnesses = flag.String("witnesses", "", "file of the witnesses' verifier keys, one a line")
	push      = flag.String("push", "", "submission prefix of a witness to offer the checkpoint to")
)

// A cosignature's time may be off by so much: the witness runs on the same machine.
const tolerance = time.Minute

func main() {
	log.SetFlags(0)
	log.SetPrefix("refused: ")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := check(ctx); err != nil {
		log.Fatal(err)
	}
}

func check(ctx context.Context) error {
	log, err := site.FromFlags()
	if err != nil {
		return err
	}
	vkeys, err := os.ReadFile(*witnesses)
	if err != nil {
		return err
	}
	signed, err := log.Get("checkpoint")
	if err != nil {
		return err
	}
	if *push != "" {
		cosignatures, err := offer(ctx, log, signed)
		if err != nil {
			return err
		}
		signed = append(signed, cosignatures...)
	}
	return verify(log.Keys, strings.Fields(string(vkeys)), signed)
}

// verify opens the note with x/mod, which is told by transparency-dev/formats how each type of key verifies.
func verify(logKeys, witnessKeys []string, signed []byte) error {
	if len(witnessKeys) == 0 {
		return errors.New("there are no keys of witnesses")
	}
	var verifiers []note.Verifier
	for _, vkey := range slices.Concat(logKeys, witnessKeys) {
		verifier, err := formats.NewVerifier(vkey)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	head, err := parse(opened.Text)
	if err != nil {
		return err
	}
	for i, verifier := range verifiers {
		at := slices.IndexFunc(opened.Sigs, func(signature note.Signature) bool {
			return signature.Name == verifier.Name() && signature.Hash == verifier.KeyHash()
		})
		if at < 0 {
			return fmt.Errorf("there is no signature by %s with key %08x", verifier.Name(), verifier.KeyHash())
		}
		if i < len(logKeys) {
			continue
		}
		signedAt, err := formats.CoSigV1Timestamp(opened.Sigs[at])
		if err != nil {
			return err
		}
		if age := time.Since(signedAt).Abs(); age > tolerance {
			return fmt.Errorf("the cosignature by %s is off by %v", verifier.Name(), age)
		}
		fmt.Printf("cosignature: %s, %d entries, by %s with %s\n",
			head.Origin, head.Size, verifier.Name(), algorithm(witnessKeys[i-len(logKeys)]))
	}
	return nil
}

// offer posts the checkpoint as a log does that knows nothing of the witness: from size zero first, and, when it is
// told what the witness cosigned last, from there. It returns the witness's signature lines.
func offer(ctx context.Context, log *site.Site, signed []byte) ([]byte, error) {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	head, err := parse(text + "\n")
	if err != nil {
		return nil, err
	}
	answer, err := post(ctx, 0, nil, signed)
	if err != nil {
		return nil, err
	}
	if answer.status == http.StatusConflict {
		if answer.contentType != "text/x.tlog.size" {
			return nil, fmt.Errorf("a conflict without a size, of type %q", answer.contentType)
		}
		size, err := strconv.ParseUint(strings.TrimSuffix(string(answer.body), "\n"), 10, 64)
		if err != nil {
			return nil, err
		}
		proof, err := prove(ctx, log, size, head.Size)
		if err != nil {
			return nil, err
		}
		fmt.Printf("conflict: the witness has %d entries\n", size)
		if answer, err = post(ctx, size, proof, signed); err != nil {
			return nil, err
		}
	}
	if answer.status != http.StatusOK {
		return nil, fmt.Errorf("the witness says %d %s", answer.status, answer.body)
	}
	return answer.body, nil
}

// prove makes the proof from the log's tiles.
func prove(ctx context.Context, log *site.Site, from, to uint64) ([][]byte, error) {
	fetcher, err := client.NewHTTPFetcher(log.URL, log.Client)
	if err != nil {
		return nil, err
	}
	builder, err := client.NewProofBuilder(ctx, to, fetcher.ReadTile)
	if err != nil {
		return nil, err
	}
	return builder.ConsistencyProof(ctx, from, to)
}

type answer struct {
	status      int
	contentType string
	body        []byte
}

func post(ctx context.Context, old uint64, proof [][]byte, signed []byte) (answer, error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, hash := range proof {
		fmt.Fprintln(&body, base64.StdEncoding.EncodeToString(hash))
	}
	fmt.Fprintf(&body, "\n%s", signed)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, *push+"/add-checkpoint", &body)
	if err != nil {
		return answer{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	lines, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header.Get("Content-Type"), lines}, err
}

func parse(text string) (checkpoints.Checkpoint, error) {
	var head checkpoints.Checkpoint
	rest, err := head.Unmarshal([]byte(text))
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("a checkpoint with more lines: %q", rest)
	}
	return head, err
}

// algorithm names the type of a key, the first byte of what follows its name and its hash.
func algorithm(vkey string) string {
	parts := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	switch {
	case err != nil || len(key) == 0:
		return "a key that is none"
	case key[0] == 4:
		return "Ed25519"
	case key[0] == 6:
		return "ML-DSA-44"
	default:
		return fmt.Sprintf("a key of type %#02x", key[0])
	}
}
