package client

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Field is a field of the API's answer whose value may be unreadable, by its
// path in the JSON.
type Field string

// The fields that the client reads, id excepted: without one there is no item.
const (
	FieldName                        Field = "name"
	FieldType                        Field = "type"
	FieldTenantName                  Field = "tenantName"
	FieldCreatedBy                   Field = "createdBy"
	FieldCreatedBySubject            Field = "createdBySubject"
	FieldSubjectID                   Field = "createdBySubject.subjectId"
	FieldSubjectType                 Field = "createdBySubject.subjectType"
	FieldSubjectSlug                 Field = "createdBySubject.subjectSlug"
	FieldSubjectDisplayName          Field = "createdBySubject.subjectDisplayName"
	FieldSubjectExternalIdentitySlug Field = "createdBySubject.subjectExternalIdentitySlug"
	FieldSubjectControllerName       Field = "createdBySubject.subjectControllerName"
	FieldCreatedAt                   Field = "createdAt"
	FieldLastAccessedAt              Field = "lastAccessedAt"
	FieldIsExpired                   Field = "isExpired"
	FieldJWTID                       Field = "jwtId"
	FieldJWTs                        Field = "jwts"
	FieldJWTsID                      Field = "jwts.id"
	FieldJWTExpiry                   Field = "jwts.expiry"
	FieldJWTCreatedAt                Field = "jwts.createdAt"
	FieldJWTTokenType                Field = "jwts.tokenType"                                     //nolint:gosec // the name of a field
	FieldSecretStoreSync             Field = "jwts.metadata.syncTokenInSecretStoreInfo"           //nolint:gosec // the name of a field
	FieldSecretStoreSyncUpdatedAt    Field = "jwts.metadata.syncTokenInSecretStoreInfo.updatedAt" //nolint:gosec // the name of a field
	FieldNextScheduledRotation       Field = "nextScheduledRotation"
	FieldManifest                    Field = "manifest"
	FieldManifestName                Field = "manifest.name"
	FieldManifestTokenType           Field = "manifest.token_type"
	FieldExpirationDate              Field = "manifest.expiration_date"
	FieldAutoRotate                  Field = "manifest.auto_rotate"
	FieldAutoRotateInterval          Field = "manifest.auto_rotate.auto_rotate_interval"
	FieldGracePeriod                 Field = "manifest.auto_rotate.grace_period"
	FieldOwnedBy                     Field = "manifest.ownedBy"
	FieldTeam                        Field = "manifest.ownedBy.team"
	FieldTotal                       Field = "pagination.total"
)

// Fields returns every Field.
func Fields() []Field {
	return []Field{
		FieldName, FieldType, FieldTenantName, FieldCreatedBy, FieldCreatedBySubject, FieldSubjectID,
		FieldSubjectType, FieldSubjectSlug, FieldSubjectDisplayName, FieldSubjectExternalIdentitySlug,
		FieldSubjectControllerName, FieldCreatedAt, FieldLastAccessedAt, FieldIsExpired, FieldJWTID, FieldJWTs,
		FieldJWTsID, FieldJWTExpiry, FieldJWTCreatedAt, FieldJWTTokenType,
		FieldSecretStoreSync, FieldSecretStoreSyncUpdatedAt, FieldNextScheduledRotation,
		FieldManifest, FieldManifestName, FieldManifestTokenType, FieldExpirationDate, FieldAutoRotate,
		FieldAutoRotateInterval, FieldGracePeriod, FieldOwnedBy, FieldTeam, FieldTotal,
	}
}

// item is what is read of one element of the API's list; other fields are
// ignored.
type item struct {
	ID, Name, Type, TenantName, CreatedBy string
	CreatedBySubject                      subject
	CreatedAt, LastAccessedAt             timeValue
	IsExpired                             *bool
	JWTID                                 string
	JWTs                                  []jwt
	NextScheduledRotation                 timeValue
	Manifest                              manifest

	// unreadable are the fields that hold something else than was promised.
	unreadable []Field
}

type subject struct {
	ID, Type, Slug, DisplayName          string
	ExternalIdentitySlug, ControllerName string
}

// jwt is metadata only: the API lists no secret.
type jwt struct {
	ID                string
	Expiry, CreatedAt timeValue
	TokenType         string
	SecretStoreSync   *SecretStoreSync
}

type manifest struct {
	Name, TokenType       string
	ExpirationDate        timeValue
	Interval, GracePeriod *int64
	Team                  string
}

// timeValue is a point in time that may be absent or unreadable.
type timeValue struct {
	time.Time  // zero where absent or unreadable
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

func (it *item) has(unreadable Field) bool { return slices.Contains(it.unreadable, unreadable) }

func (d *decoder) item() (it item) {
	d.path, d.unreadable = d.path[:0], nil
	if d.enter(jsontext.KindBeginObject) {
		for d.member("") {
			switch Field(d.path) {
			case "id":
				it.ID = d.text()
			case FieldName:
				it.Name = d.text()
			case FieldType:
				it.Type = d.word()
			case FieldTenantName:
				it.TenantName = d.word()
			case FieldCreatedBy:
				it.CreatedBy = d.word()
			case FieldCreatedBySubject:
				it.CreatedBySubject = d.subject()
			case FieldCreatedAt:
				it.CreatedAt = d.time()
			case FieldLastAccessedAt:
				it.LastAccessedAt = d.time()
			case FieldIsExpired:
				it.IsExpired = d.flag()
			case FieldJWTID:
				it.JWTID = d.text()
			case FieldJWTs:
				it.JWTs = d.jwts()
			case FieldNextScheduledRotation:
				it.NextScheduledRotation = d.time()
			case FieldManifest:
				it.Manifest = d.manifest()
			default:
				d.skip()
			}
		}
	}
	it.unreadable = d.unreadable
	return it
}

func (d *decoder) subject() (s subject) {
	if d.enter(jsontext.KindBeginObject) {
		for d.member("createdBySubject.") {
			switch Field(d.path) {
			case FieldSubjectID:
				s.ID = d.word()
			case FieldSubjectType:
				s.Type = d.word()
			case FieldSubjectSlug:
				s.Slug = d.word()
			case FieldSubjectDisplayName:
				s.DisplayName = d.word()
			case FieldSubjectExternalIdentitySlug:
				s.ExternalIdentitySlug = d.word()
			case FieldSubjectControllerName:
				s.ControllerName = d.word()
			default:
				d.skip()
			}
		}
	}
	return s
}

// maxJWTs is how many JWTs of a token are read. They take many times the memory
// of their JSON.
const maxJWTs = 10_000

func (d *decoder) jwts() (all []jwt) {
	if d.enter(jsontext.KindBeginArray) {
		for d.more(jsontext.KindEndArray) {
			d.path = append(d.path[:0], FieldJWTs...)
			if len(all) < maxJWTs {
				all = append(all, d.jwt())
			} else {
				d.note()
				d.skip()
			}
		}
	}
	return all
}

func (d *decoder) jwt() (j jwt) {
	if d.enter(jsontext.KindBeginObject) {
		for d.member("jwts.") {
			switch Field(d.path) {
			case FieldJWTsID:
				j.ID = d.text()
			case FieldJWTExpiry:
				j.Expiry = d.time()
			case FieldJWTCreatedAt:
				j.CreatedAt = d.time()
			case FieldJWTTokenType:
				j.TokenType = d.word()
			case "jwts.metadata":
				j.SecretStoreSync = d.secretStoreSync()
			default:
				d.skip()
			}
		}
	}
	return j
}

func (d *decoder) manifest() (m manifest) {
	if d.enter(jsontext.KindBeginObject) {
		for d.member("manifest.") {
			switch Field(d.path) {
			case FieldManifestName:
				m.Name = d.text()
			case FieldManifestTokenType:
				m.TokenType = d.word()
			case FieldExpirationDate:
				m.ExpirationDate = d.time()
			case FieldAutoRotate:
				m.Interval, m.GracePeriod = d.autoRotate()
			case FieldOwnedBy:
				m.Team = d.team()
			default:
				d.skip()
			}
		}
	}
	return m
}

func (d *decoder) autoRotate() (interval, gracePeriod *int64) {
	if d.enter(jsontext.KindBeginObject) {
		for d.member("manifest.auto_rotate.") {
			switch Field(d.path) {
			case FieldAutoRotateInterval:
				interval = d.days()
			case FieldGracePeriod:
				gracePeriod = d.days()
			default:
				d.skip()
			}
		}
	}
	return interval, gracePeriod
}

func (d *decoder) team() (team string) {
	if d.enter(jsontext.KindBeginObject) {
		for d.member("manifest.ownedBy.") {
			if Field(d.path) == FieldTeam {
				team = d.word()
			} else {
				d.skip()
			}
		}
	}
	return team
}
