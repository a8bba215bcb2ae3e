// Package subprocess helps tests that run other programs.
package subprocess

import (
	"fmt"
	"os"
)

// RequireEnv returns an error unless all of the environment variables are set. They contain
// the paths of programs. The commands set them.
func RequireEnv(commands string, variables ...string) error {
	for _, variable := range variables {
		if os.Getenv(variable) == "" {
			return fmt.Errorf("%s is not set, which is the path of a program or a release: run %s at the top of the repository", variable, commands)
		}
	}
	return nil
}
