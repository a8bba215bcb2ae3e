package faults_test

import "testing"

func TestATokenThatWasNotWrittenToItsSecretStore(t *testing.T) {
	t.Parallel()
	const id, failed, at = "rotated", "secret_store_sync_failed", "secret_store_sync_timestamp_seconds"
	e := start(t)
	e.controlPlane.setItems(item(id, `"name":"ci","jwts":[{"id":"j","metadata":{"syncTokenInSecretStoreInfo":{"updatedAt":"2026-01-01T00:00:05Z","error":"access denied"}}}]`))
	s := e.expect(func(s *scrape) { s.expectListed(1) },
		"level=warn", `msg="tokens did not reach their secret stores`, "tokens=1", `\"ci\" with id \"rotated\": access denied`)
	s.expectToken(id, failed, 1)
	s.expectToken(id, at, 1767225605)

	e.controlPlane.setItems(item(id, `"name":"ci","jwts":[{"id":"j","metadata":{"syncTokenInSecretStoreInfo":{"updatedAt":"2026-01-01T00:10:05Z"}}}]`))
	s = e.expect(func(s *scrape) { s.expectListed(1) }, "level=info", `msg="tokens reach their secret stores again"`)
	s.expectToken(id, failed, 0)
	s.expectToken(id, at, 1767226205)

	e.controlPlane.setItems(item(id, `"name":"ci","jwts":[{"id":"j","metadata":{}}]`))
	e.expectListing(1).expectNoMetrics(id, failed, at)
}
