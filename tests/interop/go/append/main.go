// Command append puts an entry into a Graven log and keeps the proof that it is there.
//
//	GRAVEN_SERVER=https://localhost:4740 GRAVEN_CA=ca.pem GRAVEN_TOKEN=gvn_… append KEY ENTRY PROOF
//
// KEY names this append: however often it is repeated, also by another process, there is one entry.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	gravenv1 "github.com/graven-log/graven/tests/interop/go/graven/v1"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: append KEY ENTRY PROOF")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, key, entryFile, proofFile string) error {
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return err
	}
	conn, err := connect(os.Getenv("GRAVEN_SERVER"), os.Getenv("GRAVEN_CA"), os.Getenv("GRAVEN_TOKEN"))
	if err != nil {
		return err
	}
	defer conn.Close()

	answer, err := send(ctx, gravenv1.NewLogServiceClient(conn), &gravenv1.AppendRequest{
		Log:            "audit",
		Entry:          entry,
		IdempotencyKey: key,
		// A repeat that comes after the server forgot the key is refused, not appended again.
		IdempotencyIssuedAt: timestamppb.Now(),
		Wait:                gravenv1.Wait_WAIT_PUBLISHED,
	})
	if err != nil {
		return err
	}
	fmt.Printf("entry %d is published (repeated: %t)\n", answer.Index, answer.Duplicate)
	return os.WriteFile(proofFile, answer.Proof, 0o644)
}

func connect(server, caFile, token string) (*grpc.ClientConn, error) {
	address, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("no certificates in " + caFile)
	}
	return grpc.NewClient(address.Host,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})),
		grpc.WithPerRPCCredentials(bearer(token)))
}

// bearer is a token that goes along with every call, over TLS only.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return true }

// send repeats the very same request for as long as the server says that this may help.
func send(ctx context.Context, logs gravenv1.LogServiceClient, request *gravenv1.AppendRequest) (*gravenv1.AppendResponse, error) {
	for {
		answer, err := logs.Append(ctx, request)
		if err == nil {
			return answer, nil
		}
		reason, delay := refusal(err)
		switch {
		case delay > 0:
		case reason == gravenv1.ErrorReason_WAIT_TIMED_OUT.String():
			// Durable, but not published yet: the repeat goes on waiting.
		case reason == "" && status.Code(err) == codes.Unavailable:
			delay = time.Second // The connection broke, perhaps after the append.
		default:
			return nil, fmt.Errorf("%s: %w", cmp.Or(reason, "failed"), err)
		}
		log.Printf("%s: again in %v", status.Convert(err).Message(), delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// refusal gives the reason, a name in ErrorReason, and how long to wait before a retry, if that helps.
func refusal(err error) (reason string, delay time.Duration) {
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.Domain == "graven.v1" {
				reason = detail.Reason
			}
		case *errdetails.RetryInfo:
			delay = detail.RetryDelay.AsDuration()
		}
	}
	return reason, delay
}
