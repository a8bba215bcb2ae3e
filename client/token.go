package client

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"
)

// Token is the metadata of an API token; its secret is not part of it. A zero time and
// a nil pointer mean that a value is absent or unreadable. All text is valid UTF-8 and
// at most 256 bytes long.
type Token struct {
	// ID is unique within a listing and never empty.
	ID string
	// Name is the token's name, else its manifest's, else the ID.
	Name   string
	Tenant string
	// Team owns the token.
	Team string
	// Type is the type of the current JWT, else of the manifest, else of the token, in
	// the API's words.
	Type    string
	Creator Subject

	// Created is when the token was created, and Issued when its current JWT was. The
	// lifetime of a token is the time from Issued to Expiry.
	Created, Issued time.Time
	Expiry          Expiry
	// Expired is the API's isExpired, nil if it is null or unreadable.
	Expired      *bool
	LastAccessed time.Time

	// AutoRotateInterval and GracePeriod are in days. They are nil for a token that is
	// not rotated automatically.
	AutoRotateInterval, GracePeriod *int64
	NextRotation                    time.Time
	// PreviousJWTExpiry is the latest expiry of the JWTs that are not current.
	PreviousJWTExpiry time.Time
	// SecretStoreSync is the last attempt to write the current JWT to a secret store,
	// nil if the API reports none.
	SecretStoreSync *SecretStoreSync

	// Replaced reports whether the listing contains a token that replaces this one: one
	// of the same tenant, subject id and name that was issued no earlier, expires later
	// and is not expired according to the API. Never is later than any date, and an
	// unreadable expiry is earlier. It is false if the listing leaves a doubt.
	Replaced bool
}

// Subject is who created a token.
type Subject struct {
	ID, Type string
	// Name is the subject's slug (a user's e-mail address), else its display name, the
	// slug of its external identity, the name of its controller, its id, or the token's
	// createdBy. It is empty if there is none of these.
	Name string
}

// SecretStoreSync is an attempt to write a JWT to a secret store. Until one succeeds,
// whoever reads the token from there gets the JWT of before. How the API reports it is
// inferred from its SDKs.
type SecretStoreSync struct {
	// At is zero if the API does not say when, or not readably.
	At time.Time
	// Failed is true if the JWT did not reach the store.
	Failed bool
	// Error is what the API says about the reason, for logs: like the Detail of an
	// Error, and without what looks like an API key. It may be empty.
	Error string
}

// Expiry is when a token stops working.
type Expiry struct {
	// Readable is false if there is an expiry that could not be read.
	Readable bool
	// At is zero if the token never expires.
	At time.Time
}

// token returns the Token of an item that has an id.
func (it *item) token() Token {
	t := Token{
		ID:      uniqueLabel(it.ID),
		Tenant:  label(it.TenantName),
		Created: it.CreatedAt.Time,
		Expired: it.IsExpired,

		LastAccessed:       it.LastAccessedAt.Time,
		AutoRotateInterval: it.Manifest.AutoRotate.Interval,
		GracePeriod:        it.Manifest.AutoRotate.GracePeriod,
		NextRotation:       it.NextScheduledRotation.endOfDay().Time,
	}
	t.Name = label(cmp.Or(it.Name, it.Manifest.Name, t.ID))
	t.Team = label(it.Manifest.OwnedBy.Team)
	subject := it.CreatedBySubject
	t.Creator.ID, t.Creator.Type = label(subject.ID), label(subject.Type)
	t.Creator.Name = label(cmp.Or(subject.Slug, subject.DisplayName, subject.ExternalIdentitySlug, subject.ControllerName, subject.ID, it.CreatedBy))

	current, certain := it.currentJWT()
	tokenType := cmp.Or(it.Manifest.TokenType, it.Type)
	switch {
	case current >= 0:
		t.Issued = it.JWTs[current].CreatedAt.Time
		t.SecretStoreSync = it.JWTs[current].Metadata.secretStoreSync()
		tokenType = cmp.Or(it.JWTs[current].TokenType, tokenType)
	case certain:
		t.Issued = t.Created
	}
	t.Type = label(tokenType)
	if certain {
		t.Expiry = it.expiry(current)
	}
	for i := range it.JWTs {
		if expiry := it.JWTs[i].Expiry; certain && i != current && expiry.After(t.PreviousJWTExpiry) {
			t.PreviousJWTExpiry = expiry.Time
		}
	}
	return t
}

// currentJWT returns the index of the JWT that is in force, -1 if there is none: the one
// that jwtId names, else the one created last; if there are several, the one that
// expires last. It is not certain if a value that decides this could not be read.
func (it *item) currentJWT() (current int, certain bool) {
	current, certain = -1, !it.invalid.contain(FieldJWTs)
	for i := range it.JWTs {
		if it.JWTID != "" && it.JWTs[i].ID == it.JWTID {
			return i, true
		}
		if it.JWTs[i].CreatedAt.unreadable && len(it.JWTs) > 1 {
			certain = false
		}
		if current < 0 || it.JWTs[i].replaces(&it.JWTs[current]) {
			current = i
		}
	}
	if it.JWTID != "" && it.invalid.contain(FieldJWTsID) {
		certain = false
	}
	if !certain {
		return -1, false
	}
	return current, true
}

func (m *jwtMetadata) secretStoreSync() *SecretStoreSync {
	if m.SecretStoreSync == nil {
		return nil
	}
	return &SecretStoreSync{At: m.SecretStoreSync.UpdatedAt.Time, Failed: m.SecretStoreSync.Failed, Error: m.SecretStoreSync.Error}
}

// replaces reports whether the JWT is in force rather than the other one.
func (j *jwt) replaces(other *jwt) bool {
	if !j.CreatedAt.Equal(other.CreatedAt.Time) {
		return j.CreatedAt.After(other.CreatedAt.Time)
	}
	switch {
	case other.Expiry.absent(): // never ends
		return false
	case j.Expiry.absent():
		return true
	}
	return j.Expiry.After(other.Expiry.Time)
}

// expiry returns the expiry of the current JWT, else that of the manifest, else never.
// An unreadable expiry does not fall through to the next source.
func (it *item) expiry(current int) Expiry {
	if current >= 0 && !it.JWTs[current].Expiry.absent() {
		return it.JWTs[current].Expiry.expiry()
	}
	if it.invalid.contain(FieldManifest) {
		return Expiry{}
	}
	return it.Manifest.ExpirationDate.expiry()
}

// maxText is how much of a text is kept, in bytes: an absurdly long name must not make
// Prometheus or a remote store reject the scrape.
const maxText = 256

// label shortens text to maxText.
func label(text string) string { return truncate(text, maxText) }

// truncate shortens text to at most n bytes, at a character's boundary.
func truncate(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.Clone(text[:n]) // so that the rest is not kept in memory
}

// uniqueLabel shortens an id so that it stays unique.
func uniqueLabel(id string) string {
	if len(id) <= maxText {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	suffix := "~" + hex.EncodeToString(sum[:8])
	return truncate(id, maxText-len(suffix)) + suffix
}
