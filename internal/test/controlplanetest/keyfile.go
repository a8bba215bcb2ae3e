package controlplanetest

import (
	"context"
	"os"
	"strings"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// KeyFile is the path of a file that contains an API key. It implements
// client.Credentials.
type KeyFile string

// Credential implements client.Credentials.
func (k KeyFile) Credential(context.Context) (client.Credential, error) {
	key, err := os.ReadFile(string(k))
	if err != nil {
		return client.Credential{}, err
	}
	return client.APIKey(strings.TrimSpace(string(key)))
}

// Refused implements client.Credentials.
func (KeyFile) Refused(client.Credential) {}

// String implements client.Credentials.
func (k KeyFile) String() string { return "file " + string(k) }
