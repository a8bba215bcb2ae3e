package faults_test

import "testing"

func TestATokenThatDidNotReachItsSecretStore(t *testing.T) {
	t.Parallel()
	const failed, at = "secret_store_sync_failed", "secret_store_sync_timestamp_seconds"
	e := start(t)
	e.controlPlane.listsOdd(`"name":"ci","jwts":[{"id":"j","metadata":{"syncTokenInSecretStoreInfo":{"updatedAt":"2026-01-01T00:00:05Z","error":"access denied"}}}]`)
	s := e.expectTwice(func(s *scrape) { s.expectListed(3) },
		"level=warn", `msg="tokens did not reach their secret stores`, "tokens=1", `\"ci\" with id \"odd\": access denied`)
	s.expectToken(odd, failed, 1)
	s.expectToken(odd, at, 1767225605)

	e.controlPlane.listsOdd(`"name":"ci","jwts":[{"id":"j","metadata":{"syncTokenInSecretStoreInfo":{"updatedAt":"2026-01-01T00:10:05Z"}}}]`)
	s = e.expectTwice(func(s *scrape) { s.expectListed(3) }, "level=info", `msg="tokens reach their secret stores again"`)
	s.expectToken(odd, failed, 0)
	s.expectToken(odd, at, 1767226205)

	e.controlPlane.listsOdd(`"name":"ci","jwts":[{"id":"j","metadata":{}}]`)
	e.expectListing(3).expectOddLacks(failed, at)
}
