package client

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Field is a field of the API's responses: its path in an item or in a page, such as
// jwts.expiry or pagination.total.
type Field string

// Fields that affect other values if they are invalid.
const (
	FieldJWTs     Field = "jwts"
	FieldJWTsID   Field = "jwts.id"
	FieldManifest Field = "manifest"
	FieldTotal    Field = "pagination.total"
	FieldLimit    Field = "pagination.limit"
)

// Fields returns every Field that the client decodes, except id: an item without a valid
// id is invalid as a whole.
func Fields() []Field {
	return slices.DeleteFunc(append(itemObject.fields(), paginationObject.fields()...), func(f Field) bool { return f == "id" })
}

// item holds the decoded fields of one element of the list.
type item struct {
	ID, Name, Type, TenantName, CreatedBy string
	CreatedBySubject                      subject
	CreatedAt, LastAccessedAt             timeValue
	IsExpired                             *bool
	JWTID                                 string
	JWTs                                  []jwt
	NextScheduledRotation                 timeValue
	Manifest                              manifest

	// invalid are the invalid values.
	invalid invalidValues
}

var itemObject = newObject("",
	scalar("id", (*decoder).text, func(it *item) *string { return &it.ID }),
	scalar("name", (*decoder).text, func(it *item) *string { return &it.Name }),
	scalar("type", (*decoder).internedText, func(it *item) *string { return &it.Type }),
	scalar("tenantName", (*decoder).internedText, func(it *item) *string { return &it.TenantName }),
	scalar("createdBy", (*decoder).internedText, func(it *item) *string { return &it.CreatedBy }),
	nested("createdBySubject", subjectObject, func(it *item) *subject { return &it.CreatedBySubject }),
	scalar("createdAt", (*decoder).timestamp, func(it *item) *timeValue { return &it.CreatedAt }),
	scalar("lastAccessedAt", (*decoder).timestamp, func(it *item) *timeValue { return &it.LastAccessedAt }),
	scalar("isExpired", (*decoder).boolean, func(it *item) **bool { return &it.IsExpired }),
	scalar("jwtId", (*decoder).text, func(it *item) *string { return &it.JWTID }),
	array("jwts", jwtObject, maxJWTs, func(it *item) *[]jwt { return &it.JWTs }),
	scalar("nextScheduledRotation", (*decoder).timestamp, func(it *item) *timeValue { return &it.NextScheduledRotation }),
	nested("manifest", manifestObject, func(it *item) *manifest { return &it.Manifest }),
)

// decodeItem decodes the next item into it. It reuses the memory of the previous item.
func decodeItem(d *decoder, it *item) {
	*it = item{JWTs: it.JWTs[:0]}
	d.field, d.invalid = "", nil
	itemObject.decode(d, it)
	it.invalid = d.invalid
}

// subject is the user or service account that created a token.
type subject struct {
	ID, Type, Slug, DisplayName          string
	ExternalIdentitySlug, ControllerName string
}

var subjectObject = newObject("createdBySubject",
	scalar("subjectId", (*decoder).internedText, func(s *subject) *string { return &s.ID }),
	scalar("subjectType", (*decoder).internedText, func(s *subject) *string { return &s.Type }),
	scalar("subjectSlug", (*decoder).internedText, func(s *subject) *string { return &s.Slug }),
	scalar("subjectDisplayName", (*decoder).internedText, func(s *subject) *string { return &s.DisplayName }),
	scalar("subjectExternalIdentitySlug", (*decoder).internedText, func(s *subject) *string { return &s.ExternalIdentitySlug }),
	scalar("subjectControllerName", (*decoder).internedText, func(s *subject) *string { return &s.ControllerName }),
)

// jwt is the metadata of a JWT. The API does not return the JWT itself.
type jwt struct {
	ID                string
	Expiry, CreatedAt timeValue
	TokenType         string
	Metadata          jwtMetadata
}

// maxJWTs is the maximum number of JWTs of a token. A decoded JWT may take many times the
// memory of its JSON.
const maxJWTs = 10_000

var jwtObject = newObject("jwts",
	scalar("id", (*decoder).text, func(j *jwt) *string { return &j.ID }),
	scalar("expiry", (*decoder).timestamp, func(j *jwt) *timeValue { return &j.Expiry }),
	scalar("createdAt", (*decoder).timestamp, func(j *jwt) *timeValue { return &j.CreatedAt }),
	scalar("tokenType", (*decoder).internedText, func(j *jwt) *string { return &j.TokenType }),
	nested("metadata", jwtMetadataObject, func(j *jwt) *jwtMetadata { return &j.Metadata }),
)

// jwtMetadata is the known part of a free-form object.
type jwtMetadata struct{ SecretStoreSync *secretStoreSync }

// secretStoreSync is the last attempt to write the JWT to a secret store.
type secretStoreSync struct {
	UpdatedAt timeValue
	Failed    bool
	Error     string
}

var (
	jwtMetadataObject = newObject("jwts.metadata",
		optional("syncTokenInSecretStoreInfo", secretStoreSyncObject, func(m *jwtMetadata) **secretStoreSync { return &m.SecretStoreSync }),
	)
	secretStoreSyncObject = newObject("jwts.metadata.syncTokenInSecretStoreInfo",
		scalar("updatedAt", (*decoder).timestamp, func(s *secretStoreSync) *timeValue { return &s.UpdatedAt }),
		member[secretStoreSync]{name: "error", decode: decodeSyncError},
	)
)

// decodeSyncError decodes the error of a synchronization. A value that is not a string is
// invalid, but it is still a sign of failure.
func decodeSyncError(d *decoder, s *secretStoreSync) {
	s.Failed, s.Error = false, ""
	switch d.peek() {
	case jsontext.KindString:
		text := d.text()
		s.Failed, s.Error = text != "", d.redact(text)
	case jsontext.KindNull, jsontext.KindFalse:
		d.skip()
	default:
		s.Failed = true
		d.addInvalid()
		d.skip()
	}
}

type manifest struct {
	Name, TokenType string
	ExpirationDate  timeValue
	AutoRotate      autoRotate
	OwnedBy         ownedBy
}

type autoRotate struct{ Interval, GracePeriod *int64 }

type ownedBy struct{ Team string }

var (
	manifestObject = newObject("manifest",
		scalar("name", (*decoder).text, func(m *manifest) *string { return &m.Name }),
		scalar("token_type", (*decoder).internedText, func(m *manifest) *string { return &m.TokenType }),
		scalar("expiration_date", (*decoder).timestamp, func(m *manifest) *timeValue { return &m.ExpirationDate }),
		nested("auto_rotate", autoRotateObject, func(m *manifest) *autoRotate { return &m.AutoRotate }),
		nested("ownedBy", ownedByObject, func(m *manifest) *ownedBy { return &m.OwnedBy }),
	)
	autoRotateObject = newObject("manifest.auto_rotate",
		scalar("auto_rotate_interval", (*decoder).days, func(a *autoRotate) **int64 { return &a.Interval }),
		scalar("grace_period", (*decoder).days, func(a *autoRotate) **int64 { return &a.GracePeriod }),
	)
	ownedByObject = newObject("manifest.ownedBy",
		scalar("team", (*decoder).internedText, func(o *ownedBy) *string { return &o.Team }),
	)
)

// pagination describes the whole list.
type pagination struct{ total, limit *int64 }

var paginationObject = newObject("pagination",
	scalar("total", (*decoder).integer, func(p *pagination) **int64 { return &p.total }),
	scalar("limit", (*decoder).integer, func(p *pagination) **int64 { return &p.limit }),
)

// timeValue is a time that may be absent or unreadable.
type timeValue struct {
	time.Time  // zero if it is absent or unreadable
	dateOnly   bool
	unreadable bool
}

func (v timeValue) absent() bool { return v.IsZero() && !v.unreadable }

func (v timeValue) expiry() Expiry { return Expiry{Readable: !v.unreadable, At: v.Time} }

// endOfDay returns the end of the day for a date without a time, and other times
// unchanged.
func (v timeValue) endOfDay() timeValue {
	if v.dateOnly {
		v.Time = v.AddDate(0, 0, 1)
	}
	return v
}
