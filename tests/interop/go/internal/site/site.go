// Package site reads the files of a log for the readers beside it.
package site

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Site is a log's URL and what it takes to read and to trust it.
type Site struct {
	URL    *url.URL
	Client *http.Client
	// The log's verifier keys.
	Keys []string
}

// FromFlags reads the command line, and from the environment GRAVEN_CA, the name of a file of certificates to
// trust, and GRAVEN_TOKEN, a token to read with.
func FromFlags() (*Site, error) {
	keys := flag.String("keys", "", "file of verifier keys, one a line")
	flag.Parse()

	// file: works too.
	base, err := url.Parse(strings.TrimSuffix(flag.Arg(0), "/") + "/")
	if err != nil {
		return nil, err
	}
	vkeys, err := os.ReadFile(*keys)
	if err != nil {
		return nil, err
	}
	client, err := newClient(os.Getenv("GRAVEN_CA"), os.Getenv("GRAVEN_TOKEN"))
	return &Site{URL: base, Client: client, Keys: strings.Fields(string(vkeys))}, err
}

// Get reads one file.
func (s *Site) Get(path string) ([]byte, error) {
	response, err := s.Client.Get(s.URL.JoinPath(path).String())
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}

// The client speaks HTTP/2 where TLS lets it, and asks for gzip, as Go does unless told otherwise.
func newClient(ca, token string) (*http.Client, error) {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
	transport.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificates in " + ca)
		}
	}
	if token == "" {
		return &http.Client{Transport: transport}, nil
	}
	return &http.Client{Transport: bearer{token, transport}}, nil
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(request)
}
