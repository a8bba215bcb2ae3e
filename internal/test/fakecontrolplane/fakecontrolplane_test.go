package fakecontrolplane_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

const (
	key  = "Bearer made-up"
	list = "/api/svc/v1/personal-access-tokens"
)

// request sends a request to a server with 2,500 items.
func request(t *testing.T, method, target, authorization string) *httptest.ResponseRecorder {
	t.Helper()
	server := &fakecontrolplane.Server{Key: "made-up", Items: func(endpoint string) []any {
		items := make([]any, 2500)
		for i := range items {
			items[i] = fmt.Sprintf("%s %d", endpoint, i)
		}
		return items
	}}
	req := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	req.Header.Set("Authorization", authorization)
	response := httptest.NewRecorder()
	server.ServeHTTP(response, req)
	return response
}

func TestServerIsAsStrictAsTheRealAPI(t *testing.T) {
	for _, tt := range []struct {
		name, method, target, authorization string
		want                                int
	}{
		{"the smallest page", http.MethodGet, list + "?limit=1", key, http.StatusOK},
		{"the largest page", http.MethodGet, list + "?limit=1000", key, http.StatusOK},
		{"a page too small", http.MethodGet, list + "?limit=0", key, http.StatusUnprocessableEntity},
		{"a page too large", http.MethodGet, list + "?limit=1001", key, http.StatusUnprocessableEntity},
		{"a limit that is not a number", http.MethodGet, list + "?limit=x", key, http.StatusUnprocessableEntity},
		{"an empty limit", http.MethodGet, list + "?limit=", key, http.StatusUnprocessableEntity},
		{"a negative offset", http.MethodGet, list + "?offset=-1", key, http.StatusUnprocessableEntity},
		{"virtual accounts", http.MethodGet, "/api/svc/v1/virtual-accounts", key, http.StatusOK},
		{"no key", http.MethodGet, list, "", http.StatusUnauthorized},
		{"another key", http.MethodGet, list, "Bearer other", http.StatusUnauthorized},
		{"a key without a scheme", http.MethodGet, list, "made-up", http.StatusUnauthorized},
		{"a path to create a token", http.MethodGet, list + "/name", key, http.StatusNotFound},
		{"a path to get a secret", http.MethodGet, "/api/svc/v1/virtual-accounts/id/token", key, http.StatusNotFound},
		{"a POST", http.MethodPost, list, key, http.StatusNotFound},
		{"without the prefix", http.MethodGet, "/v1/personal-access-tokens", key, http.StatusNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := request(t, tt.method, tt.target, tt.authorization)
			if response.Code != tt.want {
				t.Errorf("got %d, want %d", response.Code, tt.want)
			}
			if tt.want != http.StatusOK && !strings.Contains(response.Body.String(), fmt.Sprintf(`"statusCode":%d`, tt.want)) {
				t.Errorf("got %s", response.Body)
			}
		})
	}
}

func TestPagesFollowLimitAndOffset(t *testing.T) {
	for _, tt := range []struct {
		query       string
		length      int
		first, last string
	}{
		{"", 100, "0", "99"},
		{"?limit=1000", 1000, "0", "999"},
		{"?limit=1000&offset=2000", 500, "2000", "2499"},
		{"?offset=2500", 0, "", ""},
		{"?offset=9999", 0, "", ""},
	} {
		var page struct {
			Data       []string
			Pagination struct{ Total int }
		}
		if err := json.Unmarshal(request(t, http.MethodGet, list+tt.query, key).Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Data) != tt.length || page.Pagination.Total != 2500 || page.Data == nil {
			t.Errorf("%s: %d items of %d", tt.query, len(page.Data), page.Pagination.Total)
		}
		if tt.length > 0 && (!strings.HasSuffix(page.Data[0], " "+tt.first) || !strings.HasSuffix(page.Data[tt.length-1], " "+tt.last)) {
			t.Errorf("%s: from %s to %s", tt.query, page.Data[0], page.Data[tt.length-1])
		}
	}
}

// fieldsOf returns the paths of the fields that a type has in JSON.
func fieldsOf(t reflect.Type, prefix string) (paths []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return nil
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		paths = append(paths, prefix+name)
		paths = append(paths, fieldsOf(field.Type, prefix+name+".")...)
	}
	return paths
}

// The fake control plane sends the fields that the client decodes, by the same names.
func TestItemsHaveTheFieldsOfTheAPI(t *testing.T) {
	// The API has them, too.
	notDecoded := []string{
		"id", "accountId", "updatedAt", "jwts.updatedAt", "jwts.subjectType", "jwts.subjectId", "manifest.type",
	}
	// Other fields stand in for these.
	notSent := []string{
		"createdBySubject.subjectExternalIdentitySlug", "createdBySubject.subjectControllerName", "manifest.token_type",
	}
	var decoded []string
	for _, field := range client.Fields() {
		if !strings.HasPrefix(string(field), "pagination") {
			decoded = append(decoded, string(field))
		}
	}
	sent := fieldsOf(reflect.TypeFor[fakecontrolplane.Token](), "")
	for _, path := range sent {
		if !slices.Contains(decoded, path) && !slices.Contains(notDecoded, path) {
			t.Errorf("%s is sent, and neither decoded nor known to be ignored", path)
		}
	}
	for _, path := range decoded {
		switch isSent, isListed := slices.Contains(sent, path), slices.Contains(notSent, path); {
		case !isSent && !isListed:
			t.Errorf("%s is decoded, but not sent: add it to Token, or to notSent", path)
		case isSent && isListed:
			t.Errorf("%s is sent: remove it from notSent", path)
		}
	}
}
