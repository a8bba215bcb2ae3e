package client

import (
	"regexp"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// SecretStoreSync is the last attempt to write a token's current JWT to the secret
// store that is configured for it. Whoever reads the token there has the one
// before while that fails. How the API tells of it is inferred from its SDKs.
type SecretStoreSync struct {
	// At is when it was attempted, zero where the API does not say, or not in a way
	// that can be read.
	At time.Time
	// Failed tells whether the JWT did not reach the store. Error is what the API
	// says of the reason, in one line of at most 400 bytes; it may be empty.
	Failed bool
	Error  string
}

// secretStoreSync reads the metadata of a JWT, which may have anything in it. It
// returns nil where that says nothing of a secret store.
func (d *decoder) secretStoreSync() (sync *SecretStoreSync) {
	if d.next() != jsontext.KindBeginObject {
		d.skip()
		return nil
	}
	d.enter(jsontext.KindBeginObject)
	for d.member("jwts.metadata.") {
		if Field(d.path) != FieldSecretStoreSync {
			d.skip()
		} else if d.enter(jsontext.KindBeginObject) {
			sync = new(SecretStoreSync)
			d.syncInfo(sync)
		}
	}
	return sync
}

func (d *decoder) syncInfo(sync *SecretStoreSync) {
	for d.member("jwts.metadata.syncTokenInSecretStoreInfo.") {
		switch Field(d.path) {
		case FieldSecretStoreSyncUpdatedAt:
			sync.At = d.time().Time
		case "jwts.metadata.syncTokenInSecretStoreInfo.error":
			sync.Failed, sync.Error = d.syncError()
		default:
			d.skip()
		}
	}
}

// syncError takes whatever is neither empty, null nor false for an error.
func (d *decoder) syncError() (failed bool, text string) {
	switch d.next() {
	case jsontext.KindString:
		text = d.text()
		return text != "", oneLine(likeKey.ReplaceAllString(cut(text, maxErrorBody), concealed))
	case jsontext.KindNull, jsontext.KindFalse:
		d.skip()
		return false, ""
	default:
		d.skip()
		return true, ""
	}
}

// likeKey finds API keys: a store may have repeated the one that it was given.
var likeKey = regexp.MustCompile(`\b(eyJ[\w-]{8,}(\.[\w-]*)*|tfy[_-][\w.-]{8,})`)

// hideErrors drops what the API says of failed attempts.
func hideErrors(tokens []Token) {
	for i := range tokens {
		if sync := tokens[i].SecretStoreSync; sync != nil {
			sync.Error = ""
		}
	}
}
