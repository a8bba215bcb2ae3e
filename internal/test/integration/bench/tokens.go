package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

// item is a token as listed by a control plane, including fields that the exporter ignores.
// It has about 1.2 kB of JSON, and 9 series.
type item struct {
	fakecontrolplane.Token

	Manifest manifest `json:"manifest"`
	RoleIDs  []string `json:"roleIds"`
}

type manifest struct {
	fakecontrolplane.Manifest

	Permissions []permission      `json:"permissions"`
	Tags        map[string]string `json:"tags"`
}

type permission struct {
	ResourceFQN  string `json:"resource_fqn"`
	ResourceType string `json:"resource_type"`
	RoleID       string `json:"role_id"`
}

// makeItem returns token number i, which is the same in each run. None of its strings needs
// to be escaped in JSON or in an exposition.
func makeItem(i int) item {
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) //nolint:gosec // an index is not negative
	random := hex.EncodeToString(digest[:])
	owner, team := int(digest[30])%50, int(digest[31])%20

	created := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i)*time.Minute + time.Duration(1+digest[0])*time.Millisecond)
	issued := created.Add(time.Duration(digest[1]) * time.Hour)
	accessed := issued.Add(time.Duration(digest[2])*time.Hour + time.Duration(1+digest[3])*time.Millisecond)
	expiry, rotation := issued.AddDate(0, 0, 90), issued.AddDate(0, 0, 60)
	expired := false

	name := fmt.Sprintf("pipeline-%06d-%s", i, random[:6])
	subject := fakecontrolplane.Subject{
		ID: fmt.Sprintf("user-%024d", owner), Type: "user",
		Slug: fmt.Sprintf("developer-%02d@acme.example", owner), DisplayName: fmt.Sprintf("Developer Number %02d", owner),
	}
	jwtID := random[0:8] + "-" + random[8:12] + "-" + random[12:16] + "-" + random[16:20] + "-" + random[20:32]
	return item{
		Token: fakecontrolplane.Token{
			ID: "c" + random[32:56], Name: name, Type: "personal-access-token", TenantName: "acme", AccountID: "cm0acme00account0000000001",
			CreatedBySubject: subject, CreatedBy: subject.Slug, CreatedAt: created, UpdatedAt: issued, LastAccessedAt: &accessed,
			IsExpired: &expired, JWTID: jwtID, NextScheduledRotation: &rotation,
			JWTs: []fakecontrolplane.JWT{{
				ID: jwtID, Expiry: &expiry, CreatedAt: issued, UpdatedAt: issued,
				SubjectType: subject.Type, SubjectID: subject.ID, TokenType: "jwt",
			}},
		},
		Manifest: manifest{
			Manifest: fakecontrolplane.Manifest{Name: name, Type: "personal-access-token", OwnedBy: &fakecontrolplane.OwnedBy{Team: fmt.Sprintf("team-%02d", team)}},
			Permissions: []permission{
				{"acme:workspace:" + random[:12], "workspace", "workspace-member"},
				{"acme:ml-repo:" + random[12:24], "ml-repo", "ml-repo-viewer"},
			},
			Tags: map[string]string{"cost-center": random[24:28], "environment": "production"},
		},
		RoleIDs: []string{"role-" + random[28:40]},
	}
}

// makePages returns the pages of a list of n tokens in JSON, including the empty page after
// the end.
func makePages(n, pageSize int) ([][]byte, error) {
	var pages [][]byte
	for offset := 0; ; offset += pageSize {
		length := max(0, min(pageSize, n-offset))
		data := make([]any, length)
		for i := range data {
			data[i] = makeItem(offset + i)
		}
		page, err := json.Marshal(fakecontrolplane.Page{Data: data, Pagination: map[string]any{"total": n, "offset": offset, "limit": pageSize}})
		if err != nil {
			return nil, err
		}
		pages = append(pages, page)
		if length == 0 {
			return pages, nil
		}
	}
}
