package targets

import (
	"bytes"
	"errors"
)

// decodeText returns the text of a file without the byte order mark that editors
// put before it. It refuses UTF-16.
func decodeText(raw []byte) (string, error) {
	if isUTF16(raw) {
		return "", errors.New("is in UTF-16, as PowerShell writes it: save it as UTF-8")
	}
	return string(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))), nil
}

// isUTF16 finds a byte order mark of UTF-16, or two ASCII characters in it.
func isUTF16(raw []byte) bool {
	if bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")) {
		return true
	}
	return len(raw) >= 4 && (raw[0] == 0 && raw[2] == 0 || raw[1] == 0 && raw[3] == 0)
}
