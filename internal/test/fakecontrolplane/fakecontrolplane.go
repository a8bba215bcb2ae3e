// Package fakecontrolplane is a fake TrueFoundry control plane, for the
// demonstration and the tests. It answers the list endpoints of the API, as
// strictly as the real one, and nothing else.
package fakecontrolplane

import (
	"compress/gzip"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The limits of the real API.
const (
	maxLimit     = 1000
	defaultLimit = 100
)

// Prefix is the path below which the API is served.
const Prefix = "/api/svc"

// The list endpoints.
const (
	PersonalAccessTokens = "personal-access-tokens"
	VirtualAccounts      = "virtual-accounts"
)

// Server is a control plane. Its fields must not change while it serves.
type Server struct {
	// Key is the one API key that it accepts.
	Key string
	// Items returns what an endpoint lists at this moment: Tokens, or anything
	// else that makes JSON. It is called once for each request.
	Items func(endpoint string) []any

	zippers sync.Pool // of *gzip.Writer: a new one costs a megabyte
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint, found := strings.CutPrefix(r.URL.Path, Prefix+"/v1/")
	if !found || r.Method != http.MethodGet || endpoint != PersonalAccessTokens && endpoint != VirtualAccounts {
		refuse(w, http.StatusNotFound, fmt.Sprintf("Cannot %s %s", r.Method, r.URL.Path))
		return
	}
	key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || subtle.ConstantTimeCompare([]byte(key), []byte(s.Key)) != 1 {
		refuse(w, http.StatusUnauthorized, "Unauthorized: the token is not valid")
		return
	}
	limit, err := parameter(r, "limit", defaultLimit, 1, maxLimit)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	offset, err := parameter(r, "offset", 0, 0, math.MaxInt32)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	items := s.Items(endpoint)
	from := min(offset, len(items))
	to := min(from+limit, len(items))
	s.answer(w, r, Page{
		Data:       append([]any{}, items[from:to]...),
		Pagination: map[string]any{"total": len(items), "offset": offset, "limit": limit},
	})
}

func parameter(r *http.Request, name string, missing, least, most int) (int, error) {
	query := r.URL.Query()
	if !query.Has(name) {
		return missing, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s must be an integer from %d to %d", name, least, most)
	}
	return n, nil
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	encode(w, map[string]any{"statusCode": status, "message": message})
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, page Page) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		encode(w, page)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	zipper, ok := s.zippers.Get().(*gzip.Writer)
	if !ok {
		zipper = gzip.NewWriter(nil)
	}
	zipper.Reset(w)
	encode(zipper, page)
	zipper.Close()
	s.zippers.Put(zipper)
}

// encode writes v as far as the client wants to read it.
func encode(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }

// Page is an answer of a list endpoint.
type Page struct {
	Data       []any          `json:"data"`
	Pagination map[string]any `json:"pagination,omitempty"`
}

// Token is an item of a list, as current servers send it.
type Token struct {
	ID                    string     `json:"id"`
	Name                  string     `json:"name,omitempty"`
	Type                  string     `json:"type"`
	TenantName            string     `json:"tenantName"`
	AccountID             string     `json:"accountId,omitempty"`
	CreatedBySubject      Subject    `json:"createdBySubject"`
	CreatedBy             string     `json:"createdBy,omitempty"`
	CreatedAt             time.Time  `json:"createdAt"`
	UpdatedAt             time.Time  `json:"updatedAt"`
	LastAccessedAt        *time.Time `json:"lastAccessedAt"`
	IsExpired             *bool      `json:"isExpired"`
	JWTID                 string     `json:"jwtId,omitempty"`
	JWTs                  []JWT      `json:"jwts"`
	NextScheduledRotation *time.Time `json:"nextScheduledRotation"`
	Manifest              *Manifest  `json:"manifest"`
}

// Subject is who created a Token.
type Subject struct {
	ID          string `json:"subjectId"`
	Type        string `json:"subjectType"`
	Slug        string `json:"subjectSlug,omitempty"`
	DisplayName string `json:"subjectDisplayName,omitempty"`
}

// JWT is what the API tells of a JWT; nil Expiry means that it never expires.
type JWT struct {
	ID          string     `json:"id"`
	Expiry      *time.Time `json:"expiry"`
	CreatedAt   time.Time  `json:"createdAt"`
	UpdatedAt   time.Time  `json:"updatedAt"`
	SubjectType string     `json:"subjectType"`
	SubjectID   string     `json:"subjectId"`
	TokenType   string     `json:"tokenType,omitempty"`
	Metadata    *Metadata  `json:"metadata,omitempty"`
}

// Metadata is what else the API tells of a JWT.
type Metadata struct {
	SecretStoreSync *SecretStoreSync `json:"syncTokenInSecretStoreInfo,omitempty"`
}

// SecretStoreSync is the last attempt to write a JWT to a secret store, which
// failed where there is an Error.
type SecretStoreSync struct {
	UpdatedAt time.Time `json:"updatedAt"`
	Error     string    `json:"error,omitempty"`
}

// Manifest is what a Token was made from.
type Manifest struct {
	Name           string      `json:"name"`
	Type           string      `json:"type"`
	ExpirationDate string      `json:"expiration_date,omitempty"`
	AutoRotate     *AutoRotate `json:"auto_rotate,omitempty"`
	OwnedBy        *OwnedBy    `json:"ownedBy,omitempty"`
}

// AutoRotate is how a Token rotates by itself, in days.
type AutoRotate struct {
	Interval    int `json:"auto_rotate_interval"`
	GracePeriod int `json:"grace_period"`
}

// OwnedBy is the team that owns a Token.
type OwnedBy struct {
	Team string `json:"team"`
}
