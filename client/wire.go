package client

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Field is a field of the API's answer whose value may be unreadable, by its
// path in the JSON.
type Field string

// The fields that the client reads, id excepted: without one there is no item.
const (
	FieldName                  Field = "name"
	FieldType                  Field = "type"
	FieldTenantName            Field = "tenantName"
	FieldCreatedBy             Field = "createdBy"
	FieldCreatedBySubject      Field = "createdBySubject"
	FieldSubjectID             Field = "createdBySubject.subjectId"
	FieldSubjectType           Field = "createdBySubject.subjectType"
	FieldSubjectSlug           Field = "createdBySubject.subjectSlug"
	FieldSubjectDisplayName    Field = "createdBySubject.subjectDisplayName"
	FieldCreatedAt             Field = "createdAt"
	FieldLastAccessedAt        Field = "lastAccessedAt"
	FieldIsExpired             Field = "isExpired"
	FieldJWTID                 Field = "jwtId"
	FieldJWTs                  Field = "jwts"
	FieldJWTsID                Field = "jwts.id"
	FieldJWTExpiry             Field = "jwts.expiry"
	FieldJWTCreatedAt          Field = "jwts.createdAt"
	FieldJWTTokenType          Field = "jwts.tokenType" //nolint:gosec // the name of a field
	FieldNextScheduledRotation Field = "nextScheduledRotation"
	FieldManifest              Field = "manifest"
	FieldManifestName          Field = "manifest.name"
	FieldManifestTokenType     Field = "manifest.token_type"
	FieldExpirationDate        Field = "manifest.expiration_date"
	FieldAutoRotate            Field = "manifest.auto_rotate"
	FieldAutoRotateInterval    Field = "manifest.auto_rotate.auto_rotate_interval"
	FieldGracePeriod           Field = "manifest.auto_rotate.grace_period"
	FieldOwnedBy               Field = "manifest.ownedBy"
	FieldTeam                  Field = "manifest.ownedBy.team"
	FieldTotal                 Field = "pagination.total"
)

// Fields returns every Field.
func Fields() []Field {
	return []Field{
		FieldName, FieldType, FieldTenantName, FieldCreatedBy, FieldCreatedBySubject, FieldSubjectID,
		FieldSubjectType, FieldSubjectSlug, FieldSubjectDisplayName, FieldCreatedAt, FieldLastAccessedAt,
		FieldIsExpired, FieldJWTID, FieldJWTs, FieldJWTsID, FieldJWTExpiry, FieldJWTCreatedAt,
		FieldJWTTokenType, FieldNextScheduledRotation, FieldManifest, FieldManifestName,
		FieldManifestTokenType, FieldExpirationDate, FieldAutoRotate, FieldAutoRotateInterval,
		FieldGracePeriod, FieldOwnedBy, FieldTeam, FieldTotal,
	}
}

// item is what is read of one element of the API's list; other fields are
// ignored.
type item struct {
	ID                    string    `json:"id"`
	Name                  string    `json:"name"`
	Type                  string    `json:"type"`
	TenantName            string    `json:"tenantName"`
	CreatedBy             string    `json:"createdBy"`
	CreatedBySubject      subject   `json:"createdBySubject"`
	CreatedAt             timeValue `json:"createdAt"`
	LastAccessedAt        timeValue `json:"lastAccessedAt"`
	IsExpired             boolValue `json:"isExpired"`
	JWTID                 string    `json:"jwtId"`
	JWTs                  []jwt     `json:"jwts"`
	NextScheduledRotation timeValue `json:"nextScheduledRotation"`
	Manifest              manifest  `json:"manifest"`

	// mismatched are the fields that hold JSON of another type than promised.
	mismatched []Field
}

type subject struct {
	ID          string `json:"subjectId"`
	Type        string `json:"subjectType"`
	Slug        string `json:"subjectSlug"`
	DisplayName string `json:"subjectDisplayName"`
}

// jwt is metadata only: the API lists no secret.
type jwt struct {
	ID        string    `json:"id"`
	Expiry    timeValue `json:"expiry"`
	CreatedAt timeValue `json:"createdAt"`
	TokenType string    `json:"tokenType"`
}

type manifest struct {
	Name           string     `json:"name"`
	TokenType      string     `json:"token_type"`
	ExpirationDate timeValue  `json:"expiration_date"`
	AutoRotate     autoRotate `json:"auto_rotate"`
	OwnedBy        ownedBy    `json:"ownedBy"`
}

type autoRotate struct {
	Interval    daysValue `json:"auto_rotate_interval"`
	GracePeriod daysValue `json:"grace_period"`
}

type ownedBy struct {
	Team string `json:"team"`
}

func (it *item) has(mismatch Field) bool { return slices.Contains(it.mismatched, mismatch) }

// decodeFields decodes raw field by field, so that a value of the wrong type
// costs that value alone. The leaves with an UnmarshalJSON of their own accept
// anything, so that only text, objects and arrays can mismatch.
func (it *item) decodeFields(raw []byte) {
	*it = item{}
	decodeFields(raw, reflect.ValueOf(it).Elem(), "", func(path string) {
		it.mismatched = append(it.mismatched, Field(path))
	})
}

func decodeFields(raw []byte, v reflect.Value, path string, mismatch func(path string)) {
	v.SetZero() // of two members with one name the last counts
	_, leaf := reflect.TypeAssert[json.Unmarshaler](v.Addr())
	switch {
	case v.Kind() == reflect.Struct && !leaf:
		members, ok := membersOf(raw)
		if !ok {
			mismatch(path)
			return
		}
		for _, m := range members {
			for i := range v.NumField() {
				if key := v.Type().Field(i).Tag.Get("json"); key != "" && strings.EqualFold(key, m.key) {
					decodeFields(m.value, v.Field(i), strings.TrimPrefix(path+"."+key, "."), mismatch)
				}
			}
		}
	case v.Kind() == reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil {
			mismatch(path)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
		for i, element := range elements {
			decodeFields(element, v.Index(i), path, mismatch)
		}
	default:
		if json.Unmarshal(raw, v.Addr().Interface()) != nil {
			mismatch(path)
		}
	}
}

// member is a member of a JSON object.
type member struct {
	key   string
	value json.RawMessage
}

// membersOf returns the members of a JSON object in their order. It returns
// false for any other JSON but null.
func membersOf(raw []byte) ([]member, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	switch start, err := dec.Token(); {
	case err == nil && start == nil:
		return nil, true
	case err != nil || start != json.Delim('{'):
		return nil, false
	}
	var members []member
	for dec.More() {
		var m member
		key, err := dec.Token()
		if err != nil || dec.Decode(&m.value) != nil {
			return nil, false
		}
		m.key, _ = key.(string)
		members = append(members, m)
	}
	return members, true
}

// timeValue is a point in time that may be absent or unreadable.
type timeValue struct {
	time.Time  // zero where absent or unreadable
	dateOnly   bool
	unreadable bool
}

// UnmarshalJSON accepts anything.
func (v *timeValue) UnmarshalJSON(raw []byte) error {
	*v = timeValue{}
	if string(raw) == "null" {
		return nil
	}
	text, ok := unquote(raw)
	if ok {
		v.Time, v.dateOnly, ok = parseTime(text)
	}
	v.unreadable = !ok
	return nil
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

// boolValue is a boolean that may be absent or unreadable.
type boolValue struct {
	value      *bool
	unreadable bool
}

// UnmarshalJSON accepts anything.
func (v *boolValue) UnmarshalJSON(raw []byte) error {
	*v = boolValue{}
	if json.Unmarshal(raw, &v.value) != nil {
		*v = boolValue{unreadable: true}
	}
	return nil
}

// maxDays is the longest interval that is believed: the years 0 to 9999.
const maxDays = 3652425

// daysValue is a whole number of days that may be absent or unreadable.
type daysValue struct {
	days       *int64
	unreadable bool
}

// UnmarshalJSON accepts anything.
func (v *daysValue) UnmarshalJSON(raw []byte) error {
	*v = daysValue{}
	if string(raw) == "null" {
		return nil
	}
	if days, err := strconv.ParseInt(string(raw), 10, 64); err == nil && days >= 0 && days <= maxDays {
		v.days = &days
	}
	v.unreadable = v.days == nil
	return nil
}

// unquote returns the text of a JSON string, and false for any other JSON.
func unquote(raw []byte) (string, bool) {
	if raw[0] != '"' {
		return "", false
	}
	if !slices.Contains(raw, '\\') {
		return string(raw[1 : len(raw)-1]), true
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}
