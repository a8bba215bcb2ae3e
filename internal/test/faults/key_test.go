package faults_test

import (
	"encoding/binary"
	"os"
	"testing"
	"unicode/utf16"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
)

// writeKey overwrites the file of the API key.
func (e *exporter) writeKey(content []byte) {
	e.t.Helper()
	if err := os.WriteFile(e.keyFile, content, 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func encodeUTF16(text string, order binary.AppendByteOrder) (encoded []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = order.AppendUint16(encoded, unit)
	}
	return encoded
}

func TestKeyFilesWithOtherEncodings(t *testing.T) {
	t.Parallel()
	const mark = "\ufeff"
	for name, content := range map[string][]byte{
		"little-endian UTF-16 is reported":                           encodeUTF16(mark+controlplanetest.Key, binary.LittleEndian),
		"big-endian UTF-16 is reported":                              encodeUTF16(mark+controlplanetest.Key, binary.BigEndian),
		"little-endian UTF-16 without a byte order mark is reported": encodeUTF16(controlplanetest.Key, binary.LittleEndian),
		"big-endian UTF-16 without a byte order mark is reported":    encodeUTF16(controlplanetest.Key, binary.BigEndian),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.writeKey(content)
			s := e.expect(func(s *scrape) { s.expectFailed(client.ReasonCredentials) },
				"level=error", "reason=credentials", e.keyFile+": is in UTF-16, as PowerShell writes it: save it as UTF-8")
			s.expectPage("save it as UTF-8")
			s.expectRequests(0)

			e.writeKey([]byte(controlplanetest.Key))
			e.expectRecovery()
		})
	}

	t.Run("UTF-8 with a byte order mark works", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.writeKey([]byte(mark + controlplanetest.Key + "\r\n"))
		e.expectHealthy()
	})
}
