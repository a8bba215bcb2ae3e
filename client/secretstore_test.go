package client_test

import (
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

func TestSecretStoreSync(t *testing.T) {
	// jwtMetadata returns the members of a token with one JWT that has this metadata.
	jwtMetadata := func(metadata string) string { return `"jwts":[{"id":"j","metadata":` + metadata + `}]` }
	info := func(members string) string { return jwtMetadata(`{"syncTokenInSecretStoreInfo":{` + members + `}}`) }
	want := func(sync client.SecretStoreSync) func(*client.Token) {
		return func(t *client.Token) { t.SecretStoreSync = &sync }
	}
	synced := client.SecretStoreSync{At: at("2026-01-01T00:00:05Z")}
	failed := func(text string) client.SecretStoreSync { return client.SecretStoreSync{Failed: true, Error: text} }
	runItemTests(t, []itemTest{
		{name: "other metadata is ignored", members: jwtMetadata(`{"syncTokenInSecretStore":{"error":"x"},"a":[{}]}`)},
		{name: "metadata is empty", members: jwtMetadata(`{}`)},
		{name: "metadata is not an object", members: jwtMetadata(`["syncTokenInSecretStoreInfo"]`), invalid: fields("jwts.metadata")},
		{name: "metadata is null", members: jwtMetadata(`null`)},
		{name: "the synchronization is null", members: jwtMetadata(`{"syncTokenInSecretStoreInfo":null}`)},
		{name: "a synchronization has a time", members: info(`"updatedAt":"2026-01-01T00:00:05Z"`), want: want(synced)},
		{name: "a synchronization is empty", members: info(``), want: want(client.SecretStoreSync{})},
		{name: "unknown fields are ignored", members: info(`"status":{"error":"x"},"updatedAt":"2026-01-01T00:00:05Z"`), want: want(synced)},
		{name: "a null error is no failure", members: info(`"updatedAt":"2026-01-01T00:00:05Z","error":null`), want: want(synced)},
		{name: "an empty error is no failure", members: info(`"updatedAt":"2026-01-01T00:00:05Z","error":""`), want: want(synced)},
		{name: "a false error is no failure", members: info(`"updatedAt":"2026-01-01T00:00:05Z","error":false`), want: want(synced)},
		{name: "an error with a text is a failure", members: info(`"error":"access\ndenied"`), want: want(failed("access denied"))},
		{
			name: "an error of another type is a failure and invalid", members: info(`"error":{"code":403}`), want: want(failed("")),
			invalid: fields("jwts.metadata.syncTokenInSecretStoreInfo.error"),
		},
		{name: "a long error is truncated", members: info(`"error":"` + strings.Repeat("x", 1000) + `"`), want: want(failed(strings.Repeat("x", 199) + "…"))},
		{
			name:    "keys in an error are redacted",
			members: info(`"error":"cannot put tfy_va_ci_0123456789abcdef, eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl: denied"`),
			want:    want(failed("cannot put <redacted>, <redacted>: denied")),
		},
		{
			name: "an invalid time affects nothing else", members: info(`"updatedAt":"soon","error":"denied"`), want: want(failed("denied")),
			invalid: fields("jwts.metadata.syncTokenInSecretStoreInfo.updatedAt"),
		},
		{name: "the synchronization is not an object", members: jwtMetadata(`{"syncTokenInSecretStoreInfo":"done"}`), invalid: fields("jwts.metadata.syncTokenInSecretStoreInfo")},
		{
			name: "the synchronization of the current JWT counts",
			members: `"jwtId":"new","jwts":[
				{"id":"old","createdAt":"2027-01-01T00:00:00Z","metadata":{"syncTokenInSecretStoreInfo":{"error":"denied"}}},
				{"id":"new","createdAt":"2026-01-01T00:00:00Z","metadata":{"syncTokenInSecretStoreInfo":{"updatedAt":"2026-01-01T00:00:05Z"}}}]`,
			want: func(t *client.Token) {
				t.Issued, t.SecretStoreSync = at("2026-01-01T00:00:00Z"), &synced
			},
		},
		{
			name: "the current JWT may have no synchronization",
			members: `"jwtId":"new","jwts":[
				{"id":"old","createdAt":"2025-01-01T00:00:00Z","metadata":{"syncTokenInSecretStoreInfo":{"error":"denied"}}},
				{"id":"new","createdAt":"2026-01-01T00:00:00Z"}]`,
			want: func(t *client.Token) { t.Issued = at("2026-01-01T00:00:00Z") },
		},
	})
}

func TestErrorsOfSecretStoresAreRedacted(t *testing.T) {
	text := "internal-header " + strings.Repeat(apiKey+" internal-header ", 30)
	body := `{"data":[{"id":"t-1","jwts":[{"metadata":{"syncTokenInSecretStoreInfo":{"error":"` + text + `"}}}]}],"pagination":{"total":1}}`
	l, err := list(t.Context(), newClient(t, serve(t, onePage(body)), func(cfg *client.Config) {
		cfg.Transport = headers{cfg.Transport, map[string]string{"X-Internal": "internal-header"}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	got := l.Tokens[0].SecretStoreSync.Error
	if strings.Contains(got, apiKey[:8]) || strings.Contains(got, "internal-header") || !strings.Contains(got, "<redacted>") {
		t.Errorf("the error is %q", got)
	}
}
