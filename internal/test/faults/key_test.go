package faults_test

import (
	"encoding/binary"
	"os"
	"testing"
	"unicode/utf16"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
)

// writeKey replaces the file of the API key.
func (e *exporter) writeKey(content []byte) {
	e.t.Helper()
	if err := os.WriteFile(e.keyFile, content, 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func inUTF16(text string, order binary.AppendByteOrder) (raw []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		raw = order.AppendUint16(raw, unit)
	}
	return raw
}

func TestKeyFilesOfOtherEncodings(t *testing.T) {
	t.Parallel()
	const mark = "\ufeff"
	for name, content := range map[string][]byte{
		"a key file in UTF-16 is named as such":                   inUTF16(mark+controlplanetest.Key, binary.LittleEndian),
		"a key file in UTF-16 of the other byte order is named":   inUTF16(mark+controlplanetest.Key, binary.BigEndian),
		"a key file in UTF-16 without a byte order mark is named": inUTF16(controlplanetest.Key, binary.LittleEndian),
		"the same of the other byte order":                        inUTF16(controlplanetest.Key, binary.BigEndian),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.writeKey(content)
			s := e.expectTwice(func(s *scrape) { s.expectFailed(client.ReasonCredentials) },
				"level=error", "reason=credentials", e.keyFile+": is in UTF-16, as PowerShell writes it: save it as UTF-8")
			s.expectPage("save it as UTF-8")
			s.expectRequests(0)

			e.writeKey([]byte(controlplanetest.Key))
			e.expectRecovery()
		})
	}

	t.Run("a key file with a byte order mark works", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.writeKey([]byte(mark + controlplanetest.Key + "\r\n"))
		e.expectHealthy()
	})
}
