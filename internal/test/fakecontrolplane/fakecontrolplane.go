// Package fakecontrolplane provides a fake TrueFoundry control plane for the demo and for
// tests. It only implements the list endpoints of the API, and is as strict as the real
// one.
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

// Prefix is the path prefix of the API.
const Prefix = "/api/svc"

// The list endpoints.
const (
	PersonalAccessTokens = "personal-access-tokens"
	VirtualAccounts      = "virtual-accounts"
)

// Server is a fake control plane. Its fields must not change while it serves.
type Server struct {
	// Key is the only API key that the server accepts.
	Key string
	// Items returns the items of an endpoint: Tokens, or anything else that can be
	// marshalled to JSON. It is called once for each request.
	Items func(endpoint string) []any

	gzipWriters sync.Pool // of *gzip.Writer, which need a megabyte each
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint, found := strings.CutPrefix(r.URL.Path, Prefix+"/v1/")
	if !found || r.Method != http.MethodGet || endpoint != PersonalAccessTokens && endpoint != VirtualAccounts {
		writeError(w, http.StatusNotFound, fmt.Sprintf("Cannot %s %s", r.Method, r.URL.Path))
		return
	}
	key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || subtle.ConstantTimeCompare([]byte(key), []byte(s.Key)) != 1 {
		writeError(w, http.StatusUnauthorized, "Unauthorized: the token is not valid")
		return
	}
	limit, err := parameter(r, "limit", defaultLimit, 1, maxLimit)
	if err != nil {
		writeError(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	offset, err := parameter(r, "offset", 0, 0, math.MaxInt32)
	if err != nil {
		writeError(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	items := s.Items(endpoint)
	from := min(offset, len(items))
	to := min(from+limit, len(items))
	s.writePage(w, r, Page{
		Data:       append([]any{}, items[from:to]...),
		Pagination: map[string]any{"total": len(items), "offset": offset, "limit": limit},
	})
}

// parameter returns an integer parameter of the query.
func parameter(r *http.Request, name string, defaultValue, lowest, highest int) (int, error) {
	query := r.URL.Query()
	if !query.Has(name) {
		return defaultValue, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < lowest || n > highest {
		return 0, fmt.Errorf("%s must be an integer from %d to %d", name, lowest, highest)
	}
	return n, nil
}

func writeError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	writeJSON(w, map[string]any{"statusCode": status, "message": message})
}

func (s *Server) writePage(w http.ResponseWriter, r *http.Request, page Page) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		writeJSON(w, page)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	gz, ok := s.gzipWriters.Get().(*gzip.Writer)
	if !ok {
		gz = gzip.NewWriter(nil)
	}
	gz.Reset(w)
	writeJSON(gz, page)
	gz.Close()
	s.gzipWriters.Put(gz)
}

// writeJSON writes v. It ignores errors, which mean that the client has disconnected.
func writeJSON(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }

// Page is a response of a list endpoint.
type Page struct {
	Data       []any          `json:"data"`
	Pagination map[string]any `json:"pagination,omitempty"`
}

// Token is an item of a list as sent by current servers.
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

// Subject is the creator of a Token.
type Subject struct {
	ID          string `json:"subjectId"`
	Type        string `json:"subjectType"`
	Slug        string `json:"subjectSlug,omitempty"`
	DisplayName string `json:"subjectDisplayName,omitempty"`
}

// JWT describes a JWT of a Token. It never expires if Expiry is nil.
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

// Metadata is the metadata of a JWT.
type Metadata struct {
	SecretStoreSync *SecretStoreSync `json:"syncTokenInSecretStoreInfo,omitempty"`
}

// SecretStoreSync describes the last attempt to write a JWT to a secret store. The attempt
// failed if there is an Error.
type SecretStoreSync struct {
	UpdatedAt time.Time `json:"updatedAt"`
	Error     string    `json:"error,omitempty"`
}

// Manifest is the manifest that a Token was created from.
type Manifest struct {
	Name           string      `json:"name"`
	Type           string      `json:"type"`
	ExpirationDate string      `json:"expiration_date,omitempty"`
	AutoRotate     *AutoRotate `json:"auto_rotate,omitempty"`
	OwnedBy        *OwnedBy    `json:"ownedBy,omitempty"`
}

// AutoRotate configures the automatic rotation of a Token, in days.
type AutoRotate struct {
	Interval    int `json:"auto_rotate_interval"`
	GracePeriod int `json:"grace_period"`
}

// OwnedBy is the team that owns a Token.
type OwnedBy struct {
	Team string `json:"team"`
}
