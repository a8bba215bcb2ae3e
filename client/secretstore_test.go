package client_test

import (
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

func TestSecretStoreSync(t *testing.T) {
	// of is the token whose one JWT has this metadata.
	of := func(metadata string) string { return `"jwts":[{"id":"j","metadata":` + metadata + `}]` }
	info := func(members string) string { return of(`{"syncTokenInSecretStoreInfo":{` + members + `}}`) }
	want := func(sync client.SecretStoreSync) func(*client.Token) {
		return func(t *client.Token) { t.SecretStoreSync = &sync }
	}
	synced := client.SecretStoreSync{At: at("2026-01-01T00:00:05Z")}
	failed := func(text string) client.SecretStoreSync { return client.SecretStoreSync{Failed: true, Error: text} }
	runItemTests(t, []itemTest{
		{name: "there is none in metadata of another kind", members: of(`{"syncTokenInSecretStore":{"error":"x"},"a":[{}]}`)},
		{name: "there is none in metadata that is empty", members: of(`{}`)},
		{name: "metadata is no object", members: of(`["syncTokenInSecretStoreInfo"]`), unreadable: fields("jwts.metadata")},
		{name: "metadata may be null", members: of(`null`)},
		{name: "null is none", members: of(`{"syncTokenInSecretStoreInfo":null}`)},
		{name: "it has a time", members: info(`"updatedAt":"2026-01-01T00:00:05Z"`), want: want(synced)},
		{name: "it may lack everything", members: info(``), want: want(client.SecretStoreSync{})},
		{name: "unknown fields are ignored", members: info(`"status":{"error":"x"},"updatedAt":"2026-01-01T00:00:05Z"`), want: want(synced)},
		{name: "an error that is null is none", members: info(`"updatedAt":"2026-01-01T00:00:05Z","error":null`), want: want(synced)},
		{name: "an error that is empty is none", members: info(`"updatedAt":"2026-01-01T00:00:05Z","error":""`), want: want(synced)},
		{name: "an error that is false is none", members: info(`"updatedAt":"2026-01-01T00:00:05Z","error":false`), want: want(synced)},
		{name: "an error has a text", members: info(`"error":"access\ndenied"`), want: want(failed("access denied"))},
		{
			name: "an error of another type is a failure, too", members: info(`"error":{"code":403}`), want: want(failed("")),
			unreadable: fields("jwts.metadata.syncTokenInSecretStoreInfo.error"),
		},
		{name: "a long error is cut", members: info(`"error":"` + strings.Repeat("x", 1000) + `"`), want: want(failed(strings.Repeat("x", 199) + "…"))},
		{
			name:    "keys in an error are not repeated",
			members: info(`"error":"cannot put tfy_va_ci_0123456789abcdef, eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl: denied"`),
			want:    want(failed("cannot put <redacted>, <redacted>: denied")),
		},
		{
			name: "a time that cannot be read costs only itself", members: info(`"updatedAt":"soon","error":"denied"`), want: want(failed("denied")),
			unreadable: fields("jwts.metadata.syncTokenInSecretStoreInfo.updatedAt"),
		},
		{name: "it is no object", members: of(`{"syncTokenInSecretStoreInfo":"done"}`), unreadable: fields("jwts.metadata.syncTokenInSecretStoreInfo")},
		{
			name: "that of the current JWT counts",
			members: `"jwtId":"new","jwts":[
				{"id":"old","createdAt":"2027-01-01T00:00:00Z","metadata":{"syncTokenInSecretStoreInfo":{"error":"denied"}}},
				{"id":"new","createdAt":"2026-01-01T00:00:00Z","metadata":{"syncTokenInSecretStoreInfo":{"updatedAt":"2026-01-01T00:00:05Z"}}}]`,
			want: func(t *client.Token) {
				t.Issued, t.SecretStoreSync = at("2026-01-01T00:00:00Z"), &synced
			},
		},
		{
			name: "of the current JWT there may be none",
			members: `"jwtId":"new","jwts":[
				{"id":"old","createdAt":"2025-01-01T00:00:00Z","metadata":{"syncTokenInSecretStoreInfo":{"error":"denied"}}},
				{"id":"new","createdAt":"2026-01-01T00:00:00Z"}]`,
			want: func(t *client.Token) { t.Issued = at("2026-01-01T00:00:00Z") },
		},
	})
}

// A store that repeats what the exporter sent, however long, shows none of it.
func TestErrorsOfSecretStoresRepeatNothingThatWasSent(t *testing.T) {
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
		t.Errorf("it is %q", got)
	}
}
