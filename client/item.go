package client

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Field is a field of the API's responses, by its path in an item or in the page.
type Field string

// The fields on which others depend.
const (
	FieldJWTs     Field = "jwts"
	FieldJWTsID   Field = "jwts.id"
	FieldManifest Field = "manifest"
	FieldTotal    Field = "pagination.total"
	FieldLimit    Field = "pagination.limit"
)

// Fields returns every Field that the client decodes, except for an item's id:
// without it, the whole item is invalid.
func Fields() []Field {
	return slices.DeleteFunc(append(itemObject.fields(), paginationObject.fields()...), func(f Field) bool { return f == "id" })
}

// item is what is read of one element of the list.
type item struct {
	ID, Name, Type, TenantName, CreatedBy string
	CreatedBySubject                      subject
	CreatedAt, LastAccessedAt             timeValue
	IsExpired                             *bool
	JWTID                                 string
	JWTs                                  []jwt
	NextScheduledRotation                 timeValue
	Manifest                              manifest

	// invalid are the values that could not be read.
	invalid invalidValues
}

var itemObject = newObject("",
	text("id", func(it *item) *string { return &it.ID }),
	text("name", func(it *item) *string { return &it.Name }),
	word("type", func(it *item) *string { return &it.Type }),
	word("tenantName", func(it *item) *string { return &it.TenantName }),
	word("createdBy", func(it *item) *string { return &it.CreatedBy }),
	nested("createdBySubject", subjectObject, func(it *item) *subject { return &it.CreatedBySubject }),
	timestamp("createdAt", func(it *item) *timeValue { return &it.CreatedAt }),
	timestamp("lastAccessedAt", func(it *item) *timeValue { return &it.LastAccessedAt }),
	boolean("isExpired", func(it *item) **bool { return &it.IsExpired }),
	text("jwtId", func(it *item) *string { return &it.JWTID }),
	array("jwts", jwtObject, maxJWTs, func(it *item) *[]jwt { return &it.JWTs }),
	timestamp("nextScheduledRotation", func(it *item) *timeValue { return &it.NextScheduledRotation }),
	nested("manifest", manifestObject, func(it *item) *manifest { return &it.Manifest }),
)

// decodeItem reads an item. It reuses the memory of the one before, which nothing
// refers to any more.
func decodeItem(d *decoder, it *item) {
	*it = item{JWTs: it.JWTs[:0]}
	d.field, d.invalid = "", nil
	itemObject.decode(d, it)
	it.invalid = d.invalid
}

// subject is who created a token.
type subject struct {
	ID, Type, Slug, DisplayName          string
	ExternalIdentitySlug, ControllerName string
}

var subjectObject = newObject("createdBySubject",
	word("subjectId", func(s *subject) *string { return &s.ID }),
	word("subjectType", func(s *subject) *string { return &s.Type }),
	word("subjectSlug", func(s *subject) *string { return &s.Slug }),
	word("subjectDisplayName", func(s *subject) *string { return &s.DisplayName }),
	word("subjectExternalIdentitySlug", func(s *subject) *string { return &s.ExternalIdentitySlug }),
	word("subjectControllerName", func(s *subject) *string { return &s.ControllerName }),
)

// jwt is the metadata of a JWT. The API does not list the JWT itself.
type jwt struct {
	ID                string
	Expiry, CreatedAt timeValue
	TokenType         string
	Metadata          jwtMetadata
}

// maxJWTs is how many JWTs of a token are read. They take many times the memory of
// their JSON.
const maxJWTs = 10_000

var jwtObject = newObject("jwts",
	text("id", func(j *jwt) *string { return &j.ID }),
	timestamp("expiry", func(j *jwt) *timeValue { return &j.Expiry }),
	timestamp("createdAt", func(j *jwt) *timeValue { return &j.CreatedAt }),
	word("tokenType", func(j *jwt) *string { return &j.TokenType }),
	nested("metadata", jwtMetadataObject, func(j *jwt) *jwtMetadata { return &j.Metadata }),
)

// jwtMetadata is an object of free form, of which one member is known.
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
		timestamp("updatedAt", func(s *secretStoreSync) *timeValue { return &s.UpdatedAt }),
		member[secretStoreSync]{name: "error", decode: decodeSyncError},
	)
)

// decodeSyncError reads the error of a synchronisation. One of another type than
// string is invalid, but the synchronisation has failed all the same.
func decodeSyncError(d *decoder, s *secretStoreSync) {
	s.Failed, s.Error = false, ""
	switch d.peek() {
	case jsontext.KindString:
		text := d.text()
		s.Failed, s.Error = text != "", d.quote(text)
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
		text("name", func(m *manifest) *string { return &m.Name }),
		word("token_type", func(m *manifest) *string { return &m.TokenType }),
		timestamp("expiration_date", func(m *manifest) *timeValue { return &m.ExpirationDate }),
		nested("auto_rotate", autoRotateObject, func(m *manifest) *autoRotate { return &m.AutoRotate }),
		nested("ownedBy", ownedByObject, func(m *manifest) *ownedBy { return &m.OwnedBy }),
	)
	autoRotateObject = newObject("manifest.auto_rotate",
		numberOfDays("auto_rotate_interval", func(a *autoRotate) **int64 { return &a.Interval }),
		numberOfDays("grace_period", func(a *autoRotate) **int64 { return &a.GracePeriod }),
	)
	ownedByObject = newObject("manifest.ownedBy",
		word("team", func(o *ownedBy) *string { return &o.Team }),
	)
)

// pagination is what a page says about the whole list.
type pagination struct{ total, limit *int64 }

var paginationObject = newObject("pagination",
	integer("total", func(p *pagination) **int64 { return &p.total }),
	integer("limit", func(p *pagination) **int64 { return &p.limit }),
)

// timeValue is a point in time that may be absent or unreadable.
type timeValue struct {
	time.Time  // zero if it is absent or unreadable
	dateOnly   bool
	unreadable bool
}

func (v timeValue) absent() bool { return v.IsZero() && !v.unreadable }

func (v timeValue) expiry() Expiry { return Expiry{Readable: !v.unreadable, At: v.Time} }

// endOfDay moves a date without a time to the end of its day.
func (v timeValue) endOfDay() timeValue {
	if v.dateOnly {
		v.Time = v.AddDate(0, 0, 1)
	}
	return v
}
