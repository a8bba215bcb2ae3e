package client

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"
)

// Token is the metadata of an API token, without its secret. Zero times, nil pointers and
// empty strings stand for absent and invalid values. Strings are valid UTF-8 of at most
// 256 bytes.
type Token struct {
	// ID is unique within a listing and never empty.
	ID string
	// Name is the token's name, or else the name in its manifest, or else the ID.
	Name   string
	Tenant string
	// Team is the team that owns the token.
	Team string
	// Type is the API's type of the current JWT, or else of the manifest, or else of the
	// token.
	Type    string
	Creator Subject

	// Created is when the token was created, and Issued when its current JWT was created.
	// The life of a token starts at Issued and ends at Expiry.
	Created, Issued time.Time
	Expiry          Expiry
	// Expired is the API's isExpired.
	Expired      *bool
	LastAccessed time.Time

	// AutoRotateInterval and GracePeriod are in days. They are nil for a token that is
	// not rotated automatically.
	AutoRotateInterval, GracePeriod *int64
	// NextRotation is the time of the next automatic rotation.
	NextRotation time.Time
	// PreviousJWTExpiry is the latest expiry of the other JWTs.
	PreviousJWTExpiry time.Time
	// SecretStoreSync is the last attempt to write the current JWT to a secret store, or
	// nil if the API reports none.
	SecretStoreSync *SecretStoreSync

	// Replaced is true if the listing contains a replacement: a token with the same
	// tenant, creator ID and name that was issued at the same time or later, expires
	// later, and is not expired according to the API. "Never" is later than any time; an
	// unreadable expiry is earlier. Replaced is false if any of this is uncertain.
	Replaced bool
}

// Subject is the user or service account that created a token.
type Subject struct {
	ID, Type string
	// Name is the first of these that is not empty: the subject's slug (the e-mail
	// address of a user), its display name, the slug of its external identity, the name
	// of its controller, its ID, and the token's createdBy.
	Name string
}

// SecretStoreSync is an attempt to write a JWT to a secret store. After a failure, the
// store still has the previous JWT. The fields of the API are inferred from its SDKs.
type SecretStoreSync struct {
	// At is the time of the attempt.
	At time.Time
	// Failed is true if the JWT was not written.
	Failed bool
	// Error is the error message, for logs. It is one line of at most 200 characters, in
	// which secrets and API keys are redacted. It may be empty.
	Error string
}

// Expiry is when a token expires.
type Expiry struct {
	// Readable is false if the expiry is invalid.
	Readable bool
	// At is zero if the token never expires.
	At time.Time
}

// token converts an item that has an id to a Token.
func (it *item) token() Token {
	t := Token{
		ID:      truncatedID(it.ID),
		Tenant:  truncated(it.TenantName),
		Created: it.CreatedAt.Time,
		Expired: it.IsExpired,

		LastAccessed:       it.LastAccessedAt.Time,
		AutoRotateInterval: it.Manifest.AutoRotate.Interval,
		GracePeriod:        it.Manifest.AutoRotate.GracePeriod,
		NextRotation:       it.NextScheduledRotation.endOfDay().Time,
	}
	t.Name = truncated(cmp.Or(it.Name, it.Manifest.Name, t.ID))
	t.Team = truncated(it.Manifest.OwnedBy.Team)
	subject := it.CreatedBySubject
	t.Creator.ID, t.Creator.Type = truncated(subject.ID), truncated(subject.Type)
	t.Creator.Name = truncated(cmp.Or(subject.Slug, subject.DisplayName, subject.ExternalIdentitySlug, subject.ControllerName, subject.ID, it.CreatedBy))

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
	t.Type = truncated(tokenType)
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

// currentJWT returns the index of the current JWT, or -1: the one whose id is jwtId, or
// else the one created last; of several, the one that expires last. certain is false if
// that depends on an invalid value.
func (it *item) currentJWT() (current int, certain bool) {
	current, certain = -1, !it.invalid.contain(FieldJWTs)
	for i := range it.JWTs {
		if it.JWTID != "" && it.JWTs[i].ID == it.JWTID {
			return i, true
		}
		if it.JWTs[i].CreatedAt.unreadable && len(it.JWTs) > 1 {
			certain = false
		}
		if current < 0 || it.JWTs[i].isNewerThan(&it.JWTs[current]) {
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

// secretStoreSync returns the SecretStoreSync, or nil if there is none.
func (m *jwtMetadata) secretStoreSync() *SecretStoreSync {
	s := m.SecretStoreSync
	if s == nil {
		return nil
	}
	return &SecretStoreSync{At: s.UpdatedAt.Time, Failed: s.Failed, Error: s.Error}
}

// isNewerThan reports whether j rather than other is the current JWT.
func (j *jwt) isNewerThan(other *jwt) bool {
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

// expiry returns the expiry of the current JWT, or else of the manifest, or else never. If
// one is unreadable, expiry does not use the next.
func (it *item) expiry(current int) Expiry {
	if current >= 0 && !it.JWTs[current].Expiry.absent() {
		return it.JWTs[current].Expiry.expiry()
	}
	if it.invalid.contain(FieldManifest) {
		return Expiry{}
	}
	return it.Manifest.ExpirationDate.expiry()
}

// maxText is the maximum length of a string in a Token, in bytes. Prometheus or a remote
// store may reject a scrape with long label values.
const maxText = 256

// truncated returns text, truncated to maxText.
func truncated(text string) string { return truncate(text, maxText) }

// truncate truncates text to at most n bytes, without splitting a character.
func truncate(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.Clone(text[:n]) // the rest can be freed
}

// truncatedID returns id, truncated to maxText. It replaces the end with a hash, so that
// IDs stay unique.
func truncatedID(id string) string {
	if len(id) <= maxText {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	suffix := "~" + hex.EncodeToString(sum[:8])
	return truncate(id, maxText-len(suffix)) + suffix
}
