package main

// series are the token metrics of the exporter. Each token has all of them.
var series = [...]struct{ name, help string }{
	{"truefoundry_token_created_timestamp_seconds", "When the token was created, in seconds since the Unix epoch."},
	{"truefoundry_token_expired", "Whether the token is expired according to the API, or has an expiry in the past if the API does not say."},
	{"truefoundry_token_expiry_timestamp_seconds", "When the token stops working, in seconds since the Unix epoch."},
	{"truefoundry_token_has_expiry", "Whether the token has an expiry (1) or never expires (0)."},
	{"truefoundry_token_info", "A token that is listed by the control plane. The value is always 1."},
	{"truefoundry_token_issued_timestamp_seconds", "When the token's current JWT was created, or the token itself if it has no JWT, in seconds since the Unix epoch."},
	{"truefoundry_token_last_accessed_timestamp_seconds", "When the token was last used to authenticate, in seconds since the Unix epoch."},
	{"truefoundry_token_next_rotation_timestamp_seconds", "When the token's next rotation is due, in seconds since the Unix epoch."},
	{"truefoundry_token_replaced", "Whether the same listing has a replacement: a token of the same tenant, creator and name that was issued at the same time or later, expires later, and is not expired according to the API."},
}

// Indexes of series.
const (
	created = iota
	expired
	expiry
	hasExpiry
	info
	issued
	lastAccessed
	nextRotation
	replaced
)

// Values of labels that are the same for all tokens.
const (
	targetName = "bench"
	kindName   = "personal-access-token"
)

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
